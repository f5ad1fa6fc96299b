//! What a service manager is told.

use std::time::Duration;

use rgunicorn_arbiter::{Event, Moment, Signal};

use crate::script::{Script, pid, plan};

fn managed(workers: u32, timeout: u64, watchdog: u64) -> Script {
    let mut script = Script::new(plan(workers, timeout, 30));
    let watchdog = (watchdog > 0).then(|| Duration::from_secs(watchdog));
    script.supervisor.notify_service(watchdog, Moment::from_start(script.now));
    script.look();
    script.decided.clear();
    script
}

#[test]
fn ready_with_the_first_worker() {
    let mut script = managed(2, 0, 0);
    script.expect(&[]);
    script.ready(2);
    script.expect(&["Notify(Ready)", "Notify(Status { ready: 1, wanted: 2 })"]);
    script.ready(1);
    script.expect(&["Notify(Status { ready: 2, wanted: 2 })"]);
    script.signal(Signal::Term);
    script.expect(&["CloseListeners", "StopGracefully 1", "StopGracefully 2", "Notify(Stopping)"]);
}

#[test]
fn ready_at_once_without_workers() {
    let mut script = Script::new(plan(0, 0, 30));
    script.supervisor.notify_service(None, Moment::from_start(script.now));
    script.look();
    script.expect(&["Notify(Ready)", "Notify(Status { ready: 0, wanted: 0 })"]);
}

#[test]
fn every_reload_ends_ready() {
    let mut script = managed(1, 0, 0);
    script.ready(1);
    script.decided.clear();
    script.signal(Signal::Hup);
    script.expect(&["Reload", "Notify(Reloading)"]);
    script.event(Event::ReloadFailed);
    script.expect(&["Notify(Ready)"]);
    script.signal(Signal::Hup);
    script.event(Event::Reloaded(plan(1, 0, 30)));
    script.expect(&["Reload", "Notify(Reloading)", "fork 2"]);
    // Who asks again is told again.
    script.signal(Signal::Hup);
    script.expect(&["StopGracefully 2", "ReloadAbandoned", "Notify(Reloading)"]);
    script.exited(2, 0);
    script.expect(&["Reload"]);
    script.event(Event::Reloaded(plan(1, 0, 30)));
    script.ready(3);
    script.exited(1, 0);
    assert!(script.decided.contains(&"Notify(Ready)".to_owned()), "{:?}", script.decided);
}

#[test]
fn a_sign_of_life_twice_per_watchdog() {
    let mut script = managed(1, 0, 10);
    script.wait(60);
    // systemd does not count yet.
    script.expect(&[]);
    script.ready(1);
    script.decided.clear();
    script.wait(20);
    script.expect(&["Notify(Watchdog)"; 4]);
}

#[test]
fn no_sign_of_life_while_nobody_shows_any() {
    let mut script = managed(1, 30, 10);
    script.ready(1);
    script.decided.clear();
    script.silence = Duration::from_secs(29);
    script.wait(5);
    script.expect(&["Notify(Watchdog)"]);
    script.silence = Duration::from_secs(40);
    script.wait(60);
    let said = std::mem::take(&mut script.decided);
    let hung = said.iter().position(|line| line.starts_with("WORKER TIMEOUT")).unwrap();
    assert!(!said[hung..].contains(&"Notify(Watchdog)".to_owned()), "{said:?}");
    let complaints = said.iter().filter(|line| line.starts_with("No worker shows life"));
    assert_eq!(complaints.count(), 1, "{said:?}");
    // Its successor does.
    script.silence = Duration::ZERO;
    script.exited(1, 1);
    script.ready(2);
    script.decided.clear();
    script.wait(5);
    script.expect(&["Notify(Watchdog)"]);
}

#[test]
fn of_two_arbiters_the_main_process_speaks() {
    let mut script = managed(1, 0, 10);
    script.ready(1);
    script.signal(Signal::Usr2);
    script.event(Event::Upgraded(Ok(pid(50))));
    script.decided.clear();
    script.signal(Signal::Term);
    script.expect(&["CloseListeners", "StopGracefully 1", "Notify(MainPid(Pid(150)))"]);

    let mut script = managed(1, 0, 10);
    script.supervisor.await_promotion();
    script.ready(1);
    script.wait(20);
    script.expect(&[]);
    script.event(Event::Promoted);
    script.expect(&[
        "Promote",
        "ShareListeners(false)",
        "Notify(Ready)",
        "Notify(Status { ready: 1, wanted: 1 })",
    ]);
}
