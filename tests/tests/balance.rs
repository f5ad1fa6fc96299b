//! Work is shared among workers, whoever got the connections first.

use std::collections::BTreeMap;

use rgunicorn_tests::{Client, Server};

/// Answers with the pid, after a while.
const APP: &str = "
import os, time

def app(environ, start_response):
    start_response('200 OK', [])
    time.sleep(0.002)
    return [b'%d' % os.getpid()]
";

/// Sends a request on each connection at once, so many times, and counts by body who answered.
fn ask(clients: &mut [Client], rounds: usize) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    for _ in 0..rounds {
        for client in &mut *clients {
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        }
        for client in &mut *clients {
            let body = client.receive().text().to_owned();
            *answers.entry(body).or_default() += 1;
        }
    }
    answers
}

/// The kernel wakes the same worker first each time, which thereby gets all who come one by one.
#[test]
fn no_worker_hoards_connections() {
    for kind in [&["--workers", "2"][..], &["--workers", "2", "--threads", "2"]] {
        let server = Server::start(&[kind, &["--keep-alive", "60"]].concat(), APP);
        server.wait_for_workers(2);
        let mut clients = Vec::new();
        for _ in 0..16 {
            let mut client = server.connect();
            assert_eq!(client.get("/").status, 200);
            clients.push(client);
        }
        ask(&mut clients, 10);
        let answers = ask(&mut clients, 40);
        assert_eq!(answers.len(), 2, "{kind:?} {answers:?}");
        assert!(answers.values().all(|count| *count >= 40 * 16 / 5), "{kind:?} {answers:?}");
    }
}

/// Two that come at once on connections of the same worker are answered by both, as soon as one of
/// them would have to wait.
#[test]
fn no_worker_idles_while_another_has_two_to_answer() {
    let server = Server::start(&["--workers", "2", "--keep-alive", "60"], APP);
    server.wait_for_workers(2);
    // Three connections: two of them have the same worker.
    let mut clients: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    ask(&mut clients, 1);
    for _ in 0..20 {
        let answers = ask(&mut clients, 5);
        assert_eq!(answers.len(), 2, "{answers:?}");
    }
}
