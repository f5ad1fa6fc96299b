//! What every connection of a worker shares.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rgunicorn_arbiter::{Address, Heartbeat};

use crate::options::Options;
use crate::poller::Poller;

/// Outlives the reactor as long as a handler holds a connection.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) heartbeat: Heartbeat,
    /// The addresses that the listeners are bound to, in their order.
    pub(crate) locals: Vec<Arc<Address>>,
    pub(crate) options: Options,
    pub(crate) poller: Poller,
    /// Readable when the arbiter has told the worker something.
    pub(crate) wake: OwnedFd,
}

/// What began later than this was begun by a reactor that had looked for commands just before.
const RECENT: Duration = Duration::from_millis(1);

impl Context {
    /// Whether a command has come in the midst of a request that began at `started`. It is most
    /// likely to stop, so the response had better be its connection's last. Only slow requests
    /// pay the system call for the look.
    pub(crate) fn was_told_since(&self, started: Instant) -> bool {
        if started.elapsed() < RECENT {
            return false;
        }
        let mut fds = [PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }
}
