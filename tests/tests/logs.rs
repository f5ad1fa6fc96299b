//! Both logs, line by line: operators and their tools know them from gunicorn.

use std::fs;
use std::os::unix::net::UnixStream;

use rgunicorn_tests::{Client, Launch, Server, Signal, eventually};

const APP: &str = "
def app(environ, start_response):
    if environ['PATH_INFO'] == '/broken':
        raise LookupError('not here')
    start_response('200 OK', [('Content-Length', '5')])
    return [b'hello']
";

/// Replaces each digit by `0`, so that times and pids compare equal.
fn mask(line: &str) -> String {
    line.chars().map(|character| if character.is_ascii_digit() { '0' } else { character }).collect()
}

/// The pid, level and message of `[2026-11-21 08:49:34 +0000] [7] [INFO] message`; nothing of a
/// line that looks otherwise.
fn parts(line: &str) -> (&str, &str, &str) {
    let parse = || {
        let (time, rest) = line.split_once("] [")?;
        let (pid, rest) = rest.split_once("] [")?;
        let (level, message) = rest.split_once("] ")?;
        let times = ["[0000-00-00 00:00:00 +0000", "[0000-00-00 00:00:00 -0000"];
        times.contains(&&*mask(time)).then_some((pid, level, message))
    };
    parse().unwrap_or_default()
}

#[test]
fn the_error_log_tells_the_life_of_the_server() {
    let server = Server::start(&[], APP);
    server.get("/");
    let port = server.address().port();
    let master = server.master().pid().to_string();
    let worker = server.workers()[0].pid().to_string();
    let finished = server.stop(Signal::SIGTERM);
    let lines: Vec<&str> = finished.stderr.lines().collect();
    let log: Vec<_> = lines.iter().map(|line| parts(line)).collect();

    let (pid, level, starting) = log[0];
    assert_eq!((pid, level), (&*master, "INFO"));
    assert!(starting.starts_with("Starting "), "{starting}");
    let listening = format!("Listening at: http://127.0.0.1:{port} ({master})");
    let booting = format!("Booting worker with pid: {worker}");
    let exiting = format!("Worker exiting (pid: {worker})");
    assert_eq!(
        log[1..],
        [
            (&*master, "INFO", &*listening),
            (&*master, "INFO", "Using worker: sync"),
            (&*worker, "INFO", &*booting),
            (&*master, "INFO", "Handling signal: term"),
            (&*worker, "INFO", &*exiting),
            (&*master, "INFO", "Shutting down: Master"),
        ]
    );
    assert_eq!(finished.stdout, "");
}

#[test]
fn several_addresses_are_listed() {
    let server = Launch::new(APP).bind(&["127.0.0.1:0", "unix:server.sock"]).start();
    let line = server.wait_for("Listening at: ");
    let port = server.address().port();
    let master = server.master().pid();
    let expected = format!("Listening at: http://127.0.0.1:{port},unix:server.sock ({master})");
    assert!(line.ends_with(&expected), "{line}");
}

#[test]
fn a_failed_request_is_logged_with_its_traceback() {
    let server = Server::start(&[], APP);
    assert_eq!(server.get("/broken").status, 500);
    server.wait_for("LookupError: not here");
    let log = server.log();
    let start =
        log.iter().position(|line| line.contains("Error handling request GET /broken")).unwrap();
    assert_eq!(parts(&log[start]).1, "ERROR");
    assert_eq!(log[start + 1], "Traceback (most recent call last):");
    assert!(log[start..].iter().any(|line| line.contains("app.py\", line 4, in app")));
}

#[test]
fn a_refused_request_is_a_warning() {
    let server = Server::start(&[], APP);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost : test\r\n\r\n");
    assert_eq!(client.receive().status, 400);
    let line = server.wait_for("Invalid request from ip=127.0.0.1: ");
    let told = "Invalid request from ip=127.0.0.1: invalid header name: \"GET / HTTP/1.1\"";
    assert_eq!((parts(&line).1, parts(&line).2), ("WARNING", told));
}

/// The log shows where a request was refused, and a client cannot write lines of its own into it.
#[test]
fn what_was_refused_is_shown_as_far_as_it_is_harmless() {
    let server = Server::start(&[], APP);
    let long = "x".repeat(300);
    for (request, told) in [
        ("GET /\x1b[2J\u{e9} HTTP/1.1\r\n\r\n", r#": "GET /\x1b[2J\xc3\xa9 HTTP/1.1""#),
        ("GET /a HTTP/1.1\r\nHost: a b\r\n\r\n", r#"invalid Host: "GET /a HTTP/1.1""#),
        (&format!("GET /{long} HTTP/9.1\r\n\r\n"), &format!(r#": "GET /{}""#, &long[..195])),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\n", r#": "0x5""#),
    ] {
        server.exchange(request);
        let line = server.wait_for(told);
        assert!(line.ends_with(told) && line.contains("Invalid request from ip="), "{line}");
    }
}

#[test]
fn the_level_decides_what_is_kept() {
    let server =
        Launch::new(APP).bind(&["unix:server.sock"]).args(&["--log-level", "error"]).spawn();
    // The file is there a moment before the server listens.
    let socket = server.path("server.sock");
    eventually("a listener", || UnixStream::connect(&socket).ok());
    let mut client = Client::connect_unix(&socket);
    assert_eq!(client.get("/broken").status, 500);
    let finished = server.stop(Signal::SIGTERM);
    assert_eq!(finished.code, Some(0));
    let first = finished.stderr.lines().next().unwrap();
    assert_eq!(parts(first).2, "Error handling request GET /broken");
    assert!(!finished.stderr.contains("INFO"), "{}", finished.stderr);
}

#[test]
fn the_access_log_has_the_default_format() {
    let server = Server::start(&["--access-logfile", "-"], APP);
    for (request, line) in [
        (
            "GET /plain HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
            r#""GET /plain HTTP/1.1" 200 5 "-" "-""#,
        ),
        (
            "POST /a%20b?c=d&e HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
             Referer: http://test/from\r\nUser-Agent: a \"quoted\" browser\r\n\
             Content-Length: 2\r\n\r\nhi",
            r#""POST /a%20b?c=d&e HTTP/1.1" 200 5 "http://test/from" "a \"quoted\" browser""#,
        ),
        ("GET /old HTTP/1.0\r\n\r\n", r#""GET /old HTTP/1.0" 200 5 "-" "-""#),
        (
            "GET /broken HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
            r#""GET /broken HTTP/1.1" 500"#,
        ),
    ] {
        server.exchange(request);
        let logged = server.wait_for_stdout(line);
        // 127.0.0.1 - - [21/Nov/2026:08:49:34 +0000] "GET …
        let (start, _) = logged.split_once(line).unwrap();
        let masked = mask(start).replace(" -0000]", " +0000]");
        let (client, time) = masked.split_once('[').unwrap();
        assert_eq!(client, "000.0.0.0 - - ");
        let (date, rest) = time.split_at("21/Nov/2026".len());
        assert!(date.starts_with("00/") && date.ends_with("/0000"), "{logged}");
        assert_eq!(rest, ":00:00:00 +0000] ");
    }
}

/// What gunicorn 27.0.1 writes for the same application, but that it escapes no more than the
/// quotation mark.
#[test]
fn the_access_log_knows_what_the_application_left_in_the_environ() {
    const NOTING: &str = "
def app(environ, start_response):
    environ['REMOTE_USER'] = 'jo\"e\\n\u{e9}'
    environ['request_id'] = 42
    environ['my.Obj'] = [1, 'x']
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/broken':
        raise LookupError
    if environ['PATH_INFO'] == '/stream':
        return later(environ)
    return [b'hello']

def later(environ):
    yield b'hello'
    environ['request_id'] = 'late'
";
    let format = "%({raw_uri}e)s %({Remote_User}e)s %({REQUEST_ID}e)s %({my.obj}e)s \
                  %({wsgi.version}e)s %({http_x}e)s [%({nope}e)-3s] [%(h)12s] [%(U)-9.4s] %(s)s";
    let server = Server::start(&["--access-logfile", "-", "--access-logformat", format], NOTING);
    server.exchange(
        "GET /a%20b HTTP/1.1\r\nHost: test\r\nX: y\r\n\r\n\
         GET /stream HTTP/1.1\r\nHost: test\r\n\r\n\
         GET /broken HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
    );
    server.wait_for_stdout("/broken ");
    let finished = server.stop(Signal::SIGTERM);
    let user = r#"jo\"e\x0a\xe9"#;
    let lines = [
        format!("/a%20b {user} 42 [1, 'x'] (1, 0) y [-  ] [   127.0.0.1] [/a b     ] 200"),
        format!("/stream {user} late [1, 'x'] (1, 0) - [-  ] [   127.0.0.1] [/str     ] 200"),
        format!("/broken {user} 42 [1, 'x'] (1, 0) - [-  ] [   127.0.0.1] [/bro     ] 500"),
    ];
    assert_eq!(finished.stdout.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn an_access_log_line_cannot_be_forged() {
    let server = Server::start(&["--access-logfile", "-"], APP);
    server.exchange(
        b"GET /a HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
          User-Agent: x\" 200 5\t\\\xff\xc2\x85\r\n\r\n",
    );
    server.exchange("GET /end HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    server.wait_for_stdout("GET /end");
    let finished = server.stop(Signal::SIGTERM);
    let lines: Vec<&str> = finished.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains(r#""x\" 200 5"#), "{lines:?}");
    assert!(lines[0].chars().all(|character| !character.is_control()), "{lines:?}");
}

#[test]
fn every_request_is_logged_once() {
    let server = Server::start(&["--access-logfile", "-", "--workers", "2"], APP);
    for _ in 0..5 {
        let mut client = server.connect();
        for _ in 0..20 {
            client.get("/");
        }
    }
    let finished = server.stop(Signal::SIGTERM);
    assert_eq!(finished.stdout.lines().count(), 100);
}

#[test]
fn a_full_disk_is_told_of_once_and_harms_no_request() {
    let server = Server::start(&["--access-logfile", "/dev/full"], APP);
    for _ in 0..3 {
        assert_eq!(server.get("/").status, 200);
    }
    let told = "'/dev/full' isn't writable [No space left on device (os error 28)]: \
                lines of the access log are lost";
    server.wait_for(told);
    let finished = server.stop(Signal::SIGTERM);
    assert_eq!(finished.stderr.matches(told).count(), 1, "{}", finished.stderr);
}

#[test]
fn what_the_error_log_has_no_room_for_goes_to_standard_error() {
    let server = Server::start(&["--error-logfile", "/dev/full"], APP);
    assert_eq!(server.get("/").status, 200);
    let finished = server.stop(Signal::SIGTERM);
    assert!(finished.stderr.contains("Shutting down: Master"), "{}", finished.stderr);
}

/// The recipe by which frameworks' loggers come among the server's lines.
#[test]
fn an_application_may_log_by_gunicorns_logger() {
    const TAKES_OVER: &str = "
import logging
gunicorn = logging.getLogger('gunicorn.error')
logger = logging.getLogger('shop')
logger.handlers = gunicorn.handlers
logger.setLevel(gunicorn.level)

def app(environ, start_response):
    logger.debug('cart is slow')
    logger.info('cart is full')
    try:
        1 / 0
    except ZeroDivisionError:
        gunicorn.exception('cart is \\u20ac %d', 7)
    start_response('200 OK', [])
    return [logging.__spec__.name.encode()]
";
    for (arguments, debug) in
        [(&[][..], 0), (&["--log-level", "debug"], 1), (&["--preload", "--workers", "2"], 0)]
    {
        let server = Server::start(arguments, TAKES_OVER);
        assert_eq!(server.get("/").text(), "logging");
        server.wait_for("[INFO] cart is full");
        server.wait_for("ZeroDivisionError: division by zero");
        let finished = server.stop(Signal::SIGTERM);
        let error = "[ERROR] cart is \u{20ac} 7\nTraceback (most recent call last):\n";
        assert!(finished.stderr.contains(error), "{finished:?}");
        assert_eq!(finished.stderr.matches("[DEBUG] cart is slow").count(), debug, "{finished:?}");
        // In the format of the server's own lines.
        let line = finished.stderr.lines().find(|line| line.contains("cart is full")).unwrap();
        let (pid, level, message) = parts(line);
        assert!(pid.parse::<i32>().is_ok(), "{line}");
        assert_eq!((level, message), ("INFO", "cart is full"));
    }
}

#[test]
fn what_an_application_prints_can_go_to_the_error_log() {
    const PRINTS: &str = "
import os, sys

def app(environ, start_response):
    print('printed', environ['PATH_INFO'], flush=True)
    sys.stderr.write('complained\\n')
    os.system('echo started program')
    start_response('200 OK', [])
    return []
";
    let server = Launch::new(PRINTS)
        .bind(&["unix:server.sock"])
        .args(&["--capture-output", "--error-logfile", "error.log"])
        .spawn();
    let log = |name: &str| fs::read_to_string(server.path(name)).unwrap_or_default();
    eventually("the worker boots", || log("error.log").contains("Booting worker").then_some(()));
    let ask = |target: &str| {
        let mut client = Client::connect_unix(&server.path("server.sock"));
        assert_eq!(client.get(target).status, 200);
    };
    ask("/one");
    let text = log("error.log");
    for line in ["printed /one\n", "complained\n", "started program\n"] {
        assert!(text.contains(line), "{line:?}: {text}");
    }
    // Also after logrotate.
    fs::rename(server.path("error.log"), server.path("error.log.1")).unwrap();
    server.signal(Signal::SIGUSR1);
    eventually("the log is reopened by all", || {
        ask("/two");
        log("error.log").contains("printed /two").then_some(())
    });
    let finished = server.stop(Signal::SIGTERM);
    assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("", ""));
}
