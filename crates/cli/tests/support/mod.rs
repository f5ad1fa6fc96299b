//! A server in a temporary directory: the binary of this package, or what `TEST_SERVER` names.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![expect(clippy::panic, clippy::unwrap_used, reason = "this is how a test fails")]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// No step takes this long; a test that waits longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The command without arguments, in a clean environment.
pub fn command() -> Command {
    let server = std::env::var_os("TEST_SERVER");
    let mut command =
        Command::new(server.as_deref().unwrap_or(OsStr::new(env!("CARGO_BIN_EXE_rgunicorn"))));
    for variable in ["GUNICORN_CMD_ARGS", "PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"] {
        command.env_remove(variable);
    }
    // Nor Python's own switches.
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PYTHON") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// A directory with these files.
pub fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

/// Runs the command to its end: status, standard output, standard error.
pub fn run(directory: &Path, command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.current_dir(directory).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    child: Child,
    lines: Receiver<String>,
    /// What was read of the error log so far.
    pub log: Vec<String>,
}

impl Server {
    /// Starts `command` with the arguments and a free port, and waits until it has workers.
    pub fn start(directory: &Path, mut command: Command, arguments: &[&str]) -> Self {
        command.args(["--bind", "127.0.0.1:0"]).args(arguments).current_dir(directory);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let address = ([127, 0, 0, 1], 0).into();
        let mut server = Self { address, child, lines, log: Vec::new() };
        let line = server.wait_for("Listening at: http://");
        let address = line.split("http://").nth(1).and_then(|rest| rest.split([' ', ',']).next());
        server.address = address.unwrap().parse().unwrap();
        server.wait_for("Booting worker with pid");
        server
    }

    /// The next line of the error log with `text` in it.
    pub fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no {text:?} in the log:\n{}", self.log.join("\n"));
            };
            self.log.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The arbiter's pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The workers' pids.
    pub fn workers(&self) -> Vec<u32> {
        let pid = self.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Waits until none of these workers is left.
    pub fn wait_for_end_of(&self, workers: &[u32]) {
        let deadline = Instant::now() + PATIENCE;
        while self.workers().iter().any(|worker| workers.contains(worker)) {
            assert!(Instant::now() < deadline, "some of {workers:?} are left");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The body of the response to `GET target`, on a connection of its own.
    pub fn get(&self, target: &str) -> String {
        let response = self.send(&format!("GET {target} HTTP/1.0\r\n\r\n"));
        response.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Whatever comes back for these bytes, until the server closes.
    pub fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
        String::from_utf8_lossy(&response).into_owned()
    }

    /// Sends a signal to the arbiter.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), signal).unwrap();
    }

    /// Stops the server and returns its status and the whole log.
    pub fn stop(self, signal: Signal) -> (ExitStatus, Vec<String>) {
        self.signal(signal);
        self.wait()
    }

    /// Waits for the end of the server; returns its status and the whole log.
    pub fn wait(mut self) -> (ExitStatus, Vec<String>) {
        let deadline = Instant::now() + PATIENCE;
        // The log ends with the last process that holds it.
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.log.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("runs on:\n{}", self.log.join("\n")),
            }
        }
        let status = self.child.wait().unwrap();
        (status, std::mem::take(&mut self.log))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // The workers notice their arbiter's death.
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}
