//! What goes on while the handler keeps all threads of a worker, or an interpreter to itself.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rgunicorn_http1::{RequestHead, ResponseHead};
use rgunicorn_workers::{Client, ConnectionError, Handler, Options, Outcome, Scoreboard, Server};
use tempfile::TempDir;

use crate::harness::{self, TestServer, read_exactly, read_to_end, read_until, starts_with};

const BIG: usize = 16 << 20;

/// Has a lock like an interpreter's, without which no handler runs. `/keep/NAME` keeps it until there
/// is a file of that name, `/behind/NAME` leaves that to a thread. All are answered with the pid, if
/// their body is whole.
struct Interpreted {
    directory: PathBuf,
    lock: Arc<Lock>,
}

#[derive(Default)]
struct Lock {
    is_taken: Mutex<bool>,
    released: Condvar,
}

impl Lock {
    fn take(&self) {
        let is_taken = self.is_taken.lock().unwrap();
        *self.released.wait_while(is_taken, |is_taken| *is_taken).unwrap() = true;
    }

    fn release(&self) {
        *self.is_taken.lock().unwrap() = false;
        self.released.notify_one();
    }
}

/// Says that the lock is taken, and keeps it.
fn keep(gate: &Path) {
    fs::write(gate.with_extension("shut"), "").unwrap();
    let patience = Instant::now() + Duration::from_secs(30);
    while !gate.exists() && Instant::now() < patience {
        thread::sleep(Duration::from_millis(1));
    }
}

impl Handler for Interpreted {
    fn handle(
        &self,
        request: &RequestHead,
        mut client: Client,
    ) -> Result<Outcome, ConnectionError> {
        let path = std::str::from_utf8(request.target()).unwrap();
        let mut body = vec![0; usize::try_from(client.body_remaining().unwrap()).unwrap()];
        client.read_body(&mut body)?;
        assert_eq!(request.body().length(), Some(body.len() as u64));
        assert!(body.iter().all(|byte| *byte == b'b'));
        if path == "/big" {
            let mut head = ResponseHead::new(200, &[]);
            head.length = Some(BIG as u64);
            client.send_head(&head)?;
            client.send_rest(vec![b'b'; BIG].into())?;
            return Ok(Outcome::Done(client));
        }
        if let Some(name) = path.strip_prefix("/keep/") {
            keep(&self.directory.join(name));
        }
        if let Some(name) = path.strip_prefix("/behind/") {
            let (lock, gate) = (Arc::clone(&self.lock), self.directory.join(name));
            thread::spawn(move || {
                lock.take();
                keep(&gate);
                lock.release();
            });
        }
        let pid = std::process::id().to_string();
        let mut head = ResponseHead::new(200, &[]);
        head.length = Some(pid.len() as u64);
        client.send_head(&head)?;
        client.send_rest(pid.into())?;
        Ok(Outcome::Done(client))
    }

    fn thread(&self, run: &mut dyn FnMut()) {
        self.lock.take();
        run();
        self.lock.release();
    }

    fn spawn(&self, name: String, run: Box<dyn FnOnce() + Send>) -> std::io::Result<()> {
        let lock = Arc::clone(&self.lock);
        let life = move || {
            lock.take();
            run();
            lock.release();
        };
        thread::Builder::new().name(name).spawn(life).map(drop)
    }

    fn blocking(&self, wait: &mut (dyn FnMut() + Send)) {
        self.lock.release();
        wait();
        self.lock.take();
    }
}

/// No test of its own: the server of the others.
#[test]
fn process() {
    let Some(wish) = harness::wish() else { return };
    let (kind, directory) = wish.split_once(" in ").unwrap();
    let mut options = Options::default();
    options.header_timeout = Duration::from_millis(500);
    options.body_timeout = Duration::from_secs(20);
    options.keepalive = Some(Duration::from_secs(20));
    options.write_timeout = Duration::from_secs(20);
    if kind.contains("little patience") {
        options.queue_timeout = Some(Duration::from_millis(500));
    }
    options.threads = if kind.contains("four threads") { NonZeroUsize::new(4) } else { None };
    let threads = options.threads.map_or(1, NonZeroUsize::get);
    let workers = if kind.contains("two workers") { 2 } else { 1 };
    let arbiter = rgunicorn_arbiter::Options::new(workers)
        .mailbox(true)
        .words_per_worker(Scoreboard::words_per_worker(threads));
    let handler = Interpreted { directory: directory.into(), lock: Arc::default() };
    harness::serve(arbiter, Server::new(handler, options));
}

struct Workers {
    /// Whoever keeps the lock lets go when it is gone; it goes first.
    directory: TempDir,
    server: TestServer,
}

impl Workers {
    fn start(kind: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let wish = format!("{kind} in {}", directory.path().display());
        Self { directory, server: TestServer::spawn("vacancy::process", &wish) }
    }

    /// The next request of this connection keeps the lock.
    fn shut(&self, client: &mut TcpStream, target: &str) {
        let (_, name) = target.rsplit_once('/').unwrap();
        send(client, target);
        let shut = self.directory.path().join(name).with_extension("shut");
        wait_for("the lock", || shut.exists());
    }

    fn open(&self, name: &str) {
        fs::write(self.directory.path().join(name), "").unwrap();
    }

    /// While either is busy, the other one serves everybody.
    fn assert_both_serve(&self, clients: &mut [TcpStream]) {
        let (keeper, rest) = clients.split_first_mut().unwrap();
        self.shut(keeper, "/keep/both");
        let free = pid(&mut self.server.connect());
        assert!(rest.iter_mut().all(|client| pid(client) == free));
        self.open("both");
        assert_ne!(receive(keeper), free);
    }

    /// Connections that both of two workers have.
    fn connect(&self) -> Vec<TcpStream> {
        let (mut all, mut keeper) = (Vec::new(), self.server.connect());
        for name in ["one", "another"] {
            // Only one worker serves meanwhile.
            self.shut(&mut keeper, &format!("/keep/{name}"));
            let mut crowd: Vec<TcpStream> = (0..6).map(|_| self.server.connect()).collect();
            for client in &mut crowd {
                pid(client);
            }
            self.open(name);
            receive(&mut keeper);
            all.push(keeper);
            keeper = crowd.remove(0);
            all.append(&mut crowd);
        }
        all.push(keeper);
        all
    }
}

fn send(client: &mut TcpStream, target: &str) {
    client.write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
}

fn post(client: &mut TcpStream, length: usize) {
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    client.write_all(&[head.as_bytes(), &vec![b'b'; length]].concat()).unwrap();
}

/// The pid that answers.
fn receive(client: &mut TcpStream) -> String {
    let head = String::from_utf8(read_until(client, b"\r\n\r\n")).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let (_, length) = head.split_once("Content-Length: ").unwrap();
    let length = length.split("\r\n").next().unwrap().parse().unwrap();
    String::from_utf8(read_exactly(client, length)).unwrap()
}

fn pid(client: &mut TcpStream) -> String {
    send(client, "/");
    receive(client)
}

fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !is_there() {
        assert!(Instant::now() < patience, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// It reads on, flushes and ends the patience, also of threads that wait for the interpreter.
#[test]
fn a_busy_worker_looks_after_everybody() {
    for kind in ["one thread", "four threads"] {
        let workers = Workers::start(kind);
        let server = &workers.server;
        let mut reader = server.send(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        read_until(&mut reader, b"\r\n\r\n");
        let mut body_of = server.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nbb");
        let mut head = server.send(b"GET / HTTP/1.1\r\nHo");
        // They are in as soon as a later connection has been answered.
        let mut keeper = server.connect();
        let worker = pid(&mut keeper);
        // With several threads, all but one wait for the interpreter.
        workers.shut(&mut keeper, "/keep/gate");
        let mut waiting: Vec<TcpStream> = (0..4).map(|_| server.connect()).collect();
        for client in &mut waiting {
            send(client, "/");
        }
        assert_eq!(read_to_end(&mut reader).len(), BIG, "{kind}");
        body_of.write_all(b"bbbbbbb").unwrap();
        let refusal = read_to_end(&mut head);
        assert!(starts_with(&refusal, "408"), "{kind}: {}", refusal.escape_ascii());
        workers.open("gate");
        for client in waiting.iter_mut().chain([&mut keeper, &mut body_of]) {
            assert_eq!(receive(client), worker, "{kind}");
        }
        // The vacancy is over, for newcomers too.
        assert_eq!(pid(&mut server.connect()), worker, "{kind}");
    }
}

/// A new request stays in the kernel, with a body that could not be handed over had it been read.
#[test]
fn whoever_is_idle_first_serves_who_waits() {
    let workers = Workers::start("two workers");
    let mut clients = workers.connect();
    let [mut first, mut second] = [clients.remove(0), clients.remove(0)];
    workers.shut(&mut first, "/keep/first");
    workers.shut(&mut second, "/keep/second");
    clients.push(workers.server.connect());
    for client in &mut clients {
        post(client, 20_000);
    }
    workers.open("second");
    let idle = receive(&mut second);
    assert!(clients.iter_mut().all(|client| receive(client) == idle));
    workers.open("first");
    assert_ne!(receive(&mut first), idle);
    workers.assert_both_serve(&mut clients);
}

/// Threads have taken requests, and do not get into the interpreter.
#[test]
fn what_no_thread_can_begin_goes_to_a_sibling() {
    let workers = Workers::start("two workers, four threads");
    let mut clients = workers.connect();
    let mut keeper = clients.remove(0);
    workers.shut(&mut keeper, "/keep/gate");
    // A connection to the same worker. Its body is too large to go along, so it stays, and is
    // answered in the end.
    let mut staying = clients.pop().unwrap();
    post(&mut staying, 20_000);
    for (client, length) in clients.iter_mut().zip([0, 1000].into_iter().cycle()) {
        post(client, length);
    }
    let sibling = receive(&mut clients[0]);
    assert!(clients.iter_mut().skip(1).all(|client| receive(client) == sibling));
    workers.open("gate");
    assert_ne!(receive(&mut keeper), sibling);
    receive(&mut staying);
    workers.assert_both_serve(&mut clients);
}

/// The same when it is no request that keeps the only application thread out.
#[test]
fn what_the_only_thread_cannot_begin_goes_to_a_sibling() {
    let workers = Workers::start("two workers");
    let mut clients = workers.connect();
    let mut behind = clients.remove(0);
    workers.shut(&mut behind, "/behind/gate");
    let worker = receive(&mut behind);
    for client in &mut clients {
        send(client, "/");
    }
    assert!(clients.iter_mut().all(|client| receive(client) != worker));
    workers.open("gate");
    workers.assert_both_serve(&mut clients);
}

/// Without a sibling they wait, but not longer than they may.
#[test]
fn what_no_thread_can_begin_is_shed() {
    for count in [1, 3, 6] {
        let workers = Workers::start("four threads, little patience");
        let mut keeper = workers.server.connect();
        let worker = pid(&mut keeper);
        workers.shut(&mut keeper, "/keep/gate");
        let mut clients: Vec<TcpStream> = (0..count).map(|_| workers.server.connect()).collect();
        for client in &mut clients {
            post(client, 20_000);
        }
        for client in &mut clients {
            let head = read_until(client, b"\r\n\r\n");
            assert!(starts_with(&head, "503"), "{count}: {}", head.escape_ascii());
        }
        workers.open("gate");
        assert_eq!(receive(&mut keeper), worker);
        assert_eq!(pid(&mut workers.server.connect()), worker);
    }
}
