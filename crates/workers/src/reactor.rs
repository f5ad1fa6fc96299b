//! The loop of a worker: no client, however slow, holds it up.
//!
//! Connections are read without blocking until a request is complete; only then is the handler
//! called. What a reader does not take of a finished response is sent on from here, while the
//! handler answers others. A connection therefore never costs more than its own buffers.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rgunicorn_arbiter::{Command, WorkerProcess};

use crate::access::RequestLog;
use crate::context::Context;
use crate::handler::Handler;
use crate::options::Options;
use crate::pace::Pace;
use crate::poller::{Events, Interest, Poller, Token};
use crate::slots::{Phase, Slots};
use crate::spool::Spools;
use crate::timers::Timers;

mod arrivals;
mod connections;

/// The token of the process's own wake-ups; those of its listeners lie below it.
const WAKE: Token = Token(u64::MAX);

/// One read(2) fills at most this; the buffer is the worker's, connections own none.
const READ_BUFFER_BYTES: usize = 256 << 10;

/// What an output buffer starts with.
const WRITE_BUFFER_BYTES: usize = 32 << 10;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Life {
    /// Finishes what it has, accepts nothing.
    Draining,
    Running,
    Stopped,
}

#[derive(Debug)]
pub(crate) struct Reactor<'a, H, L> {
    buffer: Box<[u8]>,
    context: Arc<Context>,
    /// Since when new connections have been left to the siblings.
    deferred: Option<Instant>,
    events: Events,
    /// Requests so far, whatever became of them.
    handled: u64,
    handler: &'a H,
    life: Life,
    listening: bool,
    log: &'a L,
    /// The time of this turn: read once per wake-up and once per request.
    now: Instant,
    pace: Pace,
    /// Connections whose next request has arrived with the previous one.
    pipelined: VecDeque<Token>,
    process: WorkerProcess,
    /// When to try accepting again.
    resume: Option<Instant>,
    siblings: bool,
    slots: Slots,
    /// The output buffer that is lent to whoever is being answered.
    spare: BytesMut,
    timers: Timers,
    /// The last request took long enough for commands to have come meanwhile.
    was_slow: bool,
}

impl<'a, H: Handler, L: RequestLog> Reactor<'a, H, L> {
    pub(crate) fn new(
        handler: &'a H,
        log: &'a L,
        options: Options,
        process: WorkerProcess,
    ) -> io::Result<Self> {
        let locals =
            process.listeners().iter().map(|listener| Arc::new(listener.address().clone()));
        let spools = Spools::new(options.request_buffer_size, options.tmp_upload_dir.clone());
        let context = Context {
            heartbeat: process.heartbeat(),
            locals: locals.collect(),
            options,
            poller: Poller::new()?,
            spools,
            wake: process.wake().try_clone_to_owned()?,
        };
        context.poller.add(process.wake(), WAKE, Interest::Read)?;
        Ok(Self {
            buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            context: Arc::new(context),
            deferred: None,
            events: Events::with_capacity(256),
            handled: 0,
            handler,
            life: Life::Running,
            listening: false,
            log,
            now: Instant::now(),
            pace: Pace::default(),
            pipelined: VecDeque::new(),
            siblings: process.workers() > 1,
            process,
            resume: None,
            slots: Slots::default(),
            spare: BytesMut::with_capacity(WRITE_BUFFER_BYTES),
            timers: Timers::default(),
            was_slow: false,
        })
    }

    /// Serves until told to stop.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        self.listen()?;
        self.process.ready()?;
        loop {
            self.context.heartbeat.beat();
            if self.is_finished() {
                return Ok(());
            }
            self.wait()?;
            let polled = self.now;
            self.turn()?;
            // Whoever has sent something meanwhile has not been heard yet, and a full batch may
            // have left somebody out: the time that the application took is not the client's.
            if !self.events.is_full() {
                self.expire(polled);
            }
        }
    }

    fn is_finished(&self) -> bool {
        match self.life {
            Life::Draining => self.slots.len() == 0,
            Life::Running => false,
            Life::Stopped => true,
        }
    }

    /// Looks before it waits: a busy worker never gives the interpreter away for nothing.
    fn wait(&mut self) -> io::Result<()> {
        let (context, events) = (&self.context, &mut self.events);
        context.poller.wait(events, Some(Duration::ZERO))?;
        self.now = Instant::now();
        if !self.events.is_empty() || !self.pipelined.is_empty() {
            return Ok(());
        }
        let timeout = self.patience();
        let (events, mut result) = (&mut self.events, Ok(()));
        self.handler.blocking(&mut || result = context.poller.wait(events, timeout));
        self.handler.woken();
        self.now = Instant::now();
        result
    }

    /// How long nothing needs to be done, unless somebody sends something.
    fn patience(&self) -> Option<Duration> {
        // Two beats within the arbiter's timeout, as gunicorn's workers do.
        let beat = self.process.timeout().map(|timeout| timeout / 2);
        let timer = self.timers.remaining(self.now);
        let resume = self.resume.map(|at| at.saturating_duration_since(self.now));
        [beat, timer, resume].into_iter().flatten().min()
    }

    /// Everything that one wake-up brought. Connections first: whoever is here goes before
    /// whoever wants in.
    fn turn(&mut self) -> io::Result<()> {
        let (mut incoming, mut woken, mut index) = (false, false, 0);
        for _ in 0..self.pipelined.len() {
            let Some(token) = self.pipelined.pop_front() else { break };
            if let Some((client, _)) = self.slots.take(token) {
                self.advance(token, client);
                self.look_for_commands()?;
            }
        }
        while let Some(token) = self.events.token(index) {
            index += 1;
            if token == WAKE {
                woken = true;
            } else if self.listener_of(token).is_some() {
                incoming = true;
            } else if self.life != Life::Stopped {
                self.connection_ready(token);
                self.look_for_commands()?;
            }
        }
        let busy = index > usize::from(incoming) + usize::from(woken) || !self.pipelined.is_empty();
        if woken {
            self.obey_commands()?;
        }
        if !incoming {
            self.deferred = None;
        } else if self.life == Life::Running {
            self.accept_incoming(busy)?;
        }
        if self.resume.is_some_and(|at| at <= self.now) {
            self.resume = None;
            self.listen()?;
        }
        Ok(())
    }

    /// After a slow request, so that one who waits for us to stop need not wait for all requests
    /// of this turn.
    fn look_for_commands(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.was_slow) && self.context.is_told() {
            self.obey_commands()?;
        }
        Ok(())
    }

    fn obey_commands(&mut self) -> io::Result<()> {
        while let Some(command) = self.process.next_command() {
            match command {
                Command::ReopenLogs => self.log.reopen(),
                Command::StopGracefully => self.drain()?,
                Command::Abort | Command::StopNow => self.life = Life::Stopped,
            }
        }
        if !self.process.parent_alive() {
            self.life = Life::Stopped;
        }
        Ok(())
    }

    /// Stops accepting, but not before the connections that wait in the listeners' queues are
    /// in: closing a listener would reset them.
    fn drain(&mut self) -> io::Result<()> {
        if self.life != Life::Running {
            return Ok(());
        }
        self.life = Life::Draining;
        for listener in 0..self.process.listeners().len() {
            while self.slots.len() < self.context.options.connections && self.accept(listener)? {}
        }
        self.unlisten()?;
        self.process.close_listeners();
        for token in self.slots.in_phase(Phase::Idle) {
            self.set_deadline(token, self.idle_patience());
        }
        Ok(())
    }
}
