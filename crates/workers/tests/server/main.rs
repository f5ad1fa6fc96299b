//! A server with a Rust handler, one worker, and clients of every kind.

#![expect(
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests may fail by panicking"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rgunicorn_http1::{RequestHead, ResponseHead};
use rgunicorn_workers::{Client, ConnectionError, Handler, Options, Outcome, Server};

mod harness;
mod incoming;
mod vacancy;

use harness::{TestServer, body, read_exactly, read_to_end, read_until, starts_with};

const BIG: usize = 16 << 20;
const CONNECTIONS: usize = 50;
/// More than the kernel keeps for a reader that does not read.
const SPOOL: usize = 10 << 20;

struct Routes;

impl Handler for Routes {
    fn handle(
        &self,
        request: &RequestHead,
        mut client: Client,
    ) -> Result<Outcome, ConnectionError> {
        match request.target() {
            b"/big" => {
                let mut head = ResponseHead::new(200, &[]);
                head.length = Some(BIG as u64);
                client.send_head(&head)?;
                client.send_rest(Bytes::from(vec![b'b'; BIG]))?;
            }
            b"/echo" => {
                let mut body = Vec::new();
                let mut piece = [0; 4096];
                while let count @ 1.. = client.read_body(&mut piece)? {
                    body.extend_from_slice(&piece[..count]);
                }
                let mut head = ResponseHead::new(200, &[]);
                head.length = Some(body.len() as u64);
                client.send_head(&head)?;
                client.send_rest(body.into())?;
            }
            b"/failing" => {
                client.send_head(&ResponseHead::new(200, &[]))?;
                client.send_data(b"some")?;
                client.send_error(500, "too late for a page");
            }
            b"/forgetful" => {}
            b"/panic" => panic!("on purpose"),
            b"/pid" => {
                let pid = std::process::id().to_string();
                let mut head = ResponseHead::new(200, &[]);
                head.length = Some(pid.len() as u64);
                client.send_head(&head)?;
                client.send_rest(pid.into())?;
            }
            b"/late" | b"/later" => {
                if request.target() == b"/later" {
                    client.send_head(&ResponseHead::new(200, &[]))?;
                    client.send_data(b"some")?;
                }
                let patience = Instant::now() + Duration::from_secs(20);
                let error = loop {
                    std::thread::sleep(Duration::from_millis(10));
                    assert!(Instant::now() < patience, "a deadline passes");
                    // It tells whether time is up, and nothing else.
                    if let Err(error) = client.read_body(&mut [0]) {
                        break error;
                    }
                };
                assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
                let error = client.send_head(&ResponseHead::new(200, &[]));
                let is_response = matches!(error, Err(ConnectionError::Response(_)));
                assert!(is_response || matches!(error, Err(ConnectionError::Expired)));
                let error = client.send_data(b"more").unwrap_err();
                assert!(matches!(error, ConnectionError::Expired), "{error}");
                client.send_error(500, "too late");
            }
            b"/lost" => std::thread::sleep(Duration::from_secs(3600)),
            b"/slow" => {
                std::thread::sleep(Duration::from_secs(2));
                client.send_head(&ResponseHead::new(204, &[]))?;
            }
            b"/stream" | b"/short-stream" => {
                client.send_head(&ResponseHead::new(200, &[]))?;
                let length = if request.target() == b"/stream" { BIG } else { SPOOL };
                let mut left = &vec![b's'; length][..];
                while !left.is_empty() {
                    match client.send_data(left).map_err(std::io::Error::from) {
                        Ok(taken) => left = &left[taken..],
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                            client.wait()?;
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            b"/truncated" => {
                client.send_head(&ResponseHead::new(200, &[(b"Content-Length", b"100")]))?;
                client.send_data(b"only this")?;
            }
            _ => {
                client.send_head(&ResponseHead::new(200, &[(b"Content-Length", b"3")]))?;
                client.send_data(b"hi\n")?;
            }
        }
        Ok(Outcome::Done(client))
    }
}

/// No test of its own: with the variable set, it is the server of the others.
#[test]
fn server_process() {
    let Some(max_requests) = harness::wish() else { return };
    let mut options = Options::default();
    options.connections = CONNECTIONS;
    options.header_timeout = Duration::from_millis(300);
    options.body_timeout = Duration::from_millis(300);
    options.keepalive = Some(Duration::from_secs(match max_requests.as_str() {
        "short keep-alive" => 1,
        _ => 20,
    }));
    options.limit_request_body = Some(8 << 20);
    options.max_requests = max_requests.parse().ok();
    if max_requests.contains("deadline") {
        options.request_timeout = Some(Duration::from_millis(500));
    }
    options.threads =
        max_requests.contains("threads").then_some(NonZeroUsize::MIN.saturating_add(1));
    options.response_spool_size = SPOOL as u64;
    options.write_timeout = Duration::from_secs(20);
    harness::serve(rgunicorn_arbiter::Options::new(1), Server::new(Routes, options));
}

impl TestServer {
    fn start() -> Self {
        Self::start_with("unlimited requests")
    }

    fn start_with(max_requests: &str) -> Self {
        Self::spawn("server_process", max_requests)
    }
}

const CLOSE: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[test]
fn answers_pipelined_requests_in_order() {
    let server = TestServer::start();
    let echo = |text: &str| {
        format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{text}", text.len())
    };
    let mut requests: String = (0..40).map(|number| echo(&format!("[{number}]"))).collect();
    requests.push_str(std::str::from_utf8(CLOSE).unwrap());
    let answer = String::from_utf8(server.ask(requests.as_bytes())).unwrap();
    let numbers: Vec<usize> = answer
        .split('[')
        .skip(1)
        .map(|rest| rest.split_once(']').unwrap().0.parse().unwrap())
        .collect();
    assert_eq!(numbers, (0..40).collect::<Vec<_>>());
    assert!(answer.ends_with("hi\n"));
}

#[test]
fn nobody_slow_holds_the_only_worker() {
    let server = TestServer::start();
    let mut half_head = server.send(b"GET / HTTP/1.1\r\nHo");
    let mut half_body =
        server.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf");
    let mut slow_reader = server.send(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut slow_listener = server.send(b"GET /short-stream HTTP/1.0\r\nHost: x\r\n\r\n");
    let mut idle = server.connect();
    for _ in 0..20 {
        assert!(server.ask(CLOSE).ends_with(b"hi\n"));
    }
    half_head.write_all(b"st: x\r\nConnection: close\r\n\r\n").unwrap();
    half_body.write_all(b" more").unwrap();
    idle.write_all(CLOSE).unwrap();
    assert!(read_to_end(&mut half_head).ends_with(b"hi\n"));
    assert!(read_to_end(&mut idle).ends_with(b"hi\n"));
    let echoed = read_until(&mut half_body, b"half more");
    assert!(starts_with(&echoed, "200"));
    let stream = read_to_end(&mut slow_listener);
    assert!(body(&stream).len() == SPOOL && body(&stream).iter().all(|byte| *byte == b's'));
    let big = read_to_end(&mut slow_reader);
    assert!(body(&big).len() == BIG && body(&big).iter().all(|byte| *byte == b'b'));
}

#[test]
fn streams_to_a_reader_that_comes_late() {
    let server = TestServer::start();
    let mut reader = server.send(b"GET /stream HTTP/1.0\r\nHost: x\r\n\r\n");
    let all = read_to_end(&mut reader);
    assert_eq!(body(&all).len(), BIG);
}

#[test]
fn a_large_body_arrives_whole_and_a_larger_one_is_refused() {
    let server = TestServer::start();
    let body_of = |count: usize| (0..count).map(|at| b'a' + (at % 23) as u8).collect::<Vec<_>>();
    for count in [100_000, 3 << 20, 8 << 20] {
        let sent = body_of(count);
        let head = format!(
            "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {count}\r\n\r\n"
        );
        let answer = server.ask(&[head.as_bytes(), &sent].concat());
        assert!(body(&answer) == sent, "{count}");
    }
    let head =
        format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", (8 << 20) + 1);
    assert!(starts_with(&server.ask(head.as_bytes()), "413"));
    // Without an announced length it is refused as soon as it is too long.
    let mut stream =
        server.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [&b"100000\r\n"[..], &body_of(1 << 20), b"\r\n"].concat();
    for _ in 0..9 {
        stream.write_all(&chunk).unwrap();
    }
    assert!(starts_with(&read_to_end(&mut stream), "413"));
}

#[test]
fn a_large_body_ends_where_it_says() {
    let server = TestServer::start();
    let count = 3 << 20;
    let sent: Vec<u8> = (b'a'..=b'w').cycle().take(count).collect();
    let head = format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {count}\r\n\r\n");
    // Whatever the reads of the server are, they meet the end of the body and the next request.
    for cut in [0, 1, 1 << 20, count - 1, count] {
        let (first, second) = sent.split_at(cut);
        let mut stream = server.send(&[head.as_bytes(), first].concat());
        server.ask(CLOSE);
        stream.write_all(&[second, CLOSE].concat()).unwrap();
        let answers = read_to_end(&mut stream);
        assert!(body(&answers)[..count] == sent, "cut at {cut}");
        assert!(starts_with(&body(&answers)[count..], "200") && answers.ends_with(b"hi\n"));
    }
    // Cut short: nobody is left to answer.
    let mut leaving = server.send(&[head.as_bytes(), &sent[..count - 1]].concat());
    leaving.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(read_to_end(&mut leaving).is_empty());
    // Or too slow.
    assert!(starts_with(&server.ask(&[head.as_bytes(), &sent[..2 << 20]].concat()), "408"));
    // What they left behind is in nobody's way.
    let answer = server.ask(&[head.as_bytes(), &sent, CLOSE].concat());
    assert!(body(&answer)[..count] == sent);
}

#[test]
fn expects_are_answered_before_the_body() {
    let server = TestServer::start();
    let mut stream = server.send(
        b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n\
          Content-Length: 4\r\n\r\n",
    );
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
    assert_eq!(read_exactly(&mut stream, interim.len()), interim);
    stream.write_all(b"body").unwrap();
    assert!(read_to_end(&mut stream).ends_with(b"body"));
}

#[test]
fn a_fault_costs_its_own_connection() {
    let server = TestServer::start();
    let mut kept = server.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    read_until(&mut kept, b"hi\n");
    assert!(server.ask(b"GET /panic HTTP/1.1\r\nHost: x\r\n\r\n").is_empty());
    assert!(starts_with(&server.ask(b"GET /forgetful HTTP/1.1\r\nHost: x\r\n\r\n"), "500"));
    let truncated = server.ask(b"GET /truncated HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(body(&truncated), b"only this");
    let failing = server.ask(b"GET /failing HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(body(&failing), b"4\r\nsome\r\n", "neither a page nor a final chunk");
    assert!(starts_with(&server.ask(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n"), "400"));
    // Whoever leaves in the midst of a request is owed no answer.
    let mut leaving =
        server.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf");
    leaving.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(read_to_end(&mut leaving).is_empty());
    kept.write_all(CLOSE).unwrap();
    assert!(read_to_end(&mut kept).ends_with(b"hi\n"));
}

#[test]
fn at_its_limit_a_worker_lets_clients_wait() {
    let server = TestServer::start();
    let answered = |stream: &mut TcpStream| {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        read_until(stream, b"hi\n");
    };
    let mut kept: Vec<TcpStream> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    kept.iter_mut().for_each(answered);
    let mut waiting = server.send(CLOSE);
    // Whoever is here is still served, and the one who waits is not.
    kept.iter_mut().for_each(answered);
    waiting.set_nonblocking(true).unwrap();
    let unread = waiting.read(&mut [0]).unwrap_err();
    assert_eq!(unread.kind(), std::io::ErrorKind::WouldBlock);
    waiting.set_nonblocking(false).unwrap();
    // A place may become free in any way, also by a fault.
    kept[7].write_all(b"GET /panic HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(read_to_end(&mut waiting).ends_with(b"hi\n"));
}

#[test]
fn a_worker_that_has_done_its_share_is_succeeded() {
    let server = TestServer::start_with("5");
    let ask = || server.ask(b"GET /pid HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let first = body(&ask()).to_vec();
    let deadline = Instant::now() + Duration::from_secs(20);
    while body(&ask()) == first {
        assert!(Instant::now() < deadline, "no successor");
    }
}

/// The time that the application takes is not the client's.
#[test]
fn a_busy_worker_forgets_nobody() {
    let server = TestServer::start_with("short keep-alive");
    let mut kept = server.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    read_until(&mut kept, b"hi\n");
    let mut slow = server.send(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    // While the worker is busy, for longer than the keep-alive time.
    kept.write_all(CLOSE).unwrap();
    assert!(read_to_end(&mut kept).ends_with(b"hi\n"));
    assert!(starts_with(&read_to_end(&mut slow), "204"));
}

#[test]
fn a_long_pipeline_outlives_the_keep_alive_time() {
    let server = TestServer::start_with("short keep-alive");
    let mut kept = server.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    read_until(&mut kept, b"hi\n");
    let slow = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";
    kept.write_all(&[&slow[..], slow, CLOSE].concat()).unwrap();
    let answers = read_to_end(&mut kept);
    assert_eq!(String::from_utf8_lossy(&answers).matches("HTTP/1.1 204").count(), 2);
    assert!(answers.ends_with(b"hi\n"));
}

#[test]
fn patience_ends() {
    let server = TestServer::start();
    // A byte now and then does not prolong the time for a head.
    let (mut stream, started) = (server.connect(), Instant::now());
    for byte in b"GET / HTTP/1.1\r\nHost: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx".iter().cycle() {
        if stream.write_all(&[*byte]).is_err() || started.elapsed() > Duration::from_secs(10) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(started.elapsed() < Duration::from_secs(10), "the head took for ever");
    let body = server.ask(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf");
    assert!(starts_with(&body, "408"));
}

#[test]
fn a_stopping_worker_serves_who_is_here_already() {
    let mut server = TestServer::start();
    let mut kept = server.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    read_until(&mut kept, b"hi\n");
    let mut half = server.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbo");
    // It is in as soon as a later connection has been answered.
    server.ask(CLOSE);
    server.signal("TERM");
    half.write_all(b"dy").unwrap();
    kept.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let kept = String::from_utf8(read_to_end(&mut kept)).unwrap();
    assert!(kept.contains("hi\n"), "{kept}");
    assert!(read_to_end(&mut half).ends_with(b"body"));
    assert_eq!(server.arbiter.wait().unwrap().code(), Some(0));
}

#[test]
fn a_request_that_takes_too_long_is_answered_without_its_handler() {
    for kind in ["deadline", "deadline, threads"] {
        let server = TestServer::start_with(kind);
        let mut late = server.send(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut later = server.send(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
        let page = read_to_end(&mut late);
        assert!(starts_with(&page, "504 Gateway Timeout"), "{}", page.escape_ascii());
        assert_eq!(page.windows(4).filter(|bytes| bytes == b"HTTP").count(), 1);
        // Without its last chunk it is not whole.
        let begun = read_to_end(&mut later);
        assert!(starts_with(&begun, "200"), "{}", begun.escape_ascii());
        assert!(begun.ends_with(b"some\r\n"), "{}", begun.escape_ascii());
        assert!(server.ask(CLOSE).ends_with(b"hi\n"));
    }
}

#[test]
fn a_thread_that_does_not_come_back_costs_its_worker_and_nobody_else() {
    let server = TestServer::start_with("deadline, threads");
    let pid = |server: &TestServer| {
        let request = b"GET /pid HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        body(&server.ask(request)).to_vec()
    };
    let first = pid(&server);
    let lost = read_to_end(&mut server.send(b"GET /lost HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert!(starts_with(&lost, "504"));
    let patience = Instant::now() + Duration::from_secs(30);
    while pid(&server) == first {
        assert!(Instant::now() < patience, "a successor comes");
        std::thread::sleep(Duration::from_millis(50));
    }
    // It does not wait for the thread.
    let process = format!("/proc/{}", String::from_utf8(first).unwrap());
    while std::path::Path::new(&process).exists() {
        assert!(Instant::now() < patience, "the worker ends");
        std::thread::sleep(Duration::from_millis(50));
    }
}
