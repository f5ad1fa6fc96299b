//! Deaths in a row: what makes a crash loop of them.

use std::time::Duration;

use crate::Moment;

/// Workers that died too soon after their start, one after the other, whichever they were.
#[derive(Debug)]
pub(super) struct Streak {
    since: Moment,
    latest: Moment,
    deaths: u32,
}

impl Streak {
    pub(super) fn new(now: Moment) -> Self {
        Self { since: now, latest: now, deaths: 0 }
    }

    /// One more: how many there were, and within which time.
    pub(super) fn count(&mut self, now: Moment) -> (u32, Duration) {
        if now.saturating_since(self.latest) > GAP_MAX {
            *self = Self::new(now);
        }
        if self.deaths == 0 {
            self.since = now;
        }
        self.latest = now;
        self.deaths = self.deaths.saturating_add(1);
        (self.deaths, now.saturating_since(self.since))
    }
}

/// Twice the longest back-off: who dies later than that after the last one began anew.
const GAP_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_a_streak() {
        let start = Moment::from_start(Duration::from_secs(1000));
        let mut streak = Streak::new(start);
        for (second, deaths, within) in [(100, 1, 0), (130, 2, 30), (190, 3, 90), (251, 1, 0)] {
            let counted = streak.count(start + Duration::from_secs(second));
            assert_eq!(counted, (deaths, Duration::from_secs(within)));
        }
    }
}
