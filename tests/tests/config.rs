//! Where settings come from, and the commands that serve nothing.

use rgunicorn_tests::{Finished, Launch, Signal};

/// Answers with what `import` of a module of the test's gives.
const APP: &str = "
import os

def app(environ, start_response):
    start_response('200 OK', [])
    return [os.getcwd().encode()]
";

const NAMED: &str = "
import named

def app(environ, start_response):
    start_response('200 OK', [])
    return [named.NAME]
";

#[test]
fn the_default_config_file_is_read() {
    let server = Launch::new(APP)
        .bind(&[])
        .app(None)
        .file(
            "gunicorn.conf.py",
            "import os\nbind = ['127.0.0.1:0']\nworkers = 1 + 1\nwsgi_app = 'app:app'\nhelper = os\n",
        )
        .start();
    assert_eq!(server.get("/").status, 200);
    server.wait_for_workers(2);
}

#[test]
fn a_config_file_knows_where_it_is() {
    let config = "import os\nchdir = os.path.dirname(__file__)\nwsgi_app = 'app:app'\n";
    for launch in [
        Launch::new("raise SystemExit('the wrong application')")
            .file("inner/app.py", APP)
            .file("inner/conf.py", config)
            .args(&["--config", "inner/conf.py"]),
        Launch::new(APP).file("conf.py", config).args(&["--config", "conf.py"]),
        Launch::new(APP).file("gunicorn.conf.py", config),
    ] {
        let server = launch.app(None).start();
        assert_eq!(server.get("/").status, 200);
    }
}

#[test]
fn an_application_knows_by_what_it_is_served() {
    let app = "
import os
SERVER = os.environ['SERVER_SOFTWARE']

def app(environ, start_response):
    start_response('200 OK', [])
    return [b'same' if SERVER == environ['SERVER_SOFTWARE'] else b'other']
";
    for arguments in [&[][..], &["--preload"]] {
        let server = Launch::new(app).args(arguments).start();
        assert_eq!(server.get("/").text(), "same");
    }
}

#[test]
fn the_command_line_wins_over_the_config_file() {
    let server = Launch::new(APP)
        .file("conf/other.py", "workers = 2\nloglevel = 'error'\nbind = '256.0.0.0:1'\n")
        .args(&["--config", "conf/other.py", "-w3", "--log-level=info"])
        .start();
    assert_eq!(server.get("/").status, 200);
    server.wait_for_workers(3);
}

#[test]
fn the_environment_gives_the_default_number_of_workers() {
    let server = Launch::new(APP).env("WEB_CONCURRENCY", "2").start();
    assert_eq!(server.get("/").status, 200);
    server.wait_for_workers(2);

    let server = Launch::new(APP).env("WEB_CONCURRENCY", "2").args(&["--workers", "1"]).start();
    assert_eq!(server.get("/").status, 200);
    server.wait_for_workers(1);
}

#[test]
fn chdir_is_where_the_application_runs() {
    let server = Launch::new("raise SystemExit('the wrong application')")
        .file("inner/app.py", APP)
        .args(&["--chdir", "inner"])
        .start();
    let inner = server.path("inner").canonicalize().unwrap();
    assert_eq!(server.get("/").text(), inner.to_str().unwrap());
}

#[test]
fn pythonpath_is_where_modules_are_found() {
    let server = Launch::new(NAMED)
        .file("one/other.py", "")
        .file("two/named.py", "NAME = b'from two'\n")
        .args(&["--pythonpath", "one,two"])
        .start();
    assert_eq!(server.get("/").text(), "from two");
}

#[test]
fn an_application_factory_is_called() {
    let server = Launch::new(
        "
def make(word, times=1):
    def app(environ, start_response):
        start_response('200 OK', [])
        return [(word * times).encode()]
    return app
",
    )
    .app("app:make('ab', times=2)")
    .start();
    assert_eq!(server.get("/").text(), "abab");
}

#[test]
fn an_application_is_called_application_by_default() {
    let server = Launch::new(&APP.replace("def app(", "def application(")).app("app").start();
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn long_flags_may_be_shortened() {
    let server = Launch::new(APP).args(&["--worker", "2"]).file("gunicorn.conf.py", "").run();
    // --workers, --worker-class and others begin like this.
    assert_eq!(server.code, Some(2));
    assert!(server.stderr.contains("ambiguous option: --worker"), "{}", server.stderr);

    let server = Launch::new(APP).args(&["--workers=2", "--graceful=1"]).start();
    assert_eq!(server.get("/").status, 200);
    server.wait_for_workers(2);
}

fn check(launch: Launch) -> Finished {
    launch.args(&["--check-config"]).run()
}

#[test]
fn check_config_is_silent_when_all_is_well() {
    let finished = check(Launch::new(APP));
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("", ""));
}

#[test]
fn check_config_finds_what_is_wrong() {
    let finished = check(Launch::new("import missing_module"));
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains("missing_module"), "{}", finished.stderr);

    let finished = check(Launch::new(APP).app("app:missing"));
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains("missing"), "{}", finished.stderr);

    let finished = check(Launch::new(APP).args(&["--timeout", "soon"]));
    assert!(matches!(finished.code, Some(1 | 2)), "{}", finished.stderr);
    assert!(finished.stderr.contains("soon"), "{}", finished.stderr);
}

#[test]
fn version_and_help_go_to_standard_output() {
    for flag in ["--version", "-v"] {
        let finished = Launch::new(APP).bind(&[]).app(None).args(&[flag]).run();
        assert_eq!(finished.code, Some(0));
        assert!(finished.stdout.contains("gunicorn (version "), "{}", finished.stdout);
        assert_eq!(finished.stderr, "");
    }
    for flag in ["--help", "-h"] {
        let finished = Launch::new(APP).bind(&[]).app(None).args(&[flag]).run();
        assert_eq!(finished.code, Some(0));
        assert_eq!(finished.stderr, "");
        let usage = "gunicorn [OPTIONS] [APP_MODULE]";
        assert!(finished.stdout.contains(usage), "{}", finished.stdout);
        assert!(finished.stdout.contains("--graceful-timeout"), "{}", finished.stdout);
        assert!(finished.stdout.lines().all(|line| line.chars().count() <= 80));
    }
}

#[test]
fn an_import_that_hangs_does_not_hold_up_a_stop() {
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
        let server =
            Launch::new("import time\nprint('importing', flush=True)\ntime.sleep(600)\n").start();
        server.wait_for_stdout("importing");
        let finished = server.stop(signal);
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        assert!(!finished.stderr.contains("SIGKILL"), "{}", finished.stderr);
    }
}
