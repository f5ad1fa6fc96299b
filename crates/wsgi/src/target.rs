//! The request target, taken apart as far as CGI variables need it.

use std::borrow::Cow;

/// Path and query of a request target in any of the forms of RFC 9112 §3.2.
///
/// Whether the target is well-formed is for the HTTP parser to say; every sequence of bytes has a
/// path here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// Still percent-encoded.
    pub(crate) path: &'a [u8],
    /// Without the question mark; empty if there is none.
    pub(crate) query: &'a [u8],
}

impl<'a> Target<'a> {
    pub(crate) fn parse(target: &'a [u8]) -> Self {
        let target = match target {
            // Origin-form. `//host/x` is a path with two slashes, never an authority.
            [b'/', ..] => target,
            _ => strip_authority(target).unwrap_or(target),
        };
        // A fragment has no place in a request, but where one comes it is not part of the path.
        let target = split_once(target, b'#').0;
        let (path, query) = split_once(target, b'?');
        Self { path: if path.is_empty() { b"/" } else { path }, query }
    }

    /// The path as `PATH_INFO` has it: percent-decoded. A percent sign that is not followed by two
    /// hexadecimal digits stands for itself.
    pub(crate) fn decoded_path(self) -> Cow<'a, [u8]> {
        if memchr::memchr(b'%', self.path).is_none() {
            return Cow::Borrowed(self.path);
        }
        let mut decoded = Vec::with_capacity(self.path.len());
        let mut rest = self.path;
        while let [first, after @ ..] = rest {
            let (byte, after) = match (first, after) {
                (b'%', [high, low, beyond @ ..]) => match (hex(*high), hex(*low)) {
                    (Some(high), Some(low)) => (high << 4 | low, beyond),
                    _ => (b'%', after),
                },
                _ => (*first, after),
            };
            decoded.push(byte);
            rest = after;
        }
        Cow::Owned(decoded)
    }
}

/// What follows scheme and authority of absolute-form; `None` if the target has no scheme.
fn strip_authority(target: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = target.split_at(memchr::memchr(b':', target)?);
    let rest = rest.strip_prefix(b"://")?;
    // RFC 3986 §3.1
    let is_scheme = scheme.first()?.is_ascii_alphabetic()
        && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    if is_scheme { rest.get(end..) } else { None }
}

fn split_once(bytes: &[u8], separator: u8) -> (&[u8], &[u8]) {
    match memchr::memchr(separator, bytes) {
        Some(at) => (bytes.get(..at).unwrap_or_default(), bytes.get(at + 1..).unwrap_or_default()),
        None => (bytes, &[]),
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_has_path_and_query() {
        let cases: [(&[u8], &[u8], &[u8]); 13] = [
            (b"/", b"/", b""),
            (b"/a/b?x=1&y=?", b"/a/b", b"x=1&y=?"),
            (b"/a#top", b"/a", b""),
            (b"/a?q#top", b"/a", b"q"),
            (b"/a#b?c", b"/a", b""),
            (b"//host/x", b"//host/x", b""),
            (b"/see?u=http://x/y", b"/see", b"u=http://x/y"),
            (b"http://host/x?q", b"/x", b"q"),
            (b"https://[::1]:8000", b"/", b""),
            (b"http://host?q", b"/", b"q"),
            (b"*", b"*", b""),
            (b"host:443", b"host:443", b""),
            (b"1ttp://host/x", b"1ttp://host/x", b""),
        ];
        for (target, path, query) in cases {
            assert_eq!(Target::parse(target), Target { path, query }, "{}", target.escape_ascii());
        }
    }

    #[test]
    fn percent_decoding_keeps_what_is_malformed() {
        let cases: [(&[u8], &[u8]); 9] = [
            (b"/plain", b"/plain"),
            (b"/a%20b", b"/a b"),
            (b"/%e4%E4", b"/\xe4\xe4"),
            (b"/%C3%A9", b"/\xc3\xa9"),
            (b"/100%", b"/100%"),
            (b"/100%2", b"/100%2"),
            (b"/%zz%4", b"/%zz%4"),
            (b"/%%41", b"/%A"),
            (b"/%2541", b"/%41"),
        ];
        for (path, decoded) in cases {
            let target = Target { path, query: b"" };
            assert_eq!(&*target.decoded_path(), decoded, "{}", path.escape_ascii());
        }
    }
}
