//! Where to listen: the forms of gunicorn's `bind`, parsed once.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::Ipv6Addr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The port of a TCP address that names none.
const DEFAULT_PORT: u16 = 8000;

/// The longest path that `sockaddr_un.sun_path` holds, without its closing NUL; and the longest
/// abstract name, without its leading one.
const UNIX_PATH_LEN_MAX: usize = 107;

/// The first descriptor that is not a standard stream.
const FIRST_DESCRIPTOR: i32 = 3;

/// An address to listen at.
///
/// Parsed from gunicorn's forms: `HOST`, `HOST:PORT`, `[IPv6]`, `[IPv6]:PORT`, any of these after
/// `tcp://`, `unix:PATH`, `unix://PATH`, `unix:@NAME` for a name of Linux's abstract namespace (a
/// file that begins with `@` is `unix:./@FILE`), and `fd://N` for a socket that the process was
/// started with. The port defaults to 8000; the empty string is `0.0.0.0:8000`. Port 0 asks the
/// kernel for a free one: [`Listener::address`](crate::Listener::address) then tells which.
///
/// `Display` writes the shortest form that parses back to an equal address.
///
/// ```
/// use rgunicorn_arbiter::Address;
///
/// let address: Address = "tcp://LOCALHOST".parse()?;
/// assert_eq!(address.to_string(), "localhost:8000");
/// assert!("localhost:http".parse::<Address>().is_err());
/// # Ok::<(), rgunicorn_arbiter::AddressError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Address {
    /// A Unix stream socket with a name and no file, unix(7): it vanishes with its last owner, and
    /// whoever shares the network namespace may connect.
    #[non_exhaustive]
    Abstract {
        /// 1 to 107 bytes without NUL; the NUL that the kernel wants in front is left out.
        name: OsString,
    },
    /// A socket that the process was started with, by its number.
    #[non_exhaustive]
    Descriptor {
        /// At least 3, after the standard streams.
        number: i32,
    },
    /// A TCP socket.
    #[non_exhaustive]
    Tcp {
        /// A name or an IP address in lower case, not empty, IPv6 without its brackets.
        host: String,
        /// 0 to 65535; 0 leaves the choice to the kernel.
        port: u16,
    },
    /// A Unix stream socket.
    #[non_exhaustive]
    Unix {
        /// 1 to 107 bytes, none of them NUL.
        path: PathBuf,
    },
}

/// A text that is no [`Address`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// `fd://N` without a number, or with that of a standard stream.
    #[error("'{0}' names no descriptor: a number from {FIRST_DESCRIPTOR} on")]
    Descriptor(String),
    /// A host that is neither a name nor an IP address.
    #[error("'{0}' has no valid host: a name, an IPv4 address or an IPv6 address in brackets")]
    Host(String),
    /// A Unix path of the wrong length, or with a NUL in it.
    #[error("'{0}' has no valid path: 1 to {UNIX_PATH_LEN_MAX} bytes without NUL")]
    Path(String),
    /// A port that is not a number from 0 to 65535.
    #[error("'{0}' has no valid port: a number from 0 to 65535")]
    Port(String),
}

impl Address {
    /// A Unix address from a path, which need not be UTF-8. A path that begins with `@`, or as
    /// gunicorn has it with NUL, is an abstract name.
    ///
    /// # Errors
    ///
    /// [`AddressError::Path`] when `sockaddr_un` cannot hold it.
    pub fn unix(path: impl Into<PathBuf>) -> Result<Self, AddressError> {
        let path = path.into();
        let bytes = path.as_os_str().as_bytes();
        let name = bytes.strip_prefix(b"@").or_else(|| bytes.strip_prefix(b"\0"));
        let text = name.unwrap_or(bytes);
        if text.is_empty() || text.len() > UNIX_PATH_LEN_MAX || text.contains(&0) {
            return Err(AddressError::Path(path.display().to_string()));
        }
        Ok(match name {
            Some(name) => Self::Abstract { name: OsString::from_vec(name.to_owned()) },
            None => Self::Unix { path },
        })
    }

    pub(crate) fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self::Tcp { host: host.into(), port }
    }

    /// As gunicorn's log names an address that it cannot bind: Python's spelling of a socket address.
    pub(crate) fn python_repr(&self) -> String {
        match self {
            Self::Abstract { .. } | Self::Descriptor { .. } => self.to_string(),
            Self::Tcp { host, port } => format!("('{host}', {port})"),
            Self::Unix { path } => path.display().to_string(),
        }
    }

    /// As gunicorn's log names an address that it listens at: `http://127.0.0.1:8000`.
    pub(crate) fn url(&self, scheme: &str) -> String {
        match self {
            Self::Tcp { .. } => format!("{scheme}://{self}"),
            Self::Abstract { .. } | Self::Descriptor { .. } | Self::Unix { .. } => self.to_string(),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(number) = text.strip_prefix("fd://") {
            // `i32::from_str` alone would take a sign.
            let digits = number.bytes().all(|byte| byte.is_ascii_digit());
            let number = number.parse().ok().filter(|number| digits && *number >= FIRST_DESCRIPTOR);
            return number
                .map(|number| Self::Descriptor { number })
                .ok_or_else(|| AddressError::Descriptor(text.to_owned()));
        }
        // `unix://` first: `unix:` is its prefix.
        if let Some(path) = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")) {
            return Self::unix(Path::new(OsStr::new(path)))
                .map_err(|_| AddressError::Path(text.to_owned()));
        }
        parse_tcp(text, text.strip_prefix("tcp://").unwrap_or(text))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abstract { name } => write!(f, "unix:@{}", name.to_string_lossy()),
            Self::Descriptor { number } => write!(f, "fd://{number}"),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix { path } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `rest` is `text` without its scheme; errors quote what the user wrote.
fn parse_tcp(text: &str, rest: &str) -> Result<Address, AddressError> {
    let host_error = || AddressError::Host(text.to_owned());
    let (host, port) = if let Some(bracketed) = rest.strip_prefix('[') {
        let (host, after) = bracketed.split_once(']').ok_or_else(host_error)?;
        host.parse::<Ipv6Addr>().map_err(|_| host_error())?;
        let port = match after.strip_prefix(':') {
            Some(port) => Some(port),
            None if after.is_empty() => None,
            None => return Err(AddressError::Port(text.to_owned())),
        };
        (host, port)
    } else {
        let (host, port) = match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        };
        // gunicorn's `:8000` and `` mean every IPv4 interface.
        (if host.is_empty() { "0.0.0.0" } else { host }, port)
    };
    // What no resolver takes, refused here so that the message can name the setting.
    let is_host_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    if !host.bytes().all(is_host_byte) {
        return Err(host_error());
    }
    let port = match port {
        // `u16::from_str` alone would take a sign.
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse().map_err(|_| AddressError::Port(text.to_owned()))?
        }
        Some(_) => return Err(AddressError::Port(text.to_owned())),
        None => DEFAULT_PORT,
    };
    Ok(Address::tcp(host.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_bind() {
        for (text, shown) in [
            ("", "0.0.0.0:8000"),
            (":5000", "0.0.0.0:5000"),
            ("127.0.0.1", "127.0.0.1:8000"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("LocalHost:9", "localhost:9"),
            ("tcp://a-b.example:80", "a-b.example:80"),
            ("[::1]", "[::1]:8000"),
            ("[::1]:65535", "[::1]:65535"),
            ("tcp://[FE80::1]:1", "[fe80::1]:1"),
            ("unix:/tmp/a.sock", "unix:/tmp/a.sock"),
            ("unix:///tmp/a.sock", "unix:/tmp/a.sock"),
            ("unix:relative", "unix:relative"),
            ("unix:./@file", "unix:./@file"),
            ("unix:@name", "unix:@name"),
            ("unix:\0name", "unix:@name"),
            ("fd://3", "fd://3"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), shown, "{text}");
            assert_eq!(shown.parse::<Address>().unwrap(), address, "{shown}");
        }
    }

    #[test]
    fn refused_forms() {
        type Make = fn(String) -> AddressError;
        let long = format!("unix:/{}", "x".repeat(UNIX_PATH_LEN_MAX));
        for (text, error) in [
            ("127.0.0.1:", AddressError::Port as Make),
            ("127.0.0.1:+80", AddressError::Port),
            ("127.0.0.1:65536", AddressError::Port),
            ("127.0.0.1:http", AddressError::Port),
            ("::1", AddressError::Port),
            ("[::1]80", AddressError::Port),
            ("[::1", AddressError::Host),
            ("[localhost]:80", AddressError::Host),
            ("a host:80", AddressError::Host),
            ("http://127.0.0.1:80", AddressError::Port),
            ("fd://", AddressError::Descriptor),
            ("fd://2", AddressError::Descriptor),
            ("fd://+3", AddressError::Descriptor),
            ("fd://4294967299", AddressError::Descriptor),
            ("unix:@", AddressError::Path),
            ("unix:@a\0b", AddressError::Path),
            ("unix:", AddressError::Path),
            ("unix:/a\0b", AddressError::Path),
            (&long, AddressError::Path),
        ] {
            assert_eq!(text.parse::<Address>().unwrap_err(), error(text.to_owned()));
        }
    }

    #[test]
    fn names_in_the_log() {
        let tcp: Address = "[::1]:80".parse().unwrap();
        let unix: Address = "unix:/a".parse().unwrap();
        assert_eq!(
            (tcp.url("https"), unix.url("https")),
            ("https://[::1]:80".into(), "unix:/a".into())
        );
        assert_eq!((tcp.python_repr(), unix.python_repr()), ("('::1', 80)".into(), "/a".into()));
    }
}
