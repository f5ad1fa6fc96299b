//! Clients that ask without pause and account for every request.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::{Client, Response};
use crate::server::Server;
use crate::wait::DEADLINE;

/// Whether a client asks for its connection to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// A connection for each request.
    Close,
    /// A connection for as many requests as the server allows.
    KeepAlive,
}

/// Threads that ask for `/` until they are told to stop.
///
/// ```no_run
/// use rgunicorn_tests::{Connections, Load, Server};
///
/// let server = Server::start(&["--workers", "4"], "def app(environ, start_response): …");
/// let load = Load::start(&server, Connections::KeepAlive, 8);
/// load.wait_for_answers(1_000);
/// assert_eq!(load.stop().lost, []);
/// ```
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What became of the requests.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Complete answers with status 200, counted by body.
    pub answered: BTreeMap<String, usize>,
    /// Connections that were to be kept and that the server closed, after an answer that said so.
    /// One that ends without notice loses the next request.
    pub closed: usize,
    /// Requests without a complete answer, or with another status.
    pub lost: Vec<Lost>,
}

/// A request without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// The body of the answer before it on the same connection. Where bodies are pids, this is the
    /// worker that owned the connection.
    pub answered_before: Option<String>,
    /// When its connection was opened.
    pub connected: Instant,
    /// What was seen instead of an answer.
    pub seen: String,
}

#[derive(Debug, Default)]
struct Shared {
    /// Half of each head is sent, and the rest late.
    hesitant: bool,
    report: Mutex<Report>,
    changed: Condvar,
    stopping: AtomicBool,
}

impl Load {
    /// Starts so many clients; each has one connection and at most one request under way.
    pub fn start(server: &Server, connections: Connections, clients: usize) -> Self {
        Self::start_as(Shared::default(), server, connections, clients)
    }

    /// The same, of clients that send half of each head, and the rest late, on connections that
    /// are to be kept.
    pub fn start_hesitant(server: &Server, clients: usize) -> Self {
        let shared = Shared { hesitant: true, ..Shared::default() };
        Self::start_as(shared, server, Connections::KeepAlive, clients)
    }

    fn start_as(shared: Shared, server: &Server, connections: Connections, clients: usize) -> Self {
        let (address, shared) = (server.address(), Arc::new(shared));
        let threads = (0..clients)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.ask(address, connections))
            })
            .collect();
        Self { shared, threads }
    }

    /// Waits for so many more answers.
    pub fn wait_for_answers(&self, count: usize) {
        let total = |report: &Report| report.answered.values().sum::<usize>();
        let enough = total(&self.shared.report.lock().unwrap()) + count;
        self.wait(&format!("{count} answers"), |report| total(report) >= enough);
    }

    /// Waits for an answer with this body.
    pub fn wait_for_body(&self, body: &str) {
        self.wait(&format!("the answer {body:?}"), |report| report.answered.contains_key(body));
    }

    /// Lets every client finish its request, and tells what became of all.
    pub fn stop(mut self) -> Report {
        self.shared.stopping.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a client does not panic");
        }
        self.shared.report.lock().unwrap().clone()
    }

    fn wait(&self, what: &str, satisfied: impl Fn(&Report) -> bool) {
        let report = self.shared.report.lock().unwrap();
        let (report, result) = self
            .shared
            .changed
            .wait_timeout_while(report, DEADLINE, |report| !satisfied(report))
            .unwrap();
        let report = report.clone();
        assert!(!result.timed_out(), "waited in vain for {what}: {report:?}");
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn ask(&self, address: SocketAddr, connections: Connections) {
        while !self.stopping.load(Ordering::Relaxed) {
            let mut connection = Connection { connected: Instant::now(), answered_before: None };
            match Client::try_connect(address) {
                Ok(client) => self.ask_on(client, connections, &mut connection),
                Err(error) => self.lose(connection, format!("no connection: {error}")),
            }
        }
    }

    /// Asks until the connection ends, for whatever reason.
    fn ask_on(&self, mut client: Client, connections: Connections, connection: &mut Connection) {
        let request: &[u8] = match connections {
            Connections::Close => b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
            Connections::KeepAlive => b"GET / HTTP/1.1\r\nHost: test\r\n\r\n",
        };
        for round in 0.. {
            if self.stopping.load(Ordering::Relaxed) {
                return;
            }
            let sent = self.send(&mut client, request, round);
            let answer: io::Result<Response> = sent.and_then(|()| client.try_receive());
            match answer {
                Ok(response) if response.status == 200 => {
                    let keeps = connections != Connections::Close;
                    let closes = response.closes();
                    let body = String::from_utf8_lossy(&response.body).into_owned();
                    connection.answered_before = Some(body.clone());
                    self.update(|report| {
                        *report.answered.entry(body).or_default() += 1;
                        report.closed += usize::from(keeps && closes);
                    });
                    if closes || !keeps {
                        return;
                    }
                }
                Ok(response) => return self.lose(connection.clone(), format!("{response:?}")),
                Err(error) => return self.lose(connection.clone(), error.to_string()),
            }
        }
    }

    fn send(&self, client: &mut Client, request: &[u8], round: u64) -> io::Result<()> {
        let (start, rest) = request.split_at(request.len() / 2);
        if !self.hesitant {
            return client.try_send(request);
        }
        client.try_send(start)?;
        // Not always as long, so that whatever else happens meets it in every phase.
        thread::sleep(Duration::from_millis(round * 7 % 40));
        client.try_send(rest)
    }

    fn lose(&self, connection: Connection, seen: String) {
        let lost = Lost {
            answered_before: connection.answered_before,
            connected: connection.connected,
            seen,
        };
        self.update(|report| report.lost.push(lost));
    }

    fn update(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report.lock().unwrap());
        self.changed.notify_all();
    }
}

/// What is known of the connection on which a request may be lost.
#[derive(Clone, Debug)]
struct Connection {
    connected: Instant,
    answered_before: Option<String>,
}
