//! What an application is given: PEP 3333, "environ Variables", "Input and Error Streams".

use rgunicorn_tests::Server;

#[test]
fn the_environ_is_that_of_gunicorn() {
    let server = Server::start(
        &[],
        r#"
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    lines = [f"{name}={value!r}" for name, value in sorted(environ.items())]
    return ["\n".join(lines).encode()]
"#,
    );
    let mut client = server.connect();
    client.send(
        "POST /show?a=%41&b HTTP/1.1\r\nHost: example.org:80\r\nContent-Type: text/x\r\n\
         Content-Length: 2\r\nX-Twice: one\r\nX-Twice: two\r\nX_Forged: no\r\n\
         Accept-Language: \t de \r\n\r\nhi",
    );
    let response = client.receive();
    let environ = response.text();
    let port = server.address().port().to_string();
    for (name, value) in [
        ("CONTENT_LENGTH", "'2'"),
        ("CONTENT_TYPE", "'text/x'"),
        ("HTTP_ACCEPT_LANGUAGE", "'de'"),
        ("HTTP_HOST", "'example.org:80'"),
        ("HTTP_X_TWICE", "'one,two'"),
        ("PATH_INFO", "'/show'"),
        ("QUERY_STRING", "'a=%41&b'"),
        ("RAW_URI", "'/show?a=%41&b'"),
        ("REMOTE_ADDR", "'127.0.0.1'"),
        ("REQUEST_METHOD", "'POST'"),
        ("SCRIPT_NAME", "''"),
        ("SERVER_NAME", "'127.0.0.1'"),
        ("SERVER_PORT", &format!("'{port}'")),
        ("SERVER_PROTOCOL", "'HTTP/1.1'"),
        ("wsgi.input_terminated", "True"),
        ("wsgi.multiprocess", "False"),
        ("wsgi.run_once", "False"),
        ("wsgi.url_scheme", "'http'"),
        ("wsgi.version", "(1, 0)"),
    ] {
        let line = format!("{name}={value}");
        assert!(environ.lines().any(|found| found == line), "no {line} in:\n{environ}");
    }
    assert!(!environ.contains("FORGED"), "{environ}");
}

#[test]
fn a_path_is_decoded_as_bytes() {
    let server = Server::start(
        &[],
        r"
def app(environ, start_response):
    start_response('200 OK', [])
    return [environ['PATH_INFO'].encode('latin-1')]
",
    );
    let mut client = server.connect();
    for (target, path) in [
        ("/caf%C3%A9", "/café".as_bytes()),
        ("/%FF", b"/\xff"),
        ("/a%2Fb", b"/a/b"),
        ("/100%", b"/100%"),
        ("//double//", b"//double//"),
        ("http://example.org/absolute?q", b"/absolute"),
    ] {
        assert_eq!(client.get(target).body, path, "{target}");
    }
}

#[test]
fn the_input_is_a_file_of_lines() {
    let server = Server::start(
        &[],
        r#"
def app(environ, start_response):
    start_response("200 OK", [])
    source, how = environ["wsgi.input"], environ["QUERY_STRING"]
    result = {
        "sizes": lambda: [source.read(2), source.read(0), source.read(100), source.read()],
        "readline": lambda: [source.readline(size) for size in (-1, 1, -1, 2, -1, -1)],
        "readlines": lambda: source.readlines(),
        "iteration": lambda: list(source),
    }[how]()
    return [repr(result).encode()]
"#,
    );
    let mut client = server.connect();
    for (how, result) in [
        ("sizes", r"[b'ab', b'', b'c\n\ndef', b'']"),
        ("readline", r"[b'abc\n', b'\n', b'def', b'', b'', b'']"),
        ("readlines", r"[b'abc\n', b'\n', b'def']"),
        ("iteration", r"[b'abc\n', b'\n', b'def']"),
    ] {
        let response = client.post(&format!("/read?{how}"), b"abc\n\ndef");
        assert_eq!(response.text(), result, "{how}");
    }
}

#[test]
fn an_unread_body_does_not_become_the_next_request() {
    let server = Server::start(
        &[],
        r#"
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"#,
    );
    let mut client = server.connect();
    let body = b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";
    assert_eq!(client.post("/ignore", body).text(), "ok");
    assert_eq!(client.get("/ignore").text(), "ok");
}

#[test]
fn errors_are_written_to_the_error_log_line_by_line() {
    let server = Server::start(
        &[],
        r#"
def app(environ, start_response):
    errors = environ["wsgi.errors"]
    errors.write("first ")
    errors.writelines(["half\n", "second line\n"])
    errors.flush()
    print("by print", file=errors)
    start_response("200 OK", [])
    return []
"#,
    );
    server.get("/complain");
    for line in ["first half", "second line", "by print"] {
        assert!(server.wait_for(line).ends_with(line));
    }
}
