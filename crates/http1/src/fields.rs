//! Field lines as positions in the bytes that were received: owned, without a copy and without a
//! lifetime.

use bytes::Bytes;

use crate::error::ProtocolError;

/// A range of the bytes of a head. 32 bits are enough: [`Config::HEAD_LIMIT`] is below.
///
/// [`Config::HEAD_LIMIT`]: crate::Config::HEAD_LIMIT
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    /// 0 <= start <= end.
    start: u32,
    /// start <= end <= length of the bytes.
    end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        // Out of range would be an empty span, but it cannot be: sections are bounded.
        let narrow = |position| u32::try_from(position).unwrap_or(u32::MAX);
        Self { start: narrow(start), end: narrow(end) }
    }

    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Field {
    name: Span,
    value: Span,
}

/// Where the names and values of a section are.
#[derive(Clone, Default)]
pub(crate) struct Index(Box<[Field]>);

impl Index {
    /// Reads the section that begins at `start` and ends with `bytes`; it has `count` lines.
    ///
    /// httparse does it, with SIMD, and is strict about names, colons and control characters; what
    /// it is lenient about, bare LF, was refused by [`Section`](crate::section::Section) before.
    pub(crate) fn parse(bytes: &[u8], start: usize, count: usize) -> Result<Self, ProtocolError> {
        let mut inline = [httparse::EMPTY_HEADER; INLINE];
        let mut heap = Vec::new();
        let slots = if let Some(slots) = inline.get_mut(..count) {
            slots
        } else {
            heap.resize(count, httparse::EMPTY_HEADER);
            heap.as_mut_slice()
        };
        let section = bytes.get(start..).unwrap_or_default();
        match httparse::parse_headers(section, slots) {
            // It must find the same end as we did: more would be another message's.
            Ok(httparse::Status::Complete((end, fields))) if end == section.len() => {
                let span = |part: &[u8]| {
                    let from = start + (part.as_ptr().addr() - section.as_ptr().addr());
                    Span::new(from, from + part.len())
                };
                let index = fields.iter().map(|field| Field {
                    name: span(field.name.as_bytes()),
                    value: span(field.value),
                });
                Ok(Self(index.collect()))
            }
            Ok(_) | Err(httparse::Error::HeaderName) => Err(ProtocolError::FieldName),
            Err(_) => Err(ProtocolError::FieldValue),
        }
    }

    /// Names and values in the order received, of the bytes that were read.
    pub(crate) fn iter<'a>(
        &'a self,
        bytes: &'a [u8],
    ) -> impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + Clone {
        self.0.iter().map(|field| (field.name.of(bytes), field.value.of(bytes)))
    }
}

/// The bytes of a section, and where in them names and values are.
#[derive(Clone, Default)]
pub(crate) struct Fields {
    bytes: Bytes,
    index: Index,
}

impl Fields {
    /// Puts together what was read, and where.
    pub(crate) fn new(bytes: Bytes, index: Index) -> Self {
        Self { bytes, index }
    }

    /// Reads a section, as [`Index::parse`].
    pub(crate) fn parse(bytes: Bytes, start: usize, count: usize) -> Result<Self, ProtocolError> {
        let index = Index::parse(&bytes, start, count)?;
        Ok(Self { bytes, index })
    }

    /// All the bytes, those before the section too.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Names and values in the order received.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + Clone {
        self.index.iter(&self.bytes)
    }

    /// The value of the first field of this name, in whatever case.
    pub(crate) fn find(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }
}

/// Fields that are read without a second allocation; browsers send 10 to 20.
const INLINE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abnf;

    fn parse(section: &str) -> Result<Vec<(String, String)>, ProtocolError> {
        let bytes = Bytes::from(format!("skip{section}\r\n"));
        let count = section.matches("\r\n").count();
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        Fields::parse(bytes, 4, count)
            .map(|fields| fields.iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    #[test]
    fn values_lose_white_space_around_them() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            parse("A:b\r\nc: \t d e \t\r\nF:\r\ng:  \r\n"),
            Ok(vec![pair("A", "b"), pair("c", "d e"), pair("F", ""), pair("g", "")])
        );
    }

    #[test]
    fn wrong_lines() {
        use ProtocolError as E;
        for (section, error) in [
            ("no colon\r\n", E::FieldName),
            ("nocolon\r\n", E::FieldName),
            (": empty\r\n", E::FieldName),
            ("space : before\r\n", E::FieldName),
            ("a: b\r\n folded\r\n", E::FieldName),
            ("a: b\r\n\tfolded\r\n", E::FieldName),
            (" a: b\r\n", E::FieldName),
            ("a(: b\r\n", E::FieldName),
            ("\u{e9}: b\r\n", E::FieldName),
            ("a\r: b\r\n", E::FieldName),
            ("a: b\rc\r\n", E::FieldValue),
            ("a: \r b\r\n", E::FieldValue),
            ("a: b\0c\r\n", E::FieldValue),
            ("a: b\x7f\r\n", E::FieldValue),
            ("a: \x01\r\n", E::FieldValue),
        ] {
            assert_eq!(parse(section), Err(error), "{section:?}");
        }
    }

    #[test]
    fn httparse_agrees_with_our_grammar() {
        for byte in u8::MIN..=u8::MAX {
            // Long enough for every SIMD width, at every position.
            for position in [0, 1, 15, 16, 31, 32, 63] {
                let mut part = [b'x'; 64];
                part[position] = byte;
                let read = |name: &[u8], value: &[u8]| {
                    let section = [name, b":", value, b"\r\n\r\n"].concat();
                    Fields::parse(Bytes::from(section), 0, 1).is_ok()
                };
                // A colon in a name ends it: what remains is a token, unless nothing does.
                let is_name = abnf::is_token(&part) || (byte == b':' && position > 0);
                assert_eq!(read(&part, b"value"), is_name, "{byte:#x} at {position}");
                assert_eq!(read(b"name", &part), abnf::is_text(&part), "{byte:#x} at {position}");
            }
        }
    }

    #[test]
    fn many_fields() {
        let section = "name: value\r\n".repeat(1000);
        assert_eq!(parse(&section).unwrap().len(), 1000);
    }
}
