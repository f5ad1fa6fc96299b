//! Process ids, and how processes end.

use std::fmt;

/// The id of a process.
///
/// ```
/// use rgunicorn_arbiter::Pid;
///
/// assert_eq!(Pid::this().to_string(), std::process::id().to_string());
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Pid(i32);

impl Pid {
    /// The id `raw`, as `fork` and `getpid` return it.
    pub const fn from_raw(raw: i32) -> Self {
        Self(raw)
    }

    /// The calling process.
    pub fn this() -> Self {
        nix::unistd::getpid().into()
    }

    /// The parent of the calling process: another one as soon as the parent is dead.
    pub(crate) fn parent() -> Self {
        nix::unistd::getppid().into()
    }

    /// The number, positive for every real process.
    pub const fn as_raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<nix::unistd::Pid> for Pid {
    fn from(pid: nix::unistd::Pid) -> Self {
        Self(pid.as_raw())
    }
}

impl From<Pid> for nix::unistd::Pid {
    fn from(pid: Pid) -> Self {
        Self::from_raw(pid.0)
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExitStatus {
    /// It returned this code, 0 to 255.
    Exited(i32),
    /// This signal killed it, by its number.
    Signaled(i32),
}

impl ExitStatus {
    /// Exit code of a worker that could not boot, as gunicorn's `WORKER_BOOT_ERROR`.
    pub const BOOT_ERROR: Self = Self::Exited(3);
    /// Exit code of a worker whose application could not be loaded, as gunicorn's `APP_LOAD_ERROR`.
    pub const APP_LOAD_ERROR: Self = Self::Exited(4);
    /// Exit code of a worker that failed while it served.
    pub(crate) const FAILED: Self = Self::Exited(255);

    /// Whether the process returned 0.
    pub fn success(self) -> bool {
        self == Self::Exited(0)
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exited(code) => write!(f, "code {code}"),
            Self::Signaled(number) => match nix::sys::signal::Signal::try_from(number) {
                Ok(signal) => f.write_str(signal.as_str()),
                // Real-time signals have no names of their own.
                Err(_) => write!(f, "signal {number}"),
            },
        }
    }
}
