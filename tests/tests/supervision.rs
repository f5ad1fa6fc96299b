//! The life of master and workers: signals, deaths, and what their clients notice.

use std::fs;

use rgunicorn_tests::{Client, Connections, Launch, Load, Process, Server, Signal, eventually};

/// Answers with the pid of the worker.
const PID: &str = "
import os

def app(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % os.getpid()]
";

/// The same after some milliseconds: who waits behind that is given to an idle sibling.
const SLOW_PID: &str = "
import itertools, os, time

naps = itertools.cycle([0.001, 0.004, 0.007])

def app(environ, start_response):
    time.sleep(next(naps))
    start_response('200 OK', [])
    return [b'%d' % os.getpid()]
";

/// Answers with a word.
fn word(word: &str) -> String {
    format!(
        "def app(environ, start_response):\n    \
             start_response('200 OK', [])\n    return [b'{word}']\n"
    )
}

/// `/gate` answers when the file `open` exists.
const GATE: &str = "
import os, time

def app(environ, start_response):
    if environ['PATH_INFO'] == '/gate':
        environ['wsgi.errors'].write('at the gate\\n')
        environ['wsgi.errors'].flush()
        while not os.path.exists('open'):
            time.sleep(0.005)
    start_response('200 OK', [])
    return [b'passed']
";

/// A client whose request is inside the application.
fn at_the_gate(server: &Server) -> Client {
    let mut client = server.connect();
    client.send("GET /gate HTTP/1.1\r\nHost: test\r\n\r\n");
    server.wait_for("at the gate");
    client
}

fn pids(workers: &[Process]) -> Vec<i32> {
    workers.iter().map(|worker| worker.pid()).collect()
}

#[test]
fn all_workers_serve() {
    let server = Server::start(&["--workers", "4"], PID);
    let load = Load::start(&server, Connections::Close, 8);
    for worker in server.wait_for_workers(4) {
        load.wait_for_body(&worker.pid().to_string());
    }
    let report = load.stop();
    assert_eq!(report.lost, []);
    assert_eq!(report.answered.len(), 4);
}

/// SIGKILL closes what a worker holds: every connection that it has accepted or that a sibling left
/// it, whatever was read from it. Who waits in a listener's queue or in the mailbox, and everyone
/// else, notices nothing.
#[test]
fn a_killed_worker_loses_only_what_it_held() {
    for (app, connections, clients) in [
        (PID, Connections::KeepAlive, 16),
        (PID, Connections::Close, 16),
        (SLOW_PID, Connections::KeepAlive, 6),
    ] {
        let server = Server::start(&["--workers", "4"], app);
        let workers = server.wait_for_workers(4);
        let load = Load::start(&server, connections, clients);
        load.wait_for_answers(500);
        let victim = workers[1];
        // From here on it takes nothing more, and leaves nothing to others.
        victim.freeze();
        let held = victim.peers();
        victim.signal(Signal::SIGKILL);
        server.wait_for(&format!("Worker (pid:{}) was sent SIGKILL!", victim.pid()));
        server.wait_for_workers(4);
        load.wait_for_answers(500);
        let report = load.stop();

        // A client has one request under way on a connection, so that each that was held can cost
        // one.
        let mut may_be_lost = held.clone();
        for lost in &report.lost {
            assert!(
                lost.client.is_some_and(|client| may_be_lost.remove(&client)),
                "{connections:?}: {lost:?}, but worker {} held {held:?}; {report:?}",
                victim.pid()
            );
        }
        let replaced = pids(&server.workers());
        assert!(!replaced.contains(&victim.pid()));
        for survivor in [workers[0], workers[2], workers[3]] {
            assert!(replaced.contains(&survivor.pid()));
        }
        assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
    }
}

#[test]
fn a_worker_that_ends_by_itself_is_replaced() {
    let server = Server::start(
        &[],
        "
import os

def app(environ, start_response):
    if environ['PATH_INFO'] == '/die':
        os._exit(7)
    start_response('200 OK', [])
    return [b'alive']
",
    );
    let before = server.wait_for_workers(1);
    let mut client = server.connect();
    client.send("GET /die HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(client.is_closed());
    server.wait_for(&format!("Worker (pid:{}) exited with code 7", before[0].pid()));
    assert_eq!(server.get("/").text(), "alive");
    assert_ne!(server.workers(), before);
}

#[test]
fn reload_loses_nothing_and_brings_the_new_code() {
    for connections in [Connections::KeepAlive, Connections::Close] {
        let server = Server::start(&["--workers", "2"], &word("old"));
        let old = server.wait_for_workers(2);
        let load = Load::start(&server, connections, 8);
        load.wait_for_answers(200);
        server.replace_app(&word("new"));
        server.signal(Signal::SIGHUP);
        server.wait_for("Hang up: Master");
        load.wait_for_body("new");
        eventually("the old workers' end", || {
            old.iter().all(|worker| !worker.is_alive()).then_some(())
        });
        load.wait_for_answers(200);
        let report = load.stop();
        assert_eq!(report.lost, [], "{connections:?}");
        assert_eq!(server.get("/").text(), "new");
        assert_eq!(server.wait_for_workers(2).len(), 2);
        assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
    }
}

#[test]
fn reload_takes_up_new_settings() {
    let server = Launch::new(PID).file("gunicorn.conf.py", "workers = 1\n").start();
    server.wait_for_workers(1);
    fs::write(server.path("gunicorn.conf.py"), "workers = 3\n").unwrap();
    server.signal(Signal::SIGHUP);
    server.wait_for_workers(3);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn reload_moves_to_another_address() {
    let server = Launch::new(PID)
        .bind(&[])
        .file("gunicorn.conf.py", "bind = ['127.0.0.1:0', 'unix:old.sock']\n")
        .start();
    let (old, new) = (server.path("old.sock"), server.path("new.sock"));
    assert_eq!(Client::connect_unix(&old).get("/").status, 200);
    let bind = "bind = ['127.0.0.1:0', 'unix:new.sock']\n";
    fs::write(server.path("gunicorn.conf.py"), bind).unwrap();
    server.signal(Signal::SIGHUP);
    server.wait_for_count("Listening at: ", 2);
    eventually("the old socket's removal", || (!old.exists()).then_some(()));
    assert_eq!(Client::connect_unix(&new).get("/").status, 200);
}

#[test]
fn workers_that_are_told_to_leave_lose_nothing() {
    for connections in [Connections::KeepAlive, Connections::Close] {
        let server = Server::start(&["--workers", "2"], PID);
        let load = Load::start(&server, connections, 8);
        load.wait_for_answers(200);
        for round in 1..=3 {
            server.signal(Signal::SIGTTIN);
            server.wait_for_count("Booting worker", 2 + 2 * round - 1);
            load.wait_for_answers(100);
            server.signal(Signal::SIGTTOU);
            server.wait_for_workers(2);
            // Whoever is asked directly is replaced.
            server.workers()[0].signal(Signal::SIGTERM);
            server.wait_for_count("Booting worker", 2 + 2 * round);
            load.wait_for_answers(100);
        }
        let report = load.stop();
        assert_eq!(report.lost, [], "{connections:?}");
        assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
    }
}

#[test]
fn reload_of_a_broken_application_keeps_the_old_one() {
    let server = Server::start(&[], &word("old"));
    assert_eq!(server.get("/").text(), "old");
    let old = server.workers();
    server.replace_app("syntax error");
    server.signal(Signal::SIGHUP);
    server.wait_for("SyntaxError");
    assert_eq!(server.get("/").text(), "old");
    assert_eq!(server.wait_for_workers(1), old);
    // Nor does a later, good one fail because of it.
    server.replace_app(&word("new"));
    server.signal(Signal::SIGHUP);
    eventually("the new code", || (server.get("/").text() == "new").then_some(()));
}

#[test]
fn the_number_of_workers_follows_signals() {
    let server = Server::start(&[], PID);
    let first = server.wait_for_workers(1);
    server.signal(Signal::SIGTTIN);
    server.wait_for_workers(2);
    server.signal(Signal::SIGTTIN);
    let load = Load::start(&server, Connections::Close, 8);
    for worker in server.wait_for_workers(3) {
        load.wait_for_body(&worker.pid().to_string());
    }
    assert_eq!(load.stop().lost, []);
    // Now that all serve, the oldest leaves first.
    server.signal(Signal::SIGTTOU);
    let younger = server.wait_for_workers(2);
    assert!(!younger.contains(&first[0]));
    server.signal(Signal::SIGTTOU);
    server.wait_for_workers(1);
    // The last one stays.
    server.signal(Signal::SIGTTOU);
    server.wait_for_count("Handling signal: ttou", 3);
    server.signal(Signal::SIGTTIN);
    server.wait_for_count("Handling signal: ttin", 3);
    server.wait_for_workers(2);
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

#[test]
fn term_lets_running_requests_finish() {
    let server = Server::start(&["--workers", "2"], GATE);
    let mut client = at_the_gate(&server);
    server.signal(Signal::SIGTERM);
    server.wait_for("Handling signal: term");
    // The other worker has nothing to finish.
    server.wait_for_workers(1);
    fs::write(server.path("open"), "").unwrap();
    let response = client.receive();
    assert_eq!(response.text(), "passed");
    assert!(response.closes() || client.is_closed());
    let finished = server.wait();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
}

#[test]
fn term_waits_no_longer_than_the_graceful_timeout() {
    let server = Server::start(&["--graceful-timeout", "1"], GATE);
    let mut client = at_the_gate(&server);
    let finished = server.stop(Signal::SIGTERM);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stderr.contains("was sent SIGKILL! Reason: graceful_timeout."));
    assert!(client.is_closed());
}

#[test]
fn term_closes_idle_connections() {
    let server = Server::start(&[], GATE);
    let mut client = server.connect();
    client.get("/");
    let finished = server.stop(Signal::SIGTERM);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(client.is_closed());
}

#[test]
fn quit_waits_for_nobody() {
    for signal in [Signal::SIGQUIT, Signal::SIGINT] {
        let server = Server::start(&[], GATE);
        let mut client = at_the_gate(&server);
        let finished = server.stop(signal);
        assert_eq!(finished.code, Some(0), "{signal}: {}", finished.stderr);
        // Whether it gets an error or nothing at all is up to the application's luck.
        assert!(!matches!(client.try_receive(), Ok(response) if response.status == 200));
    }
}

#[test]
fn a_hung_worker_is_replaced() {
    let server = Server::start(
        &["--timeout", "1"],
        "
import time

def app(environ, start_response):
    if environ['PATH_INFO'] == '/hang':
        time.sleep(600)
    start_response('200 OK', [])
    return [b'alive']
",
    );
    let hung = server.wait_for_workers(1)[0];
    let mut client = server.connect();
    client.send("GET /hang HTTP/1.1\r\nHost: test\r\n\r\n");
    let line = server.wait_for(&format!("WORKER TIMEOUT (pid:{})", hung.pid()));
    assert!(line.contains("[CRITICAL]"), "{line}");
    assert!(line.contains(": silent for ") && line.ends_with(", and timeout is 1 s"), "{line}");
    eventually("its end", || (!hung.is_alive()).then_some(()));
    assert_eq!(server.get("/").text(), "alive");
    assert_ne!(server.wait_for_workers(1), [hung]);
    assert!(!matches!(client.try_receive(), Ok(response) if response.status == 200));
}

#[test]
fn workers_do_not_outlive_a_killed_master() {
    let server = Server::start(&["--workers", "3"], PID);
    assert_eq!(server.get("/").status, 200);
    server.wait_for_workers(3);
    let address = server.address();
    // Returns when nobody holds the server's standard error any more.
    let finished = server.stop(Signal::SIGKILL);
    assert_eq!(finished.code, None);
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn logs_are_reopened_after_they_were_renamed() {
    let server = Launch::new(PID)
        .bind(&["unix:server.sock"])
        .args(&["--workers", "2"])
        .args(&["--error-logfile", "error.log", "--access-logfile", "access.log"])
        .spawn();
    let read = |name: &str| fs::read_to_string(server.path(name)).unwrap_or_default();
    eventually("two workers", || {
        (read("error.log").matches("Booting worker").count() == 2).then_some(())
    });
    let mut asked = 0;
    let mut ask = || {
        asked += 1;
        let mut client = Client::connect_unix(&server.path("server.sock"));
        assert_eq!(client.get("/").status, 200);
    };
    ask();
    eventually("the first line", || (!read("access.log").is_empty()).then_some(()));
    for name in ["error.log", "access.log"] {
        fs::rename(server.path(name), server.path(&format!("{name}.1"))).unwrap();
    }
    server.signal(Signal::SIGUSR1);
    eventually("a line in the new log", || {
        ask();
        (!read("access.log").is_empty()).then_some(())
    });
    eventually("every line in one of both", || {
        let lines = read("access.log").lines().count() + read("access.log.1").lines().count();
        (lines == asked).then_some(())
    });
    let workers = server.workers();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code, Some(0));
    assert_eq!(workers.len(), 2);
}

#[test]
fn a_socket_file_is_gone_after_the_end() {
    let launch = Launch::new(PID).bind(&["unix:server.sock"]);
    let server = launch.args(&["--workers", "2"]).start();
    let socket = server.path("server.sock");
    server.wait_for_count("Booting worker", 2);
    server.workers()[0].signal(Signal::SIGKILL);
    server.wait_for_count("Booting worker", 3);
    assert!(socket.exists(), "a worker's death is not the server's");
    server.signal(Signal::SIGTERM);
    eventually("the socket's removal", || (!socket.exists()).then_some(()));
    assert_eq!(server.wait().code, Some(0));
}
