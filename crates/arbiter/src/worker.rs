//! What workers are made of, and what they are told.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use crate::{ExitStatus, Options, WorkerProcess};

/// What workers are made of. Closures are workers.
///
/// ```
/// use rgunicorn_arbiter::{Options, ReloadError, Worker, WorkerError, WorkerProcess};
///
/// struct Clock { format: String }
///
/// impl Worker for Clock {
///     fn run(&mut self, mut process: WorkerProcess) -> Result<(), WorkerError> {
///         process.ready()?;
///         for connection in process.incoming() {
///             // … write the time after `self.format` …
///             drop(connection?);
///         }
///         Ok(())
///     }
///
///     fn reload(&mut self) -> Result<Option<Options>, ReloadError> {
///         self.format = std::fs::read_to_string("clock.conf")?;
///         Ok(None)
///     }
/// }
/// ```
pub trait Worker {
    /// In the child: serves until told to stop.
    ///
    /// # Errors
    ///
    /// An error before [`WorkerProcess::ready`] is a boot failure, code 3, or 4 for
    /// [`WorkerError::AppLoad`]; while no worker has ever been ready, it stops the arbiter. A later
    /// error ends this worker with code 255. A panic counts as an error.
    fn run(&mut self, process: WorkerProcess) -> Result<(), WorkerError>;

    /// HUP, in the arbiter, before anything changes: reads anew what workers are made of. `None`
    /// keeps the options.
    ///
    /// Until the new workers serve, this can be taken back: see
    /// [`reload_abandoned`](Self::reload_abandoned).
    ///
    /// # Errors
    ///
    /// An error abandons the reload.
    fn reload(&mut self) -> Result<Option<Options>, ReloadError> {
        Ok(None)
    }

    /// In the arbiter: the last [`reload`](Self::reload), which succeeded, is not taken after all,
    /// for its options cannot be had, its workers do not boot, or another reload is asked for. Go
    /// back to what was before it: the old workers serve on, and their successors are made of it.
    fn reload_abandoned(&mut self) {}
}

impl<F: FnMut(WorkerProcess) -> Result<(), WorkerError>> Worker for F {
    fn run(&mut self, process: WorkerProcess) -> Result<(), WorkerError> {
        self(process)
    }
}

/// What an arbiter tells a worker: by signals, so that operators can do the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    /// ABRT: the worker was silent for too long and is killed in a second.
    Abort,
    /// USR1: open log files anew.
    ReopenLogs,
    /// URG: tell in the log what this worker is doing.
    Report,
    /// TERM: finish what is under way, then end.
    StopGracefully,
    /// INT or QUIT: end at once.
    StopNow,
}

/// Why a worker wants to be replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RetireReason {
    /// It has handled as many requests as it was to.
    MaxRequests,
    /// A request takes longer than it may, and cannot be ended.
    RequestTimeout,
}

impl RetireReason {
    /// What stands for it in shared memory; 0 is no reason.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::MaxRequests => 1,
            Self::RequestTimeout => 2,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::MaxRequests, Self::RequestTimeout].into_iter().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for RetireReason {
    /// Writes gunicorn's name of the setting.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MaxRequests => "max_requests",
            Self::RequestTimeout => "request_timeout",
        })
    }
}

/// Which worker: the index of its slot, below [`SLOTS`](Self::SLOTS).
///
/// No two workers that live at the same time have the same, and a successor may have its
/// predecessor's.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WorkerId(u16);

impl WorkerId {
    /// How many workers can live at the same time, those included that are being replaced.
    pub const SLOTS: usize = Self::COUNT as usize;

    /// Two generations during a reload; the old one may have begun to replace a quarter of its own.
    const COUNT: u16 = 1280;

    /// The index, 0 to 1279.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    pub(crate) fn all() -> impl DoubleEndedIterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

type Source = Box<dyn StdError + Send + Sync>;

/// Why a worker ends before its time.
///
/// ```
/// use rgunicorn_arbiter::WorkerError;
///
/// let error = WorkerError::AppLoad("no module named 'shop'".into());
/// assert_eq!(error.to_string(), "the application cannot be loaded");
/// let error: WorkerError = std::io::Error::other("disk on fire").into();
/// assert!(matches!(error, WorkerError::Failed(_)));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// What the worker serves cannot be loaded: trying again will not help.
    #[error("the application cannot be loaded")]
    AppLoad(#[source] Source),
    /// Anything else, while it boots or later.
    #[error("the worker failed")]
    Failed(#[source] Source),
}

impl WorkerError {
    pub(crate) fn exit_status(&self, booted: bool) -> ExitStatus {
        match self {
            Self::AppLoad(_) | Self::Failed(_) if booted => ExitStatus::FAILED,
            Self::AppLoad(_) => ExitStatus::APP_LOAD_ERROR,
            Self::Failed(_) => ExitStatus::BOOT_ERROR,
        }
    }
}

impl From<io::Error> for WorkerError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Source> for WorkerError {
    fn from(error: Source) -> Self {
        Self::Failed(error)
    }
}

/// Why a reload is abandoned.
///
/// ```
/// use rgunicorn_arbiter::ReloadError;
///
/// let error = ReloadError::new("line 3: no such setting");
/// assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "line 3: no such setting");
/// ```
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be read anew")]
pub struct ReloadError(#[source] Source);

impl ReloadError {
    /// An error with this cause.
    pub fn new(source: impl Into<Source>) -> Self {
        Self(source.into())
    }
}

impl From<io::Error> for ReloadError {
    fn from(error: io::Error) -> Self {
        Self::new(error)
    }
}
