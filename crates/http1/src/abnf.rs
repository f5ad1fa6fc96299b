//! The few grammar rules of RFC 9110 §5 on which every other file stands.

/// Is this a token, `1*tchar` (RFC 9110 §5.6.2)? Field names, methods and transfer codings are.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().fold(true, |ok, &byte| ok & is_tchar(byte))
}

/// May these bytes stand in a field value or a reason phrase: `HTAB / SP / VCHAR / obs-text`
/// (RFC 9110 §5.5)? No early exit: without one the compiler compares many bytes at a time.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    !bytes.iter().fold(false, |found, &byte| found | is_control(byte))
}

/// Reads `1*DIGIT`. `None` for anything else, a sign and an empty string too, and on overflow.
pub(crate) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0_u64, |number, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// The elements of a comma-separated list (RFC 9110 §5.6.1), without the white space around them.
/// Empty elements are yielded: who reads the list decides whether they are harmless.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim)
}

/// Cuts optional white space, `*( SP / HTAB )`, from both ends (RFC 9110 §5.6.3).
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// `HTAB` is none, here.
fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

#[expect(clippy::indexing_slicing, reason = "256 entries for the 256 values of a byte")]
fn is_tchar(byte: u8) -> bool {
    TCHAR[usize::from(byte)]
}

/// `unreserved / sub-delims` (RFC 3986 §2.2, §2.3): what a host's name is made of, but for escapes.
#[expect(clippy::indexing_slicing, reason = "256 entries for the 256 values of a byte")]
pub(crate) fn is_uri_text(byte: u8) -> bool {
    URI_TEXT[usize::from(byte)]
}

/// Tables, because both are asked for in every exchange.
static TCHAR: [bool; 256] = letters_digits_and(b"!#$%&'*+-.^_`|~");
static URI_TEXT: [bool; 256] = letters_digits_and(b"-._~!$&'()*+,;=");

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn letters_digits_and(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        for good in [&b"GET"[..], b"x-y_z", b"!#$%&'*+-.^_`|~09"] {
            assert!(is_token(good), "{good:?}");
        }
        for bad in [&b""[..], b"a b", b"a:", b"a\x7f", b"\xe9", b"a(", b"a\0", b"a\""] {
            assert!(!is_token(bad), "{bad:?}");
        }
    }

    #[test]
    fn text() {
        assert!(is_text(b""));
        assert!(is_text(b"a b\tc \xff\x80~"));
        for bad in [b'\0', b'\n', b'\r', 0x1f, 0x7f] {
            assert!(!is_text(&[b'a', bad, b'b']), "{bad}");
        }
    }

    #[test]
    fn decimals() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"0042"), Some(42));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for bad in [&b""[..], b"+1", b"-1", b"1_0", b"0x1", b" 1", b"1,1", b"18446744073709551616"]
        {
            assert_eq!(decimal(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn lists_keep_empty_elements() {
        let elements: Vec<&[u8]> = list(b" a ,\tb,, c\t").collect();
        assert_eq!(elements, [&b"a"[..], b"b", b"", b"c"]);
    }
}
