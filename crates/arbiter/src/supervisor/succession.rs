//! Succession: who is to be replaced serves on until somebody else does.
//!
//! *Stale* is who asked for a successor or is to be recycled, and everyone whose generation is not
//! the one that is tended: after a reload all of the old generation, after one that was abandoned
//! half-way those of the new one. Nobody is anybody's successor in particular. While some are stale,
//! there may be more workers than wanted; once more than wanted are ready, one that is stale goes. So
//! whatever happens on the way, to whom it may, as many as wanted serve if they can.
//!
//! # How many processes there are
//!
//! *Needed* are as many as are wanted, but everyone who was there before a reload until it has shown
//! that it works. The *surge* is a quarter of those wanted, at least one. *Leaving* is who was told
//! to stop, until its end or SIGKILL. Then
//!
//! - besides those who leave there are never more than the needed and, for each that is stale, one
//!   up to the surge;
//! - a process is made only if it is needed, or if all that there are then, the leaving ones among
//!   them, are no more than the needed and the surge.
//!
//! So a reload from `m` settled workers to `n` has at most the greater of the two and the surge of
//! `n`, and retirement at most those wanted and their surge. Who is needed does not wait for those
//! who leave: after TTOU and TTIN, after a reload that overtakes workers on their way, or when one to
//! fewer workers is abandoned, there are both, for `graceful_timeout` and no longer.

use super::child::{CLEAN_EXIT_DELAY, Child};
use super::{Phase, Supervisor};
use crate::Moment;

impl Supervisor {
    /// The most workers that there may be right now.
    pub(super) fn limit(&self) -> usize {
        let stale = self.stale_members().count();
        self.needed(stale) + stale.min(self.surge())
    }

    /// Up to how many workers new ones are made. Who leaves, for whatever reason, counts until its
    /// process is gone: to replace all at once shall not double the number of processes.
    pub(super) fn aim(&self) -> usize {
        let stale = self.stale_members().count();
        let leaving = self.children.iter().filter(|child| child.leaves());
        let successors = stale.min(self.surge().saturating_sub(leaving.count()));
        match self.phase {
            // The reload that is about to begin replaces everyone.
            Phase::Running if self.reload_asked => self.wanted as usize,
            Phase::Reloading => self.wanted as usize,
            Phase::Running | Phase::Renewing(_) => self.needed(stale) + successors,
            Phase::Stopping { .. } | Phase::Stopped => 0,
        }
    }

    /// As many as wanted, but a reload sends nobody away before it has shown that it works.
    fn needed(&self, stale: usize) -> usize {
        let wanted = self.wanted as usize;
        if self.is_unproven() { wanted.max(stale) } else { wanted }
    }

    /// How many there may be beyond those who are needed.
    fn surge(&self) -> usize {
        (self.wanted as usize / SURGE_SHARE).max(1)
    }

    /// When a successor may be forked.
    pub(super) fn successor_at(&self, now: Moment) -> Moment {
        if self.stale_members().any(|child| child.generation != self.tended()) {
            return now;
        }
        let since = self.stale_members().filter_map(Child::ready_since).max();
        since.map_or(now, |since| now.max(since + CLEAN_EXIT_DELAY))
    }

    /// Lets those go that are stale and not needed.
    ///
    /// Nobody while a reload waits for the last ones that were told to stop: it would wait for ever.
    pub(super) fn retire(&mut self, now: Moment) {
        let may_retire = match self.phase {
            Phase::Running => !self.reload_asked,
            Phase::Renewing(_) => !self.is_unproven(),
            Phase::Reloading | Phase::Stopping { .. } | Phase::Stopped => false,
        };
        while may_retire && self.ready_members() > self.wanted as usize {
            let stale = self.stale_members().filter(|child| child.is_ready());
            let Some(oldest) = stale.min_by_key(|child| child.age) else { break };
            let id = oldest.id;
            self.stop(now, |child| child.id == id);
        }
    }

    pub(super) fn is_stale(&self, child: &Child) -> bool {
        child.retires || child.generation != self.tended()
    }

    fn stale_members(&self) -> impl Iterator<Item = &Child> {
        self.members().filter(|child| self.is_stale(child))
    }
}

/// At most one worker for so many is added while others are replaced, but one always may be.
const SURGE_SHARE: usize = 4;
