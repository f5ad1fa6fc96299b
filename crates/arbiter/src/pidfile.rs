//! The file that tells other programs the arbiter's pid.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::kill;

use crate::Pid;

/// Why there is no pid file; the words for the first are gunicorn's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PidfileError {
    /// The file holds the pid of another process that lives.
    #[error("Already running on PID {pid} (or pid file '{}' is stale)", path.display())]
    AlreadyRunning {
        /// The process.
        pid: Pid,
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("cannot write pid file '{}'", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The pid file, and until a reload is settled also the one before it.
#[derive(Debug, Default)]
pub(crate) struct Pidfiles {
    /// The arbiter that this one is to replace.
    predecessor: Option<Pid>,
    /// As long as that has the file, this one's name has `.2` behind it.
    is_promoted: bool,
    current: Option<Pidfile>,
    previous: Previous,
}

/// The file to which a failed reload returns.
#[derive(Debug, Default)]
enum Previous {
    /// The current one: no reload is under way, or it names the same file.
    #[default]
    Current,
    /// This one, or none.
    Other(Option<Pidfile>),
}

/// A file that holds the pid of this process. The process that wrote it removes it, and only if it
/// still holds that pid: a successor may have put its own there.
#[derive(Debug)]
struct Pidfile {
    /// In a directory without symbolic links, so that equal paths are equal files.
    path: PathBuf,
    owner: Pid,
}

impl Pidfiles {
    pub(crate) fn create(
        path: Option<&Path>,
        predecessor: Option<Pid>,
    ) -> Result<Self, PidfileError> {
        let mut pidfiles = Self { predecessor, ..Self::default() };
        pidfiles.replace(path)?;
        pidfiles.keep_current();
        Ok(pidfiles)
    }

    /// Writes the file anew, maybe elsewhere. Nothing is removed yet.
    pub(crate) fn replace(&mut self, path: Option<&Path>) -> Result<(), PidfileError> {
        let path = path.map(|path| match self.predecessor {
            Some(_) if !self.is_promoted => second(path),
            Some(_) | None => path.to_owned(),
        });
        // A predecessor that was killed has left its file.
        let is_foreign = |pid: &Pid| {
            *pid != Pid::this() && !(self.is_promoted && Some(*pid) == self.predecessor)
        };
        let write = |path: &Path| {
            let failed = |source| PidfileError::Write { path: path.to_owned(), source };
            let resolved = resolve(path).map_err(failed)?;
            refuse_special(&resolved).map_err(failed)?;
            match holder(&resolved).map_err(failed)?.filter(is_foreign) {
                Some(pid) => {
                    return Err(PidfileError::AlreadyRunning { pid, path: path.to_owned() });
                }
                None => write(&resolved).map_err(failed)?,
            }
            Ok(resolved)
        };
        let written = path.as_deref().map(write).transpose()?;
        if written.as_deref() != self.current.as_ref().map(|current| &*current.path) {
            let new = written.map(|path| Pidfile { path, owner: Pid::this() });
            self.previous = Previous::Other(std::mem::replace(&mut self.current, new));
        }
        Ok(())
    }

    /// The arbiter that had this file is gone.
    pub(crate) fn promote(&mut self, path: Option<&Path>) -> Result<(), PidfileError> {
        self.is_promoted = true;
        self.replace(path)?;
        self.keep_current();
        Ok(())
    }

    /// The reload succeeded: the file of before it is removed.
    pub(crate) fn keep_current(&mut self) {
        self.previous = Previous::Current;
    }

    /// The reload failed: the new file is removed.
    pub(crate) fn restore_previous(&mut self) {
        if let Previous::Other(previous) = std::mem::take(&mut self.previous) {
            self.current = previous;
        }
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        // A worker inherits this value, and would find its arbiter's pid in the file.
        if Pid::this() != self.owner
            || !matches!(read(&self.path), Ok(Some(pid)) if pid == self.owner)
        {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            log::debug!(target: crate::LOG, "Cannot remove {}: {error}", self.path.display());
        }
    }
}

/// The name that gunicorn gives the pid file of a new arbiter while the old one lives.
fn second(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".2");
    name.into()
}

/// The process may change its directory, and one file may have many paths.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    Ok(std::path::absolute(path)?.parent().unwrap_or(Path::new("/")).canonicalize()?.join(name))
}

/// Writing puts a new file in the place of the old one: `/dev/null` would be a device no longer. And
/// whoever opens a FIFO waits.
fn refuse_special(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(there) if !there.is_file() && !there.is_dir() => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
        }
        // A directory, or what cannot be looked at, is told of by whoever reads it.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The process that the file names, if it lives. It may be another user's.
fn holder(path: &Path) -> io::Result<Option<Pid>> {
    let lives = |pid: &Pid| !matches!(kill((*pid).into(), None), Err(Errno::ESRCH));
    Ok(read(path)?.filter(lives))
}

/// The pid in the file; none if there is no file, or something else in it.
fn read(path: &Path) -> io::Result<Option<Pid>> {
    let mut text = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(PID_LEN_MAX).read_to_end(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let number = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
    // To kill(2), zero and below are groups of processes.
    Ok(number.filter(|number| *number > 0).map(Pid::from_raw))
}

/// Whole or not at all: who reads it at the same time finds the old pid or the new one.
fn write(path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let permissions = fs::Permissions::from_mode(0o644);
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    writeln!(file, "{}", Pid::this())?;
    // Now, and not when it was made: the umask is not to count.
    file.as_file().set_permissions(permissions)?;
    file.persist(path)?;
    Ok(())
}

/// Longer than any number and the white space around it.
const PID_LEN_MAX: u64 = 64;
