//! What every connection of a worker shares.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use rgunicorn_arbiter::{Address, Heartbeat};

use crate::options::Options;
use crate::outbox::Outbox;
use crate::poller::Poller;
use crate::spool::Spools;

/// Outlives the reactor as long as a handler holds a connection.
#[derive(Debug)]
pub(crate) struct Context {
    /// Whoever leads sleeps in the poller, so that nobody looks into the outbox.
    asleep: AtomicBool,
    /// The heartbeat of a single application thread. With several the main thread beats, which
    /// shows that the interpreter lives.
    pub(crate) beat: Option<Heartbeat>,
    /// Responses that begin now are their connections' last.
    closing: AtomicBool,
    /// Wakes whoever sleeps in the poller.
    pub(crate) kick: EventFd,
    /// The addresses that the listeners are bound to, in their order.
    pub(crate) locals: Vec<Arc<Address>>,
    pub(crate) options: Options,
    pub(crate) outbox: Outbox,
    pub(crate) poller: Arc<Poller>,
    pub(crate) spools: Spools,
}

impl Context {
    pub(crate) fn new(
        options: Options,
        poller: Poller,
        locals: Vec<Arc<Address>>,
        beat: Option<Heartbeat>,
    ) -> io::Result<Self> {
        let spools = Spools::new(options.request_buffer_size, options.tmp_upload_dir.clone());
        Ok(Self {
            asleep: AtomicBool::new(false),
            beat,
            closing: AtomicBool::new(false),
            kick: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            locals,
            options,
            outbox: Outbox::default(),
            poller: Arc::new(poller),
            spools,
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

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    pub(crate) fn set_closing(&self) {
        self.closing.store(true, Ordering::Relaxed);
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
