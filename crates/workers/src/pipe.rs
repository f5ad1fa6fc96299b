//! A pipe, through which the kernel carries bytes from a socket to a file.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;

use crate::stream::Stream;

/// Empty between two calls. What it carries never comes into the program's memory, see splice(2).
#[derive(Debug)]
pub(crate) struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

/// What came of carrying bytes from a socket to a file.
#[derive(Debug)]
pub(crate) enum Carried {
    /// So many bytes; 0 is the end of what the peer sends.
    Bytes(usize),
    /// The file cannot take them. They are lost, and so is the pipe.
    NoRoom(io::Error),
}

/// What one call carries at most. As many bytes in one piece, at a multiple of their number, cost
/// the file system a third less than pieces of 64 KiB.
pub(crate) const CARRY_BYTES: usize = 1 << 20;

impl Pipe {
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // A user has a limit for all his pipes; what the kernel gives without asking will do too.
        let size = i32::try_from(CARRY_BYTES).unwrap_or(i32::MAX);
        if let Err(error) = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(size)) {
            log::debug!("cannot enlarge a pipe: {error}");
        }
        Ok(Self { reader, writer })
    }

    /// Carries up to `limit` bytes that are here to the place `offset` of a file.
    ///
    /// # Errors
    /// As read(2) from the socket.
    pub(crate) fn carry(
        &self,
        stream: &Stream,
        file: &File,
        offset: u64,
        limit: usize,
    ) -> io::Result<Carried> {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
        let count = splice(stream, None, &self.writer, None, limit.min(CARRY_BYTES), flags)?;
        Ok(match self.empty_into(file, offset, count) {
            Ok(()) => Carried::Bytes(count),
            Err(error) => Carried::NoRoom(error),
        })
    }

    fn empty_into(&self, file: &File, offset: u64, mut count: usize) -> io::Result<()> {
        let mut offset = i64::try_from(offset).map_err(io::Error::other)?;
        while count > 0 {
            let flags = SpliceFFlags::empty();
            match splice(&self.reader, None, file, Some(&mut offset), count, flags) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(moved) => count = count.saturating_sub(moved),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
