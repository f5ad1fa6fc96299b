//! Reload: a new generation takes over, worker by worker.
//!
//! New workers come first, a few beyond the wanted number; for each that is ready an old one goes.
//! Until the first is ready nothing is lost if none ever is, and the first failure abandons the
//! reload. Later failures have another cause than what was loaded, most likely a passing one, and a
//! few are borne. When the reload is abandoned then, the workers that came of it are replaced like
//! the old ones before them: they serve until somebody else does.

use super::{Action, Phase, Plan, Supervisor};
use crate::{Cause, ExitStatus, Moment, Options, Pid, Report};

/// A reload that is under way.
#[derive(Debug)]
pub(super) struct Renewal {
    /// These hold again if it is abandoned.
    previous: Plan,
    pub(super) previous_wanted: u32,
    /// Whether a worker of the new generation has been ready.
    is_proven: bool,
    /// New workers that did not boot, below `FAILURES_MAX`.
    failures: u32,
}

impl Supervisor {
    pub(super) fn reloaded(&mut self, plan: Plan, now: Moment) {
        if !matches!(self.phase, Phase::Reloading) {
            return;
        }
        let previous = std::mem::replace(&mut self.plan, plan);
        let wanted = self.plan.workers.min(Options::WORKERS_MAX);
        let previous_wanted = std::mem::replace(&mut self.wanted, wanted);
        self.newest += 1;
        self.phase =
            Phase::Renewing(Renewal { previous, previous_wanted, is_proven: false, failures: 0 });
        // Who is not even there yet need not come. Who boots may be needed if this comes to nothing.
        self.children.retain(|child| !child.is_down());
        if self.wanted == 0 {
            self.prove(now);
        }
        self.rearm(now);
        self.measure_at = None;
    }

    /// Whether everything still depends on the old workers.
    pub(super) fn is_unproven(&self) -> bool {
        match &self.phase {
            Phase::Renewing(renewal) => !renewal.is_proven && self.wanted > 0,
            Phase::Running | Phase::Reloading | Phase::Stopping { .. } | Phase::Stopped => false,
        }
    }

    /// A worker of the newest generation is ready: of the old ones, who does not serve yet need not
    /// begin to.
    pub(super) fn prove(&mut self, now: Moment) {
        let Phase::Renewing(renewal) = &mut self.phase else { return };
        if !std::mem::replace(&mut renewal.is_proven, true) {
            let generation = self.newest;
            self.stop(now, |child| {
                child.generation != generation && child.is_wanted() && !child.is_ready()
            });
        }
    }

    /// A new worker did not boot. Whether that was the end of the reload.
    pub(super) fn renewal_failed(
        &mut self,
        pid: Pid,
        status: ExitStatus,
        cause: Cause,
        now: Moment,
    ) -> bool {
        let Phase::Renewing(renewal) = &mut self.phase else { return false };
        renewal.failures += 1;
        let is_over = !renewal.is_proven || renewal.failures >= FAILURES_MAX;
        if is_over {
            self.report(Report::ReloadAbandoned { pid, status, cause });
            self.abandon_reload(now);
        }
        is_over
    }

    pub(super) fn abandon_reload(&mut self, now: Moment) {
        let generation = self.newest;
        self.stop(now, |child| {
            child.generation == generation && child.is_wanted() && !child.is_ready()
        });
        if let Phase::Renewing(renewal) = std::mem::replace(&mut self.phase, Phase::Running) {
            self.plan = renewal.previous;
            self.wanted = renewal.previous_wanted;
            self.rearm(now);
            self.actions.push_back(Action::ReloadAbandoned);
        }
    }

    /// Ends a reload of which all workers serve, and none of the old ones is needed.
    pub(super) fn complete_reload(&mut self) {
        let is_complete = matches!(self.phase, Phase::Renewing(_))
            && self.members().all(|child| child.generation == self.newest)
            && self.ready_members() >= self.wanted as usize;
        if is_complete {
            self.generation = self.newest;
            self.phase = Phase::Running;
            self.actions.push_back(Action::ReloadCompleted);
            self.report(Report::ReloadCompleted);
        }
    }
}

/// So many new workers that do not boot abandon a reload that has shown that it works.
const FAILURES_MAX: u32 = 3;
