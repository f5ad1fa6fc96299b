//! A millisecond's tick that costs nothing while nobody needs it, by `timerfd_create(2)`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// Wakes the monitor once, a while after it was armed.
///
/// A thread that leaves a wait arms it, and disarms it before it waits again: an idle worker has no
/// wake-ups, and a request at a time costs two system calls but no change of thread.
#[derive(Debug)]
pub(crate) struct Tick {
    /// It will fire within a tick, or has fired and nobody has taken note.
    armed: AtomicBool,
    timer: TimerFd,
}

/// An application call that takes longer gets the monitor's attention. Two milliseconds would
/// serve, five not; 0.2 cost more than they give.
pub(crate) const TICK: Duration = Duration::from_millis(1);

impl Tick {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        Ok(Self { armed: AtomicBool::new(false), timer })
    }

    /// Whether the monitor wakes within a tick.
    pub(crate) fn is_armed(&self) -> bool {
        self.armed.load(Ordering::SeqCst)
    }

    /// Fires once, after this long.
    pub(crate) fn arm(&self, after: Duration) {
        self.armed.store(after <= TICK, Ordering::SeqCst);
        let once = Expiration::OneShot(TimeSpec::from_duration(after.max(Duration::from_nanos(1))));
        if let Err(error) = self.timer.set(once, TimerSetTimeFlags::empty()) {
            log::error!("cannot set a timer: {error}");
        }
    }

    pub(crate) fn disarm(&self) {
        self.armed.store(false, Ordering::SeqCst);
        if let Err(error) = self.timer.unset() {
            log::error!("cannot unset a timer: {error}");
        }
    }

    /// Takes note that it fired, if it did.
    pub(crate) fn drain(&self) {
        match self.timer.wait() {
            Ok(()) => self.armed.store(false, Ordering::SeqCst),
            Err(Errno::EAGAIN) => {}
            Err(error) => log::error!("cannot read a timer: {error}"),
        }
    }
}

impl AsFd for Tick {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
