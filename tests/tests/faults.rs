//! What an application does wrong in one request harms that request only.

use rgunicorn_tests::{Client, Server, Signal};

const APP: &str = "
import os, sys

def begun():
    yield b'begun'
    sys.exit(3)

class Closing:
    def __iter__(self):
        return iter([b'whole'])

    def close(self):
        sys.exit(3)

exits = {'/none': None, '/zero': 0, '/three': 3, '/text': 'no database'}

def app(environ, start_response):
    path = environ['PATH_INFO']
    if path in exits:
        sys.exit(exits[path])
    if path == '/hard':
        os._exit(7)
    start_response('200 OK', [])
    if path == '/begun':
        return begun()
    if path == '/closing':
        return Closing()
    return [str(os.getpid()).encode()]
";

const KINDS: [&[&str]; 2] = [&[], &["--threads", "3"]];

/// In gunicorn's gthread such a request stops the server.
#[test]
fn sys_exit_costs_its_request() {
    for arguments in KINDS {
        let server = Server::start(arguments, APP);
        let mut regular = Client::connect(server.address());
        let worker = regular.get("/").body;
        for (count, target) in ["/none", "/zero", "/three", "/text"].into_iter().enumerate() {
            assert_eq!(server.get(target).status, 500, "{target}");
            server.wait_for(&format!("Error handling request GET {target}"));
            server.wait_for_count("SystemExit", count + 1);
        }
        let mut client = Client::connect(server.address());
        client.send("GET /begun HTTP/1.1\r\nHost: test\r\n\r\n");
        assert!(client.try_receive().is_err(), "its last chunk is missing");
        assert_eq!(server.get("/closing").text(), "whole");
        server.wait_for("Error handling request GET /closing");
        assert_eq!(regular.get("/").body, worker, "the same worker, on the same connection");
        assert_eq!(server.get("/").body, worker);
        assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
    }
}

#[test]
fn a_worker_that_dies_takes_nobody_elses_connection_with_it() {
    for arguments in [&["--workers", "2"][..], &["--workers", "2", "--threads", "3"]] {
        let server = Server::start(arguments, APP);
        server.wait_for_workers(2);
        for round in 1..=3 {
            let mut client = Client::connect(server.address());
            client.send("GET /hard HTTP/1.1\r\nHost: test\r\n\r\n");
            assert!(client.is_closed());
            // At once, by the one that is left and soon by two.
            assert_eq!(server.get("/").status, 200);
            server.wait_for_count("exited with code 7", round);
            server.wait_for_count("Booting worker with pid", 2 + round);
        }
        assert_eq!(server.wait_for_workers(2).len(), 2);
    }
}
