//! The loop of the process that supervises.

mod upgrade;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal as Number, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::child::Child;
use super::kin::Kin;
use super::listeners::Listeners;
use super::orphans::Orphans;
use crate::error::Chain;
use crate::fork::SignalMask;
use crate::inherit;
use crate::notify::Notifier;
use crate::oom::OomCounter;
use crate::pidfile::Pidfiles;
use crate::poll::wait_readable;
use crate::shared::SharedPage;
use crate::signals::Signals;
use crate::{
    Action, Command, Error, Event, Exit, ExitStatus, Fork, Forker, Halt, Handle, HookError, Hooks,
    LOG, LOG_CRITICAL, Mailbox, Moment, Options, Pid, Report, Severity, Signal, Source, Supervisor,
    Worker, WorkerId, WorkerInfo, WorkerStatus,
};

#[derive(Debug)]
pub(super) struct Master<H, F, W> {
    pid: Pid,
    options: Options,
    /// The options before the reload that is under way.
    previous: Option<Options>,
    hooks: H,
    forker: F,
    worker: W,
    supervisor: Supervisor,
    signals: Signals,
    listeners: Listeners,
    pidfiles: Pidfiles,
    kin: Kin,
    orphans: Orphans,
    notifier: Option<Notifier>,
    page: Arc<SharedPage>,
    oom: OomCounter,
    /// The log has it that memory cannot be measured.
    is_blind: bool,
    mailbox: Option<Mailbox>,
    /// Workers write a byte into it when they are ready, or want to be replaced.
    notify: Pipe,
    /// Nobody writes into it; its write end closes when this process dies.
    lifeline: Pipe,
    sources: Vec<Box<dyn Source>>,
    workers: BTreeMap<Pid, Known>,
}

/// What an arbiter has before it has workers.
#[derive(Debug)]
pub(super) struct Possessions {
    pub(super) signals: Signals,
    pub(super) listeners: Listeners,
    pub(super) pidfiles: Pidfiles,
    pub(super) kin: Kin,
    /// That of the arbiter before.
    pub(super) mailbox: Option<Mailbox>,
    pub(super) sources: Vec<Box<dyn Source>>,
}

/// A worker whose process has not been reaped.
#[derive(Debug)]
struct Known {
    info: WorkerInfo,
    is_ready: bool,
    asked_to_retire: bool,
}

#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

/// Why the loop ends.
enum Ending {
    Halted(Halt),
    Forked(WorkerInfo, SignalMask),
    Upgraded(SignalMask),
}

impl<H: Hooks, F: Forker, W: Worker> Master<H, F, W> {
    pub(super) fn new(
        options: Options,
        hooks: H,
        forker: F,
        worker: W,
        possessions: Possessions,
    ) -> Result<Self, Error> {
        let Possessions { signals, listeners, pidfiles, kin, mailbox, sources } = possessions;
        let page = SharedPage::new(options.words_per_worker)?;
        let mailbox = match mailbox {
            None if options.mailbox => Some(Mailbox::new()?),
            mailbox => mailbox,
        };
        let mut supervisor = Supervisor::new(options.plan.clone(), Moment::now());
        if kin.predecessor().is_some() {
            supervisor.await_promotion();
        }
        let notifier = inherit::notify_socket().and_then(Notifier::new);
        if notifier.is_some() {
            supervisor.notify_service(inherit::watchdog(), Moment::now());
        }
        Ok(Self {
            pid: Pid::this(),
            supervisor,
            options,
            previous: None,
            hooks,
            forker,
            worker,
            signals,
            listeners,
            pidfiles,
            kin,
            orphans: Orphans::new(),
            notifier,
            page,
            oom: OomCounter::new(),
            is_blind: false,
            mailbox,
            notify: Pipe::new()?,
            lifeline: Pipe::new()?,
            sources,
            workers: BTreeMap::new(),
        })
    }

    /// Until the end, in this process or in a worker's.
    pub(super) fn run(mut self) -> Exit {
        loop {
            while let Some(action) = self.supervisor.poll_action() {
                match self.perform(action) {
                    None => {}
                    Some(Ending::Halted(halt)) => {
                        drop(self.pidfiles);
                        log_hook("on_exit", self.hooks.on_exit());
                        return Exit::of_arbiter(halt);
                    }
                    Some(Ending::Forked(info, mask)) => return self.into_child(info).run(mask),
                    Some(Ending::Upgraded(mask)) => return self.into_successor(mask),
                }
            }
            let readable = self.wait();
            self.receive_news();
            self.receive_signals();
            self.serve_sources(&readable);
            self.reap_orphans();
            let page = &self.page;
            self.supervisor.handle_timeout(|worker| page.last_beat(worker), Moment::now());
        }
    }

    /// Until a signal, a worker that is ready, a source, or a deadline; tells which sources are
    /// readable. A supervisor does not die of a failed syscall: short of memory, it tries again.
    fn wait(&self) -> Vec<bool> {
        let now = Moment::now();
        let deadlines = [self.supervisor.poll_timeout(), self.orphans.deadline()];
        let deadline = deadlines.into_iter().flatten().min();
        let timeout = deadline.map(|deadline| deadline.saturating_since(now));
        let sources = self.sources.iter().map(|source| source.as_fd());
        let own = [self.signals.as_fd(), self.notify.read.as_fd()];
        let skipped = own.len();
        match wait_readable(own.into_iter().chain(sources), timeout) {
            Ok(readable) => readable.into_iter().skip(skipped).collect(),
            Err(error) => {
                log::error!(target: LOG, "Cannot wait for events: {error}");
                thread::sleep(WAIT_RETRY_DELAY);
                Vec::new()
            }
        }
    }

    fn serve_sources(&mut self, readable: &[bool]) {
        let mut sources = std::mem::take(&mut self.sources).into_iter();
        for is_readable in readable {
            let Some(mut source) = sources.next() else { break };
            let served = if *is_readable { self.serve_source(&mut *source) } else { Ok(()) };
            match served {
                Ok(()) => self.sources.push(source),
                Err(error) => log::error!(target: LOG, "{source:?} is given up: {error}"),
            }
        }
        self.sources.extend(sources);
    }

    fn serve_source(&mut self, source: &mut dyn Source) -> io::Result<()> {
        let workers = self.workers.values().map(|worker| worker.status(&self.page)).collect();
        let mut handle = Handle { workers, asked: Vec::new() };
        let served = source.ready(&mut handle);
        for signal in handle.asked {
            self.supervisor.handle_event(Event::Signal(signal), Moment::now());
        }
        served
    }

    fn perform(&mut self, action: Action) -> Option<Ending> {
        match action {
            Action::CloseListeners { graceful } => self.listeners.close(graceful),
            Action::Command { pid, command } => self.send(pid, number(command)),
            Action::Exit(halt) => return Some(Ending::Halted(halt)),
            Action::Fork { worker, age } => return self.fork(worker, age),
            Action::Kill { pid } => self.send(pid, Number::SIGKILL),
            Action::Notify(state) => {
                if let Some(notifier) = &mut self.notifier {
                    notifier.send(state);
                }
            }
            Action::NumberChanged { new, old } => {
                log_hook("nworkers_changed", self.hooks.nworkers_changed(new, Some(old)));
            }
            Action::Promote => self.promote(),
            Action::Measure { worker, pid, limit_bytes } => {
                self.measure(worker, pid, limit_bytes);
            }
            Action::Reload => self.reload(),
            Action::ReloadAbandoned => {
                self.worker.reload_abandoned();
                self.listeners.restore_previous();
                self.pidfiles.restore_previous();
                self.options = self.previous.take().unwrap_or_else(|| self.options.clone());
            }
            Action::ReloadCompleted => {
                self.listeners.keep_current();
                self.pidfiles.keep_current();
                self.previous = None;
            }
            Action::ReopenLogs => log_hook("reopen_logs", self.hooks.reopen_logs()),
            Action::Report(report) => self.log(&report),
            Action::ShareListeners(is_shared) => self.listeners.share(is_shared),
            Action::Upgrade => return self.upgrade(),
        }
        None
    }

    /// Nothing to a process that was reaped after the action was decided: its pid may be another's.
    fn send(&self, pid: Pid, number: Number) {
        if self.workers.contains_key(&pid) {
            if let Err(error) = kill(pid.into(), number) {
                log::warn!(target: LOG, "Cannot send {number} to worker (pid:{pid}): {error}");
            }
        }
    }

    fn measure(&mut self, worker: WorkerId, pid: Pid, limit_bytes: u64) {
        match self.options.memory_kind.measure(pid, limit_bytes) {
            Ok(bytes) => {
                let event = Event::Measured { worker, bytes };
                self.supervisor.handle_event(event, Moment::now());
            }
            Err(error) if !self.is_blind => {
                self.is_blind = true;
                log::warn!(target: LOG, "max_worker_memory has no effect while it cannot be read \
                    how much worker (pid:{pid}) takes: {error}");
            }
            Err(_) => {}
        }
    }

    fn fork(&mut self, worker: WorkerId, age: u64) -> Option<Ending> {
        let mut info = WorkerInfo { id: worker, pid: None, age };
        log_hook("pre_fork", self.hooks.pre_fork(&info));
        self.page.clear(worker);
        // What is sent to the child before it has handlers of its own is to wait for them.
        let forked = SignalMask::block_all().and_then(|mask| Ok((self.forker.fork()?, mask)));
        let event = match forked {
            Ok((Fork::Child, mask)) => return Some(Ending::Forked(info, mask)),
            Ok((Fork::Parent { child: pid }, _)) => {
                info.pid = Some(pid);
                self.workers.insert(pid, Known { info, is_ready: false, asked_to_retire: false });
                Event::Forked { worker, pid }
            }
            Err(error) => Event::ForkFailed { worker, error },
        };
        self.supervisor.handle_event(event, Moment::now());
        None
    }

    /// On the other side of the fork, with all signals blocked: what was the arbiter's goes.
    fn into_child(self, info: WorkerInfo) -> Child<H, W> {
        Child {
            info,
            arbiter: self.pid,
            plan: self.options.plan,
            privileges: self.options.privileges,
            hooks: self.hooks,
            worker: self.worker,
            listeners: self.listeners.into_current(),
            page: self.page,
            mailbox: self.mailbox,
            notify: self.notify.write,
            lifeline: self.lifeline.read,
        }
    }

    /// Beside its predecessor an arbiter is gunicorn's `Master.2`.
    fn log(&self, report: &Report) {
        if report.names_master() && self.kin.predecessor().is_some() {
            log_at(report.severity(), format_args!("{report}.2"));
        } else {
            log(report);
        }
    }

    fn reload(&mut self) {
        let event = match self.read_anew() {
            Ok(()) => {
                log_hook("on_reload", self.hooks.on_reload());
                Event::Reloaded(self.options.plan.clone())
            }
            Err(cause) => {
                log::error!(target: LOG, "Reload abandoned: {cause}");
                Event::ReloadFailed
            }
        };
        self.supervisor.handle_event(event, Moment::now());
    }

    fn read_anew(&mut self) -> Result<(), String> {
        let options = match self.worker.reload() {
            Ok(Some(options)) => options,
            Ok(None) => self.options.clone(),
            Err(error) => return Err(Chain(&error).to_string()),
        };
        if let Err(error) = self.prepare(&options) {
            self.worker.reload_abandoned();
            return Err(Chain(&error).to_string());
        }
        self.previous = Some(std::mem::replace(&mut self.options, options));
        Ok(())
    }

    /// All that new workers need, or nothing.
    fn prepare(&mut self, options: &Options) -> Result<(), Error> {
        check(options)?;
        let moves = self.listeners.rebind(options)?;
        if let Err(error) = self.pidfiles.replace(options.pidfile.as_deref()) {
            self.listeners.restore_previous();
            return Err(error.into());
        }
        if moves {
            self.listeners.log(options.scheme);
        }
        Ok(())
    }

    fn receive_signals(&mut self) {
        if self.kin.loses_predecessor() {
            self.supervisor.handle_event(Event::Promoted, Moment::now());
        }
        for number in self.signals.pending() {
            if number == Number::SIGCHLD {
                self.reap();
            } else if let Some(signal) = Signal::from_number(number) {
                self.supervisor.handle_event(Event::Signal(signal), Moment::now());
            }
        }
    }

    /// The bytes only wake; the page says who.
    fn receive_news(&mut self) {
        let mut bytes = [0; 64];
        while let Ok(1..) | Err(Errno::EINTR) = nix::unistd::read(&self.notify.read, &mut bytes) {}
        for worker in self.workers.values_mut() {
            worker.note_news(&self.page, &mut self.supervisor);
        }
    }

    /// One SIGCHLD may stand for many. Only who is known is waited for: `waitpid(-1)` would take the
    /// children of hooks from those who wait for them.
    fn reap(&mut self) {
        let pids: Vec<Pid> = self.workers.keys().copied().chain(self.kin.successor).collect();
        for pid in &pids {
            if let Some(status) = wait_for(*pid) {
                self.ended(*pid, status);
            }
        }
        self.orphans.look(|pid| pids.contains(&pid), Moment::now());
    }

    fn reap_orphans(&mut self) {
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
            worker.note_news(&self.page, &mut self.supervisor);
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
    fn status<'a>(&'a self, page: &'a SharedPage) -> WorkerStatus<'a> {
        let Self { info, is_ready, .. } = self;
        let (last_beat, words) = (page.last_beat(info.id), page.words(info.id));
        WorkerStatus { info, is_ready: *is_ready, last_beat, words }
    }

    fn note_news(&mut self, page: &SharedPage, supervisor: &mut Supervisor) {
        if !self.is_ready && page.is_ready(self.info.id) {
            self.is_ready = true;
            supervisor.handle_event(Event::Ready { worker: self.info.id }, Moment::now());
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

impl Pipe {
    /// Non-blocking: a full pipe must not stop a worker, nor an empty one the arbiter.
    fn new() -> io::Result<Self> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        Ok(Self { read, write })
    }
}

pub(super) fn check(options: &Options) -> Result<(), Error> {
    match (options.plan.workers, options.words_per_worker) {
        (workers, _) if workers > Options::WORKERS_MAX => Err(Error::TooManyWorkers { workers }),
        (_, words) if words > Options::WORDS_MAX => Err(Error::TooManyWords { words }),
        _ => Ok(()),
    }
}

pub(super) fn log(report: &Report) {
    log_at(report.severity(), format_args!("{report}"));
}

fn log_at(severity: Severity, message: fmt::Arguments<'_>) {
    match severity {
        Severity::Debug => log::debug!(target: LOG, "{message}"),
        Severity::Info => log::info!(target: LOG, "{message}"),
        Severity::Warning => log::warn!(target: LOG, "{message}"),
        Severity::Error => log::error!(target: LOG, "{message}"),
        Severity::Critical => log::error!(target: LOG_CRITICAL, "{message}"),
    }
}

pub(super) fn log_hook(name: &str, result: Result<(), HookError>) {
    if let Err(error) = result {
        log::error!(target: LOG, "{name}: {}", Chain(&error));
    }
}

fn number(command: Command) -> Number {
    match command {
        Command::Abort => Number::SIGABRT,
        Command::ReopenLogs => Number::SIGUSR1,
        Command::StopGracefully => Number::SIGTERM,
        Command::StopNow => Number::SIGQUIT,
    }
}

fn wait_for(pid: Pid) -> Option<ExitStatus> {
    match waitpid(nix::unistd::Pid::from(pid), Some(WaitPidFlag::WNOHANG)) {
        Ok(status) => how_ended(status).map(|(_, status)| status),
        // A hook waited for it, or nix knows no name for the signal: gone, but how is unknown.
        Err(_) => Some(ExitStatus::FAILED),
    }
}

pub(super) fn how_ended(status: WaitStatus) -> Option<(Pid, ExitStatus)> {
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
const WAIT_RETRY_DELAY: Duration = Duration::from_millis(100);
