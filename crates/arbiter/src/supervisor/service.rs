//! What the service manager is told, and when; in the words of `sd_notify(3)`.

use std::time::Duration;

use super::child::{Child, State};
use super::{Action, Phase, Supervisor};
use crate::{Moment, Pid, Report, WorkerId};

/// What a service manager is told. [`Arbiter`](crate::Arbiter) sends it to systemd.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ServiceState {
    /// Another process is the main one from now on.
    MainPid(Pid),
    /// Workers serve: at first, and again after each reload, whatever came of it.
    Ready,
    /// A reload has begun.
    Reloading,
    /// How many workers serve.
    Status {
        /// So many.
        ready: usize,
        /// Of so many.
        wanted: u32,
    },
    /// The arbiter ends.
    Stopping,
    /// Arbiter and workers are alive.
    Watchdog,
}

/// What has been told so far; made when there is a service manager.
#[derive(Debug)]
pub(super) struct Service {
    /// A sign of life is expected twice in this time.
    watchdog: Option<Duration>,
    /// When to give the next one; present if `watchdog` is.
    feed_at: Option<Moment>,
    /// Whether the last one was withheld.
    is_starved: bool,
    told: Told,
    status: Option<ServiceState>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Told {
    Nothing,
    Ready,
    Reloading,
    Stopping,
}

impl Supervisor {
    /// From now on tells a service manager, as [`Action::Notify`], what goes on. `watchdog` is the
    /// time after which that takes silence for death.
    pub fn notify_service(&mut self, watchdog: Option<Duration>, now: Moment) {
        let watchdog = watchdog.filter(|watchdog| !watchdog.is_zero());
        self.service = Some(Service {
            watchdog,
            feed_at: watchdog.map(|_| now),
            is_starved: false,
            told: Told::Nothing,
            status: None,
        });
        self.advance(now);
    }

    /// Whoever asked for a reload is told of this one, though another is under way.
    pub(super) fn tell_reload_again(&mut self) {
        if let Some(service) = &mut self.service {
            if service.told == Told::Reloading {
                service.told = Told::Ready;
            }
        }
    }

    /// Also whoever was told by the arbiter before this one hears it from this one.
    pub(super) fn tell_anew(&mut self) {
        if let Some(service) = &mut self.service {
            service.told = Told::Nothing;
            service.status = None;
        }
    }

    /// Tells what has changed.
    pub(super) fn tell(&mut self) {
        let (ready, wanted) = (self.ready_members(), self.wanted);
        let (is_reloading, is_stopping) = match self.phase {
            Phase::Running => (self.reload_asked, false),
            Phase::Reloading | Phase::Renewing(_) => (true, false),
            Phase::Stopping { .. } | Phase::Stopped => (false, true),
        };
        let (is_successor, successor) = (self.is_successor(), self.successor());
        let Some(service) = &mut self.service else { return };
        // The main process is the other one.
        if is_successor {
            return;
        }
        let due = if is_stopping {
            Told::Stopping
        } else if service.told == Told::Nothing && ready == 0 && wanted > 0 {
            Told::Nothing
        } else if is_reloading && service.told != Told::Nothing {
            Told::Reloading
        } else {
            Told::Ready
        };
        if due != service.told {
            service.told = due;
            let state = match (due, successor) {
                (Told::Nothing, _) => return,
                (Told::Ready, _) => ServiceState::Ready,
                (Told::Reloading, _) => ServiceState::Reloading,
                // The service goes on, elsewhere.
                (Told::Stopping, Some(pid)) => ServiceState::MainPid(pid),
                (Told::Stopping, None) => ServiceState::Stopping,
            };
            self.actions.push_back(Action::Notify(state));
        }
        let status = Some(ServiceState::Status { ready, wanted });
        if matches!(due, Told::Ready | Told::Reloading) && service.status != status {
            service.status = status;
            self.actions.extend(status.map(Action::Notify));
        }
    }

    pub(super) fn feed_at(&self) -> Option<Moment> {
        self.service.as_ref().and_then(|service| service.feed_at)
    }

    /// Gives the watchdog its sign of life, if there is life: a worker that serves and is not
    /// silent for longer than `timeout`, or nobody who should.
    pub(super) fn feed(&mut self, last_beat: impl Fn(WorkerId) -> Option<Moment>, now: Moment) {
        if self.feed_at().is_none_or(|at| at > now) {
            return;
        }
        let is_fresh = |child: &Child| match (child.state, self.plan.timeout) {
            (State::Ready { since, .. }, Some(timeout)) => {
                let beat = last_beat(child.id).unwrap_or(since).max(since).max(self.armed);
                now < beat + timeout
            }
            (State::Ready { .. }, None) => true,
            _ => false,
        };
        let is_stopping = matches!(self.phase, Phase::Stopping { .. } | Phase::Stopped);
        let is_alive = self.wanted == 0 || is_stopping || self.children.iter().any(is_fresh);
        let is_successor = self.is_successor();
        let Some(service) = &mut self.service else { return };
        service.feed_at = service.watchdog.map(|watchdog| now + watchdog / FEEDS_PER_WATCHDOG);
        // systemd begins to count when it is told that the service is ready.
        if service.told == Told::Nothing || is_successor {
            return;
        }
        let was_starved = std::mem::replace(&mut service.is_starved, !is_alive);
        if is_alive {
            self.actions.push_back(Action::Notify(ServiceState::Watchdog));
        } else if !was_starved {
            self.report(Report::WatchdogStarved);
        }
    }
}

/// As `sd_watchdog_enabled(3)` recommends.
const FEEDS_PER_WATCHDOG: u32 = 2;
