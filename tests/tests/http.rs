//! HTTP/1.1 on the wire: RFC 9112, and what gunicorn's users rely on.

use std::fs;

use rgunicorn_tests::{Connections, Launch, Load, Server, Signal, eventually};

/// Answers with what it was asked; `/stream` without a length, `/status/NNN` with that status.
const ECHO: &str = r#"
def app(environ, start_response):
    path = environ["PATH_INFO"]
    body = environ["wsgi.input"].read()
    answer = b"%s %s [%s]" % (
        environ["REQUEST_METHOD"].encode(), path.encode("latin-1"), body)
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"first ", b"", b"second"])
    if path.startswith("/status/"):
        start_response(path[len("/status/"):] + " Chosen", [])
        return []
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
"#;

#[test]
fn a_connection_serves_many_requests() {
    let server = Server::start(&[], ECHO);
    let mut client = server.connect();
    for number in 0..100 {
        let response = client.get(&format!("/{number}"));
        assert_eq!(response.text(), format!("GET /{number} []"));
        assert!(!response.closes());
    }
    client.send("GET /last HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let response = client.receive();
    assert_eq!(response.text(), "GET /last []");
    assert!(response.closes());
    assert!(client.is_closed());
}

#[test]
fn an_idle_connection_is_closed_after_keepalive() {
    let server = Server::start(&["--keep-alive", "1"], ECHO);
    let mut client = server.connect();
    assert!(!client.get("/").closes());
    assert!(client.is_closed());
}

#[test]
fn no_keepalive_closes_after_each_response() {
    let server = Server::start(&["--keep-alive", "0"], ECHO);
    let mut client = server.connect();
    assert!(client.get("/").closes());
    assert!(client.is_closed());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(&[], ECHO);
    let mut client = server.connect();
    let requests: Vec<String> = (0..50)
        .map(|number| {
            format!("POST /{number} HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{number:02}")
        })
        .collect();
    client.send(requests.concat());
    for number in 0..50 {
        assert_eq!(client.receive().text(), format!("POST /{number} [{number:02}]"));
    }
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let server = Server::start(&[], ECHO);
    let mut client = server.connect();
    let request = "POST /slow HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello";
    for byte in request.as_bytes() {
        client.send([*byte]);
    }
    assert_eq!(client.receive().text(), "POST /slow [hello]");
}

#[test]
fn a_chunked_upload_is_decoded() {
    let server = Server::start(&[], ECHO);
    let mut client = server.connect();
    client.send(
        "POST /up HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n1;name=value\r\n \r\n00005\r\nworld\r\n0\r\nX-Sum: 1\r\n\r\n",
    );
    assert_eq!(client.receive().text(), "POST /up [hello world]");
    assert_eq!(client.get("/next").text(), "GET /next []");
}

#[test]
fn uploads_of_all_sizes_arrive_whole() {
    let server = Server::start(&[], COUNT);
    let mut client = server.connect();
    // Around the sizes of socket buffers, and past the one from which bodies wait in a file.
    for size in [0, 1, 4_095, 65_536, 1 << 20, (1 << 20) + 1, 5_000_000] {
        let body: Vec<u8> = (0..251_u8).cycle().take(size).collect();
        let expected = format!("{size} {}", checksum(&body));
        assert_eq!(client.post("/", &body).text(), expected);
    }
}

const COUNT: &str = "
import zlib

def app(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [])
    return [b'%d %d' % (len(body), zlib.adler32(body))]
";

/// Adler-32, RFC 1950 §8.2: the one of Python's checksums that takes three lines here.
fn checksum(bytes: &[u8]) -> u32 {
    let (low, high) = bytes.iter().fold((1, 0), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    high << 16 | low
}

#[test]
fn an_expected_continue_is_sent_before_the_body() {
    let server = Server::start(&[], ECHO);
    let mut client = server.connect();
    client.send(
        "POST /up HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
    let interim = client.receive();
    assert_eq!((interim.status, interim.reason.as_str()), (100, "Continue"));
    client.send("hello");
    assert_eq!(client.receive().text(), "POST /up [hello]");
}

#[test]
fn head_gets_the_fields_of_get_and_no_body() {
    let server = Server::start(&[], ECHO);
    let mut client = server.connect();
    client.send("HEAD /page HTTP/1.1\r\nHost: test\r\n\r\n");
    let response = client.receive_head();
    assert_eq!(response.status, 200);
    assert_eq!(response.header("Content-Length"), Some("13"));
    assert_eq!(client.get("/next").text(), "GET /next []");
}

#[test]
fn statuses_without_a_body_have_none() {
    let server = Server::start(&[], ECHO);
    let mut client = server.connect();
    for status in [204, 304] {
        let response = client.get(&format!("/status/{status}"));
        assert_eq!((response.status, response.reason.as_str()), (status, "Chosen"));
        assert_eq!(response.header("Transfer-Encoding"), None);
        assert_eq!(client.get("/next").text(), "GET /next []");
    }
}

#[test]
fn a_response_without_length_is_chunked() {
    let server = Server::start(&[], ECHO);
    let mut client = server.connect();
    let response = client.get("/stream");
    assert_eq!(response.text(), "first second");
    // An empty chunk would end the body: PEP 3333 lets the application yield one at any time.
    assert_eq!(response.chunks, Some(vec![6, 6]));
    assert_eq!(client.get("/next").text(), "GET /next []");
}

#[test]
fn http_1_0_is_answered_in_its_own_terms() {
    let server = Server::start(&[], ECHO);
    let mut client = server.connect();
    client.send("GET /stream HTTP/1.0\r\n\r\n");
    let response = client.receive();
    assert_eq!(response.header("Transfer-Encoding"), None);
    assert_eq!(response.text(), "first second");

    let mut client = server.connect();
    client.send("GET /a HTTP/1.0\r\n\r\n");
    assert_eq!(client.receive().text(), "GET /a []");
    assert!(client.is_closed());

    let mut client = server.connect();
    for path in ["/a", "/b"] {
        client.send(format!("GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
        assert_eq!(client.receive().text(), format!("GET {path} []"));
    }
}

#[test]
fn a_response_is_dated_and_says_whether_the_connection_stays() {
    let server = Server::start(&[], ECHO);
    let response = server.get("/");
    assert_eq!(response.version, "HTTP/1.1");
    // RFC 9110 §5.6.7: Sun, 06 Nov 1994 08:49:37 GMT
    let date = response.header("Date").unwrap();
    assert!(date.len() == 29 && date.ends_with(" GMT"), "{date:?}");
    assert!(matches!(response.header("Connection"), None | Some("keep-alive")));
}

#[test]
fn a_client_that_leaves_is_forgotten() {
    let server = Server::start(&[], ECHO);
    for sent in ["", "GET / HT", "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nabc"] {
        let mut client = server.connect();
        client.send(sent);
        client.shut_down_sending();
        // RFC 9112 §8: an error response is allowed, and nothing else.
        let answer = String::from_utf8(client.read_to_end()).unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_client_that_has_said_all_still_gets_its_answer() {
    let server = Server::start(&[], ECHO);
    let mut client = server.connect();
    client.send("GET /half-closed HTTP/1.1\r\nHost: test\r\n\r\n");
    client.shut_down_sending();
    assert_eq!(client.receive().text(), "GET /half-closed []");
}

#[test]
fn every_connection_is_given_back() {
    let server = Server::start(&[], ECHO);
    // Counted with one connection open, and after a body that needs a file and a pipe, so that a
    // worker in its final state is counted.
    let mut client = server.connect();
    assert_eq!(client.post("/", &vec![b'x'; 2 << 20]).status, 200);
    let worker = server.wait_for_workers(1)[0];
    let open = || fs::read_dir(format!("/proc/{}/fd", worker.pid())).unwrap().count();
    let before = open();
    drop(client);
    for sent in [
        "",
        "GET / HT",
        "nonsense\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9000000\r\n\r\nabc",
        "GET /stream HTTP/1.0\r\n\r\n",
    ] {
        for _ in 0..20 {
            server.connect().send(sent);
        }
    }
    eventually("the end of all connections", || (open() < before).then_some(()));
    assert_eq!(server.workers(), [worker]);
}

#[test]
fn many_connections_are_served_by_one_worker() {
    let server = Launch::new(ECHO).start();
    for connections in [Connections::KeepAlive, Connections::Close] {
        let load = Load::start(&server, connections, 32);
        load.wait_for_answers(2_000);
        assert_eq!(load.stop().lost, []);
    }
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}
