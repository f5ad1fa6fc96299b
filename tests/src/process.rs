//! Processes, as `/proc` shows them.

use std::fs;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::eventually;

/// One process, told from a later one that got the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Process {
    pid: i32,
    /// Clock ticks from the machine's start to the process's.
    started: u64,
}

impl Process {
    /// The process that has this pid now; `None` when there is none, or only its zombie.
    pub fn find(pid: i32) -> Option<Self> {
        Stat::read(pid).map(|stat| stat.process)
    }

    /// The living children of a process, oldest first.
    pub fn children_of(parent: i32) -> Vec<Self> {
        let mut children: Vec<Self> = fs::read_dir("/proc")
            .expect("/proc is mounted")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(Stat::read)
            .filter(|stat| stat.parent == parent)
            .map(|stat| stat.process)
            .collect();
        children.sort_by_key(|child| (child.started, child.pid));
        children
    }

    /// Its pid.
    pub fn pid(self) -> i32 {
        self.pid
    }

    /// Whether it still runs.
    pub fn is_alive(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    /// Stops all of its threads where they are, and returns when they stand still. Only SIGCONT and
    /// SIGKILL have an effect from then on.
    pub fn freeze(self) {
        self.signal(Signal::SIGSTOP);
        eventually("a standstill", || self.threads().all(|state| state == 'T').then_some(()));
    }

    /// The state of each thread, as a letter of `proc_pid_stat(5)`.
    fn threads(self) -> impl Iterator<Item = char> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten();
        threads.filter_map(|thread| {
            let line = fs::read_to_string(thread.ok()?.path().join("stat")).ok()?;
            line.rsplit_once(") ")?.1.chars().next()
        })
    }

    /// Sends a signal, if it still runs.
    pub fn signal(self, signal: Signal) {
        if !self.is_alive() {
            return;
        }
        match kill(Pid::from_raw(self.pid), signal) {
            // It may have ended since: then there is nothing left to tell.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => panic!("{signal} to {}: {error}", self.pid),
        }
    }
}

/// What is used of `/proc/PID/stat`, `proc_pid_stat(5)`.
struct Stat {
    process: Process,
    parent: i32,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the command in parentheses and may itself hold both kinds of them.
        let (_, rest) = line.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        if matches!(fields[0], "Z" | "X") {
            return None;
        }
        Some(Self {
            process: Process { pid, started: fields[19].parse().ok()? },
            parent: fields[1].parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_under_its_parent() {
        let this = Process::find(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(this.is_alive());
        let parent = i32::try_from(std::os::unix::process::parent_id()).unwrap();
        assert!(Process::children_of(parent).contains(&this));
    }
}
