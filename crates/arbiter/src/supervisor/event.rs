//! What a supervisor is told, and what it tells.

use std::io;
use std::time::Duration;

use super::ServiceState;
use crate::{Command, ExitStatus, Halt, Pid, Report, RetireReason, Signal, WorkerId};

/// How many workers there shall be, and how patient their arbiter is.
///
/// ```
/// use rgunicorn_arbiter::Plan;
///
/// let plan = Plan::new(2);
/// assert_eq!(plan.timeout.unwrap().as_secs(), 30);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// Workers to keep alive, 0 to [`Options::WORKERS_MAX`](crate::Options::WORKERS_MAX).
    pub workers: u32,
    /// Time after which a worker that is still not ready is replaced; `None`: never. Default: never.
    pub boot_timeout: Option<Duration>,
    /// Whether WINCH stops all workers, as with gunicorn in the background. Default: no, for a
    /// terminal sends it whenever it changes its size.
    pub daemon: bool,
    /// Silence after which a ready worker is replaced; `None`: never. Default: 30 seconds.
    pub timeout: Option<Duration>,
    /// Time after which a worker that serves is replaced; `None`: never. Default: never.
    pub max_worker_lifetime: Option<Duration>,
    /// Up to this much is added to the lifetime, another part of it for each worker. Default: zero.
    pub max_worker_lifetime_jitter: Duration,
    /// Bytes of memory above which a worker is replaced; `None`: never. Default: never.
    pub max_worker_memory: Option<u64>,
    /// Time between the request to stop and the kill. Default: 30 seconds.
    pub graceful_timeout: Duration,
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A process was reaped.
    Exited {
        /// Which one.
        pid: Pid,
        /// How it ended.
        status: ExitStatus,
        /// Whether the kernel ended it for lack of memory; `None` if that is not known.
        out_of_memory: Option<bool>,
    },
    /// [`Action::Fork`] failed.
    ForkFailed {
        /// The worker that has no process.
        worker: WorkerId,
        /// Why.
        error: io::Error,
    },
    /// [`Action::Fork`] succeeded.
    Forked {
        /// The worker.
        worker: WorkerId,
        /// Its process.
        pid: Pid,
    },
    /// The arbiter that this one is to replace has ended.
    Promoted,
    /// [`Action::Measure`] succeeded.
    Measured {
        /// The worker.
        worker: WorkerId,
        /// The memory of its process, or an upper bound of it that is within the limit.
        bytes: u64,
    },
    /// A worker has booted.
    Ready {
        /// Which one.
        worker: WorkerId,
    },
    /// [`Action::Reload`] failed; everything stays.
    ReloadFailed,
    /// [`Action::Reload`] succeeded: new workers are made of something new, after this plan.
    Reloaded(Plan),
    /// A worker that is ready asks for a successor.
    RetireAsked {
        /// Which one.
        worker: WorkerId,
        /// Why.
        reason: RetireReason,
    },
    /// The arbiter received a signal.
    Signal(Signal),
    /// What came of [`Action::Upgrade`]: the new arbiter's process.
    Upgraded(io::Result<Pid>),
}

/// What to do, in this order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Action {
    /// Listen no more: the arbiter stops.
    CloseListeners {
        /// Whether who has been let in already is still served.
        graceful: bool,
    },
    /// Tell a worker; the worker may have ended in the meantime.
    Command {
        /// Its process.
        pid: Pid,
        /// What to tell it.
        command: Command,
    },
    /// Everything is done; nothing follows.
    Exit(Halt),
    /// Make a process for a worker, then report [`Event::Forked`] or [`Event::ForkFailed`].
    Fork {
        /// The worker, of which no process exists.
        worker: WorkerId,
        /// How many forks there were, this one counted: gunicorn's `worker.age`.
        age: u64,
    },
    /// Send SIGKILL.
    Kill {
        /// To whom.
        pid: Pid,
    },
    /// Tell the service manager.
    Notify(ServiceState),
    /// Take the names that the arbiter before this one had.
    Promote,
    /// Measure the memory of a worker, then report [`Event::Measured`]; nothing if it cannot be.
    Measure {
        /// The worker.
        worker: WorkerId,
        /// Its process, which may have ended in the meantime.
        pid: Pid,
        /// What matters is whether it is more than this.
        limit_bytes: u64,
    },
    /// The number of workers to keep has changed.
    NumberChanged {
        /// What it is now.
        new: u32,
        /// What it was.
        old: u32,
    },
    /// Read anew what workers are made of, then report [`Event::Reloaded`] or
    /// [`Event::ReloadFailed`].
    Reload,
    /// The new workers are not taken: undo what [`Action::Reload`] changed.
    ReloadAbandoned,
    /// All new workers serve: let go of what only the old ones needed.
    ReloadCompleted,
    /// Open the arbiter's own log files anew.
    ReopenLogs,
    /// Log this.
    Report(Report),
    /// Whether another arbiter listens at the same sockets: then their files stay.
    ShareListeners(bool),
    /// Execute the program anew, beside this one, then report [`Event::Upgraded`].
    Upgrade,
}

impl Plan {
    /// A plan for this many workers with gunicorn's default timeouts.
    pub fn new(workers: u32) -> Self {
        let default = Duration::from_secs(30);
        Self {
            workers,
            boot_timeout: None,
            daemon: false,
            max_worker_lifetime: None,
            max_worker_lifetime_jitter: Duration::ZERO,
            max_worker_memory: None,
            timeout: Some(default),
            graceful_timeout: default,
        }
    }
}
