//! Where log lines go: a standard stream, or a file that can be opened anew.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::settings::LogTarget;

/// A log file cannot be opened; in gunicorn's words.
#[derive(Debug, thiserror::Error)]
#[error("'{}' isn't writable [{reason}]", .path.display())]
pub struct LogFileError {
    path: PathBuf,
    reason: io::Error,
}

/// The stream behind the target `-`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Standard {
    Error,
    Output,
}

/// The write end of a log.
///
/// Several processes append to it. `O_APPEND` and one write(2) for each line keep their lines
/// whole.
///
/// A reader-writer lock, because lines only read it: a process forked while another thread writes
/// a line inherits a lock that is still free to read.
#[derive(Debug)]
pub(crate) struct LogFile {
    standard: Standard,
    output: RwLock<Output>,
}

#[derive(Debug)]
enum Output {
    File { file: File, path: PathBuf },
    Standard,
}

impl LogFile {
    /// Opens `target`; `standard` is its stream if it names no file.
    ///
    /// # Errors
    ///
    /// The file cannot be opened for writing.
    pub(crate) fn open(target: &LogTarget, standard: Standard) -> Result<Self, LogFileError> {
        Ok(Self { standard, output: RwLock::new(Output::open(target)?) })
    }

    /// Goes on with another target; on failure, with the old one.
    ///
    /// # Errors
    ///
    /// The file cannot be opened for writing.
    pub(crate) fn redirect(&self, target: &LogTarget) -> Result<(), LogFileError> {
        let output = Output::open(target)?;
        *self.output.write().unwrap_or_else(PoisonError::into_inner) = output;
        Ok(())
    }

    /// Opens the path again, after logrotate has moved the file away; on failure, the old file
    /// goes on.
    ///
    /// # Errors
    ///
    /// The file cannot be opened for writing.
    pub(crate) fn reopen(&self) -> Result<(), LogFileError> {
        let target = match &*self.output.read().unwrap_or_else(PoisonError::into_inner) {
            Output::File { path, .. } => LogTarget::File(path.clone()),
            Output::Standard => return Ok(()),
        };
        self.redirect(&target)
    }

    /// Writes one line, its newline included. A line that cannot be written is lost: there is
    /// nobody left to tell.
    pub(crate) fn write_line(&self, line: &[u8]) {
        match &*self.output.read().unwrap_or_else(PoisonError::into_inner) {
            Output::File { file, .. } => write_all(file.as_fd(), line),
            Output::Standard => match self.standard {
                Standard::Error => write_all(io::stderr().as_fd(), line),
                Standard::Output => write_all(io::stdout().as_fd(), line),
            },
        }
    }
}

impl Output {
    fn open(target: &LogTarget) -> Result<Self, LogFileError> {
        match target {
            LogTarget::File(path) => Ok(Self::File {
                file: append_to(path)?,
                // Reopened wherever the process stands by then.
                path: std::path::absolute(path).unwrap_or_else(|_| path.clone()),
            }),
            LogTarget::Standard => Ok(Self::Standard),
        }
    }
}

fn append_to(path: &Path) -> Result<File, LogFileError> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map_err(|reason| LogFileError { path: path.to_owned(), reason })
}

/// write(2) until all is written or the other end is gone.
///
/// Standard error may be non-blocking: whoever shares the terminal or pipe with us decides that.
fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match nix::unistd::write(fd, bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let mut writable = [PollFd::new(fd, PollFlags::POLLOUT)];
                if poll(&mut writable, PollTimeout::NONE).is_err_and(|error| error != Errno::EINTR)
                {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}
