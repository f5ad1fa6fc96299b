//! `method SP request-target SP HTTP-version` (RFC 9112 §3), read by our own code: httparse takes
//! bytes here that gunicorn and the RFC refuse, and refuses versions that deserve their own status.

use std::fmt;

use bytes::{Buf, BytesMut};
use memchr::memchr;

use crate::abnf::is_token;
use crate::config::Config;
use crate::error::ProtocolError;
use crate::fields::Span;
use crate::target;

/// The HTTP version that an exchange follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0: one request to a connection unless both ends ask for more; no chunks.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    /// As it stands on the wire: `HTTP/1.1`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the method changes about the framing of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MethodKind {
    /// A success would turn the connection into a tunnel (RFC 9110 §9.3.6).
    Connect,
    /// The response has no body (RFC 9110 §9.3.2).
    Head,
    Other,
}

/// A request line, as positions in the input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestLine {
    pub(crate) kind: MethodKind,
    pub(crate) method: Span,
    pub(crate) target: Span,
    pub(crate) version: Version,
}

impl RequestLine {
    /// Judges a line without its line end.
    fn parse(line: &[u8]) -> Result<Self, ProtocolError> {
        let method_end = memchr(b' ', line).ok_or(ProtocolError::RequestLine)?;
        let (method, rest) = line.split_at(method_end);
        let rest = rest.get(1..).unwrap_or_default();
        let target_size = memchr(b' ', rest).ok_or(ProtocolError::RequestLine)?;
        let (target, version) = rest.split_at(target_size);
        check_method(method)?;
        // Before the target: `PRI * HTTP/2.0` is a question of version.
        let version = parse_version(version.get(1..).unwrap_or_default())?;
        target::check(method, target)?;
        let target_start = method_end + 1;
        Ok(Self {
            kind: match method {
                b"CONNECT" => MethodKind::Connect,
                b"HEAD" => MethodKind::Head,
                _ => MethodKind::Other,
            },
            method: Span::new(0, method_end),
            target: Span::new(target_start, target_start + target_size),
            version,
        })
    }
}

/// gunicorn's rule, narrower than RFC 9110 §9.1: a token of 3 to 20 characters without lower-case
/// letters, since methods are case-sensitive and `get` is never meant, and without `#`.
fn check_method(method: &[u8]) -> Result<(), ProtocolError> {
    let conventional = !method.iter().any(|byte| byte.is_ascii_lowercase() || *byte == b'#');
    if (3..=20).contains(&method.len()) && conventional && is_token(method) {
        Ok(())
    } else {
        Err(ProtocolError::Method)
    }
}

/// `HTTP/1.2` to `HTTP/1.9` are taken as HTTP/1.1: RFC 9110 §2.5 asks to process a higher minor
/// version as the highest one known, and gunicorn takes them too.
fn parse_version(version: &[u8]) -> Result<Version, ProtocolError> {
    match version {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            match (major, minor) {
                (b'1', b'0') => Ok(Version::Http10),
                (b'1', _) => Ok(Version::Http11),
                _ => Err(ProtocolError::Version),
            }
        }
        _ => Err(ProtocolError::RequestLine),
    }
}

/// Waits for the request line to be complete.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LineReader {
    /// An empty line before the request line was skipped; a second one is not.
    skipped: bool,
    /// 0 <= searched <= length of the input: no LF before it.
    searched: usize,
}

impl LineReader {
    /// Bytes of the input that need no second look.
    pub(crate) fn searched(&self) -> usize {
        self.searched
    }

    /// Was an empty line cut off from the input?
    pub(crate) fn has_skipped(&self) -> bool {
        self.skipped
    }

    /// The request line, and where in `input` the fields begin; `None` while it is incomplete.
    pub(crate) fn read(
        &mut self,
        input: &mut BytesMut,
        config: &Config,
    ) -> Result<Option<(RequestLine, usize)>, ProtocolError> {
        if !self.skipped && input.starts_with(b"\r\n") {
            // RFC 9112 §2.2: some old clients send CRLF after a body. gunicorn tolerates one too.
            input.advance(2);
            *self = Self { skipped: true, searched: 0 };
        }
        let fresh = input.get(self.searched..).unwrap_or_default();
        let line_feed = memchr(b'\n', fresh).map(|offset| self.searched + offset);
        let line = input.get(..line_feed.unwrap_or(input.len())).unwrap_or_default();
        let (line, carriage_return) = match line.strip_suffix(b"\r") {
            Some(line) => (line, true),
            None => (line, false),
        };
        let limit = config.line_limit();
        if line.len() > limit {
            return Err(ProtocolError::RequestLineTooLong { limit });
        }
        match line_feed {
            None => {
                self.searched = input.len();
                Ok(None)
            }
            Some(_) if !carriage_return => Err(ProtocolError::LineEnd),
            Some(line_feed) => Ok(Some((RequestLine::parse(line)?, line_feed + 1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<(MethodKind, Version), ProtocolError> {
        RequestLine::parse(line.as_bytes()).map(|line| (line.kind, line.version))
    }

    #[test]
    fn lines() {
        use ProtocolError as E;
        for (line, expected) in [
            ("GET / HTTP/1.1", Ok((MethodKind::Other, Version::Http11))),
            ("HEAD /a?b=c#d HTTP/1.0", Ok((MethodKind::Head, Version::Http10))),
            ("CONNECT a:1 HTTP/1.1", Ok((MethodKind::Connect, Version::Http11))),
            ("M-SEARCH / HTTP/1.1", Ok((MethodKind::Other, Version::Http11))),
            ("ABCDEFGHIJKLMNOPQRST / HTTP/1.9", Ok((MethodKind::Other, Version::Http11))),
            ("", Err(E::RequestLine)),
            ("GET", Err(E::RequestLine)),
            ("GET /", Err(E::RequestLine)),
            ("GET  / HTTP/1.1", Err(E::RequestLine)),
            ("GET /  HTTP/1.1", Err(E::RequestLine)),
            ("GET / HTTP/1.1 ", Err(E::RequestLine)),
            ("GET / HTTP/1.", Err(E::RequestLine)),
            ("GET / HTTP/1.10", Err(E::RequestLine)),
            ("GET / http/1.1", Err(E::RequestLine)),
            ("GET / HTTP/1,1", Err(E::RequestLine)),
            ("GE / HTTP/1.1", Err(E::Method)),
            ("get / HTTP/1.1", Err(E::Method)),
            ("GE#T / HTTP/1.1", Err(E::Method)),
            ("GE(T / HTTP/1.1", Err(E::Method)),
            ("ABCDEFGHIJKLMNOPQRSTU / HTTP/1.1", Err(E::Method)),
            ("PRI * HTTP/2.0", Err(E::Version)),
            ("GET / HTTP/0.9", Err(E::Version)),
            ("GET /\u{e9} HTTP/1.1", Err(E::Target)),
            ("GET /\u{7f} HTTP/1.1", Err(E::Target)),
            ("GET /\t HTTP/1.1", Err(E::Target)),
            ("GET /\r HTTP/1.1", Err(E::Target)),
        ] {
            assert_eq!(parse(line), expected, "{line:?}");
        }
    }

    #[test]
    fn the_limit_counts_without_the_line_end() {
        let config = Config::new().limit_request_line(14);
        let read = |bytes: &[u8]| {
            LineReader::default()
                .read(&mut BytesMut::from(bytes), &config)
                .map(|line| line.is_some())
        };
        assert_eq!(read(b"GET / HTTP/1.1\r\n"), Ok(true));
        assert_eq!(read(b"GET / HTTP/1.1\r"), Ok(false));
        assert_eq!(read(b"\r\nGET / HTTP/1.1\r\n"), Ok(true));
        let error = Err(ProtocolError::RequestLineTooLong { limit: 14 });
        assert_eq!(read(b"GET /a HTTP/1.1\r\n"), error);
        assert_eq!(read(b"GET /a HTTP/1.1"), error);
    }
}
