//! A request's body between the socket and the application.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::{Buf, Bytes, BytesMut};

use crate::pipe::{CARRY_BYTES, Carried, Pipe};
use crate::stream::Stream;

/// A body as it gathers, and then as the application reads it: in memory while it is small, in
/// an unlinked file afterwards. An upload therefore costs a worker neither a thread nor, beyond
/// `request_buffer_size`, memory.
#[derive(Debug, Default)]
pub(crate) enum Body {
    #[default]
    Empty,
    /// Several pieces, joined.
    Gathered(BytesMut),
    Spooled(Spool),
    /// One piece, as it lay in the input buffer: the usual form post is never copied.
    Whole(Bytes),
}

/// A body in an unlinked file.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    /// Bytes of the body in the file, which may be longer: an earlier body lay there.
    length: u64,
    /// `0 <= position <= length`
    position: u64,
    /// What comes after the last whole block of the body; shorter than a block.
    tail: BytesMut,
}

/// Where bodies are spooled, and a file for the next one.
///
/// A file that is overwritten costs half as much as a new one, whose every page has to be found
/// and in the end given back (ext4, 64 MiB: 0.3 against 0.6 ms for a MiB received, written and
/// read).
#[derive(Debug)]
pub(crate) struct Spools {
    directory: Option<PathBuf>,
    idle: Mutex<Option<File>>,
    limit_memory: usize,
    /// Made for the first body that is carried to its file.
    pipe: Mutex<Option<Pipe>>,
}

/// Blocks at multiples of their size cost the file system a third less than pieces as they come.
const BLOCK_BYTES: usize = 64 << 10;

/// The largest file that a worker keeps.
const LIMIT_KEPT_BYTES: u64 = 64 << 20;

impl Spools {
    /// Bodies of up to `limit_memory` bytes stay in memory.
    pub(crate) fn new(limit_memory: usize, directory: Option<PathBuf>) -> Self {
        Self { directory, idle: Mutex::default(), limit_memory, pipe: Mutex::default() }
    }

    fn open(&self) -> io::Result<Spool> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let file = kept.map_or_else(|| unlinked_file(self.directory.as_deref()), Ok)?;
        Ok(Spool { file, length: 0, position: 0, tail: BytesMut::new() })
    }

    /// Takes back a body that nobody needs any more.
    pub(crate) fn recycle(&self, body: Body) {
        let Body::Spooled(spool) = body else { return };
        if spool.file.metadata().is_ok_and(|file| file.len() <= LIMIT_KEPT_BYTES) {
            *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(spool.file);
        }
    }
}

impl Body {
    /// A body of this many bytes is to come; `None` if nobody knows.
    ///
    /// # Errors
    /// The temporary file cannot be made.
    pub(crate) fn announced(length: Option<u64>, spools: &Spools) -> io::Result<Self> {
        let is_large = length.is_some_and(|length| length > spools.limit_memory as u64);
        Ok(if is_large { Self::Spooled(spools.open()?) } else { Self::Empty })
    }

    /// Takes one more piece.
    ///
    /// # Errors
    /// The temporary file cannot be made or written.
    pub(crate) fn push(&mut self, data: Bytes, spools: &Spools) -> io::Result<()> {
        if let Self::Spooled(spool) = self {
            return spool.push(&data);
        }
        if self.in_memory().len() + data.len() > spools.limit_memory {
            let mut spool = spools.open()?;
            spool.push(self.in_memory())?;
            spool.push(&data)?;
            *self = Self::Spooled(spool);
            return Ok(());
        }
        *self = match std::mem::take(self) {
            Self::Gathered(mut gathered) => {
                gathered.extend_from_slice(&data);
                Self::Gathered(gathered)
            }
            Self::Whole(first) => {
                let mut gathered = BytesMut::with_capacity(2 * (first.len() + data.len()));
                gathered.extend_from_slice(&first);
                gathered.extend_from_slice(&data);
                Self::Gathered(gathered)
            }
            Self::Empty | Self::Spooled(_) => Self::Whole(data),
        };
        Ok(())
    }

    /// All pieces are here; reading starts at the first.
    ///
    /// # Errors
    /// The temporary file cannot be written.
    pub(crate) fn complete(&mut self) -> io::Result<()> {
        match self {
            Self::Spooled(spool) => spool.complete(),
            Self::Empty | Self::Gathered(_) | Self::Whole(_) => Ok(()),
        }
    }

    /// Bytes that are still to be read.
    pub(crate) fn remaining(&self) -> u64 {
        match self {
            Self::Spooled(spool) => spool.length - spool.position,
            Self::Empty | Self::Gathered(_) | Self::Whole(_) => self.in_memory().len() as u64,
        }
    }

    /// What has arrived, unless it lies in a file.
    pub(crate) fn in_memory(&self) -> &[u8] {
        match self {
            Self::Empty | Self::Spooled(_) => &[],
            Self::Gathered(data) => data,
            Self::Whole(data) => data,
        }
    }
}

impl From<Bytes> for Body {
    fn from(data: Bytes) -> Self {
        Self::Whole(data)
    }
}

impl Spool {
    fn push(&mut self, mut data: &[u8]) -> io::Result<()> {
        if !self.tail.is_empty() {
            let (fill, rest) = data.split_at(data.len().min(BLOCK_BYTES - self.tail.len()));
            self.tail.extend_from_slice(fill);
            data = rest;
            if self.tail.len() < BLOCK_BYTES {
                return Ok(());
            }
            let mut block = std::mem::take(&mut self.tail);
            self.append(&block)?;
            block.clear();
            self.tail = block;
        }
        let (blocks, rest) = data.split_at(data.len() - data.len() % BLOCK_BYTES);
        self.append(blocks)?;
        self.tail.extend_from_slice(rest);
        Ok(())
    }

    /// Takes up to `limit` bytes straight from the socket, without a copy in the program's memory.
    /// `None`: there is no pipe to be had, they must be pushed.
    ///
    /// # Errors
    /// As read(2) from the socket.
    pub(crate) fn carry(
        &mut self,
        stream: &Stream,
        limit: u64,
        spools: &Spools,
    ) -> io::Result<Option<Carried>> {
        let mut pipe = spools.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        if pipe.is_none() {
            *pipe =
                Pipe::new().inspect_err(|error| log::debug!("cannot make a pipe: {error}")).ok();
        }
        let Some(open) = &*pipe else { return Ok(None) };
        if let Err(error) = self.complete() {
            return Ok(Some(Carried::NoRoom(error)));
        }
        let block = CARRY_BYTES as u64;
        let limit = limit.min(block - self.length % block);
        let limit = usize::try_from(limit).unwrap_or(CARRY_BYTES);
        let carried = open.carry(stream, &self.file, self.length, limit)?;
        match &carried {
            Carried::Bytes(count) => self.length += *count as u64,
            Carried::NoRoom(_) => *pipe = None,
        }
        Ok(Some(carried))
    }

    fn complete(&mut self) -> io::Result<()> {
        let tail = std::mem::take(&mut self.tail);
        self.append(&tail)
    }

    fn append(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, self.length)?;
        self.length += data.len() as u64;
        Ok(())
    }
}

impl Read for Spool {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length - self.position).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        let read = self.file.read_at(buffer.get_mut(..count).unwrap_or_default(), self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Empty => Ok(0),
            Self::Gathered(data) => Ok(take(data, buffer)),
            Self::Spooled(spool) => spool.read(buffer),
            Self::Whole(data) => Ok(take(data, buffer)),
        }
    }
}

fn take(data: &mut impl Buf, buffer: &mut [u8]) -> usize {
    let count = data.remaining().min(buffer.len());
    if let Some(buffer) = buffer.get_mut(..count) {
        data.copy_to_slice(buffer);
    }
    count
}

/// A file without a name: it is gone with its descriptor, however the worker ends.
pub(crate) fn unlinked_file(directory: Option<&Path>) -> io::Result<File> {
    match directory {
        Some(directory) => tempfile::tempfile_in(directory),
        None => tempfile::tempfile(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn read_all(body: &mut Body) -> Vec<u8> {
        body.complete().unwrap();
        let mut all = Vec::new();
        body.read_to_end(&mut all).unwrap();
        all
    }

    #[test]
    fn reads_what_was_pushed_wherever_it_lay() {
        for limit in [0, 1, 4, 7, 100] {
            let spools = Spools::new(limit, None);
            for pieces in [&[][..], &["abcd"], &["ab", "cdefg"], &["a", "b", "c", "d", "e"]] {
                let mut body = Body::default();
                for piece in pieces {
                    body.push(Bytes::from_static(piece.as_bytes()), &spools).unwrap();
                }
                assert_eq!(read_all(&mut body), pieces.concat().as_bytes(), "{limit} {pieces:?}");
            }
        }
    }

    #[test]
    fn memory_is_bounded_by_the_limit() {
        let (mut body, spools) = (Body::default(), Spools::new(25, None));
        for _ in 0..10 {
            body.push(Bytes::from_static(b"0123456789"), &spools).unwrap();
            assert!(body.in_memory().len() <= 25);
        }
        assert!(matches!(body, Body::Spooled(_)));
        assert_eq!(read_all(&mut body).len(), 100);
    }

    #[test]
    fn a_file_is_written_in_whole_blocks() {
        let spools = Spools::new(99, None);
        for count in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 5 * BLOCK_BYTES + 7] {
            let sent: Vec<u8> = (b'a'..=b'w').cycle().take(count).collect();
            for piece in [1000, BLOCK_BYTES, 3 * BLOCK_BYTES] {
                let mut body = Body::announced(Some(100), &spools).unwrap();
                for data in sent.chunks(piece) {
                    body.push(Bytes::copy_from_slice(data), &spools).unwrap();
                    let Body::Spooled(spool) = &body else { panic!("in memory") };
                    assert_eq!(spool.length % BLOCK_BYTES as u64, 0);
                    assert!(spool.tail.len() < BLOCK_BYTES);
                }
                assert!(read_all(&mut body) == sent, "{count} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_file_shows_nothing_of_the_body_before() {
        let spools = Spools::new(0, None);
        let spooled = |text: &'static [u8]| {
            let mut body = Body::announced(Some(text.len() as u64), &spools).unwrap();
            body.push(Bytes::from_static(text), &spools).unwrap();
            assert_eq!(read_all(&mut body), text);
            body
        };
        spools.recycle(spooled(b"a long and secret body"));
        assert!(spools.idle.lock().unwrap().is_some());
        let second = spooled(b"short");
        assert!(spools.idle.lock().unwrap().is_none(), "the file was used again");
        spools.recycle(second);
        // A sparse file stands for one that a body of this size would leave.
        let large = spools.open().unwrap();
        large.file.set_len(LIMIT_KEPT_BYTES + 1).unwrap();
        spools.recycle(Body::Spooled(large));
        assert!(spools.idle.lock().unwrap().is_none(), "so much is not kept");
    }

    #[test]
    fn carried_and_pushed_bytes_lie_in_order() {
        let (client, server) = UnixStream::pair().unwrap();
        let stream = Stream::Unix(server);
        let spools = Spools::new(0, None);
        let mut body = Body::announced(Some(1000), &spools).unwrap();
        body.push(Bytes::from_static(b"pushed,"), &spools).unwrap();
        let Body::Spooled(spool) = &mut body else { panic!("in memory") };
        let mut carry = |limit| spool.carry(&stream, limit, &spools);
        (&client).write_all(b"carried, the next request").unwrap();
        assert!(matches!(carry(5).unwrap(), Some(Carried::Bytes(5))));
        assert!(matches!(carry(3).unwrap(), Some(Carried::Bytes(3))));
        assert_eq!(read_all(&mut body), b"pushed,carried,");
        let mut rest = [0; 99];
        assert_eq!(stream.read(&mut rest).unwrap(), b" the next request".len());
    }

    #[test]
    fn what_is_carried_at_once_lies_in_one_block() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let stream = Stream::Unix(server);
        let spools = Spools::new(0, None);
        let sent: Vec<u8> = (b'a'..=b'w').cycle().take(3 * CARRY_BYTES + 5).collect();
        let mut body = Body::announced(Some(sent.len() as u64), &spools).unwrap();
        body.push(Bytes::copy_from_slice(&sent[..7]), &spools).unwrap();
        let Body::Spooled(spool) = &mut body else { panic!("in memory") };
        let rest = sent[7..].to_vec();
        let sender = std::thread::spawn(move || client.write_all(&rest).unwrap());
        loop {
            poll(&mut [PollFd::new(stream.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
            // The first time, what was pushed goes to the file too.
            let from = spool.length.max(7);
            match spool.carry(&stream, u64::MAX, &spools).unwrap() {
                Some(Carried::Bytes(0)) => break,
                Some(Carried::Bytes(count)) => assert_eq!(spool.length - from, count as u64),
                other => panic!("{other:?}"),
            }
            let block = CARRY_BYTES as u64;
            assert_eq!(from / block, (spool.length - 1) / block);
        }
        sender.join().unwrap();
        assert!(read_all(&mut body) == sent);
    }

    #[test]
    fn a_full_disk_is_not_the_clients_fault() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let stream = Stream::Unix(server);
        let spools = Spools::new(0, None);
        let read_only = File::open("/dev/null").unwrap();
        let mut spool = Spool { file: read_only, length: 0, position: 0, tail: BytesMut::new() };
        client.write_all(b"lost").unwrap();
        let carried = spool.carry(&stream, 4, &spools).unwrap();
        assert!(matches!(carried, Some(Carried::NoRoom(_))), "{carried:?}");
        assert!(spools.pipe.lock().unwrap().is_none(), "the bytes of one are not another's");
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let spools = Spools::new(1, Some("/nonexistent".into()));
        assert!(Body::default().push(Bytes::from_static(b"xy"), &spools).is_err());
        assert!(Body::announced(Some(2), &spools).is_err());
        assert!(Body::announced(Some(1), &spools).is_ok());
        assert!(Body::announced(None, &spools).is_ok());
    }
}
