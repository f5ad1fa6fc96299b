//! The decision maker: events and the time in, actions out, and no syscall between.
//!
//! This file has the life of a worker, event by event; [`workforce`] what follows from the state of
//! all of them. [`Arbiter`](crate::Arbiter) performs what
//! is decided here; tests do so with children and a clock of their own.

mod child;
mod event;
mod heartbeat;
mod recycling;
mod reload;
mod service;
mod signal;
mod streak;
mod succession;
mod upgrade;
mod workforce;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use self::child::{Child, State, back_off};
pub use self::event::{Action, Event, Plan};
use self::reload::Renewal;
use self::service::Service;
pub use self::service::ServiceState;
use self::streak::Streak;
use self::upgrade::Kin;
use crate::{Cause, Command, ExitStatus, Halt, KillReason, Moment, Options, Pid, Report, WorkerId};

/// Keeps a number of workers alive, in thought: see [`Event`] and [`Action`].
///
/// The caller performs every action that [`poll_action`](Self::poll_action) returns before it
/// waits for the next event, but no longer than until [`poll_timeout`](Self::poll_timeout).
///
/// ```
/// use rgunicorn_arbiter::{Action, Event, Moment, Pid, Plan, Supervisor};
///
/// let mut supervisor = Supervisor::new(Plan::new(1), Moment::now());
/// let Some(Action::Fork { worker, .. }) = supervisor.poll_action() else { unreachable!() };
/// supervisor.handle_event(Event::Forked { worker, pid: Pid::from_raw(42) }, Moment::now());
/// ```
#[derive(Debug)]
pub struct Supervisor {
    plan: Plan,
    /// Starts as the plan's number, then TTIN and TTOU change it; 0 to `Options::WORKERS_MAX`.
    wanted: u32,
    /// What `Action::NumberChanged` said last, or the plan.
    told: u32,
    phase: Phase,
    /// At most `WorkerId::SLOTS`; in the order of their creation, so the oldest is first.
    children: Vec<Child>,
    /// The generation that serves.
    generation: u64,
    /// The latest generation that was begun, at least `generation`.
    newest: u64,
    /// Forks so far.
    spawned: u64,
    /// Whether any worker has ever booted.
    ever_ready: bool,
    /// HUP came and has not been acted on.
    reload_asked: bool,
    /// When to look at heartbeats; absent if no worker can time out.
    look_at: Option<Moment>,
    /// When to measure memory; absent if there is no limit, or nobody serves.
    measure_at: Option<Moment>,
    /// Heartbeats older than this count as made then.
    armed: Moment,
    /// Deaths that came too soon.
    streak: Streak,
    /// What `Report::Workers` said last.
    reported: usize,
    /// Whether another arbiter serves at the same sockets.
    kin: Kin,
    /// Absent without a service manager.
    service: Option<Service>,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
enum Phase {
    /// The serving generation is kept at the wanted number.
    Running,
    /// `Action::Reload` is out.
    Reloading,
    /// The newest generation takes over.
    Renewing(Renewal),
    /// Waits for all children to end.
    Stopping { halt: Halt, quick: bool },
    /// `Action::Exit` is out.
    Stopped,
}

impl Supervisor {
    /// A supervisor that wants its first workers forked at once.
    pub fn new(plan: Plan, now: Moment) -> Self {
        let mut supervisor = Self {
            wanted: plan.workers.min(Options::WORKERS_MAX),
            told: plan.workers.min(Options::WORKERS_MAX),
            plan,
            phase: Phase::Running,
            children: Vec::new(),
            generation: 0,
            newest: 0,
            spawned: 0,
            ever_ready: false,
            reload_asked: false,
            look_at: None,
            measure_at: None,
            armed: now,
            streak: Streak::new(now),
            reported: 0,
            kin: Kin::None,
            service: None,
            actions: VecDeque::new(),
        };
        supervisor.advance(now);
        supervisor
    }

    /// Takes note of what happened.
    pub fn handle_event(&mut self, event: Event, now: Moment) {
        match event {
            Event::Exited { pid, status, out_of_memory } => {
                self.exited(pid, status, out_of_memory, now);
            }
            Event::ForkFailed { worker, error } => self.fork_failed(worker, error, now),
            Event::Forked { worker, pid } => self.forked(worker, pid, now),
            Event::Promoted => self.promoted(),
            Event::Measured { worker, bytes } => self.measured(worker, bytes),
            Event::Ready { worker } => self.ready(worker, now),
            Event::ReloadFailed => {
                if matches!(self.phase, Phase::Reloading) {
                    self.phase = Phase::Running;
                }
            }
            Event::Reloaded(plan) => self.reloaded(plan, now),
            Event::RetireAsked { worker, reason } => self.retire_asked(worker, reason),
            Event::Signal(signal) => self.signal(signal, now),
            Event::Upgraded(result) => self.upgraded(result),
        }
        self.advance(now);
    }

    /// Does what is due at `now`; `last_beat` tells a worker's latest heartbeat, if there was one.
    pub fn handle_timeout(&mut self, last_beat: impl Fn(WorkerId) -> Option<Moment>, now: Moment) {
        self.murder(&last_beat, now);
        self.feed(&last_beat, now);
        self.recycle(now);
        self.advance(now);
        // Last: who has just been told to stop may have no time at all.
        self.kill_overdue(now);
    }

    /// The next thing to do; `None` when there is nothing until an event or a timeout.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, unless an event comes first.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let kills = self.children.iter().filter_map(Child::overdue_at);
        let forks = self.children.iter().filter_map(|child| match child.state {
            State::Down { until } => Some(until),
            _ => None,
        });
        let looks = self.look_at.into_iter().chain(self.feed_at()).chain(self.recycle_at());
        kills.chain(forks).chain(looks).min()
    }

    /// Whether there will be workers when those of the present have ended, here or at another
    /// arbiter's.
    pub(crate) fn service_goes_on(&self) -> bool {
        let stops = matches!(self.phase, Phase::Stopping { .. } | Phase::Stopped);
        self.kin != Kin::None || (self.wanted > 0 && !stops)
    }

    /// The time between the request to stop and the kill that the next stop would allow, and what
    /// would be the reason for that.
    fn stop_terms(&self) -> (Command, Duration, KillReason) {
        match self.phase {
            Phase::Stopping { quick: true, .. } => {
                let limit = QUICK_LIMIT.min(self.plan.graceful_timeout);
                (Command::StopNow, limit, KillReason::QuickStop)
            }
            Phase::Running
            | Phase::Reloading
            | Phase::Renewing(_)
            | Phase::Stopping { quick: false, .. }
            | Phase::Stopped => {
                let limit = self.plan.graceful_timeout;
                (Command::StopGracefully, limit, KillReason::GracefulTimeout)
            }
        }
    }

    /// The generation that is kept at the wanted number.
    fn tended(&self) -> u64 {
        match self.phase {
            Phase::Renewing(_) => self.newest,
            Phase::Running | Phase::Reloading | Phase::Stopping { .. } | Phase::Stopped => {
                self.generation
            }
        }
    }

    /// Whether a child's end makes room for a successor.
    fn tends(&self, generation: u64) -> bool {
        match self.phase {
            Phase::Running | Phase::Reloading | Phase::Renewing(_) => generation == self.tended(),
            Phase::Stopping { .. } | Phase::Stopped => false,
        }
    }

    fn report(&mut self, report: Report) {
        self.actions.push_back(Action::Report(report));
    }
}

/// The life of a child, event by event.
impl Supervisor {
    fn forked(&mut self, worker: WorkerId, pid: Pid, now: Moment) {
        let (command, limit, reason) = self.stop_terms();
        let Some(child) = self.children.iter_mut().find(|child| child.id == worker) else { return };
        match child.state {
            State::Forking { doomed: false } => {
                let limit = self.plan.boot_timeout;
                child.draw = recycling::draw(pid, child.age);
                child.state = State::Booting { pid, since: now, limit };
            }
            State::Forking { doomed: true } => {
                child.state = State::stopping(pid, now + limit, reason);
                self.actions.push_back(Action::Command { pid, command });
            }
            // Nobody asked for this process.
            State::Down { .. }
            | State::Booting { .. }
            | State::Ready { .. }
            | State::Aborted { .. }
            | State::Stopping { .. } => {}
        }
    }

    fn fork_failed(&mut self, worker: WorkerId, error: io::Error, now: Moment) {
        let Some(index) = self.children.iter().position(|child| child.id == worker) else { return };
        let mut child = self.children.remove(index);
        if matches!(child.state, State::Forking { doomed: false }) && self.tends(child.generation) {
            child.strikes = child.strikes.saturating_add(1);
            let delay = back_off(child.strikes);
            child.state = State::Down { until: now + delay };
            self.children.insert(index, child);
            self.report(Report::ForkFailed { error, delay });
        }
    }

    fn ready(&mut self, worker: WorkerId, now: Moment) {
        let Some(child) = self.children.iter_mut().find(|child| child.id == worker) else { return };
        // Also of one that is to stop: it shows that workers can boot.
        self.ever_ready = true;
        if let State::Booting { pid, .. } = child.state {
            child.state = State::Ready { pid, since: now };
            let is_newest = child.generation == self.newest;
            self.watch(now);
            self.measure_newcomer(worker, now);
            if is_newest {
                self.prove(now);
            }
        }
    }

    fn exited(&mut self, pid: Pid, status: ExitStatus, out_of_memory: Option<bool>, now: Moment) {
        let Some(index) = self.children.iter().position(|child| child.pid() == Some(pid)) else {
            if !self.successor_exited(pid, status) {
                self.report(Report::Stranger { pid, status });
            }
            return;
        };
        let mut child = self.children.remove(index);
        let cause = match (child.kill_reason(), out_of_memory) {
            (Some(reason), _) => Cause::Arbiter(reason),
            (None, Some(true)) => Cause::OutOfMemory,
            (None, Some(false)) => Cause::Other,
            (None, None) => Cause::Unknown,
        };
        if !status.success() {
            self.report(Report::Exited { pid, status, cause });
        }
        if matches!(child.state, State::Stopping { .. }) || !self.tends(child.generation) {
            return;
        }
        if child.boots() {
            match status {
                ExitStatus::BOOT_ERROR if !self.ever_ready => {
                    return self.halt(Halt::Boot, true, now);
                }
                ExitStatus::APP_LOAD_ERROR if !self.ever_ready => {
                    return self.halt(Halt::AppLoad, true, now);
                }
                _ if self.renewal_failed(pid, status, cause, now) => return,
                _ => {}
            }
        }
        let strikes = child.strikes;
        let delay = child.mourn(status, now);
        if child.strikes > strikes {
            let (deaths, within) = self.streak.count(now);
            if deaths >= CRASH_LOOP {
                self.report(Report::CrashLoop { pid, status, cause, deaths, within, delay });
            } else if delay >= back_off(1) {
                self.report(Report::BackingOff { pid, delay });
            }
        }
        child.state = State::Down { until: now + delay };
        self.children.insert(index, child);
    }

    /// Tells the children of `which` to stop, on the terms of the phase.
    fn stop(&mut self, now: Moment, which: impl Fn(&Child) -> bool) {
        let (command, limit, overdue) = self.stop_terms();
        let deadline = now + limit;
        self.children.retain(|child| !(which(child) && child.is_down()));
        for child in self.children.iter_mut().filter(|child| which(child)) {
            child.state = match child.state {
                State::Down { .. } | State::Forking { .. } => State::Forking { doomed: true },
                State::Booting { pid, .. } | State::Ready { pid, .. } => {
                    self.actions.push_back(Action::Command { pid, command });
                    State::stopping(pid, deadline, overdue)
                }
                State::Aborted { pid, kill_at, reason } => State::Stopping { pid, kill_at, reason },
                // Told already: again only if it is to hurry now.
                State::Stopping { pid, kill_at, reason } => {
                    if command == Command::StopNow && kill_at.is_some() {
                        self.actions.push_back(Action::Command { pid, command });
                    }
                    match kill_at {
                        Some(at) if at > deadline => State::stopping(pid, deadline, overdue),
                        _ => State::Stopping { pid, kill_at, reason },
                    }
                }
            };
        }
    }
}

/// So many deaths in a row are no chance.
const CRASH_LOOP: u32 = 3;
/// A worker that was told to stop at once has this long; gunicorn's for INT during a graceful stop.
const QUICK_LIMIT: Duration = Duration::from_secs(2);
