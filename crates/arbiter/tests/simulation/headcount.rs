//! How many processes there may be: what `supervisor/succession.rs` promises, counted from outside.
//!
//! Who was told to stop is *leaving* until it has gone or is sent SIGKILL; everyone else is a member.
//! A supervisor may know more than its processes: whoever is being forked may be told to stop before
//! it has a pid, and whoever is told to abort may be told nothing more. Where that matters, both are
//! counted as what allows more.

use crate::process::{Process, Told};
use crate::world::World;

impl World {
    /// Processes that may still do what they want.
    pub(crate) fn alive(&self) -> usize {
        self.processes.values().filter(|process| process.told != Told::Killed).count()
    }

    /// How many serve, and are to go on with it.
    pub(crate) fn serving(&self) -> usize {
        self.processes.values().filter(|process| process.serves()).count()
    }

    /// After whatever happened: nobody stays who is too many.
    pub(crate) fn check_headcount(&self) {
        if self.listeners_closed {
            return;
        }
        let members = self.members().count();
        let limit = self.needed() + self.stale().min(self.surge());
        assert!(members <= limit, "seed {}: {members} members of {limit}", self.seed);
    }

    /// After a fork: it was needed, or there were few enough processes, whatever becomes of them.
    pub(crate) fn check_fork(&self) {
        let alive = self.alive();
        let leaving = alive - self.members().count();
        let most = self.needed() + self.surge().max(leaving);
        assert!(
            alive <= most,
            "seed {}: {alive} processes, {leaving} of them leaving, for {}",
            self.seed,
            self.wanted
        );
    }

    /// Those who certainly are.
    fn members(&self) -> impl Iterator<Item = &Process> {
        let forked =
            |process: &&Process| self.forks.iter().any(|(worker, _)| *worker == process.worker);
        self.processes
            .values()
            .filter(move |process| process.told == Told::Nothing && !forked(process))
    }

    /// As many as wanted; or everyone who was there before a reload, until it has shown that it works.
    fn needed(&self) -> usize {
        let wanted = self.wanted as usize;
        let is_unproven = self.previous.is_some() && !self.is_proven && wanted > 0;
        if is_unproven { wanted.max(self.stale()) } else { wanted }
    }

    /// Members, maybe, that are to be replaced.
    fn stale(&self) -> usize {
        let is_stale = |process: &&Process| {
            let is_member = matches!(process.told, Told::Nothing | Told::Abort);
            is_member && (process.has_asked || process.generation != self.tended)
        };
        let to_fail = self.forks.iter().filter(|(_, pid)| pid.is_none()).count();
        self.processes.values().filter(is_stale).count() + to_fail
    }

    /// How many may be added while others are replaced.
    pub(crate) fn surge(&self) -> usize {
        (self.wanted as usize / 4).max(1)
    }
}
