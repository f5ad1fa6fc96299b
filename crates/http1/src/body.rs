//! A body, whatever its framing: one that is read, and one that is written.

use bytes::BytesMut;

use crate::chunked::{Chunk, Decoder, Part, prefix_length};
use crate::config::Config;
use crate::error::{ProtocolError, SendError};
use crate::framing::Framing;
use crate::head::take;
use crate::trailer::Trailers;

/// Reads the body of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BodyReader {
    Chunked(Decoder),
    /// Bytes still to come.
    Length(u64),
}

impl BodyReader {
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Chunked => Self::Chunked(Decoder::new()),
            Framing::Length(length) => Self::Length(length),
            // RFC 9112 §6.3: the end of a request is never told by closing.
            Framing::Close | Framing::None => Self::Length(0),
        }
    }

    /// Bytes of the input that need no second look.
    pub(crate) fn searched(&self) -> usize {
        match self {
            Self::Chunked(decoder) => decoder.searched(),
            Self::Length(_) => 0,
        }
    }

    /// Were `count` bytes of this body, whose framing was `framing`, cut off from the input, and no
    /// more? Of a chunked body nothing counts but its content, so it is only known of none.
    pub(crate) fn has_read(&self, count: u64, framing: Framing) -> bool {
        match self {
            Self::Chunked(decoder) => count == 0 && !decoder.has_begun(),
            Self::Length(left) => framing.length() == left.checked_add(count),
        }
    }

    /// The next part of the body, cut off from `input`.
    pub(crate) fn read(
        &mut self,
        input: &mut BytesMut,
        config: &Config,
    ) -> Result<Part, ProtocolError> {
        match self {
            Self::Chunked(decoder) => decoder.read(input, config),
            Self::Length(0) => Ok(Part::End(Trailers::default())),
            Self::Length(_) if input.is_empty() => Ok(Part::NeedData),
            Self::Length(left) => {
                let length = prefix_length(*left, input.len());
                *left -= length as u64;
                Ok(Part::Data(take(input, length)))
            }
        }
    }
}

/// Counts the body of a response against its framing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyWriter {
    /// With `Length`, the bytes still to be sent.
    framing: Framing,
}

impl BodyWriter {
    pub(crate) fn new(framing: Framing) -> Self {
        Self { framing }
    }

    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    /// Takes note of a piece of the body.
    pub(crate) fn data(&mut self, length: u64) -> Result<Chunk, SendError> {
        match &mut self.framing {
            Framing::Chunked => Ok(Chunk::sized(length)),
            Framing::Close => Ok(Chunk::plain()),
            Framing::Length(left) => match left.checked_sub(length) {
                Some(rest) => {
                    *left = rest;
                    Ok(Chunk::plain())
                }
                None => Err(SendError::BodyTooLong { remaining: *left }),
            },
            Framing::None => Ok(Chunk::nothing()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_kept_on_both_sides() {
        let mut writer = BodyWriter::new(Framing::Length(5));
        assert!(writer.data(3).unwrap().writes_body());
        assert_eq!(writer.data(3).unwrap_err(), SendError::BodyTooLong { remaining: 2 });
        assert!(writer.data(2).unwrap().prefix().is_empty());
        assert_eq!(writer.framing(), Framing::Length(0));

        let (mut reader, mut input) = (BodyReader::new(Framing::Length(3)), BytesMut::from("abcd"));
        let config = Config::new();
        assert!(matches!(reader.read(&mut input, &config), Ok(Part::Data(data)) if data == "abc"));
        assert!(matches!(reader.read(&mut input, &config), Ok(Part::End(_))));
        assert_eq!(&input[..], b"d");
    }

    #[test]
    fn without_a_body_nothing_is_written() {
        let chunk = BodyWriter::new(Framing::None).data(3).unwrap();
        assert!(!chunk.writes_body());
        assert!(chunk.prefix().is_empty() && chunk.suffix().is_empty());
    }
}
