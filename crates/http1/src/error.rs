//! Whose fault it was: [`ProtocolError`] is the peer's, [`SendError`] the caller's.

use bytes::Bytes;
use thiserror::Error;

use crate::page;

/// What the peer did wrong. The connection cannot be read any further after one: answer with
/// [`response`](Self::response) unless a response has begun, and close.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// Both `Content-Length` and `Transfer-Encoding`: whoever forwarded this may have
    /// understood it otherwise (RFC 9112 §6.1).
    #[error("both Content-Length and Transfer-Encoding")]
    AmbiguousLength,
    /// A chunk's data is not followed by CRLF (RFC 9112 §7.1).
    #[error("chunk data is not followed by CRLF")]
    ChunkEnd,
    /// A control character in a chunk extension.
    #[error("invalid chunk extension")]
    ChunkExtension,
    /// The chunk extensions of one body exceed what anybody needs; RFC 9112 §7.1.1 wants a limit.
    #[error("chunk extensions exceed {limit} bytes")]
    ChunkExtensionsTooLong {
        /// Bytes allowed in one body.
        limit: usize,
    },
    /// A chunk size that is not 1 to 16 hexadecimal digits, or is followed by something that is no
    /// extension.
    #[error("invalid chunk size")]
    ChunkSize,
    /// A `Content-Length` that is not one decimal number below 2⁶⁴: empty, signed, a list.
    #[error("invalid Content-Length")]
    ContentLength,
    /// A field that may be sent once was sent twice.
    #[error("more than one {0} field")]
    DuplicateField(&'static str),
    /// An `Expect` other than `100-continue` (RFC 9110 §10.1.1).
    #[error("unknown expectation")]
    Expectation,
    /// A field line without colon or name, with a name that is no token, with space before the
    /// colon, or continued from the line before (RFC 9112 §5.1, §5.2).
    #[error("invalid header name")]
    FieldName,
    /// A field larger than `limit_request_field_size`.
    #[error("header field exceeds {limit} bytes")]
    FieldTooLong {
        /// Bytes allowed, with the line end.
        limit: usize,
    },
    /// A control character in a field value (RFC 9110 §5.5).
    #[error("invalid header value")]
    FieldValue,
    /// A `Host` that is no `uri-host [ ":" port ]` (RFC 9110 §7.2).
    #[error("invalid Host")]
    Host,
    /// An HTTP/1.1 request without `Host` (RFC 9112 §3.2).
    #[error("missing Host")]
    HostMissing,
    /// A line that ends in a bare LF (RFC 9112 §2.2).
    #[error("line does not end in CRLF")]
    LineEnd,
    /// A method that is no token, has a lower-case letter or `#`, or not 3 to 20 characters.
    #[error("invalid method")]
    Method,
    /// Not `method SP request-target SP HTTP-version` (RFC 9112 §3).
    #[error("invalid request line")]
    RequestLine,
    /// A request line longer than `limit_request_line`.
    #[error("request line exceeds {limit} bytes")]
    RequestLineTooLong {
        /// Bytes allowed, without the line end.
        limit: usize,
    },
    /// Fields of a trusted forwarder that contradict each other about the scheme.
    #[error("contradictory secure scheme headers")]
    Scheme,
    /// A field section longer than [`Config::HEAD_LIMIT`](crate::Config::HEAD_LIMIT).
    #[error("header section exceeds {limit} bytes")]
    SectionTooLong {
        /// Bytes allowed.
        limit: usize,
    },
    /// A request-target in none of the four forms of RFC 9112 §3.2, or not in the one that belongs
    /// to the method.
    #[error("invalid request target")]
    Target,
    /// More fields than `limit_request_fields`.
    #[error("more than {limit} header fields")]
    TooManyFields {
        /// Fields allowed.
        limit: usize,
    },
    /// A trailer field that must not come after the body (RFC 9110 §6.5.1).
    #[error("field not allowed in trailers")]
    TrailerName,
    /// A `Transfer-Encoding` that does not end in one `chunked`, or in an HTTP/1.0 request
    /// (RFC 9112 §6.1, §6.3).
    #[error("invalid Transfer-Encoding")]
    TransferEncoding,
    /// The peer ended the connection in the midst of a body.
    #[error("connection closed in the midst of the body")]
    UnexpectedEof,
    /// A transfer coding other than `chunked` (RFC 9112 §6.1).
    #[error("unsupported transfer coding")]
    UnsupportedCoding,
    /// An HTTP version other than 1.x.
    #[error("unsupported HTTP version")]
    Version,
}

impl ProtocolError {
    /// The status that answers it: 400, 414, 417, 431, 501 or 505.
    pub fn status(&self) -> u16 {
        match self {
            Self::AmbiguousLength
            | Self::ChunkEnd
            | Self::ChunkExtension
            | Self::ChunkExtensionsTooLong { .. }
            | Self::ChunkSize
            | Self::ContentLength
            | Self::DuplicateField(_)
            | Self::FieldName
            | Self::FieldValue
            | Self::Host
            | Self::HostMissing
            | Self::LineEnd
            | Self::Method
            | Self::RequestLine
            | Self::Scheme
            | Self::Target
            | Self::TrailerName
            | Self::TransferEncoding
            | Self::UnexpectedEof => 400,
            Self::RequestLineTooLong { .. } => 414,
            Self::Expectation => 417,
            Self::FieldTooLong { .. }
            | Self::SectionTooLong { .. }
            | Self::TooManyFields { .. } => 431,
            Self::UnsupportedCoding => 501,
            Self::Version => 505,
        }
    }

    /// The whole response to write before closing: [`error_response`](crate::error_response) with
    /// this status and message.
    pub fn response(&self) -> Bytes {
        page::error_response(self.status(), &self.to_string())
    }
}

/// What the caller did wrong. Nothing was written to `output`, and the exchange stands where it
/// stood, unless a variant says otherwise.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// More body than the `Content-Length` says. Sending `remaining` bytes is still possible.
    #[error("body exceeds its Content-Length: {remaining} bytes remain")]
    BodyTooLong {
        /// Bytes that the announced length still has room for.
        remaining: u64,
    },
    /// The end came before the `Content-Length` was reached. The exchange is over and the
    /// connection cannot be used again: close it, so that the peer notices.
    #[error("body is {missing} bytes shorter than its Content-Length")]
    BodyTooShort {
        /// Bytes announced and not sent.
        missing: u64,
    },
    /// A `Connection` field with any option but `close`.
    #[error("response header Connection allows only close")]
    Connection,
    /// A `Content-Length` that is no number, was given twice, or contradicts
    /// [`ResponseHead::length`](crate::ResponseHead::length).
    #[error("invalid or contradictory Content-Length in response")]
    ContentLength,
    /// A field name that is no token.
    #[error("invalid response header name")]
    FieldName,
    /// A control character in a field value.
    #[error("invalid response header value")]
    FieldValue,
    /// A control character in the reason phrase.
    #[error("invalid reason phrase")]
    Reason,
    /// A status outside 200 to 999; or, for an informational response, outside 100 to 199, or 101.
    #[error("status {0} is not possible here")]
    Status(u16),
    /// A trailer field that must not come after the body (RFC 9110 §6.5.1).
    #[error("field not allowed in response trailers")]
    TrailerName,
    /// Trailers after a body that is not chunked.
    #[error("trailers need a chunked body")]
    Trailers,
    /// A `Transfer-Encoding` field: framing is decided here, nowhere else.
    #[error("response header Transfer-Encoding is not the application's to send")]
    TransferEncoding,
    /// Not possible at this point of the exchange, such as a second response.
    #[error("not possible at this point of the exchange")]
    WrongState,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_small_and_say_the_limit() {
        assert!(size_of::<ProtocolError>() <= 24);
        let error = ProtocolError::RequestLineTooLong { limit: 4094 };
        assert_eq!(error.to_string(), "request line exceeds 4094 bytes");
        assert_eq!(error.status(), 414);
    }

    #[test]
    fn an_error_answers_for_itself() {
        let response = ProtocolError::Version.response();
        assert!(response.starts_with(b"HTTP/1.1 505 HTTP Version Not Supported\r\n"));
    }
}
