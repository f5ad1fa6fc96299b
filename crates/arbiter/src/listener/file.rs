//! The file of a Unix socket, which outlives the socket unless somebody removes it.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::Pid;

/// The process that made it removes it, and only if it is still the same file: a successor may
/// have put its own there.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    owner: Pid,
    device: u64,
    inode: u64,
    remove_at_end: bool,
}

impl SocketFile {
    /// The file at this path, which the calling process answers for.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        if !metadata.file_type().is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file is not a socket"));
        }
        Ok(Self {
            // The process may change its directory.
            path: std::path::absolute(path)?,
            owner: Pid::this(),
            device: metadata.dev(),
            inode: metadata.ino(),
            remove_at_end: true,
        })
    }

    pub(super) fn remove_at_end(&mut self, remove: bool) {
        self.remove_at_end = remove;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = || {
            let file = fs::symlink_metadata(&self.path).ok()?;
            Some((file.dev(), file.ino()) == (self.device, self.inode))
        };
        if self.remove_at_end && Pid::this() == self.owner && is_ours() == Some(true) {
            if let Err(error) = fs::remove_file(&self.path) {
                log::debug!(target: crate::LOG, "Cannot remove {}: {error}", self.path.display());
            }
        }
    }
}

/// A socket file outlives its process; anything else at that path is somebody's data.
pub(super) fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file is not a socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
