//! A server process, and clients that speak to it in bytes.
//!
//! The server is this test binary, started once more as a process of its own: an arbiter forks,
//! and a process that runs tests has threads.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rgunicorn_arbiter::{Arbiter, HookError, Hooks, Listener};
use rgunicorn_workers::{Handler, Server};

/// Tells the test where to connect.
struct Announce;

impl Hooks for Announce {
    fn when_ready(&mut self, listeners: &[Listener]) -> Result<(), HookError> {
        println!("listening at {}", listeners[0].address());
        Ok(())
    }
}

/// What a test says to the server that it starts; `None` in the tests themselves.
pub(crate) fn wish() -> Option<String> {
    std::env::var(WISH).ok()
}

/// The life of the server process, arbiter and workers.
pub(crate) fn serve(options: rgunicorn_arbiter::Options, server: Server<impl Handler>) -> ! {
    let options = options.bind("127.0.0.1:0".parse().unwrap());
    let exit = Arbiter::new(options).hooks(Announce).run(server).unwrap();
    #[expect(clippy::exit, reason = "in the worker, the harness must not go on")]
    std::process::exit(i32::from(exit.code()));
}

pub(crate) struct TestServer {
    pub(crate) arbiter: Child,
    address: SocketAddr,
}

impl TestServer {
    /// Starts the server that is the test of this name.
    pub(crate) fn spawn(process: &str, wish: &str) -> Self {
        let mut arbiter = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", process, "--nocapture"])
            .env(WISH, wish)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(arbiter.stdout.take().unwrap()).lines();
        let address = lines
            .map(Result::unwrap)
            .find_map(|line| Some(line.split_once("listening at ")?.1.parse().unwrap()))
            .unwrap();
        Self { arbiter, address }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    pub(crate) fn send(&self, request: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        stream
    }

    /// A whole exchange on a connection of its own.
    pub(crate) fn ask(&self, request: &[u8]) -> Vec<u8> {
        read_to_end(&mut self.send(request))
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.arbiter.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if self.arbiter.try_wait().unwrap().is_none() {
            self.signal("QUIT");
            self.arbiter.wait().unwrap();
        }
    }
}

pub(crate) fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

pub(crate) fn read_exactly(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

pub(crate) fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while !all.ends_with(end) {
        all.extend(read_exactly(stream, 1));
    }
    all
}

pub(crate) fn body(response: &[u8]) -> &[u8] {
    let end = response.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    &response[end + 4..]
}

pub(crate) fn starts_with(response: &[u8], status: &str) -> bool {
    response.starts_with(format!("HTTP/1.1 {status}").as_bytes())
}

/// The variable that makes a process of this binary a server.
const WISH: &str = "RGUNICORN_TEST_SERVER";
