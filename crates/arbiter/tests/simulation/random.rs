//! What a history draws from its seed.

use std::time::Duration;

use rgunicorn_arbiter::{Plan, Signal};

/// `SplitMix64`: two histories with different seeds have nothing in common.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub(crate) fn up_to(&mut self, duration: Duration) -> Duration {
        Duration::from_millis(self.below(u64::try_from(duration.as_millis()).unwrap() + 1))
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }
}

/// How often what happens in a history: drawn once for each, so that some have reload upon reload,
/// some go up and down between no worker and many, and some are quiet but for one thing.
pub(crate) struct Temper {
    /// Percent of the steps.
    pub(crate) signals: u64,
    pub(crate) favourites: &'static [Signal],
    /// Percent of the steps.
    pub(crate) kills: u64,
    /// Percent of the steps.
    pub(crate) retirements: u64,
    /// Of so many workers 60 have something wrong.
    pub(crate) workers_for_60_faults: u64,
    /// Percent of the reloads.
    pub(crate) bad_plans: u64,
    /// Numbers of workers in plans, each below one of these.
    workers_below: &'static [u64],
    /// Whether the supervisor hears of a fork before anything else.
    pub(crate) forks_at_once: bool,
}

impl Temper {
    pub(crate) fn new(random: &mut Random) -> Self {
        use Signal::{Hup, Ttin, Ttou, Usr1, Usr2, Winch};
        Self {
            signals: random.pick(&[12, 12, 4, 30]),
            favourites: random.pick(&[
                &[Hup, Hup, Ttin, Ttou, Usr1, Usr2, Winch][..],
                &[Hup, Hup, Ttin, Ttou, Usr1, Usr2, Winch],
                &[Hup],
                &[Hup, Ttin, Ttou, Ttou, Winch],
            ]),
            kills: random.pick(&[3, 3, 0, 10]),
            retirements: random.pick(&[10, 10, 0, 40]),
            workers_for_60_faults: random.pick(&[100, 100, 300, 1000]),
            bad_plans: random.pick(&[20, 5]),
            workers_below: random.pick(&[&[6, 6, 20][..], &[2], &[1, 2, 20], &[20]]),
            forks_at_once: random.percent(50),
        }
    }
}

pub(crate) fn random_plan(random: &mut Random, temper: &Temper) -> Plan {
    let limit = random.pick(temper.workers_below);
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
