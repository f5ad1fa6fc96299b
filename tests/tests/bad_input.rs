//! What a mistake is answered with: which, from where, what instead; and the exit code.

use std::net::TcpListener;

use rgunicorn_tests::{Finished, Launch, Signal};

const APP: &str = "
def app(environ, start_response):
    start_response('200 OK', [])
    return []
";

fn run(arguments: &[&str]) -> Finished {
    Launch::new(APP).args(arguments).run()
}

#[test]
fn a_wrong_value_is_named_with_its_setting_and_source() {
    for (setting, flag, value) in [
        ("bind", "--bind", "127.0.0.1:http"),
        ("graceful_timeout", "--graceful-timeout", "-1"),
        ("keepalive", "--keep-alive", "long"),
        ("limit_request_body", "--limit-request-body", "1G"),
        ("limit_request_field_size", "--limit-request-field_size", "x"),
        ("limit_request_fields", "--limit-request-fields", "many"),
        ("limit_request_line", "--limit-request-line", "-5"),
        ("loglevel", "--log-level", "loud"),
        ("timeout", "--timeout", "1.5.0"),
        ("threads", "--threads", "0"),
        ("worker_class", "--worker-class", "gevent"),
        ("workers", "--workers", "two"),
        ("workers", "--workers", "-1"),
    ] {
        let flag_and_value = format!("{flag}={value}");
        let finished = run(&[&flag_and_value]);
        assert_eq!(finished.code, Some(1), "{flag_and_value}: {finished:?}");
        let error = finished.error();
        for part in [setting, flag, &format!("'{value}'")] {
            assert!(error.contains(part), "{flag_and_value}: {error}");
        }
        assert!(error.contains("allowed: ") || error.contains("use sync"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_wrong_value_in_the_config_file_is_named_with_the_file() {
    for (line, setting) in [
        ("workers = 'two'", "workers"),
        ("workers = [2]", "workers"),
        ("timeout = None", "timeout"),
        ("bind = 8000", "bind"),
        ("loglevel = 7", "loglevel"),
        ("pythonpath = 3.5", "pythonpath"),
    ] {
        let launch = Launch::new(APP).file("gunicorn.conf.py", &format!("{line}\n"));
        let finished = launch.run();
        assert_eq!(finished.code, Some(1), "{line}: {finished:?}");
        let error = finished.error();
        assert!(error.contains(setting), "{line}: {error}");
        assert!(error.contains("gunicorn.conf.py"), "{line}: {error}");
        assert!(error.contains("allowed: "), "{line}: {error}");
    }
}

#[test]
fn a_wrong_value_in_the_environment_is_named_with_the_variable() {
    let finished = Launch::new(APP).env("WEB_CONCURRENCY", "all").run();
    assert_eq!(finished.code, Some(1), "{finished:?}");
    for part in ["workers", "WEB_CONCURRENCY", "'all'"] {
        assert!(finished.error().contains(part), "{finished:?}");
    }
}

#[test]
fn a_config_file_that_does_not_work_is_named() {
    let finished = run(&["--config", "missing.py"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    // In whole: who reads this in a log need not know where the server was started.
    let error = finished.error();
    assert!(error.starts_with("'/") && error.ends_with("/missing.py' doesn't exist"), "{error}");

    let finished = Launch::new(APP)
        .file("broken.py", "workers = 1\nraise ValueError('on purpose')\n")
        .args(&["--config", "broken.py"])
        .run();
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("Failed to read config file: "), "{finished:?}");
    assert!(finished.stderr.contains("broken.py\", line 2"), "{finished:?}");
    assert!(finished.stderr.contains("ValueError: on purpose"), "{finished:?}");
}

#[test]
fn an_unknown_flag_gets_the_usage() {
    for arguments in [&["--wrokers", "2"][..], &["-Z"], &["app:app", "another"]] {
        let finished = run(arguments);
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.stderr.starts_with("usage: "), "{finished:?}");
        assert!(finished.stderr.contains("[OPTIONS] [APP_MODULE]"), "{finished:?}");
        assert!(finished.stderr.contains("unrecognized arguments: "), "{finished:?}");
    }
}

#[test]
fn a_flag_without_its_value_gets_the_usage() {
    let finished = Launch::new(APP).app(None).args(&["--workers"]).run();
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(finished.stderr.starts_with("usage: "), "{finished:?}");
    assert!(finished.stderr.contains("expected one argument"), "{finished:?}");
}

#[test]
fn settings_of_gunicorn_that_are_missing_are_refused_by_name() {
    for arguments in [
        &["--reload"][..],
        &["--certfile", "server.pem"],
        &["--statsd-host", "localhost:8125"],
        &["--ssl-version=2"],
    ] {
        let finished = run(arguments);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        let flag = arguments[0].split('=').next().unwrap();
        let error = finished.error();
        assert!(error.contains(flag), "{error}");
        assert!(error.contains("not support"), "{error}");
    }
    for (line, name) in
        [("reload = True", "reload"), ("def post_fork(server, worker): pass", "post_fork")]
    {
        let launch = Launch::new(APP).file("gunicorn.conf.py", &format!("{line}\n"));
        let finished = launch.run();
        assert_eq!(finished.code, Some(1), "{finished:?}");
        let error = finished.error();
        assert!(error.contains(name) && error.contains("gunicorn.conf.py"), "{error}");
    }
}

#[test]
fn a_setting_at_its_default_asks_for_nothing() {
    let server = Launch::new(APP)
        .file(
            "gunicorn.conf.py",
            "reload = False\nsyslog = False\ncertfile = None\nproxy_protocol = False\n\
             worker_tmp_dir = '/dev/shm'\n",
        )
        .args(&["--no-control-socket"])
        .start();
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn no_application_is_an_error() {
    let finished = Launch::new(APP).app(None).run();
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert_eq!(finished.error(), "No application module specified.");
}

#[test]
fn an_application_that_cannot_be_imported_ends_the_server_with_3() {
    for (source, message) in [
        ("import missing_module\n", "ModuleNotFoundError: No module named 'missing_module'"),
        ("syntax error\n", "SyntaxError"),
        ("raise ValueError('on purpose')\n", "ValueError: on purpose"),
    ] {
        let finished = Launch::new(source).args(&["--workers", "2"]).run();
        assert_eq!(finished.code, Some(3), "{finished:?}");
        for part in [
            "Exception in worker process",
            message,
            "Shutting down: Master",
            "Reason: Worker failed to boot.",
        ] {
            assert!(finished.stderr.contains(part), "{part:?} in:\n{}", finished.stderr);
        }
    }
    let finished = Launch::new(APP).app("missing_module:app").run();
    assert_eq!(finished.code, Some(3), "{finished:?}");
    assert!(finished.stderr.contains("No module named 'missing_module'"), "{finished:?}");
}

#[test]
fn an_application_that_is_none_ends_the_server_with_4() {
    let source = "not_callable = 7\ndef make(a): return None\n";
    for (target, message) in [
        ("app:missing", "Failed to find attribute 'missing' in 'app'."),
        ("app:not_callable", "Application object must be callable."),
        ("app", "Failed to find attribute 'application' in 'app'."),
        ("app:make(1)", "Failed to find application object: 'make(1)'"),
        ("app:make(1", "Failed to parse 'make(1' as an attribute name or function call."),
        ("app:make(x)", "Failed to parse arguments as literal values: 'make(x)'"),
    ] {
        let finished = Launch::new(source).app(target).run();
        assert_eq!(finished.code, Some(4), "{target}: {finished:?}");
        for part in [message, "Shutting down: Master", "Reason: App failed to load."] {
            assert!(finished.stderr.contains(part), "{target}: {part:?} in:\n{}", finished.stderr);
        }
    }
}

#[test]
fn a_port_in_use_is_tried_again_and_then_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (text, port) = (address.to_string(), address.port());
    let finished = Launch::new(APP).bind(&[&text]).run();
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let in_use = format!("Connection in use: ('127.0.0.1', {port})");
    assert_eq!(finished.stderr.matches(&in_use).count(), 5, "{finished:?}");
    let last = format!("Can't connect to ('127.0.0.1', {port})");
    assert!(finished.stderr.contains(&last), "{finished:?}");
}

#[test]
fn a_port_that_becomes_free_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Launch::new(APP).bind(&[&taken.local_addr().unwrap().to_string()]).spawn();
    server.wait_for("Connection in use");
    drop(taken);
    server.wait_for("Listening at: ");
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

#[test]
fn a_stop_does_not_wait_for_a_port() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Launch::new(APP).bind(&[&taken.local_addr().unwrap().to_string()]).spawn();
    server.wait_for("Connection in use");
    server.signal(Signal::SIGTERM);
    let finished = server.wait();
    assert!(!finished.stderr.contains("Can't connect"), "{finished:?}");
}

#[test]
fn places_that_do_not_exist_are_named() {
    for (arguments, name) in [
        (&["--chdir", "missing"][..], "missing"),
        (&["--error-logfile", "missing/error.log"], "missing/error.log"),
        (&["--access-logfile", "missing/access.log"], "missing/access.log"),
        (&["--bind", "unix:missing/server.sock"], "missing/server.sock"),
    ] {
        let finished = run(arguments);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.stderr.contains(name), "{finished:?}");
        assert!(!finished.stderr.contains("panicked"), "{finished:?}");
    }
}
