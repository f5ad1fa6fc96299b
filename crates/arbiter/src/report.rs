//! What the arbiter has to say: one variant for each line of its log.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::cause::Ending;
use crate::{Cause, ExitStatus, Pid, RetireReason, Signal};

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
    /// A worker was not ready in time.
    BootTimeout {
        /// The worker.
        pid: Pid,
        /// The time that it had.
        limit: Duration,
    },
    /// Workers die one after the other.
    CrashLoop {
        /// The one that ended last.
        pid: Pid,
        /// How it ended.
        status: ExitStatus,
        /// Why.
        cause: Cause,
        /// How many there were.
        deaths: u32,
        /// Time from the first to the last.
        within: Duration,
        /// Time until the next attempt.
        delay: Duration,
    },
    /// A worker ended; nothing is said of a success.
    Exited {
        /// The worker that ended.
        pid: Pid,
        /// How.
        status: ExitStatus,
        /// Why.
        cause: Cause,
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
    /// A worker takes more memory than it may as soon as it serves, so no successor would take less.
    LargeFromTheStart {
        /// The worker.
        pid: Pid,
        /// What it takes.
        bytes: u64,
        /// The most that it may take.
        limit: u64,
    },
    /// WINCH came, and the arbiter is not in the background.
    NotDaemonized,
    /// The arbiter that this one was to replace is gone.
    Promoted,
    /// A worker takes too much memory and is to be replaced.
    Outgrown {
        /// The worker.
        pid: Pid,
        /// What it takes.
        bytes: u64,
        /// The most that it may take.
        limit: u64,
    },
    /// A worker has served for as long as it may, and is to be replaced.
    Outlived {
        /// The worker.
        pid: Pid,
        /// For how long it has served.
        lifetime: Duration,
    },
    /// Why the arbiter ends with an error.
    Reason(Halt),
    /// The new workers could not boot, the old ones serve on.
    ReloadAbandoned {
        /// The worker that failed.
        pid: Pid,
        /// How it ended.
        status: ExitStatus,
        /// Why.
        cause: Cause,
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
    /// WINCH came, and all workers are to stop.
    StoppingWorkers,
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
        /// Time since its last sign of life.
        silence: Duration,
        /// The longest that there may be.
        limit: Duration,
    },
    /// The new arbiter has ended, and this one goes on.
    UpgradeEnded {
        /// The new arbiter.
        pid: Pid,
        /// How it ended.
        status: ExitStatus,
    },
    /// A new arbiter cannot be started.
    UpgradeFailed {
        /// Why.
        error: io::Error,
    },
    /// An upgrade is under way already.
    UpgradeIgnored {
        /// What the other arbiter is to this one: `Child` or `Parent`.
        other: &'static str,
    },
    /// A new arbiter has been started, to replace this one.
    Upgrading {
        /// The new arbiter.
        pid: Pid,
    },
    /// No worker shows life, so that the service manager is not told that all is well.
    WatchdogStarved,
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
    /// Whether the words end with the master's name.
    pub(crate) fn names_master(&self) -> bool {
        matches!(self, Self::HangUp | Self::ShuttingDown(_))
    }

    /// The level at which gunicorn logs this.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Handling(_)
            | Self::HangUp
            | Self::Promoted
            | Self::Upgrading { .. }
            | Self::Outgrown { .. }
            | Self::Outlived { .. }
            | Self::ReloadCompleted
            | Self::ReloadSuperseded
            | Self::ShuttingDown(Halt::Asked)
            | Self::StoppingWorkers => Severity::Info,
            Self::NotDaemonized
            | Self::RetireAsked { .. }
            | Self::Stranger { .. }
            | Self::Workers(_) => Severity::Debug,
            Self::BackingOff { .. }
            | Self::GracefulTimeout { .. }
            | Self::UpgradeIgnored { .. }
            | Self::LargeFromTheStart { .. }
            | Self::WorkersMax(_) => Severity::Warning,
            Self::UpgradeEnded { status, .. } if status.success() => Severity::Warning,
            Self::Exited { status, cause, .. } => match (*status, cause) {
                (ExitStatus::Signaled(SIGTERM), _) => Severity::Info,
                (ExitStatus::Signaled(SIGKILL), Cause::Arbiter(_)) => Severity::Warning,
                (ExitStatus::Exited(_) | ExitStatus::Signaled(SIGKILL), _) => Severity::Error,
                (ExitStatus::Signaled(_), _) => Severity::Warning,
            },
            Self::CrashLoop { .. }
            | Self::ForkFailed { .. }
            | Self::Reason(_)
            | Self::ReloadAbandoned { .. }
            | Self::ShuttingDown(_)
            | Self::UpgradeEnded { .. }
            | Self::UpgradeFailed { .. }
            | Self::WatchdogStarved => Severity::Error,
            Self::BootTimeout { .. } | Self::Timeout { .. } => Severity::Critical,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BackingOff { pid, delay } => write!(
                f,
                "Worker (pid:{pid}) ended too soon after its start; the next start is in {}.",
                Seconds(*delay)
            ),
            Self::BootTimeout { pid, limit } => write!(
                f,
                "WORKER TIMEOUT (pid:{pid}): not ready after {}, its boot_timeout",
                Seconds(*limit)
            ),
            Self::CrashLoop { pid, status, cause, deaths, within, delay } => write!(
                f,
                "Crash loop: {deaths} workers within {} did not last, the last one (pid:{pid}) \
                 ended by {}; the next start is {}.",
                Seconds(*within),
                Ending(*status, *cause),
                Wait(*delay)
            ),
            Self::Exited { pid, status, cause } => fmt_exited(f, *pid, *status, *cause),
            Self::ForkFailed { error, delay } => write!(
                f,
                "Cannot fork a worker: {error}; the next attempt is in {}.",
                Seconds(*delay)
            ),
            Self::GracefulTimeout { pid } => write!(f, "Worker graceful timeout (pid:{pid})"),
            Self::Handling(signal) => write!(f, "Handling signal: {signal}"),
            Self::HangUp => f.write_str("Hang up: Master"),
            Self::LargeFromTheStart { pid, bytes, limit } => write!(
                f,
                "Worker (pid:{pid}) takes {} from the start, and max_worker_memory is {}; it is not \
                 replaced, for its successor would take no less.",
                Size(*bytes),
                Size(*limit)
            ),
            Self::NotDaemonized => f.write_str("SIGWINCH ignored. Not daemonized"),
            Self::Promoted => f.write_str("Master has been promoted."),
            Self::Outgrown { pid, bytes, limit } => write!(
                f,
                "Worker (pid:{pid}) is to be replaced: it takes {}, and max_worker_memory is {}.",
                Size(*bytes),
                Size(*limit)
            ),
            Self::Outlived { pid, lifetime } => write!(
                f,
                "Worker (pid:{pid}) is to be replaced: it has served for {} (max_worker_lifetime).",
                Seconds(*lifetime)
            ),
            Self::Reason(Halt::AppLoad) => f.write_str("Reason: App failed to load."),
            Self::Reason(Halt::Boot) => f.write_str("Reason: Worker failed to boot."),
            Self::Reason(Halt::Asked) => f.write_str("Reason: Asked to stop."),
            Self::ReloadAbandoned { pid, status, cause } => write!(
                f,
                "Reload abandoned: the new worker (pid:{pid}) failed to boot, by {}; \
                 what served before serves on.",
                Ending(*status, *cause)
            ),
            Self::ReloadCompleted => f.write_str("Reload completed."),
            Self::ReloadSuperseded => f.write_str("Reload begins anew."),
            Self::RetireAsked { pid, reason } => {
                write!(f, "Worker (pid:{pid}) asks for a successor: {reason}")
            }
            Self::ShuttingDown(_) => f.write_str("Shutting down: Master"),
            Self::StoppingWorkers => f.write_str("graceful stop of workers"),
            Self::Stranger { pid, status } => {
                write!(f, "Reaped unknown child process (pid:{pid}, status:{status})")
            }
            Self::Timeout { pid, silence, limit } => write!(
                f,
                "WORKER TIMEOUT (pid:{pid}): silent for {}, and timeout is {}",
                Seconds(*silence),
                Seconds(*limit)
            ),
            Self::UpgradeEnded { pid, status } => {
                write!(f, "The new master (pid:{pid}) ended with {status}; this one serves on.")
            }
            Self::UpgradeFailed { error } => write!(f, "Cannot start a new master: {error}"),
            Self::UpgradeIgnored { other } => write!(f, "USR2 signal ignored. {other} exists."),
            Self::Upgrading { pid } => write!(f, "A new master is started (pid:{pid})"),
            Self::WatchdogStarved => f.write_str(
                "No worker shows life, therefore the service manager's watchdog gets no sign of it.",
            ),
            Self::Workers(count) => write!(f, "{count} workers"),
            Self::WorkersMax(limit) => {
                write!(f, "No worker added: {limit} is the most that an arbiter keeps.")
            }
        }
    }
}

/// gunicorn's words, and behind them what it does not know.
fn fmt_exited(
    f: &mut fmt::Formatter<'_>,
    pid: Pid,
    status: ExitStatus,
    cause: Cause,
) -> fmt::Result {
    match status {
        ExitStatus::Exited(_) => write!(f, "Worker (pid:{pid}) exited with {status}.")?,
        ExitStatus::Signaled(_) => write!(f, "Worker (pid:{pid}) was sent {status}!")?,
    }
    match (cause, status) {
        (Cause::Arbiter(reason), _) => write!(f, " Reason: {reason}."),
        (Cause::OutOfMemory, _) => {
            f.write_str(" Perhaps out of memory? Yes: it was the kernel's out-of-memory killer.")
        }
        (Cause::Other, ExitStatus::Signaled(SIGKILL)) => {
            f.write_str(" Neither by this server nor by the kernel's out-of-memory killer.")
        }
        (Cause::Unknown, ExitStatus::Signaled(SIGKILL)) => f.write_str(" Perhaps out of memory?"),
        (Cause::Other | Cause::Unknown, _) => Ok(()),
    }
}

/// Shows a time in seconds and tenths, if there are any.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0.as_millis() + 50) / 100;
        match tenths % 10 {
            0 => write!(f, "{} s", tenths / 10),
            rest => write!(f, "{}.{rest} s", tenths / 10),
        }
    }
}

/// Shows when something comes that is to come after this time.
struct Wait(Duration);

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() { f.write_str("at once") } else { write!(f, "in {}", Seconds(self.0)) }
    }
}

/// Shows bytes in MiB and tenths, if there are any.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.0.saturating_mul(10) / (1 << 20);
        match tenths % 10 {
            0 => write!(f, "{} MiB", tenths / 10),
            rest => write!(f, "{}.{rest} MiB", tenths / 10),
        }
    }
}

const SIGKILL: i32 = nix::sys::signal::Signal::SIGKILL as i32;
const SIGTERM: i32 = nix::sys::signal::Signal::SIGTERM as i32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KillReason;

    /// Operators search their logs for these.
    #[test]
    fn words_and_levels_of_gunicorn() {
        let pid = Pid::from_raw(7);
        let exited = |status, cause| Report::Exited { pid, status, cause };
        let seconds = Duration::from_secs;
        let by = ExitStatus::Signaled;
        for (report, severity, words) in [
            (Report::Handling(Signal::Ttin), Severity::Info, "Handling signal: ttin"),
            (Report::HangUp, Severity::Info, "Hang up: Master"),
            (Report::ShuttingDown(Halt::Asked), Severity::Info, "Shutting down: Master"),
            (Report::ShuttingDown(Halt::Boot), Severity::Error, "Shutting down: Master"),
            (Report::Reason(Halt::Boot), Severity::Error, "Reason: Worker failed to boot."),
            (Report::Reason(Halt::AppLoad), Severity::Error, "Reason: App failed to load."),
            (
                Report::Timeout { pid, silence: Duration::from_millis(30_449), limit: seconds(30) },
                Severity::Critical,
                "WORKER TIMEOUT (pid:7): silent for 30.4 s, and timeout is 30 s",
            ),
            (
                Report::BootTimeout { pid, limit: seconds(10) },
                Severity::Critical,
                "WORKER TIMEOUT (pid:7): not ready after 10 s, its boot_timeout",
            ),
            (
                exited(by(SIGKILL), Cause::OutOfMemory),
                Severity::Error,
                "Worker (pid:7) was sent SIGKILL! Perhaps out of memory? \
                 Yes: it was the kernel's out-of-memory killer.",
            ),
            (
                exited(by(SIGKILL), Cause::Other),
                Severity::Error,
                "Worker (pid:7) was sent SIGKILL! \
                 Neither by this server nor by the kernel's out-of-memory killer.",
            ),
            (
                Report::Outgrown { pid, bytes: 512 << 20, limit: (511 << 20) + (900 << 10) },
                Severity::Info,
                "Worker (pid:7) is to be replaced: it takes 512 MiB, \
                 and max_worker_memory is 511.8 MiB.",
            ),
            (
                Report::Outlived { pid, lifetime: seconds(3600) },
                Severity::Info,
                "Worker (pid:7) is to be replaced: \
                 it has served for 3600 s (max_worker_lifetime).",
            ),
            (Report::StoppingWorkers, Severity::Info, "graceful stop of workers"),
            (Report::Workers(4), Severity::Debug, "4 workers"),
            (
                exited(ExitStatus::BOOT_ERROR, Cause::Unknown),
                Severity::Error,
                "Worker (pid:7) exited with code 3.",
            ),
            (
                exited(by(SIGTERM), Cause::Unknown),
                Severity::Info,
                "Worker (pid:7) was sent SIGTERM!",
            ),
            (exited(by(11), Cause::Unknown), Severity::Warning, "Worker (pid:7) was sent SIGSEGV!"),
            (
                exited(by(SIGKILL), Cause::Unknown),
                Severity::Error,
                "Worker (pid:7) was sent SIGKILL! Perhaps out of memory?",
            ),
            // Ours: nobody need look for a lack of memory.
            (
                exited(by(SIGKILL), Cause::Arbiter(KillReason::Timeout)),
                Severity::Warning,
                "Worker (pid:7) was sent SIGKILL! Reason: timeout.",
            ),
            (Report::NotDaemonized, Severity::Debug, "SIGWINCH ignored. Not daemonized"),
            (
                Report::UpgradeIgnored { other: "Child" },
                Severity::Warning,
                "USR2 signal ignored. Child exists.",
            ),
            (Report::Promoted, Severity::Info, "Master has been promoted."),
        ] {
            assert_eq!((report.to_string().as_str(), report.severity()), (words, severity));
        }
    }

    #[test]
    fn a_crash_loop_tells_how_and_how_soon() {
        let told = |status, deaths, within, delay| {
            let (pid, cause) = (Pid::from_raw(7), Cause::Other);
            let [within, delay] = [within, delay].map(Duration::from_millis);
            let report = Report::CrashLoop { pid, status, cause, deaths, within, delay };
            assert_eq!(report.severity(), Severity::Error);
            report.to_string()
        };
        assert_eq!(
            told(ExitStatus::APP_LOAD_ERROR, 3, 3000, 4000),
            "Crash loop: 3 workers within 3 s did not last, the last one (pid:7) ended by code 4: \
             the application cannot be loaded; the next start is in 4 s."
        );
        assert_eq!(
            told(ExitStatus::Signaled(11), 4, 900, 0),
            "Crash loop: 4 workers within 0.9 s did not last, the last one (pid:7) ended by \
             SIGSEGV; the next start is at once."
        );
    }
}
