//! What a proxy in front of the server says about the client's connection to it.
//!
//! Only the scheme is read here, since `wsgi.url_scheme` and redirects depend on it. Everybody can
//! send these fields, so only those of a trusted peer count.

use std::net::IpAddr;

use bytes::Bytes;

use crate::error::ProtocolError;

/// The other end of a connection, as the socket knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A client, or a proxy, at this address.
    Ip(IpAddr),
    /// A process of this machine, by a Unix socket or a pipe.
    Local,
}

/// How the client sees the server: the scheme of the URL that it asked for (RFC 9110 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    #[default]
    Http,
    /// `https`
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The fields by which a proxy tells that its client came by TLS, each with the one value that says
/// so: gunicorn's `secure_scheme_headers`. Names are compared in whatever case, values byte by byte.
///
/// # Examples
///
/// ```
/// use rgunicorn_http1::{Config, SecureSchemeHeaders};
///
/// let headers = SecureSchemeHeaders::from_iter([("X-Forwarded-Proto", "https")]);
/// assert_eq!(headers.iter().len(), 1);
/// assert_eq!(Config::new().secure_scheme_headers.iter().len(), 3);
/// ```
#[derive(Clone, Debug)]
pub struct SecureSchemeHeaders {
    headers: Vec<(Bytes, Bytes)>,
    /// The fingerprints of the names.
    names: u64,
}

impl SecureSchemeHeaders {
    /// Names and the values that mean `https`.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.headers.iter().map(|(name, value)| (&name[..], &value[..]))
    }

    /// What this field says, if it is one of these.
    fn scheme(&self, name: &[u8], value: &[u8]) -> Option<Scheme> {
        let (_, secure) = self.iter().find(|(listed, _)| name.eq_ignore_ascii_case(listed))?;
        Some(if value == secure { Scheme::Https } else { Scheme::Http })
    }
}

/// gunicorn's: `X-Forwarded-Protocol: ssl`, `X-Forwarded-Proto: https`, `X-Forwarded-Ssl: on`.
impl Default for SecureSchemeHeaders {
    fn default() -> Self {
        Self::from_iter([
            ("X-Forwarded-Protocol", "ssl"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Ssl", "on"),
        ])
    }
}

impl<N: Into<Bytes>, V: Into<Bytes>> FromIterator<(N, V)> for SecureSchemeHeaders {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let headers: Vec<(Bytes, Bytes)> =
            headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let names = headers.iter().fold(0, |names, (name, _)| names | fingerprint(name));
        Self { headers, names }
    }
}

/// Looks for the scheme among the fields of one request.
pub(crate) struct SchemeReader<'a> {
    /// `None`: the peer is not trusted.
    headers: Option<&'a SecureSchemeHeaders>,
    /// Those of `headers`; nothing when there are none.
    names: u64,
    scheme: Option<Scheme>,
}

impl<'a> SchemeReader<'a> {
    /// A peer that is not trusted has no `headers`.
    pub(crate) fn new(headers: Option<&'a SecureSchemeHeaders>) -> Self {
        Self { headers, names: headers.map_or(0, |headers| headers.names), scheme: None }
    }

    /// Takes note of a field.
    #[inline]
    pub(crate) fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), ProtocolError> {
        // Nearly every field of a request ends here, for the price of a shift.
        if self.names & fingerprint(name) == 0 {
            return Ok(());
        }
        self.take_similar(name, value)
    }

    #[cold]
    fn take_similar(&mut self, name: &[u8], value: &[u8]) -> Result<(), ProtocolError> {
        let said = self.headers.and_then(|headers| headers.scheme(name, value));
        match (self.scheme, said) {
            // Two proxies disagree, or one adds to what the client sent: either could be the truth.
            (Some(before), Some(now)) if before != now => Err(ProtocolError::Scheme),
            (_, None) => Ok(()),
            (_, Some(_)) => {
                self.scheme = said;
                Ok(())
            }
        }
    }

    /// What the fields said. Without any it is `http`: that is what arrived.
    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme.unwrap_or_default()
    }
}

/// One bit, made of the length and the initial in lower case: names that are equal in whatever case
/// have the same.
fn fingerprint(name: &[u8]) -> u64 {
    let initial = name.first().map_or(0, |initial| initial | 0x20);
    1 << ((name.len() + usize::from(initial)) % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        headers: Option<&SecureSchemeHeaders>,
        fields: &[(&str, &str)],
    ) -> Result<Scheme, ProtocolError> {
        let mut reader = SchemeReader::new(headers);
        for (name, value) in fields {
            reader.take(name.as_bytes(), value.as_bytes())?;
        }
        Ok(reader.scheme())
    }

    #[test]
    fn what_a_trusted_peer_says() {
        let default = SecureSchemeHeaders::default();
        let (proto, protocol, ssl) =
            ("X-Forwarded-Proto", "X-Forwarded-Protocol", "X-Forwarded-Ssl");
        let (http, https, error) =
            (Ok(Scheme::Http), Ok(Scheme::Https), Err(ProtocolError::Scheme));
        for (fields, expected) in [
            (vec![], http),
            (vec![("Host", "a"), ("Transfer-Encoding", "https")], http),
            (vec![(proto, "https")], https),
            (vec![("x-forwarded-PROTO", "https")], https),
            (vec![(protocol, "ssl")], https),
            (vec![(ssl, "on")], https),
            (vec![(proto, "http")], http),
            (vec![(proto, "HTTPS")], http),
            (vec![(proto, "https, https")], http),
            (vec![(proto, "")], http),
            (vec![(protocol, "https")], http),
            (vec![(proto, "https"), (ssl, "on")], https),
            (vec![(proto, "https"), (proto, "https")], https),
            (vec![(proto, "http"), (ssl, "off")], http),
            (vec![(proto, "https"), (ssl, "off")], error),
            (vec![(proto, "http"), (protocol, "ssl")], error),
            (vec![(proto, "https"), ("A", "b"), (proto, "http")], error),
        ] {
            assert_eq!(read(Some(&default), &fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn what_a_stranger_says_does_not_count() {
        let fields = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Ssl", "off")];
        assert_eq!(read(None, &fields), Ok(Scheme::Http));
    }

    #[test]
    fn names_of_any_length() {
        let long = "a".repeat(70);
        let headers = SecureSchemeHeaders::from_iter([(long.clone(), "1"), (String::new(), "2")]);
        assert_eq!(read(Some(&headers), &[(&long, "1")]), Ok(Scheme::Https));
        assert_eq!(read(Some(&headers), &[(&"b".repeat(90), "1")]), Ok(Scheme::Http));
        assert_eq!(Scheme::Https.as_str(), "https");
    }
}
