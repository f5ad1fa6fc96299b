//! Values as they were said, before anybody judged them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::Rejection;

/// A value from the command line, the environment or a config file.
///
/// The command line and the environment only know [`Text`](Self::Text); a config file is Python
/// and may say anything.
///
/// ```
/// use rgunicorn::settings::Raw;
///
/// assert_eq!(Raw::Text("a:b".into()).to_string(), "'a:b'");
/// assert_eq!(Raw::List(vec![Raw::Int(1), Raw::None]).to_string(), "[1, None]");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// Python's `True` or `False`, or a flag that was given.
    Bool(bool),
    /// A number that fits.
    Int(i64),
    /// A list or tuple, or an option that was given several times.
    List(Vec<Self>),
    /// A dict, in its own order.
    Map(Vec<(Self, Self)>),
    /// Python's `None`.
    None,
    /// Anything that no setting takes; holds Python's `repr`.
    Other(String),
    /// A string, or a word of the command line. Paths need not be valid UTF-8.
    Text(OsString),
}

impl Raw {
    /// A string; `what` says what is allowed instead.
    pub(super) fn text(&self, what: &'static str) -> Result<&OsStr, Rejection> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(Rejection::allowed(what)),
        }
    }

    /// A string without the blanks around it, and not empty.
    pub(super) fn word(&self, what: &'static str) -> Result<&str, Rejection> {
        let word = self.text(what)?.to_str().map(str::trim);
        word.filter(|word| !word.is_empty()).ok_or_else(|| Rejection::allowed(what))
    }

    /// A whole number within `range`.
    ///
    /// Strings are read as Python's `int(text, 0)` reads them, except that leading zeros are
    /// harmless: `-w 04` means four. Booleans are numbers, because Python says so.
    pub(super) fn whole_number(&self, range: RangeInclusive<i64>) -> Result<i64, Rejection> {
        let number = match self {
            Self::Bool(value) => Some(i64::from(*value)),
            Self::Int(number) => Some(*number),
            Self::Text(text) => text.to_str().and_then(python_int),
            Self::List(_) | Self::Map(_) | Self::None | Self::Other(_) => None,
        };
        let (low, high) = (*range.start(), *range.end());
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| Rejection::allowed(format!("a whole number from {low} to {high}")))
    }

    /// gunicorn's rule for switches: a bool, `None` for off, or the word.
    pub(super) fn switch(&self) -> Result<bool, Rejection> {
        match self {
            Self::Bool(value) => Ok(*value),
            Self::None => Ok(false),
            Self::Text(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Self::Text(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Self::Int(_) | Self::List(_) | Self::Map(_) | Self::Other(_) | Self::Text(_) => {
                Err(Rejection::allowed("True or False"))
            }
        }
    }

    /// The items of a list; a single string is a list of one.
    pub(super) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            Self::None => &[],
            single => std::slice::from_ref(single),
        }
    }
}

/// As Python would write the value.
impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Int(number) => write!(f, "{number}"),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Self::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| format!("{key}: {value}"));
                write!(f, "{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
            Self::None => f.write_str("None"),
            Self::Other(repr) => f.write_str(repr),
            // Escaped, so that a value cannot fake a second line of the message.
            Self::Text(text) => write!(f, "'{}'", text.to_string_lossy().escape_debug()),
        }
    }
}

/// Where a value came from, for error messages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// An option in the environment variable `GUNICORN_CMD_ARGS`, shortened ones in full.
    CommandArgs(&'static str),
    /// The option, shortened ones in full, or the positional argument's name.
    CommandLine(&'static str),
    /// The config file's path, or the module's name.
    ConfigFile(PathBuf),
    /// The environment variable's name.
    Environment(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandArgs(option) => write!(f, "{option} in GUNICORN_CMD_ARGS"),
            Self::CommandLine(option) => f.write_str(option),
            Self::ConfigFile(path) => write!(f, "{}", path.display()),
            Self::Environment(variable) => write!(f, "the environment variable {variable}"),
        }
    }
}

/// What one source said, and nothing else.
///
/// ```
/// use rgunicorn::settings::{Layer, Origin, Raw, Settings};
///
/// let mut line = Layer::default();
/// line.set("wsgi_app", Raw::Text("shop:app".into()), Origin::CommandLine("APP_MODULE"));
/// line.set("workers", Raw::Text("4".into()), Origin::CommandLine("--workers"));
/// assert_eq!(Settings::resolve(&[line])?.workers, 4);
/// # Ok::<(), rgunicorn::settings::SettingError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layer {
    values: BTreeMap<&'static str, (Raw, Origin)>,
}

impl Layer {
    /// Says that `setting` has this value; the last word counts.
    pub fn set(&mut self, setting: &'static str, value: Raw, origin: Origin) {
        self.values.insert(setting, (value, origin));
    }

    /// Adds to a setting that may be given several times.
    pub fn append(&mut self, setting: &'static str, value: Raw, origin: Origin) {
        let (list, _) = self.values.entry(setting).or_insert((Raw::List(Vec::new()), origin));
        if let Raw::List(items) = list {
            items.push(value);
        }
    }

    /// The same options, said in `GUNICORN_CMD_ARGS`: there, an application is ignored.
    #[must_use]
    pub fn in_command_args(mut self) -> Self {
        self.values.remove("wsgi_app");
        for (_, origin) in self.values.values_mut() {
            if let Origin::CommandLine(option) = origin {
                *origin = Origin::CommandArgs(option);
            }
        }
        self
    }

    /// What was said, by the settings' names in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Raw, &Origin)> {
        self.values.iter().map(|(name, (value, origin))| (*name, value, origin))
    }
}

/// Python's `int(text, 0)`, with leading zeros forgiven; `None` for what is no number.
fn python_int(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, radix)| Some((radix, lower.strip_prefix(prefix)?)))
        .unwrap_or((10, &lower));
    // PEP 515: single underscores between digits. The parser below refuses a second sign.
    if digits.split('_').any(str::is_empty) || digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = i64::from_str_radix(&digits.replace('_', ""), radix).ok()?;
    Some(if negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_python_reads_them() {
        let cases = [
            ("4", Some(4)),
            (" 4 ", Some(4)),
            ("+4", Some(4)),
            ("-1", Some(-1)),
            ("04", Some(4)),
            ("0x10", Some(16)),
            ("0XfF", Some(255)),
            ("0o17", Some(15)),
            ("0b101", Some(5)),
            ("1_000", Some(1000)),
            ("1__0", None),
            ("_1", None),
            ("--1", None),
            ("-+1", None),
            ("0x", None),
            ("", None),
            ("4.0", None),
            ("four", None),
            ("9223372036854775808", None),
        ];
        for (text, number) in cases {
            assert_eq!(python_int(text), number, "{text:?}");
        }
    }

    #[test]
    fn a_value_cannot_fake_a_line() {
        let raw = Raw::Text("x\nError: y".into());
        assert_eq!(raw.to_string(), r"'x\nError: y'");
    }
}
