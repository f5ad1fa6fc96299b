//! Processes that the application forks: they do nothing in the name of the worker that they come
//! from, and can be stopped like any other.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers fail their test by panicking"
)]

use rgunicorn_tests::{Launch, Process, Server, Signal, eventually};

/// `/child` starts one, as a daemon of its own; `/join` ends it by `terminate`. `/fork` forks, and the
/// child runs on into the server; `/exit` likewise, by way of `sys.exit`. Answers with the pid of
/// the child, or of the worker.
const APP: &str = "
import multiprocessing, os, sys, time

CHILDREN = []
context = multiprocessing.get_context('fork')

def app(environ, start_response):
    path, answer = environ['PATH_INFO'], os.getpid()
    if path == '/child':
        child = context.Process(target=time.sleep, args=(600,), daemon=True)
        child.start()
        CHILDREN.append(child)
        answer = child.pid
    elif path == '/join':
        child = CHILDREN.pop()
        child.terminate()
        child.join()
        answer = child.exitcode
    elif path in ('/fork', '/exit'):
        answer = os.fork()
        if path == '/exit' and answer == 0:
            sys.exit(0)
        if answer:
            os.waitpid(answer, 0)
    elif path == '/hang':
        time.sleep(600)
    start_response('200 OK', [])
    return [b'%d' % answer]
";

fn child(server: &Server) -> Process {
    Process::find(number(server, "/child")).expect("it sleeps")
}

fn number(server: &Server, path: &str) -> i32 {
    server.get(path).text().parse().unwrap()
}

#[test]
fn a_child_can_be_stopped_and_its_worker_does_not_notice() {
    let server = Server::start(&[], APP);
    let worker = number(&server, "/");
    child(&server);
    assert_eq!(number(&server, "/join"), -15);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGUSR1] {
        let child = child(&server);
        child.signal(signal);
        eventually("the child's end", || (!child.is_alive()).then_some(()));
        assert_eq!(number(&server, "/"), worker, "{signal}");
    }
}

#[test]
fn a_child_does_not_hold_up_the_stop() {
    let server = Server::start(&["--graceful-timeout", "20"], APP);
    let child = child(&server);
    let finished = server.stop(Signal::SIGTERM);
    assert_eq!(finished.code, Some(0));
    assert!(!finished.stderr.contains("graceful timeout"), "{}", finished.stderr);
    eventually("the child's end", || (!child.is_alive()).then_some(()));
}

#[test]
fn a_child_that_runs_on_does_not_answer_a_second_time() {
    let server = Server::start(&[], APP);
    let worker = number(&server, "/");
    for path in ["/fork", "/exit"] {
        let mut client = server.connect();
        let response = client.get(path);
        let child: i32 = response.text().parse().unwrap();
        assert!(child > 0, "the child answered");
        assert_eq!(Process::find(child), None);
        // What follows is the answer to the next request and no rest of another one.
        assert_eq!(client.get("/").text(), worker.to_string());
    }
    server.wait_for("ran on into the server, and is ended");
    assert_eq!(number(&server, "/"), worker);
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

#[test]
fn a_child_does_not_beat_for_its_worker() {
    let server = Launch::new(APP).args(&["--timeout", "1"]).start();
    child(&server);
    let mut client = server.connect();
    client.send("GET /hang HTTP/1.1\r\nHost: test\r\n\r\n");
    server.wait_for("WORKER TIMEOUT (pid:");
    assert!(number(&server, "/") > 0);
}
