//! One worker's life, as its supervisor sees it.

use std::time::Duration;

use crate::{ExitStatus, KillReason, Moment, Pid, WorkerId};

/// One worker, from the wish for it to its end.
#[derive(Debug)]
pub(super) struct Child {
    /// Unique among the children that exist.
    pub(super) id: WorkerId,
    /// Spawn counter of its latest process; 0 until the first fork.
    pub(super) age: u64,
    pub(super) generation: u64,
    /// Starts in a row that did not last.
    pub(super) strikes: u32,
    /// Whether its present process is to have a successor.
    pub(super) retires: bool,
    /// Whether the memory of its present process is known.
    pub(super) is_measured: bool,
    /// Whether that was too much from the start.
    pub(super) is_large: bool,
    /// Drawn for its present process.
    pub(super) draw: u16,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// No process; one is forked at `until`.
    Down { until: Moment },
    /// `Action::Fork` is out; when `doomed`, whatever comes of it is stopped.
    Forking { doomed: bool },
    /// It has not said that it is ready. It may take its time, as with gunicorn, unless there is a
    /// limit.
    Booting { pid: Pid, since: Moment, limit: Option<Duration> },
    /// It serves since then.
    Ready { pid: Pid, since: Moment },
    /// It hung and was told to abort. It is killed at `kill_at`, `None` once that is done; a
    /// successor follows when it is gone.
    Aborted { pid: Pid, kill_at: Option<Moment>, reason: KillReason },
    /// It was told to stop, and nothing takes its place. `kill_at` as above.
    Stopping { pid: Pid, kill_at: Option<Moment>, reason: KillReason },
}

impl State {
    /// It has just been told to stop, and may take its time until `deadline`.
    pub(super) fn stopping(pid: Pid, deadline: Moment, reason: KillReason) -> Self {
        Self::Stopping { pid, kill_at: Some(deadline), reason }
    }
}

impl Child {
    pub(super) fn new(id: WorkerId, generation: u64, until: Moment) -> Self {
        let state = State::Down { until };
        Self {
            id,
            age: 0,
            generation,
            strikes: 0,
            retires: false,
            is_measured: false,
            is_large: false,
            draw: 0,
            state,
        }
    }

    pub(super) fn pid(&self) -> Option<Pid> {
        match self.state {
            State::Down { .. } | State::Forking { .. } => None,
            State::Booting { pid, .. }
            | State::Ready { pid, .. }
            | State::Aborted { pid, .. }
            | State::Stopping { pid, .. } => Some(pid),
        }
    }

    /// Whether it counts towards the wanted number, now or soon.
    pub(super) fn is_wanted(&self) -> bool {
        !matches!(self.state, State::Forking { doomed: true } | State::Stopping { .. })
    }

    /// Whether it was told to go, and that may still work: SIGKILL is the last word.
    pub(super) fn leaves(&self) -> bool {
        match self.state {
            State::Forking { doomed } => doomed,
            State::Stopping { kill_at, .. } => kill_at.is_some(),
            State::Down { .. }
            | State::Booting { .. }
            | State::Ready { .. }
            | State::Aborted { .. } => false,
        }
    }

    /// Whether it has a process that has never been ready.
    pub(super) fn boots(&self) -> bool {
        matches!(
            self.state,
            State::Booting { .. } | State::Aborted { reason: KillReason::BootTimeout, .. }
        )
    }

    pub(super) fn is_down(&self) -> bool {
        matches!(self.state, State::Down { .. })
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }

    pub(super) fn ready_since(&self) -> Option<Moment> {
        match self.state {
            State::Ready { since, .. } => Some(since),
            State::Down { .. }
            | State::Forking { .. }
            | State::Booting { .. }
            | State::Aborted { .. }
            | State::Stopping { .. } => None,
        }
    }

    /// Who goes first when there are too many: the least.
    pub(super) fn worth(&self, is_stale: bool) -> u8 {
        match self.state {
            State::Down { .. } => 0,
            State::Aborted { .. } | State::Stopping { .. } => 1,
            State::Forking { .. } | State::Booting { .. } => 2,
            State::Ready { .. } if is_stale => 3,
            State::Ready { .. } => 4,
        }
    }

    /// Why this supervisor made it end, if it did: a request to stop alone is none.
    pub(super) fn kill_reason(&self) -> Option<KillReason> {
        match self.state {
            State::Aborted { reason, .. } | State::Stopping { reason, kill_at: None, .. } => {
                Some(reason)
            }
            State::Down { .. }
            | State::Forking { .. }
            | State::Booting { .. }
            | State::Ready { .. }
            | State::Stopping { .. } => None,
        }
    }

    /// When its process has to be told to end, or is killed as it was told.
    pub(super) fn overdue_at(&self) -> Option<Moment> {
        match self.state {
            State::Booting { since, limit, .. } => limit.map(|limit| since + limit),
            State::Aborted { kill_at, .. } | State::Stopping { kill_at, .. } => kill_at,
            State::Down { .. } | State::Forking { .. } | State::Ready { .. } => None,
        }
    }

    /// Its process ended at `now`: how long its successor has to wait.
    ///
    /// A boot that fails will most likely fail again. Who was ready and died early could serve
    /// others before whatever ended it: a few of these are made good at once, and then never far
    /// from it, or a request that kills its worker would take the site down.
    pub(super) fn mourn(&mut self, status: ExitStatus, now: Moment) -> Duration {
        (self.retires, self.is_measured, self.is_large) = (false, false, false);
        match self.state {
            State::Ready { since, .. } if now.saturating_since(since) >= SOON => {
                self.strikes = 0;
                Duration::ZERO
            }
            State::Ready { .. } if status.success() => CLEAN_EXIT_DELAY,
            State::Ready { .. } => {
                self.strikes = self.strikes.saturating_add(1);
                if self.strikes > BURST { PAUSE } else { Duration::ZERO }
            }
            State::Aborted { reason, .. } if reason != KillReason::BootTimeout => Duration::ZERO,
            State::Aborted { .. }
            | State::Booting { .. }
            | State::Down { .. }
            | State::Forking { .. }
            | State::Stopping { .. } => {
                self.strikes = self.strikes.saturating_add(1);
                back_off(self.strikes)
            }
        }
    }
}

/// Nothing after 0 failures, then 1, 2, 4 … 30 seconds.
pub(super) fn back_off(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        1..=5 => Duration::from_secs(1 << (failures - 1)),
        _ => BACK_OFF_MAX,
    }
}

/// A worker that ends sooner than this after it was ready has not lasted.
const SOON: Duration = Duration::from_secs(1);
/// So many of these in a row, of one slot, are replaced at once: as many as systemd's
/// `StartLimitBurst`.
const BURST: u32 = 5;
/// How long each further one waits, so that booting does not become the machine's main work.
const PAUSE: Duration = Duration::from_secs(1);
/// A worker that retires at once, again and again, forks ten times a second and no more.
pub(super) const CLEAN_EXIT_DELAY: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
