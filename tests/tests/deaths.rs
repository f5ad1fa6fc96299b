//! Workers that die, hang or do not start, and what the log says of it.

use std::fs;

use rgunicorn_tests::{Launch, Server, Signal, eventually};

/// Hangs while it is imported, if there is a file `hang`.
const HANGS: &str = "
import os, time

if os.path.exists('hang'):
    time.sleep(600)

def app(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % os.getpid()]
";

#[test]
fn a_worker_that_hangs_at_its_start_is_killed_and_the_log_tells_why() {
    let server = Server::start(&["--boot-timeout", "2"], HANGS);
    assert_eq!(server.get("/").status, 200);
    let first = server.wait_for_workers(1)[0];
    fs::write(server.path("hang"), "").unwrap();
    first.signal(Signal::SIGKILL);
    let line = server.wait_for(": not ready after 2 s, its boot_timeout");
    assert!(line.contains("[CRITICAL] WORKER TIMEOUT (pid:"), "{line}");
    fs::remove_file(server.path("hang")).unwrap();
    server.wait_for("was sent SIGKILL! Reason: boot_timeout.");
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_reload_that_hangs_at_its_start_is_abandoned() {
    let server = Server::start(&["--boot-timeout", "2"], HANGS);
    let old = server.get("/").text().to_owned();
    fs::write(server.path("hang"), "").unwrap();
    server.signal(Signal::SIGHUP);
    let line = server.wait_for("Reload abandoned: ");
    assert!(line.contains("failed to boot, by boot_timeout"), "{line}");
    assert_eq!(server.get("/").text(), old);
}

#[test]
fn without_a_limit_a_start_takes_as_long_as_it_takes() {
    let server =
        Launch::new(HANGS).args(&["--timeout", "1"]).file("hang", "").bind(&["unix:s"]).spawn();
    server.wait_for("Booting worker");
    let worker = server.wait_for_workers(1)[0];
    // Twice what would be a timeout, were it ready.
    let start = std::time::Instant::now();
    eventually("two seconds", || (start.elapsed().as_secs() >= 2).then_some(()));
    assert_eq!(server.workers(), [worker]);
}

#[test]
fn a_kill_from_outside_is_not_taken_for_a_lack_of_memory() {
    let server = Server::start(&[], HANGS);
    let worker = server.wait_for_workers(1)[0];
    worker.signal(Signal::SIGKILL);
    let line = server.wait_for(&format!("Worker (pid:{}) was sent SIGKILL!", worker.pid()));
    let kernel_counts = fs::read_to_string("/proc/vmstat").unwrap().contains("oom_kill ");
    assert!(!kernel_counts || line.contains("Neither by this server nor by the kernel"), "{line}");
}

#[test]
fn a_crash_loop_is_named_with_its_cause() {
    let server = Server::start(&[], HANGS);
    assert_eq!(server.get("/").status, 200);
    let worker = server.wait_for_workers(1)[0];
    server.replace_app("app = None");
    worker.signal(Signal::SIGKILL);
    let line = server.wait_for("Crash loop: 3 workers within ");
    assert!(line.contains("[ERROR]") && line.contains("ended by code 4"), "{line}");
    server.replace_app(HANGS);
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

/// As the arbiter ends one that hangs; this one had nothing to do.
#[test]
fn an_idle_worker_that_is_aborted_is_replaced() {
    for kind in [&[][..], &["-k", "gthread", "--threads", "2"]] {
        let server = Server::start(kind, HANGS);
        assert_eq!(server.get("/").status, 200);
        let first = server.wait_for_workers(1)[0];
        first.signal(Signal::SIGABRT);
        eventually("the worker's end", || (!first.is_alive()).then_some(()));
        assert_eq!(server.get("/").status, 200);
        let finished = server.stop(Signal::SIGTERM);
        assert!(!finished.stderr.contains("Traceback"), "{finished:?}");
    }
}
