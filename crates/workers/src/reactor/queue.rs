//! Requests that have waited for an application thread: some are not worth calling it any more.

use std::io;
use std::time::{Duration, Instant};

use rgunicorn_http1::{RequestHead, ResponseHead};

use super::Reactor;
use crate::access::RequestLog;
use crate::client::Client;
use crate::handler::{ConnectionError, Handler, Outcome};
use crate::serve::{Job, serve_one};

impl<L: RequestLog> Reactor<L> {
    /// The job, if somebody still waits for its answer and not for too long.
    pub(super) fn if_wanted(&mut self, job: Job) -> Option<Job> {
        let waited = self.now.saturating_duration_since(job.since);
        if waited >= NOTICEABLE && job.client.socket().is_gone() {
            self.drop_job(job);
            return None;
        }
        match self.context.options.queue_timeout {
            Some(limit) if waited > limit => {
                self.shed(job, limit);
                None
            }
            _ => Some(job),
        }
    }

    /// The monitor's part: nobody waits longer because the application keeps all its threads.
    pub(super) fn shed_load(&mut self) -> io::Result<()> {
        let Some(limit) = self.context.options.queue_timeout else { return Ok(()) };
        self.look_for_newcomers()?;
        for _ in 0..self.requests.len() {
            let Some(job) = self.requests.pop_front() else { break };
            if let Some(job) = self.if_wanted(job) {
                self.requests.push_back(job);
            }
        }
        let now = self.now;
        for _ in 0..self.ready.len() {
            let Some(token) = self.ready.pop_front() else { break };
            let since = self.slots.get(token).and_then(|slot| slot.ready_since);
            if since.is_none_or(|since| now.saturating_duration_since(since) <= limit) {
                self.ready.push_back(token);
            } else if let Some(job) = self.hear(token).and_then(|job| self.if_wanted(job)) {
                self.requests.push_back(job);
            }
        }
        Ok(())
    }

    /// How soon to look for newcomers again, whose time counts from then.
    pub(super) fn door_patience(&self) -> Option<Duration> {
        self.context.options.queue_timeout.filter(|_| self.vacant).map(|limit| limit / 4)
    }

    /// While no application thread accepts, nobody knows how long those at the door have waited.
    /// A sibling with nothing to do takes them anyway.
    fn look_for_newcomers(&mut self) -> io::Result<()> {
        if self.context.has_idle_sibling() {
            return Ok(());
        }
        self.enqueue_incoming(NEWCOMERS)
    }

    /// Whoever gave up does not cost an application call.
    fn drop_job(&mut self, job: Job) {
        let Job { client, request, token, .. } = job;
        log::debug!(
            "Ignored premature client disconnection. {} {}",
            request.method(),
            request.target().escape_ascii()
        );
        self.away -= 1;
        self.close(token, client);
    }

    fn shed(&mut self, job: Job, limit: Duration) {
        self.tell_of_shedding(limit);
        let served = serve_one(&Busy { limit }, &*self.log, job, None);
        self.welcome(served);
    }

    /// One line for many: an overload is no time for a log without bound.
    fn tell_of_shedding(&mut self, limit: Duration) {
        self.shed.1 += 1;
        let (told, count) = self.shed;
        if told.is_none_or(|told| self.now.saturating_duration_since(told) >= BURST) {
            self.shed = (Some(self.now), 0);
            log::warn!(
                "Requests wait longer than {} s for the application and get 503 ({count} since \
                 the last such line)",
                limit.as_secs_f64()
            );
        }
    }
}

/// When the first of a burst of shed requests was told, and how many have followed.
pub(super) type Shed = (Option<Instant>, u64);

/// Answers in the application's place. The connection is not to blame and stays.
struct Busy {
    limit: Duration,
}

impl Handler for Busy {
    fn handle(&self, _: &RequestHead, mut client: Client) -> Result<Outcome, ConnectionError> {
        // RFC 9110 §10.2.3: whole seconds. So long, at least, nobody should come back.
        let retry_after = self.limit.as_millis().div_ceil(1000).max(1).to_string();
        let fields: [(&[u8], &[u8]); 2] =
            [(b"Content-Type", b"text/plain"), (b"Retry-After", retry_after.as_bytes())];
        let mut head = ResponseHead::new(503, &fields);
        head.length = Some(BODY.len() as u64);
        client.send_head(&head)?;
        client.send_data(BODY)?;
        Ok(Outcome::Done(client))
    }
}

const BODY: &[u8] = b"Service Unavailable\n";

/// After such a wait a look at the socket costs little beside what it may save. A client that has
/// closed its side is gone then, as nginx takes it too; one that is served at once may have said
/// all that it has to say.
const NOTICEABLE: Duration = Duration::from_millis(100);

/// The monitor accepts so many connections of each listener at a time.
const NEWCOMERS: usize = 64;

/// Shed requests are told of once in this time.
const BURST: Duration = Duration::from_secs(10);
