//! Who runs the reactor: leader and followers.
//!
//! Whoever owns the reactor leads. An application thread that leads polls, reads, and lets the
//! reactor go before it calls the application; when it comes back it takes the reactor again if
//! nobody else has. Short requests therefore never change thread, and during a long one the reactor
//! lies here for the taking.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The place where the reactor lies while nobody leads. `R` is the reactor; `S` what comes back
/// from the application.
#[derive(Debug)]
pub(crate) struct Lead<R, S> {
    /// Signalled when a follower is to take the reactor, and at the end.
    call: Condvar,
    /// Length of `Seat::returned`, to be looked at without the lock.
    returned: AtomicUsize,
    seat: Mutex<Seat<R, S>>,
    /// Signalled when an application thread ends.
    left: Condvar,
}

#[derive(Debug)]
struct Seat<R, S> {
    /// Application threads that wait to lead.
    followers: usize,
    /// Here while nobody leads.
    reactor: Option<Box<R>>,
    /// Connections that came back while another led.
    returned: Vec<S>,
    /// The worker ends.
    stopped: bool,
    /// Application threads that live.
    threads: usize,
    /// When the reactor was last put down, and how often so far.
    vacant: (Instant, u64),
}

/// An application thread that lives.
#[derive(Debug)]
pub(crate) struct Member<'a, R, S> {
    lead: &'a Lead<R, S>,
}

impl<R, S> Drop for Member<'_, R, S> {
    fn drop(&mut self) {
        self.lead.seat().threads -= 1;
        self.lead.left.notify_all();
    }
}

/// What the monitor sees.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum View {
    /// Somebody leads.
    Led,
    /// The worker has ended.
    Stopped,
    /// The reactor lies here, put down for the `turn`th time.
    Vacant { since: Instant, turn: u64 },
}

impl<R, S> Lead<R, S> {
    /// An empty place, where the reactor is to be [put](Self::put_back).
    pub(crate) fn new() -> Self {
        let seat = Seat {
            followers: 0,
            reactor: None,
            returned: Vec::new(),
            stopped: false,
            threads: 0,
            vacant: (Instant::now(), 0),
        };
        let returned = AtomicUsize::new(0);
        Self { call: Condvar::new(), returned, seat: Mutex::new(seat), left: Condvar::new() }
    }

    /// An application thread waits here until it is to lead; `None` when the worker ends.
    pub(crate) fn follow(&self) -> Option<Box<R>> {
        let mut seat = self.seat();
        loop {
            if seat.stopped {
                return None;
            }
            if let Some(reactor) = seat.reactor.take() {
                return Some(reactor);
            }
            seat.followers += 1;
            seat = self.call.wait(seat).unwrap_or_else(PoisonError::into_inner);
            seat.followers -= 1;
        }
    }

    /// Lets the reactor go, before a call that may take long. `pass_on`: calls have been slow
    /// lately, so a follower had better lead at once.
    pub(crate) fn let_go(&self, reactor: Box<R>, now: Instant, pass_on: bool) {
        let mut seat = self.seat();
        seat.reactor = Some(reactor);
        seat.vacant = (now, seat.vacant.1 + 1);
        if pass_on && seat.followers > 0 {
            self.call.notify_one();
        }
    }

    /// Leaves what came back for whoever leads, or takes the reactor and `served` again if nobody
    /// does.
    pub(crate) fn come_back(&self, served: S) -> Option<(Box<R>, S)> {
        let mut seat = self.seat();
        if let Some(reactor) = seat.reactor.take() {
            return Some((reactor, served));
        }
        seat.returned.push(served);
        self.returned.store(seat.returned.len(), Ordering::SeqCst);
        None
    }

    /// Whether something came back meanwhile.
    pub(crate) fn has_returned(&self) -> bool {
        self.returned.load(Ordering::SeqCst) > 0
    }

    /// What came back meanwhile; for the leader.
    pub(crate) fn returned(&self) -> Vec<S> {
        if !self.has_returned() {
            return Vec::new();
        }
        let mut seat = self.seat();
        self.returned.store(0, Ordering::SeqCst);
        std::mem::take(&mut seat.returned)
    }
}

/// The monitor's side.
impl<R, S> Lead<R, S> {
    pub(crate) fn view(&self) -> View {
        let seat = self.seat();
        match seat.vacant {
            _ if seat.stopped => View::Stopped,
            _ if seat.reactor.is_none() => View::Led,
            (since, turn) => View::Vacant { since, turn },
        }
    }

    /// Calls a follower to lead; `false` when all application threads are busy.
    pub(crate) fn call_follower(&self) -> bool {
        let seat = self.seat();
        let called = seat.reactor.is_some() && seat.followers > 0;
        if called {
            self.call.notify_one();
        }
        called
    }

    /// Takes a reactor that has lain here since its `turn`th time.
    pub(crate) fn take_vacant(&self, turn: u64) -> Option<Box<R>> {
        let mut seat = self.seat();
        if seat.vacant.1 == turn && !seat.stopped { seat.reactor.take() } else { None }
    }

    /// Puts the reactor back as if it had never been away. An application thread that came back
    /// meanwhile leads.
    pub(crate) fn put_back(&self, reactor: Box<R>) {
        let mut seat = self.seat();
        seat.reactor = Some(reactor);
        if seat.followers > 0 {
            self.call.notify_one();
        }
    }
}

/// Beginning and end.
impl<R, S> Lead<R, S> {
    /// An application thread begins; it ends with the guard.
    pub(crate) fn enter(&self) -> Member<'_, R, S> {
        self.seat().threads += 1;
        Member { lead: self }
    }

    /// The worker ends: nobody leads any more.
    pub(crate) fn stop(&self) {
        self.seat().stopped = true;
        self.call.notify_all();
        self.left.notify_all();
    }

    /// Waits at most this long for the end; `true` when it has come.
    pub(crate) fn wait_for_stop(&self, patience: Duration) -> bool {
        let seat = self.seat();
        let waited = self.left.wait_timeout_while(seat, patience, |seat| !seat.stopped);
        waited.unwrap_or_else(PoisonError::into_inner).0.stopped
    }

    /// Waits at most this long for all application threads to end; `true` when they have.
    pub(crate) fn wait_for_threads(&self, patience: Duration) -> bool {
        let seat = self.seat();
        let waited = self.left.wait_timeout_while(seat, patience, |seat| seat.threads > 0);
        waited.unwrap_or_else(PoisonError::into_inner).0.threads == 0
    }

    fn seat(&self) -> MutexGuard<'_, Seat<R, S>> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reactor that counts who led, and what came back.
    #[derive(Debug, Default)]
    struct Dummy {
        turns: u64,
        welcomed: u64,
    }

    fn lead() -> Lead<Dummy, u64> {
        Lead::new()
    }

    #[test]
    fn whoever_comes_back_first_leads() {
        let lead = lead();
        lead.put_back(Box::default());
        let mut reactor = lead.follow().unwrap();
        assert_eq!(lead.view(), View::Led);
        assert!(lead.come_back(1).is_none() && lead.come_back(2).is_none());
        assert!(lead.has_returned());
        assert_eq!(lead.returned(), [1, 2]);
        assert!(!lead.has_returned() && lead.returned().is_empty());
        reactor.turns = 7;
        lead.let_go(reactor, Instant::now(), false);
        let (reactor, served) = lead.come_back(3).unwrap();
        assert_eq!((reactor.turns, served), (7, 3));
    }

    #[test]
    fn the_monitor_takes_only_what_has_lain_since_it_looked() {
        let lead = lead();
        lead.let_go(Box::default(), Instant::now(), false);
        let View::Vacant { turn, .. } = lead.view() else { panic!() };
        assert!(!lead.call_follower(), "there is none");
        let reactor = lead.follow().unwrap();
        assert!(lead.take_vacant(turn).is_none(), "somebody leads");
        lead.let_go(reactor, Instant::now(), false);
        assert!(lead.take_vacant(turn).is_none(), "it lies there anew");
        let reactor = lead.take_vacant(turn + 1).unwrap();
        // As if it had never been away.
        lead.put_back(reactor);
        assert!(matches!(lead.view(), View::Vacant { turn: again, .. } if again == turn + 1));
    }

    #[test]
    fn a_stop_ends_every_wait() {
        let lead = lead();
        assert!(!lead.wait_for_stop(Duration::ZERO));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let member = lead.enter();
                let lead = &lead;
                scope.spawn(move || {
                    assert!(lead.follow().is_none());
                    drop(member);
                });
            }
            assert!(!lead.wait_for_threads(Duration::ZERO));
            lead.stop();
            assert!(lead.wait_for_threads(Duration::from_secs(30)));
        });
        assert!(lead.wait_for_stop(Duration::ZERO));
        assert_eq!(lead.view(), View::Stopped);
        lead.let_go(Box::default(), Instant::now(), false);
        assert!(lead.take_vacant(1).is_none(), "the monitor is not to begin again");
    }

    /// Threads that lead, call and come back in any order, and a monitor between them: nothing that
    /// comes back is lost, and there is one reactor at any time.
    #[test]
    fn nothing_is_lost_between_many_threads() {
        const THREADS: u64 = 4;
        const CALLS: u64 = 4_000;
        let (lead, calls) = (lead(), AtomicUsize::new(0));
        lead.put_back(Box::default());
        let live = || {
            let mut leads: Option<(Box<Dummy>, u64)> = None;
            loop {
                let mut reactor = match leads.take() {
                    Some((mut reactor, served)) => {
                        reactor.welcomed += served;
                        reactor
                    }
                    None => match lead.follow() {
                        Some(reactor) => reactor,
                        None => return,
                    },
                };
                reactor.welcomed += lead.returned().iter().sum::<u64>();
                if calls.fetch_add(1, Ordering::SeqCst) as u64 >= CALLS {
                    lead.put_back(reactor);
                    lead.stop();
                    return;
                }
                reactor.turns += 1;
                let pass_on = reactor.turns % 3 == 0;
                lead.let_go(reactor, Instant::now(), pass_on);
                std::thread::yield_now();
                leads = lead.come_back(1);
                if leads.is_none() {
                    // A kick, for want of a poller: nobody may sleep while something waits.
                    lead.call_follower();
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(live);
            }
            while let View::Led | View::Vacant { .. } = lead.view() {
                if let View::Vacant { turn, .. } = lead.view() {
                    if let Some(mut reactor) = lead.take_vacant(turn) {
                        reactor.welcomed += lead.returned().iter().sum::<u64>();
                        lead.put_back(reactor);
                    }
                }
                lead.call_follower();
                std::thread::yield_now();
            }
        });
        let rest: u64 = lead.returned().iter().sum();
        let reactor = lead.seat().reactor.take().unwrap();
        assert_eq!((reactor.turns, reactor.welcomed + rest), (CALLS, CALLS));
    }
}
