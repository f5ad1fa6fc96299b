//! Workers that ask to be replaced.

use std::time::Duration;

use rgunicorn_arbiter::{Event, Signal};

use crate::script::{Script, plan};

#[test]
fn who_asks_to_retire_goes_when_its_successor_is_ready() {
    let mut script = Script::settled(plan(2, 0, 30));
    script.asks_to_retire(1);
    script.asks_to_retire(1);
    script.expect(&["fork 3"]);
    script.wait(60);
    script.expect(&[]);
    script.ready(3);
    script.expect(&["StopGracefully 1"]);
    script.exited(1, 0);
    script.wait(60);
    script.expect(&[]);
}

#[test]
fn a_quarter_of_the_workers_retires_at_a_time() {
    let mut script = Script::settled(plan(8, 0, 30));
    (1..=8).for_each(|worker| script.asks_to_retire(worker));
    script.expect_a_quarter_of_eight_at_a_time();
}

#[test]
fn a_successor_waits_for_whoever_leaves() {
    let mut script = Script::settled(plan(4, 0, 30));
    script.signal(Signal::Ttou);
    script.asks_to_retire(2);
    script.expect(&["StopGracefully 1"]);
    script.exited(1, 0);
    script.expect(&["fork 5"]);
    // But who is missing is there at once.
    script.signal(Signal::Ttou);
    script.signal(Signal::Ttin);
    script.expect(&["StopGracefully 2", "StopGracefully 5", "fork 6"]);
}

#[test]
fn a_successor_that_does_not_boot_is_tried_again_with_patience() {
    let mut script = Script::settled(plan(1, 0, 30));
    script.asks_to_retire(1);
    script.expect(&["fork 2"]);
    for (number, delay) in (2..).zip([1, 2, 4]) {
        script.exited(number, 3);
        script.decided.clear();
        script.wait_millis(delay * 1000 - 1);
        script.expect(&[]);
        script.wait_millis(1);
        script.expect(&[&format!("fork {}", number + 1)]);
    }
    script.ready(5);
    script.expect(&["StopGracefully 1"]);
}

#[test]
fn a_successor_takes_the_place_of_who_dies_instead() {
    let mut script = Script::settled(plan(1, 10, 30));
    script.asks_to_retire(1);
    script.exited(1, 255);
    script.expect(&["fork 2", "Worker (pid:101) exited with code 255."]);
    script.ready(2);
    // Hung: what it asked for is forgotten when it is replaced.
    script.wait(2);
    script.asks_to_retire(2);
    script.silence = Duration::from_secs(100);
    script.wait(11);
    script.killed(2);
    script.silence = Duration::ZERO;
    script.ready(3);
    script.decided.clear();
    script.wait(60);
    script.expect(&[]);
}

#[test]
fn who_retires_stays_while_somebody_else_is_missing() {
    let mut script = Script::settled(plan(2, 0, 30));
    script.asks_to_retire(1);
    script.exited(2, 255);
    script.expect(&["fork 3", "Worker (pid:102) exited with code 255.", "fork 4"]);
    script.ready(4);
    script.expect(&[]);
    script.ready(3);
    script.expect(&["StopGracefully 1"]);
}

#[test]
fn who_asks_at_once_is_replaced_ten_times_a_second_at_most() {
    let mut script = Script::new(plan(1, 0, 30));
    script.ready(1);
    for number in 1..=10 {
        script.asks_to_retire(number);
        script.decided.clear();
        script.wait_millis(99);
        script.expect(&[]);
        script.wait_millis(1);
        script.expect(&[&format!("fork {}", number + 1)]);
        script.ready(number + 1);
        script.exited(number, 0);
    }
}

#[test]
fn one_worker_less_is_who_retires() {
    let mut script = Script::settled(plan(4, 0, 30));
    script.asks_to_retire(3);
    script.signal(Signal::Ttou);
    script.expect(&["fork 5", "StopGracefully 3", "StopGracefully 5"]);
    script.exited(5, 0);
    script.exited(3, 0);
    script.wait(60);
    script.expect(&[]);
}

#[test]
fn a_reload_does_not_wait_for_those_who_ask_meanwhile() {
    let mut script = Script::settled(plan(8, 0, 30));
    script.asks_to_retire(1);
    script.asks_to_retire(2);
    script.ready(9);
    script.expect(&["fork 9", "fork 10", "StopGracefully 1"]);
    script.signal(Signal::Hup);
    script.ready(10);
    script.expect(&[]);
    script.exited(1, 0);
    script.expect(&["Reload"]);
    script.event(Event::ReloadFailed);
    script.expect(&["StopGracefully 2"]);
}

#[test]
fn a_reload_that_is_to_come_is_successor_enough() {
    let mut script = Script::settled(plan(8, 0, 30));
    (1..=3).for_each(|worker| script.asks_to_retire(worker));
    script.ready(9);
    script.signal(Signal::Hup);
    script.expect(&["fork 9", "fork 10", "StopGracefully 1"]);
    script.exited(10, 3);
    script.decided.clear();
    script.wait(20);
    script.expect(&[]);
    script.exited(1, 0);
    script.expect(&["Reload"]);
}

#[test]
fn nobody_is_kept_for_those_who_go_in_the_same_moment() {
    let mut daemon = plan(2, 0, 30);
    daemon.daemon = true;
    let mut script = Script::settled(daemon);
    script.asks_to_retire(1);
    script.ready(3);
    script.expect(&["fork 3", "StopGracefully 1"]);
    script.asks_to_retire(2);
    script.signal(Signal::Hup);
    script.signal(Signal::Winch);
    script.expect(&["StopGracefully 2", "StopGracefully 3"]);
}

#[test]
fn a_reload_is_every_old_workers_successor() {
    let mut script = Script::settled(plan(2, 0, 30));
    script.signal(Signal::Hup);
    script.event(Event::Reloaded(plan(2, 0, 30)));
    script.expect(&["Reload", "fork 3"]);
    script.asks_to_retire(1);
    script.ready(3);
    script.wait(1);
    script.expect(&["StopGracefully 1"]);
    // One of the new ones has to wait for its turn.
    script.asks_to_retire(3);
    script.exited(1, 0);
    script.expect(&["fork 4"]);
    script.ready(4);
    script.expect(&["StopGracefully 2", "ReloadCompleted"]);
    script.exited(2, 0);
    script.expect(&["fork 5"]);
}

/// The slots suffice for all of them.
#[test]
fn the_most_workers_reload_while_a_quarter_of_them_retires() {
    let mut script = Script::settled(plan(512, 0, 30));
    (1..=512).for_each(|worker| script.asks_to_retire(worker));
    (513..=640).for_each(|worker| script.ready(worker));
    (1..=128).for_each(|worker| script.exited(worker, 0));
    assert_eq!(script.forks.len(), 768);
    script.signal(Signal::Hup);
    script.event(Event::Reloaded(plan(512, 0, 30)));
    let mut ready = 768;
    while !script.decided.contains(&"ReloadCompleted".to_owned()) {
        for line in std::mem::take(&mut script.decided) {
            if let Some(number) = line.strip_prefix("StopGracefully ") {
                script.exited(number.parse().unwrap(), 0);
            }
        }
        let forked = u32::try_from(script.forks.len()).unwrap();
        assert!((ready + 1..=ready + 128).contains(&forked), "{forked} after {ready}");
        (ready + 1..=forked).for_each(|worker| script.ready(worker));
        ready = forked;
    }
    assert_eq!(ready, 768 + 512);
}

#[test]
fn who_asked_retires_after_an_abandoned_reload() {
    let mut script = Script::settled(plan(1, 0, 30));
    script.asks_to_retire(1);
    script.signal(Signal::Hup);
    script.event(Event::Reloaded(plan(1, 0, 30)));
    script.expect(&["fork 2", "Reload", "fork 3"]);
    script.exited(3, 3);
    script.expect(&[
        "Worker (pid:103) exited with code 3.",
        "Reload abandoned: the new worker (pid:103) failed to boot, by code 3: it cannot boot; \
         what served before serves on.",
        "ReloadAbandoned",
    ]);
    script.ready(2);
    script.expect(&["StopGracefully 1"]);
}

#[test]
fn a_stop_ends_all_retirement() {
    let mut script = Script::settled(plan(2, 0, 30));
    script.asks_to_retire(1);
    script.signal(Signal::Term);
    script.asks_to_retire(2);
    script.expect(&[
        "fork 3",
        "CloseListeners",
        "StopGracefully 1",
        "StopGracefully 2",
        "StopGracefully 3",
    ]);
    (1..=3).for_each(|number| script.exited(number, 0));
    script.expect(&["Exit(Asked)"]);
}
