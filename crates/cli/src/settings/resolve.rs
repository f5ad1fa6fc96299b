//! From layers to settings.

use super::{
    Definition, Layer, NEEDLESS, Raw, Rejection, SETTINGS, SettingError, Settings, WorkerClass,
};

impl Settings {
    /// The most threads of one worker.
    pub const THREADS_MAX: u32 = 1000;

    /// Lays `layers` over the defaults, the lowest first: a later layer replaces what an earlier
    /// one said, lists included. Every value is judged, also one that is replaced.
    ///
    /// # Errors
    ///
    /// The first value that is wrong, and where it came from; or that no layer names an
    /// application.
    pub fn resolve(layers: &[Layer]) -> Result<Self, SettingError> {
        let mut settings = Self::default();
        for layer in layers {
            settings.apply(layer)?;
        }
        if settings.wsgi_app.is_empty() {
            return Err(SettingError::NoApplication);
        }
        if settings.threads > 1 && settings.worker_class == WorkerClass::Sync {
            settings.worker_class = WorkerClass::Gthread;
        }
        Ok(settings)
    }

    /// Takes over what one layer says.
    ///
    /// # Errors
    ///
    /// The first value that is wrong.
    pub(crate) fn apply(&mut self, layer: &Layer) -> Result<(), SettingError> {
        for (name, value, origin) in layer.iter() {
            let Some(definition) = Definition::named(name) else {
                if NEEDLESS.iter().any(|row| row.name == name) {
                    continue;
                }
                return Err(SettingError::NotSupported { setting: name, origin: origin.clone() });
            };
            (definition.apply)(value, self).map_err(|rejection| match rejection {
                Rejection::Invalid(allowed) => SettingError::Invalid {
                    setting: name,
                    origin: origin.clone(),
                    value: value.to_string(),
                    allowed: allowed.into_owned(),
                },
                Rejection::NotSupported(instead) => SettingError::ValueNotSupported {
                    setting: name,
                    origin: origin.clone(),
                    value: value.to_string(),
                    instead,
                },
            })?;
        }
        Ok(())
    }
}

impl Layer {
    /// The defaults that the environment gives, as `variable` tells it: `WEB_CONCURRENCY`, `PORT`.
    pub fn from_environment(variable: impl Fn(&'static str) -> Option<std::ffi::OsString>) -> Self {
        let mut layer = Self::default();
        for definition in SETTINGS {
            let Some(environment) = definition.environment else {
                continue;
            };
            if let Some(text) = variable(environment.variable).filter(|text| !text.is_empty()) {
                let value: Raw = (environment.value)(&text);
                let origin = super::Origin::Environment(environment.variable);
                layer.set(definition.name, value, origin);
            }
        }
        layer
    }
}

impl Definition {
    /// The row of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|row| row.name == name)
    }
}
