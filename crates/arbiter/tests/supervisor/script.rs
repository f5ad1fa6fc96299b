//! A supervisor with its arbiter, its children and its clock played by a script.

use std::time::Duration;

use rgunicorn_arbiter::{
    Action, Event, ExitStatus, Moment, Pid, Plan, Report, RetireReason, Severity, Signal,
    Supervisor, WorkerId,
};

/// Names the n-th process 100 + n, and writes down what is decided.
pub(crate) struct Script {
    pub(crate) supervisor: Supervisor,
    pub(crate) now: Duration,
    pub(crate) forks: Vec<WorkerId>,
    /// Latest heartbeats are this old.
    pub(crate) silence: Duration,
    pub(crate) decided: Vec<String>,
    /// Changes of the number of workers to keep.
    pub(crate) numbers: Vec<(u32, u32)>,
}

impl Script {
    pub(crate) fn new(plan: Plan) -> Self {
        let now = Duration::from_secs(1000);
        let supervisor = Supervisor::new(plan, Moment::from_start(now));
        let silence = Duration::ZERO;
        Self {
            supervisor,
            now,
            forks: Vec::new(),
            silence,
            decided: Vec::new(),
            numbers: Vec::new(),
        }
        .drained()
    }

    fn drained(mut self) -> Self {
        self.drain();
        self
    }

    /// A script whose workers are ready and have lasted.
    pub(crate) fn settled(plan: Plan) -> Self {
        let workers = plan.workers;
        let mut script = Self::new(plan);
        (1..=workers).for_each(|worker| script.ready(worker));
        script.wait(2);
        script.decided.clear();
        script
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.supervisor.handle_event(event, Moment::from_start(self.now));
        self.drain();
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        self.event(Event::Signal(signal));
    }

    pub(crate) fn ready(&mut self, number: u32) {
        self.event(Event::Ready { worker: self.forks[number as usize - 1] });
    }

    pub(crate) fn asks_to_retire(&mut self, number: u32) {
        let worker = self.forks[number as usize - 1];
        self.event(Event::RetireAsked { worker, reason: RetireReason::MaxRequests });
    }

    pub(crate) fn takes(&mut self, number: u32, bytes: u64) {
        self.event(Event::Measured { worker: self.forks[number as usize - 1], bytes });
    }

    pub(crate) fn exited(&mut self, number: u32, code: i32) {
        self.ended(number, ExitStatus::Exited(code), None);
    }

    pub(crate) fn killed(&mut self, number: u32) {
        self.ended(number, ExitStatus::Signaled(9), None);
    }

    pub(crate) fn ended(&mut self, number: u32, status: ExitStatus, out_of_memory: Option<bool>) {
        self.event(Event::Exited { pid: pid(number), status, out_of_memory });
    }

    /// Lets seconds pass, and does on the way what is due.
    pub(crate) fn wait(&mut self, seconds: u64) {
        self.wait_millis(seconds * 1000);
    }

    pub(crate) fn wait_millis(&mut self, milliseconds: u64) {
        let end = self.now + Duration::from_millis(milliseconds);
        loop {
            let deadline = self.supervisor.poll_timeout();
            let start = Moment::from_start(Duration::ZERO);
            let deadline = deadline.map(|deadline| deadline.saturating_since(start));
            self.now = deadline.unwrap_or(end).min(end);
            self.look();
            if self.now == end {
                break;
            }
        }
    }

    pub(crate) fn look(&mut self) {
        let beat = Moment::from_start(self.now.saturating_sub(self.silence));
        self.supervisor.handle_timeout(|_| Some(beat), Moment::from_start(self.now));
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(action) = self.supervisor.poll_action() {
            let line = match action {
                Action::CloseListeners { .. } => "CloseListeners".to_owned(),
                Action::Command { pid, command } => format!("{command:?} {}", number(pid)),
                Action::Fork { worker, .. } => {
                    self.forks.push(worker);
                    let number = u32::try_from(self.forks.len()).unwrap();
                    self.supervisor.handle_event(
                        Event::Forked { worker, pid: pid(number) },
                        Moment::from_start(self.now),
                    );
                    format!("fork {number}")
                }
                Action::NumberChanged { new, old } => {
                    self.numbers.push((old, new));
                    continue;
                }
                Action::Measure { pid, .. } => format!("measure {}", number(pid)),
                Action::Kill { pid } => format!("kill {}", number(pid)),
                Action::Report(Report::Outgrown { pid, .. } | Report::Outlived { pid, .. }) => {
                    format!("recycle {}", number(pid))
                }
                Action::Report(report) if report.severity() <= Severity::Info => continue,
                Action::Report(report) => report.to_string(),
                action => format!("{action:?}"),
            };
            self.decided.push(line);
        }
    }

    /// What was decided since the last call.
    #[track_caller]
    pub(crate) fn expect(&mut self, decided: &[&str]) {
        assert_eq!(std::mem::take(&mut self.decided), decided);
    }

    /// Eight workers, each of which is to be replaced.
    #[track_caller]
    pub(crate) fn expect_a_quarter_of_eight_at_a_time(&mut self) {
        self.expect(&["fork 9", "fork 10"]);
        self.ready(10);
        self.ready(9);
        // Who has yet to finish its requests counts.
        self.expect(&["StopGracefully 1", "StopGracefully 2"]);
        self.exited(2, 0);
        self.expect(&["fork 11"]);
    }
}

pub(crate) fn pid(number: u32) -> Pid {
    Pid::from_raw(100 + i32::try_from(number).unwrap())
}

pub(crate) fn number(pid: Pid) -> i32 {
    pid.as_raw() - 100
}

pub(crate) fn plan(workers: u32, timeout: u64, graceful_timeout: u64) -> Plan {
    let mut plan = Plan::new(workers);
    plan.timeout = (timeout > 0).then(|| Duration::from_secs(timeout));
    plan.graceful_timeout = Duration::from_secs(graceful_timeout);
    plan
}
