//! Observers, under gunicorn's names where it has any.

use std::error::Error as StdError;
use std::io;

use crate::{ExitStatus, Listener, Pid, Words, WorkerId};

/// Observers of an arbiter's life; each does nothing unless it is defined.
///
/// ```
/// use rgunicorn_arbiter::{HookError, Hooks, Listener};
///
/// struct Announce;
///
/// impl Hooks for Announce {
///     fn when_ready(&mut self, listeners: &[Listener]) -> Result<(), HookError> {
///         for listener in listeners {
///             log::info!("come to {}", listener.address());
///         }
///         Ok(())
///     }
/// }
/// ```
///
/// # Errors
///
/// An error of `on_starting` or `when_ready` ends the start, an error of `post_fork` is a boot
/// failure of that worker; the others are logged.
#[expect(clippy::missing_errors_doc, reason = "the same for all, and said above")]
pub trait Hooks {
    /// In the arbiter, when the number of workers to keep changes, by TTIN, TTOU, WINCH or a reload;
    /// first of all when there was none before.
    fn nworkers_changed(&mut self, new: u32, old: Option<u32>) -> Result<(), HookError> {
        let _ = (new, old);
        Ok(())
    }

    /// In the arbiter, before anything is bound; the pid file is there.
    fn on_starting(&mut self) -> Result<(), HookError> {
        Ok(())
    }

    /// In the arbiter, which listens now, before the first worker is forked.
    fn when_ready(&mut self, listeners: &[Listener]) -> Result<(), HookError> {
        let _ = listeners;
        Ok(())
    }

    /// In the arbiter, before a worker is forked; it has no pid yet.
    fn pre_fork(&mut self, worker: &WorkerInfo) -> Result<(), HookError> {
        let _ = worker;
        Ok(())
    }

    /// In the worker, first of all; it has the privileges of the arbiter.
    fn post_fork(&mut self, worker: &WorkerInfo) -> Result<(), HookError> {
        let _ = worker;
        Ok(())
    }

    /// In the worker, last of all, however it ends, if it can still run anything.
    fn worker_exit(&mut self, worker: &WorkerInfo) -> Result<(), HookError> {
        let _ = worker;
        Ok(())
    }

    /// In the arbiter, after a worker has called [`ready`](crate::WorkerProcess::ready). Of a worker
    /// that ends meanwhile this comes before [`child_exit`](Self::child_exit).
    fn child_ready(&mut self, worker: &WorkerInfo) -> Result<(), HookError> {
        let _ = worker;
        Ok(())
    }

    /// In the arbiter, after a worker has ended.
    fn child_exit(&mut self, worker: &WorkerInfo, status: ExitStatus) -> Result<(), HookError> {
        let _ = (worker, status);
        Ok(())
    }

    /// In the arbiter, during HUP, before the new workers are forked.
    fn on_reload(&mut self) -> Result<(), HookError> {
        Ok(())
    }

    /// In the process that is to become the new arbiter of an upgrade, before it executes the
    /// program.
    fn pre_exec(&mut self) -> Result<(), HookError> {
        Ok(())
    }

    /// In the arbiter of an upgrade, when the one before it is gone.
    fn promoted(&mut self) -> Result<(), HookError> {
        Ok(())
    }

    /// In the arbiter, on USR1: open log files anew.
    fn reopen_logs(&mut self) -> Result<(), HookError> {
        Ok(())
    }

    /// In the arbiter, last of all; the pid file is gone.
    fn on_exit(&mut self) -> Result<(), HookError> {
        Ok(())
    }
}

/// No observer.
impl Hooks for () {}

/// What hooks learn of a worker.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its slot.
    pub id: WorkerId,
    /// Its process; `None` in `pre_fork`.
    pub pid: Option<Pid>,
    /// How many workers had been started with it: 1, 2, 3 …
    pub age: u64,
    /// What it shows to its siblings, and to [`child_exit`](Hooks::child_exit) after its end: they
    /// are cleared before the next worker gets its slot.
    pub words: Words,
}

/// Why a hook failed.
///
/// ```
/// let error = rgunicorn_arbiter::HookError::new("no route to the service registry");
/// assert_eq!(error.to_string(), "a hook failed");
/// ```
#[derive(Debug, thiserror::Error)]
#[error("a hook failed")]
pub struct HookError(#[source] Box<dyn StdError + Send + Sync>);

impl HookError {
    /// An error with this cause.
    pub fn new(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

impl From<io::Error> for HookError {
    fn from(error: io::Error) -> Self {
        Self::new(error)
    }
}
