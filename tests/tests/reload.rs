//! SIGHUP under load: the new code comes worker by worker, or not at all.

use std::collections::BTreeSet;

use rgunicorn_tests::{Connections, Load, Process, Server, Signal, eventually};

/// Answers with a word.
fn word(word: &str) -> String {
    format!(
        "def app(environ, start_response):\n    \
             start_response('200 OK', [])\n    return [b'{word}']\n"
    )
}

/// Answers with the pid of the worker.
const PID: &str = "
import os

def app(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % os.getpid()]
";

/// Load on a server of which all workers serve.
fn loaded(server: &Server, count: usize, connections: Connections) -> (Vec<Process>, Load) {
    let workers = server.wait_for_workers(count);
    let load = Load::start(server, Connections::Close, 8);
    for worker in &workers {
        load.wait_for_body(&worker.pid().to_string());
    }
    assert_eq!(load.stop().lost, []);
    (workers, Load::start(server, connections, 8))
}

/// Answers `new`, but is imported only once: whoever else tries has no database, say.
const ONCE: &str = "
import os

os.close(os.open('imported', os.O_CREAT | os.O_EXCL))

def app(environ, start_response):
    start_response('200 OK', [])
    return [b'new']
";

#[test]
fn never_fewer_serve_than_are_wanted_and_never_many_more_live() {
    for connections in [Connections::KeepAlive, Connections::Close] {
        let server = Server::start(&["--workers", "4", "--log-level", "debug"], PID);
        let (old, load) = loaded(&server, 4, connections);
        load.wait_for_answers(100);
        server.replace_app(&word("new"));
        server.signal(Signal::SIGHUP);
        server.wait_for("Reload completed.");
        load.wait_for_body("new");
        eventually("the old workers' end", || {
            old.iter().all(|worker| !worker.is_alive()).then_some(())
        });
        let report = load.stop();
        assert_eq!(report.lost, [], "{connections:?}");
        assert_eq!(server.get("/").text(), "new");
        // Whenever their number changes, the master tells, at last when it has buried the old ones.
        let numbers = eventually("the last number", || {
            let numbers = numbers_since_hang_up(&server);
            numbers.last().is_some_and(|last| last == "4 workers").then_some(numbers)
        });
        let numbers: BTreeSet<&str> = numbers.iter().map(String::as_str).collect();
        assert_eq!(numbers, BTreeSet::from(["4 workers", "5 workers"]));
        assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
    }
}

/// How many workers there were, as the log tells it.
fn numbers_since_hang_up(server: &Server) -> Vec<String> {
    let log = server.log();
    let since = log.iter().skip_while(|line| !line.ends_with("Hang up: Master"));
    let told = since.filter_map(|line| line.split_once("[DEBUG] "));
    let told = told.map(|(_, text)| text).filter(|text| text.ends_with(" workers"));
    told.map(str::to_owned).collect()
}

#[test]
fn a_reload_that_fails_half_way_takes_nobody_away() {
    let server = Server::start(&["--workers", "3"], PID);
    let (old, load) = loaded(&server, 3, Connections::Close);
    server.replace_app(ONCE);
    server.signal(Signal::SIGHUP);
    load.wait_for_body("new");
    // The second and third failure are waited for with patience, then it is over.
    let line = server.wait_for("Reload abandoned: the new worker (pid:");
    assert!(line.contains("failed to boot, by code 3: it cannot boot"), "{line}");
    assert_eq!(old.iter().filter(|worker| worker.is_alive()).count(), 2);
    load.wait_for_body("new");
    server.replace_app(&word("newest"));
    server.signal(Signal::SIGHUP);
    server.wait_for("Reload completed.");
    load.wait_for_body("newest");
    let report = load.stop();
    assert_eq!(report.lost, []);
    assert_eq!(server.wait_for_workers(3).len(), 3);
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

#[test]
fn workers_added_during_a_reload_stay() {
    let server = Server::start(&["--workers", "1"], &word("old"));
    server.wait_for_workers(1);
    server.replace_app(&format!("import time\ntime.sleep(1)\n{}", word("new")));
    server.signal(Signal::SIGHUP);
    server.wait_for("Hang up: Master");
    server.signal(Signal::SIGTTIN);
    server.wait_for("Reload completed.");
    assert_eq!(server.wait_for_workers(2).len(), 2);
    assert_eq!(server.get("/").text(), "new");
}
