//! The decision maker.

use std::time::Duration;

/// How many workers there shall be, and how patient their arbiter is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// Workers to keep alive.
    pub workers: u32,
    /// Silence after which a ready worker is replaced; `None`: never.
    pub timeout: Option<Duration>,
    /// Time between the request to stop and the kill.
    pub graceful_timeout: Duration,
}
