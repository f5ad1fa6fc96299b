//! The loop of a worker: no client, however slow, holds it up.
//!
//! Connections are read without blocking until a request is complete; only then is the handler
//! called. What a reader does not take of a finished response is sent on from here, while the
//! handler answers others. A connection therefore never costs more than its own buffers.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rgunicorn_arbiter::{Command, Connection, WorkerProcess};
use rgunicorn_http1::{Event, ProtocolError, RequestHead, error_response};

use crate::access::RequestLog;
use crate::client::{Client, Next};
use crate::context::Context;
use crate::handler::Handler;
use crate::options::Options;
use crate::pace::Pace;
use crate::poller::{Events, Interest, Poller, Token};
use crate::serve::serve_one;
use crate::slots::{Phase, Slots};
use crate::stream::Stream;
use crate::timers::Timers;

/// The token of the process's own wake-ups; those of its listeners lie below it.
const WAKE: Token = Token(u64::MAX);

/// Connections accepted in one turn, each of them read and, if its request is there, served at
/// once. With siblings it is one: whatever waits behind it may be theirs.
const ACCEPTS_PER_TURN: usize = 64;

/// A worker with requests to run leaves new connections to its siblings, but not for longer.
const ACCEPT_DEFERRAL: Duration = Duration::from_millis(10);

/// Without descriptors nobody can be accepted; others may close some meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a client may take to read the last response before its connection is dropped.
const LINGER: Duration = Duration::from_secs(2);

/// In a worker that stops, an idle connection has so long to bring a last request.
const DRAIN: Duration = Duration::from_secs(2);

/// One read(2) fills at most this; the buffer is the worker's, connections own none.
const READ_BUFFER_BYTES: usize = 64 << 10;

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
        let context = Context {
            heartbeat: process.heartbeat(),
            locals: locals.collect(),
            options,
            poller: Poller::new()?,
        };
        context.poller.add(process.wake(), WAKE, Interest::Read)?;
        Ok(Self {
            buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            context: Arc::new(context),
            deferred: None,
            events: Events::with_capacity(256),
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
        })
    }

    /// Serves until told to stop.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        self.listen()?;
        self.process.ready()?;
        loop {
            self.context.heartbeat.beat();
            self.expire();
            if self.is_finished() {
                return Ok(());
            }
            self.wait()?;
            self.turn()?;
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
    /// whoever knocks.
    fn turn(&mut self) -> io::Result<()> {
        let (mut knocking, mut woken, mut index) = (false, false, 0);
        for _ in 0..self.pipelined.len() {
            let Some(token) = self.pipelined.pop_front() else { break };
            if let Some((client, _)) = self.slots.take(token) {
                self.advance(token, client);
            }
        }
        while let Some(token) = self.events.token(index) {
            index += 1;
            if token == WAKE {
                woken = true;
            } else if self.listener_of(token).is_some() {
                knocking = true;
            } else {
                self.connection_ready(token);
            }
        }
        let busy = index > usize::from(knocking) + usize::from(woken) || !self.pipelined.is_empty();
        if woken {
            self.obey_commands()?;
        }
        if knocking && self.life == Life::Running {
            self.open_the_door(busy)?;
        }
        if self.resume.is_some_and(|at| at <= self.now) {
            self.resume = None;
            self.listen()?;
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
        for token in self.slots.in_phase(Phase::Idle) {
            self.set_deadline(token, self.idle_patience());
        }
        Ok(())
    }
}

/// New connections.
impl<H: Handler, L: RequestLog> Reactor<'_, H, L> {
    fn listener_of(&self, token: Token) -> Option<usize> {
        let index = usize::try_from(WAKE.0 - token.0).ok()?.checked_sub(1)?;
        (index < self.context.locals.len()).then_some(index)
    }

    fn listen(&mut self) -> io::Result<()> {
        if !self.listening && self.life == Life::Running {
            self.listening = true;
            for (listener, number) in self.process.listeners().iter().zip(1..) {
                let token = Token(WAKE.0 - number);
                self.context.poller.add(listener, token, Interest::ReadExclusive)?;
            }
        }
        Ok(())
    }

    fn unlisten(&mut self) -> io::Result<()> {
        if self.listening {
            self.listening = false;
            for listener in self.process.listeners() {
                self.context.poller.delete(listener)?;
            }
        }
        Ok(())
    }

    fn open_the_door(&mut self, busy: bool) -> io::Result<()> {
        if self.siblings && busy {
            let since = *self.deferred.get_or_insert(self.now);
            if self.now.saturating_duration_since(since) < ACCEPT_DEFERRAL {
                return Ok(());
            }
        }
        self.deferred = None;
        let accepts = if self.siblings { 1 } else { ACCEPTS_PER_TURN };
        for listener in 0..self.process.listeners().len() {
            for _ in 0..accepts {
                if !self.listening || !self.accept(listener)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Accepts one connection and reads it at once: its request is usually here already, and then
    /// the poller never learns of a connection that lives for one response. `false`: nobody knocks.
    fn accept(&mut self, listener: usize) -> io::Result<bool> {
        let Some(socket) = self.process.listeners().get(listener) else { return Ok(false) };
        let connection = match socket.accept() {
            Ok(connection) => connection,
            Err(error) => return self.accept_failed(&error),
        };
        let token = self.slots.reserve();
        let client = self.client(connection, listener, token);
        if self.slots.len() >= self.context.options.connections {
            self.unlisten()?;
        }
        self.read(token, client);
        Ok(true)
    }

    fn client(&self, connection: Connection, listener: usize, token: Token) -> Client {
        let stream = Stream::from(connection);
        let peer = stream.peer_addr();
        Client::new(stream, peer, listener, token, Arc::clone(&self.context))
    }

    fn accept_failed(&mut self, error: &io::Error) -> io::Result<bool> {
        use nix::errno::Errno;
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EAGAIN) => Ok(false),
            // The client has gone before we came; accept(2) says to treat these like EAGAIN.
            Some(Errno::ECONNABORTED | Errno::EINTR | Errno::EPROTO) => Ok(true),
            _ => {
                log::error!("cannot accept a connection, trying again in 100 ms: {error}");
                self.unlisten()?;
                self.resume = Some(self.now + ACCEPT_PAUSE);
                Ok(false)
            }
        }
    }
}

/// Connections that are here.
impl<H: Handler, L: RequestLog> Reactor<'_, H, L> {
    fn connection_ready(&mut self, token: Token) {
        let Some((client, phase)) = self.slots.take(token) else { return };
        match phase {
            Phase::Body | Phase::Head | Phase::Idle => self.read(token, client),
            Phase::Lingering => self.linger_on(token, client),
            Phase::Writing => self.write(token, client),
        }
    }

    fn read(&mut self, token: Token, mut client: Client) {
        match client.receive(&mut self.buffer) {
            Ok(true) => self.advance(token, client),
            Ok(false) => self.need_data(token, client),
            Err(error) => self.lost(token, client, &error),
        }
    }

    /// Goes through what has arrived, up to the end of one request.
    fn advance(&mut self, token: Token, mut client: Client) {
        loop {
            let step = match client.next_event() {
                Ok(Event::NeedData) => return self.need_data(token, client),
                Ok(Event::Request(head)) => self.begin(&mut client, head),
                Ok(Event::Data(data)) => self.gather(&mut client, data),
                Ok(Event::EndOfMessage(_)) => return self.serve(token, client),
                Ok(Event::Closed | Event::Paused) => return self.close(token, client),
                Err(error) => return self.refuse(token, client, &error),
            };
            if let Err(status) = step {
                return self.answer_and_close(token, client, &error_response(status, ""));
            }
        }
    }

    /// A head is here. An announced body that is too large is refused before it is sent
    /// (RFC 9110 §15.5.14).
    fn begin(&self, client: &mut Client, head: RequestHead) -> Result<(), u16> {
        let length = head.body().length().unwrap_or(0);
        if self.context.options.limit_request_body.is_some_and(|limit| length > limit) {
            return Err(413);
        }
        client.keep_head(head);
        Ok(())
    }

    fn gather(&self, client: &mut Client, data: Bytes) -> Result<(), u16> {
        match client.push_body(data) {
            Ok(length) => match self.context.options.limit_request_body {
                Some(limit) if length > limit => Err(413),
                _ => Ok(()),
            },
            Err(error) => {
                log::error!("cannot keep a request's body in a temporary file: {error}");
                Err(500)
            }
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
        // The time for a head counts from its first byte, not from its last one.
        let restart = phase != Phase::Head || !self.slots.is_in(token, Phase::Head);
        self.park(token, client, phase, Interest::Read, restart.then_some(patience));
    }

    fn idle_patience(&self) -> Duration {
        let patience =
            self.context.options.keepalive.unwrap_or(self.context.options.header_timeout);
        match self.life {
            Life::Draining | Life::Stopped => patience.min(DRAIN),
            Life::Running => patience,
        }
    }

    /// A request is complete: the handler's turn.
    fn serve(&mut self, token: Token, mut client: Client) {
        let Some(request) = client.take_head() else { return self.close(token, client) };
        if let Err(error) = client.complete_body() {
            log::error!("cannot read a request's body back: {error}");
            return self.answer_and_close(token, client, &error_response(500, ""));
        }
        if self.wants_rid_of_clients() {
            client.close_after_response();
        }
        client.swap_buffer(&mut self.spare);
        let served = serve_one(self.handler, self.log, &request, client);
        self.context.heartbeat.beat();
        self.pace.record(served.duration);
        self.now = served.finished;
        if served.last {
            self.life = Life::Stopped;
        }
        match served.client {
            Some((mut client, next)) => {
                client.swap_buffer(&mut self.spare);
                self.settle(token, client, next);
            }
            None => self.slots.release(token),
        }
    }

    /// Whether each response is to be a connection's last.
    fn wants_rid_of_clients(&self) -> bool {
        self.context.options.keepalive.is_none()
            || self.life != Life::Running
            || (self.siblings && self.pace.is_slow())
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
                    self.pipelined.push_back(token);
                } else {
                    let patience = Some(self.idle_patience());
                    self.park(token, client, Phase::Idle, Interest::Read, patience);
                }
            }
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

    fn refuse(&mut self, token: Token, client: Client, error: &ProtocolError) {
        let peer = client.peer().map_or_else(|| "unix".to_owned(), |peer| peer.ip().to_string());
        log::warn!("Invalid request from ip={peer}: {error}");
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

    fn close(&mut self, token: Token, client: Client) {
        drop(client);
        self.slots.release(token);
        if !self.listening && self.resume.is_none() && self.life == Life::Running {
            self.resume = Some(self.now);
        }
    }

    /// Leaves a connection to the poller and to its deadline.
    fn park(
        &mut self,
        token: Token,
        mut client: Client,
        phase: Phase,
        interest: Interest,
        patience: Option<Duration>,
    ) {
        if let Err(error) = client.wait_for(interest) {
            return self.lost(token, client, &error);
        }
        self.slots.put(token, client, phase);
        if let Some(patience) = patience {
            self.set_deadline(token, patience);
        }
    }

    fn set_deadline(&mut self, token: Token, patience: Duration) {
        if let Some(slot) = self.slots.get(token) {
            self.timers.set(&mut slot.deadline, token, self.now + patience);
        }
    }

    /// Ends the patience with connections whose time is over.
    fn expire(&mut self) {
        while let Some(token) = self.timers.pop(self.now) {
            let Some(slot) = self.slots.get(token) else { continue };
            if !self.timers.is_over(&mut slot.deadline, token, self.now) {
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
