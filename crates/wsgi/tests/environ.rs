//! The environ, as applications see it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod support;

use rgunicorn_wsgi::pyo3::prelude::*;
use rgunicorn_wsgi::{App, AppError, EnvironOptions, Local, Request, Scheme, Violation};
use support::{Headers, Memory, app, app_with, get, text};

type Field<'a> = (&'a [u8], &'a [u8]);

/// `SCRIPT_NAME` and `PATH_INFO`.
type Parts = (&'static str, &'static str);

/// Answers with the representation of the variables that the target's query names, or of all that
/// begin with it.
const SHOW: &str = "
def app(environ, start_response):
    start_response('200 OK', [])
    names = sorted(name for name in environ if name.startswith(environ.get('HTTP_SHOW', '')))
    return ['\\n'.join(name + '=' + repr(environ[name]) for name in names).encode()]
";

fn show(app: &App, request: Request<'_, Headers<'_>>) -> String {
    let (memory, result) = app.call(request, Memory::default());
    result.unwrap_or_else(|error| panic!("{error}: {:?}", error.traceback()));
    text(&memory).to_owned()
}

/// One variable; empty if it is not there.
fn variable(app: &App, request: Request<'_, Headers<'_>>, name: &str) -> String {
    let all = show(app, request);
    let prefix = format!("{name}=");
    all.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default().to_owned()
}

#[test]
fn everything_that_pep_3333_and_gunicorn_promise_is_there() {
    let app = app(SHOW);
    let headers = [(&b"Host"[..], &b"example.org"[..]), (b"Content-Type", b"text/plain")];
    let request = Request { target: b"/a%20b?x=%20", ..get(&headers) };
    let shown = show(&app, request);
    let expected = [
        "CONTENT_TYPE='text/plain'",
        "HTTP_HOST='example.org'",
        "PATH_INFO='/a b'",
        "QUERY_STRING='x=%20'",
        "RAW_URI='/a%20b?x=%20'",
        "REMOTE_ADDR='192.0.2.7'",
        "REMOTE_PORT='50312'",
        "REQUEST_METHOD='GET'",
        "SCRIPT_NAME=''",
        "SERVER_NAME='192.0.2.1'",
        "SERVER_PORT='8000'",
        "SERVER_PROTOCOL='HTTP/1.1'",
        concat!("SERVER_SOFTWARE='rgunicorn/", env!("CARGO_PKG_VERSION"), "'"),
        "wsgi.errors=<rgunicorn.Errors object",
        "wsgi.file_wrapper=<class 'rgunicorn.FileWrapper'>",
        "wsgi.input=<rgunicorn.Input object",
        "wsgi.input_terminated=True",
        "wsgi.multiprocess=False",
        "wsgi.multithread=False",
        "wsgi.run_once=False",
        "wsgi.url_scheme='http'",
        "wsgi.version=(1, 0)",
    ];
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{shown}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line} is not {expected}");
    }
}

#[test]
fn header_names_become_variables() {
    let cases: [(&[Field<'_>], &str, &str); 17] = [
        (&[(b"X-Real-IP", b"1")], "HTTP_X_REAL_IP", "'1'"),
        (&[(b"accept", b"caf\xe9")], "HTTP_ACCEPT", "'caf\u{e9}'"),
        (&[(b"Accept", b"")], "HTTP_ACCEPT", "''"),
        (&[(b"Accept", b"a"), (b"Accept", b"b")], "HTTP_ACCEPT", "'a,b'"),
        (&[(b"Accept", b"a"), (b"Accept", b"a")], "HTTP_ACCEPT", "'a,a'"),
        (&[(b"Accept", b"a"), (b"ACCEPT", b"b"), (b"accept", b"c")], "HTTP_ACCEPT", "'a,b,c'"),
        (&[(b"Cookie", b"a=1"), (b"cookie", b"b=2")], "HTTP_COOKIE", "'a=1; b=2'"),
        (&[(b"Content-Length", b"3")], "CONTENT_LENGTH", "'3'"),
        (&[(b"Content-Length", b"3")], "HTTP_CONTENT_LENGTH", ""),
        (&[(b"Content-Type", b"x/y")], "CONTENT_TYPE", "'x/y'"),
        (&[(b"Content-Type", b"x/y")], "HTTP_CONTENT_TYPE", ""),
        // Spoofing: an underscore would pass for a hyphen.
        (&[(b"X_Real_IP", b"1")], "HTTP_X_REAL_IP", ""),
        (&[(b"X-Real-IP", b"1"), (b"X_Real-IP", b"2")], "HTTP_X_REAL_IP", "'1'"),
        (&[(b"Content_Length", b"3")], "HTTP_CONTENT_LENGTH", ""),
        (&[(b"Content_Length", b"3")], "CONTENT_LENGTH", ""),
        (&[(b"Proxy", b"http://evil")], "HTTP_PROXY", ""),
        (&[(b"Transfer-Encoding", b"chunked")], "HTTP_TRANSFER_ENCODING", "'chunked'"),
    ];
    let app = app(SHOW);
    // Twice, since the second time comes from the cache.
    for (headers, name, value) in cases.iter().chain(&cases) {
        assert_eq!(variable(&app, get(headers), name), *value, "{headers:?}");
    }
}

#[test]
fn what_is_too_long_for_the_cache_works_as_well() {
    let app = app(SHOW);
    let name = [b'n'; 65];
    let variable_name = format!("HTTP_{}", "N".repeat(65));
    let value = [b'v'; 1025];
    for (name, variable_name) in [(&name[..], &*variable_name), (b"Short", "HTTP_SHORT")] {
        let headers = [(name, &value[..]), (name, b"2")];
        let expected = format!("'{},2'", "v".repeat(1025));
        for _ in 0..2 {
            assert_eq!(variable(&app, get(&headers), variable_name), expected);
        }
    }
    let underscore = [b'_'; 65];
    assert!(!show(&app, get(&[(&underscore, b"1")])).contains("HTTP_"));
}

#[test]
fn more_names_than_the_cache_holds() {
    let app = app(SHOW);
    let names: Vec<String> = (0..2000).map(|number| format!("X-Header-{number}")).collect();
    for _ in 0..2 {
        for chunk in names.chunks(100) {
            let headers: Vec<(&[u8], &[u8])> =
                chunk.iter().map(|name| (name.as_bytes(), name.as_bytes())).collect();
            let shown = show(&app, get(&headers));
            for name in chunk {
                let expected = format!("HTTP_{}='{name}'", name.to_uppercase().replace('-', "_"));
                assert!(shown.lines().any(|line| line == expected), "{expected}");
            }
        }
    }
}

#[test]
fn nothing_of_a_request_is_left_in_the_next() {
    let app = app(SHOW);
    let full = Request {
        method: "POST",
        target: b"/first?query",
        version: "HTTP/1.0",
        scheme: Scheme::Https,
        has_body: true,
        ..get(&[(b"Authorization", b"secret"), (b"Content-Length", b"1")])
    };
    let first = show(&app, get(&[]));
    let second = show(&app, full);
    assert!(second.contains("REQUEST_METHOD='POST'") && second.contains("wsgi.url_scheme='https'"));
    assert!(second.contains("SERVER_PROTOCOL='HTTP/1.0'"));
    assert_eq!(show(&app, get(&[])), first);
}

#[test]
fn a_changed_environ_does_not_show_in_the_next() {
    let source = "
def app(environ, start_response):
    start_response('200 OK', [])
    seen = 'mark' in environ or environ['wsgi.version'] != (1, 0)
    environ['mark'] = environ['wsgi.version'] = 1
    del environ['PATH_INFO']
    return [repr(seen).encode()]
";
    let app = app(source);
    for _ in 0..2 {
        assert_eq!(show(&app, get(&[])), "False");
    }
}

#[test]
fn unix_sockets_have_no_peer_and_their_name_from_host() {
    let app = app(SHOW);
    let cases: [(&[u8], Scheme, &str, &str); 8] = [
        (b"example.org:81", Scheme::Http, "'example.org'", "'81'"),
        (b"example.org", Scheme::Http, "'example.org'", "'80'"),
        (b"example.org", Scheme::Https, "'example.org'", "'443'"),
        (b"example.org:", Scheme::Http, "'example.org'", "'80'"),
        (b"[::1]:81", Scheme::Http, "'[::1]'", "'81'"),
        (b"[::1]", Scheme::Http, "'[::1]'", "'80'"),
        (b"", Scheme::Http, "'localhost'", "'80'"),
        (b":81", Scheme::Http, "'localhost'", "'81'"),
    ];
    for (host, scheme, name, port) in cases {
        let headers = [(&b"host"[..], host)];
        let request = Request { local: Local::Unix, peer: None, scheme, ..get(&headers) };
        let shown = show(&app, request);
        assert!(shown.contains(&format!("SERVER_NAME={name}\n")), "{shown}");
        assert!(shown.contains(&format!("SERVER_PORT={port}\n")), "{shown}");
        assert!(shown.contains("REMOTE_ADDR=''\n"), "{shown}");
        assert!(!shown.contains("REMOTE_PORT"), "{shown}");
        // A TCP connection afterwards has all of them again.
        let shown = show(&app, get(&[]));
        assert!(shown.contains("REMOTE_PORT='50312'") && shown.contains("SERVER_PORT='8000'"));
    }
}

#[test]
fn the_script_name_is_taken_off_whole_segments() {
    let cases: [(&str, &[u8], Option<Parts>); 9] = [
        ("", b"/x", Some(("''", "'/x'"))),
        ("/", b"/x", Some(("''", "'/x'"))),
        ("/app", b"/app/x", Some(("'/app'", "'/x'"))),
        ("/app/", b"/app/x", Some(("'/app'", "'/x'"))),
        ("/app", b"/app", Some(("'/app'", "''"))),
        ("/app", b"/%61pp/x", Some(("'/app'", "'/x'"))),
        ("/app", b"/apple", None),
        ("/app", b"/", None),
        ("/app", b"*", None),
    ];
    for (script_name, target, expected) in cases {
        let app = app_with(SHOW, EnvironOptions::default().script_name(script_name));
        let request = Request { target, ..get(&[]) };
        let Some((script, path)) = expected else {
            // A good request before and after, so that nothing of either sticks.
            for _ in 0..2 {
                let (_, result) = app.call(request.clone(), Memory::default());
                let error = result.unwrap_err();
                assert!(matches!(error, AppError::Protocol(Violation::OutsideScriptName)));
                assert!(!error.head_sent());
                let good = Request { target: b"/app/good", ..get(&[]) };
                assert_eq!(variable(&app, good, "PATH_INFO"), "'/good'");
            }
            continue;
        };
        assert_eq!(variable(&app, request.clone(), "SCRIPT_NAME"), script);
        assert_eq!(variable(&app, request, "PATH_INFO"), path);
    }
}

#[test]
fn a_request_may_bring_its_own_script_name() {
    let app = app_with(SHOW, EnvironOptions::default().script_name("/shop"));
    let cases = [
        (None, "/shop/x", ("'/shop'", "'/x'")),
        (Some("/app"), "/app/x", ("'/app'", "'/x'")),
        (Some("/app/x/"), "/app/x", ("'/app/x'", "''")),
        (Some("/app"), "/app/x", ("'/app'", "'/x'")),
        (Some(""), "/app/x", ("''", "'/app/x'")),
        (None, "/shop/x", ("'/shop'", "'/x'")),
    ];
    for (script_name, target, (script, path)) in cases {
        let script_name = script_name.map(str::as_bytes);
        let request = Request { script_name, target: target.as_bytes(), ..get(&[]) };
        assert_eq!(variable(&app, request.clone(), "SCRIPT_NAME"), script);
        assert_eq!(variable(&app, request, "PATH_INFO"), path);
    }
    let (_, result) = app.call(
        Request { script_name: Some(b"app"), target: b"/app", ..get(&[]) },
        Memory::default(),
    );
    assert!(matches!(result.unwrap_err(), AppError::Protocol(Violation::OutsideScriptName)));
}

#[test]
fn options_show() {
    let options = EnvironOptions::default()
        .server_software("gunicorn/27.0.1")
        .multithread(true)
        .multiprocess(true);
    let shown = show(&app_with(SHOW, options), get(&[]));
    for part in ["SERVER_SOFTWARE='gunicorn/27.0.1'", "multithread=True", "multiprocess=True"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn every_string_is_a_plain_str_and_the_environ_a_plain_dict() {
    let source = "
def app(environ, start_response):
    start_response('200 OK', [])
    assert type(environ) is dict
    for name, value in environ.items():
        assert type(name) is str, name
        if name[0] != 'w': assert type(value) is str, name
    return [b'fine']
";
    assert_eq!(show(&app(source), get(&[(b"Host", b"x")])), "fine");
}

#[test]
fn several_threads_at_once() {
    let app = app(SHOW);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let app = &app;
            scope.spawn(move || {
                for turn in 0..50 {
                    let value = format!("{thread}-{turn}");
                    let headers = [(&b"X-Turn"[..], value.as_bytes())];
                    let shown = variable(app, get(&headers), "HTTP_X_TURN");
                    assert_eq!(shown, format!("'{value}'"));
                }
            });
        }
    });
    assert!(Python::attach(|_| true));
}
