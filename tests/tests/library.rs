//! Which workers find what the arbiter imported of Python's library.

use rgunicorn_tests::{Launch, Signal};

/// Says in the log what was imported before the application was loaded.
const APP: &str = "
import os, sys

FOUND = 'socketserver' in sys.modules
print('worker %d has %s library' % (os.getpid(), 'the' if FOUND else 'no'), file=sys.stderr)

def app(environ, start_response):
    start_response('200 OK', [])
    return [b'hello']
";

#[test]
fn all_workers_but_the_first_find_it() {
    let server = Launch::new(APP).args(&["--workers", "3"]).start();
    server.wait_for_count("has the library", 2);
    server.wait_for_count("has no library", 1);
    assert_eq!(server.get("/").text(), "hello");
    // Those of the next configuration all come later.
    server.signal(Signal::SIGHUP);
    server.wait_for_count("has the library", 5);
}

#[test]
fn the_arbiter_imports_it_when_its_only_worker_is_ready() {
    let server = Launch::new(APP).args(&["--log-level", "debug"]).start();
    server.wait_for("Python's library is imported for the workers to come");
    assert_eq!(server.get("/").text(), "hello");
    server.wait_for_count("has no library", 1);
    server.workers()[0].signal(Signal::SIGKILL);
    server.wait_for("has the library");
}

#[test]
fn workers_find_the_modules_of_their_application_rather() {
    const OWN: &str = "
import importlib.metadata, uuid

print(uuid.WHOSE, file=importlib.metadata.sys.stderr)
";
    let server = Launch::new(&format!("{OWN}{APP}"))
        .file("uuid.py", "WHOSE = 'uuid of the application'")
        .args(&["--workers", "2"])
        .start();
    server.wait_for_count("uuid of the application", 2);
    server.wait_for_count("has the library", 1);
}
