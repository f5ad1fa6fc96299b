//! Requests that are refused: malformed, ambiguous, or beyond a limit.

use rgunicorn_tests::Server;

const APP: &str = "
def app(environ, start_response):
    environ['wsgi.input'].read()
    start_response('200 OK', [])
    return [b'served']
";

/// What no two servers may understand differently, or what is simply wrong.
#[test]
fn malformed_requests_are_refused_and_harm_nobody() {
    let cases: &[(&str, &str)] = &[
        ("no request line", "hello\r\n\r\n"),
        ("no version", "GET /\r\nHost: test\r\n\r\n"),
        ("two spaces", "GET  / HTTP/1.1\r\nHost: test\r\n\r\n"),
        ("lower-case method", "get / HTTP/1.1\r\nHost: test\r\n\r\n"),
        ("relative target", "GET a HTTP/1.1\r\nHost: test\r\n\r\n"),
        ("control in the target", "GET /\x01 HTTP/1.1\r\nHost: test\r\n\r\n"),
        ("bare LF after the request line", "GET / HTTP/1.1\nHost: test\r\n\r\n"),
        ("bare LF after a field", "GET / HTTP/1.1\r\nHost: test\n\r\n"),
        ("space before the colon", "GET / HTTP/1.1\r\nHost : test\r\n\r\n"),
        ("no colon", "GET / HTTP/1.1\r\nHost: test\r\nnonsense\r\n\r\n"),
        ("empty name", "GET / HTTP/1.1\r\nHost: test\r\n: a\r\n\r\n"),
        ("folded field", "GET / HTTP/1.1\r\nHost: test\r\nA: b\r\n c\r\n\r\n"),
        ("NUL in a value", "GET / HTTP/1.1\r\nHost: test\r\nA: b\0c\r\n\r\n"),
        ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (
            "length and coding",
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "two lengths",
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        ),
        ("a list of lengths", "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3, 3\r\n\r\nabc"),
        ("a signed length", "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: +3\r\n\r\nabc"),
        (
            "a length beyond counting",
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        ),
        (
            "chunked twice",
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked not last",
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked in HTTP/1.0",
            "POST / HTTP/1.0\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "a chunk size with a prefix",
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "a negative chunk size",
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "a chunk longer than its size",
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        ),
        (
            "a chunk line with bare LF",
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
        ),
    ];
    let server = Server::start(&["--keep-alive", "60"], APP);
    let mut bystander = server.connect();
    let worker = server.wait_for_workers(1);
    for (name, request) in cases {
        let mut client = server.connect();
        client.send(request);
        let response = client.try_receive().unwrap_or_else(|error| {
            panic!("{name}: {error}");
        });
        assert_eq!(response.status, 400, "{name}");
        assert!(response.closes(), "{name}");
        assert!(client.read_to_end().is_empty(), "{name}: more than one response");
        assert_eq!(bystander.get("/fine").status, 200, "after {name}");
    }
    assert_eq!(server.workers(), worker);
}

#[test]
fn what_follows_a_refused_request_is_not_served() {
    let server = Server::start(&[], APP);
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";
    let answer = server.exchange(format!(
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n{smuggled}"
    ));
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(answer.matches("HTTP/1.").count(), 1, "{answer}");
}

#[test]
fn an_unknown_transfer_coding_is_not_implemented() {
    let server = Server::start(&[], APP);
    let mut client = server.connect();
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: zip, chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(client.receive().status, 501);
    assert!(client.is_closed());
}

#[test]
fn an_unknown_expectation_fails() {
    let server = Server::start(&[], APP);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: test\r\nExpect: 200-maybe\r\n\r\n");
    assert_eq!(client.receive().status, 417);
    assert!(client.is_closed());
}

#[test]
fn limits_are_enforced_at_their_value() {
    let server = Server::start(
        &["--limit-request-line=50", "--limit-request-fields=3", "--limit-request-field_size=40"],
        APP,
    );
    // The limits count bytes as gunicorn does: the line without CRLF, a field with it.
    let line = |length: usize| {
        let target = "a".repeat(length - "GET / HTTP/1.1".len());
        format!("GET /{target} HTTP/1.1\r\nHost: test\r\n\r\n")
    };
    let fields = |count: usize| {
        let more = "A: b\r\n".repeat(count - 1);
        format!("GET / HTTP/1.1\r\nHost: test\r\n{more}\r\n")
    };
    let field = |length: usize| {
        let value = "b".repeat(length - "A: \r\n".len());
        format!("GET / HTTP/1.1\r\nHost: test\r\nA: {value}\r\n\r\n")
    };
    for (request, status) in [
        (line(50), 200),
        (line(51), 414),
        (line(5_000), 414),
        (fields(3), 200),
        (fields(4), 431),
        (fields(500), 431),
        (field(39), 200),
        (field(42), 431),
        (field(5_000), 431),
    ] {
        let mut client = server.connect();
        client.send(&request);
        let response = client.receive();
        assert_eq!(response.status, status, "{request:?}");
        assert_eq!(response.closes(), status != 200, "{request:?}");
    }
}

#[test]
fn an_endless_head_is_refused_before_it_ends() {
    let server = Server::start(&[], APP);
    for (start, status) in [("GET /", 414), ("GET / HTTP/1.1\r\nHost: test\r\nA: ", 431)] {
        let mut client = server.connect();
        client.send(start);
        // The server may refuse and close while this is on its way.
        drop(client.try_send("a".repeat(100_000).as_bytes()));
        assert_eq!(client.receive().status, status);
    }
}

#[test]
fn a_body_above_its_limit_is_refused() {
    let server = Server::start(&["--limit-request-body", "1000"], APP);
    let mut client = server.connect();
    assert_eq!(client.post("/", &[b'a'; 1_000]).status, 200);
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1001\r\n\r\n");
    assert_eq!(client.receive().status, 413);
    assert!(client.is_closed());

    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n");
    client.send([b'a'; 1_000]);
    client.send("\r\n1\r\na\r\n");
    assert_eq!(client.receive().status, 413);
}
