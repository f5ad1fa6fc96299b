//! Recycling: workers that are old, or have grown too large, get a successor without asking.

use std::time::Duration;

use super::child::{Child, State};
use super::{Action, Phase, Supervisor};
use crate::{Moment, Pid, Report, RetireReason, WorkerId};

impl Supervisor {
    /// Marks those who have lived their time, and has the others measured.
    pub(super) fn recycle(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Stopping { .. } | Phase::Stopped) {
            return;
        }
        let is_due = |child: &Child| self.retires_at(child).is_some_and(|at| at <= now);
        let due: Vec<WorkerId> =
            self.children.iter().filter(|child| is_due(child)).map(|child| child.id).collect();
        for worker in due {
            self.mark(worker, |pid, since| Report::Outlived {
                pid,
                lifetime: now.saturating_since(since),
            });
        }
        if self.measure_at.is_some_and(|at| at <= now) {
            self.measure_at = None;
            self.measure(now, |_| true);
        }
    }

    /// When something here is due.
    pub(super) fn recycle_at(&self) -> Option<Moment> {
        if matches!(self.phase, Phase::Stopping { .. } | Phase::Stopped) {
            return None;
        }
        let lifetimes = self.children.iter().filter_map(|child| self.retires_at(child));
        lifetimes.chain(self.measure_at).min()
    }

    /// A worker became ready: what it takes from the start is not its own growth.
    pub(super) fn measure_newcomer(&mut self, worker: WorkerId, now: Moment) {
        self.measure(now, |child| child.id == worker);
    }

    fn measure(&mut self, now: Moment, which: impl Fn(&Child) -> bool) {
        let Some(limit_bytes) = self.plan.max_worker_memory else { return };
        for child in self.children.iter().filter(|child| which(child) && !child.retires) {
            if let State::Ready { pid, .. } = child.state {
                let worker = child.id;
                self.actions.push_back(Action::Measure { worker, pid, limit_bytes });
                self.measure_at.get_or_insert(now + MEASURE_INTERVAL);
            }
        }
    }

    pub(super) fn measured(&mut self, worker: WorkerId, bytes: u64) {
        let Some(limit) = self.plan.max_worker_memory else { return };
        let Some(child) = self.children.iter_mut().find(|child| child.id == worker) else { return };
        let is_first = !std::mem::replace(&mut child.is_measured, true);
        match child.state {
            State::Ready { .. } if bytes <= limit => {}
            // Its successor would be no smaller.
            State::Ready { pid, .. } if is_first => {
                child.is_large = true;
                self.report(Report::LargeFromTheStart { pid, bytes, limit });
            }
            State::Ready { .. } if child.is_large => {}
            State::Ready { .. } => {
                self.mark(worker, |pid, _| Report::Outgrown { pid, bytes, limit });
            }
            State::Down { .. }
            | State::Forking { .. }
            | State::Booting { .. }
            | State::Aborted { .. }
            | State::Stopping { .. } => {}
        }
    }

    pub(super) fn retire_asked(&mut self, worker: WorkerId, reason: RetireReason) {
        self.mark(worker, |pid, _| Report::RetireAsked { pid, reason });
    }

    /// From now on the worker is stale. Anyone who does not serve is to go already, or has yet to
    /// begin.
    fn mark(&mut self, worker: WorkerId, report: impl Fn(Pid, Moment) -> Report) {
        let Some(child) = self.children.iter_mut().find(|child| child.id == worker) else { return };
        if let State::Ready { pid, since } = child.state {
            if !std::mem::replace(&mut child.retires, true) {
                self.report(report(pid, since));
            }
        }
    }

    /// When the child has lived its time.
    fn retires_at(&self, child: &Child) -> Option<Moment> {
        let since = child.ready_since().filter(|_| !child.retires)?;
        let lifetime = self.plan.max_worker_lifetime?;
        Some(since + lifetime + share(self.plan.max_worker_lifetime_jitter, child.draw))
    }
}

/// A part of the duration: all of it for the largest number drawn.
fn share(duration: Duration, draw: u16) -> Duration {
    duration / u32::from(u16::MAX) * u32::from(draw)
}

/// A number that differs from worker to worker as if drawn at random, and is the same whenever it
/// is asked for: the finalizer of `SplitMix64`.
pub(super) fn draw(pid: Pid, age: u64) -> u16 {
    let seed = age ^ (u64::from(pid.as_raw().unsigned_abs()) << 32);
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let [first, second, ..] = (mixed ^ (mixed >> 31)).to_be_bytes();
    u16::from_be_bytes([first, second])
}

/// Memory grows slowly, and a look costs some ten microseconds per worker.
const MEASURE_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_spread() {
        let draws: Vec<u16> = (1..=1000_i32)
            .map(|number| draw(Pid::from_raw(40_000 + number), u64::from(number.unsigned_abs())))
            .collect();
        for quarter in 0..4_u16 {
            let count = draws.iter().filter(|draw| **draw / 16_384 == quarter).count();
            assert!((200..300).contains(&count), "{count} in quarter {quarter}");
        }
        let jitter = Duration::from_secs(60);
        assert_eq!(share(jitter, 0), Duration::ZERO);
        assert!(share(jitter, u16::MAX).abs_diff(jitter) < Duration::from_millis(1));
    }
}
