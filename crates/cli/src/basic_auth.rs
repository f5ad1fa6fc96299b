//! The user name that the access log shows.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

/// The user of basic authentication (RFC 7617 §2), if it is one and not empty.
pub(crate) fn user(authorization: &[u8]) -> Option<Vec<u8>> {
    let (scheme, credentials) = authorization.split_at_checked(b"basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut user = base64(credentials)?;
    let colon = user.iter().position(|byte| *byte == b':');
    user.truncate(colon.unwrap_or(user.len()));
    let is_name = !user.is_empty() && std::str::from_utf8(&user).is_ok();
    is_name.then_some(user)
}

/// Base64 (RFC 4648 §4) as Python's `b64decode` takes it: other characters are skipped, what
/// follows the padding is ignored, and a wrong length or missing padding is an error.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let is_ours = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let mut digits: Vec<u8> = text.iter().copied().filter(is_ours).collect();
    let padding = digits.iter().position(|byte| *byte == b'=').unwrap_or(digits.len());
    let padded = digits.iter().skip(padding).take_while(|byte| **byte == b'=').count();
    digits.truncate(padding + padded);
    LENIENT.decode(digits).ok()
}

/// Python does not mind bits beyond the last byte.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users() {
        let cases: [(&str, Option<&str>); 8] = [
            ("Basic am9objpwdw==", Some("john")),
            ("basic am9obg==", Some("john")),
            ("BASIC  am9obg==", Some("john")),
            ("Basic OnB3", None),
            ("Basic /zpw", None),
            ("Basic !!!", None),
            ("Basic", None),
            ("Bearer am9obg==", None),
        ];
        for (field, expected) in cases {
            let user = user(field.as_bytes());
            assert_eq!(user.as_deref(), expected.map(str::as_bytes), "{field}");
        }
    }

    /// RFC 4648 §10, then what `base64.b64decode` makes of the wrong ones.
    #[test]
    fn base64_as_python_takes_it() {
        let cases: [(&str, Option<&str>); 15] = [
            ("", Some("")),
            ("Zg==", Some("f")),
            ("Zm8=", Some("fo")),
            ("Zm9v", Some("foo")),
            ("Zm9vYg==", Some("foob")),
            ("Zm9vYmE=", Some("fooba")),
            ("Zm9vYmFy", Some("foobar")),
            ("Zm 9v\t", Some("foo")),
            ("Zg=", None),
            ("Zg", None),
            ("Z", None),
            ("Zm8", None),
            ("!!!", Some("")),
            ("Zh==", Some("f")),
            ("Zg==Zg==", Some("f")),
        ];
        for (text, expected) in cases {
            let decoded = base64(text.as_bytes());
            assert_eq!(decoded.as_deref(), expected.map(str::as_bytes), "{text}");
        }
    }
}
