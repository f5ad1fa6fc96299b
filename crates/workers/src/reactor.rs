//! The loop of a worker: no client, however slow, holds it up.
//!
//! Connections are read without blocking until a request is complete; only then does an
//! application thread get it. What a reader does not take of a finished response is sent on from
//! here, while the application answers others. A connection therefore never costs more than its
//! own buffers.
//!
//! The reactor has no thread of its own: see [`Lead`](crate::lead::Lead).

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rgunicorn_arbiter::{Command, WorkerProcess};

use crate::access::RequestLog;
use crate::context::Context;
use crate::handler::Handler;
use crate::options::Options;
use crate::poller::{Events, Interest, Poller, Token};
use crate::report::Occasion;
use crate::scoreboard::State;
use crate::serve::Job;
use crate::slots::{Phase, Slots};
use crate::tick::TICK;
use crate::timers::Timers;

mod arrivals;
mod connections;
mod moves;
mod overdue;
mod queue;
mod recall;
mod vacancy;

/// The token of the process's own wake-ups.
const WAKE: Token = Token(u64::MAX);

/// The token of [`Context::kick`].
const KICK: Token = Token(u64::MAX - 1);

/// The token of the mailbox; those of the listeners lie below it.
const MAIL: Token = Token(u64::MAX - 2);

/// One read(2) fills at most this; the buffer is the worker's, connections own none.
const READ_BUFFER_BYTES: usize = 256 << 10;

/// What an output buffer starts with.
const WRITE_BUFFER_BYTES: usize = 32 << 10;

/// How long those at the door wait, at most, to get into a queue that never empties.
const DOOR_INTERVAL: Duration = Duration::from_millis(10);

/// While the application has connections, their deadlines are not known here yet.
const AWAY_PATIENCE: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Life {
    /// Finishes what it has, accepts nothing.
    Draining,
    Running,
    Stopped,
}

/// Owned by whoever leads.
#[derive(Debug)]
pub(crate) struct Reactor<L> {
    /// Connections that the application has.
    away: usize,
    buffer: Box<[u8]>,
    context: Arc<Context>,
    /// When it was told to stop.
    drained_since: Option<Instant>,
    events: Events,
    /// Requests so far, whatever became of them.
    handled: u64,
    incoming: Incoming,
    /// When the poller was last asked about those at the door.
    door_seen: Instant,
    life: Life,
    listening: bool,
    log: Arc<L>,
    /// When a request may be overdue, at the earliest.
    look_at: Instant,
    /// The time of this turn: read once per wake-up and once per request.
    now: Instant,
    /// When the poller was asked, if it told everything and all of it has been heard.
    polled: Option<Instant>,
    process: WorkerProcess,
    /// Connections that have something to read, in the order of its arrival. It outlasts a change
    /// of lead: the poller would tell in the same order again, and the last one would starve.
    ready: VecDeque<Token>,
    /// When to try accepting again.
    resume: Option<Instant>,
    /// Complete requests that wait for an application thread.
    requests: VecDeque<Job>,
    /// How many requests of one connection have been served in a row.
    row: (Token, u32),
    /// What was told of requests that had waited too long.
    shed: queue::Shed,
    /// When the last sleep began.
    slept: Instant,
    slots: Slots,
    /// An output buffer that is lent to whoever is being answered.
    spare: BytesMut,
    timers: Timers,
    /// The application has all its threads, and the monitor looks after the rest.
    vacant: bool,
}

/// Who is at the door.
#[derive(Debug, Default)]
struct Incoming {
    /// Somebody waits in a listener's queue.
    connections: bool,
    /// A sibling has left a connection.
    mail: bool,
}

/// What a turn of the loop came to.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Nothing to do: the poller may be waited for.
    Idle,
    /// Something was done, or came.
    More,
    /// The worker has ended.
    Over,
    /// A request for the application.
    Serve(Box<Job>),
}

impl<L: RequestLog> Reactor<L> {
    pub(crate) fn new(
        handler: Arc<dyn Handler>,
        log: Arc<L>,
        options: Options,
        process: WorkerProcess,
    ) -> io::Result<Self> {
        let context = Context::new(options, handler, Poller::new()?, &process)?;
        context.poller.add(process.wake(), WAKE, Interest::Read)?;
        context.poller.add(context.kick.as_fd(), KICK, Interest::Read)?;
        Ok(Self {
            away: 0,
            buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            context: Arc::new(context),
            drained_since: None,
            events: Events::with_capacity(256),
            handled: 0,
            incoming: Incoming::default(),
            door_seen: Instant::now(),
            life: Life::Running,
            listening: false,
            log,
            look_at: Instant::now(),
            now: Instant::now(),
            polled: None,
            process,
            ready: VecDeque::new(),
            requests: VecDeque::new(),
            resume: None,
            row: (WAKE, 0),
            shed: (None, 0),
            slept: Instant::now(),
            slots: Slots::default(),
            spare: BytesMut::with_capacity(WRITE_BUFFER_BYTES),
            timers: Timers::default(),
            vacant: false,
        })
    }

    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The time of the present turn.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Whether the sleep that begins now comes within a tick of the last one.
    pub(crate) fn sleeps_often(&mut self) -> bool {
        let last = std::mem::replace(&mut self.slept, self.now);
        self.now.saturating_duration_since(last) < TICK
    }

    /// Begins to accept.
    pub(crate) fn open(&mut self) -> io::Result<()> {
        self.listen()?;
        self.context.board.set_state(State::Busy);
        self.process.ready()
    }

    /// Goes on until there is a request for the application. Connections first: whoever is here
    /// goes before whoever wants in.
    pub(crate) fn turn(&mut self) -> io::Result<Turn> {
        self.sort()?;
        self.hand_over_in_drain()?;
        self.end_overdue();
        if self.is_finished() {
            return Ok(Turn::Over);
        }
        self.end_vacancy()?;
        self.look_at_door()?;
        self.spread();
        if let Some(job) = self.next_request() {
            return Ok(Turn::Serve(Box::new(job)));
        }
        if let Some(job) = self.let_in()?.and_then(|job| self.if_wanted(job)) {
            return Ok(Turn::Serve(Box::new(job)));
        }
        self.flush_outbox();
        // Not before all is heard that had arrived by then: the time that the application took is
        // not the client's.
        if let Some(polled) = self.polled.take() {
            self.expire(polled);
        }
        if self.resume.is_some_and(|at| at <= self.now) {
            self.resume = None;
            self.listen()?;
        }
        // Looks before anybody waits: a busy worker never gives the interpreter away for nothing.
        let more = self.poll(Some(Duration::ZERO))?;
        // The last connection may just have ended.
        Ok(if more || self.is_finished() { Turn::More } else { Turn::Idle })
    }

    /// A worker whose queue never empties takes those at the door in turn with the others.
    fn look_at_door(&mut self) -> io::Result<()> {
        let is_long_ago = self.now.saturating_duration_since(self.door_seen) >= DOOR_INTERVAL;
        if !self.listening || self.ready.is_empty() || !is_long_ago {
            return Ok(());
        }
        self.poll(Some(Duration::ZERO))?;
        let Incoming { connections, mail } = std::mem::take(&mut self.incoming);
        if mail {
            self.enqueue_mail()?;
        }
        if connections { self.enqueue_incoming(self.accepts_per_turn()) } else { Ok(()) }
    }

    /// Those at the door, one from each: whatever waits behind it may be a sibling's.
    fn let_in(&mut self) -> io::Result<Option<Job>> {
        let Incoming { connections, mail } = std::mem::take(&mut self.incoming);
        if self.life != Life::Running {
            return Ok(None);
        }
        if mail {
            // In the next turn, unless it is over by then.
            self.incoming.connections = connections;
            return self.welcome_mail();
        }
        if connections { self.accept_incoming() } else { Ok(None) }
    }

    /// Sleeps until there is something to do.
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        self.context.board.set_connections(self.slots.len());
        self.set_state(State::Idle);
        let asked = self.ask(self.patience());
        self.set_state(State::Busy);
        if self.is_overheard() {
            self.context.heed_silence();
            self.save_what_can_be_saved();
        }
        self.recall();
        asked
    }

    /// What siblings see; that a worker drains, they see until its end.
    fn set_state(&self, state: State) {
        if self.life == Life::Running {
            self.context.board.set_state(state);
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        match self.life {
            Life::Draining => self.slots.len() == self.given_up(),
            Life::Running => false,
            Life::Stopped => true,
        }
    }

    /// How long nothing needs to be done, unless somebody sends something.
    pub(crate) fn patience(&self) -> Option<Duration> {
        // Two beats within the arbiter's timeout, as gunicorn's workers do.
        let beat = self.process.timeout().map(|timeout| timeout / 2);
        let timer = self.timers.remaining(self.now);
        let resume = self.resume.map(|at| at.saturating_duration_since(self.now));
        let away = (self.away > 0).then_some(AWAY_PATIENCE);
        let overdue = self.next_look().map(|at| at.saturating_duration_since(self.now));
        let silence = self.is_overheard().then(|| self.context.silence.remaining()).flatten();
        let door = self.door_patience();
        let recall = self.next_recall().map(|at| at.saturating_duration_since(self.now));
        [beat, timer, resume, away, overdue, silence, door, recall].into_iter().flatten().min()
    }

    /// Asks the poller, and says whether it told anything.
    fn poll(&mut self, patience: Option<Duration>) -> io::Result<bool> {
        self.ask(patience)?;
        let told = !self.events.is_empty();
        self.sort()?;
        Ok(told)
    }

    fn ask(&mut self, patience: Option<Duration>) -> io::Result<()> {
        self.context.poller.wait(&mut self.events, patience)?;
        // The monitor does not speak for the application, which may hang.
        if !self.vacant {
            self.context.beat();
        }
        self.now = Instant::now();
        self.polled = (!self.events.is_full()).then_some(self.now);
        if self.listening {
            self.door_seen = self.now;
        }
        Ok(())
    }

    /// Puts what the poller told where it belongs. After a sleep this comes later than a look for
    /// connections that came back meanwhile: they need not be silenced.
    fn sort(&mut self) -> io::Result<()> {
        while let Some(token) = self.events.next() {
            match token {
                WAKE => self.obey_commands()?,
                KICK => self.context.heed_kicks(),
                MAIL => self.incoming.mail = true,
                token if self.listener_of(token).is_some() => self.incoming.connections = true,
                token => self.enqueue(token),
            }
        }
        Ok(())
    }

    /// Puts a connection in the queue, once.
    fn enqueue(&mut self, token: Token) {
        let Some(slot) = self.slots.get(token) else { return };
        if let Some(socket) = slot.socket_away() {
            // It is told to the poller again when it comes back.
            return socket.silence();
        }
        if slot.is_here() && slot.ready_since.is_none() {
            slot.ready_since = Some(self.now);
            self.ready.push_back(token);
        }
    }

    fn obey_commands(&mut self) -> io::Result<()> {
        while let Some(command) = self.process.next_command() {
            match command {
                Command::ReopenLogs => self.log.reopen(),
                Command::Report => self.context.reporter.report(Occasion::Asked),
                Command::StopGracefully => self.drain()?,
                Command::Abort | Command::StopNow => self.stop(),
            }
        }
        if !self.process.parent_alive() {
            self.stop();
        }
        Ok(())
    }

    /// Ends the worker: what the application has begun is lost, and what a sibling can serve is not.
    pub(crate) fn stop(&mut self) {
        self.life = Life::Stopped;
        self.context.set_draining();
        self.flush_outbox();
        if self.context.has_receivers() || self.context.has_heirs() {
            self.recall_all();
            self.hand_over_all();
        }
    }

    /// Stops accepting, but not before the connections that wait in the listeners' queues are
    /// in: closing a listener would reset them.
    fn drain(&mut self) -> io::Result<()> {
        if self.life != Life::Running {
            return Ok(());
        }
        self.life = Life::Draining;
        self.drained_since = Some(self.now);
        self.context.set_draining();
        self.enqueue_incoming(usize::MAX)?;
        self.unlisten()?;
        self.process.close_listeners();
        for token in self.slots.in_phase(Phase::Idle) {
            self.set_deadline(token, self.idle_patience());
        }
        Ok(())
    }
}
