//! What the caller wants to send.

use crate::reason::canonical_reason;

/// The head of a response, borrowed from wherever the caller has it.
///
/// `Connection`, `Date`, `Server`, `Content-Length` and `Transfer-Encoding` need not be among the
/// headers: what is missing and due is added.
///
/// # Examples
///
/// ```
/// use rgunicorn_http1::ResponseHead;
///
/// let head = ResponseHead::new(404, &[(b"Content-Type", b"text/plain")]);
/// assert_eq!(head.reason, b"Not Found");
/// let head = ResponseHead { length: Some(3), ..head };
/// assert_eq!(head.length, Some(3));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// The status, 200 to 999; of an informational response 100 to 199.
    pub status: u16,
    /// The reason phrase; may be empty. Readers ignore it (RFC 9112 §4).
    pub reason: &'a [u8],
    /// Names and values, in the order in which they are written.
    pub headers: &'a [(&'a [u8], &'a [u8])],
    /// The length of the body in bytes when it is known although no `Content-Length` among the
    /// headers says it; the field is then written.
    pub length: Option<u64>,
}

impl<'a> ResponseHead<'a> {
    /// A head with the registered reason phrase and no known length.
    pub fn new(status: u16, headers: &'a [(&'a [u8], &'a [u8])]) -> Self {
        Self { status, reason: canonical_reason(status).as_bytes(), headers, length: None }
    }
}

/// Fields to send after a chunked body.
///
/// # Examples
///
/// ```
/// use rgunicorn_http1::Headers;
///
/// let trailers = Headers::new(&[(b"Server-Timing", b"db;dur=53")]);
/// assert_eq!(trailers.as_slice().len(), 1);
/// assert!(Headers::empty().as_slice().is_empty());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a>(&'a [(&'a [u8], &'a [u8])]);

impl<'a> Headers<'a> {
    /// These names and values, in this order.
    pub fn new(headers: &'a [(&'a [u8], &'a [u8])]) -> Self {
        Self(headers)
    }

    /// None.
    pub fn empty() -> Self {
        Self(&[])
    }

    /// The names and values.
    pub fn as_slice(&self) -> &'a [(&'a [u8], &'a [u8])] {
        self.0
    }
}
