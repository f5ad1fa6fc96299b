//! The four forms of a request-target (RFC 9112 §3.2), and the authority that two of them, and the
//! `Host` field, are made of.

use crate::abnf;
use crate::error::ProtocolError;

/// Refuses a target in none of the four forms, or not in that of its method.
///
/// Bytes are those of gunicorn, 0x21 to 0x7E: RFC 3986 knows no others, and what is refused here
/// cannot be read in two ways behind a proxy. `#` is let through, as in gunicorn: old clients send
/// fragments, and the application is the one to cut them.
pub(crate) fn check(method: &[u8], target: &[u8]) -> Result<(), ProtocolError> {
    let visible = target.iter().fold(true, |ok, &byte| ok & byte.is_ascii_graphic());
    let right = visible
        && match (method, target) {
            (b"CONNECT", _) => is_authority(target, Port::Required),
            (_, [b'/', ..]) | (b"OPTIONS", b"*") => true,
            _ => is_absolute(target),
        };
    if right { Ok(()) } else { Err(ProtocolError::Target) }
}

/// Is this the value of a `Host` field, `uri-host [ ":" port ]` (RFC 9110 §7.2)? An empty one is:
/// it belongs to a target without authority.
pub(crate) fn is_host(value: &[u8]) -> bool {
    value.is_empty() || is_authority(value, Port::Optional)
}

/// `scheme "://" authority`, then anything. Without userinfo, which hides what host is meant
/// (RFC 9110 §4.2.4).
fn is_absolute(target: &[u8]) -> bool {
    let Some(colon) = target.iter().position(|&byte| byte == b':') else { return false };
    let (scheme, rest) = target.split_at(colon);
    let Some(rest) = rest.strip_prefix(b"://") else { return false };
    let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    let authority = rest.get(..end).unwrap_or_default();
    let is_scheme = matches!(scheme, [first, others @ ..] if first.is_ascii_alphabetic()
        && others.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)));
    is_scheme && is_authority(authority, Port::Optional)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Port {
    Optional,
    Required,
}

/// `host [ ":" port ]` (RFC 3986 §3.2) with a host that is not empty.
fn is_authority(authority: &[u8], port: Port) -> bool {
    let (host, rest) = if let [b'[', literal @ ..] = authority {
        let Some(end) = literal.iter().position(|&byte| byte == b']') else { return false };
        let (address, rest) = literal.split_at(end);
        if !is_ip_literal(address) {
            return false;
        }
        (address, rest.get(1..).unwrap_or_default())
    } else {
        let end = authority.iter().position(|&byte| byte == b':').unwrap_or(authority.len());
        let (name, rest) = authority.split_at(end);
        if !is_registered_name(name) {
            return false;
        }
        (name, rest)
    };
    let right_port = match rest {
        [] => port == Port::Optional,
        [b':', digits @ ..] => {
            digits.iter().all(u8::is_ascii_digit) && (port == Port::Optional || !digits.is_empty())
        }
        _ => false,
    };
    !host.is_empty() && right_port
}

/// `*( unreserved / pct-encoded / sub-delims )` (RFC 3986 §3.2.2); covers IPv4 addresses.
fn is_registered_name(name: &[u8]) -> bool {
    let mut bytes = name.iter();
    while let Some(&byte) = bytes.next() {
        let right = match byte {
            b'%' => {
                bytes.next().is_some_and(u8::is_ascii_hexdigit)
                    && bytes.next().is_some_and(u8::is_ascii_hexdigit)
            }
            _ => abnf::is_uri_text(byte),
        };
        if !right {
            return false;
        }
    }
    true
}

/// What may stand between brackets. Whether an IPv6 address has the right number of groups is for
/// whoever resolves it; here it matters that no delimiter hides inside.
fn is_ip_literal(address: &[u8]) -> bool {
    match address {
        [b'v' | b'V', version, b'.', rest @ ..] => {
            version.is_ascii_hexdigit()
                && !rest.contains(&b'%')
                && rest.split(|&byte| byte == b':').all(is_registered_name)
        }
        _ => {
            address.contains(&b':')
                && address.iter().all(|&byte| byte.is_ascii_hexdigit() || b":.".contains(&byte))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        for (method, target, right) in [
            ("GET", "/", true),
            ("GET", "//double/slash", true),
            ("GET", "/a?b=c&d=%20#e", true),
            ("GET", "http://example.com", true),
            ("GET", "http://example.com:8000/a?b", true),
            ("GET", "https://[::1]:443/", true),
            ("GET", "http://example.com?query", true),
            ("OPTIONS", "*", true),
            ("OPTIONS", "/", true),
            ("CONNECT", "example.com:443", true),
            ("CONNECT", "[::1]:443", true),
            ("GET", "", false),
            ("GET", "*", false),
            ("GET", "**", false),
            ("OPTIONS", "**", false),
            ("GET", "relative/path", false),
            ("GET", "?a=b", false),
            ("GET", "example.com:80", false),
            ("GET", "http:/example.com", false),
            ("GET", "http:///path", false),
            ("GET", "http://user@example.com/", false),
            ("GET", "1http://example.com/", false),
            ("GET", "://example.com/", false),
            ("GET", "http://exam\\ple.com/", false),
            ("CONNECT", "/", false),
            ("CONNECT", "example.com", false),
            ("CONNECT", "example.com:", false),
            ("CONNECT", ":443", false),
            ("CONNECT", "http://example.com:443", false),
        ] {
            let result = check(method.as_bytes(), target.as_bytes());
            assert_eq!(result.is_ok(), right, "{method} {target}");
        }
    }

    #[test]
    fn hosts() {
        for good in [
            "",
            "a",
            "example.com",
            "example.com:80",
            "example.com:",
            "a_b",
            "127.0.0.1:1",
            "[::1]",
            "[::ffff:1.2.3.4]:8000",
            "[v1.a:b]",
            "xn--bcher-kva.example",
            "%41.example",
            "a,b",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            ":80", "a b", "a:b", "a:80:80", "a/b", "a?b", "a#b", "u@a", "[::1", "[]", "[a]", "::1",
            "a:-1", "%4", "%zz", "a\\b", "\u{e9}", "[::1]x", "<a>", "a\"",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }
}
