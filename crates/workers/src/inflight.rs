//! What others see of the requests that the application has, if they have a deadline.
//!
//! A handler owns its connection. At the deadline somebody else has to answer the client, while the
//! handler may be about to do so: one atomic [`Phase`] decides whose turn it is, and the loser does
//! nothing.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rgunicorn_http1::{RequestHead, error_response};

use crate::access::Record;
use crate::call::{Call, Interrupter};
use crate::outbox::Outbox;
use crate::poller::Token;
use crate::scoreboard::RunningRequest;
use crate::socket::Socket;

/// The running requests of a worker, one place for each application thread.
pub(crate) struct InFlight {
    /// Requests whose threads are given up: they have not come back long after their deadline.
    lost: AtomicUsize,
    limit: Duration,
    seats: Box<[Seat]>,
}

/// The place of an application thread.
#[derive(Default)]
pub(crate) struct Seat {
    flight: Mutex<Option<Arc<Flight>>>,
    /// Set once, when the thread begins.
    interrupter: OnceLock<Arc<dyn Interrupter>>,
}

/// A running request.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) call: Call,
    /// Its thread is given up.
    lost: AtomicBool,
    peer: Option<SocketAddr>,
    phase: AtomicU8,
    request: RequestHead,
    socket: Arc<Socket>,
    /// When the handler was called, by both clocks.
    started: (SystemTime, Instant),
    thread: usize,
    token: Token,
}

/// Who may answer the client. `Running` becomes `HeadSent` and that `Done`; either of the first two
/// may become `Expired`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
enum Phase {
    /// The handler, and nothing has been sent.
    Running,
    /// The handler, and it has begun.
    HeadSent,
    /// The reactor: the handler has returned.
    Done,
    /// Nobody: time is up.
    Expired,
}

/// What became of a request at its deadline.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expiry {
    /// No head was out: the client has got a 504.
    Answered,
    /// The response had begun: the client sees that it is not whole.
    Cut,
}

/// Something that is to be done about a request.
pub(crate) struct Overdue {
    pub(crate) flight: Arc<Flight>,
    pub(crate) interrupter: Option<Arc<dyn Interrupter>>,
    pub(crate) what: Due,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Due {
    /// The deadline has passed.
    Deadline,
    /// The deadline has passed long ago, and the thread has not come back.
    Grace,
}

impl InFlight {
    pub(crate) fn new(limit: Duration, threads: usize) -> Self {
        let seats = (0..threads).map(|_| Seat::default()).collect();
        Self { lost: AtomicUsize::new(0), limit, seats }
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// How long after its deadline a thread may still come back: as long again, and five seconds at
    /// least, in which `finally` and `with` clean up and a wait in C ends.
    fn grace(&self) -> Duration {
        self.limit.max(LEAST_GRACE)
    }

    /// Threads that are given up.
    pub(crate) fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }

    pub(crate) fn seat(&self, thread: usize) -> Option<&Seat> {
        self.seats.get(thread)
    }

    /// What is due, and when to look again.
    pub(crate) fn due(&self, now: Instant) -> (Vec<Overdue>, Instant) {
        let mut due = Vec::new();
        // Whatever begins after this look is due later.
        let mut next = now + self.limit;
        for seat in &self.seats {
            let flight = seat.flight();
            let Some(flight) = flight.as_ref().filter(|flight| !flight.is_lost()) else { continue };
            let deadline = flight.started.1 + self.limit;
            let (at, what) = match flight.phase() {
                Phase::Running | Phase::HeadSent => (deadline, Due::Deadline),
                Phase::Expired => (deadline + self.grace(), Due::Grace),
                Phase::Done => continue,
            };
            if at > now {
                next = next.min(at);
                continue;
            }
            if what == Due::Grace {
                flight.lost.store(true, Ordering::Relaxed);
                self.lost.fetch_add(1, Ordering::Relaxed);
            } else {
                next = next.min(now.max(deadline + self.grace()));
            }
            let (flight, interrupter) = (Arc::clone(flight), seat.interrupter.get().cloned());
            due.push(Overdue { flight, interrupter, what });
        }
        (due, next)
    }

    /// The request of this thread is over.
    pub(crate) fn leave(&self, thread: usize) {
        let left = self.seat(thread).and_then(|seat| seat.flight().take());
        if left.is_some_and(|flight| flight.is_lost()) {
            self.lost.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Seat {
    /// The thread of this place begins.
    pub(crate) fn occupy(&self, interrupter: Option<Box<dyn Interrupter>>) {
        if let Some(interrupter) = interrupter {
            self.interrupter.get_or_init(|| interrupter.into());
        }
    }

    /// A request begins.
    pub(crate) fn enter(&self, flight: &Arc<Flight>) {
        *self.flight() = Some(Arc::clone(flight));
    }

    /// The call has returned: what was to end it is withdrawn.
    pub(crate) fn returned(&self, flight: &Flight) {
        if flight.call.returned() {
            if let Some(interrupter) = self.interrupter.get() {
                interrupter.withdraw();
            }
        }
    }

    fn flight(&self) -> MutexGuard<'_, Option<Arc<Flight>>> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    pub(crate) fn new(
        thread: usize,
        request: RequestHead,
        peer: Option<SocketAddr>,
        (socket, token): (Arc<Socket>, Token),
        started: (SystemTime, Instant),
    ) -> Self {
        Self {
            call: Call::default(),
            lost: AtomicBool::new(false),
            peer,
            phase: AtomicU8::new(Phase::Running as u8),
            request,
            socket,
            started,
            thread,
            token,
        }
    }

    /// The handler begins its response. `false`: too late.
    pub(crate) fn begin_response(&self) -> bool {
        self.go_on(Phase::Running, Phase::HeadSent) || !self.is_expired()
    }

    /// The handler has returned. `false`: too late.
    pub(crate) fn land(&self) -> bool {
        self.go_on(Phase::HeadSent, Phase::Done) || self.go_on(Phase::Running, Phase::Done)
    }

    pub(crate) fn is_expired(&self) -> bool {
        self.phase() == Phase::Expired
    }

    /// Answers in place of the handler, and closes our side of the connection. `None`: it has
    /// returned. Whatever the handler sends from now on fails.
    pub(crate) fn expire(&self, outbox: &Outbox) -> Option<Expiry> {
        let expiry = if self.go_on(Phase::Running, Phase::Expired) {
            self.answer(outbox);
            Expiry::Answered
        } else if self.go_on(Phase::HeadSent, Phase::Expired) {
            Expiry::Cut
        } else {
            return None;
        };
        if let Err(error) = self.socket.stream().shutdown_write() {
            log::debug!("connection lost while answering: {error}");
        }
        Some(expiry)
    }

    /// A few bytes to a socket that has taken all responses before: it takes them at once, or the
    /// client does not read, and sees the end of the connection only.
    fn answer(&self, outbox: &Outbox) {
        let sent = match outbox.flush_before(self.token) {
            Ok(None) => self.socket.stream().write(&error_response(504, "")).map(drop),
            Ok(Some(_)) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            log::debug!("connection lost while answering: {error}");
        }
    }

    /// What the log says of a request that was answered here.
    pub(crate) fn record(&self, duration: Duration) -> Record<'_> {
        Record {
            peer: self.peer,
            status: 504,
            started: self.started.0,
            duration,
            ..Record::new(&self.request)
        }
    }

    /// How it is told to an operator.
    pub(crate) fn running(&self, now: Instant) -> RunningRequest {
        let mut line = [self.request.method().as_bytes(), b" ", self.request.target()].concat();
        let is_cut = line.len() > LINE_LIMIT;
        line.truncate(LINE_LIMIT);
        let age = now.saturating_duration_since(self.started.1);
        RunningRequest { age, is_cut, line, peer: self.peer, thread: self.thread }
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    fn phase(&self) -> Phase {
        let phase = self.phase.load(Ordering::SeqCst);
        let phases = [Phase::Running, Phase::HeadSent, Phase::Done];
        phases.into_iter().find(|other| *other as u8 == phase).unwrap_or(Phase::Expired)
    }

    fn go_on(&self, from: Phase, to: Phase) -> bool {
        let phase = &self.phase;
        let (from, to) = (from as u8, to as u8);
        phase.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

/// A request on its application thread: shared only if others have to see it.
pub(crate) enum Held {
    Own(RequestHead),
    Shared(Arc<Flight>),
}

impl Deref for Held {
    type Target = RequestHead;

    fn deref(&self) -> &RequestHead {
        match self {
            Self::Own(request) => request,
            Self::Shared(flight) => &flight.request,
        }
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight").field("limit", &self.limit).finish_non_exhaustive()
    }
}

const LEAST_GRACE: Duration = Duration::from_secs(5);

/// Bytes of method and target that a line of the error log shows.
const LINE_LIMIT: usize = 1024;

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use rgunicorn_http1::{Config, Connection, Event, Peer};

    use super::*;
    use crate::poller::Poller;
    use crate::stream::Stream;

    const LIMIT: Duration = Duration::from_secs(2);

    fn request() -> RequestHead {
        let mut http = Connection::new(Arc::new(Config::default()), Peer::Local);
        http.receive_data(b"GET /a?b HTTP/1.1\r\nHost: test\r\n\r\n");
        match http.next_event() {
            Ok(Event::Request(request)) => request,
            event => unreachable!("{event:?}"),
        }
    }

    fn flight(begun: Instant) -> (Arc<Flight>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let poller = Arc::new(Poller::new().unwrap());
        let socket = Arc::new(Socket::new(Stream::Unix(ours), Token(0), poller));
        let started = (SystemTime::now(), begun);
        let flight = Flight::new(0, request(), None, (socket, Token(0)), started);
        (Arc::new(flight), theirs)
    }

    #[test]
    fn one_of_two_answers() {
        for (begins, lands, expiry, status) in [
            (false, false, Some(Expiry::Answered), "HTTP/1.1 504 "),
            (true, false, Some(Expiry::Cut), ""),
            (true, true, None, ""),
            (false, true, None, ""),
        ] {
            let (flight, mut client) = flight(Instant::now());
            assert!(!begins || flight.begin_response());
            assert!(!lands || flight.land());
            assert_eq!(flight.expire(&Outbox::default()), expiry);
            assert_eq!(flight.expire(&Outbox::default()), None);
            assert_eq!((flight.is_expired(), flight.land()), (expiry.is_some(), false));
            drop(flight);
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with(status) && answer.is_empty() == status.is_empty());
        }
    }

    #[test]
    fn what_is_due_when() {
        let (begun, board) = (Instant::now(), InFlight::new(LIMIT, 2));
        let look = |seconds| {
            let now = begun + Duration::from_secs(seconds);
            let (due, next) = board.due(now);
            let due = due.iter().map(|due| due.what).collect::<Vec<_>>();
            (due, (next - begun).as_secs())
        };
        assert_eq!(look(0), (vec![], 2));
        let (flight, _client) = flight(begun);
        board.seat(1).unwrap().enter(&flight);
        assert_eq!(look(1), (vec![], 2));
        assert_eq!(look(2), (vec![Due::Deadline], 4));
        assert_eq!(flight.expire(&Outbox::default()), Some(Expiry::Answered));
        assert_eq!(look(6), (vec![], 7));
        assert_eq!((look(7), board.lost()), ((vec![Due::Grace], 9), 1));
        assert_eq!(look(9), (vec![], 11), "it is told of once");
        board.leave(1);
        assert_eq!(board.lost(), 0);
        let running = flight.running(begun + LIMIT).to_string();
        assert_eq!(running, "GET /a?b from a Unix socket, running for 2.0 s");
    }
}
