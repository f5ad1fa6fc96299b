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

mod expectations;
mod headcount;
mod process;
mod random;
mod world;

use self::world::World;

const HISTORIES: u64 = 3000;
const CHAOTIC_STEPS: u64 = 120;

#[test]
fn random_histories_recover_and_end() {
    for seed in 0..HISTORIES {
        let mut world = World::new(seed);
        world.run_chaos(CHAOTIC_STEPS);
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
        let steps = world.random.below(CHAOTIC_STEPS);
        world.run_chaos(steps);
        world.expect_end();
    }
}
