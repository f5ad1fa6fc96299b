//! What goes on while the application keeps all its threads: the monitor's part.

use std::io;
use std::time::Duration;

use super::Reactor;
use crate::access::RequestLog;
use crate::poller::Token;
use crate::scoreboard::State;
use crate::slots::Phase;

impl<L: RequestLog> Reactor<L> {
    /// Does what needs no application thread: reads on, flushes, times out, obeys, and gives to
    /// siblings what they can serve. Never calls the application, and never sleeps. What is ready
    /// for the application is left unread where that is possible.
    pub(crate) fn tend(&mut self) -> io::Result<()> {
        if !self.vacant {
            self.vacant = true;
            self.set_state(State::Stuck);
            // Whoever waits for a connection and cannot serve it swallows a sibling's wake-up.
            self.unlisten()?;
            self.pass_on_wakeups()?;
        }
        // An application thread will listen; a time that is over would keep the monitor awake.
        self.resume = None;
        self.flush_outbox();
        self.poll(Some(Duration::ZERO))?;
        self.end_overdue();
        self.hear_unfinished();
        self.relieve();
        self.recall();
        self.shed_load()?;
        self.hand_over_in_drain()?;
        self.save_what_can_be_saved();
        if let Some(polled) = self.polled.take() {
            self.expire(polled);
        }
        Ok(())
    }

    /// Whether somebody waits for an application thread.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty() || !self.requests.is_empty()
    }

    /// Whether somebody else's heartbeat may fail while this one leads.
    pub(super) fn is_overheard(&self) -> bool {
        self.vacant || self.context.beat.is_none()
    }

    /// When the arbiter is about to end this process for its silence, siblings get its connections:
    /// only what the application has begun is lost.
    pub(super) fn save_what_can_be_saved(&mut self) {
        if self.context.silence.is_fatal() {
            self.recall_all();
            self.hand_over_all_or_retry();
        }
    }

    /// An application thread leads again.
    pub(super) fn end_vacancy(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.vacant) {
            self.context.set_asleep(false);
            self.set_state(State::Busy);
            self.listen()?;
        }
        Ok(())
    }

    /// Goes on with those in the queue who are in the midst of something. A new request stays in
    /// the kernel: whoever takes it over there needs nothing from us.
    fn hear_unfinished(&mut self) {
        for _ in 0..self.ready.len() {
            let Some(token) = self.ready.pop_front() else { break };
            if self.is_new_request(token) {
                self.ready.push_back(token);
            } else if let Some(job) = self.hear(token) {
                self.requests.push_back(job);
            }
        }
    }

    fn is_new_request(&mut self, token: Token) -> bool {
        self.slots.get(token).is_some_and(|slot| slot.is_here() && slot.phase == Phase::Idle)
    }
}
