//! The supervisor, step by step: what it decides in the cases that operators know.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

mod recycling;
mod reload;
mod retirement;
mod script;
mod service;
mod upgrade;

use std::io;
use std::time::Duration;

use rgunicorn_arbiter::{Action, Event, ExitStatus, Moment, Plan, Report, Signal, Supervisor};

use self::script::{Script, pid, plan};

#[test]
fn a_stop_waits_for_all_workers() {
    let mut script = Script::settled(plan(2, 0, 30));
    script.signal(Signal::Term);
    script.expect(&["CloseListeners", "StopGracefully 1", "StopGracefully 2"]);
    script.exited(2, 0);
    script.wait(29);
    script.expect(&[]);
    script.wait(1);
    script.expect(&["Worker graceful timeout (pid:101)", "kill 1"]);
    script.killed(1);
    script.expect(&["Worker (pid:101) was sent SIGKILL! Reason: graceful_timeout.", "Exit(Asked)"]);
}

#[test]
fn a_second_signal_hurries() {
    let mut script = Script::settled(plan(1, 0, 30));
    script.signal(Signal::Term);
    script.signal(Signal::Term);
    script.signal(Signal::Hup);
    script.signal(Signal::Ttin);
    script.expect(&["CloseListeners", "StopGracefully 1"]);
    script.signal(Signal::Int);
    script.signal(Signal::Int);
    script.expect(&["StopNow 1"]);
    script.wait(2);
    script.expect(&["kill 1"]);
    script.killed(1);
    script.expect(&["Worker (pid:101) was sent SIGKILL! Reason: quick stop.", "Exit(Asked)"]);
}

#[test]
fn workers_report_at_any_time() {
    let mut script = Script::settled(plan(2, 10, 30));
    script.signal(Signal::Urg);
    script.expect(&["Report 1", "Report 2"]);
    script.signal(Signal::Term);
    script.signal(Signal::Urg);
    script.expect(&[
        "CloseListeners",
        "StopGracefully 1",
        "StopGracefully 2",
        "Report 1",
        "Report 2",
    ]);
}

#[test]
fn a_silent_worker_is_aborted_then_killed_then_replaced() {
    let mut script = Script::settled(plan(1, 10, 30));
    script.silence = Duration::from_secs(100);
    script.wait(7);
    script.expect(&[]);
    script.wait(1);
    script.expect(&["WORKER TIMEOUT (pid:101): silent for 10 s, and timeout is 10 s", "Abort 1"]);
    script.wait(1);
    script.expect(&["kill 1"]);
    script.killed(1);
    script.expect(&["Worker (pid:101) was sent SIGKILL! Reason: timeout.", "fork 2"]);
}

#[test]
fn a_boot_may_take_its_time() {
    let mut script = Script::new(plan(1, 1, 30));
    script.expect(&["fork 1"]);
    script.wait(1000);
    script.expect(&[]);
}

#[test]
fn a_boot_that_takes_too_long_is_aborted_and_tried_again_with_patience() {
    let mut plan = plan(1, 0, 30);
    plan.boot_timeout = Some(Duration::from_secs(10));
    let mut script = Script::new(plan);
    script.wait_millis(9_999);
    script.expect(&["fork 1"]);
    script.wait_millis(1);
    script.expect(&["WORKER TIMEOUT (pid:101): not ready after 10 s, its boot_timeout", "Abort 1"]);
    script.wait(1);
    script.expect(&["kill 1"]);
    script.killed(1);
    script.expect(&[
        "Worker (pid:101) was sent SIGKILL! Reason: boot_timeout.",
        "Worker (pid:101) ended too soon after its start; the next start is in 1 s.",
    ]);
    script.wait(1);
    script.expect(&["fork 2"]);
    // Whoever could not run was not slow.
    script.now += Duration::from_secs(100);
    script.look();
    script.wait(9);
    script.ready(2);
    script.wait(100);
    script.expect(&[]);
}

#[test]
fn a_reload_is_abandoned_when_a_new_worker_takes_too_long() {
    let mut script = Script::settled(plan(1, 0, 30));
    script.signal(Signal::Hup);
    let mut plan = plan(1, 0, 30);
    plan.boot_timeout = Some(Duration::from_secs(10));
    script.event(Event::Reloaded(plan));
    script.wait(11);
    script.decided.clear();
    script.killed(2);
    script.expect(&[
        "Worker (pid:102) was sent SIGKILL! Reason: boot_timeout.",
        "Reload abandoned: the new worker (pid:102) failed to boot, by boot_timeout; \
         what served before serves on.",
        "ReloadAbandoned",
    ]);
}

#[test]
fn who_killed_a_worker_is_told() {
    for (out_of_memory, words) in [
        (None, "Perhaps out of memory?"),
        (Some(true), "Perhaps out of memory? Yes: it was the kernel's out-of-memory killer."),
        (Some(false), "Neither by this server nor by the kernel's out-of-memory killer."),
    ] {
        let mut script = Script::settled(plan(1, 0, 30));
        script.ended(1, ExitStatus::Signaled(9), out_of_memory);
        script.expect(&[&format!("Worker (pid:101) was sent SIGKILL! {words}"), "fork 2"]);
    }
}

#[test]
fn winch_stops_all_workers_of_a_daemon() {
    let mut script = Script::settled(plan(2, 0, 30));
    script.signal(Signal::Winch);
    script.expect(&[]);
    let mut daemon = plan(2, 0, 30);
    daemon.daemon = true;
    let mut script = Script::settled(daemon.clone());
    script.signal(Signal::Winch);
    script.expect(&["StopGracefully 1", "StopGracefully 2"]);
    script.exited(1, 0);
    script.exited(2, 0);
    // One less than none is none.
    script.signal(Signal::Ttou);
    script.wait(60);
    script.expect(&[]);
    script.signal(Signal::Ttin);
    script.expect(&["fork 3"]);
    script.ready(3);
    script.signal(Signal::Winch);
    script.exited(3, 0);
    script.expect(&["StopGracefully 3"]);
    script.signal(Signal::Hup);
    script.event(Event::Reloaded(daemon));
    script.expect(&["Reload", "fork 4", "fork 5"]);
    assert_eq!(script.numbers, [(2, 0), (0, 1), (1, 0), (0, 2)]);
}

#[test]
fn after_a_suspend_everyone_gets_the_whole_time() {
    let mut script = Script::settled(plan(1, 10, 30));
    script.now += Duration::from_secs(3600);
    script.silence = Duration::from_secs(3600);
    script.look();
    script.wait_millis(9_999);
    script.expect(&[]);
    script.wait_millis(1);
    script.expect(&["WORKER TIMEOUT (pid:101): silent for 10 s, and timeout is 10 s", "Abort 1"]);
}

#[test]
fn a_boot_that_fails_at_the_first_start_ends_it() {
    for (code, halt) in [(3, "Exit(Boot)"), (4, "Exit(AppLoad)")] {
        let mut script = Script::new(plan(2, 0, 30));
        script.exited(1, code);
        script.exited(2, code);
        let [reason, end] = ["Shutting down: Master", halt];
        assert!(script.decided.contains(&reason.to_owned()), "{:?}", script.decided);
        assert_eq!(script.decided.pop().unwrap(), end);
        assert!(script.decided.contains(&"StopNow 2".to_owned()));
    }
}

#[test]
fn a_boot_that_fails_later_is_tried_again_with_patience() {
    let mut script = Script::settled(plan(1, 0, 30));
    script.exited(1, 0);
    script.expect(&["fork 2"]);
    let mut seconds = 0;
    for (deaths, delay) in (1..).zip([1, 2, 4, 8, 16, 30, 30]) {
        let (number, pid) = (deaths + 1, deaths + 101);
        script.exited(number, 3);
        script.wait_millis(delay * 1000 - 1);
        let backs_off = if deaths < 3 {
            format!(
                "Worker (pid:{pid}) ended too soon after its start; the next start is in {delay} s."
            )
        } else {
            format!(
                "Crash loop: {deaths} workers within {seconds} s did not last, the last one \
                 (pid:{pid}) ended by code 3: it cannot boot; the next start is in {delay} s."
            )
        };
        script.expect(&[&format!("Worker (pid:{pid}) exited with code 3."), &backs_off]);
        script.wait_millis(1);
        script.expect(&[&format!("fork {}", number + 1)]);
        seconds += delay;
    }
}

#[test]
fn a_crash_is_made_good_at_once_unless_it_repeats() {
    let mut script = Script::settled(plan(1, 0, 30));
    // The first worker had lasted.
    for (number, delay) in (2..).zip([0, 0, 0, 0, 0, 0, 1, 1]) {
        script.exited(number - 1, 255);
        let fork = format!("fork {number}");
        if delay > 0 {
            script.wait_millis(delay * 1000 - 1);
            assert!(!script.decided.contains(&fork), "{:?}", script.decided);
            script.wait_millis(1);
        }
        assert_eq!(script.decided.pop().unwrap(), fork);
        script.ready(number);
    }
    // One that lasts is no part of the row.
    script.wait(1);
    script.exited(9, 255);
    assert_eq!(script.decided.pop().unwrap(), "fork 10");
}

#[test]
fn a_failed_fork_is_tried_again() {
    let mut supervisor = Supervisor::new(Plan::new(1), Moment::from_start(Duration::ZERO));
    for (second, delay) in [(0, 1), (1, 2), (3, 4)] {
        let now = Moment::from_start(Duration::from_secs(second));
        supervisor.handle_timeout(|_| None, now);
        let Some(Action::Fork { worker, .. }) = supervisor.poll_action() else { unreachable!() };
        let error = io::Error::from(io::ErrorKind::OutOfMemory);
        supervisor.handle_event(Event::ForkFailed { worker, error }, now);
        let report = supervisor.poll_action();
        assert!(matches!(report, Some(Action::Report(Report::ForkFailed { .. }))), "{report:?}");
        assert_eq!(supervisor.poll_timeout(), Some(now + Duration::from_secs(delay)));
    }
}

#[test]
fn the_oldest_worker_goes_first() {
    let mut script = Script::settled(plan(2, 0, 30));
    script.signal(Signal::Ttin);
    script.expect(&["fork 3"]);
    script.ready(3);
    script.signal(Signal::Ttou);
    script.signal(Signal::Ttou);
    script.signal(Signal::Ttou);
    script.expect(&["StopGracefully 1", "StopGracefully 2"]);
}

#[test]
fn a_stop_does_not_wait_for_the_next_attempt() {
    let mut script = Script::settled(plan(1, 0, 30));
    script.exited(1, 0);
    script.exited(2, 3);
    script.decided.clear();
    script.signal(Signal::Term);
    script.expect(&["CloseListeners", "Exit(Asked)"]);
}

#[test]
fn who_is_being_forked_can_be_told_to_stop() {
    let now = Moment::from_start(Duration::ZERO);
    let mut supervisor = Supervisor::new(Plan::new(2), now);
    let mut fork = || match supervisor.poll_action() {
        Some(Action::Fork { worker, .. }) => worker,
        action => unreachable!("{action:?}"),
    };
    let (first, second) = (fork(), fork());
    supervisor.handle_event(Event::Signal(Signal::Term), now);
    supervisor.handle_event(Event::Forked { worker: first, pid: pid(1) }, now);
    let error = io::Error::from(io::ErrorKind::OutOfMemory);
    supervisor.handle_event(Event::ForkFailed { worker: second, error }, now);
    let status = ExitStatus::Exited(0);
    let exited = Event::Exited { pid: pid(1), status, out_of_memory: None };
    supervisor.handle_event(exited, now);
    let actions = std::iter::from_fn(|| supervisor.poll_action());
    let actions = actions.filter(|action| !matches!(action, Action::Report(_)));
    let actions: Vec<String> = actions.map(|action| format!("{action:?}")).collect();
    assert_eq!(
        actions,
        [
            "CloseListeners { graceful: true }",
            "Command { pid: Pid(101), command: StopGracefully }",
            "Exit(Asked)"
        ]
    );
}
