//! What the arbiter has to say: one variant for each line of its log.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::{ExitStatus, Pid, RetireReason, Signal};

/// A line of the arbiter's log. `Display` gives the words, gunicorn's wherever it has them.
#[derive(Debug)]
#[non_exhaustive]
pub enum Report {
    /// A worker ended too soon after its start, so its successor waits.
    BackingOff {
        /// The worker that ended.
        pid: Pid,
        /// Time until the next attempt.
        delay: Duration,
    },
    /// A worker ended; nothing is said of a success.
    Exited {
        /// The worker that ended.
        pid: Pid,
        /// How.
        status: ExitStatus,
        /// Why this arbiter made it end, if it did.
        reason: Option<KillReason>,
    },
    /// No process could be made for a worker.
    ForkFailed {
        /// Why.
        error: io::Error,
        /// Time until the next attempt.
        delay: Duration,
    },
    /// A worker did not finish in time and is killed.
    GracefulTimeout {
        /// The worker.
        pid: Pid,
    },
    /// A signal is handled.
    Handling(Signal),
    /// A reload begins.
    HangUp,
    /// Why the arbiter ends with an error.
    Reason(Halt),
    /// The new workers could not boot, the old ones serve on.
    ReloadAbandoned {
        /// The worker that failed.
        pid: Pid,
        /// How it ended.
        status: ExitStatus,
        /// Why this arbiter made it end, if it did.
        reason: Option<KillReason>,
    },
    /// All new workers serve, and no old one does.
    ReloadCompleted,
    /// Another reload was asked for while the new workers were still booting.
    ReloadSuperseded,
    /// A worker asked for a successor.
    RetireAsked {
        /// The worker.
        pid: Pid,
        /// Why.
        reason: RetireReason,
    },
    /// The arbiter ends.
    ShuttingDown(Halt),
    /// A process ended that is no worker: the arbiter is process 1 and inherits orphans.
    Stranger {
        /// The process that ended.
        pid: Pid,
        /// How.
        status: ExitStatus,
    },
    /// A worker was silent for too long.
    Timeout {
        /// The worker.
        pid: Pid,
    },
    /// A signal asks for what the arbiter does not do.
    Unsupported(Signal),
    /// The number of worker processes changed.
    Workers(usize),
    /// No more workers can be added.
    WorkersMax(u32),
}

/// Why an arbiter ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Halt {
    /// No worker has ever booted, because the application cannot be loaded.
    AppLoad,
    /// A signal asked for it.
    Asked,
    /// No worker has ever booted.
    Boot,
}

/// Why an arbiter made a worker end that did not do so by itself. `Display` gives the setting.
///
/// ```
/// assert_eq!(rgunicorn_arbiter::KillReason::GracefulTimeout.to_string(), "graceful_timeout");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum KillReason {
    /// It was asked to stop and did not finish in time.
    GracefulTimeout,
    /// It gave no sign of life.
    Timeout,
}

impl fmt::Display for KillReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GracefulTimeout => "graceful_timeout",
            Self::Timeout => "timeout",
        })
    }
}

/// How much a [`Report`] matters, with gunicorn's levels.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Severity {
    /// For those who look for a fault.
    Debug,
    /// The normal life of a server.
    Info,
    /// Something to look at when there is time.
    Warning,
    /// Something failed.
    Error,
    /// A worker hangs.
    Critical,
}

impl Halt {
    /// The exit code of the arbiter: 0 for success, else that of the worker.
    pub fn code(self) -> u8 {
        match self {
            Self::Asked => 0,
            Self::Boot => 3,
            Self::AppLoad => 4,
        }
    }
}

impl Report {
    /// The level at which gunicorn logs this.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Handling(_)
            | Self::HangUp
            | Self::ReloadCompleted
            | Self::ReloadSuperseded
            | Self::ShuttingDown(Halt::Asked) => Severity::Info,
            Self::RetireAsked { .. }
            | Self::Stranger { .. }
            | Self::Unsupported(Signal::Winch)
            | Self::Workers(_) => Severity::Debug,
            Self::BackingOff { .. }
            | Self::GracefulTimeout { .. }
            | Self::Unsupported(_)
            | Self::WorkersMax(_) => Severity::Warning,
            Self::Exited { status, reason, .. } => match *status {
                ExitStatus::Exited(_) => Severity::Error,
                ExitStatus::Signaled(SIGTERM) => Severity::Info,
                ExitStatus::Signaled(SIGKILL) if reason.is_none() => Severity::Error,
                ExitStatus::Signaled(_) => Severity::Warning,
            },
            Self::ForkFailed { .. }
            | Self::Reason(_)
            | Self::ReloadAbandoned { .. }
            | Self::ShuttingDown(_) => Severity::Error,
            Self::Timeout { .. } => Severity::Critical,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BackingOff { pid, delay } => write!(
                f,
                "Worker (pid:{pid}) ended too soon after its start; the next start is in {} s.",
                delay.as_secs_f32()
            ),
            Self::Exited { pid, status, reason } => {
                match *status {
                    ExitStatus::Exited(_) => write!(f, "Worker (pid:{pid}) exited with {status}.")?,
                    ExitStatus::Signaled(_) => write!(f, "Worker (pid:{pid}) was sent {status}!")?,
                }
                match (reason, *status) {
                    (Some(reason), _) => write!(f, " Reason: {reason}."),
                    (None, ExitStatus::Signaled(SIGKILL)) => f.write_str(" Perhaps out of memory?"),
                    (None, _) => Ok(()),
                }
            }
            Self::ForkFailed { error, delay } => write!(
                f,
                "Cannot fork a worker: {error}; the next attempt is in {} s.",
                delay.as_secs_f32()
            ),
            Self::GracefulTimeout { pid } => write!(f, "Worker graceful timeout (pid:{pid})"),
            Self::Handling(signal) => write!(f, "Handling signal: {signal}"),
            Self::HangUp => f.write_str("Hang up: Master"),
            Self::Reason(Halt::AppLoad) => f.write_str("Reason: App failed to load."),
            Self::Reason(Halt::Boot) => f.write_str("Reason: Worker failed to boot."),
            Self::Reason(Halt::Asked) => f.write_str("Reason: Asked to stop."),
            Self::ReloadAbandoned { pid, status, reason } => {
                write!(f, "Reload abandoned: the new worker (pid:{pid}) failed to boot, by ")?;
                match reason {
                    Some(reason) => write!(f, "{reason}")?,
                    None => write!(f, "{status}")?,
                }
                f.write_str("; what served before serves on.")
            }
            Self::ReloadCompleted => f.write_str("Reload completed."),
            Self::ReloadSuperseded => f.write_str("Reload begins anew."),
            Self::RetireAsked { pid, reason } => {
                write!(f, "Worker (pid:{pid}) asks for a successor: {reason}")
            }
            Self::ShuttingDown(_) => f.write_str("Shutting down: Master"),
            Self::Stranger { pid, status } => {
                write!(f, "Reaped unknown child process (pid:{pid}, status:{status})")
            }
            Self::Timeout { pid } => write!(f, "WORKER TIMEOUT (pid:{pid})"),
            Self::Unsupported(Signal::Winch) => f.write_str("SIGWINCH ignored. Not daemonized"),
            Self::Unsupported(signal) => write!(
                f,
                "{} signal ignored: it is not supported yet.",
                signal.to_string().to_uppercase()
            ),
            Self::Workers(count) => write!(f, "{count} workers"),
            Self::WorkersMax(limit) => {
                write!(f, "No worker added: {limit} is the most that an arbiter keeps.")
            }
        }
    }
}

const SIGKILL: i32 = nix::sys::signal::Signal::SIGKILL as i32;
const SIGTERM: i32 = nix::sys::signal::Signal::SIGTERM as i32;

#[cfg(test)]
mod tests {
    use super::*;

    /// Operators search their logs for these.
    #[test]
    fn words_and_levels_of_gunicorn() {
        let pid = Pid::from_raw(7);
        let exited = |status, reason| Report::Exited { pid, status, reason };
        let by = ExitStatus::Signaled;
        for (report, severity, words) in [
            (Report::Handling(Signal::Ttin), Severity::Info, "Handling signal: ttin"),
            (Report::HangUp, Severity::Info, "Hang up: Master"),
            (Report::ShuttingDown(Halt::Asked), Severity::Info, "Shutting down: Master"),
            (Report::ShuttingDown(Halt::Boot), Severity::Error, "Shutting down: Master"),
            (Report::Reason(Halt::Boot), Severity::Error, "Reason: Worker failed to boot."),
            (Report::Reason(Halt::AppLoad), Severity::Error, "Reason: App failed to load."),
            (Report::Timeout { pid }, Severity::Critical, "WORKER TIMEOUT (pid:7)"),
            (Report::Workers(4), Severity::Debug, "4 workers"),
            (
                exited(ExitStatus::BOOT_ERROR, None),
                Severity::Error,
                "Worker (pid:7) exited with code 3.",
            ),
            (exited(by(SIGTERM), None), Severity::Info, "Worker (pid:7) was sent SIGTERM!"),
            (exited(by(11), None), Severity::Warning, "Worker (pid:7) was sent SIGSEGV!"),
            (
                exited(by(SIGKILL), None),
                Severity::Error,
                "Worker (pid:7) was sent SIGKILL! Perhaps out of memory?",
            ),
            // Ours: nobody need look for a lack of memory.
            (
                exited(by(SIGKILL), Some(KillReason::Timeout)),
                Severity::Warning,
                "Worker (pid:7) was sent SIGKILL! Reason: timeout.",
            ),
            (
                Report::Unsupported(Signal::Winch),
                Severity::Debug,
                "SIGWINCH ignored. Not daemonized",
            ),
            (
                Report::Unsupported(Signal::Usr2),
                Severity::Warning,
                "USR2 signal ignored: it is not supported yet.",
            ),
        ] {
            assert_eq!((report.to_string().as_str(), report.severity()), (words, severity));
        }
    }
}
