//! Descriptors of others in the arbiter's loop.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;

use crate::{Moment, Signal, WorkerInfo};

/// A descriptor of one's own that the arbiter watches beside its signals and workers: a control
/// socket, a watch on files, a timer.
///
/// It should be close-on-exec. A worker drops its copy right after the fork.
///
/// ```
/// use std::io;
/// use std::os::fd::{AsFd, BorrowedFd};
/// use std::os::unix::net::UnixDatagram;
/// use rgunicorn_arbiter::{Handle, Signal, Source};
///
/// /// Any message reloads, as HUP does.
/// #[derive(Debug)]
/// struct Bell(UnixDatagram);
///
/// impl AsFd for Bell {
///     fn as_fd(&self) -> BorrowedFd<'_> {
///         self.0.as_fd()
///     }
/// }
///
/// impl Source for Bell {
///     fn ready(&mut self, handle: &mut Handle<'_>) -> io::Result<()> {
///         self.0.recv(&mut [0])?;
///         log::info!("{} workers are to be replaced", handle.workers().count());
///         handle.signal(Signal::Hup);
///         Ok(())
///     }
/// }
/// ```
pub trait Source: AsFd + fmt::Debug {
    /// The descriptor is readable, or its other end is closed. Read what is there, but wait for
    /// nothing: the arbiter waits as well. What stays unread calls this again at once.
    ///
    /// # Errors
    ///
    /// Ends the source: it is logged, and the descriptor is closed.
    fn ready(&mut self, handle: &mut Handle<'_>) -> io::Result<()>;
}

/// What a [`Source`] may see and ask of the arbiter.
#[derive(Debug)]
pub struct Handle<'a> {
    pub(crate) workers: Vec<WorkerStatus<'a>>,
    pub(crate) asked: Vec<Signal>,
}

impl<'a> Handle<'a> {
    /// Does what the signal does, once the source has returned.
    pub fn signal(&mut self, signal: Signal) {
        self.asked.push(signal);
    }

    /// All workers that have a process, those too that boot or are to stop, by their pid.
    pub fn workers(&self) -> impl Iterator<Item = &WorkerStatus<'a>> {
        self.workers.iter()
    }
}

/// A worker as its arbiter sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerStatus<'a> {
    /// Which one it is.
    pub info: &'a WorkerInfo,
    /// Whether it has booted.
    pub is_ready: bool,
    /// Its latest heartbeat.
    pub last_beat: Option<Moment>,
    /// What it shows: see [`WorkerProcess::words`](crate::WorkerProcess::words).
    pub words: &'a [AtomicU64],
}
