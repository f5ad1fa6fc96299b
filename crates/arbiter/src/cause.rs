//! Why workers end.

use std::fmt;

use crate::ExitStatus;

/// Who made a worker end, if it was not itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// This arbiter.
    Arbiter(KillReason),
    /// Neither this arbiter nor a lack of memory: itself, or whoever sent a signal.
    Other,
    /// The kernel, for lack of memory.
    OutOfMemory,
    /// Not this arbiter; the kernel does not tell whether it was for lack of memory.
    Unknown,
}

/// Why an arbiter made a worker end that did not do so by itself. `Display` gives the setting, if one
/// decided.
///
/// ```
/// assert_eq!(rgunicorn_arbiter::KillReason::GracefulTimeout.to_string(), "graceful_timeout");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum KillReason {
    /// It was not ready in time.
    BootTimeout,
    /// It was asked to stop and did not finish in time.
    GracefulTimeout,
    /// It was asked to stop at once, by SIGINT or SIGQUIT, and was still there two seconds later.
    QuickStop,
    /// It gave no sign of life.
    Timeout,
}

impl fmt::Display for KillReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BootTimeout => "boot_timeout",
            Self::GracefulTimeout => "graceful_timeout",
            Self::QuickStop => "quick stop",
            Self::Timeout => "timeout",
        })
    }
}

/// Shows how a worker ended, with what that means.
pub(crate) struct Ending(pub(crate) ExitStatus, pub(crate) Cause);

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(status, cause) = self;
        match (cause, *status) {
            (Cause::Arbiter(reason), _) => return reason.fmt(f),
            (Cause::OutOfMemory, _) => return f.write_str("the out-of-memory killer"),
            (Cause::Other | Cause::Unknown, _) => write!(f, "{status}")?,
        }
        match *status {
            ExitStatus::APP_LOAD_ERROR => f.write_str(": the application cannot be loaded"),
            ExitStatus::BOOT_ERROR => f.write_str(": it cannot boot"),
            ExitStatus::FAILED => f.write_str(": it failed while it served"),
            ExitStatus::Exited(_) | ExitStatus::Signaled(_) => Ok(()),
        }
    }
}
