//! Connections that go to a sibling, and those that come from one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rgunicorn_arbiter::Moment;

use super::{Life, Reactor};
use crate::access::RequestLog;
use crate::client::Client;
use crate::handoff::{self, Departure, Passenger, Patience};
use crate::poller::{Interest, Token};
use crate::serve::Job;
use crate::slots::Phase;
use crate::stream::Stream;

/// How soon to try again when the mailbox is full.
pub(super) const RETRY: Duration = Duration::from_millis(2);

impl<L: RequestLog> Reactor<L> {
    /// Gives every connection away that can go. `false`: the mailbox is full, try again.
    pub(super) fn hand_over_all(&mut self) -> bool {
        self.flush_outbox();
        self.unread_all();
        let all = [Phase::Idle, Phase::Head, Phase::Body].map(|phase| self.slots.in_phase(phase));
        all.into_iter().flatten().all(|token| self.hand_over(token) != Departure::Full)
    }

    /// The same, and again soon if the mailbox is full.
    pub(super) fn hand_over_all_or_retry(&mut self) {
        let is_full = !self.hand_over_all();
        self.context.set_mailbox_full(is_full);
        if is_full {
            self.resume = Some(self.now + RETRY);
        }
    }

    /// Leaves a connection to whichever sibling looks first, unless it is in the midst of
    /// something.
    pub(super) fn hand_over(&mut self, token: Token) -> Departure {
        let Some(mailbox) = &self.context.mailbox else { return Departure::TooLong };
        let Some(slot) = self.slots.get(token) else { return Departure::TooLong };
        let (is_ready, left) = (slot.ready_since.is_some(), slot.deadline.remaining(self.now));
        let Some((mut client, phase)) = self.slots.take(token) else { return Departure::TooLong };
        let patience = self.patience_of(phase, left);
        let Some(passenger) = client.passenger(patience, is_ready) else {
            self.slots.put(token, client, phase);
            return Departure::TooLong;
        };
        let departure = handoff::send(mailbox, client.socket().stream(), &passenger)
            .unwrap_or_else(|error| {
                log::error!("cannot hand a connection over: {error}");
                Departure::TooLong
            });
        if departure == Departure::Sent {
            // Before it is closed: a sibling holds a copy, which would go on firing here.
            client.socket().silence();
            drop(client);
            self.release(token);
        } else if client.has_buffered_input() && phase == Phase::Body {
            // Its head lies before the reactor again.
            self.slots.put(token, client, Phase::Idle);
            self.enqueue(token);
        } else {
            self.slots.put(token, client, phase);
        }
        departure
    }

    /// What remains of it, by a clock that the sibling has too.
    fn patience_of(&self, phase: Phase, left: Option<Duration>) -> Patience {
        let now = Moment::now();
        let options = &self.context.options;
        if phase == Phase::Head {
            return Patience::Head { deadline: now + left.unwrap_or(options.header_timeout) };
        }
        // A connection that nobody has listened to yet has not waited.
        let whole = options.keepalive.unwrap_or(options.header_timeout);
        let waited = left.map_or(Duration::ZERO, |left| whole.saturating_sub(left));
        let waited = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        Patience::Idle { since: Moment::from_millis(now.as_millis().saturating_sub(waited)) }
    }

    /// Takes complete requests back from the queue, as far as they can be read once more elsewhere.
    fn unread_all(&mut self) {
        for _ in 0..self.requests.len() {
            let Some(job) = self.requests.pop_front() else { break };
            self.unread(job);
        }
    }

    fn unread(&mut self, mut job: Job) {
        if job.client.unread(&job.request) {
            self.enqueue_unread(job);
        } else {
            self.requests.push_back(job);
        }
    }

    /// Puts a connection whose request was unread where those are that have something to read.
    pub(super) fn enqueue_unread(&mut self, job: Job) {
        self.away -= 1;
        self.slots.put(job.token, job.client, Phase::Idle);
        self.enqueue(job.token);
    }

    /// Passes on what waits here while a sibling has nothing to do.
    pub(super) fn relieve(&mut self) {
        if !self.context.has_idle_sibling() {
            return;
        }
        self.unread_all();
        for _ in 0..self.ready.len() {
            let Some(token) = self.ready.pop_front() else { return };
            self.hand_over_ready(token);
        }
    }

    /// Leaves one of several connections that are ready to a sibling that has had nothing to do for
    /// a while: the kernel wakes the same worker first each time, and it would keep them all.
    pub(super) fn spread(&mut self) {
        if self.ready.len() < 2 || !self.context.take_spread() || !self.context.has_idle_sibling() {
            return;
        }
        if let Some(token) = self.ready.pop_back() {
            self.hand_over_ready(token);
        }
    }

    /// Leaves a connection out of the queue to a sibling; one that has to stay goes to its end.
    fn hand_over_ready(&mut self, token: Token) {
        if self.hand_over(token) != Departure::Sent && self.is_waiting(token) {
            self.ready.push_back(token);
        }
    }

    /// Takes what waits for a wake-up that this worker may have swallowed, to pass it on: the
    /// kernel wakes one of those who wait, and tells the others nothing until something new comes.
    pub(super) fn pass_on_wakeups(&mut self) -> io::Result<()> {
        if !self.context.has_receivers() {
            return Ok(());
        }
        self.enqueue_incoming(PASSED_ON)?;
        self.enqueue_mail()
    }

    /// Takes a connection that a sibling left, which is then to be heard.
    pub(super) fn collect(&mut self) -> io::Result<Option<Token>> {
        let Some(mailbox) = &self.context.mailbox else { return Ok(None) };
        let Some((stream, passenger)) = handoff::receive(mailbox)? else { return Ok(None) };
        Ok(Some(self.board_passenger(stream, passenger)))
    }

    /// A connection from a sibling that has bytes to read is heard at once; others wait in the
    /// poller.
    pub(super) fn welcome_mail(&mut self) -> io::Result<Option<Job>> {
        let Some(token) = self.collect()? else { return Ok(None) };
        Ok(self.hear(token))
    }

    /// The same, behind all who are here already.
    pub(super) fn enqueue_mail(&mut self) -> io::Result<()> {
        if let Some(token) = self.collect()? {
            self.enqueue(token);
        }
        Ok(())
    }

    fn board_passenger(&mut self, stream: Stream, passenger: Passenger) -> Token {
        let (token, socket) = self.reserve(stream);
        let patience = passenger.patience;
        let local = self.context.local_of(&passenger.local);
        let client = Client::arrived(socket, passenger, local, token, Arc::clone(&self.context));
        let phase = match patience {
            Patience::Head { .. } => Phase::Head,
            Patience::Idle { .. } => Phase::Idle,
        };
        self.slots.put(token, client, phase);
        // Whoever has waited elsewhere goes on waiting here.
        let left = match patience {
            Patience::Head { deadline } => deadline.saturating_since(Moment::now()),
            Patience::Idle { since } => {
                self.idle_patience().saturating_sub(Moment::now().saturating_since(since))
            }
        };
        self.set_deadline(token, left);
        token
    }

    /// In a worker that stops: all who can go do so while somebody receives them. When nobody does,
    /// because all stop, what lies in the mailbox is served here.
    pub(super) fn hand_over_in_drain(&mut self) -> io::Result<()> {
        if self.life != Life::Draining || self.context.mailbox.is_none() {
            return Ok(());
        }
        let has_receivers = self.context.has_receivers();
        if has_receivers || (self.context.has_heirs() && self.has_waited_for_receivers()) {
            self.hand_over_all_or_retry();
        }
        // They may have been told to stop meanwhile.
        if self.context.has_receivers() || self.context.has_heirs() {
            return Ok(());
        }
        while let Some(token) = self.collect()? {
            if let Some(job) = self.hear(token) {
                self.requests.push_back(job);
            }
        }
        Ok(())
    }

    /// Whoever is told to stop with all others, by a signal to each of them, may learn it before the
    /// arbiter does; then nobody will come.
    fn has_waited_for_receivers(&mut self) -> bool {
        let Some(at) = self.drained_since.map(|since| since + HEIRS) else { return false };
        let has_waited = at <= self.now;
        if !has_waited && self.resume.is_none_or(|resume| resume > at) {
            self.resume = Some(at);
        }
        has_waited
    }

    pub(super) fn watch_mailbox(&self) -> io::Result<()> {
        match &self.context.mailbox {
            Some(mailbox) => self.context.poller.add(mailbox, super::MAIL, Interest::ReadExclusive),
            None => Ok(()),
        }
    }

    pub(super) fn ignore_mailbox(&self) -> io::Result<()> {
        let mailbox = self.context.mailbox.as_ref();
        mailbox.map_or(Ok(()), |mailbox| self.context.poller.delete(mailbox))
    }

    fn is_waiting(&mut self, token: Token) -> bool {
        self.slots.get(token).is_some_and(|slot| slot.is_here() && slot.ready_since.is_some())
    }
}

/// For so long a worker that stops keeps what a successor is to have, before it leaves it.
const HEIRS: Duration = Duration::from_millis(100);

/// Connections that the monitor takes from a listener's queue to pass them on.
const PASSED_ON: usize = 4;
