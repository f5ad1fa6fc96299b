//! Where log lines go: a standard stream, or a file that can be opened anew.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{dup2_stderr, dup2_stdout};
use rgunicorn_arbiter::{Group, User};

use crate::settings::{LogTarget, Settings};

/// A log file cannot be opened or written; in gunicorn's words.
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
    File { file: File, path: PathBuf, owner: Owner },
    Standard,
}

/// Whom a log file belongs to: those who will have to reopen it. As the process, by default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Owner {
    pub(crate) user: Option<User>,
    pub(crate) group: Option<Group>,
}

impl From<&Settings> for Owner {
    fn from(settings: &Settings) -> Self {
        Self { user: settings.user, group: settings.group }
    }
}

impl LogFile {
    /// Opens `target`; `standard` is its stream if it names no file.
    ///
    /// # Errors
    ///
    /// The file cannot be opened for writing.
    pub(crate) fn open(
        target: &LogTarget,
        standard: Standard,
        owner: Owner,
    ) -> Result<Self, LogFileError> {
        Ok(Self { standard, output: RwLock::new(Output::open(target, owner)?) })
    }

    /// Goes on with another target; on failure, with the old one.
    ///
    /// # Errors
    ///
    /// The file cannot be opened for writing.
    pub(crate) fn redirect(&self, target: &LogTarget, owner: Owner) -> Result<(), LogFileError> {
        let output = Output::open(target, owner)?;
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
        let (target, owner) = match &*self.output.read().unwrap_or_else(PoisonError::into_inner) {
            Output::File { path, owner, .. } => (LogTarget::File(path.clone()), *owner),
            Output::Standard => return Ok(()),
        };
        self.redirect(&target, owner)
    }

    /// Sends this process's standard output and standard error into the file, if it is one.
    ///
    /// # Errors
    ///
    /// The system has no room for descriptors.
    pub(crate) fn capture_standard_streams(&self) -> Result<(), LogFileError> {
        match &*self.output.read().unwrap_or_else(PoisonError::into_inner) {
            Output::File { file, path, .. } => dup2_stdout(file)
                .and_then(|()| dup2_stderr(file))
                .map_err(|reason| LogFileError { path: path.clone(), reason: reason.into() }),
            Output::Standard => Ok(()),
        }
    }

    /// Writes one line, its newline included.
    ///
    /// # Errors
    ///
    /// The line, or the end of it, is lost: the disk is full, or nobody reads the pipe any more.
    pub(crate) fn write_line(&self, line: &[u8]) -> Result<(), LogFileError> {
        let output = self.output.read().unwrap_or_else(PoisonError::into_inner);
        let written = match &*output {
            Output::File { file, .. } => write_all(file.as_fd(), line),
            Output::Standard => match self.standard {
                Standard::Error => write_all(io::stderr().as_fd(), line),
                Standard::Output => write_all(io::stdout().as_fd(), line),
            },
        };
        written.map_err(|reason| LogFileError {
            path: match &*output {
                Output::File { path, .. } => path.clone(),
                Output::Standard => PathBuf::from("-"),
            },
            reason: reason.into(),
        })
    }
}

impl Output {
    fn open(target: &LogTarget, owner: Owner) -> Result<Self, LogFileError> {
        match target {
            LogTarget::File(path) => Ok(Self::File {
                file: append_to(path, owner)?,
                owner,
                // Reopened wherever the process stands by then.
                path: std::path::absolute(path).unwrap_or_else(|_| path.clone()),
            }),
            LogTarget::Standard => Ok(Self::Standard),
        }
    }
}

fn append_to(path: &Path, owner: Owner) -> Result<File, LogFileError> {
    let open = || {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let (user, group) = (owner.user.map(User::uid), owner.group.map(Group::gid));
        let found = file.metadata()?;
        // A worker, which is not root any more, finds the file given away already.
        let is_right = user.is_none_or(|user| user == found.uid())
            && group.is_none_or(|group| group == found.gid());
        if !is_right && found.is_file() {
            fchown(&file, user, group)?;
        }
        Ok(file)
    };
    open().map_err(|reason| LogFileError { path: path.to_owned(), reason })
}

/// write(2) until all is written or the other end is gone.
///
/// Standard error may be non-blocking: whoever shares the terminal or pipe with us decides that.
fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match nix::unistd::write(fd, bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let mut writable = [PollFd::new(fd, PollFlags::POLLOUT)];
                match poll(&mut writable, PollTimeout::NONE) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_full_pipe_loses_no_line() {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        let line = vec![b'x'; 4 << 20];
        let length = line.len();
        let writing = std::thread::spawn(move || write_all(writer.as_fd(), &line).unwrap());
        let mut received = Vec::new();
        reader.read_to_end(&mut received).unwrap();
        writing.join().unwrap();
        assert_eq!(received.len(), length);
    }

    #[test]
    fn a_closed_pipe_is_no_catastrophe() {
        let (reader, writer) = UnixStream::pair().unwrap();
        drop(reader);
        assert_eq!(write_all(writer.as_fd(), b"nobody reads this\n"), Err(Errno::EPIPE));
    }

    #[test]
    fn reopening_finds_the_new_file() {
        let directory = tempfile::tempdir().unwrap();
        let (path, old) = (directory.path().join("log"), directory.path().join("log.1"));
        let log = LogFile::open(&LogTarget::File(path.clone()), Standard::Error, Owner::default())
            .unwrap();
        log.write_line(b"one\n").unwrap();
        std::fs::rename(&path, &old).unwrap();
        log.write_line(b"two\n").unwrap();
        log.reopen().unwrap();
        log.write_line(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("missing/log");
        let target = LogTarget::File(path.clone());
        let error = LogFile::open(&target, Standard::Error, Owner::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("'{}' isn't writable [No such file or directory (os error 2)]", path.display())
        );
        let log = LogFile::open(&LogTarget::Standard, Standard::Error, Owner::default()).unwrap();
        assert!(log.redirect(&target, Owner::default()).is_err());
        log.reopen().unwrap();
    }
}
