//! How long ago the worker gave its last sign of life, and when that begins to matter.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rgunicorn_arbiter::Heartbeat;

/// The silence of a worker, as its arbiter hears it.
#[derive(Debug)]
pub(crate) struct Silence {
    heartbeat: Heartbeat,
    /// The present one has been noticed.
    is_noticed: AtomicBool,
    /// What ends the worker.
    timeout: Option<Duration>,
}

/// The log gets to know where the worker hangs so long before the timeout, or a quarter of it. The
/// arbiter's first signal changes what is to be seen, and it takes half a second to see it if the
/// interpreter's lock is not to be had.
const FOREWARNING: Duration = Duration::from_secs(1);

impl Silence {
    pub(crate) fn new(heartbeat: Heartbeat, timeout: Option<Duration>) -> Self {
        Self { heartbeat, is_noticed: AtomicBool::new(false), timeout }
    }

    /// The timeout, if the worker has been silent for nearly that long; once for each silence.
    pub(crate) fn notice(&self) -> Option<Duration> {
        let timeout = self.timeout?;
        let is_long = self.heartbeat.silence() >= noticed_after(timeout);
        // Written when it changes, that is hardly ever.
        let changes = self.is_noticed.load(Ordering::Relaxed) != is_long
            && self.is_noticed.swap(is_long, Ordering::Relaxed) != is_long;
        (changes && is_long).then_some(timeout)
    }

    /// Whether the arbiter is ending the worker.
    pub(crate) fn is_fatal(&self) -> bool {
        self.timeout.is_some_and(|timeout| self.heartbeat.silence() >= timeout)
    }

    /// How long nothing changes about that, unless the worker gives a sign of life.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        let (timeout, silence) = (self.timeout?, self.heartbeat.silence());
        if !self.is_noticed.load(Ordering::Relaxed) {
            return Some(noticed_after(timeout).saturating_sub(silence));
        }
        timeout.checked_sub(silence).filter(|left| !left.is_zero())
    }
}

fn noticed_after(timeout: Duration) -> Duration {
    timeout.saturating_sub(FOREWARNING.min(timeout / 4))
}
