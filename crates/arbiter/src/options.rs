//! What an arbiter is asked to keep alive; data only.

use std::time::Duration;

use crate::{Address, Plan};

/// What to bind and how many workers to keep; names and defaults are gunicorn's.
///
/// Nothing is bound before [`Arbiter::run`](crate::Arbiter::run), so that `Options` can be made,
/// compared and thrown away.
///
/// ```
/// use std::time::Duration;
/// use rgunicorn_arbiter::Options;
///
/// let options = Options::new(4)
///     .bind("127.0.0.1:8000".parse()?)
///     .bind("unix:/run/app.sock".parse()?)
///     .graceful_timeout(Duration::from_secs(10));
/// # Ok::<(), rgunicorn_arbiter::AddressError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    pub(crate) addresses: Vec<Address>,
    pub(crate) backlog: u32,
    pub(crate) plan: Plan,
    pub(crate) scheme: &'static str,
}

impl Options {
    /// The most workers an arbiter keeps: during a reload two generations share 1024 slots.
    pub const WORKERS_MAX: u32 = 512;

    /// Options for this many workers, 0 to [`WORKERS_MAX`](Self::WORKERS_MAX), that listen nowhere
    /// yet.
    pub fn new(workers: u32) -> Self {
        Self { addresses: Vec::new(), backlog: 2048, plan: Plan::new(workers), scheme: "http" }
    }

    /// Adds an address to listen at; the order is kept. An address that is there already is left.
    #[must_use]
    pub fn bind(mut self, address: Address) -> Self {
        if !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
        self
    }

    /// Connections that the kernel keeps before they are accepted. Default: 2048; the kernel caps
    /// it, on Linux at `net.core.somaxconn`.
    #[must_use]
    pub fn backlog(mut self, backlog: u32) -> Self {
        self.backlog = backlog;
        self
    }

    /// A worker that has been ready and gives no heartbeat for this long is replaced. `None`, or
    /// zero as gunicorn has it, never. Default: 30 seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.plan.timeout = timeout.filter(|timeout| !timeout.is_zero());
        self
    }

    /// How long a worker may finish its work after it was asked to stop, before it is killed.
    /// Default: 30 seconds.
    #[must_use]
    pub fn graceful_timeout(mut self, graceful_timeout: Duration) -> Self {
        self.plan.graceful_timeout = graceful_timeout;
        self
    }

    /// How the log shows TCP listeners: `http` gives `http://127.0.0.1:8000`. Default: `http`.
    #[must_use]
    pub fn scheme(mut self, scheme: &'static str) -> Self {
        self.scheme = scheme;
        self
    }
}
