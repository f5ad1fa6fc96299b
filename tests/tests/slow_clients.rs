//! A client that is slow holds up nobody: one worker, one bad client, and a good one beside it.

use rgunicorn_tests::{Client, Server};

const APP: &str = "
BIG = b'x' * (16 << 20)

def app(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/big':
        environ['wsgi.errors'].write('big is served\\n')
        environ['wsgi.errors'].flush()
        return [BIG]
    return [b'read %d' % len(body)]
";

/// Many requests, so that a worker which serves each only after some pause would be noticed.
fn is_served_at_once(server: &Server) {
    let mut good = server.connect();
    for _ in 0..100 {
        assert_eq!(good.get("/").text(), "read 0");
    }
}

#[test]
fn half_a_head() {
    let server = Server::start(&[], APP);
    let mut slow = server.connect();
    slow.send("GET / HTTP/1.1\r\nHo");
    is_served_at_once(&server);
    slow.send("st: test\r\n\r\n");
    assert_eq!(slow.receive().text(), "read 0");
}

#[test]
fn half_a_body() {
    let server = Server::start(&[], APP);
    let mut slow = server.connect();
    slow.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello");
    is_served_at_once(&server);
    slow.send("world");
    assert_eq!(slow.receive().text(), "read 10");
}

#[test]
fn half_a_chunked_body() {
    let server = Server::start(&[], APP);
    let mut slow = server.connect();
    slow.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
    is_served_at_once(&server);
    slow.send("lo\r\n0\r\n\r\n");
    assert_eq!(slow.receive().text(), "read 5");
}

#[test]
fn half_a_body_that_goes_to_a_file() {
    let server = Server::start(&[], APP);
    let mut slow = server.connect();
    let half = vec![b'a'; 3 << 20];
    slow.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 6291456\r\n\r\n");
    slow.send(&half);
    is_served_at_once(&server);
    slow.send(&half);
    assert_eq!(slow.receive().text(), "read 6291456");
}

#[test]
fn a_response_that_nobody_reads() {
    let server = Server::start(&[], APP);
    let mut slow = server.connect();
    slow.send("GET /big HTTP/1.1\r\nHost: test\r\n\r\n");
    server.wait_for("big is served");
    is_served_at_once(&server);
    let response = slow.receive();
    assert_eq!(response.body.len(), 16 << 20);
    assert_eq!(slow.get("/").text(), "read 0");
}

#[test]
fn a_stream_that_is_read_late() {
    let server = Server::start(
        &[],
        "
def app(environ, start_response):
    start_response('200 OK', [])
    for number in range(256):
        yield bytes([number]) * 65536
",
    );
    // The application waits for this reader; what it gets is whole nevertheless.
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(server.wait_for_workers(1).len(), 1);
    let body = client.receive().body;
    assert_eq!(body.len(), 16 << 20);
    assert!(body.chunks(65_536).zip(0..=255_u8).all(|(chunk, number)| chunk[0] == number));
}

#[test]
fn a_crowd_that_says_nothing() {
    let server = Server::start(&[], APP);
    let mut crowd: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    is_served_at_once(&server);
    for client in &mut crowd {
        assert_eq!(client.get("/").text(), "read 0");
    }
}
