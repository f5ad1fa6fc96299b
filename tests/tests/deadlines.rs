//! Requests that take too long: their clients are answered, their threads interrupted.

#![expect(clippy::unwrap_used, reason = "helpers fail their test by panicking, as tests do")]

use std::fs::File;
use std::time::{Duration, Instant};

use rgunicorn_tests::{Client, Launch, Server, Signal, eventually};

/// Ways to take too long. `/` answers with the pid.
const APP: &str = "
import ctypes, os, threading, time

left = []

def loop():
    while True:
        pass

def naps():
    while True:
        time.sleep(0.05)

def swallow():
    try:
        loop()
    except Exception:
        left.append('swallowed')
    finally:
        left.append('cleaned up')

if not os.path.exists('lock'):
    os.mkfifo('lock')

def lock():
    # Holds the interpreter lock until the test opens the other end, as a C extension may that
    # computes.
    os.close(ctypes.PyDLL(None).open(b'lock', os.O_RDONLY))

def lost():
    while True:
        try:
            naps()
        except BaseException:
            pass

ways = {'/loop': loop, '/naps': naps, '/swallow': swallow, '/lock': lock, '/lost': lost}

def begun():
    yield b'begun'
    naps()

def app(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/begun':
        start_response('200 OK', [])
        return begun()
    if path in ways:
        ways[path]()
    body = ' '.join(left) if path == '/left' else str(os.getpid())
    if path == '/thread':
        body = threading.current_thread().name
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body.encode()]
";

/// Keeps its thread while there is a file `keep`, and says in another which requests it has seen.
const KEPT: &str = "
import os, time

def app(environ, start_response):
    path = environ['PATH_INFO']
    with open('seen', 'a') as seen:
        seen.write(path + '\\n')
    if path == '/keep':
        while os.path.exists('keep'):
            time.sleep(0.01)
    start_response('200 OK', [('Content-Length', '3')])
    return [b'hi\\n']
";

const SYNC: &[&str] = &["--request-timeout", "1", "--access-logfile", "-"];
const GTHREAD: &[&str] = &["--request-timeout", "1", "--access-logfile", "-", "--threads", "4"];
const KINDS: [&[&str]; 2] = [SYNC, GTHREAD];

#[test]
fn a_request_that_takes_too_long_gets_504_and_is_interrupted() {
    for arguments in KINDS {
        let server = Server::start(arguments, APP);
        let pid = server.get("/").body;
        for (target, line) in [("/loop", "in loop"), ("/naps", "in naps")] {
            let mut client = Client::connect(server.address());
            let response = client.get(target);
            assert_eq!((response.status, response.closes()), (504, true), "{target}");
            assert!(client.is_closed());
            let peer = format!("REQUEST TIMEOUT: GET {target} from 127.0.0.1:");
            let told = server.wait_for(&peer);
            assert!(told.contains("[ERROR]") && told.contains("the client got 504"), "{told}");
            server.wait_for(&format!("Request interrupted GET {target}"));
            server.wait_for(line);
            let logged = server.wait_for_stdout(&format!("\"GET {target} HTTP/1.1\""));
            assert!(logged.contains(" 504 "), "{logged}");
        }
        server.wait_for_count("rgunicorn.RequestTimeout: the request took longer than 1 s", 2);
        // Neither did it harm the worker, nor the thread's next request.
        assert_eq!(server.get("/").body, pid);
        assert_eq!(server.get("/swallow").status, 504);
        eventually("the end of the call", || {
            let left = server.get("/left");
            (left.status == 200 && left.text() == "cleaned up").then_some(())
        });
        assert_eq!(server.get("/").body, pid);
        let finished = server.stop(Signal::SIGTERM);
        assert_eq!(finished.code, Some(0));
        // Each once, by whoever answered.
        assert_eq!(finished.stdout.matches("/loop").count(), 1, "{}", finished.stdout);
    }
}

#[test]
fn a_response_that_has_begun_is_cut_off() {
    for arguments in KINDS {
        let server = Server::start(arguments, APP);
        let mut client = Client::connect(server.address());
        client.send("GET /begun HTTP/1.1\r\nHost: test\r\n\r\n");
        assert!(client.try_receive().is_err(), "its last chunk is missing");
        server.wait_for("its response was cut off");
        assert_eq!(server.get("/").status, 200);
        let logged = server.wait_for_stdout("\"GET /begun HTTP/1.1\"");
        assert!(logged.contains(" 200 "), "{logged}");
    }
}

/// Nothing in Python can end such a call, but its client need not wait for it, and neither does
/// the thread that leads.
#[test]
fn a_call_that_holds_the_interpreter_lock_delays_nobodys_504() {
    for arguments in KINDS {
        let server = Server::start(arguments, APP);
        assert_eq!(server.get("/").status, 200);
        assert_eq!(server.get("/lock").status, 504);
        let _unlocked = unlock(&server);
        assert_eq!(server.get("/").status, 200);
    }
}

/// Lets go of the interpreter lock, while the file is open.
fn unlock(server: &Server) -> File {
    // fifo(7): whoever opens both ends waits for nobody.
    File::options().read(true).write(true).open(server.path("lock")).unwrap()
}

#[test]
fn other_threads_go_on() {
    let server = Server::start(GTHREAD, APP);
    let address = server.address();
    let late: Vec<_> = (0..3)
        .map(|_| std::thread::spawn(move || Client::connect(address).get("/naps").status))
        .collect();
    let mut client = Client::connect(address);
    while !late.iter().all(std::thread::JoinHandle::is_finished) {
        assert_eq!(client.get("/").status, 200);
    }
    assert!(late.into_iter().all(|late| late.join().unwrap() == 504));
}

#[test]
fn a_thread_that_does_not_come_back_costs_its_worker_once_there_is_another() {
    let server = Server::start(GTHREAD, APP);
    let address = server.address();
    let first = server.get("/").body;
    assert_eq!(server.get("/lost").status, 504);
    let mut client = Client::connect(address);
    eventually("a successor", || {
        let response = client.get("/");
        assert_eq!(response.status, 200);
        (response.body != first).then_some(())
    });
    server.wait_for("Autorestarting worker: a request cannot be ended.");
    // The lost thread is not waited for.
    eventually("the worker's end", || (server.workers().len() == 1).then_some(()));
}

#[test]
fn without_a_limit_a_request_takes_as_long_as_it_takes() {
    let server = Launch::new(APP).args(&["--timeout", "0"]).start();
    let pid = server.get("/").body;
    let mut client = server.connect();
    client.send("GET /lock HTTP/1.1\r\nHost: test\r\n\r\n");
    let start = Instant::now();
    eventually("two seconds", || (start.elapsed().as_secs() >= 2).then_some(()));
    let _unlocked = unlock(&server);
    assert_eq!(client.receive().body, pid);
    assert_eq!(server.get("/").body, pid);
}

/// A server whose only application thread is kept, the client that keeps it, and one that was
/// served before.
fn kept(arguments: &[&str]) -> (Server, Client, Client) {
    let server = Launch::new(KEPT)
        .file("keep", "")
        .file("seen", "")
        .args(&["--keep-alive", "60"])
        .args(arguments)
        .start();
    let mut regular = Client::connect(server.address());
    assert_eq!(regular.get("/before").status, 200);
    let mut keeper = Client::connect(server.address());
    keeper.send("GET /keep HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("the kept thread", || seen(&server).contains("/keep").then_some(()));
    (server, keeper, regular)
}

fn seen(server: &Server) -> String {
    std::fs::read_to_string(server.path("seen")).unwrap_or_default()
}

const QUEUED: &str = "GET /queued HTTP/1.1\r\nHost: test\r\n\r\n";

#[test]
fn who_waits_too_long_for_the_application_gets_503_and_may_come_back() {
    let (server, mut keeper, regular) = kept(&["--queue-timeout", "1", "--access-logfile", "-"]);
    let mut clients = vec![regular];
    clients.extend((0..4).map(|_| Client::connect(server.address())));
    for client in &mut clients {
        client.send(QUEUED);
    }
    // The application still keeps its thread.
    for client in &mut clients {
        let response = client.receive();
        assert_eq!((response.status, response.closes()), (503, false), "{response:?}");
        assert_eq!(response.header("Retry-After"), Some("1"));
        assert_eq!(client.get("/queued").status, 503, "the connection goes on");
    }
    let logged = server.wait_for_stdout("\"GET /queued HTTP/1.1\"");
    assert!(logged.contains(" 503 "), "{logged}");
    assert_eq!(seen(&server), "/before\n/keep\n");
    std::fs::remove_file(server.path("keep")).expect("it was there");
    assert_eq!(keeper.receive().status, 200);
    assert_eq!(clients.iter_mut().map(|client| client.get("/").status).max(), Some(200));
    server.wait_for("Requests wait longer than 1 s for the application and get 503");
}

#[test]
fn who_has_gone_while_waiting_does_not_reach_the_application() {
    let (server, mut keeper, mut gone) = kept(&[]);
    gone.send("GET /gone HTTP/1.1\r\nHost: test\r\n\r\n");
    drop(gone);
    // Longer than a prompt client that closes its sending side has to wait.
    let start = Instant::now();
    eventually("a while", || (start.elapsed() > Duration::from_secs(1)).then_some(()));
    std::fs::remove_file(server.path("keep")).expect("it was there");
    assert_eq!(keeper.receive().status, 200);
    let mut prompt = Client::connect(server.address());
    prompt.send("GET /prompt HTTP/1.1\r\nHost: test\r\n\r\n");
    prompt.shut_down_sending();
    assert_eq!(prompt.receive().status, 200);
    assert_eq!(seen(&server), "/before\n/keep\n/prompt\n");
}
