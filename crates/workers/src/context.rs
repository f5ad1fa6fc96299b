//! What every connection of a worker shares.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rgunicorn_arbiter::{Address, Heartbeat};

use crate::options::Options;
use crate::poller::Poller;
use crate::spool::Spools;

/// Outlives the reactor as long as a handler holds a connection.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) heartbeat: Heartbeat,
    /// The addresses that the listeners are bound to, in their order.
    pub(crate) locals: Vec<Arc<Address>>,
    pub(crate) options: Options,
    pub(crate) poller: Poller,
    pub(crate) spools: Spools,
    /// Readable when the arbiter has told the worker something.
    pub(crate) wake: OwnedFd,
}

impl Context {
    /// Whether a command waits. It is most likely one to stop, so a response that begins now had
    /// better be its connection's last.
    pub(crate) fn is_told(&self) -> bool {
        let mut fds = [PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }
}

/// A request that takes longer is worth a system call to look for commands; the reactor looked
/// just before a shorter one.
pub(crate) const SLOW_REQUEST: Duration = Duration::from_millis(1);
