//! Requests whose threads do not get into the interpreter: a call keeps it to itself.

use std::time::{Duration, Instant};

use super::{Life, Reactor};
use crate::access::RequestLog;
use crate::options::Options;

impl<L: RequestLog> Reactor<L> {
    /// Takes back what no application thread has begun for too long, and gives it away, or leaves
    /// that to the drain. It stays where it is while nobody else would begin it sooner, and if too
    /// much of a body was read with it; until it has waited for longer than it may.
    pub(super) fn recall(&mut self) {
        let due = self.context.inbox.since().map(|since| since + PATIENCE);
        if due.is_none_or(|due| due > self.now) {
            return;
        }
        if self.has_taker() {
            self.take_back(PATIENCE);
            self.relieve();
        }
        let limit = self.context.options.queue_timeout;
        if let Some(then) = limit.and_then(|limit| self.now.checked_sub(limit)) {
            // They are shed there.
            let late = self.context.inbox.take_back(then, |_| true);
            self.requests.extend(late.into_iter().map(|job| *job));
        }
    }

    /// Takes back what no application thread has begun by now: none of them will.
    pub(super) fn recall_all(&mut self) {
        self.take_back(Duration::ZERO);
    }

    /// When to look again.
    pub(super) fn next_recall(&self) -> Option<Instant> {
        let Options { queue_timeout, .. } = &self.context.options;
        if self.context.mailbox.is_none() && queue_timeout.is_none() {
            return None;
        }
        let due = self.context.inbox.since()? + PATIENCE;
        // Nobody was there to take it, and it may wait on.
        Some(if due <= self.now { self.now + PATIENCE } else { due })
    }

    fn take_back(&mut self, waited: Duration) {
        let Some(then) = self.now.checked_sub(waited) else { return };
        let jobs = self.context.inbox.take_back(then, |job| job.client.unread(&job.request));
        for job in jobs {
            self.enqueue_unread(*job);
        }
    }

    /// Whether a sibling begins a request sooner than a thread that does not get in.
    fn has_taker(&self) -> bool {
        let leaves = self.life == Life::Draining;
        self.context.has_idle_sibling()
            || (leaves && (self.context.has_receivers() || self.context.has_heirs()))
    }
}

/// A thread that waits for the interpreter asks for it after 5 ms (`sys.getswitchinterval()`), and
/// usually gets it then. What has waited twice as long is better off with a sibling that has nothing
/// to do; so long, too, until it is looked for again.
const PATIENCE: Duration = Duration::from_millis(10);
