//! How fast the application has been lately.

use std::time::Duration;

/// A moving average of the handler's calls; the last eight or so count.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    average: Duration,
}

/// From here on a connection that stays with this worker may wait noticeably for its turn.
const SLOW: Duration = Duration::from_millis(5);

impl Pace {
    pub(crate) fn record(&mut self, call: Duration) {
        self.average = self.average.saturating_mul(7).saturating_add(call) / 8;
    }

    /// Whether a client does better to come by a new connection, which an idle sibling accepts,
    /// than to wait here for its next request's turn.
    pub(crate) fn is_slow(&self) -> bool {
        self.average > SLOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_application() {
        let mut pace = Pace::default();
        pace.record(Duration::from_millis(20));
        assert!(!pace.is_slow(), "one slow call is no habit");
        for _ in 0..4 {
            pace.record(Duration::from_millis(20));
        }
        assert!(pace.is_slow());
        for _ in 0..20 {
            pace.record(Duration::from_micros(50));
        }
        assert!(!pace.is_slow());
    }
}
