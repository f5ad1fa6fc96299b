//! USR2: one other arbiter at a time, on either side.

use rgunicorn_arbiter::{Event, ExitStatus, Signal};

use crate::script::{Script, pid, plan};

#[test]
fn one_successor_at_a_time() {
    let mut script = Script::settled(plan(1, 0, 30));
    script.signal(Signal::Usr2);
    script.expect(&["Upgrade"]);
    // Not known yet.
    script.signal(Signal::Usr2);
    script.expect(&["USR2 signal ignored. Child exists."]);
    script.event(Event::Upgraded(Ok(pid(50))));
    script.expect(&["ShareListeners(true)"]);
    script.signal(Signal::Usr2);
    script.expect(&["USR2 signal ignored. Child exists."]);
    let (status, out_of_memory) = (ExitStatus::Exited(3), None);
    script.event(Event::Exited { pid: pid(50), status, out_of_memory });
    script.expect(&[
        "ShareListeners(false)",
        "The new master (pid:150) ended with code 3; this one serves on.",
    ]);
    script.signal(Signal::Usr2);
    script.expect(&["Upgrade"]);
}

#[test]
fn a_successor_that_cannot_be_made_is_reported() {
    let mut script = Script::settled(plan(1, 0, 30));
    script.signal(Signal::Usr2);
    script.event(Event::Upgraded(Err(std::io::Error::other("no memory"))));
    script.expect(&["Upgrade", "Cannot start a new master: no memory"]);
    script.signal(Signal::Usr2);
    script.expect(&["Upgrade"]);
}

#[test]
fn a_successor_waits_for_its_promotion() {
    let mut script = Script::settled(plan(1, 0, 30));
    script.supervisor.await_promotion();
    script.signal(Signal::Usr2);
    script.expect(&["USR2 signal ignored. Parent exists."]);
    script.event(Event::Promoted);
    script.expect(&["Promote", "ShareListeners(false)"]);
    script.event(Event::Promoted);
    script.expect(&[]);
    script.signal(Signal::Usr2);
    script.expect(&["Upgrade"]);
}

#[test]
fn who_stops_starts_nobody() {
    let mut script = Script::settled(plan(1, 0, 30));
    script.signal(Signal::Term);
    script.signal(Signal::Usr2);
    script.expect(&["CloseListeners", "StopGracefully 1"]);
}
