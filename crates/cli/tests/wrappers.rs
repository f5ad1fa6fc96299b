//! What developers and tools put around a server: terminals, debuggers, Python's own switches,
//! code that comes in before everything else.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "this is how a test fails")]

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use support::{PATIENCE, Server, command, directory};

const HELLO: &str = "def app(environ, start_response):\n    \
        start_response('200 OK', [])\n    \
        return [b'hello']\n";

#[test]
fn ctrl_c_ends_all_processes_once_and_cleanly() {
    let temporary = directory(&[("shop.py", HELLO)]);
    for line in [&["shop:app", "-w", "2"][..], &["shop:app", "--preload"]] {
        // A terminal sends the signal to everyone in the foreground.
        let mut command = command();
        command.process_group(0);
        let mut server = Server::start(temporary.path(), command, line);
        assert_eq!(server.get("/"), "hello");
        server.log.clear();
        killpg(Pid::from_raw(server.pid().try_into().unwrap()), Signal::SIGINT).unwrap();
        let (status, log) = server.wait();
        let log = log.join("\n");
        assert_eq!(status.code(), Some(0), "{log}");
        assert_eq!(log.matches("Handling signal: int").count(), 1, "{log}");
        for trouble in ["Traceback", "KeyboardInterrupt", "ERROR", "WARNING"] {
            assert!(!log.contains(trouble), "{log}");
        }
    }
}

#[test]
fn ctrl_c_ends_a_start_without_a_traceback() {
    // Waits for ever in the import, with the signal module there.
    let temporary = directory(&[(
        "shop.py",
        "import signal, time, sys\nprint('importing', flush=True)\ntime.sleep(3600)\n",
    )]);
    let mut command = command();
    command.args(["shop:app", "--preload"]).current_dir(temporary.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = [0; 9];
    child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(Signal::SIGINT as i32), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// A server whose standard streams, and controlling terminal, are a terminal of ours.
struct Terminal {
    child: Child,
    screen: String,
    seen: usize,
    ours: File,
}

impl Terminal {
    fn start(directory: &Path, line: &[&str]) -> Self {
        let pty = openpty(None, None).unwrap();
        let server = command();
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(server.get_program()).args(line).args(["-b", "127.0.0.1:0"]);
        for (name, value) in server.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let stream = || Stdio::from(pty.slave.try_clone().unwrap());
        command.stdin(stream()).stdout(stream()).stderr(stream());
        // A dumb terminal gets no colours and no escape sequences.
        let child = command.env("TERM", "dumb").current_dir(directory).spawn().unwrap();
        Self { child, screen: String::new(), seen: 0, ours: File::from(pty.master) }
    }

    /// Reads until `text` appears behind what was waited for before.
    fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let new = self.screen.get(self.seen..).unwrap();
            if let Some(position) = new.find(text) {
                let end = self.seen + position + text.len();
                let found = self.screen.get(self.seen..end).unwrap().to_owned();
                self.seen = end;
                return found;
            }
            let mut readable =
                [PollFd::new(std::os::fd::AsFd::as_fd(&self.ours), PollFlags::POLLIN)];
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap();
            assert!(poll(&mut readable, timeout).unwrap() > 0, "no {text:?} in:\n{}", self.screen);
            let mut buffer = [0; 4096];
            let count = self.ours.read(&mut buffer).unwrap_or(0);
            assert!(count > 0, "no {text:?} in:\n{}", self.screen);
            self.screen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    }

    fn write(&mut self, text: &str) {
        self.ours.write_all(text.as_bytes()).unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

const DEBUGGED: &str = "def app(environ, start_response):\n    \
        secret = 'opened'\n    \
        breakpoint()\n    \
        start_response('200 OK', [])\n    \
        return [secret.encode()]\n";

#[test]
fn breakpoint_talks_to_the_terminal() {
    let temporary = directory(&[("shop.py", DEBUGGED)]);
    let mut terminal = Terminal::start(temporary.path(), &["shop:app"]);
    let line = terminal.wait_for("Listening at: http://127.0.0.1:") + &terminal.wait_for(" ");
    let port: u16 = line.rsplit(':').next().unwrap().trim().parse().unwrap();
    let client = std::thread::spawn(move || {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    });
    terminal.wait_for("(Pdb) ");
    terminal.write("secret + '-' + secret\n");
    terminal.wait_for("'opened-opened'");
    terminal.wait_for("(Pdb) ");
    terminal.write("secret = 'changed'\n");
    terminal.wait_for("(Pdb) ");
    terminal.write("continue\n");
    assert!(client.join().unwrap().ends_with("\r\n\r\nchanged"));

    // Ctrl-C, as the terminal understands it.
    terminal.write("\x03");
    terminal.wait_for("Shutting down: Master");
    let status = terminal.child.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{}", terminal.screen);
    assert!(!terminal.screen.contains("Traceback"), "{}", terminal.screen);
}

const FLAGS: &str = "import sys, colorsys\n\
    def app(environ, start_response):\n    \
        start_response('200 OK', [])\n    \
        flags = sys.stdout.write_through, sys.flags.optimize, sys.flags.dev_mode\n    \
        return [repr(flags).encode()]\n";

/// A line of `-X importtime` about what the application imports.
fn is_timed(line: impl AsRef<str>) -> bool {
    let line = line.as_ref();
    line.starts_with("import time:") && line.rsplit('|').next().unwrap().trim() == "colorsys"
}

#[test]
fn pythons_environment_variables_are_honoured() {
    let temporary = directory(&[("shop.py", FLAGS)]);
    for preload in [&["shop:app"][..], &["shop:app", "--preload"]] {
        let server = Server::start(temporary.path(), command(), preload);
        assert_eq!(server.get("/"), "(False, 0, False)");
        drop(server);
        let mut command = command();
        command.envs([
            ("PYTHONUNBUFFERED", "1"),
            ("PYTHONOPTIMIZE", "1"),
            ("PYTHONDEVMODE", "1"),
            ("PYTHONPROFILEIMPORTTIME", "1"),
        ]);
        let server = Server::start(temporary.path(), command, preload);
        assert_eq!(server.get("/"), "(True, 1, True)");
        let (status, log) = server.stop(Signal::SIGTERM);
        assert!(status.success(), "{log:?}");
        assert!(log.iter().any(is_timed), "{log:?}");
    }
}

/// The interpreter beside the console script that `TEST_SERVER` names, if it is one.
fn interpreter() -> Option<PathBuf> {
    let python = PathBuf::from(std::env::var_os("TEST_SERVER")?).with_file_name("python");
    python.exists().then_some(python)
}

#[test]
fn pythons_options_are_honoured() {
    let Some(python) = interpreter() else {
        println!("skipped: only the wheel runs under a python with options");
        return;
    };
    let temporary = directory(&[("shop.py", FLAGS)]);
    let mut command = Command::new(python);
    command.args(["-u", "-O", "-X", "importtime", "-X", "dev", "-m", "rgunicorn", "shop:app"]);
    let server = Server::start(temporary.path(), command, &[]);
    assert_eq!(server.get("/"), "(True, 1, True)");
    let (status, log) = server.stop(Signal::SIGINT);
    assert_eq!(status.code(), Some(0), "{log:?}");
    assert!(log.iter().any(is_timed), "{log:?}");
}

/// As coverage does: traces every call from the first line on, and writes a file at the end of
/// each process. As tracing agents do: replaces what a module will define, when it is imported.
const SITE: &str = "\
import atexit, importlib.abc, importlib.machinery, os, sys

called = set()

def trace(frame, event, argument):
    called.add(frame.f_code.co_name)

def save():
    sys.settrace(None)
    with open(os.path.join(os.environ['TRACES'], str(os.getpid())), 'w') as file:
        file.write(' '.join(sorted(called)))

class Wrapping(importlib.abc.Loader):
    def __init__(self, loader):
        self.loader = loader
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        self.loader.exec_module(module)
        inner = module.app
        def wrapped(environ, start_response):
            return [b'traced '] + inner(environ, start_response)
        module.app = wrapped

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != 'shop':
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        spec.loader = Wrapping(spec.loader)
        return spec

sys.settrace(trace)
atexit.register(save)
sys.meta_path.insert(0, Finder())
";

#[test]
fn code_of_sitecustomize_sees_the_application() {
    let temporary = directory(&[("shop.py", HELLO)]);
    let site = directory(&[("sitecustomize.py", SITE)]);
    for preload in [&["shop:app"][..], &["shop:app", "--preload"]] {
        let traces = tempfile::tempdir().unwrap();
        let mut command = command();
        command.env("PYTHONPATH", site.path()).env("TRACES", traces.path());
        let server = Server::start(temporary.path(), command, preload);
        assert_eq!(server.get("/"), "traced hello", "{preload:?}");
        let [worker] = server.workers()[..] else { panic!("{:?}", server.workers()) };
        let (status, log) = server.stop(Signal::SIGTERM);
        assert!(status.success(), "{log:?}");
        let called = std::fs::read_to_string(traces.path().join(worker.to_string())).unwrap();
        assert!(called.split(' ').any(|name| name == "app"), "{called}");
    }
}
