//! The settings: gunicorn's names, defaults and rules, from several sources into one value.
//!
//! Each setting is one row of a table ([`Definition`]). The sources become [`Layer`]s of [`Raw`]
//! values, and [`Settings::resolve`] lays them over the defaults. What gunicorn knows and this
//! server does not is a table too ([`NotYet`]), so that it can be refused by name, and so is what
//! needs nothing to be done ([`Needless`]).

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rgunicorn_arbiter::{Address, Group, MemoryKind, User};

use crate::access_format::AccessFormat;

mod bind;
mod def;
mod error;
mod forwarded;
mod help;
mod listing;
mod not_yet;
mod raw;
mod reference;
mod resolve;
mod table;
mod value;

pub use def::{Definition, Environment, Needless, NotYet, Rejection, Section, Takes};
pub use error::SettingError;
pub use forwarded::ForwardedAllowIps;
pub(crate) use help::USAGE;
pub use help::help;
pub use listing::listing;
pub use not_yet::{HOOKS, NEEDLESS, NOT_YET};
pub use raw::{Layer, Origin, Raw};
pub use reference::reference;
pub use table::SETTINGS;

#[cfg(test)]
mod tests;

/// Everything the user may decide, resolved. Data only.
///
/// The default holds the defaults of gunicorn, except that it has no application.
///
/// ```
/// use std::time::Duration;
/// use rgunicorn::settings::Settings;
///
/// let settings = Settings::default();
/// assert_eq!(settings.timeout, Some(Duration::from_secs(30)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "gunicorn has that many switches")]
pub struct Settings {
    /// What the lines of the access log show.
    pub access_log_format: AccessFormat,
    /// Where the access log goes; `None` keeps none.
    pub accesslog: Option<LogTarget>,
    /// Connections that the kernel keeps before they are accepted.
    pub backlog: u32,
    /// Listeners, at least one.
    pub bind: Vec<Address>,
    /// Permissions of Unix sockets, 0 to 0o777; `None` is what `umask` leaves.
    pub bind_mode: Option<u32>,
    /// Longest silence within a request's body.
    pub body_timeout: Duration,
    /// How long a worker may take until it serves; `None` is without limit.
    pub boot_timeout: Option<Duration>,
    /// Send standard output and standard error to the error log, if that is a file.
    pub capture_output: bool,
    /// The directory that the server runs in, on `sys.path` too. Absolute once
    /// [`load`](crate::load::load) has resolved it.
    pub chdir: PathBuf,
    /// Load the configuration and the application, then exit.
    pub check_config: bool,
    /// The config file; `None` is `./gunicorn.conf.py` if that exists.
    pub config: Option<ConfigLocation>,
    /// What the processes are called without `proc_name`; `None` is the application.
    pub default_proc_name: Option<String>,
    /// Run in the background.
    pub daemon: bool,
    /// In the background, keep standard output and standard error.
    pub enable_stdio_inheritance: bool,
    /// Where the error log goes.
    pub errorlog: LogTarget,
    /// The peers whose `secure_scheme_headers` count.
    pub forwarded_allow_ips: ForwardedAllowIps,
    /// How long workers may finish their requests once told to stop.
    pub graceful_timeout: Duration,
    /// The group of the workers; `None` is that of the arbiter.
    pub group: Option<Group>,
    /// How long a request's head may take.
    pub header_timeout: Duration,
    /// Whether workers join all groups of their user.
    pub initgroups: bool,
    /// How long an idle connection waits for its next request; `None` closes after each response.
    pub keepalive: Option<Duration>,
    /// Bytes of a request body; `None` is without limit.
    pub limit_request_body: Option<u64>,
    /// Bytes of a header field, as gunicorn counts it: name, colon, value and line end.
    /// 0 is the most possible, [`Config::HEAD_LIMIT`](rgunicorn_http1::Config::HEAD_LIMIT).
    pub limit_request_field_size: usize,
    /// Header fields of a request, 0 to 32,768; 0 is the most possible.
    pub limit_request_fields: usize,
    /// Bytes of a request line without its line end. 0 is the most possible,
    /// [`Config::HEAD_LIMIT`](rgunicorn_http1::Config::HEAD_LIMIT).
    pub limit_request_line: usize,
    /// The least severe messages that the error log keeps.
    pub loglevel: LogLevel,
    /// Requests after which a worker is replaced; 0 never.
    pub max_requests: u64,
    /// The most that is added to `max_requests`, at random for each worker.
    pub max_requests_jitter: u64,
    /// Time for which a worker serves before it is replaced; `None` is without limit.
    pub max_worker_lifetime: Option<Duration>,
    /// The most that is added to `max_worker_lifetime`, another part of it for each worker.
    pub max_worker_lifetime_jitter: Duration,
    /// Bytes of memory above which a worker is replaced; `None` is without limit.
    pub max_worker_memory: Option<u64>,
    /// Which memory that is.
    pub max_worker_memory_kind: MemoryKind,
    /// Where the arbiter's pid is written, relative to `chdir`.
    pub pidfile: Option<PathBuf>,
    /// Load the application before the workers are forked.
    pub preload_app: bool,
    /// Print the configuration, then do as `check_config`.
    pub print_config: bool,
    /// What the processes are called; `None` is the application.
    pub proc_name: Option<String>,
    /// Directories to put before `sys.path`, in the order given.
    pub pythonpath: Vec<OsString>,
    /// Variables for the application: names, not empty, and values.
    pub raw_env: Vec<(OsString, OsString)>,
    /// How long a request may wait for the application; `None` is without limit.
    pub queue_timeout: Option<Duration>,
    /// Whether the application is called when all of a body is here.
    pub request_buffering: bool,
    /// How long the application may work on one request; `None` is without limit.
    pub request_timeout: Option<Duration>,
    /// Each worker listens at a socket of its own.
    pub reuse_port: bool,
    /// Names and values of the fields that say https.
    pub secure_scheme_headers: Vec<(String, String)>,
    /// Threads of each worker that call the application, 1 to [`Settings::THREADS_MAX`].
    pub threads: u32,
    /// A worker silent for longer is killed and replaced; `None` never.
    pub timeout: Option<Duration>,
    /// Permissions that Unix sockets do not give, 0 to 0o777.
    pub umask: u32,
    /// The user of the workers; `None` is that of the arbiter.
    pub user: Option<User>,
    /// The kind of workers.
    pub worker_class: WorkerClass,
    /// Connections that each worker holds at most.
    pub worker_connections: usize,
    /// Worker processes, 1 to [`Options::WORKERS_MAX`](rgunicorn_arbiter::Options::WORKERS_MAX).
    pub workers: u32,
    /// Longest time in which a client takes nothing of its response.
    pub write_timeout: Duration,
    /// The application, `module:attribute`. Empty only in the defaults:
    /// [`resolve`](Self::resolve) insists on one.
    pub wsgi_app: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            access_log_format: AccessFormat::default(),
            accesslog: None,
            backlog: 2048,
            bind: bind::default(),
            bind_mode: None,
            body_timeout: Duration::from_secs(30),
            boot_timeout: None,
            capture_output: false,
            chdir: PathBuf::from("."),
            check_config: false,
            config: None,
            default_proc_name: None,
            daemon: false,
            enable_stdio_inheritance: false,
            errorlog: LogTarget::Standard,
            forwarded_allow_ips: ForwardedAllowIps::default(),
            graceful_timeout: Duration::from_secs(30),
            group: None,
            header_timeout: Duration::from_secs(30),
            initgroups: false,
            keepalive: Some(Duration::from_secs(2)),
            limit_request_body: Some(1 << 30),
            limit_request_field_size: 8190,
            limit_request_fields: 100,
            limit_request_line: 4094,
            loglevel: LogLevel::Info,
            max_requests: 0,
            max_requests_jitter: 0,
            max_worker_lifetime: None,
            max_worker_lifetime_jitter: Duration::ZERO,
            max_worker_memory: None,
            max_worker_memory_kind: MemoryKind::Pss,
            pidfile: None,
            preload_app: false,
            print_config: false,
            proc_name: None,
            pythonpath: Vec::new(),
            raw_env: Vec::new(),
            queue_timeout: None,
            request_buffering: true,
            request_timeout: None,
            reuse_port: false,
            secure_scheme_headers: forwarded::default_scheme_headers(),
            threads: 1,
            timeout: Some(Duration::from_secs(30)),
            umask: 0,
            user: None,
            worker_class: WorkerClass::Sync,
            worker_connections: 10_000,
            workers: 1,
            write_timeout: Duration::from_secs(30),
            wsgi_app: String::new(),
        }
    }
}

/// Where a config file is: gunicorn's `PATH`, `file:PATH` or `python:MODULE`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigLocation {
    /// A Python file.
    File(PathBuf),
    /// A Python module, imported by its dotted name.
    Module(String),
}

impl fmt::Display for ConfigLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Module(name) => write!(f, "python:{name}"),
        }
    }
}

/// Where a log goes: gunicorn's `-` or a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// A file, appended to.
    File(PathBuf),
    /// The standard stream: standard error for the error log, standard output for the access log.
    Standard,
}

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Standard => f.write_str("-"),
        }
    }
}

/// gunicorn's log levels, the least severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Whatever may help to find a fault.
    Debug,
    /// The life of the server.
    Info,
    /// What an operator should look at.
    Warning,
    /// What went wrong.
    Error,
    /// A worker that hangs.
    Critical,
}

impl LogLevel {
    /// All levels, the least severe first.
    pub const ALL: [Self; 5] =
        [Self::Debug, Self::Info, Self::Warning, Self::Error, Self::Critical];
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        })
    }
}

/// The kinds of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerClass {
    /// Several application calls at a time in each process, by threads.
    Gthread,
    /// One application call at a time in each process.
    Sync,
}

impl fmt::Display for WorkerClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gthread => "gthread",
            Self::Sync => "sync",
        })
    }
}
