//! From what was said to what it means: the parsers and printers that rows of the table share.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use rgunicorn_arbiter::{AccountError, MemoryKind};

use crate::access_format::{AccessFormat, AccessFormatError};

use super::{ConfigLocation, LogLevel, LogTarget, Raw, Rejection, WorkerClass};

/// gunicorn itself has no upper bound; this one fits an `i32` wherever a number ends up, and in
/// seconds is 68 years.
pub(super) const INT_MAX: i64 = i32::MAX as i64;

/// A number between bounds that its type holds.
pub(super) fn number<N: TryFrom<i64>>(raw: &Raw, low: i64, high: i64) -> Result<N, Rejection> {
    let number = raw.whole_number(low..=high)?;
    N::try_from(number).map_err(|_| Rejection::allowed("a smaller number"))
}

/// Seconds, where 0 turns the limit off.
pub(super) fn optional_seconds(raw: &Raw) -> Result<Option<Duration>, Rejection> {
    let seconds = number(raw, 0, INT_MAX)?;
    Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
}

/// The inverse of [`optional_seconds`].
pub(super) fn seconds(limit: Option<Duration>) -> String {
    limit.unwrap_or_default().as_secs().to_string()
}

/// Bytes, where 0 turns the limit off: a number, or one with a suffix that stands for a power of
/// 1024.
pub(super) fn optional_bytes(raw: &Raw) -> Result<Option<u64>, Rejection> {
    const ALLOWED: &str = "bytes as a whole number, with K, M or G behind it if you like";
    let suffixed = match raw {
        Raw::Text(text) => text.to_str().and_then(|text| {
            let (digits, suffix) =
                text.trim().split_at_checked(text.trim().len().checked_sub(1)?)?;
            let unit = match suffix {
                "K" | "k" => 1 << 10,
                "M" | "m" => 1 << 20,
                "G" | "g" => 1 << 30,
                _ => return None,
            };
            Some((digits.to_owned(), unit))
        }),
        _ => None,
    };
    let (raw, unit) = match suffixed {
        Some((digits, unit)) => (&Raw::Text(digits.into()), unit),
        None => (raw, 1),
    };
    let count: u64 = number(raw, 0, i64::MAX / unit).map_err(|_| Rejection::allowed(ALLOWED))?;
    let bytes = count.saturating_mul(unit.unsigned_abs());
    Ok((bytes > 0).then_some(bytes))
}

pub(super) fn memory_kind(raw: &Raw) -> Result<MemoryKind, Rejection> {
    const ALLOWED: &str = "pss or rss";
    raw.word(ALLOWED)?.parse().map_err(|_| Rejection::allowed(ALLOWED))
}

pub(super) fn text(text: &OsStr) -> Raw {
    Raw::Text(text.to_owned())
}

/// As Python would print a list of strings.
pub(super) fn list(items: &[impl ToString]) -> String {
    let items = items.iter().map(|item| Raw::Text(item.to_string().into()));
    Raw::List(items.collect()).to_string()
}

/// As Python would print the value, or `None`.
pub(super) fn optional(value: Option<impl Display>) -> String {
    value.map_or_else(|| Raw::None.to_string(), |value| value.to_string())
}

/// As Python would print a bool.
pub(super) fn switch(value: bool) -> String {
    Raw::Bool(value).to_string()
}

pub(super) fn config_location(raw: &Raw) -> Result<ConfigLocation, Rejection> {
    const ALLOWED: &str = "PATH, file:PATH or python:MODULE";
    let text = raw.text(ALLOWED)?;
    let location = match text.to_str().and_then(|text| text.split_once(':')) {
        Some(("python", module)) => ConfigLocation::Module(module.to_owned()),
        Some(("file", path)) => ConfigLocation::File(path.into()),
        _ => ConfigLocation::File(text.into()),
    };
    match &location {
        ConfigLocation::File(path) if path.as_os_str().is_empty() => {
            Err(Rejection::allowed(ALLOWED))
        }
        ConfigLocation::Module(name) if name.is_empty() => Err(Rejection::allowed(ALLOWED)),
        _ => Ok(location),
    }
}

/// A format of access log lines.
pub(super) fn access_format(raw: &Raw) -> Result<AccessFormat, Rejection> {
    const ALLOWED: &str = "text with atoms such as %(h)s";
    let text = raw.text(ALLOWED)?.to_str().ok_or_else(|| Rejection::allowed(ALLOWED))?;
    text.parse()
        .map_err(|error: AccessFormatError| Rejection::allowed(format!("{ALLOWED}; {error}")))
}

/// A user or a group, by name or number.
pub(super) fn account<A>(raw: &Raw, allowed: &'static str) -> Result<Option<A>, Rejection>
where
    A: FromStr<Err = AccountError>,
{
    let text = match raw {
        Raw::None => return Ok(None),
        Raw::Int(number) => number.to_string(),
        raw => raw.word(allowed)?.to_owned(),
    };
    let account = text.parse();
    account.map(Some).map_err(|error| Rejection::allowed(format!("{allowed}; {error}")))
}

/// Variables, each as `NAME=VALUE`.
pub(super) fn environment(raw: &Raw) -> Result<Vec<(OsString, OsString)>, Rejection> {
    const ALLOWED: &str = "one or more of NAME=VALUE";
    let variable = |item: &Raw| {
        let text = item.text(ALLOWED)?.as_bytes();
        let equals = text.iter().position(|byte| *byte == b'=').filter(|position| *position > 0);
        let (name, value) = equals
            .and_then(|position| Some((text.get(..position)?, text.get(position + 1..)?)))
            .filter(|_| !text.contains(&0))
            .ok_or_else(|| Rejection::allowed(ALLOWED))?;
        Ok((OsStr::from_bytes(name).to_owned(), OsStr::from_bytes(value).to_owned()))
    };
    raw.items().iter().map(variable).collect()
}

/// A name without control characters, if any.
pub(super) fn name(raw: &Raw) -> Result<Option<String>, Rejection> {
    const ALLOWED: &str = "a name, or None";
    match raw {
        Raw::None => Ok(None),
        raw => match raw.word(ALLOWED)? {
            name if name.contains(char::is_control) => Err(Rejection::allowed(ALLOWED)),
            name => Ok(Some(name.to_owned())),
        },
    }
}

/// A path, if any.
pub(super) fn path(raw: &Raw, allowed: &'static str) -> Result<Option<PathBuf>, Rejection> {
    match raw {
        Raw::None => Ok(None),
        raw if raw.text(allowed)?.is_empty() => Err(Rejection::allowed(allowed)),
        raw => Ok(Some(raw.text(allowed)?.into())),
    }
}

/// Permission bits. gunicorn reads `022` as C does: octal.
pub(super) fn umask(raw: &Raw) -> Result<u32, Rejection> {
    let octal = match raw {
        Raw::Text(text) => text.to_str().and_then(|text| text.trim().strip_prefix('0')),
        _ => None,
    };
    let is_octal = |digits: &&str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let bits = match octal.filter(|digits| !digits.is_empty()).filter(is_octal) {
        Some(digits) => i64::from_str_radix(digits, 8).map_or(Raw::None, Raw::Int),
        None => raw.clone(),
    };
    number(&bits, 0, 0o777).map_err(|_| Rejection::allowed("permission bits, 0 to 0o777"))
}

/// The permissions of a file, as chmod(1) has them: octal. None leaves them to the umask.
pub(super) fn mode(raw: &Raw) -> Result<Option<u32>, Rejection> {
    let bits = match raw {
        Raw::None => return Ok(None),
        Raw::Int(bits) => u32::try_from(*bits).ok(),
        Raw::Text(text) => text.to_str().and_then(|text| {
            let digits = text.trim();
            u32::from_str_radix(digits.strip_prefix("0o").unwrap_or(digits), 8).ok()
        }),
        _ => None,
    };
    let bits = bits.filter(|bits| *bits <= 0o777);
    bits.map(Some).ok_or_else(|| Rejection::allowed("octal permission bits, 0 to 777"))
}

pub(super) fn worker_class(raw: &Raw) -> Result<WorkerClass, Rejection> {
    const ALLOWED: &str = "sync or gthread";
    match raw.word(ALLOWED)? {
        "gthread" => Ok(WorkerClass::Gthread),
        "sync" => Ok(WorkerClass::Sync),
        "asgi" | "eventlet" | "gevent" | "gevent_pywsgi" | "gevent_wsgi" | "tornado" => {
            Err(Rejection::NotSupported(ALLOWED))
        }
        // Classes of the application's own: `package.module.Class`, `egg:package#name`.
        dotted if dotted.contains(['.', ':']) => Err(Rejection::NotSupported(ALLOWED)),
        _ => Err(Rejection::allowed(ALLOWED)),
    }
}

pub(super) fn log_target(raw: &Raw, allowed: &'static str) -> Result<LogTarget, Rejection> {
    let text = raw.text(allowed)?;
    if text.is_empty() {
        Err(Rejection::allowed(allowed))
    } else if text == "-" {
        Ok(LogTarget::Standard)
    } else {
        Ok(LogTarget::File(text.into()))
    }
}

pub(super) fn log_level(raw: &Raw) -> Result<LogLevel, Rejection> {
    let name = raw.word(LEVELS)?.to_lowercase();
    LogLevel::ALL
        .into_iter()
        .find(|level| level.to_string() == name)
        .ok_or_else(|| Rejection::allowed(LEVELS))
}

const LEVELS: &str = "debug, info, warning, error or critical";
