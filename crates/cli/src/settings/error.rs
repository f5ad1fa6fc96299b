//! What can be wrong with a setting.

use super::Origin;

/// A setting that cannot be used, in words for the person who set it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// Hooks are Python functions in a config file.
    #[error("hook {hook} in {origin} is not supported yet")]
    Hook {
        /// The hook's name.
        hook: &'static str,
        /// The file.
        origin: Origin,
    },
    /// The value is none that the setting takes.
    #[error("invalid value for {setting} from {origin}: {value} (allowed: {allowed})")]
    Invalid {
        /// The setting's name.
        setting: &'static str,
        /// Who said so.
        origin: Origin,
        /// The value, as Python would write it.
        value: String,
        /// What would have been right.
        allowed: String,
    },
    /// There is nothing to serve. gunicorn's words, which scripts look for.
    #[error("No application module specified.")]
    NoApplication,
    /// A setting of gunicorn's that this server does not have.
    #[error("{} is a gunicorn setting that rgunicorn does not support yet", spelled(.setting, .origin))]
    NotSupported {
        /// The setting's name.
        setting: &'static str,
        /// Who asked for it.
        origin: Origin,
    },
    /// A value that gunicorn takes and this server does not.
    #[error("{setting} {value} from {origin} is not supported yet; use {instead}")]
    ValueNotSupported {
        /// The setting's name.
        setting: &'static str,
        /// Who said so.
        origin: Origin,
        /// The value, as Python would write it.
        value: String,
        /// What works.
        instead: &'static str,
    },
}

/// The setting as its origin spells it: by flag, or by name and place.
fn spelled(setting: &str, origin: &Origin) -> String {
    match origin {
        Origin::CommandArgs(_) => format!("{origin} ({setting})"),
        Origin::CommandLine(flag) => format!("{flag} ({setting})"),
        Origin::ConfigFile(_) | Origin::Environment(_) => format!("{setting} in {origin}"),
    }
}
