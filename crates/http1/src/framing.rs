//! Where a body ends (RFC 9112 §6).

use crate::abnf;
use crate::error::ProtocolError;
use crate::request_line::{MethodKind, Version};

/// How the end of a body is told.
///
/// # Examples
///
/// ```
/// use rgunicorn_http1::Framing;
///
/// assert_eq!(Framing::None.length(), Some(0));
/// assert_eq!(Framing::Length(5).length(), Some(5));
/// assert_eq!(Framing::Chunked.length(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By a chunk of size zero (RFC 9112 §7.1).
    Chunked,
    /// By the end of the connection. Responses only.
    Close,
    /// By `Content-Length`, in bytes.
    Length(u64),
    /// There is no body, whatever the fields say.
    None,
}

impl Framing {
    /// The length of the body in bytes, if it is known beforehand.
    pub fn length(self) -> Option<u64> {
        match self {
            Self::Chunked | Self::Close => None,
            Self::Length(length) => Some(length),
            Self::None => Some(0),
        }
    }

    /// The framing of a request, by RFC 9112 §6.3 without its leniency: every combination that two
    /// readers could understand in two ways is an error.
    pub(crate) fn of_request(
        version: Version,
        content_length: Option<u64>,
        transfer_encoding: Option<TransferEncoding>,
    ) -> Result<Self, ProtocolError> {
        match (transfer_encoding, content_length) {
            (None, None) => Ok(Self::None),
            (None, Some(length)) => Ok(Self::Length(length)),
            (Some(_), Some(_)) => Err(ProtocolError::AmbiguousLength),
            // §6.1: a message with Transfer-Encoding in a version that does not know it is faulty.
            (Some(_), None) if version == Version::Http10 => Err(ProtocolError::TransferEncoding),
            (Some(transfer_encoding), None) => transfer_encoding.framing(),
        }
    }

    /// The framing of a response to `method`, given the length that is known, if any.
    pub(crate) fn of_response(
        version: Version,
        method: MethodKind,
        status: u16,
        length: Option<u64>,
    ) -> Self {
        match (method, status, length) {
            // RFC 9110 §9.3.6: a success says neither; we make no tunnel, so that the end closes.
            (MethodKind::Connect, 200..=299, _) => Self::Close,
            (MethodKind::Head, ..) | (_, 204 | 304, _) => Self::None,
            (_, _, Some(length)) => Self::Length(length),
            (_, _, None) if version == Version::Http10 => Self::Close,
            (_, _, None) => Self::Chunked,
        }
    }
}

/// What all `Transfer-Encoding` fields of a request say together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TransferEncoding {
    /// `chunked` was named; nothing may follow it.
    chunked: bool,
    /// A coding was named that is known and not undone here. gunicorn passes such bodies on, still
    /// encoded, to applications that expect them decoded; we say that we cannot.
    unsupported: bool,
    /// Something was named that is no transfer coding.
    unknown: bool,
}

impl TransferEncoding {
    /// Takes in one field.
    pub(crate) fn add(&mut self, value: &[u8]) -> Result<(), ProtocolError> {
        for coding in abnf::list(value) {
            if self.chunked || !abnf::is_token(coding) {
                return Err(ProtocolError::TransferEncoding);
            }
            let is = |name: &[u8]| coding.eq_ignore_ascii_case(name);
            if is(b"chunked") {
                self.chunked = true;
            } else if UNSUPPORTED.iter().any(|name| is(name)) {
                self.unsupported = true;
            } else {
                self.unknown = true;
            }
        }
        Ok(())
    }

    fn framing(self) -> Result<Framing, ProtocolError> {
        match self {
            Self { unknown: true, .. } => Err(ProtocolError::UnsupportedCoding),
            Self { chunked: false, .. } => Err(ProtocolError::TransferEncoding),
            Self { unsupported: true, .. } => Err(ProtocolError::UnsupportedCoding),
            Self { chunked: true, .. } => Ok(Framing::Chunked),
        }
    }
}

/// Registered codings besides chunked (RFC 9112 §7.2), and `identity`, which RFC 7230 has removed.
const UNSUPPORTED: [&[u8]; 6] =
    [b"compress", b"deflate", b"gzip", b"identity", b"x-compress", b"x-gzip"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfer_encodings() {
        use ProtocolError as E;
        for (values, expected) in [
            (&["chunked"][..], Ok(Framing::Chunked)),
            (&["Chunked\t"], Ok(Framing::Chunked)),
            (&["chunked", "chunked"], Err(E::TransferEncoding)),
            (&["chunked, chunked"], Err(E::TransferEncoding)),
            (&["chunked, gzip"], Err(E::TransferEncoding)),
            (&["chunked,"], Err(E::TransferEncoding)),
            (&[",chunked"], Err(E::TransferEncoding)),
            (&[""], Err(E::TransferEncoding)),
            (&["\"chunked\""], Err(E::TransferEncoding)),
            (&["chunked;q=1"], Err(E::TransferEncoding)),
            (&["gzip"], Err(E::TransferEncoding)),
            (&["gzip, chunked"], Err(E::UnsupportedCoding)),
            (&["gzip", "chunked"], Err(E::UnsupportedCoding)),
            (&["identity"], Err(E::TransferEncoding)),
            (&["identity, chunked"], Err(E::UnsupportedCoding)),
            (&["xchunked"], Err(E::UnsupportedCoding)),
        ] {
            let mut all = TransferEncoding::default();
            let result = values
                .iter()
                .try_for_each(|value| all.add(value.as_bytes()))
                .and_then(|()| Framing::of_request(Version::Http11, None, Some(all)));
            assert_eq!(result, expected, "{values:?}");
        }
    }

    #[test]
    fn requests() {
        let chunked = TransferEncoding { chunked: true, ..TransferEncoding::default() };
        let of = |version, length, encoding| Framing::of_request(version, length, encoding);
        assert_eq!(of(Version::Http11, None, None), Ok(Framing::None));
        assert_eq!(of(Version::Http10, Some(0), None), Ok(Framing::Length(0)));
        assert_eq!(
            of(Version::Http11, Some(0), Some(chunked)),
            Err(ProtocolError::AmbiguousLength)
        );
        assert_eq!(of(Version::Http10, None, Some(chunked)), Err(ProtocolError::TransferEncoding));
    }

    #[test]
    fn responses() {
        use Framing::{Chunked, Close, Length, None as NoBody};
        use MethodKind::{Connect, Head, Other};
        use Version::{Http10, Http11};
        for (version, method, status, length, expected) in [
            (Http11, Other, 200, None, Chunked),
            (Http11, Other, 200, Some(3), Length(3)),
            (Http10, Other, 200, None, Close),
            (Http10, Other, 404, Some(0), Length(0)),
            (Http11, Head, 200, None, NoBody),
            (Http11, Head, 200, Some(3), NoBody),
            (Http11, Other, 204, None, NoBody),
            (Http10, Other, 304, Some(3), NoBody),
            (Http11, Connect, 200, Some(3), Close),
            (Http11, Connect, 404, Some(3), Length(3)),
        ] {
            assert_eq!(Framing::of_response(version, method, status, length), expected);
        }
    }
}
