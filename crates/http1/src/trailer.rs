//! Fields after a chunked body (RFC 9110 §6.5).

use std::fmt;

use crate::error::ProtocolError;
use crate::fields::Fields;

/// The trailer fields of a request; most have none.
#[derive(Clone, Default)]
pub struct Trailers {
    fields: Fields,
}

impl Trailers {
    /// Refuses names that decide what the message is: they must be known before its body.
    pub(crate) fn new(fields: Fields) -> Result<Self, ProtocolError> {
        if fields.iter().any(|(name, _)| is_forbidden(name)) {
            return Err(ProtocolError::TrailerName);
        }
        Ok(Self { fields })
    }

    /// Names and values in the order received.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + Clone {
        self.fields.iter()
    }

    /// The value of the first field of this name, in whatever case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields.find(name)
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.iter().len() == 0
    }
}

impl fmt::Debug for Trailers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        f.debug_map().entries(self.iter().map(|(name, value)| (text(name), text(value)))).finish()
    }
}

/// Framing, routing and authentication do not come late (RFC 9110 §6.5.1); gunicorn's list.
pub(crate) fn is_forbidden(name: &[u8]) -> bool {
    FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden))
}

const FORBIDDEN: [&[u8]; 6] =
    [b"authorization", b"content-length", b"host", b"te", b"trailer", b"transfer-encoding"];

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn trailers(section: &'static str) -> Result<Trailers, ProtocolError> {
        Trailers::new(Fields::parse(Bytes::from(section), 0, section.lines().count()).unwrap())
    }

    #[test]
    fn allowed_names() {
        let trailers = trailers("Digest: abc\r\nX: y\r\n\r\n").unwrap();
        assert_eq!(trailers.get("digest"), Some(&b"abc"[..]));
        assert!(!trailers.is_empty());
        assert!(Trailers::default().is_empty());
        assert_eq!(format!("{trailers:?}"), r#"{"Digest": "abc", "X": "y"}"#);
    }

    #[test]
    fn forbidden_names() {
        for section in ["Host: a\r\n\r\n", "X: y\r\nCONTENT-LENGTH: 1\r\n\r\n", "te: x\r\n\r\n"] {
            let error = trailers(section).map(|_| ());
            assert_eq!(error, Err(ProtocolError::TrailerName), "{section:?}");
        }
    }
}
