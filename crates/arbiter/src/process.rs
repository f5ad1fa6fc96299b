//! The child's view of its arbiter.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::signal::Signal as Number;

use crate::poll::wait_readable;
use crate::shared::SharedPage;
use crate::signals::{Boot, Signals};
use crate::{
    Command, Connection, Detach, Heartbeat, LOG, Listener, Mailbox, Pid, RetireReason, Words,
    WorkerId,
};

/// The child's view of its arbiter, which [`Worker::run`](crate::Worker::run) receives.
///
/// A worker boots, says [`ready`](Self::ready), then serves and beats until a [`Command`] stops it
/// or its arbiter dies. Before it is ready there is nothing to finish: INT, QUIT and TERM end its
/// process on the spot, however long the boot would go on. [`incoming`](Self::incoming) does all of that for workers that serve one
/// connection after the other; others put [`wake`](Self::wake) into their own poller.
#[derive(Debug)]
pub struct WorkerProcess {
    pub(crate) id: WorkerId,
    pub(crate) age: u64,
    pub(crate) workers: u32,
    pub(crate) timeout: Option<Duration>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) mailbox: Option<Mailbox>,
    pub(crate) link: Link,
}

/// What ties a worker to its arbiter.
#[derive(Debug)]
pub(crate) struct Link {
    arbiter: Pid,
    detach: Detach,
    boot: Boot,
    /// Readable for ever when the arbiter is dead: nobody else holds the other end.
    _lifeline: OwnedFd,
    /// One byte in it wakes the arbiter.
    notify: OwnedFd,
    page: Arc<SharedPage>,
    signals: Signals,
    /// Both of the above: `signals` and `lifeline`.
    wake: Epoll,
    /// What arrived and was not taken yet; each signal once.
    received: Vec<Number>,
    /// `incoming` was told to stop gracefully, and goes on as long as somebody waits.
    stops: bool,
}

impl WorkerProcess {
    /// Which worker this is.
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// How many workers the arbiter had started when it started this one: 1, 2, 3 …
    pub fn age(&self) -> u64 {
        self.age
    }

    /// How many workers the arbiter was to keep when it started this one.
    pub fn workers(&self) -> u32 {
        self.workers
    }

    /// What to accept connections from, in the order of [`Options::bind`](crate::Options::bind).
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Gives up the listeners, which a worker does that stops and still finishes its work: as soon
    /// as all who hold them have done so, the kernel refuses new connections at once, where they
    /// would wait for nobody.
    pub fn close_listeners(&mut self) {
        self.listeners.clear();
    }

    /// After how much silence the arbiter replaces this worker; `None`: never.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// What tells the arbiter that this worker is alive. Beat at least twice per
    /// [`timeout`](Self::timeout) from [`ready`](Self::ready) on.
    pub fn heartbeat(&self) -> Heartbeat {
        self.link.page.heartbeat(self.id)
    }

    /// Where workers leave descriptors for each other, if [`Options::mailbox`] says so. It outlives
    /// reloads and upgrades: what one generation leaves, the next may take.
    ///
    /// [`Options::mailbox`]: crate::Options::mailbox
    pub fn mailbox(&self) -> Option<&Mailbox> {
        self.mailbox.as_ref()
    }

    /// What this worker shows to its siblings, and they to it. At an upgrade the workers of both
    /// arbiters are siblings, if they have a mailbox as well.
    pub fn words(&self) -> Words {
        self.link.page.words_of(self.id)
    }

    /// Says that the worker has booted and serves from now on. The first call counts.
    ///
    /// # Errors
    ///
    /// When the arbiter cannot be told, as it is dead.
    pub fn ready(&mut self) -> io::Result<()> {
        if self.link.page.is_ready(self.id) || self.link.page.is_detached() {
            return Ok(());
        }
        // Before anybody counts on this worker, so that no request is lost to a hasty end.
        self.link.boot.complete();
        self.heartbeat().beat();
        self.link.page.set_ready(self.id);
        self.link.wake_arbiter()
    }

    /// Asks for a successor. This worker serves on: when the successor is ready the arbiter tells it
    /// to stop, as [`Command::StopGracefully`]. That may take a while, for at most a quarter of the
    /// workers are replaced at a time, and a successor that does not boot is tried again. The first
    /// call counts, after [`ready`](Self::ready).
    ///
    /// ```
    /// use rgunicorn_arbiter::{RetireReason, WorkerError, WorkerProcess};
    ///
    /// fn run(mut process: WorkerProcess) -> Result<(), WorkerError> {
    ///     process.ready()?;
    ///     for count in 1_u64.. {
    ///         let next = process.incoming().next();
    ///         let Some(connection) = next else { break };
    ///         drop(connection?);
    ///         if count >= 1000 {
    ///             process.ask_to_retire(RetireReason::MaxRequests)?;
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// When the arbiter cannot be told, as it is dead.
    pub fn ask_to_retire(&mut self, reason: RetireReason) -> io::Result<()> {
        if self.link.page.retire_reason(self.id).is_some() || self.link.page.is_detached() {
            return Ok(());
        }
        match reason {
            RetireReason::MaxRequests => {
                log::info!(target: LOG, "Autorestarting worker after current request.");
            }
            RetireReason::RequestTimeout => {
                log::warn!(target: LOG, "Autorestarting worker: a request cannot be ended.");
            }
        }
        self.link.page.set_retire(self.id, reason);
        self.link.wake_arbiter()
    }

    /// A descriptor for a poller: readable while a command waits in
    /// [`next_command`](Self::next_command), and for ever once the arbiter is dead.
    pub fn wake(&self) -> BorrowedFd<'_> {
        self.link.wake.0.as_fd()
    }

    /// The next command; call it until there is none, for the descriptor wakes but once.
    ///
    /// The most urgent comes first: a stop does not wait for log files.
    pub fn next_command(&mut self) -> Option<Command> {
        let Link { signals, received, .. } = &mut self.link;
        for number in signals.pending() {
            if !received.contains(&number) {
                received.push(number);
            }
        }
        BY_URGENCY.iter().find_map(|(command, numbers)| {
            let before = received.len();
            received.retain(|number| !numbers.contains(number));
            (received.len() < before).then_some(*command)
        })
    }

    /// Whether the arbiter lives. A worker ends when it does not: nobody would replace it.
    pub fn parent_alive(&self) -> bool {
        Pid::parent() == self.link.arbiter
    }

    /// What cuts processes that the worker forks off from it: they would have its signal handlers
    /// and speak in its name.
    pub fn detach(&self) -> Detach {
        self.link.detach.clone()
    }

    /// Connections, one after the other, in blocking mode; for simple kinds of workers.
    ///
    /// It beats while it waits, and ends when the worker is told to stop or its arbiter is dead; told
    /// to stop gracefully, after those who wait in the queues by then. What arrives for a worker
    /// without listeners is only the end. Log files are not reopened, and nothing is reported.
    pub fn incoming(&mut self) -> impl Iterator<Item = io::Result<Connection>> {
        let heartbeat = self.heartbeat();
        let first = Cell::new(0);
        std::iter::from_fn(move || {
            loop {
                heartbeat.beat();
                while let Some(command) = self.next_command() {
                    match command {
                        Command::Abort | Command::StopNow => return None,
                        Command::ReopenLogs | Command::Report => {}
                        // Closing the listeners would reset who is in their queues.
                        Command::StopGracefully => self.link.stops = true,
                    }
                }
                if !self.parent_alive() {
                    return None;
                }
                if let Some(connection) = self.accept_any(&first).transpose() {
                    return Some(connection);
                }
                if self.link.stops {
                    return None;
                }
                if let Err(error) = self.wait() {
                    return Some(Err(error));
                }
            }
        })
    }

    /// Asks each listener once, the one after the last successful one first, so that a busy
    /// listener does not starve the others.
    fn accept_any(&self, first: &Cell<usize>) -> io::Result<Option<Connection>> {
        let count = self.listeners.len();
        for (index, listener) in
            self.listeners.iter().enumerate().cycle().skip(first.get()).take(count)
        {
            match listener.accept_blocking() {
                Ok(connection) => {
                    first.set((index + 1) % count);
                    return Ok(Some(connection));
                }
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Until a connection, a command, the arbiter's death, or the time for a heartbeat.
    fn wait(&self) -> io::Result<()> {
        let listeners = self.listeners.iter().map(Listener::as_fd);
        // Twice per timeout, as the arbiter counts on.
        let timeout = self.timeout.map(|timeout| timeout / 2);
        wait_readable(listeners.chain([self.wake()]), timeout).map(drop)
    }
}

impl Link {
    /// In the child, with all signals blocked.
    pub(crate) fn new(
        arbiter: Pid,
        lifeline: OwnedFd,
        notify: OwnedFd,
        page: Arc<SharedPage>,
    ) -> io::Result<Self> {
        let boot = Boot::new()?;
        let signals = Signals::new(Signals::WORKER)?;
        let detach = Detach::new(Arc::clone(&page), Signals::WORKER)?;
        let wake = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        wake.add(&signals, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        wake.add(&lifeline, EpollEvent::new(EpollFlags::EPOLLIN, 1))?;
        let received = Vec::new();
        let stops = false;
        Ok(Self {
            arbiter,
            detach,
            boot,
            _lifeline: lifeline,
            notify,
            page,
            signals,
            wake,
            received,
            stops,
        })
    }

    fn wake_arbiter(&self) -> io::Result<()> {
        if self.page.is_detached() {
            return Ok(());
        }
        match nix::unistd::write(&self.notify, &[0]) {
            // A full pipe wakes as well.
            Ok(_) | Err(Errno::EAGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Errors of accept(2) that concern one connection, or none, and not the listener.
fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | WouldBlock)
}

const BY_URGENCY: [(Command, &[Number]); 5] = [
    (Command::Abort, &[Number::SIGABRT]),
    (Command::StopNow, &[Number::SIGINT, Number::SIGQUIT]),
    (Command::StopGracefully, &[Number::SIGTERM]),
    (Command::ReopenLogs, &[Number::SIGUSR1]),
    (Command::Report, &[Number::SIGURG]),
];
