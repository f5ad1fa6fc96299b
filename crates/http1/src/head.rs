//! The head of a request: its line and its fields.

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::config::Config;
use crate::error::ProtocolError;
use crate::fields::{Fields, Index, Span};
use crate::forwarded::{Scheme, SchemeReader, SecureSchemeHeaders};
use crate::framing::Framing;
use crate::policy::{self, Verdict};
use crate::request_line::{LineReader, RequestLine, Version};
use crate::section::Section;

/// A request without its body. It owns the bytes that were received and notes where in them the
/// parts are: no copies, no lifetime, and it may go to another thread.
#[derive(Clone)]
pub struct RequestHead {
    fields: Fields,
    framing: Framing,
    keep_alive: bool,
    method: Span,
    peer_is_trusted: bool,
    scheme: Scheme,
    target: Span,
    version: Version,
}

impl RequestHead {
    /// All of the head as it was received, the empty line at its end too.
    pub fn as_bytes(&self) -> &[u8] {
        self.fields.bytes()
    }

    /// The method, in upper case: `GET`.
    pub fn method(&self) -> &str {
        // A method is a token, hence ASCII: the default is never taken.
        std::str::from_utf8(self.method.of(self.fields.bytes())).unwrap_or_default()
    }

    /// The request-target as received, in one of the forms of RFC 9112 §3.2: bytes 0x21 to 0x7E.
    pub fn target(&self) -> &[u8] {
        self.target.of(self.fields.bytes())
    }

    /// Whether the client sees the server through TLS, as far as a trusted peer tells:
    /// [`Config::forwarded_allow_ips`](crate::Config::forwarded_allow_ips) says who is one, and
    /// [`Config::secure_scheme_headers`](crate::Config::secure_scheme_headers) by which fields.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Whether the peer is one of
    /// [`Config::forwarded_allow_ips`](crate::Config::forwarded_allow_ips): what it says about the
    /// client, or about where the application is mounted, may be believed.
    pub fn peer_is_trusted(&self) -> bool {
        self.peer_is_trusted
    }

    /// The version that the peer follows; anything above HTTP/1.1 counts as that.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Names and values in the order received, repetitions too, values without the white space
    /// around them.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + Clone {
        self.fields.iter()
    }

    /// The value of the first field of this name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.fields.find(name)
    }

    /// How the end of the body is told: [`Framing::Chunked`], [`Framing::Length`], or
    /// [`Framing::None`] when the request has neither field.
    pub fn body(&self) -> Framing {
        self.framing
    }

    /// Would the peer send another request on this connection (RFC 9112 §9.3)?
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }
}

impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.method())
            .field("target", &self.target().escape_ascii().to_string())
            .field("version", &self.version)
            .field("headers", &self.headers().len())
            .field("body", &self.framing)
            .field("keep_alive", &self.keep_alive)
            .finish_non_exhaustive()
    }
}

/// Waits for a head to be complete. The request line is judged when it is there, the fields when
/// all of them are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HeadReader {
    Line(LineReader),
    Fields(RequestLine, Section),
}

impl HeadReader {
    /// Bytes of the input that need no second look.
    pub(crate) fn searched(&self) -> usize {
        match self {
            Self::Line(reader) => reader.searched(),
            Self::Fields(_, section) => section.searched(),
        }
    }

    /// What was cut off from the input before the head is complete: an empty line, which is
    /// skipped once.
    pub(crate) fn skipped(&self) -> &'static [u8] {
        match self {
            Self::Line(reader) if reader.has_skipped() => b"\r\n",
            Self::Line(_) | Self::Fields(..) => b"",
        }
    }

    /// The head, cut off from `input`, with what it decides; `None` while it is incomplete. A peer
    /// that is not trusted has no `forwarded` headers.
    pub(crate) fn read(
        &mut self,
        input: &mut BytesMut,
        config: &Config,
        forwarded: Option<&SecureSchemeHeaders>,
    ) -> Result<Option<(RequestHead, RequestLine, Verdict)>, ProtocolError> {
        if let Self::Line(reader) = self {
            let Some((line, fields_start)) = reader.read(input, config)? else { return Ok(None) };
            *self = Self::Fields(line, Section::new(fields_start));
        }
        let Self::Fields(line, section) = self else { return Ok(None) };
        let Some(end) = section.end(input, config)? else { return Ok(None) };
        // A head that is refused stays where it is: whoever reports it wants to know what it was.
        let bytes = input.get(..end).unwrap_or_default();
        let index = Index::parse(bytes, section.start(), section.fields())?;
        let verdict = policy::judge(line, index.iter(bytes), SchemeReader::new(forwarded))?;
        let fields = Fields::new(take(input, end), index);
        let head = RequestHead {
            fields,
            framing: verdict.framing,
            keep_alive: verdict.keep_alive,
            method: line.method,
            peer_is_trusted: forwarded.is_some(),
            scheme: verdict.scheme,
            target: line.target,
            version: line.version,
        };
        Ok(Some((head, *line, verdict)))
    }
}

impl Default for HeadReader {
    fn default() -> Self {
        Self::Line(LineReader::default())
    }
}

/// Cuts the first `length` bytes off `input`. Taking the whole buffer when nothing else is in it
/// saves an allocation: split buffers need a shared owner.
pub(crate) fn take(input: &mut BytesMut, length: usize) -> Bytes {
    if length == input.len() {
        std::mem::take(input).freeze()
    } else {
        input.split_to(length).freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &str) -> Result<Option<RequestHead>, ProtocolError> {
        HeadReader::default()
            .read(&mut BytesMut::from(input), &Config::new(), None)
            .map(|read| read.map(|(head, ..)| head))
    }

    #[test]
    fn a_head_gives_its_parts() {
        let head =
            read("POST /a?b HTTP/1.1\r\nHost: c\r\nX: 1\r\nx: 2\r\nContent-Length: 3\r\n\r\n")
                .unwrap()
                .unwrap();
        assert_eq!(head.method(), "POST");
        assert_eq!(head.target(), b"/a?b");
        assert_eq!(head.version().to_string(), "HTTP/1.1");
        assert_eq!(head.header("x"), Some(&b"1"[..]));
        assert_eq!(head.header("y"), None);
        assert_eq!(head.headers().len(), 4);
        assert_eq!(head.headers().nth(2), Some((&b"x"[..], &b"2"[..])));
        assert_eq!(head.body(), Framing::Length(3));
        assert!(head.keep_alive());
        let debug = format!("{head:?}");
        assert!(debug.contains("POST") && debug.contains("/a?b"), "{debug}");
    }

    #[test]
    fn a_wrong_request_line_is_refused_before_the_fields_arrive() {
        assert_eq!(read("GET /\r\n").map(|_| ()), Err(ProtocolError::RequestLine));
        assert!(read("GET / HTTP/1.1\r\n").unwrap().is_none());
    }

    #[test]
    fn heads_cross_threads() {
        fn check<T: Send + Sync + Clone + 'static>() {}
        check::<RequestHead>();
    }
}
