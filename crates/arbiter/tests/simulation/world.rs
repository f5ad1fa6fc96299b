//! The arbiter around a supervisor, its processes and its clock, all of them simulated.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use rgunicorn_arbiter::{
    Action, Command, Event, ExitStatus, Halt, Moment, Options, Pid, Plan, Report, RetireReason,
    Signal, Supervisor, WorkerId,
};

use crate::process::{KILLED, Process, Told};
use crate::random::{Random, Temper, random_plan};

#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) random: Random,
    /// For what happens to the new arbiter of an upgrade.
    other_random: Random,
    pub(crate) temper: Temper,
    supervisor: Supervisor,
    pub(crate) now: Duration,
    /// Whether things may go wrong.
    pub(crate) is_chaotic: bool,
    pub(crate) plan: Plan,
    pub(crate) wanted: u32,
    /// The wanted number and the plan to which an abandoned reload returns.
    pub(crate) previous: Option<(u32, Plan)>,
    /// The generation that is kept at the wanted number.
    pub(crate) tended: u64,
    /// Where `tended` returns to when a reload is abandoned.
    serving_generation: u64,
    newest: u64,
    /// Whether the reload that is under way has shown that it works.
    pub(crate) is_proven: bool,
    pub(crate) processes: BTreeMap<Pid, Process>,
    /// Forks whose outcome the supervisor has not heard of yet: with the pid, or that they failed.
    pub(crate) forks: Vec<(WorkerId, Option<Pid>)>,
    pub(crate) is_reloading: bool,
    /// The new arbiter of an upgrade.
    upgrade: Option<Pid>,
    ever_ready: bool,
    next_pid: i32,
    pub(crate) last_age: u64,
    pub(crate) stop_asked: Option<Signal>,
    pub(crate) listeners_closed: bool,
    pub(crate) halted: Option<Halt>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let temper = Temper::new(&mut random);
        let plan = random_plan(&mut random, &temper);
        let now = Duration::from_secs(1000);
        let mut world = Self {
            seed,
            temper,
            supervisor: Supervisor::new(plan.clone(), Moment::from_start(now)),
            random,
            other_random: Random(!seed),
            now,
            is_chaotic: true,
            wanted: plan.workers,
            plan,
            previous: None,
            tended: 0,
            serving_generation: 0,
            newest: 0,
            is_proven: true,
            processes: BTreeMap::new(),
            forks: Vec::new(),
            is_reloading: false,
            upgrade: None,
            ever_ready: false,
            next_pid: 100,
            last_age: 0,
            stop_asked: None,
            listeners_closed: false,
            halted: None,
        };
        world.drain();
        world
    }

    pub(crate) fn run_chaos(&mut self, steps: u64) {
        for _ in 0..steps {
            self.step_in_chaos();
        }
    }

    fn step_in_chaos(&mut self) {
        self.step();
        if self.halted.is_some() {
            return;
        }
        if self.random.percent(self.temper.signals) {
            let signal = self.random.pick(self.temper.favourites);
            self.signal(signal);
        }
        if self.other_random.percent(5) {
            self.signal(Signal::Urg);
        }
        if self.other_random.percent(20) {
            if let Some(pid) = self.upgrade.take() {
                self.event(Event::Exited { pid, status: KILLED, out_of_memory: None });
            }
        }
        if self.random.percent(3) {
            self.jump();
        }
        if self.random.percent(self.temper.kills) {
            self.kill_anyone();
        }
        if self.random.percent(self.temper.retirements) {
            self.let_anyone_ask();
        }
    }

    /// Whatever comes next: the outcome of a fork or a reload, something that a process does, or a
    /// deadline of the supervisor's.
    pub(crate) fn step(&mut self) {
        if self.halted.is_some() {
            return;
        }
        if !self.forks.is_empty() && (!self.is_chaotic || self.random.percent(70)) {
            let (worker, outcome) = self.forks.remove(0);
            let event = match outcome {
                Some(pid) => Event::Forked { worker, pid },
                None => Event::ForkFailed { worker, error: io::ErrorKind::OutOfMemory.into() },
            };
            return self.event(event);
        }
        if self.is_reloading && (!self.is_chaotic || self.random.percent(70)) {
            return self.finish_reload();
        }
        let Some(next) = self.next_time() else { return };
        self.now = self.now.max(next);
        self.beat();
        self.live();
        self.look();
    }

    /// When something happens by itself.
    pub(crate) fn next_time(&self) -> Option<Duration> {
        let deaths = self.processes.values().filter_map(|process| process.dies_at).map(|d| d.0);
        let boots = self.processes.values().filter(|process| !process.is_ready);
        let boots = boots.filter_map(|process| process.ready_at);
        deaths.chain(boots).chain(self.deadline()).min()
    }

    /// Processes do what they would have done by now.
    fn live(&mut self) {
        // Nobody can be ready before the supervisor knows the process: the real arbiter tells it
        // at once.
        let unknown: Vec<Pid> = self.forks.iter().filter_map(|(_, pid)| *pid).collect();
        let pids: Vec<Pid> = self.processes.keys().copied().collect();
        for pid in pids.into_iter().filter(|pid| !unknown.contains(pid)) {
            let process = self.processes.get_mut(&pid).unwrap();
            if !process.is_ready && process.ready_at.is_some_and(|at| at <= self.now) {
                process.is_ready = true;
                process.last_beat = Some(self.now);
                let worker = process.worker;
                let is_newest = process.generation == self.newest;
                self.is_proven |= is_newest && process.told == Told::Nothing;
                self.ever_ready = true;
                self.event(Event::Ready { worker });
            }
            // `halt` may have come of it, but the process is still there.
            let process = &self.processes[&pid];
            if let Some((_, status)) = process.dies_at.filter(|(at, _)| *at <= self.now) {
                self.processes.remove(&pid);
                self.exited(pid, status);
            }
        }
    }

    fn exited(&mut self, pid: Pid, status: ExitStatus) {
        let out_of_memory = self.random.pick(&[None, Some(false), Some(true)]);
        self.event(Event::Exited { pid, status, out_of_memory });
    }

    pub(crate) fn look(&mut self) {
        let now = Moment::from_start(self.now);
        let beats: BTreeMap<WorkerId, Moment> = self
            .processes
            .values()
            .filter_map(|process| Some((process.worker, Moment::from_start(process.last_beat?))))
            .collect();
        self.supervisor.handle_timeout(|worker| beats.get(&worker).copied(), now);
        self.drain();
        self.check_headcount();
        if let Some(deadline) = self.supervisor.poll_timeout() {
            assert!(deadline > now, "seed {}: a deadline in the past is a busy loop", self.seed);
        }
    }

    /// Who is not hung beats twice per timeout; some have just done so, others are about to.
    fn beat(&mut self) {
        let Some(timeout) = self.plan.timeout else { return };
        for process in self.processes.values_mut().filter(|process| process.is_ready) {
            if !process.is_hung {
                let beat = self.now.saturating_sub(self.random.up_to(timeout / 2));
                process.last_beat = process.last_beat.max(Some(beat));
            }
        }
    }

    /// The machine was suspended; the arbiter is the first to run again.
    fn jump(&mut self) {
        self.beat();
        self.now += self.random.up_to(Duration::from_secs(120));
        self.look();
    }

    fn kill_anyone(&mut self) {
        let known: Vec<Pid> = self.processes.keys().copied().collect();
        if !known.is_empty() {
            let pid = self.random.pick(&known);
            self.processes.get_mut(&pid).unwrap().dies_at = Some((self.now, KILLED));
        }
    }

    /// Also one that has asked already, or is to end.
    fn let_anyone_ask(&mut self) {
        let ready = self.processes.iter().filter(|(_, process)| process.is_ready);
        let ready: Vec<Pid> = ready.map(|(pid, _)| *pid).collect();
        if !ready.is_empty() {
            let pid = self.random.pick(&ready);
            self.ask_to_retire(pid);
        }
    }

    pub(crate) fn ask_to_retire(&mut self, pid: Pid) {
        let process = self.processes.get_mut(&pid).unwrap();
        process.has_asked = true;
        let worker = process.worker;
        self.event(Event::RetireAsked { worker, reason: RetireReason::MaxRequests });
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        let is_daemon = self.plan.daemon;
        let resized = |wanted: u32| match signal {
            Signal::Winch if is_daemon => 0,
            Signal::Ttin => (wanted + 1).min(Options::WORKERS_MAX),
            Signal::Ttou if wanted > 1 => wanted - 1,
            _ => wanted,
        };
        self.wanted = resized(self.wanted);
        if let Some((wanted, _)) = &mut self.previous {
            *wanted = resized(*wanted);
        }
        match signal {
            Signal::Int | Signal::Quit | Signal::Term => self.stop_asked = Some(signal),
            _ => {}
        }
        self.event(Event::Signal(signal));
    }

    fn finish_reload(&mut self) {
        self.is_reloading = false;
        if self.is_chaotic && self.random.percent(self.temper.bad_plans) {
            return self.event(Event::ReloadFailed);
        }
        let mut plan = random_plan(&mut self.random, &self.temper);
        if !self.is_chaotic {
            // Whoever counts workers wants nobody to go by himself.
            plan.max_worker_lifetime = None;
        }
        let previous = (self.wanted, std::mem::replace(&mut self.plan, plan.clone()));
        self.previous = Some(previous);
        self.wanted = plan.workers;
        self.newest += 1;
        self.tended = self.newest;
        self.is_proven = self.wanted == 0;
        self.event(Event::Reloaded(plan));
    }

    fn event(&mut self, event: Event) {
        self.supervisor.handle_event(event, Moment::from_start(self.now));
        self.drain();
        self.check_headcount();
    }

    fn drain(&mut self) {
        let mut actions = 0;
        while let Some(action) = self.supervisor.poll_action() {
            actions += 1;
            assert!(actions < 10_000, "seed {}: actions without end", self.seed);
            assert!(self.halted.is_none(), "seed {}: {action:?} after the end", self.seed);
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        let seed = self.seed;
        match action {
            Action::CloseListeners { .. } => {
                assert!(!self.listeners_closed, "seed {seed}: closed twice");
                self.listeners_closed = true;
                let has_reason = self.stop_asked.is_some() || !self.ever_ready;
                assert!(has_reason, "seed {seed}: halted after a worker served");
            }
            Action::Command { pid, command } => self.command(pid, command),
            Action::Exit(halt) => {
                assert!(self.processes.is_empty(), "seed {seed}: workers are left behind");
                assert!(self.forks.is_empty() && self.listeners_closed, "seed {seed}");
                if halt == Halt::Asked {
                    assert!(self.stop_asked.is_some(), "seed {seed}: nobody asked");
                }
                self.halted = Some(halt);
            }
            Action::Fork { worker, age } => self.fork(worker, age),
            Action::Kill { pid } => {
                let dies_at = self.now + self.random.up_to(Duration::from_millis(10));
                let process = self.processes.get_mut(&pid);
                let process =
                    process.unwrap_or_else(|| panic!("seed {seed}: kill of a reaped pid"));
                process.dies_at = Some((dies_at, KILLED));
                process.told = Told::Killed;
            }
            Action::Measure { worker, pid, limit_bytes } => {
                assert!(self.processes[&pid].is_ready, "seed {seed}: {pid} has not grown yet");
                let bytes = self.random.below(if self.is_chaotic { 1200 } else { 1000 });
                assert_eq!(limit_bytes, 1000, "seed {seed}");
                // Told at once by the real arbiter, but its actions come after those decided here.
                self.supervisor
                    .handle_event(Event::Measured { worker, bytes }, Moment::from_start(self.now));
            }
            Action::Report(Report::Outgrown { pid, .. } | Report::Outlived { pid, .. }) => {
                let process = self.processes.get_mut(&pid).unwrap();
                assert!(process.is_ready && !process.has_asked, "seed {seed}: {pid}");
                process.has_asked = true;
            }
            Action::NumberChanged { new, old } => {
                assert!(new == self.wanted && new != old, "seed {seed}: {old} to {new}");
            }
            Action::Reload => {
                assert!(!self.is_reloading, "seed {seed}: two reloads at once");
                self.is_reloading = true;
            }
            Action::ReloadAbandoned => {
                let previous = self.previous.take();
                let (wanted, plan) = previous.unwrap_or_else(|| panic!("seed {seed}: no reload"));
                (self.wanted, self.plan) = (wanted, plan);
                self.tended = self.serving_generation;
            }
            Action::ReloadCompleted => {
                assert!(self.previous.take().is_some(), "seed {seed}: no reload to complete");
                self.serving_generation = self.newest;
            }
            Action::Report(Report::BootTimeout { pid, limit }) => {
                assert!(limit >= Duration::from_secs(4), "seed {seed}: {limit:?}");
                assert!(!self.processes[&pid].is_ready, "seed {seed}: {pid} has booted");
            }
            Action::Report(Report::Timeout { pid, .. }) => {
                assert!(self.processes[&pid].is_hung, "seed {seed}: {pid} was alive and well");
            }
            Action::Upgrade => {
                assert!(self.upgrade.is_none(), "seed {seed}: two upgrades at once");
                let (pid, is_forked) =
                    (Pid::from_raw(self.next_pid), !self.other_random.percent(30));
                self.next_pid += 1;
                self.upgrade = is_forked.then_some(pid);
                let result =
                    if is_forked { Ok(pid) } else { Err(io::ErrorKind::OutOfMemory.into()) };
                let now = Moment::from_start(self.now);
                self.supervisor.handle_event(Event::Upgraded(result), now);
            }
            Action::ShareListeners(is_shared) => {
                assert_eq!(is_shared, self.upgrade.is_some(), "seed {seed}: shared with nobody");
            }
            Action::ReopenLogs | Action::Report(_) => {}
            action => panic!("seed {seed}: {action:?}"),
        }
    }

    fn fork(&mut self, worker: WorkerId, age: u64) {
        let seed = self.seed;
        assert!(!self.listeners_closed, "seed {seed}: a fork during the stop");
        assert!(age > self.last_age, "seed {seed}: ages count up");
        self.last_age = age;
        let is_taken = self.processes.values().any(|process| process.worker == worker);
        assert!(!is_taken, "seed {seed}: worker {worker} is doubled");
        assert!(self.forks.iter().all(|fork| fork.0 != worker), "seed {seed}: {worker} is doubled");
        if self.is_chaotic && self.random.percent(10) {
            if self.temper.forks_at_once {
                let error = io::ErrorKind::OutOfMemory.into();
                let now = Moment::from_start(self.now);
                return self.supervisor.handle_event(Event::ForkFailed { worker, error }, now);
            }
            return self.forks.push((worker, None));
        }
        let pid = Pid::from_raw(self.next_pid);
        self.next_pid += 1;
        let process = Process::new(worker, age, self.tended, self.now, &mut self.random);
        let process = if self.is_chaotic {
            process.with_faults(&mut self.random, &self.temper)
        } else {
            process
        };
        self.processes.insert(pid, process);
        self.check_fork();
        if self.temper.forks_at_once {
            // As the real arbiter does it.
            let now = Moment::from_start(self.now);
            return self.supervisor.handle_event(Event::Forked { worker, pid }, now);
        }
        self.forks.push((worker, Some(pid)));
    }

    fn command(&mut self, pid: Pid, command: Command) {
        let seed = self.seed;
        let graceful_timeout = self.plan.graceful_timeout;
        let process = self.processes.get_mut(&pid);
        let process = process.unwrap_or_else(|| panic!("seed {seed}: {command:?} to a reaped pid"));
        process.told = match command {
            Command::ReopenLogs | Command::Report => return,
            Command::Abort => Told::Abort,
            Command::StopGracefully | Command::StopNow => Told::Stop,
        };
        let end = match command {
            // Half of those who hang come back, for the command interrupts what they wait for.
            Command::Abort if self.random.percent(50) => {
                (Duration::from_secs(2), ExitStatus::Exited(1))
            }
            _ if process.is_hung => return,
            Command::Abort | Command::ReopenLogs | Command::Report => return,
            // Some need longer than they are given.
            Command::StopGracefully => (graceful_timeout * 3 / 2, ExitStatus::Exited(0)),
            Command::StopNow => (Duration::from_secs(3), ExitStatus::Exited(0)),
        };
        let dies_at = self.now + self.random.up_to(end.0);
        if process.dies_at.is_none_or(|(at, _)| at > dies_at) {
            process.dies_at = Some((dies_at, end.1));
        }
        // But for the stop, nobody goes who is needed, a reload or not.
        if command == Command::StopGracefully && process.is_ready && self.stop_asked.is_none() {
            let serving = self.serving();
            assert!(serving >= self.wanted as usize, "seed {seed}: {pid} was needed");
        }
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        let deadline = self.supervisor.poll_timeout()?;
        Some(deadline.saturating_since(Moment::from_start(Duration::ZERO)))
    }
}
