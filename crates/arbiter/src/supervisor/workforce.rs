//! What follows from the state of all workers: whether a phase is over, who is missing, and who is one
//! too many.

use std::collections::BTreeSet;

use super::child::{Child, State};
use super::{Action, Phase, Supervisor};
use crate::{Halt, Moment, Report, WorkerId};

impl Supervisor {
    /// Ends the phase if its end has come, then sees to the workers.
    pub(super) fn advance(&mut self, now: Moment) {
        if self.told != self.wanted {
            let old = std::mem::replace(&mut self.told, self.wanted);
            self.actions.push_back(Action::NumberChanged { new: self.wanted, old });
        }
        self.retire(now);
        self.complete_reload();
        match self.phase {
            // One at a time: however many HUPs come, they do not multiply the processes. But nobody
            // waits for a process that even SIGKILL does not end.
            Phase::Running if self.reload_asked && !self.children.iter().any(Child::leaves) => {
                self.reload_asked = false;
                self.phase = Phase::Reloading;
                self.actions.push_back(Action::Reload);
            }
            Phase::Stopping { halt, .. } if self.children.is_empty() => {
                self.phase = Phase::Stopped;
                self.report(Report::ShuttingDown(halt));
                if halt != Halt::Asked {
                    self.report(Report::Reason(halt));
                }
                self.actions.push_back(Action::Exit(halt));
            }
            Phase::Running
            | Phase::Reloading
            | Phase::Renewing(_)
            | Phase::Stopping { .. }
            | Phase::Stopped => {}
        }
        self.manage_workers(now);
        self.tell();
    }

    /// gunicorn's `manage_workers`: as many as wanted, and the oldest go first, but nobody who serves
    /// before those who do not.
    fn manage_workers(&mut self, now: Moment) {
        let tended = self.tended();
        if !self.tends(tended) {
            return;
        }
        let aim = self.aim();
        let mut members = self.members().count();
        while members < aim {
            let Some(id) = self.free_slot() else { break };
            let until = if members < self.wanted as usize { now } else { self.successor_at(now) };
            self.children.push(Child::new(id, tended, until));
            members += 1;
        }
        while let Some(surplus) = self.surplus() {
            self.stop(now, |child| child.id == surplus);
        }
        for child in &mut self.children {
            if matches!(child.state, State::Down { until } if until <= now) {
                self.spawned += 1;
                child.age = self.spawned;
                child.state = State::Forking { doomed: false };
                self.actions.push_back(Action::Fork { worker: child.id, age: child.age });
            }
        }
        self.report_workers();
    }

    /// Who is one too many. Beyond the aim that is nobody who is there already, but who is not need
    /// not come.
    fn surplus(&self) -> Option<WorkerId> {
        let members = self.members().count();
        let least =
            self.members().min_by_key(|child| (child.worth(self.is_stale(child)), child.age))?;
        let is_surplus = members > self.limit() || (members > self.aim() && least.is_down());
        is_surplus.then_some(least.id)
    }

    /// Those who make up the number of workers, now or soon.
    pub(super) fn members(&self) -> impl Iterator<Item = &Child> {
        self.children.iter().filter(|child| child.is_wanted())
    }

    pub(super) fn ready_members(&self) -> usize {
        self.members().filter(|child| child.is_ready()).count()
    }

    /// Once per change, and not for every single fork of it.
    fn report_workers(&mut self) {
        if self.children.iter().any(|child| matches!(child.state, State::Forking { .. })) {
            return;
        }
        let processes = self.children.iter().filter(|child| child.pid().is_some()).count();
        if processes != self.reported {
            self.reported = processes;
            self.report(Report::Workers(processes));
        }
    }

    fn free_slot(&self) -> Option<WorkerId> {
        let taken: BTreeSet<WorkerId> = self.children.iter().map(|child| child.id).collect();
        WorkerId::all().find(|id| !taken.contains(id))
    }
}
