//! PEP 3333, as an application sees it through the real server.

use rgunicorn_tests::{Client, Response, Server};

/// Starts a server whose application is a function named like the path.
fn start(functions: &str) -> Server {
    Server::start(
        &[],
        &format!(
            "import sys\n{functions}\n\
             def app(environ, start_response):\n    \
                 return globals()[environ['PATH_INFO'][1:]](environ, start_response)\n"
        ),
    )
}

/// What a client gets, to the end of the connection.
fn exchange(server: &Server, target: &str) -> String {
    let answer = server
        .exchange(format!("GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"));
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn exc_info_before_the_head_replaces_it() {
    let server = start(
        r#"
def replaced(environ, start_response):
    start_response("200 OK", [("X-First", "1")])
    try:
        raise ValueError("too late?")
    except ValueError:
        start_response("503 Not Yet", [("X-Second", "2")], sys.exc_info())
    return [b"sorry"]
"#,
    );
    let response = server.get("/replaced");
    assert_eq!((response.status, response.reason.as_str()), (503, "Not Yet"));
    assert_eq!(response.header("X-First"), None);
    assert_eq!(response.header("X-Second"), Some("2"));
    assert_eq!(response.text(), "sorry");
}

#[test]
fn exc_info_after_the_head_is_raised_again() {
    let server = start(
        r#"
def late(environ, start_response):
    start_response("200 OK", [])
    yield b"part"
    try:
        raise ValueError("the reason")
    except ValueError:
        start_response("500 Sorry", [], sys.exc_info())
    yield b"never"
"#,
    );
    let answer = exchange(&server, "/late");
    assert!(answer.ends_with("4\r\npart\r\n"), "{answer:?}");
    server.wait_for("ValueError: the reason");
}

#[test]
fn a_second_start_response_is_an_error() {
    let server = start(
        r#"
def twice(environ, start_response):
    start_response("200 OK", [])
    start_response("200 OK", [])
    return [b""]
"#,
    );
    assert_eq!(server.get("/twice").status, 500);
    server.wait_for("AssertionError");
}

#[test]
fn what_an_application_does_wrong_before_the_head_is_a_500() {
    let server = start(
        r#"
def silent(environ, start_response):
    return [b"no start_response"]

def failing(environ, start_response):
    raise LookupError("not here")

def status(environ, start_response):
    start_response("OK", [])
    return [b""]

def newline(environ, start_response):
    start_response("200 OK", [("X-Split", "a\r\nX-Injected: b")])
    return [b""]

def name(environ, start_response):
    start_response("200 OK", [("X Name", "a")])
    return [b""]

def text(environ, start_response):
    start_response("200 OK", [("X-Text", b"a")])
    return [b""]

def fine(environ, start_response):
    start_response("200 OK", [])
    return [b"fine"]
"#,
    );
    for path in ["/silent", "/failing", "/status", "/newline", "/name", "/text"] {
        let response = server.get(path);
        assert_eq!(response.status, 500, "{path}");
        assert_eq!(response.reason, "Internal Server Error", "{path}");
        assert_eq!(response.header("X-Injected"), None, "{path}");
        assert_eq!(server.get("/fine").text(), "fine", "after {path}");
    }
    server.wait_for("Error handling request GET /failing");
    server.wait_for("LookupError: not here");
}

#[test]
fn write_comes_before_the_iterable() {
    let server = start(
        r#"
def written(environ, start_response):
    write = start_response("200 OK", [])
    write(b"one ")
    write(b"")
    write(b"two ")
    return [b"three"]
"#,
    );
    assert_eq!(server.get("/written").text(), "one two three");
}

#[test]
fn an_error_in_mid_stream_never_sends_the_final_chunk() {
    let server = start(
        r#"
def broken(environ, start_response):
    start_response("200 OK", [])
    yield b"part"
    raise ValueError("in mid-stream")

def wrong(environ, start_response):
    start_response("200 OK", [])
    yield b"part"
    yield "text"
"#,
    );
    for path in ["/broken", "/wrong"] {
        let answer = exchange(&server, path);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
        assert!(answer.ends_with("4\r\npart\r\n"), "{answer:?}");
    }
    server.wait_for("ValueError: in mid-stream");
}

#[test]
fn a_body_that_differs_from_its_length_harms_nobody() {
    let server = start(
        r#"
def short(environ, start_response):
    start_response("200 OK", [("Content-Length", "10")])
    return [b"four"]

def long(environ, start_response):
    start_response("200 OK", [("Content-Length", "4")])
    return [b"four and more"]
"#,
    );
    // Only the end of the connection can tell the client that the rest will not come.
    let mut client = server.connect();
    client.send("GET /short HTTP/1.1\r\nHost: test\r\n\r\n");
    let answer = client.read_to_end();
    assert!(answer.ends_with(b"\r\n\r\nfour"));

    let mut client = server.connect();
    for _ in 0..2 {
        assert_eq!(client.get("/long").text(), "four");
    }
}

#[test]
fn files_are_served_through_the_wrapper() {
    let server = start(
        r#"
import io, os, tempfile

CONTENT = os.urandom(1 << 20).hex().encode()
NAME = tempfile.NamedTemporaryFile(delete=False, dir=".").name
with open(NAME, "wb") as file:
    file.write(CONTENT)

def whole(environ, start_response):
    start_response("200 OK", [("Content-Length", str(len(CONTENT)))])
    return environ["wsgi.file_wrapper"](open(NAME, "rb"))

def rest(environ, start_response):
    start_response("200 OK", [])
    file = open(NAME, "rb")
    file.seek(len(CONTENT) - 1000)
    return environ["wsgi.file_wrapper"](file, 100)

def part(environ, start_response):
    start_response("200 OK", [("Content-Length", "1000")])
    return environ["wsgi.file_wrapper"](open(NAME, "rb"))

def memory(environ, start_response):
    start_response("200 OK", [])
    return environ["wsgi.file_wrapper"](io.BytesIO(CONTENT), 4096)

def plain(environ, start_response):
    start_response("200 OK", [])
    return [CONTENT]
"#,
    );
    let mut client = server.connect();
    let content = client.get("/plain").body;
    assert_eq!(content.len(), 2 << 20);
    assert_eq!(client.get("/whole").body, content);
    assert_eq!(client.get("/memory").body, content);
    assert_eq!(client.get("/part").body, content[..1_000]);
    assert_eq!(client.get("/rest").body, content[content.len() - 1_000..]);
}

#[test]
fn the_iterable_is_closed_in_every_case() {
    let server = start(
        r#"
class Body:
    def __init__(self, environ, chunks):
        self.errors, self.name = environ["wsgi.errors"], environ["QUERY_STRING"]
        self.chunks = iter(chunks)
    def __iter__(self):
        return self
    def __next__(self):
        chunk = next(self.chunks)
        if chunk is None:
            raise ValueError("in mid-stream")
        return chunk
    def close(self):
        self.errors.write(f"closed {self.name}\n")
        self.errors.flush()

def whole(environ, start_response):
    start_response("200 OK", [])
    return Body(environ, [b"a", b"b"])

def empty(environ, start_response):
    start_response("200 OK", [])
    return Body(environ, [])

def broken(environ, start_response):
    start_response("200 OK", [])
    return Body(environ, [b"a", None])

def silent(environ, start_response):
    return Body(environ, [b"a"])

def endless(environ, start_response):
    start_response("200 OK", [])
    return Body(environ, iter(lambda: b"a" * 65536, b""))
"#,
    );
    for path in ["/whole", "/empty", "/broken", "/silent"] {
        exchange(&server, &format!("{path}?{path}"));
        server.wait_for(&format!("closed {path}"));
    }
    let mut client = server.connect();
    client.send("HEAD /whole?head HTTP/1.1\r\nHost: test\r\n\r\n");
    client.receive_head();
    server.wait_for("closed head");

    let mut client = server.connect();
    client.send("GET /endless?disconnected HTTP/1.1\r\nHost: test\r\n\r\n");
    drop(client);
    server.wait_for("closed disconnected");

    let log = server.log();
    for name in ["/whole", "/empty", "/broken", "/silent", "head", "disconnected"] {
        let line = format!("closed {name}");
        let count = log.iter().filter(|found| **found == line).count();
        assert_eq!(count, 1, "{line:?} in {log:#?}");
    }
}

#[test]
fn repeated_fields_keep_their_order() {
    let server = start(
        r#"
def cookies(environ, start_response):
    start_response("200 OK", [("Set-Cookie", "a=1"), ("X-Between", "x"), ("Set-Cookie", "b=2")])
    return []
"#,
    );
    let response = server.get("/cookies");
    let names: Vec<&str> = response
        .headers
        .iter()
        .filter(|(name, _)| name == "Set-Cookie" || name == "X-Between")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(names, ["a=1", "x", "b=2"]);
}

#[test]
fn the_validator_of_the_standard_library_finds_nothing() {
    let server = Server::start(
        &[],
        r#"
from wsgiref.validate import validator

def plain(environ, start_response):
    if environ["PATH_INFO"] == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (word for word in [b"one ", b"", b"two"])
    source = environ["wsgi.input"]
    body = source.read(3) + source.readline() + b"".join(source)
    if environ["PATH_INFO"] == "/write":
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(body)
        return [b"."]
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]

app = validator(plain)
"#,
    );
    let mut client = server.connect();
    let check = |response: Response, body: &str| {
        assert_eq!(response.status, 200, "{:#?}", server.log());
        assert_eq!(response.text(), body);
    };
    check(client.get("/"), "");
    check(client.get("/stream?a=b"), "one two");
    check(client.post("/", b"a\nb\nc\n"), "a\nb\nc\n");
    check(client.post("/write", b"abc"), "abc.");
    client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.receive_head().status, 200);
    let log = server.log().join("\n");
    assert!(!log.contains("AssertionError") && !log.contains("Warning"), "{log}");
}

#[test]
fn a_failed_close_after_a_whole_response_is_only_logged() {
    let server = start(
        r#"
class Body(list):
    def close(self):
        raise ValueError("while closing")

def whole(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return Body([b"ok"])
"#,
    );
    let mut client: Client = server.connect();
    assert_eq!(client.get("/whole").text(), "ok");
    server.wait_for("ValueError: while closing");
    assert_eq!(server.get("/whole").text(), "ok");
}
