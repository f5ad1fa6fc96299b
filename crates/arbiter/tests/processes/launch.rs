//! What a server is started with beyond its options: descriptors and variables.

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::server::{Server, fixture};

#[derive(Default)]
pub(crate) struct Launch {
    descriptors: Vec<(OwnedFd, u8)>,
    environment: Vec<(&'static str, String)>,
    is_activated: bool,
    has_watchdog: bool,
    words: String,
    workers: usize,
}

impl Launch {
    /// One worker.
    pub(crate) fn new() -> Self {
        Self { words: "good".to_owned(), workers: 1, ..Self::default() }
    }

    pub(crate) fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Gives it a copy of this descriptor, under this number of one digit. Two at the most.
    pub(crate) fn descriptor(mut self, descriptor: impl AsFd, number: u8) -> Self {
        self.descriptors.push((descriptor.as_fd().try_clone_to_owned().unwrap(), number));
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// As systemd does it, which alone knows the pid in time.
    pub(crate) fn activated(mut self, count: &str) -> Self {
        self.is_activated = true;
        self.env("LISTEN_FDS", count)
    }

    /// A watchdog for this very process.
    pub(crate) fn watchdog(mut self, microseconds: &str) -> Self {
        self.has_watchdog = true;
        self.env("WATCHDOG_USEC", microseconds)
    }

    /// What its file says.
    pub(crate) fn words(mut self, words: &str) -> Self {
        words.clone_into(&mut self.words);
        self
    }

    /// Starts it in a new directory, through a shell: that gives descriptors their numbers.
    pub(crate) fn start(self, options: &[&str]) -> Server {
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("file"), &self.words).unwrap();
        let numbers = self.descriptors.iter().map(|(_, number)| number).zip(0..);
        let moves: Vec<String> =
            numbers.map(|(number, stream)| format!("{number}<&{stream}")).collect();
        let listen_pid = if self.is_activated { "LISTEN_PID=$$ " } else { "" };
        let watchdog_pid = if self.has_watchdog { "WATCHDOG_PID=$$ " } else { "" };
        let script = format!(
            "exec {} 0</dev/null 1>/dev/null\n{listen_pid}{watchdog_pid}exec \"$@\"",
            moves.join(" ")
        );
        let mut streams =
            self.descriptors.into_iter().map(|(descriptor, _)| Stdio::from(descriptor));
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &script, "sh"])
            .arg(fixture())
            .args([&self.workers.to_string(), "file"])
            .args(options)
            .envs(self.environment)
            .stdin(streams.next().unwrap_or_else(Stdio::null))
            .stdout(streams.next().unwrap_or_else(Stdio::null));
        Server::spawn(command, directory)
    }
}
