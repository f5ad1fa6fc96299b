//! Clients that ask without pause and account for every request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::client::Client;
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// Requests that were answered before it on the same connection.
    pub answered: u64,
    /// The body of the last of these answers. Where bodies are pids, this worker had the connection
    /// then; another may have it since.
    pub answered_before: Option<String>,
    /// The client's end of its connection; `None` when there was none.
    pub client: Option<SocketAddr>,
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
            match Client::try_connect(address) {
                Ok(client) => self.ask_on(client, connections),
                Err(error) => self.lose(Lost { seen: error.to_string(), ..Lost::default() }),
            }
        }
    }

    /// Asks until the connection ends, for whatever reason.
    fn ask_on(&self, mut client: Client, connections: Connections) {
        let request: &[u8] = match connections {
            Connections::Close => b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
            Connections::KeepAlive => b"GET / HTTP/1.1\r\nHost: test\r\n\r\n",
        };
        // What there is to tell of the next request, should it be lost.
        let mut next = Lost { client: client.local_addr(), ..Lost::default() };
        while !self.stopping.load(Ordering::Relaxed) {
            let answer = self.send(&mut client, request, next.answered).and_then(|()| {
                client.try_receive().map_err(|error| format!("all was sent; then {error}"))
            });
            match answer {
                Ok(response) if response.status == 200 => {
                    let keeps = connections != Connections::Close;
                    let closes = response.closes();
                    let body = String::from_utf8_lossy(&response.body).into_owned();
                    next.answered += 1;
                    next.answered_before = Some(body.clone());
                    self.update(|report| {
                        *report.answered.entry(body).or_default() += 1;
                        report.closed += usize::from(keeps && closes);
                    });
                    if closes || !keeps {
                        return;
                    }
                }
                Ok(response) => return self.lose(Lost { seen: format!("{response:?}"), ..next }),
                Err(seen) => return self.lose(Lost { seen, ..next }),
            }
        }
    }

    /// # Errors
    /// How much was sent, and why no more.
    fn send(&self, client: &mut Client, request: &[u8], round: u64) -> Result<(), String> {
        let (start, rest) = request.split_at(request.len() / 2);
        if !self.hesitant {
            return client.try_send(request).map_err(|error| format!("nothing was sent: {error}"));
        }
        client.try_send(start).map_err(|error| format!("nothing was sent: {error}"))?;
        // Not always as long, so that whatever else happens meets it in every phase.
        thread::sleep(Duration::from_millis(round * 7 % 40));
        client.try_send(rest).map_err(|error| format!("half a head was sent; then {error}"))
    }

    fn lose(&self, lost: Lost) {
        self.update(|report| report.lost.push(lost));
    }

    fn update(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report.lock().unwrap());
        self.changed.notify_all();
    }
}
