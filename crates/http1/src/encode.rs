//! Heads of responses: judged first, and written only when nothing is wrong with them.

use std::time::SystemTime;

use bytes::BytesMut;

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
            Framing::Length(_) if found.content_length != length => {
                length.map_or(ContentLength::AsGiven, ContentLength::Add)
            }
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
            size: found.size + head.reason.len() + server.map_or(0, |name| name.len()) + ADDED_SIZE,
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
        output.extend_from_slice(match self.keep_alive {
            true => b"Connection: keep-alive\r\n",
            false => b"Connection: close\r\n",
        });
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
