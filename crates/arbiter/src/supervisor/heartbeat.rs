//! Deadlines: of those who boot, of those who shall end, and of those who have gone silent.

use std::time::Duration;

use super::child::{Child, State};
use super::{Action, Supervisor};
use crate::{Command, KillReason, Moment, Report, WorkerId};

impl Supervisor {
    pub(super) fn kill_overdue(&mut self, now: Moment) {
        for child in &mut self.children {
            match &mut child.state {
                State::Booting { pid, since, limit: Some(limit) } if *since + *limit <= now => {
                    let (pid, limit) = (*pid, *limit);
                    // As late as in `murder`: nobody could boot in the meantime.
                    if now > *since + limit + look_interval(limit) {
                        *since = now;
                        continue;
                    }
                    let (kill_at, reason) = (Some(now + ABORT_LIMIT), KillReason::BootTimeout);
                    child.state = State::Aborted { pid, kill_at, reason };
                    self.actions.push_back(Action::Report(Report::BootTimeout { pid, limit }));
                    self.actions.push_back(Action::Command { pid, command: Command::Abort });
                }
                State::Aborted { pid, kill_at, .. } if kill_at.is_some_and(|at| at <= now) => {
                    *kill_at = None;
                    self.actions.push_back(Action::Kill { pid: *pid });
                }
                State::Stopping { pid, kill_at, reason } if kill_at.is_some_and(|at| at <= now) => {
                    *kill_at = None;
                    if *reason == KillReason::GracefulTimeout {
                        self.actions
                            .push_back(Action::Report(Report::GracefulTimeout { pid: *pid }));
                    }
                    self.actions.push_back(Action::Kill { pid: *pid });
                }
                _ => {}
            }
        }
    }

    /// gunicorn's `murder_workers`: who was silent for too long is told to abort, then killed.
    ///
    /// It looks five times per timeout. A look that is late by as much says nothing about the
    /// workers: the machine was suspended or stalled, and all get the whole time anew. Therefore a
    /// worker that beats twice per timeout is never taken for hung: a stall that goes unnoticed is
    /// shorter than two fifths of the timeout, and before it the last beat was no older than half.
    pub(super) fn murder(&mut self, last_beat: impl Fn(WorkerId) -> Option<Moment>, now: Moment) {
        let (Some(look_at), Some(timeout)) = (self.look_at, self.plan.timeout) else { return };
        if look_at > now {
            return;
        }
        let interval = look_interval(timeout);
        if now > look_at + interval {
            self.armed = now;
        }
        self.look_at = None;
        for child in &mut self.children {
            let State::Ready { pid, since } = child.state else { continue };
            let beat = last_beat(child.id).unwrap_or(since).max(since).max(self.armed);
            let overdue_at = beat + timeout;
            if overdue_at <= now {
                let silence = now.saturating_since(beat);
                let report = Report::Timeout { pid, silence, limit: timeout };
                let (kill_at, reason) = (Some(now + ABORT_LIMIT), KillReason::Timeout);
                child.state = State::Aborted { pid, kill_at, reason };
                self.actions.push_back(Action::Report(report));
                self.actions.push_back(Action::Command { pid, command: Command::Abort });
            } else {
                let look_at = overdue_at.min(now + interval);
                self.look_at = Some(self.look_at.map_or(look_at, |earlier| earlier.min(look_at)));
            }
        }
    }

    /// A worker became ready, so there is something to look at.
    pub(super) fn watch(&mut self, now: Moment) {
        if self.look_at.is_none() {
            self.look_at = self.plan.timeout.map(|timeout| now + look_interval(timeout));
        }
    }

    /// The timeout may have changed: who was silent under the old one gets the whole new one.
    pub(super) fn rearm(&mut self, now: Moment) {
        self.armed = now;
        self.look_at = None;
        if self.children.iter().any(Child::is_ready) {
            self.watch(now);
        }
    }
}

/// Never zero, for that would be a busy loop.
fn look_interval(timeout: Duration) -> Duration {
    (timeout / LOOKS_PER_TIMEOUT).max(Duration::from_millis(1))
}

const LOOKS_PER_TIMEOUT: u32 = 5;
/// A hung worker that was told to abort has this long: gunicorn's next look.
const ABORT_LIMIT: Duration = Duration::from_secs(1);
