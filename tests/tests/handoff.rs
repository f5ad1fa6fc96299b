//! Connections outlive the worker that serves them: whoever keeps one open notices neither a reload
//! nor the end of a worker, and waits behind nobody's slow request.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers fail their test by panicking, as tests do"
)]

use std::fs;
use std::time::{Duration, Instant};

use rgunicorn_tests::{
    Client, Connections, Launch, Load, Process, Server, Signal, Successor, eventually,
};

/// Answers with the pid. `/wait` ends when there is a file `go`, `/hang` never; `/hold` never ends
/// either, and keeps the interpreter to itself. The body of a `POST` comes back.
const APP: &str = "
import ctypes, os, time

def app(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/wait':
        open('waiting', 'w').close()
        deadline = time.monotonic() + 60
        while not os.path.exists('go') and time.monotonic() < deadline:
            time.sleep(0.01)
    elif path == '/hang':
        open('waiting', 'w').close()
        time.sleep(600)
    elif path == '/hold':
        open('waiting', 'w').close()
        ctypes.PyDLL(None).sleep(600)
    start_response('200 OK', [])
    return [b'%d' % os.getpid(), environ['wsgi.input'].read()]
";

/// Nobody's patience ends in a test.
const SYNC: &[&str] = &["--workers", "4", "--keep-alive", "60"];
const GTHREAD: &[&str] = &["--workers", "2", "--keep-alive", "60", "--threads", "2"];
const KINDS: [&[&str]; 2] = [SYNC, GTHREAD];

/// Clients that keep their connections, half of them slow to finish a head.
struct Regulars([Load; 2]);

impl Regulars {
    fn start(server: &Server, count: usize) -> Self {
        let quick = Load::start(server, Connections::KeepAlive, count / 2);
        let regulars = Self([quick, Load::start_hesitant(server, count / 2)]);
        regulars.wait_for_answers();
        regulars
    }

    /// Everybody has been answered several times.
    fn wait_for_answers(&self) {
        for load in &self.0 {
            load.wait_for_answers(100);
        }
    }

    /// Nobody has noticed anything.
    fn assert_content(self, what: &str) {
        for load in self.0 {
            let report = load.stop();
            assert_eq!((report.lost, report.closed), (vec![], 0), "{what}");
        }
    }
}

/// Of workers.
fn count(kind: &[&str]) -> usize {
    kind[1].parse().unwrap()
}

fn pid_of(client: &mut Client) -> String {
    client.get("/").text().to_owned()
}

fn wait_for_end(worker: Process) {
    eventually("the worker's end", || (!worker.is_alive()).then_some(()));
}

/// New workers in the place of all, when all are there.
fn reload(server: &Server, count: usize) {
    let old = server.wait_for_workers(count);
    server.signal(Signal::SIGHUP);
    for worker in old {
        wait_for_end(worker);
    }
    server.wait_for_workers(count);
}

/// A server with a single worker, so that it is known who has a connection.
fn alone() -> Server {
    Server::start(&["--workers", "1", "--keep-alive", "60"], APP)
}

/// Two connections that the same of several workers has.
fn neighbours(server: &Server) -> [Client; 2] {
    let mut clients: Vec<(String, Client)> = Vec::new();
    loop {
        let mut client = server.connect();
        let pid = pid_of(&mut client);
        if let Some(index) = clients.iter().position(|(other, _)| *other == pid) {
            return [clients.swap_remove(index).1, client];
        }
        clients.push((pid, client));
    }
}

fn wait_until_busy(server: &Server) {
    let path = server.path("waiting");
    eventually("the call", || path.exists().then_some(()));
    fs::remove_file(path).unwrap();
}

#[test]
fn a_reload_closes_nothing() {
    for kind in KINDS {
        let server = Server::start(kind, APP);
        let regulars = Regulars::start(&server, 24);
        for _ in 0..2 {
            reload(&server, count(kind));
            regulars.wait_for_answers();
        }
        regulars.assert_content(&format!("{kind:?}"));
        assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
    }
}

#[test]
fn a_worker_that_is_told_to_stop_closes_nothing() {
    for kind in KINDS {
        let server = Server::start(kind, APP);
        let regulars = Regulars::start(&server, 24);
        for worker in server.wait_for_workers(count(kind)) {
            worker.signal(Signal::SIGTERM);
            wait_for_end(worker);
            server.wait_for_workers(count(kind));
        }
        regulars.wait_for_answers();
        regulars.assert_content(&format!("{kind:?}"));
    }
}

#[test]
fn fewer_workers_close_nothing() {
    for kind in KINDS {
        let server = Server::start(kind, APP);
        let count = count(kind);
        let regulars = Regulars::start(&server, 24);
        server.signal(Signal::SIGTTOU);
        server.wait_for_workers(count - 1);
        regulars.wait_for_answers();
        server.signal(Signal::SIGTTIN);
        server.wait_for_workers(count);
        regulars.wait_for_answers();
        regulars.assert_content(&format!("{kind:?}"));
    }
}

#[test]
fn max_requests_closes_nothing() {
    for kind in KINDS {
        let recycling = ["--max-requests", "200", "--max-requests-jitter", "100"];
        let server = Server::start(&[kind, &recycling].concat(), APP);
        let regulars = Regulars::start(&server, 24);
        server.wait_for_count("Autorestarting worker", 6);
        regulars.wait_for_answers();
        regulars.assert_content(&format!("{kind:?}"));
    }
}

/// Whoever has sent half of his head, or a head without its body, is answered by the successor.
#[test]
fn a_request_may_begin_with_one_worker_and_end_with_another() {
    const EXPECT: &str = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\
        Expect: 100-continue\r\n\r\n";
    let server = alone();
    let mut idle = server.connect();
    let old = pid_of(&mut idle);
    let [mut first, mut second, mut late, mut expectant] = [(); 4].map(|()| server.connect());
    // One is new, the other has been served.
    assert_eq!(pid_of(&mut second), old);
    for client in [&mut first, &mut second] {
        client.send("GET / HTTP/1.1\r\nHo");
    }
    late.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\n");
    expectant.send(EXPECT);
    assert_eq!(expectant.receive().status, 100);
    // Whatever was there before has been read when this is answered.
    assert_eq!(pid_of(&mut idle), old);

    reload(&server, 1);
    let new = pid_of(&mut idle);
    assert_ne!(new, old);
    for client in [&mut first, &mut second] {
        client.send("st: test\r\n\r\n");
        assert_eq!(client.receive().text(), new);
        assert_eq!(pid_of(client), new);
    }
    for client in [&mut late, &mut expectant] {
        client.send("body");
        // Not another 100.
        assert_eq!(client.receive().text(), format!("{new}body"));
        assert_eq!(pid_of(client), new);
    }
}

#[test]
fn clients_of_a_unix_socket_move_as_well() {
    let server = Launch::new(APP).bind(&["unix:socket"]).args(&["--keep-alive", "60"]).start();
    let mut clients = [(); 3].map(|()| Client::connect_unix(&server.path("socket")));
    let [idle, half, expectant] = &mut clients;
    let old = pid_of(half);
    half.send("GET / HTTP/1.1\r\nHo");
    expectant
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(expectant.receive().status, 100);
    assert_eq!(pid_of(idle), old);
    reload(&server, 1);
    let new = pid_of(idle);
    assert_ne!(new, old);
    half.send("st: test\r\n\r\n");
    assert_eq!(half.receive().text(), new);
    expectant.send("body");
    assert_eq!(expectant.receive().text(), format!("{new}body"));
}

/// What lies in the mailbox waits for a worker as who knocks at a listener does.
#[test]
fn the_last_worker_leaves_its_connections_to_its_successor() {
    let server = alone();
    let mut clients: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    let old = clients.iter_mut().map(pid_of).last().unwrap();
    for client in clients.iter_mut().skip(10) {
        client.send("GET / HTTP/1.1\r\nHo");
    }
    let worker = server.wait_for_workers(1)[0];
    worker.signal(Signal::SIGTERM);
    for client in clients.iter_mut().skip(10) {
        client.send("st: test\r\n\r\n");
        let response = client.receive();
        assert!(response.status == 200 && !response.closes(), "{response:?}");
    }
    wait_for_end(worker);
    for client in &mut clients {
        assert_ne!(pid_of(client), old);
    }
    // But when all end nobody waits for anybody.
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
    assert!(clients[0].is_closed());
}

/// The workers of the old master leave their connections to those of the new one.
#[test]
fn an_upgrade_closes_nothing() {
    for kind in KINDS {
        let server = Server::start(kind, APP);
        let regulars = Regulars::start(&server, 24);
        let mut idle: Vec<Client> = (0..10).map(|_| server.connect()).collect();
        let old: Vec<String> = idle.iter_mut().map(pid_of).collect();
        let new = Successor::start(&server, 1);
        server.wait_for_count("Booting worker", 2 * count(kind));
        server.signal(Signal::SIGTERM);
        server.wait_for("Master has been promoted.");
        regulars.wait_for_answers();
        for client in &mut idle {
            assert!(!old.contains(&pid_of(client)), "{kind:?}");
        }
        regulars.assert_content(&format!("{kind:?}"));
        new.signal(Signal::SIGTERM);
        assert_eq!(server.wait().code, Some(0));
    }
}

/// Nor does it end for those whose request the old worker is answering.
#[test]
fn a_call_that_is_under_way_keeps_its_connection() {
    for threads in ["1", "2"] {
        let server = Server::start(&["--threads", threads, "--keep-alive", "60"], APP);
        let (mut client, mut neighbour) = (server.connect(), server.connect());
        let old = pid_of(&mut client);
        assert_eq!(pid_of(&mut neighbour), old);
        // With the next requests behind it.
        client.send("GET /wait HTTP/1.1\r\nHost: test\r\n\r\n");
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n".repeat(3));
        wait_until_busy(&server);
        server.signal(Signal::SIGHUP);
        // The new worker is there, and the old one answers still.
        eventually("the new worker", || (pid_of(&mut neighbour) != old).then_some(()));
        fs::write(server.path("go"), "").unwrap();
        assert_eq!(client.receive().text(), old);
        for _ in 0..3 {
            assert_eq!(client.receive().status, 200);
        }
        let new = server.wait_for_workers(1)[0].pid().to_string();
        assert_eq!(pid_of(&mut client), new);
    }
}

/// A request that comes while its worker is busy is an idle sibling's, whether its connection is
/// new or not, and with all that follows it.
#[test]
fn nobody_waits_behind_a_slow_call_while_a_sibling_is_idle() {
    for kind in [&["--workers", "2"][..], &["--workers", "2", "--threads", "1", "-k", "gthread"]] {
        let server = Server::start(kind, APP);
        server.wait_for_workers(2);
        let [mut slow, mut quick] = neighbours(&server);
        let busy = pid_of(&mut slow);
        slow.send("GET /wait HTTP/1.1\r\nHost: test\r\n\r\n");
        wait_until_busy(&server);
        let start = Instant::now();
        // The first is passed on, the next ones follow it.
        quick.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n".repeat(3));
        for _ in 0..3 {
            let response = quick.receive();
            assert!(response.text() != busy && !response.closes(), "{kind:?}: {response:?}");
        }
        assert_ne!(pid_of(&mut quick), busy);
        for _ in 0..10 {
            assert_ne!(server.get("/").text(), busy);
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        fs::write(server.path("go"), "").unwrap();
        assert_eq!(slow.receive().text(), busy);
        assert_eq!(slow.get("/").status, 200);
    }
}

/// At an upgrade the idle one may be another arbiter's, the new one's as well as the old one's.
#[test]
fn nobody_waits_behind_a_slow_call_while_another_arbiters_worker_is_idle() {
    let server = alone();
    let [mut slow, mut quick] = neighbours(&server);
    let mut busy = pid_of(&mut slow);
    let successor = Successor::start(&server, 1);
    // First it is the old one that is busy, then the new one.
    for _ in 0..2 {
        slow.send("GET /wait HTTP/1.1\r\nHost: test\r\n\r\n");
        wait_until_busy(&server);
        let idle = pid_of(&mut quick);
        assert_ne!(idle, busy);
        // Whoever comes now is the idle one's, and stays there.
        let next = [(); 2].map(|()| {
            let mut client = server.connect();
            assert_eq!(pid_of(&mut client), idle);
            client
        });
        fs::write(server.path("go"), "").unwrap();
        assert_eq!(slow.receive().text(), busy);
        fs::remove_file(server.path("go")).unwrap();
        [slow, quick] = next;
        busy = idle;
    }
    successor.signal(Signal::SIGTERM);
    successor.wait_for_end();
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

/// What a hanging worker has besides goes to its siblings before it is killed, and long before if
/// one of them is idle.
#[test]
fn a_worker_that_hangs_takes_only_its_own_request_along() {
    for (kind, path) in [(SYNC, "/hang"), (SYNC, "/hold")] {
        let server = Server::start(&[kind, &["--timeout", "2"]].concat(), APP);
        server.wait_for_workers(count(kind));
        let mut idle: Vec<Client> = (0..16).map(|_| server.connect()).collect();
        for client in &mut idle {
            client.get("/");
        }
        // Half a head each, too.
        for client in idle.iter_mut().skip(8) {
            client.send("GET / HTTP/1.1\r\nHo");
        }
        let regulars = Regulars::start(&server, 12);
        let mut unlucky = server.connect();
        pid_of(&mut unlucky);
        unlucky.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        wait_until_busy(&server);
        regulars.wait_for_answers();
        // Not always that of the request before.
        let line = server.wait_for("WORKER TIMEOUT (pid:");
        let (_, rest) = line.split_once("(pid:").unwrap();
        let (worker, _) = rest.split_once(')').unwrap();
        eventually("the worker's end", || {
            let mut workers = server.workers().into_iter();
            workers.all(|other| other.pid().to_string() != worker).then_some(())
        });
        regulars.wait_for_answers();
        for client in idle.iter_mut().skip(8) {
            client.send("st: test\r\n\r\n");
            assert_eq!(client.receive().status, 200, "{kind:?} {path}");
        }
        for client in &mut idle {
            assert_eq!(client.get("/").status, 200, "{kind:?} {path}");
        }
        regulars.assert_content(&format!("{kind:?} {path}"));
    }
}

/// Whoever knocks may be let in by one worker and given to another before he has said a word.
#[test]
fn newcomers_may_take_their_time() {
    let server = Server::start(SYNC, APP);
    let regulars = Regulars::start(&server, 24);
    for _ in 0..150 {
        let mut newcomers: Vec<Client> = (0..10).map(|_| server.connect()).collect();
        for client in &mut newcomers {
            assert_eq!(client.get("/").status, 200);
        }
    }
    regulars.assert_content("beside newcomers");
}

/// Workers end and are replaced all the time, while everybody is in the midst of a head.
#[test]
fn a_storm_of_reloads_and_ends_is_not_noticed() {
    for kind in KINDS {
        let server = Server::start(kind, APP);
        let regulars = Regulars::start(&server, 60);
        let mut dice = 0x2545_F491_u32;
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(4) {
            dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let workers = server.workers();
            if dice >> 30 == 0 || workers.is_empty() {
                server.signal(Signal::SIGHUP);
            } else {
                workers[(dice >> 8) as usize % workers.len()].signal(Signal::SIGTERM);
            }
            std::thread::sleep(Duration::from_millis(300));
        }
        regulars.wait_for_answers();
        regulars.assert_content(&format!("{kind:?}"));
        assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
    }
}
