//! A new master beside the old one.

use nix::sys::signal::Signal;

use crate::process::Process;
use crate::server::Server;
use crate::wait::eventually;

/// The master that a server starts at `SIGUSR2`, with its workers; dropping it ends them. It is no
/// child of the test's.
///
/// ```no_run
/// use rgunicorn_tests::{Server, Signal, Successor};
///
/// let server = Server::start(&[], "def app(environ, start_response): …");
/// let new = Successor::start(&server, 1);
/// server.signal(Signal::SIGTERM);
/// server.wait_for("Master has been promoted.");
/// new.signal(Signal::SIGTERM);
/// assert_eq!(server.wait().code, Some(0));
/// ```
#[derive(Debug)]
pub struct Successor(Process);

impl Successor {
    /// Has the server start its `count`th successor.
    pub fn start(server: &Server, count: usize) -> Self {
        server.signal(Signal::SIGUSR2);
        let line = server.wait_for_count("A new master is started (pid:", count);
        let (_, pid) = line.rsplit_once("(pid:").unwrap();
        let pid = pid.trim_end_matches(')').parse().unwrap();
        Self(Process::find(pid).unwrap())
    }

    /// The new master.
    pub fn master(&self) -> Process {
        self.0
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.0.signal(signal);
    }

    /// Its living workers.
    pub fn workers(&self) -> Vec<Process> {
        Process::children_of(self.0.pid())
    }

    /// Waits until it is gone.
    pub fn wait_for_end(&self) {
        eventually("the new master's end", || (!self.0.is_alive()).then_some(()));
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        let workers = self.workers();
        self.0.signal(Signal::SIGKILL);
        for worker in workers {
            worker.signal(Signal::SIGKILL);
        }
    }
}
