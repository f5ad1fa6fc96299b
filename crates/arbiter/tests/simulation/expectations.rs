//! What is expected of a supervisor once nothing goes wrong any more.

use std::time::Duration;

use rgunicorn_arbiter::{Pid, Signal};

use crate::process::Told;
use crate::world::World;

impl World {
    /// From now on nothing goes wrong, and what went wrong is over.
    pub(crate) fn heal(&mut self) {
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
            && self.processes.values().all(|process| {
                process.is_ready && process.told == Told::Nothing && !process.has_asked
            })
            && self.processes.values().all(|process| process.dies_at.is_none())
    }

    /// As many serve as are wanted. Where workers grow old there is always somebody on the move.
    fn has_recovered(&self) -> bool {
        let is_idle = self.forks.is_empty() && self.previous.is_none() && !self.is_reloading;
        match self.plan.max_worker_lifetime {
            Some(_) => {
                let mut staying =
                    self.processes.values().filter(|process| process.told == Told::Nothing);
                is_idle
                    && self.serving() >= self.wanted as usize
                    && staying.all(|process| process.dies_at.is_none())
            }
            None => self.is_settled(),
        }
    }

    pub(crate) fn run_until(&mut self, limit: Duration, what: &str, done: impl Fn(&Self) -> bool) {
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

    pub(crate) fn expect_recovery(&mut self) {
        // Whoever asked and then takes all the time that it is given holds up the next one.
        let limit = Duration::from_secs(200) + self.retirement_limit();
        self.run_until(limit, "recovered", |world| world.halted.is_some() || world.has_recovered());
    }

    pub(crate) fn expect_reload(&mut self) {
        if self.halted.is_some() {
            return;
        }
        let (seed, oldest_new) = (self.seed, self.last_age);
        let serving = self.serving().min(self.wanted as usize);
        // Where workers grow old some may have a successor already.
        let extra = if self.plan.max_worker_lifetime.is_some() { self.surge() } else { 0 };
        let before = self.alive().max(self.wanted as usize + extra);
        self.signal(Signal::Hup);
        self.run_until(Duration::from_secs(400), "reloaded", |world| {
            let (serve, alive) = (world.serving(), world.alive());
            let wanted = world.wanted as usize;
            assert!(serve >= serving.min(wanted), "seed {seed}: {serve} of {serving} serve");
            let most = before.max(wanted) + world.surge();
            assert!(alive <= most, "seed {seed}: {alive} processes, from {before} to {wanted}");
            world.is_settled() && world.processes.values().all(|process| process.age > oldest_new)
        });
    }

    pub(crate) fn expect_resize(&mut self) {
        for signal in [Signal::Ttin, Signal::Ttin, Signal::Ttou] {
            if self.halted.is_none() {
                self.signal(signal);
                self.run_until(Duration::from_secs(200), "resized", Self::is_settled);
            }
        }
    }

    /// All workers ask at once, and each is replaced once, but only a few at a time.
    pub(crate) fn expect_retirement(&mut self) {
        if self.halted.is_some() {
            return;
        }
        let (seed, last_age) = (self.seed, self.last_age);
        let pids: Vec<Pid> = self.processes.keys().copied().collect();
        for pid in pids {
            self.ask_to_retire(pid);
        }
        let at_a_time = self.surge();
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

    pub(crate) fn expect_end(&mut self) {
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
        // Whoever was told to abort just before has its second, and then dies of SIGKILL.
        let slack = Duration::from_millis(1100);
        self.run_until(limit + slack, "ended", |world| world.halted.is_some());
    }
}
