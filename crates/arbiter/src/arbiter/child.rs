//! The other side of the fork: one worker, from its first instruction to its exit code.

use std::any::Any;
use std::error::Error as StdError;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::logging::log_hook;
use crate::error::Chain;
use crate::fork::SignalMask;
use crate::privileges::Privileges;
use crate::process::Link;
use crate::shared::SharedPage;
use crate::{
    Exit, ExitStatus, Hooks, LOG, Listener, Mailbox, Pid, Plan, Worker, WorkerError, WorkerInfo,
    WorkerProcess, inherit,
};

pub(super) struct Child<H, W> {
    pub(super) info: WorkerInfo,
    pub(super) arbiter: Pid,
    pub(super) plan: Plan,
    pub(super) privileges: Privileges,
    pub(super) hooks: H,
    pub(super) worker: W,
    pub(super) listeners: io::Result<Vec<Listener>>,
    pub(super) page: Arc<SharedPage>,
    pub(super) mailbox: Option<Mailbox>,
    pub(super) notify: OwnedFd,
    pub(super) lifeline: OwnedFd,
}

impl<H: Hooks, W: Worker> Child<H, W> {
    /// The arbiter's handlers are gone; the mask is lifted as soon as this process has its own.
    pub(super) fn run(mut self, mask: SignalMask) -> Exit {
        let pid = Pid::this();
        self.info.pid = Some(pid);
        let (id, arbiter, page) = (self.info.id, self.arbiter, Arc::clone(&self.page));
        let link = Link::new(self.arbiter, self.lifeline, self.notify, self.page);
        drop(mask);
        inherit::forget();
        log::info!(target: LOG, "Booting worker with pid: {pid}");
        let process = link.and_then(|link| {
            Ok(WorkerProcess {
                id,
                age: self.info.age,
                workers: self.plan.workers,
                timeout: self.plan.timeout,
                listeners: self.listeners?,
                mailbox: self.mailbox,
                link,
            })
        });
        let served = serve(&self.info, &mut self.hooks, self.privileges, self.worker, process);
        let status = match served {
            Ok(()) => ExitStatus::Exited(0),
            Err(error) => {
                log_error(&error);
                error.exit_status(page.is_ready(id))
            }
        };
        log_hook("worker_exit", self.hooks.worker_exit(&self.info));
        if Pid::parent() != arbiter {
            log::info!(target: LOG, "Parent changed, shutting down: <Worker {pid}>");
        }
        log::info!(target: LOG, "Worker exiting (pid: {pid})");
        Exit::of_worker(status)
    }
}

fn serve(
    info: &WorkerInfo,
    hooks: &mut impl Hooks,
    privileges: Privileges,
    mut worker: impl Worker,
    process: io::Result<WorkerProcess>,
) -> Result<(), WorkerError> {
    let process = process?;
    hooks.post_fork(info).map_err(|error| WorkerError::Failed(error.into()))?;
    privileges.assume().map_err(|error| WorkerError::Failed(error.into()))?;
    // Nothing of the worker is used after a panic but what `main` drops.
    catch_unwind(AssertUnwindSafe(|| worker.run(process)))
        .unwrap_or_else(|panic| Err(WorkerError::Failed(panic_message(&*panic).into())))
}

/// What gunicorn prints: the words alone for an application that cannot be loaded, else a headline
/// and below it the cause, which for Python is a traceback.
fn log_error(error: &WorkerError) {
    let Some(cause) = error.source() else { return };
    match error {
        WorkerError::AppLoad(_) => log::error!(target: LOG, "{}", Chain(cause)),
        WorkerError::Failed(_) => {
            log::error!(target: LOG, "Exception in worker process\n{}", Chain(cause));
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("without a message"))
}
