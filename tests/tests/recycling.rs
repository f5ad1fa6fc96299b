//! Workers that are replaced for what they have done, for their age, or for their size.

use rgunicorn_tests::{Connections, Load, Server, Signal, eventually};

/// Answers with the pid; `/grow` keeps 150 MB for ever.
const APP: &str = "
import os

KEPT = []

def app(environ, start_response):
    if environ['PATH_INFO'] == '/grow':
        KEPT.append(b'x' * 150_000_000)
    start_response('200 OK', [])
    return [b'%d' % os.getpid()]
";

#[test]
fn clients_notice_nothing_of_a_short_life() {
    for connections in [Connections::KeepAlive, Connections::Close] {
        let lifetime = ["--max-worker-lifetime", "1", "--max-worker-lifetime-jitter", "1"];
        let server = Server::start(&[&["--workers", "2"][..], &lifetime].concat(), APP);
        let load = Load::start(&server, connections, 8);
        server.wait_for_count("(max_worker_lifetime)", 4);
        load.wait_for_answers(100);
        let report = load.stop();
        assert_eq!(report.lost, [], "{connections:?}");
        assert!(report.answered.len() >= 4, "{:?}", report.answered);
        assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
    }
}

#[test]
fn who_has_grown_is_replaced_and_its_sibling_is_not() {
    let server = Server::start(&["--workers", "2", "--max-worker-memory", "120M"], APP);
    server.wait_for_workers(2);
    let grown = server.get("/grow").text().to_owned();
    let line = server.wait_for("and max_worker_memory is 120 MiB.");
    assert!(line.contains(&format!("Worker (pid:{grown}) is to be replaced: it takes ")), "{line}");
    server.wait_for(&format!("Worker exiting (pid: {grown})"));
    eventually("two workers", || (server.workers().len() == 2).then_some(()));
    assert_eq!(server.get("/").status, 200);
    let finished = server.stop(Signal::SIGTERM);
    assert_eq!(finished.stderr.matches("is to be replaced").count(), 1, "{}", finished.stderr);
}

#[test]
fn a_limit_that_every_worker_exceeds_is_a_warning_and_no_endless_loop() {
    for kind in ["pss", "rss"] {
        let limit = ["--max-worker-memory", "1M", "--max-worker-memory-kind", kind];
        let server = Server::start(&limit, APP);
        let line = server.wait_for("from the start, and max_worker_memory is 1 MiB");
        assert!(line.contains("[WARNING]"), "{line}");
        assert_eq!(server.get("/").status, 200);
    }
}
