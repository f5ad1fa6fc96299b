//! The example `fixture` as a process: started, watched by its log, and never left behind.

use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine; reached only by a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    child: Child,
    lines: Receiver<String>,
    /// What was read so far.
    log: Vec<String>,
    /// How much of `log` was already waited for.
    seen: usize,
    pub(crate) directory: TempDir,
}

impl Server {
    /// Starts it and waits until all workers are about to boot: who answers has, and others may be
    /// on their way still.
    pub(crate) fn start(workers: usize) -> Self {
        let mut server = Self::launch("127.0.0.1:0", workers, "good");
        server.wait_for("Listening at");
        for _ in 0..workers {
            server.wait_for("Booting worker");
        }
        server.wait_for(&format!("{workers} workers"));
        server
    }

    /// Starts it and waits until the arbiter knows that all workers serve.
    pub(crate) fn settled(workers: usize) -> Self {
        let mut server = Self::start(workers);
        for _ in 0..workers {
            server.wait_for("child_ready of ");
        }
        server
    }

    /// Starts it, with this in its file.
    pub(crate) fn launch(bind: &str, workers: usize, words: &str) -> Self {
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("file"), words).unwrap();
        Self::launch_in(directory, workers, &[bind])
    }

    /// Starts it with one worker and these options, one of which is an address.
    pub(crate) fn with_options(options: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("file"), "good").unwrap();
        Self::launch_in(directory, 1, options)
    }

    /// Starts it with one worker, that of the pid, which serves; beside an address with these options.
    pub(crate) fn serving(options: &[&str]) -> (Self, Pid) {
        let mut server = Self::with_options(&[&["127.0.0.1:0"], options].concat());
        server.wait_for("Listening at");
        server.wait_for("Booting worker");
        server.wait_for("1 workers");
        let worker = server.ask();
        (server, worker)
    }

    /// Starts it in a directory with a file.
    pub(crate) fn launch_in(directory: TempDir, workers: usize, options: &[&str]) -> Self {
        let mut command = Command::new(fixture());
        command.args([&workers.to_string(), "file"]).args(options);
        Self::spawn(command, directory)
    }

    pub(crate) fn spawn(mut command: Command, directory: TempDir) -> Self {
        command.current_dir(directory.path()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines, log: Vec::new(), seen: 0, directory }
    }

    pub(crate) fn write_file(&self, words: &str) {
        // Whole or not at all, as a worker may read it right now.
        let file = self.path("file");
        std::fs::write(file.with_extension("new"), words).unwrap();
        std::fs::rename(file.with_extension("new"), file).unwrap();
    }

    /// Has it read this from its file.
    pub(crate) fn reload(&self, words: &str) {
        self.write_file(words);
        self.signal(Signal::SIGHUP);
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// The next line after those that were waited for that holds `text`; what it skips can be
    /// waited for still, since processes log in no order.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut next = self.seen;
        loop {
            if next == self.log.len() {
                match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                    Ok(line) => self.log.push(line),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                        panic!("no line with {text:?} after {} lines", self.seen)
                    }
                }
            }
            if self.log[next].contains(text) {
                // Moved to what was seen.
                let line = self.log.remove(next);
                self.log.insert(self.seen, line.clone());
                self.seen += 1;
                return line;
            }
            next += 1;
        }
    }

    /// Waits for this line of this process.
    pub(crate) fn wait_for_pid(&mut self, pid: Pid, text: &str) -> String {
        self.wait_for(&format!(" {pid} {text}"))
    }

    /// Everything that was and will be logged, when all processes have ended.
    pub(crate) fn all_lines(&mut self) -> Vec<String> {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.log.push(line);
        }
        self.log.clone()
    }

    /// The address of the latest `Listening at`.
    pub(crate) fn address(&self) -> String {
        let line = self.log.iter().rfind(|line| line.contains("Listening at")).unwrap();
        let address = line.split_once("http://").unwrap().1;
        address.split([',', ' ']).next().unwrap().to_owned()
    }

    pub(crate) fn connect(&self, byte: u8) -> TcpStream {
        connect(&self.address(), byte)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The pid of a worker that answers.
    pub(crate) fn ask(&self) -> Pid {
        answer(self.connect(b'p'))
    }

    /// The pid of a worker that answers, at the address that is yet to be announced.
    pub(crate) fn ask_when_listening(&mut self) -> Pid {
        self.wait_for("Listening at");
        self.ask()
    }

    /// What was logged so far, as far as it was waited for.
    pub(crate) fn log(&self) -> &[String] {
        &self.log
    }

    /// The largest number of processes that the arbiter has told of, in what was logged so far.
    pub(crate) fn most_workers(&self) -> Option<usize> {
        let numbers = self.log.iter().filter_map(|line| {
            let number = line.strip_suffix(" workers")?.rsplit_once(' ')?.1;
            number.parse().ok()
        });
        numbers.max()
    }

    pub(crate) fn code(&mut self) -> Option<i32> {
        self.status().code()
    }

    /// Waits for the end.
    pub(crate) fn status(&mut self) -> ExitStatus {
        wait_until("the arbiter ended", || self.child.try_wait().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its workers notice and end.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
        if thread::panicking() {
            self.log.extend(self.lines.try_iter());
            eprintln!("--- the log:\n{}\n---", self.log.join("\n"));
        }
    }
}

pub(crate) fn connect(address: &str, byte: u8) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&[byte]).unwrap();
    stream
}

/// Ends the request and reads the pid in the answer.
pub(crate) fn answer(stream: TcpStream) -> Pid {
    Pid::from_raw(text(stream).parse().unwrap())
}

/// Ends the request and reads the answer.
pub(crate) fn text(mut stream: TcpStream) -> String {
    stream.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

pub(crate) fn wait_until<T: Debug>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(value) = condition() {
            return value;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("not in time: {what}");
}

/// Cargo builds the examples with the tests, into a directory beside theirs.
pub(crate) fn fixture() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples/fixture");
    assert!(path.exists(), "{} is missing: run `cargo build --examples`", path.display());
    path
}
