//! The threads that call the application.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rgunicorn_arbiter::{Heartbeat, Moment};

use crate::access::RequestLog;
use crate::client::Next;
use crate::context::Context;
use crate::handler::Handler;
use crate::lead::Lead;
use crate::pace::Pace;
use crate::reactor::{Reactor, Turn};
use crate::serve::{Job, Served, serve_one};
use crate::tick::{TICK, Tick};

/// What the threads of a worker share.
#[derive(Debug)]
pub(crate) struct Pool<H, L> {
    pub(crate) context: Arc<Context>,
    /// Why the worker cannot go on.
    failure: Mutex<Option<io::Error>>,
    handler: Arc<H>,
    pub(crate) lead: Lead<Reactor<L>, Served>,
    log: Arc<L>,
    /// How long calls have taken lately.
    pace: Pace,
    pub(crate) tick: Tick,
}

/// What a thread is to do next.
enum Step<L> {
    Follow,
    Lead(Box<Reactor<L>>),
    /// The reactor is to be let go.
    Serve(Box<Job>, Box<Reactor<L>>),
    Stop,
}

/// How often the main thread of several shows that the interpreter lives, at least.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);

/// How long the end of the worker waits for application threads that are told to end.
const FAREWELL: Duration = Duration::from_secs(1);

impl<H: Handler, L: RequestLog> Pool<H, L> {
    pub(crate) fn new(handler: Arc<H>, log: Arc<L>, reactor: &Reactor<L>) -> io::Result<Self> {
        Ok(Self {
            context: Arc::clone(reactor.context()),
            failure: Mutex::default(),
            handler,
            lead: Lead::new(),
            log,
            pace: Pace::default(),
            tick: Tick::new()?,
        })
    }

    /// The life of an application thread: leads, answers, leads or follows.
    ///
    /// `thread` is its number among the worker's, from 0.
    pub(crate) fn run(&self, thread: usize) {
        self.context.reporter.enroll(thread);
        if let Some(in_flight) = &self.context.in_flight {
            if let Some(seat) = in_flight.seat(thread) {
                seat.occupy(self.handler.interrupter(in_flight.limit()));
            }
        }
        let mut lead = None;
        while let Some(job) = self.next_job(lead) {
            lead = self.answer(thread, *job);
        }
    }

    /// The same for a thread that is not the main one.
    pub(crate) fn run_spawned(&self, thread: usize) {
        let _member = self.lead.enter();
        self.guard(|| self.run(thread));
    }

    /// Runs a part of the worker. If it panics, which is a fault of ours, the reactor may be lost
    /// with it: the worker ends, and the arbiter starts another.
    pub(crate) fn guard(&self, part: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(part)).is_err() {
            self.fail(io::Error::other("a thread of the worker panicked"));
        }
    }

    /// The life of the main thread beside several application threads: it serves nobody, so that
    /// its heartbeat tells of the interpreter and not of one request.
    pub(crate) fn watch(&self, heartbeat: &Heartbeat, timeout: Option<Duration>) {
        let interval = timeout.map_or(BEAT_INTERVAL, |timeout| BEAT_INTERVAL.min(timeout / 2));
        let mut stopped = false;
        while !stopped {
            heartbeat.beat();
            self.handler.blocking(&mut || stopped = self.lead.wait_for_stop(interval));
            if !self.handler.woken() {
                self.stop();
            }
        }
        self.handler.blocking(&mut || {
            if !self.lead.wait_for_threads(FAREWELL) {
                log::debug!("application threads are left behind");
            }
        });
    }

    /// Why the worker ended, if it did not end well.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The reactor cannot go on, and neither can the worker.
    pub(crate) fn fail(&self, error: io::Error) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        self.stop();
    }

    /// Ends the call that is under way on the main thread, if the handler can.
    pub(crate) fn abort(&self) {
        self.handler.abort();
    }

    pub(crate) fn stop(&self) {
        self.lead.stop();
        self.tick.arm(Duration::ZERO);
    }

    /// Leads, if the reactor is here, or follows, until there is a request for this thread, and
    /// lets the reactor go. `None`: the worker has ended.
    fn next_job(&self, lead: Option<Box<Reactor<L>>>) -> Option<Box<Job>> {
        let mut step = lead.map_or(Step::Follow, |reactor| self.step(reactor));
        loop {
            let waiting = match step {
                Step::Serve(job, reactor) => {
                    self.let_go(reactor);
                    return Some(job);
                }
                Step::Stop => return None,
                Step::Follow | Step::Lead(_) => step,
            };
            let (mut waiting, mut goes_on) = (Some(waiting), false);
            self.handler.blocking(&mut || {
                if let Some(waiting) = waiting.take() {
                    goes_on = self.rest(waiting);
                }
            });
            if self.context.beat.is_some() && !self.handler.woken() {
                self.stop();
                return None;
            }
            if !goes_on {
                return None;
            }
            // Only now, inside of the interpreter: until then somebody else may have it.
            if let Some(job) = self.context.inbox.take() {
                return Some(job);
            }
            step = Step::Follow;
        }
    }

    /// Waits for something that needs the interpreter; `false`: the worker has ended. Whoever leads
    /// must not wait for that: a call may keep it, and then nobody would look after the others. Nor
    /// may a request, so it is left in the inbox.
    fn rest(&self, mut step: Step<L>) -> bool {
        loop {
            step = match step {
                Step::Follow => self.lead.follow().map_or(Step::Stop, |reactor| self.step(reactor)),
                Step::Lead(reactor) => match self.sleep(reactor) {
                    // The main thread may have been woken to handle a signal.
                    Step::Lead(reactor) if self.context.beat.is_some() => {
                        self.let_go(reactor);
                        return true;
                    }
                    step => step,
                },
                Step::Serve(job, reactor) => {
                    self.context.inbox.put(job, reactor.now());
                    self.let_go(reactor);
                    return true;
                }
                Step::Stop => return false,
            }
        }
    }

    /// Goes on without waiting: the reactor comes back when there is nothing to do.
    fn step(&self, mut reactor: Box<Reactor<L>>) -> Step<L> {
        loop {
            for served in self.lead.returned() {
                reactor.welcome(served);
            }
            match reactor.turn() {
                Ok(Turn::More) => {}
                Ok(Turn::Idle) => return Step::Lead(reactor),
                Ok(Turn::Serve(job)) => return Step::Serve(job, reactor),
                Ok(Turn::Over) => {
                    self.stop();
                    return Step::Stop;
                }
                Err(error) => {
                    self.fail(error);
                    return Step::Stop;
                }
            }
        }
    }

    fn sleep(&self, mut reactor: Box<Reactor<L>>) -> Step<L> {
        // To set a timer is expensive in a virtual machine: whoever sleeps more often than it ticks
        // lets it tick.
        if !reactor.sleeps_often() {
            self.tick.disarm();
        }
        self.context.set_asleep(true);
        // In this order, so that nothing is left behind: see `Context::set_asleep` and `return_to`.
        reactor.flush_outbox();
        let slept = if self.lead.has_returned() { Ok(()) } else { reactor.wait() };
        // In this order: if it is armed still, the monitor will see that nobody sleeps any more.
        self.context.set_asleep(false);
        if !self.tick.is_armed() {
            self.tick.arm(TICK);
        }
        match slept {
            Ok(()) => self.step(reactor),
            Err(error) => {
                self.fail(error);
                Step::Stop
            }
        }
    }

    fn let_go(&self, reactor: Box<Reactor<L>>) {
        let pass_on = self.context.options.threads.is_some() && self.pace.is_slow();
        let now = reactor.now();
        self.lead.let_go(reactor, now, pass_on);
        // The monitor may have led until now, and watched the poller only.
        if !self.tick.is_armed() {
            self.tick.arm(TICK);
        }
    }

    /// Calls the application, and leads again unless somebody else does.
    fn answer(&self, thread: usize, job: Job) -> Option<Box<Reactor<L>>> {
        let seat = self.context.in_flight.as_ref().map(|in_flight| (in_flight, thread));
        let (request, peer) = (&job.request, job.client.peer());
        self.context.board.begin(
            thread,
            request.method(),
            request.target(),
            peer,
            Moment::coarse(),
        );
        let served = serve_one(&*self.handler, &*self.log, job, seat);
        self.pace.record(served.duration);
        self.context.board.end(thread);
        self.context.beat();
        let socket = served.client.as_ref().and_then(|(client, next)| {
            let is_quiet = *next == Next::Reuse && !client.has_buffered_input();
            is_quiet.then(|| Arc::clone(client.socket()))
        });
        if let Some((mut reactor, served)) = self.lead.come_back(served) {
            reactor.welcome(served);
            return Some(reactor);
        }
        self.context.outbox.flush();
        // Unless the poller knows the connection, so that its next request is noticed, the leader
        // has to be told. He forgets a connection first and looks for returned ones then, we do it
        // the other way round: one of us sees the other.
        if !socket.is_some_and(|socket| socket.is_registered()) {
            self.context.kick();
        }
        None
    }
}
