//! Without `request_buffering` the application reads large bodies while clients send them.

use std::time::{Duration, Instant};

use rgunicorn_tests::{Client, Launch, Server, Signal, eventually};

const APP: &str = "
import hashlib, os

def app(environ, start_response):
    body, path = environ['wsgi.input'], environ['PATH_INFO']
    start_response('200 OK', [])
    if path == '/lines':
        return (line.upper() for line in body)
    if path == '/sum':
        digest = hashlib.sha256()
        for piece in iter(lambda: body.read(100_000), b''):
            digest.update(piece)
        return [digest.hexdigest().encode()]
    if path == '/length':
        return [str(len(body.read())).encode()]
    if path == '/kind':
        try:
            body.read()
        except OSError as error:
            return [type(error).__name__.encode()]
        return [b'no error']
    return [b'%d' % os.getpid()]
";

const KINDS: [&[&str]; 2] = [&[], &["-k", "gthread", "--threads", "2"]];

/// More than is gathered in memory.
const LARGE: usize = 5 << 20;

fn start(kind: &[&str], others: &[&str]) -> Server {
    Server::start(&[&["--no-request-buffering"], kind, others].concat(), APP)
}

fn announce(target: &str, length: usize) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n")
}

fn chunked(target: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
}

fn send_and_receive_line(client: &mut Client, line: &str) {
    let chunk = format!("{:x}\r\n{line}\r\n", line.len());
    client.send(&chunk);
    assert_eq!(client.receive_bytes(chunk.len()), chunk.to_uppercase().as_bytes());
}

#[test]
fn each_line_is_answered_before_the_next_is_sent() {
    for kind in KINDS {
        let server = start(kind, &[]);
        let mut client = server.connect();
        // The head leaves with the first line.
        client.send(chunked("/lines") + "4\r\none\n\r\n");
        let head = client.receive_head();
        assert_eq!(head.header("Transfer-Encoding"), Some("chunked"));
        assert_eq!(client.receive_bytes(9), b"4\r\nONE\n\r\n");
        send_and_receive_line(&mut client, "two\n");
        send_and_receive_line(&mut client, "three\n");
        client.send("0\r\n\r\n");
        assert_eq!(client.receive_bytes(5), b"0\r\n\r\n");
        assert_eq!(client.get("/").status, 200, "the connection goes on");
    }
}

#[test]
fn a_large_body_arrives_whole_and_the_next_request_behind_it() {
    for kind in KINDS {
        let server = start(kind, &[]);
        let body: Vec<u8> = (b'a'..=b'w').cycle().take(LARGE).collect();
        let mut client = server.connect();
        let buffered = Server::start(&[], APP);
        let sum = buffered.connect().post("/sum", &body).text().to_owned();
        for _ in 0..3 {
            client.send(announce("/sum", body.len()));
            client.send(&body);
            client.send(announce("/length", body.len()));
            client.send(&body);
            assert_eq!(client.receive().text(), sum);
            assert_eq!(client.receive().text(), LARGE.to_string());
        }
        client.send(chunked("/sum"));
        client.send(format!("{LARGE:x}\r\n"));
        client.send(&body);
        client.send("\r\n0\r\n\r\n");
        assert_eq!(client.receive().text(), sum);
    }
}

#[test]
fn small_bodies_still_hold_nobody_up() {
    let server = start(&[], &[]);
    let mut slow = server.connect();
    slow.send(announce("/length", 10) + "hello");
    for _ in 0..20 {
        assert_eq!(server.get("/").status, 200);
    }
    slow.send("world");
    assert_eq!(slow.receive().text(), "10");
}

/// Others who wait behind it go to a sibling, so a second worker is enough for them.
#[test]
fn a_slow_sender_holds_one_worker() {
    let server = start(&[], &["--workers", "2"]);
    server.wait_for_workers(2);
    let mut slow = server.connect();
    slow.send(announce("/length", LARGE) + "hello");
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(server.get("/").status, 200);
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    slow.send(vec![b'a'; LARGE - 5]);
    assert_eq!(slow.receive().text(), LARGE.to_string());
}

#[test]
fn a_promise_takes_no_memory() {
    let server = start(&[], &["--limit-request-body", "0"]);
    let worker = server.wait_for_workers(1)[0];
    assert_eq!(server.get("/").status, 200);
    let before = worker.peak_memory_bytes();
    let mut client = server.connect();
    // The application asks for all of it.
    client.send(announce("/length", 16 << 30) + "hello");
    drop(client);
    assert_eq!(server.get("/").status, 200);
    let more = worker.peak_memory_bytes() - before;
    assert!(more < 8 << 20, "{more} bytes more");
}

#[test]
fn what_clients_do_is_an_os_error_and_not_the_applications_fault() {
    for kind in KINDS {
        let server = start(kind, &["--body-timeout", "1", "--limit-request-body", "20000000"]);
        let large = announce("/kind", LARGE) + "abc";
        let endless = chunked("/kind") + "1312d01\r\n" + &"a".repeat(20_000_001) + "\r\n";
        for (request, error) in [
            (large.clone(), "TimeoutError"),
            (chunked("/kind") + "3\r\nabc\r\n", "TimeoutError"),
            (chunked("/kind") + "3\r\nabc\r\nx\r\n", "OSError"),
            (endless, "OSError"),
        ] {
            let mut client = server.connect();
            client.send(request);
            let response = client.receive();
            assert!(response.closes() && response.text() == error, "{response:?}");
            assert!(client.is_closed());
        }
        let mut gone = server.connect();
        gone.send(large);
        gone.shut_down_sending();
        assert_eq!(gone.receive().text(), "ConnectionResetError");
        server.wait_for("[WARNING] Invalid request from ip=127.0.0.1: ");
    }
}

/// The status tells the client what it did, and the log is free of tracebacks.
#[test]
fn an_application_that_does_not_catch_them_is_not_blamed() {
    let server = start(&[], &["--body-timeout", "1", "--limit-request-body", "20000000"]);
    let endless = chunked("/length") + "1312d01\r\n" + &"a".repeat(20_000_001) + "\r\n";
    for (request, status) in [
        (announce("/length", LARGE) + "abc", 408),
        (chunked("/length") + "3\r\nabc\r\nx\r\n", 400),
        (endless, 413),
    ] {
        let mut client = server.connect();
        client.send(request);
        let response = client.receive();
        assert!(response.status == status && response.closes(), "{response:?}");
    }
    let log = server.log().join("\n");
    assert!(!log.contains("Traceback") && !log.contains("[ERROR]"), "{log}");
}

#[test]
fn the_setting_works_from_a_file_and_is_undone_by_a_reload() {
    let launch = Launch::new(APP).file("gunicorn.conf.py", "request_buffering = False\n");
    let server = launch.start();
    let worker = server.wait_for_workers(1)[0];
    let mut client = server.connect();
    client.send(chunked("/lines") + "4\r\none\n\r\n");
    assert_eq!(client.receive_head().status, 200);
    drop(client);
    std::fs::write(server.path("gunicorn.conf.py"), "").expect("the file is ours");
    server.signal(Signal::SIGHUP);
    eventually("the worker's end", || (!worker.is_alive()).then_some(()));
    let mut client = server.connect();
    client.send(chunked("/lines") + "4\r\none\n\r\n");
    for _ in 0..20 {
        assert_eq!(server.get("/").status, 200);
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.receive().text(), "ONE\n");
}
