//! What a server is started with.

use std::ffi::OsString;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::program::program;
use crate::server::{Finished, Server};

/// A server to be: its directory, application, arguments and environment.
///
/// ```no_run
/// use rgunicorn_tests::Launch;
///
/// let server = Launch::new("def app(environ, start_response): …")
///     .file("gunicorn.conf.py", "workers = 2\n")
///     .env("WEB_CONCURRENCY", "3")
///     .args(&["--log-level", "debug"])
///     .start();
/// ```
#[derive(Debug)]
pub struct Launch {
    directory: TempDir,
    /// `None`: the server that is tested.
    program: Option<PathBuf>,
    binds: Vec<String>,
    target: Option<String>,
    arguments: Vec<String>,
    environment: Vec<(&'static str, OsString)>,
    descriptor: Option<OwnedFd>,
}

impl Launch {
    /// A fresh directory whose `app.py` has this source; by default `app:app` is served on a port
    /// that the kernel chooses.
    pub fn new(source: &str) -> Self {
        let launch = Self {
            directory: TempDir::with_prefix("rgunicorn-").expect("a temporary directory"),
            program: None,
            binds: vec!["127.0.0.1:0".to_owned()],
            target: Some("app:app".to_owned()),
            arguments: Vec::new(),
            environment: Vec::new(),
            descriptor: None,
        };
        launch.file("app.py", source)
    }

    /// Starts this program instead of the tested server, one to compare it with.
    #[must_use]
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = Some(path.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Binds here instead; no addresses leave it to the server's other sources.
    #[must_use]
    pub fn bind(mut self, addresses: &[&str]) -> Self {
        self.binds = addresses.iter().map(|&address| address.into()).collect();
        self
    }

    /// Serves this instead of `app:app`; `None` gives no application on the command line.
    #[must_use]
    pub fn app(mut self, target: impl Into<Option<&'static str>>) -> Self {
        self.target = target.into().map(str::to_owned);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Starts the server with this as descriptor 3, and with `LISTEN_PID` as systemd sets it.
    #[must_use]
    pub fn descriptor(mut self, descriptor: impl Into<OwnedFd>) -> Self {
        self.descriptor = Some(descriptor.into());
        self
    }

    /// Writes a file into the directory where the server will run.
    #[must_use]
    pub fn file(self, name: &str, content: &str) -> Self {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a file lies in a directory")).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// The directory where the server will run.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts the server and waits until it listens.
    pub fn start(self) -> Server {
        let (command, directory) = self.into_command();
        Server::spawn(command, directory).until_listening()
    }

    /// Starts the server and returns at once, for a start that is meant to fail or to be watched.
    pub fn spawn(self) -> Server {
        let (command, directory) = self.into_command();
        Server::spawn(command, directory)
    }

    /// Runs the program to its end.
    pub fn run(self) -> Finished {
        self.spawn().wait()
    }

    fn into_command(self) -> (Command, TempDir) {
        let program = self.program.as_deref().unwrap_or_else(|| program());
        let mut command = Command::new(program);
        if self.descriptor.is_some() {
            // Only a shell that becomes the server knows its pid beforehand.
            let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ exec \"$@\"";
            command = Command::new("/bin/sh");
            command.args(["-c", script, "sh"]).arg(program);
        }
        command.current_dir(self.directory.path());
        for address in &self.binds {
            command.args(["--bind", address]);
        }
        command.args(&self.arguments).args(&self.target);
        // What the tester's shell happens to hold must not decide a test.
        for name in AMBIENT {
            command.env_remove(name);
        }
        // A test may replace app.py twice within a second and at the same length, which a cached
        // app.pyc would not notice.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.envs(self.environment);
        command.stdin(self.descriptor.map_or_else(Stdio::null, Stdio::from));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        (command, self.directory)
    }
}

/// Variables that the server or its Python would obey.
const AMBIENT: [&str; 9] = [
    "FORWARDED_ALLOW_IPS",
    "GUNICORN_CMD_ARGS",
    "PORT",
    "PYTHONPATH",
    "PYTHONUNBUFFERED",
    "SCRIPT_NAME",
    "SENDFILE",
    "VIRTUAL_ENV",
    "WEB_CONCURRENCY",
];
