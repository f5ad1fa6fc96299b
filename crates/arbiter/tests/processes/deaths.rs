//! Workers that die, hang, or cannot come to be, and what the log says of it.

use std::fs;

use nix::sys::signal::{Signal, kill};

use crate::server::{Server, answer, wait_until};

#[test]
fn a_worker_that_somebody_kills_is_replaced() {
    let (mut server, worker) = Server::serving(&[]);
    kill(worker, Signal::SIGKILL).unwrap();
    let line = server.wait_for(&format!("Worker (pid:{worker}) was sent SIGKILL!"));
    // Not every kernel tells.
    assert!(
        line.ends_with(" Perhaps out of memory?")
            || line.ends_with(" Neither by this server nor by the kernel's out-of-memory killer."),
        "{line}"
    );
    server.wait_for("Booting worker");
    assert_ne!(server.ask(), worker);
}

#[test]
fn a_hung_worker_is_replaced() {
    let (mut server, worker) = Server::serving(&[]);
    let _request = server.connect(b'h');
    let line = server.wait_for(&format!("WORKER TIMEOUT (pid:{worker}): silent for "));
    assert!(line.starts_with("CRITICAL") && line.ends_with(", and timeout is 1 s"), "{line}");
    server.wait_for(&format!("Worker (pid:{worker}) was sent SIGKILL! Reason: timeout."));
    assert_ne!(server.ask(), worker);
}

#[test]
fn a_worker_that_hangs_at_boot_is_replaced() {
    let (mut server, worker) = Server::serving(&["boot_timeout=1"]);
    server.write_file("slow");
    kill(worker, Signal::SIGKILL).unwrap();
    server.wait_for("slow boot");
    let line = server.wait_for(": not ready after 1 s, its boot_timeout");
    assert!(line.starts_with("CRITICAL") && line.contains("WORKER TIMEOUT (pid:"), "{line}");
    server.write_file("good");
    server.wait_for("was sent SIGKILL! Reason: boot_timeout.");
    server.wait_for("ended too soon after its start; the next start is in ");
    assert_ne!(server.ask(), worker);
}

#[test]
fn a_reload_that_hangs_at_boot_is_abandoned() {
    let (mut server, worker) = Server::serving(&["boot_timeout=1"]);
    server.reload("slow");
    server.wait_for("failed to boot, by boot_timeout; what served before serves on.");
    assert_eq!(server.ask(), worker);
}

#[test]
fn a_crash_loop_is_named_with_its_cause() {
    let (mut server, worker) = Server::serving(&[]);
    server.write_file("app");
    kill(worker, Signal::SIGKILL).unwrap();
    server.wait_for("Crash loop: 3 workers within ");
    let line = server.log().iter().find(|line| line.contains("Crash loop")).unwrap();
    assert!(line.starts_with("ERROR"), "{line}");
    assert!(
        line.ends_with(
            "ended by code 4: the application cannot be loaded; the next start is in 4 s."
        ),
        "{line}"
    );
    server.write_file("good");
    assert_ne!(server.ask(), worker);
}

#[test]
fn a_full_process_table_is_waited_out() {
    let (mut server, worker) = Server::serving(&[]);
    server.write_file("full");
    server.signal(Signal::SIGTTIN);
    for delay in [1, 2] {
        server.wait_for(&format!(
            "Cannot fork a worker: Resource temporarily unavailable (os error 11); \
             the next attempt is in {delay} s."
        ));
    }
    assert_eq!(server.ask(), worker);
    server.write_file("good");
    server.wait_for("2 workers");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.code(), Some(0));
}

#[test]
fn a_failed_worker_is_replaced() {
    for (byte, reason) in [(b'e', "as asked"), (b'x', "panic: a panic while serving")] {
        let (mut server, worker) = Server::serving(&[]);
        let _request = server.connect(byte);
        server.wait_for_pid(worker, "Exception in worker process");
        server.wait_for(reason);
        server.wait_for(&format!("Worker (pid:{worker}) exited with code 255."));
        assert_ne!(server.ask(), worker);
    }
}

#[test]
fn what_a_worker_forks_is_a_process_of_its_own() {
    let (mut server, worker) = Server::serving(&[]);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1] {
        let child = answer(server.connect(b'f'));
        assert_ne!(child, worker);
        kill(child, signal).unwrap();
        wait_until("the child has ended", || {
            let stat = fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
            // Nobody waits for it but the worker, which does not.
            stat.contains(") Z ").then_some(())
        });
        assert_eq!(server.ask(), worker, "{signal}");
    }
    // Nor does one that lives keep a worker alive that hangs.
    let child = answer(server.connect(b'f'));
    let _request = server.connect(b'h');
    server.wait_for(&format!("WORKER TIMEOUT (pid:{worker})"));
    kill(child, Signal::SIGKILL).unwrap();
    assert_ne!(server.ask(), worker);
}
