//! The supervisor under thousands of random histories: signals in any order, forks that fail,
//! workers that hang, crash, want to be replaced, boot slowly or not at all, and a clock that jumps.
//!
//! Everything follows from the seed, which a failure prints.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use rgunicorn_arbiter::{
    Action, Command, Event, ExitStatus, Halt, Moment, Options, Pid, Plan, Report, RetireReason,
    Signal, Supervisor, WorkerId,
};

const HISTORIES: u64 = 4000;
const CHAOTIC_STEPS: u32 = 120;
const KILLED: ExitStatus = ExitStatus::Signaled(9);

#[test]
fn random_histories_recover_and_end() {
    for seed in 0..HISTORIES {
        let mut world = World::new(seed);
        world.run_chaos();
        if world.halted.is_none() && world.stop_asked.is_none() {
            world.heal();
            world.expect_recovery();
            world.expect_reload();
            world.expect_resize();
            world.expect_retirement();
        }
        world.expect_end();
    }
}

/// Histories that stop in the middle of whatever is going on.
#[test]
fn a_stop_ends_at_any_moment() {
    for seed in 0..HISTORIES {
        let mut world = World::new(seed);
        for _ in 0..world.random.below(u64::from(CHAOTIC_STEPS)) {
            world.step_in_chaos();
        }
        world.expect_end();
    }
}

/// `SplitMix64`: two histories with different seeds have nothing in common.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    fn up_to(&mut self, duration: Duration) -> Duration {
        Duration::from_millis(self.below(u64::try_from(duration.as_millis()).unwrap() + 1))
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }
}

/// A worker process as it is, whatever the supervisor believes.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Process {
    worker: WorkerId,
    age: u64,
    is_ready: bool,
    /// `None`: it will never be ready by itself.
    ready_at: Option<Duration>,
    dies_at: Option<(Duration, ExitStatus)>,
    /// Heeds no command, and does not beat.
    is_hung: bool,
    last_beat: Option<Duration>,
    has_asked: bool,
    is_told_to_end: bool,
    is_killed: bool,
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct World {
    seed: u64,
    random: Random,
    /// For what happens to the new arbiter of an upgrade.
    other_random: Random,
    supervisor: Supervisor,
    now: Duration,
    /// Whether things may go wrong.
    is_chaotic: bool,
    plan: Plan,
    wanted: u32,
    /// The wanted number and the plan to which an abandoned reload returns.
    previous: Option<(u32, Plan)>,
    processes: BTreeMap<Pid, Process>,
    /// Forks whose outcome the supervisor has not heard of yet: with the pid, or that they failed.
    forks: Vec<(WorkerId, Option<Pid>)>,
    is_reloading: bool,
    /// The new arbiter of an upgrade.
    upgrade: Option<Pid>,
    ever_ready: bool,
    next_pid: i32,
    last_age: u64,
    stop_asked: Option<Signal>,
    listeners_closed: bool,
    halted: Option<Halt>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let plan = random_plan(&mut random);
        let now = Duration::from_secs(1000);
        let mut world = Self {
            seed,
            supervisor: Supervisor::new(plan.clone(), Moment::from_start(now)),
            random,
            other_random: Random(!seed),
            now,
            is_chaotic: true,
            wanted: plan.workers,
            plan,
            previous: None,
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

    fn run_chaos(&mut self) {
        for _ in 0..CHAOTIC_STEPS {
            self.step_in_chaos();
        }
    }

    fn step_in_chaos(&mut self) {
        self.step();
        if self.halted.is_some() {
            return;
        }
        if self.random.percent(12) {
            let signal = self.random.pick(&[
                Signal::Hup,
                Signal::Hup,
                Signal::Ttin,
                Signal::Ttou,
                Signal::Usr1,
                Signal::Usr2,
                Signal::Winch,
            ]);
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
        if self.random.percent(3) {
            self.kill_anyone();
        }
        if self.random.percent(10) {
            self.let_anyone_ask();
        }
    }

    /// Whatever comes next: the outcome of a fork or a reload, something that a process does, or a
    /// deadline of the supervisor's.
    fn step(&mut self) {
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
    fn next_time(&self) -> Option<Duration> {
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

    fn look(&mut self) {
        let now = Moment::from_start(self.now);
        let beats: BTreeMap<WorkerId, Moment> = self
            .processes
            .values()
            .filter_map(|process| Some((process.worker, Moment::from_start(process.last_beat?))))
            .collect();
        self.supervisor.handle_timeout(|worker| beats.get(&worker).copied(), now);
        self.drain();
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

    fn ask_to_retire(&mut self, pid: Pid) {
        let process = self.processes.get_mut(&pid).unwrap();
        process.has_asked = true;
        let worker = process.worker;
        self.event(Event::RetireAsked { worker, reason: RetireReason::MaxRequests });
    }

    fn signal(&mut self, signal: Signal) {
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
        if self.is_chaotic && self.random.percent(20) {
            return self.event(Event::ReloadFailed);
        }
        let mut plan = random_plan(&mut self.random);
        if !self.is_chaotic {
            // Whoever counts workers wants nobody to go by himself.
            plan.max_worker_lifetime = None;
        }
        let previous = (self.wanted, std::mem::replace(&mut self.plan, plan.clone()));
        self.previous = Some(previous);
        self.wanted = plan.workers;
        self.event(Event::Reloaded(plan));
    }

    fn event(&mut self, event: Event) {
        self.supervisor.handle_event(event, Moment::from_start(self.now));
        self.drain();
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
                process.is_killed = true;
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
            }
            Action::ReloadCompleted => {
                assert!(self.previous.take().is_some(), "seed {seed}: no reload to complete");
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
            return self.forks.push((worker, None));
        }
        let pid = Pid::from_raw(self.next_pid);
        self.next_pid += 1;
        let process = self.spawn(worker, age);
        self.processes.insert(pid, process);
        self.forks.push((worker, Some(pid)));
    }

    fn spawn(&mut self, worker: WorkerId, age: u64) -> Process {
        let boot = self.random.up_to(Duration::from_secs(3));
        let mut process = Process {
            worker,
            age,
            is_ready: false,
            ready_at: Some(self.now + boot),
            dies_at: None,
            is_hung: false,
            last_beat: None,
            has_asked: false,
            is_told_to_end: false,
            is_killed: false,
        };
        if self.is_chaotic {
            match self.random.below(100) {
                0..10 => process.ready_at = None,
                10..25 => {
                    process.ready_at = None;
                    let codes = [0, 1, 3, 4].map(ExitStatus::Exited);
                    let status =
                        self.random.pick(&[codes[0], codes[1], codes[2], codes[3], KILLED]);
                    process.dies_at = Some((self.now + boot, status));
                }
                25..40 => process.is_hung = true,
                40..60 => {
                    let dies_at = self.now + boot + self.random.up_to(Duration::from_secs(5));
                    let status = ExitStatus::Exited(self.random.pick(&[0, 1, 255]));
                    process.dies_at = Some((dies_at, status));
                }
                _ => {}
            }
        }
        process
    }

    fn command(&mut self, pid: Pid, command: Command) {
        let seed = self.seed;
        let graceful_timeout = self.plan.graceful_timeout;
        let process = self.processes.get_mut(&pid);
        let process = process.unwrap_or_else(|| panic!("seed {seed}: {command:?} to a reaped pid"));
        process.is_told_to_end |= !matches!(command, Command::ReopenLogs | Command::Report);
        let end = match command {
            Command::ReopenLogs | Command::Report => return,
            // Half of those who hang come back, for the command interrupts what they wait for.
            Command::Abort if self.random.percent(50) => {
                (Duration::from_secs(2), ExitStatus::Exited(1))
            }
            _ if process.is_hung => return,
            Command::Abort => return,
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

    /// How many serve, and are to go on with it.
    fn serving(&self) -> usize {
        let serves = |process: &&Process| process.is_ready && !process.is_told_to_end;
        self.processes.values().filter(serves).count()
    }

    /// From now on nothing goes wrong, and what went wrong is over.
    fn heal(&mut self) {
        self.is_chaotic = false;
        for process in self.processes.values_mut() {
            process.is_hung = false;
            if !process.is_ready && process.dies_at.is_none() {
                process.ready_at = Some(self.now + Duration::from_secs(1));
            }
        }
    }

    /// All workers that live serve, and there are as many as wanted.
    fn is_settled(&self) -> bool {
        self.processes.len() == self.wanted as usize
            && self.forks.is_empty()
            && self.previous.is_none()
            && !self.is_reloading
            && self
                .processes
                .values()
                .all(|process| process.is_ready && !process.is_told_to_end && !process.has_asked)
            && self.processes.values().all(|process| process.dies_at.is_none())
    }

    /// As many serve as are wanted. Where workers grow old there is always somebody on the move.
    fn has_recovered(&self) -> bool {
        let is_idle = self.forks.is_empty() && self.previous.is_none() && !self.is_reloading;
        match self.plan.max_worker_lifetime {
            Some(_) => {
                let mut staying = self.processes.values().filter(|process| !process.is_told_to_end);
                is_idle
                    && self.serving() >= self.wanted as usize
                    && staying.all(|process| process.dies_at.is_none())
            }
            None => self.is_settled(),
        }
    }

    /// Processes that may still do what they want.
    fn alive(&self) -> usize {
        self.processes.values().filter(|process| !process.is_killed).count()
    }

    fn run_until(&mut self, limit: Duration, what: &str, done: impl Fn(&Self) -> bool) {
        let end = self.now + limit;
        for _ in 0..20_000 {
            if done(self) {
                return;
            }
            assert!(self.now <= end, "seed {}: not {what} in time", self.seed);
            let before = self.now;
            self.step();
            // Nothing to wait for: only time can pass.
            if self.now == before && self.forks.is_empty() && self.next_time().is_none() {
                self.now += Duration::from_secs(1);
                self.look();
            }
        }
        panic!("seed {}: {what} takes too many steps", self.seed);
    }

    fn deadline(&self) -> Option<Duration> {
        let deadline = self.supervisor.poll_timeout()?;
        Some(deadline.saturating_since(Moment::from_start(Duration::ZERO)))
    }

    fn expect_recovery(&mut self) {
        // Whoever asked and then takes all the time that it is given holds up the next one.
        let limit = Duration::from_secs(200) + self.retirement_limit();
        self.run_until(limit, "recovered", |world| world.halted.is_some() || world.has_recovered());
    }

    fn expect_reload(&mut self) {
        if self.halted.is_some() {
            return;
        }
        let (seed, oldest_new) = (self.seed, self.last_age);
        let with_surge = |wanted: usize| wanted + (wanted / 4).max(1);
        let before = self.serving().min(self.wanted as usize);
        let alive_before = self.alive().max(with_surge(self.wanted as usize));
        self.signal(Signal::Hup);
        self.run_until(Duration::from_secs(400), "reloaded", |world| {
            let (serving, wanted) = (world.serving(), world.wanted as usize);
            assert!(serving >= before.min(wanted), "seed {seed}: {serving} of {before} serve");
            let alive = world.alive();
            let most = alive_before.max(wanted) + with_surge(wanted) - wanted;
            assert!(
                alive <= most,
                "seed {seed}: {alive} processes for {alive_before} and {wanted}"
            );
            world.is_settled() && world.processes.values().all(|process| process.age > oldest_new)
        });
    }

    fn expect_resize(&mut self) {
        for signal in [Signal::Ttin, Signal::Ttin, Signal::Ttou] {
            if self.halted.is_none() {
                self.signal(signal);
                self.run_until(Duration::from_secs(200), "resized", Self::is_settled);
            }
        }
    }

    /// All workers ask at once, and each is replaced once, but only a few at a time.
    fn expect_retirement(&mut self) {
        if self.halted.is_some() {
            return;
        }
        let (seed, last_age) = (self.seed, self.last_age);
        let pids: Vec<Pid> = self.processes.keys().copied().collect();
        for pid in pids {
            self.ask_to_retire(pid);
        }
        let at_a_time = (self.wanted as usize / 4).max(1);
        self.run_until(self.retirement_limit(), "replaced", |world| {
            let (processes, wanted) = (world.alive(), world.wanted as usize);
            assert!(processes <= wanted + at_a_time, "seed {seed}: {processes} for {wanted}");
            assert!(world.serving() >= wanted, "seed {seed}: a worker is lost");
            world.is_settled()
        });
        assert_eq!(self.last_age - last_age, u64::from(self.wanted), "seed {seed}");
    }

    /// One after the other, each with a boot and a graceful stop.
    fn retirement_limit(&self) -> Duration {
        (self.plan.graceful_timeout + Duration::from_secs(5)) * (self.wanted + 1)
    }

    fn expect_end(&mut self) {
        self.is_chaotic = false;
        if self.halted.is_none() && self.stop_asked.is_none() {
            let signal = self.random.pick(&[Signal::Int, Signal::Quit, Signal::Term]);
            self.signal(signal);
        }
        let limit = match self.stop_asked {
            Some(Signal::Term) | None => self.plan.graceful_timeout,
            // Whatever was already told to stop gracefully is hurried.
            Some(_) => Duration::from_secs(2),
        };
        let slack = Duration::from_secs(1);
        self.run_until(limit + slack, "ended", |world| world.halted.is_some());
    }
}

fn random_plan(random: &mut Random) -> Plan {
    let limit = random.pick(&[6, 6, 20]);
    let mut plan = Plan::new(u32::try_from(random.below(limit)).unwrap());
    plan.timeout = random.percent(80).then(|| Duration::from_secs(1 + random.below(30)));
    plan.graceful_timeout = Duration::from_secs(random.below(30));
    plan.boot_timeout = random.percent(50).then(|| Duration::from_secs(4 + random.below(30)));
    plan.daemon = random.percent(50);
    let lifetime = random.below(100);
    plan.max_worker_lifetime = (20..50).contains(&lifetime).then(|| Duration::from_secs(lifetime));
    plan.max_worker_lifetime_jitter = Duration::from_secs(random.below(20));
    plan.max_worker_memory = random.percent(30).then_some(1000);
    plan
}
