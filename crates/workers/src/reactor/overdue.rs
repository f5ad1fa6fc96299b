//! Requests that take longer than they may.

use std::sync::Arc;
use std::time::Instant;

use rgunicorn_arbiter::RetireReason;

use super::Reactor;
use crate::access::RequestLog;
use crate::inflight::{Due, Expiry, Overdue};
use crate::server::spawn_quietly;

impl<L: RequestLog> Reactor<L> {
    /// Looks for requests whose time is up, when one may be: most of the time this is a comparison.
    pub(super) fn end_overdue(&mut self) {
        let Some(in_flight) = &self.context.in_flight else { return };
        if self.away == 0 || self.look_at > self.now {
            return;
        }
        let (due, next) = in_flight.due(self.now);
        self.look_at = next;
        for overdue in due {
            match overdue.what {
                Due::Deadline => self.expire_request(overdue),
                Due::Grace => self.give_up(&overdue),
            }
        }
    }

    /// The client is answered here and now. All that may wait, for a log or for an interpreter, is
    /// left to a thread of its own: at most one for each application thread, as that has no other
    /// request before it comes back.
    fn expire_request(&self, overdue: Overdue) {
        let Some(expiry) = overdue.flight.expire(&self.context.outbox) else { return };
        let (log, context, now) = (Arc::clone(&self.log), Arc::clone(&self.context), self.now);
        let spawned = spawn_quietly("request timeout", move || {
            let Overdue { flight, interrupter, .. } = overdue;
            let running = flight.running(now);
            let limit = context.in_flight.as_ref().map_or(0.0, |it| it.limit().as_secs_f64());
            let client = match expiry {
                Expiry::Answered => "the client got 504",
                Expiry::Cut => "its response was cut off",
            };
            if expiry == Expiry::Answered {
                log.request_done(&flight.record(running.age));
            }
            // Before the interruption, which changes it.
            let stack = context.reporter.stack_of(running.thread);
            let stack = stack.filter(|_| !flight.call.has_returned());
            let stack = stack.map_or(String::new(), |stack| format!("\n{stack}"));
            log::error!("REQUEST TIMEOUT: {running}, limit {limit} s; {client}{stack}");
            if let Some(interrupter) = interrupter {
                interrupter.interrupt(&flight.call);
            }
        });
        if let Err(error) = spawned {
            log::error!("a request has timed out, and its thread cannot be interrupted: {error}");
        }
    }

    /// A thread does not come back. Others serve what else there is until a successor is ready.
    fn give_up(&mut self, overdue: &Overdue) {
        let running = overdue.flight.running(self.now);
        log::error!("A thread does not come back after its request timeout: {running}");
        if let Err(error) = self.process.ask_to_retire(RetireReason::RequestTimeout) {
            log::debug!("cannot ask for a successor: {error}");
        }
    }

    /// When the next request may be overdue.
    pub(super) fn next_look(&self) -> Option<Instant> {
        (self.away > 0 && self.context.in_flight.is_some()).then_some(self.look_at)
    }

    /// Connections that are not worth waiting for: their threads are given up.
    pub(super) fn given_up(&self) -> usize {
        self.context.in_flight.as_ref().map_or(0, crate::inflight::InFlight::lost)
    }
}
