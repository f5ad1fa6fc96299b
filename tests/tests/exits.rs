//! `SystemExit`: from code that answers no request its code is the program's, as under gunicorn. A
//! quick stop raises it in a call.

use rgunicorn_tests::{Launch, Server, Signal};

const APP: &str = "
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'hello']
";

/// An argument of `SystemExit`, and the status and the words that `python` ends with.
const EXITS: [(&str, i32, &str); 4] =
    [("5", 5, ""), ("", 0, ""), ("'no database'", 1, "no database\n"), ("-1", 255, "")];

#[test]
fn of_an_application_that_is_loaded_before_the_fork() {
    for argument in ["--preload", "--check-config"] {
        for (exit, code, words) in EXITS {
            let app = format!("raise SystemExit({exit})");
            let finished = Launch::new(&app).args(&[argument]).run();
            assert_eq!((finished.code, &*finished.stderr), (Some(code), words), "{argument}");
        }
    }
}

#[test]
fn of_a_config_file() {
    for (exit, code, words) in EXITS {
        let config = format!("raise SystemExit({exit})");
        let finished = Launch::new(APP).file("gunicorn.conf.py", &config).run();
        assert_eq!((finished.code, &*finished.stderr), (Some(code), words));
    }
}

/// gunicorn's master ends then.
#[test]
fn of_a_config_file_that_is_read_again() {
    let launch = Launch::new(APP).file("gunicorn.conf.py", "");
    let server = launch.start();
    std::fs::write(server.path("gunicorn.conf.py"), "raise SystemExit(5)").unwrap();
    server.signal(Signal::SIGHUP);
    server.wait_for("the config file exits with code 5");
    assert_eq!(server.get("/").text(), "hello");
}

/// gunicorn starts such workers again and again, without a word.
#[test]
fn of_an_application_that_a_worker_loads() {
    let finished = Launch::new("raise SystemExit('no database')").run();
    assert_eq!(finished.code, Some(3), "{}", finished.stderr);
    for words in ["SystemExit: no database", "Worker failed to boot."] {
        assert!(finished.stderr.contains(words), "{}", finished.stderr);
    }
}

/// A quick stop raises `SystemExit` in the call that is in its way: it cleans up, its client gets an
/// answer, and the interpreter ends as it should.
#[test]
fn in_the_midst_of_a_call_at_a_quick_stop() {
    const BUSY: &str = "
import atexit, time

atexit.register(print, 'farewell')

def loop():
    while True:
        pass

def app(environ, start_response):
    print('called', file=environ['wsgi.errors'], flush=True)
    try:
        loop() if environ['PATH_INFO'] == '/loop' else time.sleep(600)
    finally:
        print('cleaned up', flush=True)
";
    for target in ["/loop", "/sleep"] {
        for signal in [Signal::SIGQUIT, Signal::SIGINT] {
            let server = Server::start(&[], BUSY);
            let mut client = server.connect();
            client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
            server.wait_for("called");
            server.signal(signal);
            assert_eq!(client.receive().status, 500, "{target}");
            let finished = server.wait();
            assert_eq!(finished.code, Some(0), "{finished:?}");
            assert_eq!(finished.stdout, "cleaned up\nfarewell\n", "{finished:?}");
            assert!(!finished.stderr.contains("SIGKILL"), "{finished:?}");
        }
    }
}
