//! Heads of responses: judged first, and written only when nothing is wrong with them.

use std::time::SystemTime;

use bytes::{Bytes, BytesMut};

use crate::abnf;
use crate::config::Config;
use crate::date;
use crate::error::SendError;
use crate::framing::Framing;
use crate::request_line::{MethodKind, Version};
use crate::response::{Headers, ResponseHead};
use crate::trailer;

/// What the head of a response depends on besides itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    pub(crate) version: Version,
    pub(crate) method: MethodKind,
    /// The connection may live on, as far as peer and server wish it.
    pub(crate) keep_alive: bool,
}

/// A head that was found right, and what is to be added to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    version: Version,
    date: bool,
    server: bool,
    content_length: ContentLength,
    /// Bytes that the head takes at most.
    size: usize,
}

/// What becomes of the `Content-Length` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContentLength {
    /// The caller's, if there is one, is written where it stands.
    AsGiven,
    /// One with this value is added.
    Add(u64),
    /// The caller's is left out: RFC 9110 §8.6 forbids it with 204 and with a success of CONNECT.
    Drop,
}

impl Plan {
    /// Judges a final response.
    pub(crate) fn new(
        head: &ResponseHead<'_>,
        exchange: Exchange,
        config: &Config,
    ) -> Result<Self, SendError> {
        if !(200..=999).contains(&head.status) {
            return Err(SendError::Status(head.status));
        }
        let found = Found::inspect(head)?;
        let server = config.server.as_ref().filter(|_| !found.server);
        if server.is_some_and(|name| !abnf::is_text(name)) {
            return Err(SendError::FieldValue);
        }
        let Exchange { version, method, keep_alive } = exchange;
        let length = found.content_length.or(head.length);
        let framing = Framing::of_response(version, method, head.status, length);
        let content_length = match framing {
            Framing::Length(length) if found.content_length.is_none() => ContentLength::Add(length),
            Framing::Length(length) if head.length.is_some_and(|known| known != length) => {
                return Err(SendError::ContentLength);
            }
            Framing::None if head.status == 204 => ContentLength::Drop,
            Framing::Close if found.content_length.is_some() => ContentLength::Drop,
            _ => ContentLength::AsGiven,
        };
        Ok(Self {
            framing,
            keep_alive: keep_alive && !found.close && framing != Framing::Close,
            version,
            date: !found.date,
            server: server.is_some(),
            content_length,
            size: found.size + head.reason.len() + server.map_or(0, Bytes::len) + ADDED_SIZE,
        })
    }

    /// Appends the head to `output`.
    pub(crate) fn write(
        &self,
        head: &ResponseHead<'_>,
        config: &Config,
        now: SystemTime,
        output: &mut BytesMut,
    ) {
        output.reserve(self.size);
        write_status_line(self.version, head, output);
        if let Some(name) = config.server.as_ref().filter(|_| self.server) {
            write_field(b"Server", name, output);
        }
        if self.date {
            write_field(b"Date", &date::imf_fixdate(now), output);
        }
        let connection: &[u8] =
            if self.keep_alive { b"Connection: keep-alive\r\n" } else { b"Connection: close\r\n" };
        output.extend_from_slice(connection);
        if self.framing == Framing::Chunked {
            output.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        if let ContentLength::Add(length) = self.content_length {
            let mut digits = itoa::Buffer::new();
            write_field(b"Content-Length", digits.format(length).as_bytes(), output);
        }
        for (name, value) in head.headers {
            let ours = name.eq_ignore_ascii_case(b"Connection")
                || self.content_length == ContentLength::Drop
                    && name.eq_ignore_ascii_case(b"Content-Length");
            if !ours {
                write_field(name, value, output);
            }
        }
        output.extend_from_slice(b"\r\n");
    }
}

/// Bytes of a status line without its reason, of all fields that may be added without the server's
/// name, and of the empty line: 211 at most.
const ADDED_SIZE: usize = 216;

/// What the caller's fields say, found in one pass that also judges them.
#[derive(Default)]
struct Found {
    close: bool,
    content_length: Option<u64>,
    date: bool,
    server: bool,
    /// Bytes of all field lines.
    size: usize,
}

impl Found {
    fn inspect(head: &ResponseHead<'_>) -> Result<Self, SendError> {
        if !abnf::is_text(head.reason) {
            return Err(SendError::Reason);
        }
        let mut found = Self::default();
        for (name, value) in head.headers {
            check_field(name, value)?;
            found.take(name, value)?;
            found.size += name.len() + value.len() + SEPARATORS;
        }
        Ok(found)
    }

    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), SendError> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"Date") => self.date = true,
            6 if name.eq_ignore_ascii_case(b"Server") => self.server = true,
            10 if name.eq_ignore_ascii_case(b"Connection") => {
                if !abnf::list(value).all(|option| option.eq_ignore_ascii_case(b"close")) {
                    return Err(SendError::Connection);
                }
                self.close = true;
            }
            14 if name.eq_ignore_ascii_case(b"Content-Length") => {
                let length = abnf::decimal(value).ok_or(SendError::ContentLength)?;
                if self.content_length.replace(length).is_some() {
                    return Err(SendError::ContentLength);
                }
            }
            17 if name.eq_ignore_ascii_case(b"Transfer-Encoding") => {
                return Err(SendError::TransferEncoding);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Appends an informational response (RFC 9110 §15.2): nothing is added to the caller's fields.
pub(crate) fn informational(
    head: &ResponseHead<'_>,
    output: &mut BytesMut,
) -> Result<(), SendError> {
    // 101 would end HTTP on this connection.
    if !(100..=199).contains(&head.status) || head.status == 101 {
        return Err(SendError::Status(head.status));
    }
    let found = Found::inspect(head)?;
    if found.content_length.is_some() {
        return Err(SendError::ContentLength);
    }
    if found.close {
        return Err(SendError::Connection);
    }
    output.reserve(found.size + head.reason.len() + ADDED_SIZE);
    write_status_line(Version::Http11, head, output);
    write_fields(head.headers, output);
    Ok(())
}

/// Appends the last chunk, trailers and the empty line (RFC 9112 §7.1).
pub(crate) fn last_chunk(trailers: Headers<'_>, output: &mut BytesMut) -> Result<(), SendError> {
    for (name, value) in trailers.as_slice() {
        check_field(name, value)?;
        if trailer::is_forbidden(name) {
            return Err(SendError::TrailerName);
        }
    }
    output.extend_from_slice(b"0\r\n");
    write_fields(trailers.as_slice(), output);
    Ok(())
}

/// Nothing in a name or a value may end its line: whoever could smuggle in a CRLF would write the
/// rest of the response.
fn check_field(name: &[u8], value: &[u8]) -> Result<(), SendError> {
    if !abnf::is_token(name) {
        return Err(SendError::FieldName);
    }
    if !abnf::is_text(value) {
        return Err(SendError::FieldValue);
    }
    Ok(())
}

fn write_status_line(version: Version, head: &ResponseHead<'_>, output: &mut BytesMut) {
    output.extend_from_slice(version.as_str().as_bytes());
    output.extend_from_slice(b" ");
    output.extend_from_slice(itoa::Buffer::new().format(head.status).as_bytes());
    // RFC 9112 §4: the space stays even without a reason.
    output.extend_from_slice(b" ");
    output.extend_from_slice(head.reason);
    output.extend_from_slice(b"\r\n");
}

fn write_fields(fields: &[(&[u8], &[u8])], output: &mut BytesMut) {
    for (name, value) in fields {
        write_field(name, value, output);
    }
    output.extend_from_slice(b"\r\n");
}

fn write_field(name: &[u8], value: &[u8], output: &mut BytesMut) {
    output.extend_from_slice(name);
    output.extend_from_slice(b": ");
    output.extend_from_slice(value);
    output.extend_from_slice(b"\r\n");
}

/// `": "` and CRLF.
const SEPARATORS: usize = 4;

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    type Fields<'a> = &'a [(&'a [u8], &'a [u8])];

    const GET: Exchange =
        Exchange { version: Version::Http11, method: MethodKind::Other, keep_alive: true };

    fn encode(exchange: Exchange, head: ResponseHead<'_>) -> Result<(String, Framing), SendError> {
        let (config, mut output) = (Config::new().server("test"), BytesMut::new());
        let plan = Plan::new(&head, exchange, &config)?;
        plan.write(&head, &config, UNIX_EPOCH, &mut output);
        assert!(output.len() <= plan.size, "{} bytes in {}", output.len(), plan.size);
        Ok((String::from_utf8(output.to_vec()).unwrap(), plan.framing))
    }

    #[test]
    fn what_is_added_comes_first_and_in_order() {
        let head = ResponseHead::new(200, &[(b"X-A", b"1"), (b"x-a", b"2")]);
        let (text, framing) = encode(GET, head).unwrap();
        assert_eq!(framing, Framing::Chunked);
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\nServer: test\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
             Connection: keep-alive\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\nx-a: 2\r\n\r\n"
        );
    }

    #[test]
    fn what_the_caller_gave_is_not_added() {
        let head = ResponseHead::new(
            200,
            &[(b"date", b"now"), (b"SERVER", b"mine"), (b"Connection", b"close")],
        );
        let (text, _) = encode(GET, head).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\
             date: now\r\nSERVER: mine\r\n\r\n"
        );
    }

    #[test]
    fn lengths() {
        let length: Fields<'_> = &[(b"Content-Length", b"3")];
        let head_request = Exchange { method: MethodKind::Head, ..GET };
        let connect = Exchange { method: MethodKind::Connect, ..GET };
        let http10 = Exchange { version: Version::Http10, ..GET };
        for (exchange, status, headers, known, framing, line) in [
            (GET, 200, length, None, Framing::Length(3), "Content-Length: 3\r\n"),
            (GET, 200, length, Some(3), Framing::Length(3), "Content-Length: 3\r\n"),
            (GET, 200, &[], Some(0), Framing::Length(0), "Content-Length: 0\r\n"),
            (GET, 200, &[], Some(u64::MAX), Framing::Length(u64::MAX), "18446744073709551615"),
            (GET, 204, length, Some(0), Framing::None, ""),
            (GET, 304, length, None, Framing::None, "Content-Length: 3\r\n"),
            (GET, 304, &[], Some(0), Framing::None, ""),
            (head_request, 200, length, Some(0), Framing::None, "Content-Length: 3\r\n"),
            (head_request, 200, &[], Some(0), Framing::None, ""),
            (connect, 200, length, None, Framing::Close, ""),
            (http10, 200, length, None, Framing::Length(3), "Content-Length: 3\r\n"),
            (http10, 200, &[], None, Framing::Close, "Connection: close\r\n"),
        ] {
            let head = ResponseHead { length: known, ..ResponseHead::new(status, headers) };
            let (text, found) = encode(exchange, head).unwrap();
            assert_eq!(found, framing, "{text}");
            assert!(text.contains(line), "{text}");
            let lengths = text.matches("Content-Length").count();
            assert_eq!(lengths, usize::from(line.contains(['3', '0', '1'])), "{text}");
            assert!(text.starts_with(exchange.version.as_str()), "{text}");
        }
    }

    #[test]
    fn refusals() {
        use SendError as E;
        let fields: [(Fields<'_>, SendError); 14] = [
            (&[(b"", b"x")], E::FieldName),
            (&[(b"a b", b"x")], E::FieldName),
            (&[(b"a:", b"x")], E::FieldName),
            (&[(b"a", b"x\r\nb: y")], E::FieldValue),
            (&[(b"a", b"x\0")], E::FieldValue),
            (&[(b"Transfer-Encoding", b"chunked")], E::TransferEncoding),
            (&[(b"connection", b"keep-alive")], E::Connection),
            (&[(b"Connection", b"close, upgrade")], E::Connection),
            (&[(b"Connection", b"")], E::Connection),
            (&[(b"Content-Length", b"")], E::ContentLength),
            (&[(b"Content-Length", b"-1")], E::ContentLength),
            (&[(b"Content-Length", b"1, 1")], E::ContentLength),
            (&[(b"Content-Length", b"1"), (b"content-length", b"1")], E::ContentLength),
            (&[(b"Content-Length", b"18446744073709551616")], E::ContentLength),
        ];
        for (headers, error) in fields {
            assert_eq!(encode(GET, ResponseHead::new(200, headers)), Err(error), "{headers:?}");
        }
        let ok = ResponseHead::new(200, &[]);
        for status in [0, 99, 100, 101, 199, 1000] {
            let error = Err(E::Status(status));
            assert_eq!(encode(GET, ResponseHead { status, ..ok }), error);
        }
        assert_eq!(encode(GET, ResponseHead { reason: b"a\r\n", ..ok }), Err(E::Reason));
        let contradiction = ResponseHead {
            length: Some(2),
            ..ResponseHead::new(200, &[(b"Content-Length", b"3")])
        };
        assert_eq!(encode(GET, contradiction), Err(E::ContentLength));
    }

    #[test]
    fn the_reason_may_be_missing() {
        let (text, _) = encode(GET, ResponseHead::new(299, &[])).unwrap();
        assert!(text.starts_with("HTTP/1.1 299 \r\n"), "{text}");
    }

    #[test]
    fn informational_heads() {
        let encode = |status, headers| {
            let mut output = BytesMut::new();
            informational(&ResponseHead::new(status, headers), &mut output)
                .map(|()| String::from_utf8(output.to_vec()).unwrap())
        };
        assert_eq!(encode(100, &[]).unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(
            encode(103, &[(b"Link", b"</a>")]).unwrap(),
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        );
        assert_eq!(encode(101, &[]), Err(SendError::Status(101)));
        assert_eq!(encode(200, &[]), Err(SendError::Status(200)));
        assert_eq!(encode(103, &[(b"Content-Length", b"0")]), Err(SendError::ContentLength));
        assert_eq!(encode(103, &[(b"Connection", b"close")]), Err(SendError::Connection));
    }

    #[test]
    fn trailers() {
        let mut output = BytesMut::new();
        last_chunk(Headers::new(&[(b"Digest", b"x")]), &mut output).unwrap();
        last_chunk(Headers::empty(), &mut output).unwrap();
        assert_eq!(&output[..], b"0\r\nDigest: x\r\n\r\n0\r\n\r\n");
        let host = last_chunk(Headers::new(&[(b"Host", b"x")]), &mut output);
        assert_eq!(host, Err(SendError::TrailerName));
    }
}
