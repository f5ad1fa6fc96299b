//! What an arbiter is asked to keep alive; data only.

use std::path::PathBuf;
use std::time::Duration;

use crate::privileges::Privileges;
use crate::{Address, Group, MemoryKind, Plan, Program, User};

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
    /// Permission bits of the files of Unix sockets, 0 to 0o777; `None`: as `umask` says.
    pub(crate) bind_mode: Option<u32>,
    pub(crate) mailbox: bool,
    pub(crate) memory_kind: MemoryKind,
    pub(crate) pidfile: Option<PathBuf>,
    pub(crate) plan: Plan,
    pub(crate) privileges: Privileges,
    pub(crate) reuse_port: bool,
    pub(crate) scheme: &'static str,
    /// Permission bits that the files of Unix sockets do not get, 0 to 0o777.
    pub(crate) umask: u32,
    pub(crate) upgrade: Option<Program>,
    pub(crate) words_per_worker: usize,
}

impl Options {
    /// The most workers an arbiter keeps: during a reload two generations share
    /// [`WorkerId::SLOTS`](crate::WorkerId::SLOTS).
    pub const WORKERS_MAX: u32 = 512;

    /// The most words of a worker: 32 KiB of memory.
    pub const WORDS_MAX: usize = 4096;

    /// Options for this many workers, 0 to [`WORKERS_MAX`](Self::WORKERS_MAX), that listen nowhere
    /// yet.
    pub fn new(workers: u32) -> Self {
        Self {
            addresses: Vec::new(),
            backlog: 2048,
            bind_mode: None,
            mailbox: false,
            memory_kind: MemoryKind::default(),
            pidfile: None,
            plan: Plan::new(workers),
            privileges: Privileges::default(),
            reuse_port: false,
            scheme: "http",
            umask: 0,
            upgrade: None,
            words_per_worker: 0,
        }
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

    /// Whether each worker listens at TCP sockets of its own, among which the kernel spreads new
    /// connections, `SO_REUSEPORT` of socket(7). The arbiter keeps the ports. Default: no.
    ///
    /// The kernel spreads by the client's address and not by who is idle; what has joined the queue
    /// of a worker waits for that one, and is reset if it dies. A worker that stops answers who waits
    /// there, but whoever comes between its last look and its end is reset: nobody else could
    /// accept him. Sockets that are open already stay as they are in a reload.
    #[must_use]
    pub fn reuse_port(mut self, reuse_port: bool) -> Self {
        self.reuse_port = reuse_port;
        self
    }

    /// A worker that is not ready so long after its fork is replaced. `None`, or zero, never: a boot
    /// may take as long as it likes, as with gunicorn. Default: never.
    #[must_use]
    pub fn boot_timeout(mut self, boot_timeout: Option<Duration>) -> Self {
        self.plan.boot_timeout = boot_timeout.filter(|timeout| !timeout.is_zero());
        self
    }

    /// Whether the arbiter runs in the background, so that SIGWINCH means to stop all workers, and
    /// not that a terminal has changed its size. TTIN and HUP bring workers back. Default: no.
    #[must_use]
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.plan.daemon = daemon;
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

    /// A worker that has served for this long is replaced; with `jitter` for up to so much longer,
    /// each another part of it, so that not all go at once. `None`, or zero, never. Default: never.
    #[must_use]
    pub fn max_worker_lifetime(mut self, lifetime: Option<Duration>, jitter: Duration) -> Self {
        self.plan.max_worker_lifetime = lifetime.filter(|lifetime| !lifetime.is_zero());
        self.plan.max_worker_lifetime_jitter = jitter;
        self
    }

    /// A worker that takes more bytes of memory of this kind is replaced. The arbiter looks when it
    /// becomes ready and every ten seconds from then on. One that takes more from the start stays,
    /// for its successor would take no less. `None`, or 0, never. Default: never.
    #[must_use]
    pub fn max_worker_memory(mut self, bytes: Option<u64>, kind: MemoryKind) -> Self {
        self.plan.max_worker_memory = bytes.filter(|bytes| *bytes > 0);
        self.memory_kind = kind;
        self
    }

    /// A file for the arbiter's pid, as decimal digits and a line feed, readable by everyone; its
    /// directory must exist. Default: none.
    ///
    /// It is written before anything is bound and removed at the end, unless another process has
    /// put its own pid there. A reload writes it anew, maybe elsewhere. An arbiter refuses to start
    /// when the file holds the pid of another process that lives; any other content is overwritten.
    #[must_use]
    pub fn pidfile(mut self, pidfile: Option<PathBuf>) -> Self {
        self.pidfile = pidfile;
        self
    }

    /// Whom workers become, after `post_fork` and before they boot; also the owner of Unix sockets.
    /// The arbiter itself stays as it was launched, and so do workers by default.
    ///
    /// Groups that the arbiter has been given beyond its own stay with the workers: see
    /// [`initgroups`](Self::initgroups). A worker that cannot become who it is to be fails to boot.
    #[must_use]
    pub fn user(mut self, user: Option<User>) -> Self {
        self.privileges.user = user;
        self
    }

    /// The group that workers become; also the group of Unix sockets. Default: that of the arbiter.
    #[must_use]
    pub fn group(mut self, group: Option<Group>) -> Self {
        self.privileges.group = group;
        self
    }

    /// Whether workers exchange the further groups of the arbiter for those of which
    /// [`user`](Self::user) is a member, and [`group`](Self::group). Default: no.
    #[must_use]
    pub fn initgroups(mut self, initgroups: bool) -> Self {
        self.privileges.initgroups = initgroups;
        self
    }

    /// Permissions that the files of Unix sockets do not get, 0 to 0o777; higher bits do not count.
    /// Default: 0, everybody may connect.
    ///
    /// As with gunicorn, the files that workers write are another matter: these keep the umask with
    /// which the arbiter was launched.
    #[must_use]
    pub fn umask(mut self, umask: u32) -> Self {
        self.umask = umask & 0o777;
        self
    }

    /// Permissions of the files of Unix sockets, 0 to 0o777, whatever [`umask`](Self::umask) says;
    /// higher bits do not count. To connect one needs to write. Default: `None`, as `umask` says.
    #[must_use]
    pub fn bind_mode(mut self, bind_mode: Option<u32>) -> Self {
        self.bind_mode = bind_mode.map(|mode| mode & 0o777);
        self
    }

    /// What USR2 executes, beside this process and with its sockets, to replace it; a reload changes
    /// it too. Default: none, USR2 is refused.
    ///
    /// The new arbiter is a child of the old one, with a pid file of its own: the old one's name and
    /// `.2`. Both serve, until one of them is told to stop. When that is the old one, the new one is
    /// promoted, and its pid file renamed.
    #[must_use]
    pub fn upgrade(mut self, program: Option<Program>) -> Self {
        self.upgrade = program;
        self
    }

    /// How the log shows TCP listeners: `http` gives `http://127.0.0.1:8000`. Default: `http`.
    #[must_use]
    pub fn scheme(mut self, scheme: &'static str) -> Self {
        self.scheme = scheme;
        self
    }

    /// Whether workers can leave descriptors for each other: see
    /// [`WorkerProcess::mailbox`](crate::WorkerProcess::mailbox). A reload does not change it.
    /// Default: no.
    #[must_use]
    pub fn mailbox(mut self, mailbox: bool) -> Self {
        self.mailbox = mailbox;
        self
    }

    /// How many numbers each worker shows to its siblings, 0 to [`WORDS_MAX`](Self::WORDS_MAX): see
    /// [`WorkerProcess::words`](crate::WorkerProcess::words). A reload does not change it.
    /// Default: 0.
    #[must_use]
    pub fn words_per_worker(mut self, words_per_worker: usize) -> Self {
        self.words_per_worker = words_per_worker;
        self
    }
}
