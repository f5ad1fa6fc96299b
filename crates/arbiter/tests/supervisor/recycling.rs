//! Workers that are replaced for their age or their size.

use std::time::Duration;

use rgunicorn_arbiter::{Event, Plan, Signal};

use crate::script::{Script, plan};

fn mortal(workers: u32, lifetime: u64, jitter: u64) -> Plan {
    let mut plan = plan(workers, 0, 30);
    plan.max_worker_lifetime = Some(Duration::from_secs(lifetime));
    plan.max_worker_lifetime_jitter = Duration::from_secs(jitter);
    plan
}

fn limited(workers: u32, bytes: u64) -> Plan {
    let mut plan = plan(workers, 0, 30);
    plan.max_worker_memory = Some(bytes);
    plan
}

#[test]
fn who_has_lived_its_time_is_replaced() {
    let mut script = Script::new(mortal(1, 100, 0));
    script.wait(50);
    script.ready(1);
    script.wait_millis(99_999);
    script.expect(&["fork 1"]);
    script.wait_millis(1);
    script.expect(&["recycle 1", "fork 2"]);
    // Its successor comes first, and lives as long.
    script.wait(50);
    script.ready(2);
    script.exited(1, 0);
    script.wait(99);
    script.expect(&["StopGracefully 1"]);
    script.wait(1);
    script.expect(&["recycle 2", "fork 3"]);
}

#[test]
fn not_all_grow_old_at_once() {
    let mut script = Script::settled(mortal(100, 100, 100));
    script.wait(97);
    script.expect(&[]);
    let mut recycled = 0;
    for quarter in 1..=4 {
        script.wait(25 + u64::from(quarter == 4));
        let now = script.decided.iter().filter(|line| line.starts_with("recycle")).count();
        assert!((10..40).contains(&(now - recycled)), "{now} after {recycled}");
        recycled = now;
    }
    assert_eq!(recycled, 100);
}

#[test]
fn a_stop_knows_no_age() {
    let mut script = Script::settled(mortal(1, 100, 0));
    script.signal(Signal::Term);
    script.expect(&["CloseListeners", "StopGracefully 1"]);
    script.exited(1, 0);
    script.wait(200);
    script.expect(&["Exit(Asked)"]);
    assert_eq!(script.supervisor.poll_timeout(), None);
}

#[test]
fn who_has_grown_too_large_is_replaced() {
    let mut script = Script::new(limited(1, 1000));
    script.expect(&["fork 1"]);
    script.ready(1);
    script.expect(&["measure 1"]);
    script.takes(1, 1000);
    script.wait_millis(9_999);
    script.expect(&[]);
    script.wait_millis(1);
    script.expect(&["measure 1"]);
    script.takes(1, 1001);
    script.expect(&["recycle 1", "fork 2"]);
    // It is known to be too large.
    script.wait(60);
    script.expect(&[]);
    script.ready(2);
    script.takes(2, 1);
    script.exited(1, 0);
    script.expect(&["measure 2", "StopGracefully 1"]);
    script.wait(10);
    script.expect(&["measure 2"]);
}

#[test]
fn who_is_too_large_from_the_start_stays() {
    let mut script = Script::new(limited(1, 1 << 20));
    script.ready(1);
    script.takes(1, 3 << 20);
    script.expect(&[
        "fork 1",
        "measure 1",
        "Worker (pid:101) takes 3 MiB from the start, and max_worker_memory is 1 MiB; it is not \
         replaced, for its successor would take no less.",
    ]);
    script.wait(10);
    script.takes(1, 4 << 20);
    script.expect(&["measure 1"]);
    // Whoever takes its place is another one.
    script.exited(1, 0);
    script.ready(2);
    script.takes(2, 1);
    script.takes(2, 2 << 20);
    script.wait(1);
    script.expect(&["fork 2", "measure 2", "recycle 2", "fork 3"]);
}

#[test]
fn a_quarter_of_the_workers_is_recycled_at_a_time() {
    let mut script = Script::settled(limited(8, 1000));
    for worker in 1..=8 {
        script.takes(worker, 1);
        script.takes(worker, 1001);
    }
    let forks = script.decided.iter().filter(|line| line.starts_with("fork")).count();
    assert_eq!(forks, 2);
}

#[test]
fn a_reload_brings_new_limits() {
    let mut script = Script::settled(mortal(1, 100, 0));
    script.signal(Signal::Hup);
    script.event(Event::Reloaded(limited(1, 1000)));
    script.expect(&["Reload", "fork 2"]);
    script.ready(2);
    script.expect(&["measure 2", "StopGracefully 1", "ReloadCompleted"]);
    script.takes(2, 1);
    script.exited(1, 0);
    script.wait(10);
    script.expect(&["measure 2"]);
}
