//! What the fields of a request decide about its connection: one pass over them.

use crate::abnf;
use crate::error::ProtocolError;
use crate::forwarded::{Scheme, SchemeReader};
use crate::framing::{Framing, TransferEncoding};
use crate::request_line::{MethodKind, RequestLine, Version};
use crate::target;

/// What the rest of the exchange depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub(crate) framing: Framing,
    /// The peer would send another request on this connection.
    pub(crate) keep_alive: bool,
    /// The peer waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
    /// How the client sees the server.
    pub(crate) scheme: Scheme,
}

/// Judges a request by its line and its fields.
pub(crate) fn judge<'a>(
    line: &RequestLine,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    mut scheme: SchemeReader<'_>,
) -> Result<Verdict, ProtocolError> {
    let mut seen = Seen::default();
    for (name, value) in fields {
        seen.take(name, value)?;
        scheme.take(name, value)?;
    }
    seen.conclude(line, scheme.scheme())
}

/// The fields that matter, as far as they were seen.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a field or an option that was there or not"
)]
struct Seen {
    close: bool,
    content_length: Option<u64>,
    content_type: bool,
    /// An expectation other than `100-continue`.
    expects_else: bool,
    expects_continue: bool,
    host: bool,
    keep_alive: bool,
    transfer_encoding: Option<TransferEncoding>,
}

impl Seen {
    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), ProtocolError> {
        // The length first: it tells most of a browser's fields apart without comparing a byte.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"Host") => {
                once(&mut self.host, "Host")?;
                if !target::is_host(value) {
                    return Err(ProtocolError::Host);
                }
            }
            6 if name.eq_ignore_ascii_case(b"Expect") => {
                if value.eq_ignore_ascii_case(b"100-continue") {
                    self.expects_continue = true;
                } else {
                    self.expects_else = true;
                }
            }
            10 if name.eq_ignore_ascii_case(b"Connection") => {
                for option in abnf::list(value) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            12 if name.eq_ignore_ascii_case(b"Content-Type") => {
                once(&mut self.content_type, "Content-Type")?;
            }
            14 if name.eq_ignore_ascii_case(b"Content-Length") => {
                let length = abnf::decimal(value).ok_or(ProtocolError::ContentLength)?;
                if self.content_length.replace(length).is_some() {
                    return Err(ProtocolError::DuplicateField("Content-Length"));
                }
            }
            17 if name.eq_ignore_ascii_case(b"Transfer-Encoding") => {
                self.transfer_encoding.get_or_insert_default().add(value)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn conclude(self, line: &RequestLine, scheme: Scheme) -> Result<Verdict, ProtocolError> {
        let http11 = line.version == Version::Http11;
        if http11 && !self.host {
            // RFC 9112 §3.2 wants a 400; gunicorn serves it all the same.
            return Err(ProtocolError::HostMissing);
        }
        let framing =
            Framing::of_request(line.version, self.content_length, self.transfer_encoding)?;
        if self.expects_else {
            return Err(ProtocolError::Expectation);
        }
        Ok(Verdict {
            framing,
            // RFC 9112 §9.3. Nothing can follow a CONNECT: what comes would belong to a tunnel.
            keep_alive: !self.close
                && (http11 || self.keep_alive)
                && line.kind != MethodKind::Connect,
            // RFC 9110 §10.1.1: HTTP/1.0 cannot mean it, and without a body nothing is waited for.
            expects_continue: http11 && self.expects_continue && framing.length() != Some(0),
            scheme,
        })
    }
}

/// Notes a field that may be there once.
fn once(seen: &mut bool, name: &'static str) -> Result<(), ProtocolError> {
    if std::mem::replace(seen, true) {
        return Err(ProtocolError::DuplicateField(name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Span;

    fn verdict(version: Version, fields: &[(&str, &str)]) -> Result<Verdict, ProtocolError> {
        let line = RequestLine {
            kind: MethodKind::Other,
            method: Span::default(),
            target: Span::default(),
            version,
        };
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        judge(&line, fields, SchemeReader::new(None))
    }

    #[test]
    fn keep_alive_is_read_from_all_options_of_all_fields() {
        use Version::{Http10, Http11};
        let host = ("Host", "a");
        for (version, fields, expected) in [
            (Http11, vec![host], true),
            (Http11, vec![host, ("connection", "close")], false),
            (Http11, vec![host, ("Connection", "Upgrade,  CLOSE")], false),
            (Http11, vec![host, ("Connection", "x"), ("Connection", "close")], false),
            (Http11, vec![host, ("Connection", "close, keep-alive")], false),
            (Http11, vec![host, ("Connection", "closed")], true),
            (Http10, vec![], false),
            (Http10, vec![("Connection", "keep-alive")], true),
            (Http10, vec![("Connection", "foo, Keep-Alive")], true),
            (Http10, vec![("Connection", "keep-alive, close")], false),
        ] {
            assert_eq!(verdict(version, &fields).unwrap().keep_alive, expected, "{fields:?}");
        }
    }

    #[test]
    fn expectations() {
        use Version::{Http10, Http11};
        let fields = |expect| [("Host", "a"), ("Content-Length", "3"), ("Expect", expect)];
        let expects =
            |version, expect| verdict(version, &fields(expect)).map(|v| v.expects_continue);
        assert_eq!(expects(Http11, "100-Continue"), Ok(true));
        assert_eq!(expects(Http10, "100-continue"), Ok(false));
        assert_eq!(expects(Http11, "100-continue, x"), Err(ProtocolError::Expectation));
        assert_eq!(expects(Http11, ""), Err(ProtocolError::Expectation));
        assert_eq!(expects(Http10, "x"), Err(ProtocolError::Expectation));
        let nothing_to_wait_for = [("Host", "a"), ("Expect", "100-continue")];
        assert!(!verdict(Http11, &nothing_to_wait_for).unwrap().expects_continue);
    }

    #[test]
    fn refusals() {
        use ProtocolError as E;
        let host = ("Host", "a");
        for (fields, error) in [
            (vec![], E::HostMissing),
            (vec![host, ("HOST", "a")], E::DuplicateField("Host")),
            (vec![("Host", "a b")], E::Host),
            (vec![host, ("Content-Length", "1, 1")], E::ContentLength),
            (vec![host, ("Content-Length", "")], E::ContentLength),
            (
                vec![host, ("Content-Length", "1"), ("content-length", "1")],
                E::DuplicateField("Content-Length"),
            ),
            (
                vec![host, ("Content-Type", "a/b"), ("content-type", "a/b")],
                E::DuplicateField("Content-Type"),
            ),
            (
                vec![host, ("Transfer-Encoding", "chunked"), ("Content-Length", "1")],
                E::AmbiguousLength,
            ),
        ] {
            assert_eq!(verdict(Version::Http11, &fields).map(|_| ()), Err(error), "{fields:?}");
        }
    }
}
