//! What the log tells of a worker that hangs or dies: which request, and where.

use rgunicorn_tests::{Client, Server, Signal, eventually};

/// Each path is stuck, or ends, in another way; `/quick` answers.
const APP: &str = "
import ctypes, os, socket, time

libc = ctypes.PyDLL(None)
ours, theirs = socket.socketpair()

def asleep():
    time.sleep(600)

def busy():
    while True:
        pass

def locked():
    # In C code that keeps the interpreter's lock, as ctypes does with this kind of library.
    libc.recv(ours.fileno(), bytes(1), 1, 0)

def app(environ, start_response):
    path = environ['PATH_INFO']
    environ['wsgi.errors'].write('answering %s\\n' % path)
    environ['wsgi.errors'].flush()
    if path.startswith('/asleep'):
        asleep()
    if path == '/busy':
        busy()
    if path == '/locked':
        locked()
    if path == '/exit':
        os._exit(7)
    if path == '/segfault':
        ctypes.string_at(0)
    start_response('200 OK', [('Content-Length', '2')])
    return [b'ok']
";

/// Asks for something that is not answered, and waits until the application has it.
fn ask_in_vain(server: &Server, target: &str) -> Client {
    let mut client = server.connect();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
    server.wait_for(&format!("answering {target}"));
    client
}

/// The log from the line that holds `first` on, once there is one with `last` in it.
fn passage(server: &Server, first: &str, last: &str) -> String {
    eventually(&format!("{last:?} after {first:?}"), || {
        let log = server.log();
        let begin = log.iter().position(|line| line.contains(first))?;
        let rest = log.get(begin..)?;
        rest.iter().any(|line| line.contains(last)).then(|| rest.join("\n"))
    })
}

/// What a report says of such a request: `line` and `function` are where it hangs.
fn is_told(report: &str, target: &str, line: &str, function: &str) -> bool {
    let (request, place) = (format!("\nGET {target} from 127.0.0.1:"), format!("in {function}\n"));
    let Some((_, rest)) = report.split_once(&request) else { return false };
    let Some((_, stack)) = rest.split_once(" s\nThread 0x") else { return false };
    stack.contains(&format!("/app.py\", {line} {place}")) && stack.contains(" in app")
}

#[test]
fn an_operator_asks_what_the_workers_are_doing() {
    let server = Server::start(&["--workers", "4", "--threads", "1"], APP);
    let places = [
        ("/asleep", "line 8", "asleep"),
        ("/busy", "line 11", "busy"),
        ("/locked", "line 16", "locked"),
    ];
    let _clients = places.map(|(target, ..)| ask_in_vain(&server, target));
    server.wait_for_workers(4);
    server.signal(Signal::SIGURG);
    server.wait_for("Handling signal: urg");
    server.wait_for_count("[INFO] Report, as asked: 1 request is running", 3);
    server.wait_for("[INFO] Report, as asked: no request is known to run");
    for (target, line, function) in places {
        let report = passage(&server, &format!("GET {target} from"), "in app");
        assert!(is_told(&format!("\n{report}"), target, line, function), "{report}");
    }
    // Nothing happened to anybody, nor to those who were not asked.
    assert_eq!(server.get("/quick").status, 200);
}

#[test]
fn one_worker_is_asked() {
    let server = Server::start(&["--workers", "2"], APP);
    let _client = ask_in_vain(&server, "/asleep");
    for worker in server.wait_for_workers(2) {
        worker.signal(Signal::SIGURG);
        let report = server.wait_for(&format!("[{}] [INFO] Report, as asked", worker.pid()));
        assert!(report.ends_with("1 request is running") || report.ends_with("known to run"));
    }
    passage(&server, "GET /asleep from", "line 8 in asleep");
}

#[test]
fn of_several_threads_those_are_seen_that_have_a_request() {
    let server = Server::start(&["--threads", "4"], APP);
    let _clients = ["/asleep", "/busy"].map(|target| ask_in_vain(&server, target));
    server.signal(Signal::SIGURG);
    let report = passage(&server, "2 requests are running", "in busy");
    let report = passage(&server, "2 requests are running", "in asleep") + &report;
    assert!(is_told(&report, "/asleep", "line 8", "asleep"), "{report}");
    assert!(is_told(&report, "/busy", "line 11", "busy"), "{report}");
    assert_eq!(server.get("/quick").status, 200);
}

#[test]
fn reports_are_made_one_at_a_time_and_do_no_harm() {
    let server = Server::start(&["--threads", "2"], APP);
    let _client = ask_in_vain(&server, "/busy");
    for count in 1..=20 {
        server.signal(Signal::SIGURG);
        server.wait_for_count("Report, as asked: 1 request is running", count);
    }
    for _ in 0..200 {
        server.signal(Signal::SIGURG);
    }
    assert_eq!(server.get("/quick").status, 200);
    assert_eq!(server.wait_for_workers(1).len(), 1);
}

#[test]
fn before_a_timeout_the_log_tells_where_the_worker_hangs() {
    for (target, line, function) in [
        ("/asleep", "line 8", "asleep"),
        ("/busy", "line 11", "busy"),
        ("/locked", "line 16", "locked"),
    ] {
        let server = Server::start(&["--timeout", "4"], APP);
        let _client = ask_in_vain(&server, target);
        server.wait_for("WORKER TIMEOUT (pid:");
        let first = "[ERROR] No sign of life, and the timeout is 4 s: 1 request is running";
        let report = passage(&server, first, "in app");
        assert!(is_told(&report, target, line, function), "{report}");
        assert_eq!(server.get("/quick").status, 200);
    }
}

#[test]
fn threads_that_hang_with_the_interpreter_are_told_of_too() {
    let server = Server::start(&["--timeout", "4", "--threads", "3"], APP);
    let _clients = ["/asleep", "/locked"].map(|target| ask_in_vain(&server, target));
    let first = "[ERROR] No sign of life, and the timeout is 4 s: 2 requests are running";
    let report = passage(&server, first, "in asleep") + &passage(&server, first, "in locked");
    assert!(is_told(&report, "/locked", "line 16", "locked"), "{report}");
    server.wait_for("in the midst of GET /locked from 127.0.0.1:");
    assert_eq!(server.get("/quick").status, 200);
}

#[test]
fn of_a_request_that_takes_too_long_the_log_tells_where_it_is() {
    let server = Server::start(&["--request-timeout", "2", "--threads", "4"], APP);
    for (target, line, function) in [("/busy", "line 11", "busy"), ("/locked", "line 16", "locked")]
    {
        let mut client = ask_in_vain(&server, target);
        assert_eq!(client.receive().status, 504);
        let told = passage(&server, &format!("REQUEST TIMEOUT: GET {target} from"), "in app");
        assert!(told.contains(&format!(", {line} in {function}\n")), "{told}");
    }
}

/// Catches its timeout by name, also if it was loaded before there were workers.
const CATCHES: &str = "
import rgunicorn, sys
from rgunicorn import RequestTimeout

def loop():
    while True:
        pass

def app(environ, start_response):
    try:
        loop()
    except rgunicorn.RequestTimeout as error:
        is_it = type(error).__mro__[1] is RequestTimeout and not isinstance(error, Exception)
        environ['wsgi.errors'].write('caught %r: %s: %s\\n' % (RequestTimeout, is_it, error))
        raise
";

#[test]
fn applications_know_the_exception_by_name() {
    for arguments in [&["--request-timeout", "1"][..], &["--request-timeout", "1", "--preload"]] {
        let server = Server::start(arguments, CATCHES);
        assert_eq!(server.get("/").status, 504);
        let caught =
            "caught <class 'rgunicorn.RequestTimeout'>: True: the request took longer than 1 s";
        server.wait_for(caught);
        server.wait_for("Request interrupted GET /");
    }
}

#[test]
fn of_a_worker_that_died_the_log_tells_what_it_was_doing() {
    for threads in ["1", "2"] {
        let server = Server::start(&["--threads", threads], APP);
        for (target, status, how) in [
            ("/exit", "code 7", "exited with code 7."),
            ("/segfault", "SIGSEGV", "was sent SIGSEGV!"),
        ] {
            let worker = server.wait_for_workers(1)[0].pid();
            let mut client = ask_in_vain(&server, target);
            let line = server.wait_for(&format!(
                "[ERROR] Worker (pid:{worker}) ended by {status} in the midst of GET {target} from 127.0.0.1:"
            ));
            assert!(line.ends_with(" s"), "{line}");
            server.wait_for(&format!("Worker (pid:{worker}) {how}"));
            assert!(client.is_closed());
            assert_eq!(server.get("/quick").status, 200);
        }
        let _client = ask_in_vain(&server, "/asleep");
        server.workers()[0].signal(Signal::SIGKILL);
        server.wait_for("ended by SIGKILL in the midst of GET /asleep from 127.0.0.1:");
    }
}

#[test]
fn who_ends_as_he_was_told_is_not_asked_why() {
    let server = Server::start(&[], APP);
    assert_eq!(server.get("/quick").status, 200);
    let finished = server.stop(Signal::SIGTERM);
    assert!(!finished.stderr.contains("in the midst of"), "{finished:?}");
}

#[test]
fn no_request_forges_a_line() {
    let server = Server::start(&[], APP);
    let target = "/asleep?\\%0d%0a[CRITICAL]";
    let mut client = server.connect();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
    server.wait_for("answering /asleep");
    server.signal(Signal::SIGURG);
    server.wait_for("GET /asleep?\\\\%0d%0a[CRITICAL] from 127.0.0.1:");
}
