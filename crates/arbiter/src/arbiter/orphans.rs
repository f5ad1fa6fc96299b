//! Orphans: whoever loses his parent in a container becomes a child of its process 1, and a zombie
//! for ever unless that waits for him.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use nix::sys::wait::{WaitPidFlag, waitpid};

use super::master::how_ended;
use crate::{ExitStatus, Moment, Pid};

/// Reaps orphans, if this is process 1.
///
/// `waitpid(-1)` would also take the children of hooks from those who wait for them. Nothing tells
/// these from orphans but that somebody waits: so whoever is dead and unclaimed for a while is one.
#[derive(Debug)]
pub(super) struct Orphans {
    is_init: bool,
    /// The dead, and when each is to be reaped.
    due: BTreeMap<Pid, Moment>,
}

impl Orphans {
    pub(super) fn new() -> Self {
        Self { is_init: Pid::this().as_raw() == 1, due: BTreeMap::new() }
    }

    /// Looks who is dead, but for those of whom `is_ours` says that they are known.
    pub(super) fn look(&mut self, is_ours: impl Fn(Pid) -> bool, now: Moment) {
        if !self.is_init {
            return;
        }
        let dead: Vec<Pid> = dead_children().into_iter().filter(|pid| !is_ours(*pid)).collect();
        self.due.retain(|pid, _| dead.contains(pid));
        for pid in dead {
            self.due.entry(pid).or_insert(now + GRACE);
        }
    }

    /// When [`reap`](Self::reap) will find somebody.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.due.values().min().copied()
    }

    /// Reaps those for whom nobody has waited in time.
    pub(super) fn reap(&mut self, now: Moment) -> Vec<(Pid, ExitStatus)> {
        let due: Vec<Pid> =
            self.due.iter().filter(|(_, at)| **at <= now).map(|(pid, _)| *pid).collect();
        let mut reaped = Vec::new();
        for pid in due {
            self.due.remove(&pid);
            // An error: somebody has waited for it after all.
            let status = waitpid(nix::unistd::Pid::from(pid), Some(WaitPidFlag::WNOHANG));
            reaped.extend(status.ok().and_then(how_ended));
        }
        reaped
    }
}

/// Zombies whose parent is this process, by `proc_pid_stat(5)`.
fn dead_children() -> Vec<Pid> {
    let parent = Pid::this().to_string();
    let is_dead_child = |pid: &i32| {
        let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name, and may contain blanks and parentheses.
        let (_, rest) = line.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        Some(fields.next()? == "Z" && fields.next()? == parent)
    };
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| is_dead_child(pid) == Some(true))
        .map(Pid::from_raw)
        .collect()
}

/// Longer than who waits for his child takes to do so.
const GRACE: Duration = Duration::from_secs(5);
