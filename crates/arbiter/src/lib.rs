#![doc = include_str!("../README.md")]

#[cfg(not(target_os = "linux"))]
compile_error!("rgunicorn-arbiter needs Linux: epoll(7) and accept4(2)");

mod account;
mod address;
mod arbiter;
mod cause;
mod daemon;
mod detach;
mod error;
mod fork;
mod hooks;
mod inherit;
mod listener;
mod mailbox;
mod memory;
mod moment;
mod notify;
mod oom;
mod options;
mod pid;
mod pidfile;
mod poll;
mod privileges;
mod process;
mod program;
mod report;
mod shared;
mod signals;
mod source;
mod supervisor;
mod worker;

pub use account::{AccountError, Group, User};
pub use address::{Address, AddressError};
pub use arbiter::Arbiter;
pub use cause::{Cause, KillReason};
pub use daemon::Daemon;
pub use detach::Detach;
pub use error::Error;
pub use fork::{Exit, Fork, Forker, SignalMask, SystemForker};
pub use hooks::{HookError, Hooks, WorkerInfo};
pub use inherit::InheritError;
pub use listener::{Connection, Listener};
pub use mailbox::Mailbox;
pub use memory::{MemoryKind, MemoryKindError};
pub use moment::Moment;
pub use options::Options;
pub use pid::{ExitStatus, Pid};
pub use pidfile::PidfileError;
pub use process::WorkerProcess;
pub use program::Program;
pub use report::{Halt, Report, Severity};
pub use shared::{Heartbeat, Words};
pub use signals::Signal;
pub use source::{Handle, Source, WorkerStatus};
pub use supervisor::{Action, Event, Plan, ServiceState, Supervisor};
pub use worker::{Command, ReloadError, RetireReason, Worker, WorkerError, WorkerId};

/// The target of all log records, under which gunicorn's error log is known.
const LOG: &str = "rgunicorn.error";
/// The target of records that gunicorn logs as critical, a level that `log` does not have.
const LOG_CRITICAL: &str = "rgunicorn.critical";
