//! The chunked transfer coding, both ways (RFC 9112 §7.1). The lines are read by our own code: a
//! size that two readers understand in two ways is how requests are smuggled.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use crate::config::Config;
use crate::error::ProtocolError;
use crate::fields::Fields;
use crate::head::take;
use crate::section::Section;
use crate::trailer::Trailers;

/// Reads a chunked body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoder {
    /// The line of a chunk was consumed.
    begun: bool,
    /// Bytes of chunk lines that were no size, over the whole body;
    /// 0 <= extensions <= `EXTENSIONS_LIMIT`.
    extensions: usize,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Within a chunk, of which this many bytes, at least one, are still to come.
    Data(u64),
    /// Before the CRLF that follows the data.
    DataEnd,
    /// Within the line of a chunk's size; no LF before `searched`.
    Size { searched: usize },
    /// After the last chunk.
    Trailers(Section),
}

/// What a step through a body yields.
#[derive(Debug)]
pub(crate) enum Part {
    Data(Bytes),
    End(Trailers),
    NeedData,
}

impl Decoder {
    /// Stands before the first chunk.
    pub(crate) fn new() -> Self {
        Self { begun: false, extensions: 0, phase: Phase::Size { searched: 0 } }
    }

    /// Bytes of the input that need no second look.
    pub(crate) fn searched(&self) -> usize {
        match &self.phase {
            Phase::Data(_) | Phase::DataEnd => 0,
            Phase::Size { searched } => *searched,
            Phase::Trailers(section) => section.searched(),
        }
    }

    /// Was any of the body cut off from the input?
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// The next part of the body, cut off from `input`. After an end or an error, no more.
    pub(crate) fn read(
        &mut self,
        input: &mut BytesMut,
        config: &Config,
    ) -> Result<Part, ProtocolError> {
        // Each turn consumes input or returns.
        loop {
            match &mut self.phase {
                Phase::Size { searched } => {
                    let Some(line_feed) = find_line_feed(input, searched) else {
                        check_line_length(input.len(), self.extensions)?;
                        return Ok(Part::NeedData);
                    };
                    let (size, extension) = parse_line(input, line_feed, self.extensions)?;
                    input.advance(line_feed + 1);
                    self.begun = true;
                    self.extensions += extension;
                    self.phase = match size {
                        0 => Phase::Trailers(Section::new(0)),
                        size => Phase::Data(size),
                    };
                }
                Phase::Data(_) if input.is_empty() => return Ok(Part::NeedData),
                Phase::Data(left) => {
                    let length = prefix_length(*left, input.len());
                    *left -= length as u64;
                    if *left == 0 {
                        self.phase = Phase::DataEnd;
                    }
                    return Ok(Part::Data(take(input, length)));
                }
                Phase::DataEnd => match &input[..] {
                    [b'\r', b'\n', ..] => {
                        input.advance(2);
                        self.phase = Phase::Size { searched: 0 };
                    }
                    [] | [b'\r'] => return Ok(Part::NeedData),
                    _ => return Err(ProtocolError::ChunkEnd),
                },
                Phase::Trailers(section) => {
                    let Some(end) = section.end(input, config)? else { return Ok(Part::NeedData) };
                    let count = section.fields();
                    if count == 0 {
                        input.advance(end);
                        return Ok(Part::End(Trailers::default()));
                    }
                    let fields = Fields::parse(take(input, end), 0, count)?;
                    return Ok(Part::End(Trailers::new(fields)?));
                }
            }
        }
    }
}

/// How much of a body of which `left` bytes remain stands in a buffer of `available` bytes.
pub(crate) fn prefix_length(left: u64, available: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(available)
}

fn find_line_feed(input: &[u8], searched: &mut usize) -> Option<usize> {
    let found = memchr(b'\n', input.get(*searched..).unwrap_or_default());
    let line_feed = found.map(|offset| *searched + offset);
    *searched = line_feed.unwrap_or(input.len());
    line_feed
}

/// Reads `chunk-size [ chunk-ext ] CRLF`: the size, and the bytes that the extension took.
fn parse_line(
    input: &[u8],
    line_feed: usize,
    extensions: usize,
) -> Result<(u64, usize), ProtocolError> {
    check_line_length(line_feed, extensions)?;
    let line = input.get(..line_feed).unwrap_or_default();
    let line = line.strip_suffix(b"\r").ok_or(ProtocolError::LineEnd)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if !(1..=SIZE_DIGITS).contains(&digits) {
        return Err(ProtocolError::ChunkSize);
    }
    let (digits, extension) = line.split_at(digits);
    check_extension(extension)?;
    if extensions + extension.len() > EXTENSIONS_LIMIT {
        return Err(ProtocolError::ChunkExtensionsTooLong { limit: EXTENSIONS_LIMIT });
    }
    // Sixteen hexadecimal digits cannot overflow.
    let size = digits.iter().fold(0, |size, &digit| (size << 4) | u64::from(hex_value(digit)));
    Ok((size, extension.len()))
}

/// Judges a line by its length, CR included, complete or not, so that none gathers without bound:
/// more cannot fit into the room left for extensions.
fn check_line_length(length: usize, extensions: usize) -> Result<(), ProtocolError> {
    if length > SIZE_DIGITS + 1 + EXTENSIONS_LIMIT.saturating_sub(extensions) {
        return Err(ProtocolError::ChunkExtensionsTooLong { limit: EXTENSIONS_LIMIT });
    }
    Ok(())
}

/// Nothing, or `BWS ";"` and text. Nobody uses extensions, so that what they say is ignored; but a
/// control character in one, a lone CR above all, may end the line for another reader.
fn check_extension(extension: &[u8]) -> Result<(), ProtocolError> {
    let mut visible = extension.iter().skip_while(|byte| matches!(byte, b' ' | b'\t'));
    match visible.next() {
        None if extension.is_empty() => Ok(()),
        Some(b';') if crate::abnf::is_text(extension) => Ok(()),
        Some(b';') => Err(ProtocolError::ChunkExtension),
        _ => Err(ProtocolError::ChunkSize),
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        // ASCII letters differ from lower case in one bit only.
        _ => (digit | 0x20).wrapping_sub(b'a').wrapping_add(10),
    }
}

/// Digits of the largest size, 2⁶⁴ - 1.
const SIZE_DIGITS: usize = 16;

/// Bytes of extensions that one body may have, white space before them included; without a bound,
/// a body of one-byte chunks costs a peer's every byte again and again (RFC 9112 §7.1.1).
const EXTENSIONS_LIMIT: usize = 16 * 1024;

/// What to write around a piece of the body that was announced by
/// [`Connection::send_data`](crate::Connection::send_data). The piece itself is never copied:
/// write prefix, piece and suffix with one `writev`.
///
/// # Examples
///
/// ```
/// # use rgunicorn_http1::{Chunk, Config, Connection, Peer, ResponseHead};
/// # use std::time::SystemTime;
/// # let mut http = Connection::new(Config::new().into(), Peer::Local);
/// # let mut output = bytes::BytesMut::new();
/// # http.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
/// # http.next_event()?;
/// # http.send_response(&ResponseHead::new(200, &[]), SystemTime::now(), &mut output)?;
/// let chunk: Chunk = http.send_data(26)?;
/// assert_eq!(chunk.prefix(), b"1A\r\n");
/// assert_eq!(chunk.suffix(), b"\r\n");
/// assert!(chunk.writes_body());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    /// `prefix[start..]` is written; digits stand at the end, where counting puts them.
    prefix: [u8; Self::PREFIX_SIZE],
    /// 0 <= start <= `PREFIX_SIZE`
    start: u8,
    body: bool,
}

impl Chunk {
    /// The size line; empty unless the body is chunked.
    pub fn prefix(&self) -> &[u8] {
        self.prefix.get(usize::from(self.start)..).unwrap_or_default()
    }

    /// The line end after the data; empty unless the body is chunked.
    pub fn suffix(&self) -> &'static [u8] {
        if self.prefix().is_empty() { b"" } else { b"\r\n" }
    }

    /// Are the bytes themselves to be written? Not in answer to HEAD, nor with 204 and 304.
    pub fn writes_body(&self) -> bool {
        self.body
    }

    /// The bytes as they are, with nothing around them.
    pub(crate) fn plain() -> Self {
        Self { prefix: [0; Self::PREFIX_SIZE], start: Self::EMPTY, body: true }
    }

    /// Nothing at all.
    pub(crate) fn nothing() -> Self {
        Self { body: false, ..Self::plain() }
    }

    /// A chunk of this many bytes; nothing for zero, since a chunk of size zero ends the body.
    pub(crate) fn sized(length: u64) -> Self {
        let mut chunk = Self::plain();
        if length == 0 {
            return chunk;
        }
        let mut left = length;
        let [digits @ .., carriage_return, line_feed] = &mut chunk.prefix;
        (*carriage_return, *line_feed) = (b'\r', b'\n');
        for slot in digits.iter_mut().rev() {
            // Upper case, as gunicorn writes it.
            *slot = match (left & 0xf) as u8 {
                digit @ 0..=9 => b'0' + digit,
                digit => b'A' + digit - 10,
            };
            left >>= 4;
            chunk.start -= 1;
            if left == 0 {
                break;
            }
        }
        chunk.start -= 2;
        chunk
    }

    /// 16 digits and CRLF.
    const PREFIX_SIZE: usize = 18;
    /// `start` of a prefix that is empty.
    const EMPTY: u8 = 18;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data and the number of trailers, when the input comes in pieces of this size.
    fn decode(input: &str, piece: usize) -> Result<Option<(String, usize)>, ProtocolError> {
        let (mut decoder, mut buffer) = (Decoder::new(), BytesMut::new());
        let mut data = Vec::new();
        for bytes in input.as_bytes().chunks(piece) {
            buffer.extend_from_slice(bytes);
            loop {
                match decoder.read(&mut buffer, &Config::new())? {
                    Part::Data(part) => data.extend_from_slice(&part),
                    Part::End(trailers) => {
                        return Ok(Some((String::from_utf8(data).unwrap(), trailers.iter().len())));
                    }
                    Part::NeedData => break,
                }
            }
        }
        Ok(None)
    }

    #[test]
    fn bodies() {
        use ProtocolError as E;
        let long = format!("1;{}\r\na\r\n", "x".repeat(9000));
        let body = |data: &str, trailers| Ok(Some((data.to_owned(), trailers)));
        for (input, expected) in [
            ("0\r\n\r\n", body("", 0)),
            ("3\r\nabc\r\n0\r\n\r\n", body("abc", 0)),
            ("3\r\nabc\r\n2\r\nde\r\n000\r\n\r\n", body("abcde", 0)),
            ("A\r\n0123456789\r\n0\r\n\r\n", body("0123456789", 0)),
            ("000000000000000a\r\n0123456789\r\n0\r\n\r\n", body("0123456789", 0)),
            ("3;a=b\r\nabc\r\n0; c=\"d\"\r\n\r\n", body("abc", 0)),
            ("3 \t;a\r\nabc\r\n0\r\n\r\n", body("abc", 0)),
            ("1\r\na\r\n0\r\nX: y\r\nZ:\r\n\r\n", body("a", 2)),
            ("1\r\na\r\n0\r\n", Ok(None)),
            ("\r\n", Err(E::ChunkSize)),
            (";\r\n", Err(E::ChunkSize)),
            ("+1\r\n", Err(E::ChunkSize)),
            ("-1\r\n", Err(E::ChunkSize)),
            (" 1\r\n", Err(E::ChunkSize)),
            ("1 \r\n", Err(E::ChunkSize)),
            ("1_0\r\n", Err(E::ChunkSize)),
            ("0x1\r\n", Err(E::ChunkSize)),
            ("1 2\r\n", Err(E::ChunkSize)),
            ("00000000000000001\r\n", Err(E::ChunkSize)),
            ("1\n", Err(E::LineEnd)),
            ("1\r\r\n", Err(E::ChunkSize)),
            ("1;a\rb\r\n", Err(E::ChunkExtension)),
            ("1;a\0\r\n", Err(E::ChunkExtension)),
            ("1;a\n", Err(E::LineEnd)),
            ("1\r\nab", Err(E::ChunkEnd)),
            ("1\r\na\n", Err(E::ChunkEnd)),
            ("1\r\na\r\r\n", Err(E::ChunkEnd)),
            ("0\r\nHost: a\r\n\r\n", Err(E::TrailerName)),
            ("0\r\n a\r\n\r\n", Err(E::FieldName)),
            ("0\r\n\n", Err(E::LineEnd)),
            (&long, Ok(None)),
            (&long.repeat(2), Err(E::ChunkExtensionsTooLong { limit: EXTENSIONS_LIMIT })),
        ] {
            for piece in [1, 2, 7, input.len()] {
                assert_eq!(decode(input, piece), expected, "{input:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let error = Err(ProtocolError::ChunkExtensionsTooLong { limit: EXTENSIONS_LIMIT });
        assert_eq!(decode(&"1".repeat(17_000), 1000), error);
    }

    #[test]
    fn the_largest_size_does_not_overflow() {
        let mut buffer = BytesMut::from("FFFFFFFFFFFFFFFF\r\na");
        let part = Decoder::new().read(&mut buffer, &Config::new());
        assert!(matches!(part, Ok(Part::Data(data)) if data == "a"));
    }

    #[test]
    fn size_lines() {
        for (length, prefix) in [
            (0, ""),
            (1, "1\r\n"),
            (255, "FF\r\n"),
            (0x0123_4567, "1234567\r\n"),
            (u64::MAX, "FFFFFFFFFFFFFFFF\r\n"),
        ] {
            let chunk = Chunk::sized(length);
            assert_eq!(chunk.prefix(), prefix.as_bytes());
            assert_eq!(chunk.suffix().is_empty(), length == 0);
        }
    }
}
