//! Connections that are here: from the first byte of a request to the last one of its response.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rgunicorn_arbiter::RetireReason;
use rgunicorn_http1::{Event, ProtocolError, RequestHead, error_response};

use super::{Life, Reactor};
use crate::access::RequestLog;
use crate::client::{Client, Next, Received};
use crate::outbox::{Stalled, Whereabouts};
use crate::poller::{Interest, Token};
use crate::serve::{Job, Served};
use crate::slots::Phase;

impl<L: RequestLog> Reactor<L> {
    /// The next complete request of those who have sent something.
    pub(super) fn next_request(&mut self) -> Option<Job> {
        while let Some(job) = self.requests.pop_front() {
            if let Some(job) = self.if_wanted(job) {
                return Some(job);
            }
        }
        while let Some(token) = self.ready.pop_front() {
            if let Some(job) = self.hear(token).and_then(|job| self.if_wanted(job)) {
                return Some(job);
            }
        }
        None
    }

    /// Looks after a connection that has something to read, or room for more.
    pub(super) fn hear(&mut self, token: Token) -> Option<Job> {
        let since = self.slots.get(token).and_then(|slot| slot.ready_since.take());
        let job = self.go_on(token)?;
        Some(Job { since: since.unwrap_or(job.since), ..job })
    }

    fn go_on(&mut self, token: Token) -> Option<Job> {
        let (client, phase) = self.slots.take(token)?;
        match phase {
            // The next request has come with the one before.
            Phase::Idle if client.has_buffered_input() => return self.advance(token, client),
            Phase::Body | Phase::Head | Phase::Idle => return self.read(token, client),
            Phase::Lingering => self.linger_on(token, client),
            Phase::Writing => self.write(token, client),
        }
        None
    }

    fn read(&mut self, token: Token, mut client: Client) -> Option<Job> {
        match client.receive(&mut self.buffer) {
            Ok(Received::NoRoom(error)) => {
                let status = no_room(&error);
                self.answer_and_close(token, client, &error_response(status, ""));
            }
            Ok(Received::Nothing) => self.need_data(token, client),
            Ok(Received::Something) => return self.advance(token, client),
            Err(error) => self.lost(token, client, &error),
        }
        None
    }

    /// Goes through what has arrived, up to the end of one request.
    fn advance(&mut self, token: Token, mut client: Client) -> Option<Job> {
        loop {
            let step = match client.next_event() {
                Ok(Event::Request(head)) => self.begin(&mut client, head),
                Ok(Event::Data(data)) => self.gather(&mut client, data),
                Ok(Event::EndOfMessage(_)) => return self.complete(token, client),
                event => {
                    match event {
                        Err(error) => self.refuse(token, client, &error),
                        Ok(Event::Closed | Event::Paused) => self.close(token, client),
                        Ok(_) => self.need_data(token, client),
                    }
                    return None;
                }
            };
            if let Err(status) = step {
                self.answer_and_close(token, client, &error_response(status, ""));
                return None;
            }
            if !client.is_body_here() {
                return self.complete(token, client);
            }
        }
    }

    /// A head is here. An announced body that is too large is refused before it is sent
    /// (RFC 9110 §15.5.14).
    fn begin(&self, client: &mut Client, head: RequestHead) -> Result<(), u16> {
        let length = head.body().length().unwrap_or(0);
        if self.context.options.exceeded_body_limit(length).is_some() {
            return Err(413);
        }
        client.keep_head(head).map_err(|error| no_room(&error))
    }

    fn gather(&self, client: &mut Client, data: Bytes) -> Result<(), u16> {
        match client.push_body(data) {
            Ok(length) if self.context.options.exceeded_body_limit(length).is_some() => Err(413),
            Ok(_) => Ok(()),
            Err(error) => Err(no_room(&error)),
        }
    }

    fn need_data(&mut self, token: Token, mut client: Client) {
        let (phase, patience) = if client.awaits_body() {
            if let Err(error) = client.send_continue() {
                return self.lost(token, client, &error);
            }
            (Phase::Body, self.context.options.body_timeout)
        } else if client.is_idle() {
            (Phase::Idle, self.idle_patience())
        } else {
            (Phase::Head, self.context.options.header_timeout)
        };
        // The time for a head counts from its first byte, not from its last one; that for a
        // request from the last one, and not from a look that found nothing.
        let goes_on = phase != Phase::Body && self.slots.waits_in(token, phase);
        self.park(token, client, phase, Interest::Read, (!goes_on).then_some(patience));
    }

    pub(super) fn idle_patience(&self) -> Duration {
        let patience =
            self.context.options.keepalive.unwrap_or(self.context.options.header_timeout);
        match self.life {
            Life::Draining | Life::Stopped => patience.min(DRAIN),
            Life::Running => patience,
        }
    }

    /// A request is complete, or the application is to wait for its body: the application's turn.
    fn complete(&mut self, token: Token, mut client: Client) -> Option<Job> {
        let Some(request) = client.take_head() else {
            self.close(token, client);
            return None;
        };
        if let Err(error) = client.complete_body() {
            log::error!("cannot read a request's body back: {error}");
            self.answer_and_close(token, client, &error_response(500, ""));
            return None;
        }
        if self.context.options.keepalive.is_none() || self.context.is_closing() {
            client.close_after_response();
        }
        client.swap_buffer(&mut self.spare);
        client.set_defers(!self.ready.is_empty() || client.has_buffered_input());
        if let Some(slot) = self.slots.get(token) {
            slot.deadline.clear();
        }
        self.away += 1;
        Some(Job { client, request, since: self.now, token })
    }

    /// Takes a connection back from the application.
    pub(crate) fn welcome(&mut self, served: Served) {
        let Served { client, finished, last, token, .. } = served;
        self.away -= 1;
        self.now = self.now.max(finished);
        self.count();
        match client {
            Some((mut client, next)) => {
                client.swap_buffer(&mut self.spare);
                self.settle(token, client, next);
            }
            None => self.release(token),
        }
        if last {
            self.stop();
        }
    }

    /// Counts a request, and asks for a successor if it was one too many. This worker serves on
    /// until the successor is ready.
    fn count(&mut self) {
        self.handled += 1;
        self.context.board.set_requests(self.handled);
        if self.context.options.max_requests == Some(self.handled) {
            if let Err(error) = self.process.ask_to_retire(RetireReason::MaxRequests) {
                log::debug!("cannot ask for a successor: {error}");
            }
        }
    }

    fn settle(&mut self, token: Token, mut client: Client, next: Next) {
        match next {
            Next::Close => self.close(token, client),
            Next::Flush => {
                let patience = Some(self.context.options.write_timeout);
                self.park(token, client, Phase::Writing, Interest::Write, patience);
            }
            Next::Linger => self.linger(token, client),
            Next::Reuse => {
                if client.start_next_cycle().is_err() {
                    self.close(token, client);
                } else if client.has_buffered_input() {
                    self.slots.put(token, client, Phase::Idle);
                    self.enqueue_pipelined(token);
                } else {
                    let patience = Some(self.idle_patience());
                    self.park(token, client, Phase::Idle, Interest::Read, patience);
                }
            }
        }
    }

    /// The next request of the same connection is here. Several are served in a row, so that their
    /// responses leave together, but not more than others can wait for.
    fn enqueue_pipelined(&mut self, token: Token) {
        if let Some(slot) = self.slots.get(token) {
            slot.ready_since = Some(self.now);
        }
        let row = if self.row.0 == token { self.row.1 + 1 } else { 1 };
        if row < ROW_LIMIT {
            self.row = (token, row);
            self.ready.push_front(token);
        } else {
            self.row = (token, 0);
            self.ready.push_back(token);
        }
    }

    fn write(&mut self, token: Token, mut client: Client) {
        match client.flush() {
            Ok(()) if client.has_output() => self.settle(token, client, Next::Flush),
            Ok(()) => {
                let next = client.after_flush();
                self.settle(token, client, next);
            }
            Err(error) => self.lost(token, client, &error),
        }
    }

    /// Sends the responses of this wake-up, and goes on with what the sockets did not take.
    pub(crate) fn flush_outbox(&mut self) {
        let slots = &mut self.slots;
        let stalled = self.context.outbox.flush_all(|token| match slots.get(token) {
            Some(slot) if slot.is_here() => Whereabouts::Here,
            Some(_) => Whereabouts::Away,
            None => Whereabouts::Gone,
        });
        for Stalled { rest, token } in stalled {
            let Some((mut client, _)) = self.slots.take(token) else { continue };
            match rest {
                Ok(rest) => {
                    client.put_back(&rest);
                    self.settle(token, client, Next::Flush);
                }
                Err(error) => self.lost(token, client, &error),
            }
        }
    }

    fn refuse(&mut self, token: Token, client: Client, error: &ProtocolError) {
        if let ProtocolError::UnexpectedEof = error {
            log::debug!("Ignored premature client disconnection. {error}");
            return self.close(token, client);
        }
        client.tell_of_invalid_request(error);
        self.answer_and_close(token, client, &error.response());
    }

    fn answer_and_close(&mut self, token: Token, mut client: Client, response: &[u8]) {
        client.refuse(response);
        self.write(token, client);
    }

    /// Closes our side first and reads on for a while: unread bytes would turn close(2) into a
    /// reset, which destroys the response on its way (RFC 9112 §9.6).
    fn linger(&mut self, token: Token, mut client: Client) {
        match client.shutdown_write() {
            Ok(()) => self.park(token, client, Phase::Lingering, Interest::Read, Some(LINGER)),
            Err(error) => self.lost(token, client, &error),
        }
    }

    fn linger_on(&mut self, token: Token, mut client: Client) {
        match client.discard(&mut self.buffer) {
            Ok(0) => self.close(token, client),
            Ok(_) => self.slots.put(token, client, Phase::Lingering),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.slots.put(token, client, Phase::Lingering);
            }
            Err(error) => self.lost(token, client, &error),
        }
    }

    fn lost(&mut self, token: Token, client: Client, error: &io::Error) {
        log::debug!("connection lost: {error}");
        self.close(token, client);
    }

    pub(super) fn close(&mut self, token: Token, client: Client) {
        drop(client);
        self.release(token);
    }

    /// Gives the place of a connection that is gone to the next one, and accepts again if there
    /// was none left.
    pub(super) fn release(&mut self, token: Token) {
        self.slots.release(token);
        let may_listen = self.life == Life::Running && !self.vacant;
        if may_listen && !self.listening && self.resume.is_none() {
            self.resume = Some(self.now);
        }
    }

    /// Leaves a connection to the poller and to its deadline.
    fn park(
        &mut self,
        token: Token,
        client: Client,
        phase: Phase,
        interest: Interest,
        patience: Option<Duration>,
    ) {
        if let Err(error) = client.socket().wait_for(interest) {
            return self.lost(token, client, &error);
        }
        self.slots.put(token, client, phase);
        if let Some(patience) = patience {
            self.set_deadline(token, patience);
        }
    }

    pub(super) fn set_deadline(&mut self, token: Token, patience: Duration) {
        if let Some(slot) = self.slots.get(token) {
            self.timers.set(&mut slot.deadline, token, self.now + patience);
        }
    }

    /// Ends the patience with connections whose time was over at `polled`, when nothing of theirs
    /// had arrived.
    pub(super) fn expire(&mut self, polled: Instant) {
        while let Some(token) = self.timers.pop(polled) {
            let Some(slot) = self.slots.get(token) else { continue };
            if slot.ready_since.is_some() {
                // It has done its part: it waits for us.
                slot.deadline.postpone();
                self.timers.set(&mut slot.deadline, token, polled + OUR_TURN);
                continue;
            }
            if !self.timers.is_over(&mut slot.deadline, token, polled) {
                continue;
            }
            let Some((client, phase)) = self.slots.take(token) else { continue };
            match phase {
                Phase::Body | Phase::Head => {
                    self.answer_and_close(token, client, &error_response(408, ""));
                }
                Phase::Idle | Phase::Lingering | Phase::Writing => self.close(token, client),
            }
        }
    }
}

/// The status for a body that cannot be kept, after a line for the operator.
fn no_room(error: &io::Error) -> u16 {
    log::error!("cannot keep a request's body in a temporary file: {error}");
    500
}

/// How long a client may take to read the last response before its connection is dropped.
const LINGER: Duration = Duration::from_secs(2);

/// Requests of one connection that are served in a row.
const ROW_LIMIT: u32 = 16;

/// When to look again at a deadline that does not count now.
const OUR_TURN: Duration = Duration::from_secs(1);

/// In a worker that stops, an idle connection has so long to bring a last request.
const DRAIN: Duration = Duration::from_secs(2);
