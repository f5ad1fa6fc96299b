//! A running server.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::client::{Client, Response};
use crate::launch::Launch;
use crate::output::Output;
use crate::process::Process;
use crate::wait::eventually;

/// A server process with all that it starts; dropping it ends them.
///
/// ```no_run
/// use rgunicorn_tests::{Server, Signal};
///
/// let server = Server::start(&[], "def app(environ, start_response): …");
/// server.wait_for("Booting worker with pid");
/// assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
/// ```
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// `None` until it is known, and for a server on a Unix socket only.
    address: Option<SocketAddr>,
    directory: TempDir,
    stdout: Output,
    stderr: Output,
}

/// What a process left behind.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finished {
    /// The exit code; `None` after death by a signal.
    pub code: Option<i32>,
    /// All that it wrote to standard output.
    pub stdout: String,
    /// All that it wrote to standard error.
    pub stderr: String,
}

impl Finished {
    /// The text after `Error: `, with which gunicorn ends over a setting it cannot use.
    pub fn error(&self) -> &str {
        match self.stderr.split_once("\nError: ") {
            Some((_, error)) => error.trim_end(),
            None => panic!("no error: {self:?}"),
        }
    }
}

impl Server {
    /// Starts a server with these arguments and this `app.py`, and waits until it listens.
    pub fn start(arguments: &[&str], source: &str) -> Self {
        Launch::new(source).args(arguments).start()
    }

    pub(crate) fn spawn(mut command: Command, directory: TempDir) -> Self {
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = child.stdout.take().expect("standard output is piped");
        let stderr = child.stderr.take().expect("standard error is piped");
        Self {
            child,
            address: None,
            directory,
            stdout: Output::collect(stdout),
            stderr: Output::collect(stderr),
        }
    }

    /// Waits for the address, which gunicorn announces once it listens. From then on connections
    /// are taken by the kernel, though the first worker may still be on its way.
    pub(crate) fn until_listening(mut self) -> Self {
        let line = self.wait_for("Listening at: ");
        let (_, addresses) = line.split_once("Listening at: ").unwrap();
        self.address = addresses
            .split([',', ' '])
            .find_map(|address| address.strip_prefix("http://")?.parse().ok());
        self
    }

    /// The first TCP address where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("the server listens on TCP")
    }

    /// The directory where it runs.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Replaces `app.py`; workers that start from now on load it.
    pub fn replace_app(&self, source: &str) {
        // Renamed into place: a worker that is just starting sees the old file or the new one.
        let (written, path) = (self.path("app.py.new"), self.path("app.py"));
        fs::write(&written, source).unwrap();
        fs::rename(written, path).unwrap();
    }

    /// A file of its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// The master.
    pub fn master(&self) -> Process {
        let pid = i32::try_from(self.child.id()).expect("a pid is an i32");
        Process::find(pid).expect("the master runs")
    }

    /// The living workers, oldest first.
    pub fn workers(&self) -> Vec<Process> {
        Process::children_of(self.master().pid())
    }

    /// Waits until there are exactly so many workers.
    pub fn wait_for_workers(&self, count: usize) -> Vec<Process> {
        eventually(&format!("{count} workers"), || {
            Some(self.workers()).filter(|workers| workers.len() == count)
        })
    }

    /// Opens a connection.
    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// Asks once, on a connection of its own.
    pub fn get(&self, target: &str) -> Response {
        self.connect().get(target)
    }

    /// Sends bytes on a connection of its own and returns all that comes until the server closes.
    pub fn exchange(&self, request: impl AsRef<[u8]>) -> Vec<u8> {
        let mut client = self.connect();
        client.send(request);
        client.read_to_end()
    }

    /// Sends the master a signal.
    pub fn signal(&self, signal: Signal) {
        self.master().signal(signal);
    }

    /// Waits for a line of standard error that holds `needle`, and returns it.
    pub fn wait_for(&self, needle: &str) -> String {
        self.stderr.wait_for(needle, 1)
    }

    /// Waits until so many lines of standard error hold `needle`, and returns the last of them.
    pub fn wait_for_count(&self, needle: &str, count: usize) -> String {
        self.stderr.wait_for(needle, count)
    }

    /// Waits for a line of standard output that holds `needle`, and returns it.
    pub fn wait_for_stdout(&self, needle: &str) -> String {
        self.stdout.wait_for(needle, 1)
    }

    /// The lines of standard error so far.
    pub fn log(&self) -> Vec<String> {
        self.stderr.lines()
    }

    /// Sends a signal and waits until the server and every process that it started are gone.
    pub fn stop(self, signal: Signal) -> Finished {
        self.signal(signal);
        self.wait()
    }

    /// Waits until the server and every process that it started are gone.
    pub fn wait(mut self) -> Finished {
        let status = self.wait_for_master();
        Finished {
            code: status.code(),
            stdout: join(&self.stdout.wait_for_end()),
            stderr: join(&self.stderr.wait_for_end()),
        }
    }

    fn wait_for_master(&mut self) -> ExitStatus {
        eventually("the master's end", || self.child.try_wait().expect("a child can be waited for"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let running = matches!(self.child.try_wait(), Ok(None));
        if std::thread::panicking() {
            let log = self.stderr.lines().join("\n");
            eprint_log(&log);
        }
        if !running {
            return;
        }
        // A stopped master cannot fork behind the back of the list that is now made.
        let master = self.master();
        master.signal(Signal::SIGSTOP);
        let workers = Process::children_of(master.pid());
        master.signal(Signal::SIGKILL);
        for worker in workers {
            worker.signal(Signal::SIGKILL);
        }
        drop(self.child.wait());
    }
}

#[expect(clippy::print_stderr, reason = "the log of a failed test is its explanation")]
fn eprint_log(log: &str) {
    eprintln!("--- the server's standard error:\n{log}\n---");
}

fn join(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}
