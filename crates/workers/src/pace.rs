//! How fast the application has been lately.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::tick::TICK;

/// A moving average of the application's calls; the last eight or so count.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// In nanoseconds. Threads may overwrite each other's part in it, which an average can bear.
    average: AtomicU64,
}

impl Pace {
    pub(crate) fn record(&self, call: Duration) {
        let call = u64::try_from(call.as_nanos()).unwrap_or(u64::MAX);
        let average = self.average.load(Ordering::Relaxed);
        self.average.store(average - average / 8 + call / 8, Ordering::Relaxed);
    }

    /// Whether the next call will most likely outlast a tick, so that nobody need wait for that.
    pub(crate) fn is_slow(&self) -> bool {
        u128::from(self.average.load(Ordering::Relaxed)) > TICK.as_nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_application() {
        let pace = Pace::default();
        pace.record(Duration::from_millis(5));
        assert!(!pace.is_slow(), "one slow call is no habit");
        for _ in 0..4 {
            pace.record(Duration::from_millis(5));
        }
        assert!(pace.is_slow());
        for _ in 0..30 {
            pace.record(Duration::from_micros(50));
        }
        assert!(!pace.is_slow());
        pace.record(Duration::MAX);
        assert!(pace.is_slow(), "no overflow");
    }
}
