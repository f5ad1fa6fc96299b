//! Clients that are slow or mean no good, one worker, and a good client beside them. And the end:
//! what a server that is told to stop still owes its clients.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers fail their test by panicking, as tests do"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rgunicorn_tests::{
    Client, Crowd, DEADLINE, Launch, Server, Signal, download, eventually, measured,
};

const APP: &str = r#"
BIG = b"x" * (16 << 20)
with open("huge", "wb") as file:
    file.truncate(1 << 30)

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/huge":
        start_response("200 OK", [("Content-Length", str(1 << 30))])
        return environ["wsgi.file_wrapper"](open("huge", "rb"))
    if path == "/stream":
        start_response("200 OK", [])
        return (BIG[:65536] for _ in range(64))
    if path == "/endless":
        start_response("200 OK", [])
        return iter(lambda: BIG[:65536], b"")
    start_response("200 OK", [])
    if path == "/big":
        return [BIG]
    body = environ["wsgi.input"].read()
    return [f"{path} {len(body)}".encode()]
"#;

/// Slow clients are to be borne here, however slow the machine makes them.
const PATIENT: &[&str] = &["--header-timeout", "600", "--body-timeout", "600"];

/// A client that asks again and again, on one connection and on new ones.
#[derive(Default)]
struct Good {
    answers: AtomicUsize,
}

impl Good {
    /// Waits for further answers: whoever is held up by what the caller does meanwhile, and has not
    /// undone yet, gets none.
    fn is_served(&self) {
        let enough = self.answers.load(Ordering::Relaxed) + 16;
        eventually("answers to a good client", || {
            (self.answers.load(Ordering::Relaxed) >= enough).then_some(())
        });
    }
}

/// Lets a good client ask while `others` runs.
fn is_served_while(server: &Server, others: impl FnOnce(&Good) + Send) {
    let (good, done) = (Good::default(), AtomicBool::new(false));
    let mut waited = Vec::new();
    thread::scope(|threads| {
        threads.spawn(|| {
            // Also when the others fail: their failure is to be seen, not this loop.
            let _end = End(&done);
            others(&good);
        });
        let mut kept = server.connect();
        while !done.load(Ordering::Relaxed) {
            let start = Instant::now();
            let response =
                if waited.len() % 4 == 0 { server.get("/good") } else { kept.get("/good") };
            waited.push(start.elapsed());
            assert_eq!(response.text(), "/good 0");
            good.answers.fetch_add(1, Ordering::Relaxed);
            if response.closes() {
                kept = server.connect();
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
    waited.sort();
    let (p99, longest) = (waited[waited.len() * 99 / 100], waited[waited.len() - 1]);
    measured(&format!("{} good answers, p99 {p99:?}, longest {longest:?}", waited.len()));
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Starts a server with one worker, lets `harm` try its worst beside a good client, and sees that
/// the worker is still the same, has kept its other connections, and has not grown by more than
/// `limit_bytes`.
fn unharmed_by(limit_bytes: u64, harm: impl FnOnce(&Server, &Good) + Send) {
    unharmed_with(&[], limit_bytes, harm);
}

/// The same with these arguments.
fn unharmed_with(arguments: &[&str], limit_bytes: u64, harm: impl FnOnce(&Server, &Good) + Send) {
    let server = Server::start(&[PATIENT, arguments].concat(), APP);
    let mut bystander = server.connect();
    bystander.send("POST /before HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\na");
    assert_eq!(server.get("/").status, 200);
    let worker = server.wait_for_workers(1)[0];
    let before = worker.peak_memory_bytes();
    is_served_while(&server, |good| harm(&server, good));
    assert_eq!(server.workers(), [worker], "the worker lives");
    let growth = worker.peak_memory_bytes() - before;
    measured(&format!("the worker took {} KiB more", growth >> 10));
    assert!(growth <= limit_bytes, "the worker took {growth} bytes more");
    bystander.send("b");
    assert_eq!(bystander.receive().text(), "/before 2");
    assert_eq!(bystander.get("/after").text(), "/after 0");
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

#[test]
fn crowds_of_slow_clients() {
    // All at once; what they need is mostly 650 connections' buffers.
    unharmed_by(32 << 20, |server, good| {
        let address = server.address();
        let head = "GET /slow HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        let post = "POST /slow HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
                    Content-Length: 100\r\n\r\n";
        let (start, post) = (post.len(), format!("{post}{}", "b".repeat(100)));
        let big = "GET /big HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        let mut heads = Crowd::of_senders(address, 500, head, 0);
        let mut bodies = Crowd::of_senders(address, 100, &post, start);
        let mut readers = Crowd::of_readers(address, 50, big, 64 << 10);
        for _ in 0..8 {
            for crowd in [&mut heads, &mut bodies, &mut readers] {
                crowd.step();
            }
            good.is_served();
        }
        for (crowd, end) in [(heads, "/slow 0"), (bodies, "/slow 100")] {
            for response in crowd.finish() {
                assert!(response.ends_with(end.as_bytes()), "{response:?}");
            }
        }
        for response in readers.finish() {
            assert!(response.len() > 16 << 20 && response.ends_with(b"xxxx"), "all of it");
        }
    });
}

/// Each stream is 4 MiB, of which 128 KiB may stay in memory: no thread waits for its reader.
#[test]
fn streams_that_nobody_reads() {
    for arguments in [&[][..], &["--threads", "4"]] {
        unharmed_with(arguments, 32 << 20, |server, good| {
            let mut readers: Vec<_> = (0..40).map(|_| server.connect()).collect();
            for reader in &mut readers {
                reader.send("GET /stream HTTP/1.1\r\nHost: test\r\n\r\n");
            }
            // Here all of them are somewhere between the application and their clients.
            good.is_served();
            for reader in &mut readers {
                assert_eq!(reader.receive().body.len(), 4 << 20);
            }
        });
    }
}

#[test]
fn fast_readers_of_a_huge_file() {
    // The socket takes all of it at once; the worker must not wait for that.
    unharmed_by(4 << 20, |server, good| {
        thread::scope(|readers| {
            for _ in 0..3 {
                readers.spawn(|| download(server.address(), "/huge", |_, _| {}));
            }
            good.is_served();
        });
    });
}

#[test]
fn garbage() {
    unharmed_by(8 << 20, |server, good| {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        for length in 1..500 {
            let garbage: Vec<u8> = (0..length * 16)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state.to_le_bytes()[0]
                })
                .collect();
            let mut client = server.connect();
            if length % 100 == 0 {
                client.send(&garbage[..1]);
                good.is_served();
            }
            // It may be refused before all of it is sent.
            drop(client.try_send(&[&garbage, &b"\r\n\r\n"[..]].concat()));
            let answer = client.read_to_end();
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
        }
    });
}

#[test]
fn heads_without_an_end() {
    let head = "GET / HTTP/1.1\r\nHost: test\r\n";
    are_refused(&[
        ("GET /", "aaaaaaaa", 414),
        (&format!("{head}X: "), "aaaaaaaa", 431),
        (&format!("{head}X"), "xxxxxxxx", 431),
        (head, "X: aaa\r\n", 431),
        ("", "\r\n\r\n\r\n\r\n", 400),
    ]);
}

#[test]
fn chunks_without_an_end() {
    let head = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    are_refused(&[
        (&format!("{head}1;"), "aaaaaaaa", 400),
        (&format!("{head}1;a=\""), "aaaaaaaa", 400),
        (head, "1;a\r\na\r\n", 400),
        (head, "00000000", 400),
        (&format!("{head}0\r\n"), "X: aaa\r\n", 431),
        (&format!("{head}0\r\nX: "), "aaaaaaaa", 431),
    ]);
}

/// Starts of requests, what is sent after them without an end, and the answer to that.
fn are_refused(cases: &[(&str, &str, u16)]) {
    unharmed_by(4 << 20, |server, good| {
        thread::scope(|clients| {
            for &(start, piece, status) in cases {
                clients.spawn(move || is_refused(server, good, start, piece, status));
            }
        });
    });
}

/// Sends 4 MB of the same, which must be refused; then more, for as long as the server lingers.
fn is_refused(server: &Server, good: &Good, start: &str, piece: &str, status: u16) {
    let mut client = server.connect();
    let piece = piece.repeat((1 << 20) / piece.len());
    client.send(start);
    good.is_served();
    for _ in 0..4 {
        client.send(&piece);
    }
    assert_eq!(client.receive().status, status, "{start:?} {:?}", &piece[..8]);
    let refused = Instant::now();
    while client.try_send(piece.as_bytes()).is_ok() {
        assert!(refused.elapsed() < DEADLINE, "the server reads on for ever");
    }
}

#[test]
fn connections_without_a_byte() {
    unharmed_by(4 << 20, |server, good| {
        for _ in 0..3_000 {
            drop(server.connect());
        }
        let many: Vec<Client> = (0..500).map(|_| server.connect()).collect();
        good.is_served();
        drop(many);
    });
}

#[test]
fn half_closed_connections() {
    unharmed_by(4 << 20, |server, good| {
        for round in 0..100 {
            let mut client = server.connect();
            client.send("GET /half HTTP/1.1\r\nHost: test\r\n\r\n");
            client.shut_down_sending();
            assert_eq!(client.receive().text(), "/half 0");
            assert!(client.is_closed());
            for part in [
                "",
                "GET /half HT",
                "POST /half HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\na",
                "POST /half HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na",
            ] {
                let mut client = server.connect();
                client.send(part);
                if round == 0 {
                    good.is_served();
                }
                client.shut_down_sending();
                let answer = client.read_to_end();
                assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
            }
        }
    });
}

#[test]
fn resets_in_the_midst_of_a_response() {
    unharmed_by(8 << 20, |server, good| {
        for target in ["/big", "/huge", "/endless"] {
            for round in 0..50 {
                let mut client = TcpStream::connect(server.address()).unwrap();
                client.set_read_timeout(Some(DEADLINE)).unwrap();
                let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
                client.write_all(request.as_bytes()).unwrap();
                // The response has begun; the kernel resets what is closed before it is read.
                client.read_exact(&mut [0; 100]).unwrap();
                // What has no end keeps the application, until the client has gone.
                if round == 0 && target != "/endless" {
                    good.is_served();
                }
            }
        }
    });
}

#[test]
fn ten_thousand_requests_at_once() {
    unharmed_by(8 << 20, |server, good| {
        let mut reader = pipelined(server);
        good.is_served();
        let mut answers = String::new();
        reader.read_to_string(&mut answers).unwrap();
        let bodies = answers.split("HTTP/1.1 200 OK\r\n").skip(1);
        let mut count = 0;
        for (body, number) in bodies.zip(1..) {
            assert!(body.ends_with(&format!("\r\n\r\n/{number} 0")), "{number}: {body:?}");
            count += 1;
        }
        assert_eq!(count, 10_000);
    });
}

#[test]
fn ten_thousand_requests_whose_answers_nobody_reads() {
    unharmed_by(8 << 20, |server, good| {
        let unread = pipelined(server);
        for _ in 0..16 {
            good.is_served();
        }
        drop(unread);
    });
}

/// A connection on which a thread sends 10,000 numbered requests.
fn pipelined(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut sender = stream.try_clone().unwrap();
    thread::spawn(move || {
        let mut requests = Vec::new();
        for number in 1..10_000 {
            requests.push(format!("GET /{number} HTTP/1.1\r\nHost: test\r\n\r\n"));
        }
        requests.push("GET /10000 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".into());
        // Whether anybody reads the answers is for others to judge.
        drop(sender.write_all(requests.concat().as_bytes()));
    });
    stream
}

#[test]
fn told_to_stop_while_idle() {
    let server = Server::start(&["--workers", "2"], APP);
    let (mut used, mut unused) = (server.connect(), server.connect());
    assert_eq!(used.get("/").status, 200);
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
    assert!(used.is_closed() && unused.is_closed());
}

#[test]
fn told_to_stop_while_half_a_head_is_there() {
    stops_in_the_midst_of("GET /half HTTP/1.1\r\nHo", "st: test\r\n\r\n", "/half 0");
}

#[test]
fn told_to_stop_while_half_a_body_is_there() {
    let head = "POST /half HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n";
    stops_in_the_midst_of(&format!("{head}hello"), "world", "/half 10");
}

#[test]
fn told_to_stop_while_half_a_chunk_is_there() {
    let head = "POST /half HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    stops_in_the_midst_of(&format!("{head}5\r\nhel"), "lo\r\n0\r\n\r\n", "/half 5");
}

fn stops_in_the_midst_of(first: &str, rest: &str, answer: &str) {
    let server = Server::start(&[], APP);
    let (mut client, mut idle) = (server.connect(), server.connect());
    client.send(first);
    assert_eq!(idle.get("/").status, 200);
    server.signal(Signal::SIGTERM);
    // The worker knows: it takes leave of those who want nothing.
    assert!(idle.is_closed());
    client.send(rest);
    assert_eq!(client.receive().text(), answer);
    assert!(client.is_closed());
    assert_eq!(server.wait().code, Some(0));
}

#[test]
fn told_to_stop_while_a_slow_reader_takes_its_response() {
    let server = Server::start(&[], APP);
    let mut told = false;
    let length = download(server.address(), "/big", |_, piece| {
        if !told {
            server.signal(Signal::SIGTERM);
            told = true;
        }
        assert!(piece.iter().all(|&byte| byte == b'x'));
        thread::sleep(Duration::from_millis(10));
    });
    assert_eq!(length, 16 << 20);
    assert_eq!(server.wait().code, Some(0));
}

#[test]
fn told_to_stop_while_nobody_reads_a_response() {
    let server = Server::start(&["--graceful-timeout", "1"], APP);
    let mut client = server.connect();
    client.send("GET /endless HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(!client.is_closed());
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

#[test]
fn told_to_stop_while_workers_boot() {
    let booting = format!(
        "import os, sys, time\n\
         print('importing', file=sys.stderr, flush=True)\n\
         while not os.path.exists('open'):\n    time.sleep(0.005)\n{APP}"
    );
    for opens in [true, false] {
        let server =
            Launch::new(&booting).args(&["--graceful-timeout", "1", "--workers", "2"]).start();
        server.wait_for_count("importing", 2);
        server.signal(Signal::SIGTERM);
        if opens {
            std::fs::write(server.path("open"), "").unwrap();
        }
        assert_eq!(server.wait().code, Some(0));
    }
}

#[test]
fn told_to_stop_right_after_the_start() {
    for delay in (0..60).step_by(3).map(Duration::from_millis) {
        let server = Launch::new(APP).args(&["--workers", "2"]).spawn();
        thread::sleep(delay);
        let finished = server.stop(Signal::SIGTERM);
        // Before anything is set up, the signal does what it does to every program.
        let unprepared = finished.code.is_none() && !finished.stderr.contains("Listening");
        assert!(finished.code == Some(0) || unprepared, "after {delay:?}: {finished:?}");
        assert!(!finished.stderr.contains("Traceback"), "after {delay:?}: {finished:?}");
    }
}
