//! Signals, received as facts that a loop reads and a descriptor that wakes it.
//!
//! The facts are atomics of this process and the pipe only wakes. A process that an application
//! forks shares the pipe with its parent, but what it receives stays its own.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal as Number;
use signal_hook::flag::register_conditional_shutdown;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

/// A signal that an arbiter acts on.
///
/// ```
/// assert_eq!(rgunicorn_arbiter::Signal::Hup.to_string(), "hup");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// SIGHUP: reload.
    Hup,
    /// SIGINT: stop at once.
    Int,
    /// SIGQUIT: stop at once.
    Quit,
    /// SIGTERM: stop gracefully.
    Term,
    /// SIGTTIN: one worker more.
    Ttin,
    /// SIGTTOU: one worker less.
    Ttou,
    /// SIGURG: let all workers tell what they are doing. It is one that gunicorn leaves unused, and
    /// that hits nothing where nobody expects it, for the system ignores it by default.
    Urg,
    /// SIGUSR1: reopen log files.
    Usr1,
    /// SIGUSR2: start the program anew, to replace this one.
    Usr2,
    /// SIGWINCH: stop the workers of a daemon.
    Winch,
}

impl Signal {
    pub(crate) fn from_number(number: Number) -> Option<Self> {
        Some(match number {
            Number::SIGHUP => Self::Hup,
            Number::SIGINT => Self::Int,
            Number::SIGQUIT => Self::Quit,
            Number::SIGTERM => Self::Term,
            Number::SIGTTIN => Self::Ttin,
            Number::SIGTTOU => Self::Ttou,
            Number::SIGURG => Self::Urg,
            Number::SIGUSR1 => Self::Usr1,
            Number::SIGUSR2 => Self::Usr2,
            Number::SIGWINCH => Self::Winch,
            _ => return None,
        })
    }
}

impl fmt::Display for Signal {
    /// Writes the name as gunicorn's log has it: `hup`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hup => "hup",
            Self::Int => "int",
            Self::Quit => "quit",
            Self::Term => "term",
            Self::Ttin => "ttin",
            Self::Ttou => "ttou",
            Self::Urg => "urg",
            Self::Usr1 => "usr1",
            Self::Usr2 => "usr2",
            Self::Winch => "winch",
        })
    }
}

/// Handlers for a set of signals, until it is dropped.
///
/// Afterwards those signals do nothing rather than what they did before: signal-hook keeps its
/// handler installed. In a child that is what lets it drop its parent's and make its own without
/// a moment in which SIGTERM kills it.
#[derive(Debug)]
pub(crate) struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
}

impl Signals {
    /// What an arbiter receives.
    pub(crate) const ARBITER: &[Number] = &[
        Number::SIGCHLD,
        Number::SIGHUP,
        Number::SIGINT,
        Number::SIGQUIT,
        Number::SIGTERM,
        Number::SIGTTIN,
        Number::SIGTTOU,
        Number::SIGURG,
        Number::SIGUSR1,
        Number::SIGUSR2,
        Number::SIGWINCH,
    ];
    /// What a worker receives. What only its arbiter acts on does nothing here, so that a hang-up
    /// or a resize of the terminal, which goes to the whole process group, harms no worker.
    pub(crate) const WORKER: &[Number] = &[
        Number::SIGABRT,
        Number::SIGINT,
        Number::SIGQUIT,
        Number::SIGTERM,
        Number::SIGURG,
        Number::SIGUSR1,
    ];

    pub(crate) fn new(signals: &[Number]) -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        let numbers = signals.iter().map(|signal| *signal as i32);
        Ok(Self { delivery: SignalDelivery::with_pipe(read, write, SignalOnly, numbers)? })
    }

    /// The signals that arrived since the last call, each once. The pipe is emptied *before* the
    /// facts are read: whatever arrives in between wakes again.
    pub(crate) fn pending(&mut self) -> impl Iterator<Item = Number> + use<> {
        self.delivery.pending().filter_map(|number| Number::try_from(number).ok())
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}

/// A worker's boot, during which a signal to stop ends the process on the spot.
///
/// A worker that boots runs code that knows nothing of its arbiter, an import for instance, and
/// nobody would read what its [`Signals`] received.
#[derive(Debug)]
pub(crate) struct Boot {
    under_way: Arc<AtomicBool>,
}

impl Boot {
    /// In the child, with all signals blocked.
    pub(crate) fn new() -> io::Result<Self> {
        let under_way = Arc::new(AtomicBool::new(true));
        for signal in [Number::SIGINT, Number::SIGQUIT, Number::SIGTERM] {
            register_conditional_shutdown(signal as i32, 0, Arc::clone(&under_way))?;
        }
        Ok(Self { under_way })
    }

    /// From now on signals are received, and nothing more.
    pub(crate) fn complete(&self) {
        self.under_way.store(false, Ordering::SeqCst);
    }
}
