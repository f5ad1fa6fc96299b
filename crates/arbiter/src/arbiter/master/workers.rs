//! What is known of the workers: their news, their memory, their end.

use nix::errno::Errno;
use nix::sys::signal::Signal as Number;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::Master;
use crate::arbiter::logging::log_hook;
use crate::shared::SharedPage;
use crate::{
    Event, ExitStatus, Forker, Hooks, LOG, Moment, Pid, Supervisor, Worker, WorkerId, WorkerInfo,
    WorkerStatus,
};

/// A worker whose process has not been reaped.
#[derive(Debug)]
pub(super) struct Known {
    info: WorkerInfo,
    is_ready: bool,
    asked_to_retire: bool,
}

impl<H: Hooks, F: Forker, W: Worker> Master<H, F, W> {
    pub(super) fn measure(&mut self, worker: WorkerId, pid: Pid, limit_bytes: u64) {
        match self.options.memory_kind.measure(pid, limit_bytes) {
            Ok(bytes) => {
                let event = Event::Measured { worker, bytes };
                self.supervisor.handle_event(event, Moment::now());
            }
            Err(error) if !self.is_blind => {
                self.is_blind = true;
                log::warn!(
                    target: LOG,
                    "max_worker_memory has no effect on worker (pid:{pid}), \
                     nobody may know what it takes: {error}"
                );
            }
            Err(_) => {}
        }
    }

    /// The bytes only wake; the page says who.
    pub(super) fn receive_news(&mut self) {
        let mut bytes = [0; 64];
        while let Ok(1..) | Err(Errno::EINTR) = nix::unistd::read(&self.notify.read, &mut bytes) {}
        for worker in self.workers.values_mut() {
            worker.note_news(&self.page, &mut self.supervisor, &mut self.hooks);
        }
    }

    /// One SIGCHLD may stand for many. Only who is known is waited for: `waitpid(-1)` would take the
    /// children of hooks from those who wait for them.
    pub(super) fn reap(&mut self) {
        let pids: Vec<Pid> = self.workers.keys().copied().chain(self.kin.successor).collect();
        for pid in &pids {
            if let Some(status) = wait_for(*pid) {
                self.ended(*pid, status);
            }
        }
        self.orphans.look(|pid| pids.contains(&pid), Moment::now());
    }

    pub(super) fn reap_orphans(&mut self) {
        for (pid, status) in self.orphans.reap(Moment::now()) {
            self.ended(pid, status);
        }
    }

    fn ended(&mut self, pid: Pid, status: ExitStatus) {
        if self.kin.successor == Some(pid) {
            self.kin.successor = None;
        }
        let known = self.workers.remove(&pid);
        if let Some(mut worker) = known {
            worker.note_news(&self.page, &mut self.supervisor, &mut self.hooks);
            self.page.clear_ready(worker.info.id);
            log_hook("child_exit", self.hooks.child_exit(&worker.info, status));
        }
        let out_of_memory = match status {
            ExitStatus::Signaled(SIGKILL) => self.oom.explains_a_death(),
            ExitStatus::Exited(_) | ExitStatus::Signaled(_) => Some(false),
        };
        let event = Event::Exited { pid, status, out_of_memory };
        self.supervisor.handle_event(event, Moment::now());
    }
}

impl Known {
    /// A worker that has just been forked.
    pub(super) fn new(info: WorkerInfo) -> Self {
        Self { info, is_ready: false, asked_to_retire: false }
    }

    pub(super) fn status<'a>(&'a self, page: &'a SharedPage) -> WorkerStatus<'a> {
        let Self { info, is_ready, .. } = self;
        let (last_beat, words) = (page.last_beat(info.id), page.words(info.id));
        WorkerStatus { info, is_ready: *is_ready, last_beat, words }
    }

    fn note_news(
        &mut self,
        page: &SharedPage,
        supervisor: &mut Supervisor,
        hooks: &mut impl Hooks,
    ) {
        if !self.is_ready && page.is_ready(self.info.id) {
            self.is_ready = true;
            supervisor.handle_event(Event::Ready { worker: self.info.id }, Moment::now());
            log_hook("child_ready", hooks.child_ready(&self.info));
        }
        if let Some(reason) = page.retire_reason(self.info.id) {
            if self.is_ready && !self.asked_to_retire {
                self.asked_to_retire = true;
                let worker = self.info.id;
                supervisor.handle_event(Event::RetireAsked { worker, reason }, Moment::now());
            }
        }
    }
}

fn wait_for(pid: Pid) -> Option<ExitStatus> {
    match waitpid(nix::unistd::Pid::from(pid), Some(WaitPidFlag::WNOHANG)) {
        Ok(status) => how_ended(status).map(|(_, status)| status),
        // A hook waited for it, or nix knows no name for the signal: gone, but how is unknown.
        Err(_) => Some(ExitStatus::FAILED),
    }
}

pub(in crate::arbiter) fn how_ended(status: WaitStatus) -> Option<(Pid, ExitStatus)> {
    match status {
        WaitStatus::Exited(pid, code) => Some((pid.into(), ExitStatus::Exited(code))),
        WaitStatus::Signaled(pid, signal, _) => {
            Some((pid.into(), ExitStatus::Signaled(signal as i32)))
        }
        // Stopped and traced processes are not ended.
        _ => None,
    }
}

const SIGKILL: i32 = Number::SIGKILL as i32;
