//! What the socket has not taken yet.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::{Buf, Bytes, BytesMut};

use crate::stream::Stream;

/// Bytes on their way to one client, in this order: `head`, `rest`, `tail`.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// Response head, chunk framing and small pieces of body.
    pub(crate) head: BytesMut,
    /// The end of a body that is known whole: neither copied nor waited for.
    rest: Rest,
    /// What follows the rest: a few bytes of framing.
    pub(crate) tail: BytesMut,
}

#[derive(Debug, Default)]
enum Rest {
    #[default]
    Empty,
    Bytes(Bytes),
    /// `range.start <= range.end`
    File {
        file: OwnedFd,
        range: Range<u64>,
    },
}

/// sendfile(2) transfers at most 0x7ffff000 bytes; a smaller step keeps one big file from
/// occupying the worker while the socket goes on taking.
const FILE_STEP_BYTES: u64 = 1 << 20;

impl Output {
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.rest.is_empty() && self.tail.is_empty()
    }

    /// Bytes that a slow reader makes us keep, without those that the application or the file
    /// system keeps anyway.
    pub(crate) fn buffered(&self) -> usize {
        self.head.len() + self.tail.len()
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

    pub(crate) fn set_rest_bytes(&mut self, data: Bytes) {
        debug_assert!(self.rest.is_empty(), "a body has one end");
        self.rest = Rest::Bytes(data);
    }

    /// # Errors
    /// No descriptor is left for the copy; the caller's own one may be closed after this.
    pub(crate) fn set_rest_file(
        &mut self,
        file: BorrowedFd<'_>,
        range: Range<u64>,
    ) -> io::Result<()> {
        debug_assert!(self.rest.is_empty(), "a body has one end");
        self.rest = Rest::File { file: file.try_clone_to_owned()?, range };
        Ok(())
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

    /// Writes until all is out or the socket takes no more.
    ///
    /// # Errors
    /// The client is gone, or a file is shorter than was promised.
    pub(crate) fn flush(&mut self, stream: &Stream) -> io::Result<()> {
        while !self.is_empty() {
            match self.write_some(stream) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One system call.
    fn write_some(&mut self, stream: &Stream) -> io::Result<()> {
        match &mut self.rest {
            Rest::Empty => {
                let part = if self.head.is_empty() { &mut self.tail } else { &mut self.head };
                let taken = stream.write(part)?;
                consume(part, taken);
            }
            Rest::Bytes(data) => {
                let parts =
                    [IoSlice::new(&self.head), IoSlice::new(data), IoSlice::new(&self.tail)];
                let mut taken = stream.write_vectored(&parts)?;
                for part in [&mut self.head as &mut dyn Buf, data, &mut self.tail] {
                    let from_part = taken.min(part.remaining());
                    part.advance(from_part);
                    taken -= from_part;
                }
            }
            Rest::File { .. } if !self.head.is_empty() => {
                let taken = stream.write(&self.head)?;
                consume(&mut self.head, taken);
            }
            Rest::File { file, range } => {
                let count = (range.end - range.start).min(FILE_STEP_BYTES);
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                match stream.send_file(file.as_fd(), range.start, count)? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    taken => range.start += taken as u64,
                }
            }
        }
        if self.rest.is_empty() {
            self.rest = Rest::Empty;
        }
        Ok(())
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

impl Rest {
    fn is_empty(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Bytes(data) => data.is_empty(),
            Self::File { range, .. } => range.is_empty(),
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
            output.tail.extend_from_slice(b"tail");
            if from_file {
                output.set_rest_file(file.as_fd(), 1..body.len() as u64).unwrap();
            } else {
                output.set_rest_bytes(Bytes::copy_from_slice(&body[1..]));
            }
            let all = drained(output);
            assert_eq!(all, [b"head", &body[1..], b"tail"].concat(), "{from_file}");
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
    fn a_file_that_shrank_is_an_error() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        let mut output = Output::default();
        output.set_rest_file(file.as_fd(), 0..10).unwrap();
        let error = output.flush(&Stream::Unix(ours)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
