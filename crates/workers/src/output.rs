//! What the socket has not taken yet.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::{Buf, Bytes, BytesMut};

use crate::spool::unlinked_file;
use crate::stream::Stream;

/// Bytes on their way to one client, in this order: `head`, `rest`, `tail`.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// Response head, chunk framing and small pieces of body.
    pub(crate) head: BytesMut,
    /// The end of a body that is known whole: neither copied nor waited for. No piece is empty.
    rest: VecDeque<Piece>,
    /// What follows the rest: a few bytes of framing.
    tail: BytesMut,
}

#[derive(Debug)]
enum Piece {
    Bytes(Bytes),
    /// `range.start < range.end`
    File {
        file: OwnedFd,
        range: Range<u64>,
    },
    /// As `File`, in a file of ours to which more may be appended.
    Spill {
        file: File,
        range: Range<u64>,
    },
}

/// Bytes that one connection may send before others have their turn; a reader that is as quick
/// as we are would never let go.
const TURN_BYTES: usize = 1 << 20;

/// A response up to this size may wait, copied, for those of other requests.
const BRIEF_BYTES: usize = 16 << 10;

impl Output {
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.rest.is_empty() && self.tail.is_empty()
    }

    /// Bytes that a slow reader makes us keep in memory of our own.
    fn buffered(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Whether all of it is a few packets in one buffer.
    pub(crate) fn is_brief(&self) -> bool {
        self.rest.is_empty() && self.tail.is_empty() && self.head.len() <= BRIEF_BYTES
    }

    /// Puts back in front what was to be sent before everything else.
    pub(crate) fn prepend(&mut self, bytes: &[u8]) {
        let behind = std::mem::take(&mut self.head);
        self.head.extend_from_slice(bytes);
        self.head.extend_from_slice(&behind);
    }

    /// Where the framing that follows everything else goes.
    pub(crate) fn end(&mut self) -> &mut BytesMut {
        if self.rest.is_empty() { &mut self.head } else { &mut self.tail }
    }

    /// Gives back the memory of buffers that are empty.
    pub(crate) fn release(&mut self) {
        debug_assert!(self.is_empty(), "what is under way is not thrown away");
        *self = Self::default();
    }

    /// Whether a reader is so slow that more must not gather in memory.
    pub(crate) fn is_behind(&self, limit_memory: usize) -> bool {
        self.buffered() >= limit_memory || !self.rest.is_empty()
    }

    /// Bytes that wait, or waited, in a file.
    pub(crate) fn spilled(&self) -> u64 {
        match self.rest.back() {
            Some(Piece::Spill { range, .. }) => range.end,
            _ => 0,
        }
    }

    /// Appends to an unlinked file what a slow reader has no time for.
    ///
    /// # Errors
    /// The file cannot be made or written.
    pub(crate) fn spill(&mut self, parts: [&[u8]; 3], directory: Option<&Path>) -> io::Result<()> {
        if !matches!(self.rest.back(), Some(Piece::Spill { .. })) {
            self.rest.push_back(Piece::Spill { file: unlinked_file(directory)?, range: 0..0 });
        }
        if let Some(Piece::Spill { file, range }) = self.rest.back_mut() {
            for part in parts {
                file.write_all_at(part, range.end)?;
                range.end += part.len() as u64;
            }
        }
        Ok(())
    }

    /// Adds a piece of the rest, between its chunk's prefix and suffix.
    pub(crate) fn push_rest_bytes(&mut self, prefix: &[u8], data: Bytes, suffix: &'static [u8]) {
        self.push_framing(prefix);
        self.push(Piece::Bytes(data));
        self.push(Piece::Bytes(Bytes::from_static(suffix)));
    }

    /// The same with a part of a file.
    ///
    /// # Errors
    /// No descriptor is left for the copy; the caller's own one may be closed after this.
    pub(crate) fn push_rest_file(
        &mut self,
        prefix: &[u8],
        file: BorrowedFd<'_>,
        range: Range<u64>,
        suffix: &'static [u8],
    ) -> io::Result<()> {
        let file = file.try_clone_to_owned()?;
        self.push_framing(prefix);
        self.push(Piece::File { file, range });
        self.push(Piece::Bytes(Bytes::from_static(suffix)));
        Ok(())
    }

    fn push_framing(&mut self, prefix: &[u8]) {
        if self.rest.is_empty() {
            self.head.extend_from_slice(prefix);
        } else {
            self.push(Piece::Bytes(Bytes::copy_from_slice(prefix)));
        }
    }

    fn push(&mut self, piece: Piece) {
        debug_assert!(self.tail.is_empty(), "a body has one end");
        if !piece.is_empty() {
            self.rest.push_back(piece);
        }
    }

    /// Writes `head`, `data` and `suffix` at once and keeps a copy of what the socket did not take.
    pub(crate) fn write_through(
        &mut self,
        stream: &Stream,
        data: &[u8],
        suffix: &[u8],
    ) -> io::Result<()> {
        let (head, data_len) = (self.head.len(), data.len());
        let parts = [IoSlice::new(&self.head), IoSlice::new(data), IoSlice::new(suffix)];
        let taken = match stream.write_vectored(&parts) {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        self.head.advance(taken.min(head));
        let taken = taken.saturating_sub(head);
        self.head.extend_from_slice(data.get(taken.min(data_len)..).unwrap_or_default());
        let taken = taken.saturating_sub(data_len);
        self.head.extend_from_slice(suffix.get(taken.min(suffix.len())..).unwrap_or_default());
        Ok(())
    }

    /// Writes until all is out, the socket takes no more, or this connection's turn is over.
    ///
    /// # Errors
    /// The client is gone, or a file is shorter than was promised.
    pub(crate) fn flush(&mut self, stream: &Stream) -> io::Result<()> {
        let mut sent = 0;
        while !self.is_empty() && sent < TURN_BYTES {
            match self.write_some(stream) {
                Ok(taken) => sent += taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One system call.
    fn write_some(&mut self, stream: &Stream) -> io::Result<usize> {
        let is_last = self.rest.len() == 1;
        let taken = match self.rest.front_mut() {
            None => {
                let part = if self.head.is_empty() { &mut self.tail } else { &mut self.head };
                let taken = stream.write(part)?;
                consume(part, taken);
                return Ok(taken);
            }
            Some(Piece::File { .. } | Piece::Spill { .. }) if !self.head.is_empty() => {
                let taken = stream.write(&self.head)?;
                consume(&mut self.head, taken);
                return Ok(taken);
            }
            Some(Piece::Bytes(data)) => {
                let tail = if is_last { &self.tail[..] } else { &[] };
                let parts = [IoSlice::new(&self.head), IoSlice::new(data), IoSlice::new(tail)];
                let taken = stream.write_vectored(&parts)?;
                let mut left = taken;
                for part in [&mut self.head as &mut dyn Buf, data, &mut self.tail] {
                    let from_part = left.min(part.remaining());
                    part.advance(from_part);
                    left -= from_part;
                }
                taken
            }
            Some(Piece::File { file, range }) => send_range(stream, file.as_fd(), range)?,
            Some(Piece::Spill { file, range }) => send_range(stream, file.as_fd(), range)?,
        };
        if self.rest.front().is_some_and(Piece::is_empty) {
            self.rest.pop_front();
        }
        Ok(taken)
    }
}

fn send_range(stream: &Stream, file: BorrowedFd<'_>, range: &mut Range<u64>) -> io::Result<usize> {
    let count = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    match stream.send_file(file, range.start, count.min(TURN_BYTES))? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        taken => {
            range.start += taken as u64;
            Ok(taken)
        }
    }
}

/// Usually all was taken, and the buffer is used again from its start.
fn consume(part: &mut BytesMut, taken: usize) {
    if taken == part.len() {
        part.clear();
    } else {
        part.advance(taken);
    }
}

impl Piece {
    fn is_empty(&self) -> bool {
        match self {
            Self::Bytes(data) => data.is_empty(),
            Self::File { range, .. } | Self::Spill { range, .. } => range.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Flushes through a socket whose reader takes a few bytes at a time.
    fn drained(mut output: Output) -> Vec<u8> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (stream, mut all, mut piece) = (Stream::Unix(ours), Vec::new(), [0; 3_011]);
        while !output.is_empty() {
            output.flush(&stream).unwrap();
            let count = theirs.read(&mut piece).unwrap();
            all.extend_from_slice(&piece[..count]);
        }
        drop(stream);
        theirs.read_to_end(&mut all).unwrap();
        all
    }

    #[test]
    fn keeps_the_order_of_head_rest_and_tail() {
        let body = vec![b'x'; 3 << 20];
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&body).unwrap();
        for from_file in [false, true] {
            let mut output = Output::default();
            output.head.extend_from_slice(b"head");
            if from_file {
                output.push_rest_file(b"<", file.as_fd(), 1..body.len() as u64, b">").unwrap();
            } else {
                output.push_rest_bytes(b"<", Bytes::copy_from_slice(&body[1..]), b">");
            }
            output.push_rest_bytes(b"", Bytes::new(), b"");
            output.push_rest_bytes(b"(", Bytes::from_static(b"more"), b")");
            output.end().extend_from_slice(b"tail");
            let all = drained(output);
            assert!(all == [b"head<", &body[1..], b">(more)tail"].concat(), "{from_file}");
        }
    }

    #[test]
    fn write_through_keeps_what_the_socket_did_not_take() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (stream, mut output) = (Stream::Unix(ours), Output::default());
        let piece = vec![b'y'; 1 << 20];
        for _ in 0..3 {
            output.head.extend_from_slice(b"<");
            output.write_through(&stream, &piece, b">").unwrap();
        }
        assert!(output.buffered() > 0);
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).unwrap();
            all
        });
        while !output.is_empty() {
            output.flush(&stream).unwrap();
        }
        drop(stream);
        let wanted = [b"<", &piece[..], b">"].concat().repeat(3);
        assert!(reader.join().unwrap() == wanted);
    }

    #[test]
    fn what_is_spilled_keeps_its_place() {
        let mut output = Output::default();
        output.head.extend_from_slice(b"head ");
        assert!(output.is_behind(5) && !output.is_behind(6));
        let piece = vec![b'x'; 100_000];
        for _ in 0..3 {
            output.spill([b"<", &piece, b">"], None).unwrap();
        }
        assert!(output.is_behind(usize::MAX) && output.spilled() == 300_006);
        output.push_rest_bytes(b"(", Bytes::from_static(b"more"), b")");
        output.end().extend_from_slice(b" tail");
        let spilled = [b"<", &piece[..], b">"].concat().repeat(3);
        assert!(drained(output) == [b"head ", &spilled[..], b"(more) tail"].concat());
    }

    #[test]
    fn a_quick_reader_has_no_more_than_its_turn() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (stream, mut output) = (Stream::Unix(ours), Output::default());
        let piece = Bytes::from(vec![b'x'; 60 << 10]);
        for _ in 0..100 {
            output.push_rest_bytes(b"", piece.clone(), b"");
        }
        let reader = std::thread::spawn(move || theirs.read_to_end(&mut Vec::new()).unwrap());
        let mut turns = 0;
        while !output.is_empty() {
            let before: usize = output.rest.len();
            output.flush(&stream).unwrap();
            assert!(before - output.rest.len() <= TURN_BYTES / (60 << 10) + 1);
            turns += 1;
        }
        assert!(turns >= 6);
        drop(stream);
        assert_eq!(reader.join().unwrap(), 100 * (60 << 10));
    }

    #[test]
    fn a_file_that_shrank_is_an_error() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        let mut output = Output::default();
        output.push_rest_file(b"", file.as_fd(), 0..10, b"").unwrap();
        let error = output.flush(&Stream::Unix(ours)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
