//! The loop of the process that supervises.

mod reload;
mod sources;
mod upgrade;
mod workers;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::signal::{Signal as Number, kill};

use self::workers::Known;
pub(super) use self::workers::how_ended;
use super::child::Child;
use super::kin::Kin;
use super::listeners::Listeners;
use super::logging::{log_at, log_hook, log_report};
use super::orphans::Orphans;
use crate::fork::SignalMask;
use crate::inherit;
use crate::notify::Notifier;
use crate::oom::OomCounter;
use crate::pidfile::Pidfiles;
use crate::poll::wait_readable;
use crate::shared::SharedPage;
use crate::signals::Signals;
use crate::{
    Action, Command, Error, Event, Exit, Fork, Forker, Halt, Hooks, LOG, Mailbox, Moment, Options,
    Pid, Report, Signal, Source, Supervisor, Worker, WorkerId, WorkerInfo,
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
    /// Mailbox and pages of the arbiter before.
    pub(super) shared: Option<(Mailbox, Option<[OwnedFd; 2]>)>,
    pub(super) sources: Vec<Box<dyn Source>>,
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
        let Possessions { signals, listeners, pidfiles, kin, shared, sources } = possessions;
        let (mailbox, pages) = shared.unzip();
        let page = SharedPage::open(options.words_per_worker, pages.flatten())?;
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
            self.page.set_service_goes_on(self.supervisor.service_goes_on());
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
            Action::ShareListeners(is_shared) => {
                self.listeners.share(is_shared);
                if !is_shared {
                    self.page.forget_kin();
                }
            }
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

    fn fork(&mut self, worker: WorkerId, age: u64) -> Option<Ending> {
        let mut info = WorkerInfo { id: worker, pid: None, age, words: self.page.words_of(worker) };
        log_hook("pre_fork", self.hooks.pre_fork(&info));
        self.page.clear(worker);
        // What is sent to the child before it has handlers of its own is to wait for them.
        let forked = SignalMask::block_all().and_then(|mask| Ok((self.forker.fork()?, mask)));
        let event = match forked {
            Ok((Fork::Child, mask)) => return Some(Ending::Forked(info, mask)),
            Ok((Fork::Parent { child: pid }, _)) => {
                info.pid = Some(pid);
                self.workers.insert(pid, Known::new(info));
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
            log_report(report);
        }
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

fn number(command: Command) -> Number {
    match command {
        Command::Abort => Number::SIGABRT,
        Command::ReopenLogs => Number::SIGUSR1,
        Command::Report => Number::SIGURG,
        Command::StopGracefully => Number::SIGTERM,
        Command::StopNow => Number::SIGQUIT,
    }
}

const WAIT_RETRY_DELAY: Duration = Duration::from_millis(100);
