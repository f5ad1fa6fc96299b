//! When to look at which connection again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::poller::Token;

/// A heap of wake-ups. Deadlines move with every request, so an entry only says when to *look*:
/// the connection itself holds the deadline, and an entry that comes too early is put back. A
/// request thereby costs no heap operation.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, Token)>>,
}

/// One connection's deadline and the wake-up that stands for it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deadline {
    /// When the connection's patience ends.
    at: Option<Instant>,
    /// The earliest entry in the heap; never later than `at`.
    queued: Option<Instant>,
}

impl Deadline {
    /// It is our turn, not the connection's.
    pub(crate) fn clear(&mut self) {
        self.at = None;
    }

    pub(crate) fn is_set(&self) -> bool {
        self.at.is_some()
    }

    /// How much of the patience is left.
    pub(crate) fn remaining(&self, now: Instant) -> Option<Duration> {
        Some(self.at?.saturating_duration_since(now))
    }

    /// The wake-up that stood for it was taken from the heap.
    pub(crate) fn postpone(&mut self) {
        self.queued = None;
    }
}

impl Timers {
    pub(crate) fn set(&mut self, deadline: &mut Deadline, token: Token, at: Instant) {
        deadline.at = Some(at);
        if deadline.queued.is_none_or(|queued| at < queued) {
            deadline.queued = Some(at);
            self.heap.push(Reverse((at, token)));
        }
    }

    /// How long nothing is due.
    pub(crate) fn remaining(&self, now: Instant) -> Option<Duration> {
        let Reverse((at, _)) = self.heap.peek()?;
        Some(at.saturating_duration_since(now))
    }

    /// The next connection to look at, if its wake-up has come.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Token> {
        let Reverse((at, token)) = *self.heap.peek()?;
        if at > now {
            return None;
        }
        self.heap.pop();
        Some(token)
    }

    /// Whether the deadline has really passed; otherwise it is queued anew.
    pub(crate) fn is_over(&mut self, deadline: &mut Deadline, token: Token, now: Instant) -> bool {
        deadline.queued = None;
        match deadline.at {
            Some(at) if at <= now => true,
            Some(at) => {
                self.set(deadline, token, at);
                false
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_deadline_that_moved_is_not_over() {
        let (mut timers, mut deadline, start) =
            (Timers::default(), Deadline::default(), Instant::now());
        timers.set(&mut deadline, Token(1), start + SECOND);
        timers.set(&mut deadline, Token(1), start + 3 * SECOND);
        assert_eq!(timers.remaining(start), Some(SECOND));
        assert_eq!(timers.pop(start + SECOND), Some(Token(1)));
        assert!(!timers.is_over(&mut deadline, Token(1), start + SECOND));
        assert_eq!(timers.remaining(start + SECOND), Some(2 * SECOND));
        assert_eq!(timers.pop(start + 3 * SECOND), Some(Token(1)));
        assert!(timers.is_over(&mut deadline, Token(1), start + 3 * SECOND));
        assert_eq!(timers.remaining(start), None);
    }

    #[test]
    fn an_earlier_deadline_wakes_earlier() {
        let (mut timers, mut deadline, start) =
            (Timers::default(), Deadline::default(), Instant::now());
        timers.set(&mut deadline, Token(1), start + 30 * SECOND);
        timers.set(&mut deadline, Token(1), start + SECOND);
        assert_eq!(timers.remaining(start), Some(SECOND));
        assert_eq!(timers.pop(start), None);
    }
}
