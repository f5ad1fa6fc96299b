//! The user name that the access log shows.

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

/// Base64 (RFC 4648 §4) as Python's `b64decode` takes it: other characters are skipped, a wrong
/// length or missing padding is an error.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().position(|byte| *byte == b'=');
    let (digits, padding) = text.split_at(end.unwrap_or(text.len()));
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0_usize);
    for digit in digits.iter().filter_map(|digit| sextet(*digit)) {
        bits = bits << 6 | u32::from(digit);
        count += 1;
        if count % 4 == 0 {
            let [_, a, b, c] = bits.to_be_bytes();
            bytes.extend_from_slice(&[a, b, c]);
        }
    }
    let mut padding = padding.iter().filter(|byte| **byte == b'=');
    match (count % 4, padding.next(), padding.next()) {
        (0, ..) => {}
        (2, Some(_), Some(_)) => bytes.push((bits >> 4).to_be_bytes()[3]),
        (3, Some(_), _) => bytes.extend_from_slice(&(bits << 6).to_be_bytes()[1..3]),
        _ => return None,
    }
    Some(bytes)
}

fn sextet(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

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
        let cases: [(&str, Option<&str>); 13] = [
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
        ];
        for (text, expected) in cases {
            let decoded = base64(text.as_bytes());
            assert_eq!(decoded.as_deref(), expected.map(str::as_bytes), "{text}");
        }
    }
}
