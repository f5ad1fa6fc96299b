//! Retirement: a worker asks to be replaced, and serves on until its successor does.
//!
//! Nobody is anybody's successor in particular. While workers ask, there may be more than wanted;
//! once more than wanted are ready, one that asks goes. So whatever happens on the way, to whom it
//! may, as many as wanted serve if they can.

use super::child::{CLEAN_EXIT_DELAY, Child, State};
use super::{Phase, Supervisor};
use crate::{Moment, Report, RetireReason, WorkerId};

impl Supervisor {
    pub(super) fn retire_asked(&mut self, worker: WorkerId, reason: RetireReason) {
        let Some(child) = self.children.iter_mut().find(|child| child.id == worker) else { return };
        // Anyone else is to go already, or does not serve yet.
        if let State::Ready { pid, .. } = child.state {
            if !std::mem::replace(&mut child.retires, true) {
                self.report(Report::RetireAsked { pid, reason });
            }
        }
    }

    /// How many members there may be beyond the wanted number. Who retires counts until its process
    /// is gone: workers that ask all at once shall not double the number of processes.
    pub(super) fn successors(&self) -> usize {
        match self.phase {
            Phase::Running | Phase::Reloading => {}
            // The new generation is there for all of the old one.
            Phase::Renewing { .. } | Phase::Stopping { .. } | Phase::Stopped => return 0,
        }
        let retiring = self.children.iter().filter(|child| child.retires);
        let leaving = retiring.filter(|child| !child.is_wanted()).count();
        let limit = (self.wanted as usize / RETIRING_SHARE).max(1);
        self.members().filter(|child| child.retires).count().min(limit.saturating_sub(leaving))
    }

    /// When a successor may be forked.
    pub(super) fn successor_at(&self, now: Moment) -> Moment {
        let since = self.members().filter(|child| child.retires).filter_map(Child::ready_since);
        since.max().map_or(now, |since| now.max(since + CLEAN_EXIT_DELAY))
    }

    /// Lets those go that ask to and are not needed.
    ///
    /// Nobody while a reload waits for the last ones that were told to stop: it would wait for ever.
    pub(super) fn retire(&mut self, now: Moment) {
        if !matches!(self.phase, Phase::Running) || self.reload_asked {
            return;
        }
        while self.ready_members() > self.wanted as usize {
            let retiring = self.members().filter(|child| child.retires && child.is_ready());
            let Some(oldest) = retiring.min_by_key(|child| child.age) else { break };
            let id = oldest.id;
            self.stop(now, |child| child.id == id);
        }
    }
}

/// At most one in so many workers is replaced at a time, but one always may be.
const RETIRING_SHARE: usize = 4;
