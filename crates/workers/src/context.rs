//! What every connection of a worker shares.

use std::sync::Arc;

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
}
