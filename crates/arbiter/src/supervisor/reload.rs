//! Reload: a new generation takes over when all of it serves, and not before.

use super::{Action, Phase, Plan, Supervisor};
use crate::{Moment, Options};

impl Supervisor {
    pub(super) fn reloaded(&mut self, plan: Plan, now: Moment) {
        if !matches!(self.phase, Phase::Reloading) {
            return;
        }
        let previous = std::mem::replace(&mut self.plan, plan);
        let wanted = self.plan.workers.min(Options::WORKERS_MAX);
        let previous_wanted = std::mem::replace(&mut self.wanted, wanted);
        self.newest += 1;
        self.phase = Phase::Renewing { previous, previous_wanted };
        // Who is not there yet need not come any more.
        self.children.retain(|child| !child.is_down());
        self.rearm(now);
    }

    pub(super) fn abandon_reload(&mut self, now: Moment) {
        let generation = self.newest;
        self.stop(now, |child| child.generation == generation && child.is_wanted());
        if let Phase::Renewing { previous, previous_wanted } =
            std::mem::replace(&mut self.phase, Phase::Running)
        {
            self.plan = previous;
            self.wanted = previous_wanted;
            self.rearm(now);
            self.actions.push_back(Action::ReloadAbandoned);
        }
    }

    pub(super) fn take_over(&mut self, now: Moment) {
        let generation = self.newest;
        self.generation = generation;
        self.phase = Phase::Running;
        self.stop(now, |child| child.generation != generation && child.is_wanted());
        self.actions.push_back(Action::ReloadCompleted);
    }
}
