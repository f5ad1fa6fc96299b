//! Reloads: a new generation takes over, worker by worker.

use rgunicorn_arbiter::{Event, Signal};

use crate::script::{Script, plan};

/// A settled script in which HUP has come, with a new plan.
fn reloading(workers: u32, new: u32) -> Script {
    let mut script = Script::settled(plan(workers, 0, 30));
    script.signal(Signal::Hup);
    script.expect(&["Reload"]);
    script.event(Event::Reloaded(plan(new, 0, 30)));
    script
}

#[test]
fn for_each_new_worker_that_is_ready_an_old_one_goes() {
    let mut script = reloading(2, 2);
    script.expect(&["fork 3"]);
    script.wait(60);
    script.expect(&[]);
    script.ready(3);
    script.expect(&["StopGracefully 1"]);
    // Who has yet to finish its requests counts.
    script.exited(1, 0);
    script.expect(&["fork 4"]);
    script.ready(4);
    script.expect(&["StopGracefully 2", "ReloadCompleted"]);
    // The next one waits until the first has ended.
    script.signal(Signal::Hup);
    script.expect(&[]);
    script.exited(2, 0);
    script.expect(&["Reload"]);
    script.event(Event::ReloadFailed);
    script.expect(&[]);
}

#[test]
fn a_quarter_of_the_workers_is_new_at_a_time() {
    let mut script = reloading(8, 8);
    script.expect_a_quarter_of_eight_at_a_time();
}

#[test]
fn the_new_number_holds_from_the_first_new_worker_on() {
    let mut more = reloading(2, 4);
    more.expect(&["fork 3", "fork 4", "fork 5"]);
    (3..=5).for_each(|worker| more.ready(worker));
    more.expect(&["StopGracefully 1"]);
    more.exited(1, 0);
    more.ready(6);
    more.expect(&["fork 6", "StopGracefully 2", "ReloadCompleted"]);

    let mut fewer = reloading(3, 1);
    fewer.expect(&["fork 4"]);
    fewer.ready(4);
    fewer.expect(&["StopGracefully 1", "StopGracefully 2", "StopGracefully 3", "ReloadCompleted"]);

    let mut none = reloading(2, 0);
    none.expect(&["StopGracefully 1", "StopGracefully 2", "ReloadCompleted"]);
}

#[test]
fn ttin_and_ttou_hold_whatever_becomes_of_the_reload() {
    let mut script = reloading(2, 2);
    script.signal(Signal::Ttin);
    script.expect(&["fork 3", "fork 4"]);
    script.exited(4, 3);
    assert_eq!(script.decided[2..], ["StopGracefully 3", "ReloadAbandoned", "fork 5"]);

    let mut script = reloading(4, 4);
    script.signal(Signal::Ttou);
    script.ready(5);
    script.expect(&["fork 5", "StopGracefully 1", "StopGracefully 2"]);
}

#[test]
fn the_first_new_worker_that_does_not_boot_abandons_the_reload() {
    let mut script = reloading(8, 8);
    script.expect(&["fork 9", "fork 10"]);
    script.exited(10, 3);
    script.expect(&[
        "Worker (pid:110) exited with code 3.",
        "Reload abandoned: the new worker (pid:110) failed to boot, by code 3: it cannot boot; \
         what served before serves on.",
        "StopGracefully 9",
        "ReloadAbandoned",
    ]);
    script.exited(9, 0);
    script.wait(60);
    script.expect(&[]);
    script.exited(1, 0);
    script.expect(&["fork 11"]);
}

#[test]
fn a_reload_that_has_shown_that_it_works_bears_a_failure() {
    let mut script = reloading(2, 2);
    script.ready(3);
    script.exited(1, 0);
    script.expect(&["fork 3", "StopGracefully 1", "fork 4"]);
    script.exited(4, 3);
    script.decided.clear();
    script.wait(1);
    script.expect(&["fork 5"]);
    script.ready(5);
    script.expect(&["StopGracefully 2", "ReloadCompleted"]);
}

#[test]
fn what_came_of_an_abandoned_reload_serves_until_it_is_replaced() {
    let mut script = reloading(2, 2);
    script.ready(3);
    script.exited(1, 0);
    script.expect(&["fork 3", "StopGracefully 1", "fork 4"]);
    for number in 4..=6 {
        script.exited(number, 3);
        script.wait(4);
    }
    let abandoned = script.decided.iter().position(|line| line == "ReloadAbandoned").unwrap();
    assert_eq!(script.decided[abandoned..], ["ReloadAbandoned", "fork 7"]);
    script.decided.clear();
    // Its own successor may fail as well: it stays.
    script.exited(7, 3);
    script.wait(1);
    script.decided.clear();
    script.ready(8);
    script.expect(&["StopGracefully 3"]);
    script.exited(3, 0);
    script.wait(60);
    script.expect(&[]);
}

#[test]
fn a_hang_up_begins_the_reload_anew() {
    let mut script = reloading(2, 2);
    script.ready(3);
    script.exited(1, 0);
    script.expect(&["fork 3", "StopGracefully 1", "fork 4"]);
    script.signal(Signal::Hup);
    script.expect(&["StopGracefully 4", "ReloadAbandoned"]);
    script.exited(4, 0);
    script.expect(&["Reload"]);
    script.event(Event::Reloaded(plan(2, 0, 30)));
    script.expect(&["fork 5"]);
    // The oldest first.
    script.ready(5);
    script.expect(&["StopGracefully 2"]);
}

#[test]
fn who_dies_during_a_reload_is_replaced_by_a_new_one() {
    let mut script = Script::settled(plan(3, 0, 30));
    script.exited(1, 255);
    script.exited(4, 3);
    script.decided.clear();
    // The first one is waiting for its turn; the second one dies on the way.
    script.signal(Signal::Hup);
    script.event(Event::Reloaded(plan(3, 0, 30)));
    script.expect(&["Reload", "fork 5", "fork 6"]);
    script.exited(2, 255);
    script.expect(&["Worker (pid:102) exited with code 255.", "fork 7"]);
    (5..=7).for_each(|worker| script.ready(worker));
    script.expect(&["StopGracefully 3", "ReloadCompleted"]);
}

#[test]
fn who_does_not_serve_yet_need_not_begin_to_when_a_new_one_does() {
    let mut script = Script::new(plan(2, 0, 30));
    script.ready(1);
    script.signal(Signal::Hup);
    script.event(Event::Reloaded(plan(2, 0, 30)));
    script.expect(&["fork 1", "fork 2", "Reload", "fork 3"]);
    script.ready(3);
    script.expect(&["StopGracefully 2"]);
    script.exited(2, 0);
    script.expect(&["fork 4"]);
}

#[test]
fn who_is_needed_does_not_wait_for_those_who_never_served() {
    let mut script = Script::new(plan(4, 0, 30));
    script.ready(1);
    script.signal(Signal::Hup);
    script.event(Event::Reloaded(plan(4, 0, 30)));
    script.expect(&["fork 1", "fork 2", "fork 3", "fork 4", "Reload", "fork 5"]);
    script.ready(5);
    // For a moment there are seven processes, two of which serve.
    script.expect(&[
        "StopGracefully 2",
        "StopGracefully 3",
        "StopGracefully 4",
        "fork 6",
        "fork 7",
    ]);
}

#[test]
fn who_boots_is_needed_if_the_reload_comes_to_nothing() {
    let mut script = Script::new(plan(2, 0, 30));
    script.signal(Signal::Hup);
    script.event(Event::Reloaded(plan(2, 0, 30)));
    script.expect(&["fork 1", "fork 2", "Reload", "fork 3"]);
    script.ready(1);
    script.exited(3, 1);
    assert_eq!(script.decided.pop().unwrap(), "ReloadAbandoned");
    script.decided.clear();
    script.ready(2);
    script.wait(60);
    script.expect(&[]);
}
