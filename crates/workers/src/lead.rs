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
