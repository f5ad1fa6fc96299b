//! Finds where a section of field lines ends: the head's, and the trailers'.

use memchr::memchr_iter;

use crate::config::Config;
use crate::error::ProtocolError;

/// A search that looks at each byte once, however the bytes arrive, and refuses what is over a
/// limit as soon as that is known. Every line must end in CRLF; a CR elsewhere is left to whoever
/// reads the lines, where it is a control character like others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section {
    /// Where in the input the section begins.
    start: usize,
    /// Where the line under search begins; start <= `line_start` <= searched.
    line_start: usize,
    /// `line_start` <= searched <= length of the input: no LF between the first two.
    searched: usize,
    /// Complete lines so far, 0 <= fields <= `limit_request_fields`.
    fields: usize,
}

impl Section {
    /// A section that begins at this position of the input.
    pub(crate) fn new(start: usize) -> Self {
        Self { start, line_start: start, searched: start, fields: 0 }
    }

    /// Where the section begins.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Bytes of the input that need no second look.
    pub(crate) fn searched(&self) -> usize {
        self.searched
    }

    /// Field lines found.
    pub(crate) fn fields(&self) -> usize {
        self.fields
    }

    /// The position after the empty line that ends the section; `None` while it is not there.
    pub(crate) fn end(
        &mut self,
        input: &[u8],
        config: &Config,
    ) -> Result<Option<usize>, ProtocolError> {
        let searched = self.searched;
        for offset in memchr_iter(b'\n', input.get(searched..).unwrap_or_default()) {
            let line_feed = searched + offset;
            let line = input.get(self.line_start..line_feed).unwrap_or_default();
            let length = without_carriage_return(line);
            self.check(length, config)?;
            if length == line.len() {
                return Err(ProtocolError::LineEnd);
            }
            if length == 0 {
                return Ok(Some(line_feed + 1));
            }
            self.fields += 1;
            self.line_start = line_feed + 1;
        }
        self.searched = input.len();
        let line = input.get(self.line_start..).unwrap_or_default();
        self.check(without_carriage_return(line), config)?;
        Ok(None)
    }

    /// Is there room for a line, complete or not, of this length? The answer for the beginning of
    /// a line never differs from that for all of it, or results would depend on how bytes arrive.
    fn check(&self, length: usize, config: &Config) -> Result<(), ProtocolError> {
        if length == 0 {
            return Ok(());
        }
        let limit = config.fields_limit();
        if self.fields >= limit {
            return Err(ProtocolError::TooManyFields { limit });
        }
        let limit = config.field_limit();
        let room = Config::HEAD_LIMIT.saturating_sub(self.line_start - self.start);
        match length + CRLF {
            size if size > limit && limit <= room => Err(ProtocolError::FieldTooLong { limit }),
            size if size > room => Err(ProtocolError::SectionTooLong { limit: Config::HEAD_LIMIT }),
            _ => Ok(()),
        }
    }
}

/// Bytes of a line end.
const CRLF: usize = 2;

/// The length of a line before its CR, if it ends in one.
fn without_carriage_return(line: &[u8]) -> usize {
    line.strip_suffix(b"\r").unwrap_or(line).len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(input: &[u8], config: &Config) -> Result<Option<usize>, ProtocolError> {
        Section::new(0).end(input, config)
    }

    /// The first answer other than "not yet", when bytes come one at a time.
    fn bytewise(input: &[u8], config: &Config) -> Result<Option<usize>, ProtocolError> {
        let mut section = Section::new(0);
        for end in 0..=input.len() {
            match section.end(&input[..end], config) {
                Ok(None) => {}
                answer => return answer,
            }
        }
        Ok(None)
    }

    #[test]
    fn ends() {
        use ProtocolError as E;
        let config = Config::new().limit_request_fields(2).limit_request_field_size(8);
        for (input, expected) in [
            ("", Ok(None)),
            ("\r", Ok(None)),
            ("\r\n", Ok(Some(2))),
            ("a: b\r\n", Ok(None)),
            ("a: b\r\n\r", Ok(None)),
            ("a: b\r\n\r\nrest\n", Ok(Some(8))),
            ("a: 345\r\n\r\n", Ok(Some(10))),
            ("a: 3456\r\n\r\n", Err(E::FieldTooLong { limit: 8 })),
            ("a: 3456\n", Err(E::FieldTooLong { limit: 8 })),
            ("a: b\n", Err(E::LineEnd)),
            ("\n", Err(E::LineEnd)),
            ("a: b\r\n\n", Err(E::LineEnd)),
            ("a:\r\nb:\r\n\r\n", Ok(Some(10))),
            ("a:\r\nb:\r\nc:\r\n\r\n", Err(E::TooManyFields { limit: 2 })),
            ("a:\r\nb:\r\nc", Err(E::TooManyFields { limit: 2 })),
            ("a:\r\nb:\r\nc\n", Err(E::TooManyFields { limit: 2 })),
        ] {
            assert_eq!(whole(input.as_bytes(), &config), expected, "{input:?}");
            assert_eq!(bytewise(input.as_bytes(), &config), expected, "{input:?}");
        }
    }

    #[test]
    fn unlimited_is_not_endless() {
        let config = Config::new().limit_request_fields(0).limit_request_field_size(0);
        let error = Err(ProtocolError::SectionTooLong { limit: Config::HEAD_LIMIT });
        let long_lines = format!("a: {}\r\n", "b".repeat(70_000)).repeat(15) + "\r\n";
        assert_eq!(
            whole(&vec![b'a'; Config::HEAD_LIMIT], &config).map(|_| ()),
            Err(ProtocolError::FieldTooLong { limit: Config::HEAD_LIMIT })
        );
        assert_eq!(whole(long_lines.as_bytes(), &config), error);
    }
}
