//! Requests that an application thread has taken, and not begun to answer.
//!
//! A thread takes a request from the reactor while it is outside of the interpreter, and then has to
//! get in. If a call keeps the interpreter to itself, that may never happen, and the request would
//! be lost with the call. So it lies here meanwhile, where the reactor finds it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// One for all threads of a worker: whoever gets in first answers whoever has waited longest. For
/// each request that is put here a thread is on its way.
#[derive(Debug)]
pub(crate) struct Inbox<J> {
    /// With the time since when it lies here, the oldest first; at most one for each thread.
    jobs: Mutex<VecDeque<(Instant, J)>>,
}

impl<J> Default for Inbox<J> {
    fn default() -> Self {
        Self { jobs: Mutex::default() }
    }
}

impl<J> Inbox<J> {
    /// For the leader, before the reactor is let go: whoever leads next then knows of it.
    pub(crate) fn put(&self, job: J, now: Instant) {
        self.jobs().push_back((now, job));
    }

    /// For a thread that has got into the interpreter. `None`: its request was taken back.
    pub(crate) fn take(&self) -> Option<J> {
        self.jobs().pop_front().map(|(_, job)| job)
    }

    /// For the leader: what lies here since `then` or longer, without what `can_move` refuses, for
    /// which a thread still comes.
    pub(crate) fn take_back(
        &self,
        then: Instant,
        mut can_move: impl FnMut(&mut J) -> bool,
    ) -> Vec<J> {
        let mut jobs = self.jobs();
        let (mut taken, mut kept) = (Vec::new(), VecDeque::with_capacity(jobs.len()));
        for (since, mut job) in jobs.drain(..) {
            if since <= then && can_move(&mut job) {
                taken.push(job);
            } else {
                kept.push_back((since, job));
            }
        }
        *jobs = kept;
        taken
    }

    /// Since when the oldest one lies here.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.jobs().front().map(|(since, _)| *since)
    }

    fn jobs(&self) -> MutexGuard<'_, VecDeque<(Instant, J)>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn whoever_gets_in_first_takes_the_oldest() {
        let (inbox, begin) = (Inbox::default(), Instant::now());
        assert_eq!((inbox.since(), inbox.take()), (None, None));
        for number in 0..4 {
            inbox.put(number, begin + Duration::from_secs(number));
        }
        assert_eq!(inbox.take(), Some(0));
        assert_eq!(inbox.since(), Some(begin + Duration::from_secs(1)));
        // Those of the first two seconds, if they are even; the others keep their order.
        let then = begin + Duration::from_secs(2);
        assert_eq!(inbox.take_back(then, |number| *number % 2 == 0), [2]);
        assert!(inbox.take_back(then, |number| *number % 2 == 0).is_empty());
        assert_eq!([inbox.take(), inbox.take(), inbox.take()], [Some(1), Some(3), None]);
    }

    /// A request is answered or taken back, and never both.
    #[test]
    fn nothing_is_lost_or_doubled() {
        const COUNT: u64 = 20_000;
        let inbox = Inbox::default();
        let sum: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        (0..COUNT)
                            .map(|number| {
                                inbox.put(number, Instant::now());
                                std::thread::yield_now();
                                inbox.take().unwrap_or(0)
                            })
                            .sum::<u64>()
                    })
                })
                .collect();
            let mut back = 0;
            while threads.iter().any(|thread| !thread.is_finished()) {
                back += inbox.take_back(Instant::now(), |_| true).iter().sum::<u64>();
            }
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>() + back
        });
        assert_eq!(inbox.take(), None);
        assert_eq!(sum, COUNT * (COUNT - 1));
    }
}
