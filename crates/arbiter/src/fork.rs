//! How a child comes to be, and the moment around it.

use std::io;
use std::mem::MaybeUninit;
use std::process::{ExitCode, Termination};
use std::ptr;

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal as Number, pthread_sigmask, signal};
use nix::unistd::ForkResult;

use crate::{ExitStatus, Halt, Pid};

/// How a child comes to be.
///
/// An embedded interpreter has to be told of a fork; [`SystemForker`] is for everyone else.
pub trait Forker {
    /// Forks the calling process. It is called with all signals blocked.
    ///
    /// # Errors
    ///
    /// What the system says; the arbiter tries again later.
    fn fork(&mut self) -> io::Result<Fork>;
}

/// On which side of a fork one is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fork {
    /// In the process that forked.
    Parent {
        /// The new process.
        child: Pid,
    },
    /// In the new process.
    Child,
}

/// `fork(2)`, and nothing else.
///
/// Threads of the parent do not exist in the child, and a lock that one of them held is held
/// there for ever: fork before you start threads.
///
/// ```no_run
/// use rgunicorn_arbiter::{Fork, Forker, SystemForker};
///
/// match SystemForker.fork()? {
///     Fork::Parent { child } => println!("{child} was born"),
///     Fork::Child => println!("hello"),
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemForker;

impl Forker for SystemForker {
    fn fork(&mut self) -> io::Result<Fork> {
        #[expect(unsafe_code, reason = "fork(2) has no safe interface")]
        // SAFETY: with one thread, a fork copies a consistent process. With more, glibc still keeps
        // its own locks (malloc, stdio) consistent in the child; other locks may stay held, which
        // blocks but breaks no memory, and which the type's documentation leaves to the caller.
        let forked = unsafe { nix::unistd::fork() }?;
        Ok(match forked {
            ForkResult::Parent { child } => Fork::Parent { child: child.into() },
            ForkResult::Child => Fork::Child,
        })
    }
}

/// How a process that came out of [`Arbiter::run`](crate::Arbiter::run) ends: return it from
/// `main`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "the process is to end with this code"]
pub struct Exit {
    code: u8,
    is_child: bool,
}

impl Exit {
    pub(crate) fn of_arbiter(halt: Halt) -> Self {
        Self { code: halt.code(), is_child: false }
    }

    pub(crate) fn of_worker(status: ExitStatus) -> Self {
        let code = match status {
            ExitStatus::Exited(code) => u8::try_from(code).unwrap_or(u8::MAX),
            ExitStatus::Signaled(_) => u8::MAX,
        };
        Self { code, is_child: true }
    }

    /// The code to exit with: 0, or gunicorn's 3 (boot), 4 (application) or 255 (failed later).
    pub fn code(self) -> u8 {
        self.code
    }

    /// Whether this is a worker, and not the process that called `run`.
    pub fn is_child(self) -> bool {
        self.is_child
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

/// Blocks all signals of the calling thread until it is dropped: what is sent to a new child in
/// the meantime waits until that has handlers of its own.
///
/// ```
/// use rgunicorn_arbiter::SignalMask;
///
/// let mask = SignalMask::block_all()?;
/// // … fork, and set up handlers in the child …
/// drop(mask);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "signals are blocked until it is dropped"]
pub struct SignalMask {
    previous: SigSet,
}

impl SignalMask {
    /// Blocks them.
    ///
    /// # Errors
    ///
    /// What the system says, which has no reason to refuse.
    pub fn block_all() -> io::Result<Self> {
        let mut previous = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut previous))?;
        Ok(Self { previous })
    }
}

impl Drop for SignalMask {
    fn drop(&mut self) {
        let restored = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.previous), None);
        debug_assert_eq!(restored, Ok(()), "the mask came from the kernel");
    }
}

/// Makes a write to a closed connection an error and not a death. Rust's runtime does so before
/// `main`; a Python interpreter that hosts this code as a module may not.
pub(crate) fn ignore_broken_pipes() -> io::Result<()> {
    #[expect(unsafe_code, reason = "sigaction(2) has no safe interface")]
    // SAFETY: SIG_IGN runs no code.
    unsafe { signal(Number::SIGPIPE, SigHandler::SigIgn) }?;
    Ok(())
}

/// The address of the signal's handler, by which handlers can be told apart.
pub(crate) fn handler_of(number: Number) -> io::Result<usize> {
    let mut action = MaybeUninit::<nix::libc::sigaction>::uninit();
    #[expect(unsafe_code, reason = "sigaction(2) has no safe interface")]
    // SAFETY: without a new action nothing changes; the old one is written to a place that is
    // large enough for it.
    let result = unsafe { nix::libc::sigaction(number as i32, ptr::null(), action.as_mut_ptr()) };
    nix::errno::Errno::result(result)?;
    #[expect(unsafe_code, reason = "sigaction(2) has no safe interface")]
    // SAFETY: the call succeeded, so the kernel has written the action.
    let action = unsafe { action.assume_init() };
    Ok(action.sa_sigaction)
}

/// Makes the signal do what it does by default.
pub(crate) fn restore_default(number: Number) -> io::Result<()> {
    #[expect(unsafe_code, reason = "sigaction(2) has no safe interface")]
    // SAFETY: SIG_DFL runs no code.
    unsafe { signal(number, SigHandler::SigDfl) }?;
    Ok(())
}
