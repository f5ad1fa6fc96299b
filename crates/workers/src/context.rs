//! What every connection of a worker shares.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use rgunicorn_arbiter::{Address, Heartbeat, Mailbox, WorkerProcess};

use crate::handler::Handler;
use crate::inbox::Inbox;
use crate::inflight::InFlight;
use crate::options::Options;
use crate::outbox::Outbox;
use crate::poller::Poller;
use crate::report::{Occasion, Reporter};
use crate::scoreboard::{Scoreboard, State};
use crate::serve::Job;
use crate::silence::Silence;
use crate::spool::Spools;

/// Outlives the reactor as long as a handler holds a connection.
#[derive(Debug)]
pub(crate) struct Context {
    /// Whoever leads sleeps in the poller, or the monitor looks rarely: nobody sends what lies in the
    /// outbox.
    asleep: AtomicBool,
    /// The heartbeat of a single application thread. With several the main thread beats, which
    /// shows that the interpreter lives.
    pub(crate) beat: Option<Heartbeat>,
    /// What siblings see of this worker, and it of them.
    pub(crate) board: Scoreboard,
    /// The worker stops.
    draining: AtomicBool,
    /// The requests that application threads have taken, and not begun.
    pub(crate) inbox: Inbox<Box<Job>>,
    /// The requests that the application has, if there is a `request_timeout`.
    pub(crate) in_flight: Option<InFlight>,
    /// Wakes whoever sleeps in the poller.
    pub(crate) kick: EventFd,
    /// Not all that was to be left in the mailbox had room.
    is_mailbox_full: AtomicBool,
    /// The addresses that the listeners are bound to, in their order.
    pub(crate) locals: Vec<Arc<Address>>,
    /// Where siblings leave connections for each other.
    pub(crate) mailbox: Option<Mailbox>,
    pub(crate) options: Options,
    pub(crate) outbox: Outbox,
    pub(crate) poller: Arc<Poller>,
    pub(crate) reporter: Reporter,
    pub(crate) silence: Silence,
    pub(crate) spools: Spools,
    /// A sibling has had nothing to do for a while.
    spread: AtomicBool,
}

impl Context {
    pub(crate) fn new(
        options: Options,
        handler: Arc<dyn Handler>,
        poller: Poller,
        process: &WorkerProcess,
    ) -> io::Result<Self> {
        let board = Scoreboard::new(process.words());
        let threads = options.threads.map_or(1, NonZeroUsize::get);
        let listeners = process.listeners().iter();
        let spools = Spools::new(options.request_buffer_size, options.tmp_upload_dir.clone());
        Ok(Self {
            asleep: AtomicBool::new(false),
            beat: options.threads.is_none().then(|| process.heartbeat()),
            reporter: Reporter::new(board.clone(), handler, threads),
            board,
            draining: AtomicBool::new(false),
            inbox: Inbox::default(),
            in_flight: options.request_timeout.map(|limit| InFlight::new(limit, threads)),
            is_mailbox_full: AtomicBool::new(false),
            kick: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            locals: listeners.map(|listener| Arc::new(listener.address().clone())).collect(),
            // Without room for the scoreboard nobody would know who lives and takes what is sent.
            mailbox: process.mailbox().filter(|_| !process.words().is_empty()).cloned(),
            options,
            outbox: Outbox::default(),
            poller: Arc::new(poller),
            silence: Silence::new(process.heartbeat(), process.timeout()),
            spools,
            spread: AtomicBool::new(false),
        })
    }

    /// Wakes whoever sleeps in the poller: something came back that needs a hand.
    pub(crate) fn kick(&self) {
        match self.kick.write(1) {
            // A counter that is full wakes as well.
            Ok(_) | Err(Errno::EAGAIN) => {}
            Err(error) => log::error!("cannot wake the reactor: {error}"),
        }
    }

    /// Takes note of all kicks so far.
    pub(crate) fn heed_kicks(&self) {
        match self.kick.read() {
            Ok(_) | Err(Errno::EAGAIN) => {}
            Err(error) => log::error!("cannot read a wake-up: {error}"),
        }
    }

    /// The application thread of the worker is alive, and waits for somebody or has done something.
    pub(crate) fn beat(&self) {
        if let Some(heartbeat) = &self.beat {
            heartbeat.beat();
        }
    }

    /// Before the arbiter ends this process for its silence, the log gets to know where it hangs.
    pub(crate) fn heed_silence(&self) {
        if let Some(timeout) = self.silence.notice() {
            self.reporter.report(Occasion::Silent { timeout });
        }
    }

    /// The address that this listener is bound to.
    pub(crate) fn local(&self, listener: usize) -> Option<Arc<Address>> {
        self.locals.get(listener).map(Arc::clone)
    }

    /// The same by its text, as siblings write it; they may listen elsewhere.
    pub(crate) fn local_of(&self, text: &str) -> Option<Arc<Address>> {
        let address = text.parse().ok()?;
        let known = self.locals.iter().find(|local| ***local == address);
        Some(known.map_or_else(|| Arc::new(address), Arc::clone))
    }

    /// A sibling could do with one of several connections.
    pub(crate) fn ask_to_spread(&self) {
        self.spread.store(true, Ordering::Relaxed);
    }

    pub(crate) fn take_spread(&self) -> bool {
        self.spread.load(Ordering::Relaxed) && self.spread.swap(false, Ordering::Relaxed)
    }

    /// Whether a response that begins now is its connection's last: the worker stops, and nobody
    /// takes its connections.
    pub(crate) fn is_closing(&self) -> bool {
        let inherits = || self.has_heirs() && !self.is_mailbox_full.load(Ordering::Relaxed);
        self.draining.load(Ordering::Relaxed) && !self.has_receivers() && !inherits()
    }

    /// The worker begins to stop.
    pub(crate) fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.board.set_state(State::Draining);
    }

    /// Whether what is left in the mailbox finds somebody who serves on.
    pub(crate) fn has_receivers(&self) -> bool {
        // Our own state was written before this look at the others': of two who drain at the same
        // time, one at least sees the other, and takes back what he has sent.
        fence(Ordering::SeqCst);
        self.mailbox.is_some() && self.board.siblings().any(|state| state != State::Draining)
    }

    /// Whether what is left in the mailbox finds somebody sooner or later: as who knocks at a
    /// listener, it waits for a worker that is not there yet.
    pub(crate) fn has_heirs(&self) -> bool {
        self.mailbox.is_some() && self.board.service_goes_on()
    }

    /// The mailbox has no room for all that is to be left, or has room again.
    pub(crate) fn set_mailbox_full(&self, is_full: bool) {
        self.is_mailbox_full.store(is_full, Ordering::Relaxed);
    }

    /// Whether somebody waits for work at this moment.
    pub(crate) fn has_idle_sibling(&self) -> bool {
        self.mailbox.is_some() && self.board.any_sibling(State::Idle)
    }

    /// Said before the outbox is looked into for the last time, so that whoever puts something
    /// into it afterwards knows that he has to send it himself.
    pub(crate) fn set_asleep(&self, asleep: bool) {
        self.asleep.store(asleep, Ordering::SeqCst);
    }

    pub(crate) fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::SeqCst)
    }
}
