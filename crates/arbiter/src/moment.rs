//! Points in time that processes agree on.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use nix::time::ClockId;

/// A point on the system's monotonic clock, comparable between the processes of one machine.
///
/// [`std::time::Instant`] cannot be written into shared memory; this can.
///
/// ```
/// use std::time::Duration;
/// use rgunicorn_arbiter::Moment;
///
/// let now = Moment::now();
/// let later = now + Duration::from_secs(1);
/// assert_eq!(later.saturating_since(now), Duration::from_secs(1));
/// assert_eq!(now.saturating_since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub struct Moment(Duration);

impl Moment {
    /// The present, by `CLOCK_MONOTONIC`.
    pub fn now() -> Self {
        // The call fails for unknown clocks only, and this one is known since Linux 2.0.
        ClockId::CLOCK_MONOTONIC.now().map_or(Self(Duration::ZERO), |now| Self(now.into()))
    }

    /// The present to within a tick of the kernel, 1 to 10 ms: as good for whoever counts seconds,
    /// at a tenth of the price in a virtual machine.
    pub fn coarse() -> Self {
        let coarse = ClockId::CLOCK_MONOTONIC_COARSE.now();
        coarse.map_or_else(|_| Self::now(), |now| Self(now.into()))
    }

    /// The moment so long after the clock's start: for tests, and for clocks of one's own.
    pub const fn from_start(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// The time from `earlier` to this moment, zero if that is later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Milliseconds since the clock's start: what a word of shared memory, or a message to another
    /// process, can hold of it.
    ///
    /// ```
    /// use rgunicorn_arbiter::Moment;
    ///
    /// assert_eq!(Moment::from_millis(1500).as_millis(), 1500);
    /// ```
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// The moment so many milliseconds after the clock's start.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// Saturates: a moment too far away to count is the last one.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Moment({:?})", self.0)
    }
}
