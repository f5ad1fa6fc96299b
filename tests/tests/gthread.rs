//! Several threads call the application in each worker.

#![expect(clippy::unwrap_used, reason = "helpers fail their test by panicking, as tests do")]

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use rgunicorn_tests::{Client, Process, Server, Signal, eventually};

const APP: &str = "
import ctypes, hashlib, os, signal, sys, threading, time

meeting = threading.Barrier(4)
local = threading.local()
seen = []

def note(number, frame):
    with open('signalled', 'w') as file:
        file.write(threading.current_thread().name)

signal.signal(signal.SIGALRM, note)

def meet(environ):
    meeting.wait(30)
    local.calls = getattr(local, 'calls', 0) + 1
    thread = threading.current_thread()
    is_main = thread is threading.main_thread()
    return f'{thread.name} {local.calls} {is_main} {environ[\"wsgi.multithread\"]}'

def body(environ):
    meeting.wait(30)
    for _ in range(20):
        part = environ['wsgi.input'].read(10_000)
        yield hashlib.sha256(part).hexdigest().encode()
        time.sleep(0.001)

def hang(environ):
    with open('waiting', 'a') as file:
        file.write('x')
    path = environ['PATH_INFO']
    if path == '/sleep':
        time.sleep(600)
    elif path == '/loop':
        while True:
            pass
    elif path == '/short':
        while True:
            time.sleep(0.0001)
    elif path == '/digest':
        hashlib.pbkdf2_hmac('sha256', b'', b'', 2_000_000_000)
    elif path == '/finally':
        try:
            time.sleep(1.2)
        finally:
            time.sleep(0.1)
    elif path == '/hold':
        ctypes.PyDLL(None).sleep(600)

def wait(environ):
    with open('waiting', 'a') as file:
        file.write('x')
    deadline = time.monotonic() + 60
    while not os.path.exists('go') and time.monotonic() < deadline:
        time.sleep(0.01)
    return 'waited'

def app(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/raise':
        raise LookupError('on purpose')
    if path == '/exit':
        sys.exit(3)
    start_response('200 OK', [])
    if path == '/body':
        return body(environ)
    if path == '/meet':
        return [meet(environ).encode()]
    if path == '/wait':
        return [wait(environ).encode()]
    if path != '/':
        hang(environ)
    return [b'%d' % os.getpid()]
";

const FOUR: &[&str] = &["--threads", "4"];

fn send_to_all(clients: &mut [Client], target: &str) {
    for client in clients {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
    }
}

fn connect(server: &Server, count: usize) -> Vec<Client> {
    (0..count).map(|_| server.connect()).collect()
}

/// Until so many calls have begun.
fn wait_for_calls(server: &Server, count: u64) {
    eventually("the calls", || {
        let length = fs::metadata(server.path("waiting")).ok()?.len();
        (length == count).then_some(())
    });
}

#[test]
fn there_are_as_many_calls_at_once_as_threads() {
    let server = Server::start(FOUR, APP);
    let mut clients = connect(&server, 4);
    for round in 1..=3 {
        send_to_all(&mut clients, "/meet");
        let answers: BTreeSet<String> =
            clients.iter_mut().map(|client| client.receive().text().to_owned()).collect();
        // The threads keep what is theirs, and none of them is the main one.
        let expected = (0..4).map(|thread| format!("worker-{thread} {round} False True"));
        assert_eq!(answers, expected.collect());
    }
}

#[test]
fn bodies_and_streams_do_not_mix() {
    let server = Server::start(FOUR, APP);
    let mut clients = connect(&server, 4);
    let bodies: Vec<Vec<u8>> = (b'a'..).take(4).map(|letter| vec![letter; 200_000]).collect();
    for (client, body) in clients.iter_mut().zip(&bodies) {
        client.send("POST /body HTTP/1.1\r\nHost: test\r\nContent-Length: 200000\r\n\r\n");
        client.send(body);
    }
    let responses: Vec<_> = clients.iter_mut().map(Client::receive).collect();
    for response in &responses {
        assert_eq!(response.chunks.as_deref(), Some(&[64; 20][..]));
        let (first, rest) = response.body.split_at(64);
        assert_eq!(rest, first.repeat(19));
    }
    let distinct: BTreeSet<&[u8]> = responses.iter().map(|response| &response.body[..]).collect();
    assert_eq!(distinct.len(), 4);
}

/// An application's handlers run in the main thread, also while all others are busy.
#[test]
fn signals_are_the_main_threads() {
    let server = Server::start(FOUR, APP);
    let mut clients = connect(&server, 4);
    send_to_all(&mut clients, "/wait");
    wait_for_calls(&server, 4);
    server.wait_for_workers(1).iter().for_each(|worker| worker.signal(Signal::SIGALRM));
    let name = eventually("the signal's handler", || {
        fs::read_to_string(server.path("signalled")).ok().filter(|name| !name.is_empty())
    });
    assert_eq!(name, "MainThread");
    fs::write(server.path("go"), "").unwrap();
    for client in &mut clients {
        assert_eq!(client.receive().text(), "waited");
    }
}

#[test]
fn a_fault_costs_one_request() {
    let server = Server::start(FOUR, APP);
    let mut client = server.connect();
    let worker = client.get("/").text().to_owned();
    for (target, line) in [("/raise", "LookupError: on purpose"), ("/exit", "SystemExit: 3")] {
        for _ in 0..8 {
            assert_eq!(server.get(target).status, 500);
        }
        server.wait_for_count(line, 8);
    }
    // All four threads are there.
    let mut clients = connect(&server, 4);
    send_to_all(&mut clients, "/meet");
    assert!(clients.iter_mut().all(|client| client.receive().status == 200));
    assert_eq!(client.get("/").text(), worker);
}

/// Who is one too many waits at the door.
#[test]
fn worker_connections_refuses_nobody() {
    for threads in [&[][..], FOUR] {
        let limit = ["--worker-connections", "3", "--keep-alive", "60"];
        let server = Server::start(&[threads, &limit].concat(), APP);
        let mut first = connect(&server, 3);
        for client in &mut first {
            assert_eq!(client.get("/").status, 200);
        }
        let mut last = connect(&server, 3);
        send_to_all(&mut last, "/");
        for client in &mut first {
            assert_eq!(client.get("/").status, 200);
        }
        drop(first);
        for client in &mut last {
            assert_eq!(client.receive().status, 200);
        }
    }
}

#[test]
fn a_graceful_stop_waits_for_all_calls() {
    let server = Server::start(FOUR, APP);
    let mut clients = connect(&server, 4);
    send_to_all(&mut clients, "/wait");
    wait_for_calls(&server, 4);
    server.signal(Signal::SIGTERM);
    server.wait_for("Handling signal: term");
    fs::write(server.path("go"), "").unwrap();
    for client in &mut clients {
        assert_eq!(client.receive().text(), "waited");
    }
    drop(clients);
    let start = Instant::now();
    let finished = server.wait();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    // Half the timeout is the longest that a worker sleeps.
    assert!(start.elapsed() < Duration::from_secs(10), "{}", finished.stderr);
    assert!(!finished.stderr.contains("SIG"), "{}", finished.stderr);
}

/// Threads that are in the midst of something are left behind, wherever they are, and the process
/// ends as it should: not by a signal, and with what `atexit` has to do.
#[test]
fn a_quick_stop_waits_for_no_call() {
    let app = format!("{APP}\nimport atexit\natexit.register(print, 'farewell')\n");
    for (signal, target, count) in [
        (Signal::SIGINT, "/sleep", 4),
        (Signal::SIGQUIT, "/sleep", 3),
        (Signal::SIGQUIT, "/short", 3),
        (Signal::SIGQUIT, "/loop", 2),
        (Signal::SIGQUIT, "/digest", 4),
        (Signal::SIGQUIT, "/finally", 4),
    ] {
        let server = Server::start(FOUR, &app);
        let mut clients = connect(&server, count);
        send_to_all(&mut clients, target);
        wait_for_calls(&server, count as u64);
        let start = Instant::now();
        server.signal(signal);
        let finished = server.wait();
        let what = format!("{signal} {target}: {finished:?}");
        assert_eq!(finished.code, Some(0), "{what}");
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        for word in ["SIG", "panicked", "Fatal", "terminate", "Worker (pid"] {
            assert!(!finished.stderr.contains(word), "{word}: {what}");
        }
        assert!(finished.stdout.contains("farewell"), "{what}");
    }
}

/// A call that keeps the interpreter to itself cannot be left behind: its process is killed.
#[test]
fn a_quick_stop_ends_also_who_holds_the_interpreter() {
    let server = Server::start(FOUR, APP);
    let mut clients = connect(&server, 1);
    send_to_all(&mut clients, "/hold");
    wait_for_calls(&server, 1);
    assert_eq!(server.stop(Signal::SIGQUIT).code, Some(0));
}

/// A thread that has taken a request, and does not get into the interpreter, has not begun it. A
/// sibling answers, or whoever comes when the worker has been killed.
#[test]
fn who_keeps_the_interpreter_keeps_nobody_elses_request() {
    // Nobody else has to let go in the midst of a call: what has begun is answered.
    let app = format!("{APP}\nsys.setswitchinterval(600)\n");
    for workers in [["--workers", "2", "--timeout", "60"], ["--workers", "1", "--timeout", "2"]] {
        let server = Server::start(&[FOUR, &workers, &["--keep-alive", "60"]].concat(), &app);
        server.wait_for_count("Booting worker", workers[1].parse().unwrap());
        let mut clients = connect(&server, 24);
        for client in &mut clients {
            assert_eq!(client.get("/").status, 200);
        }
        let mut holder = connect(&server, 1);
        let (before, rest) = clients.split_at_mut(8);
        let (beside, after) = rest.split_at_mut(8);
        send_to_all(before, "/");
        send_to_all(&mut holder, "/hold");
        send_to_all(beside, "/");
        wait_for_calls(&server, 1);
        send_to_all(after, "/");
        for client in &mut clients {
            let response = client.receive();
            assert!(response.status == 200 && !response.closes(), "{workers:?}: {response:?}");
        }
        send_to_all(&mut clients, "/");
        assert!(clients.iter_mut().all(|client| client.receive().status == 200), "{workers:?}");
        assert_eq!(server.get("/").status, 200);
    }
}

/// Nothing wakes an idle worker but its heartbeat.
#[test]
fn idle_threads_sleep() {
    for (arguments, limit) in [(&["--threads", "1"][..], 8), (FOUR, 20)] {
        let server = Server::start(arguments, APP);
        assert_eq!(server.get("/").status, 200);
        let worker = server.wait_for_workers(1)[0];
        let is_calm = || {
            let before = switches(worker);
            let start = Instant::now();
            eventually("two seconds", || (start.elapsed().as_secs() >= 2).then_some(()));
            let count = switches(worker) - before;
            (count <= limit).then_some(count)
        };
        // The first seconds may still be those of the request.
        eventually(&format!("at most {limit} wake-ups in 2 s, {arguments:?}"), is_calm);
    }
}

/// Voluntary context switches of all its threads: how often they have gone to sleep.
fn switches(process: Process) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", process.pid())).unwrap();
    let count = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    tasks.map(|task| count(task.unwrap())).sum()
}
