//! What `tests/processes` starts and kills: a server that does on demand what servers do by
//! accident.
//!
//! `fixture WORKERS FILE OPTION...`, where an option is an address to listen at, or `NAME=VALUE`.
//!
//! The first word of FILE says how a worker boots: `boot` fails, `app` has no application, `panic`
//! panics, `full` cannot even be forked, `slow` never gets ready, `early` receives SIGTERM before it
//! has handlers of its own, anything else succeeds. Further words are the options after a reload, if
//! there are any.
//!
//! A client sends one byte: `p` asks for the pid, `s` for the process's status, `l` for the number
//! of reloads before it, `o` for an orphan's, `v` for variables of the environment that are meant for
//! arbiters, `f` for the pid of a process that the worker forks; `h` makes the worker hang, `e` exit
//! with an error, `x` panic, `r` ask for a successor, `w` wait for the end of the input before it
//! answers, `m` leave the connection in the mailbox, `c` take one from there and answer both. `n` adds
//! 1 to the worker's word and asks for the sum of all workers'.

#![expect(clippy::panic, reason = "one of the accidents")]

use std::error::Error;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::{fs, io, process, thread};

use nix::errno::Errno;
use nix::sys::signal::{Signal as Number, raise};
use nix::unistd::{Gid, Uid, setgroups, setuid};
use rgunicorn_arbiter::{
    Arbiter, Connection, Exit, ExitStatus, Fork, Forker, Handle, HookError, Hooks, MemoryKind,
    Options, Pid, Program, ReloadError, RetireReason, Signal, SignalMask, Source, SystemForker,
    Worker, WorkerError, WorkerInfo, WorkerProcess,
};

struct Fixture {
    options: Options,
    file: String,
    reloads: u32,
}

struct SignallingForker {
    file: String,
}

struct Announce;

/// Messages are signals, or ask for the workers' number; anything else ends it.
#[derive(Debug)]
struct Remote(UnixDatagram);

/// Lines on standard error: level, pid, message.
struct Log;

fn main() -> Result<Exit, Box<dyn Error + Send + Sync>> {
    static LOG: Log = Log;
    log::set_logger(&LOG)?;
    log::set_max_level(log::LevelFilter::Debug);
    let mut arguments = std::env::args().skip(1);
    let workers = arguments.next().ok_or("WORKERS is missing")?.parse()?;
    let file = arguments.next().ok_or("FILE is missing")?;
    let basic = Options::new(workers)
        .mailbox(true)
        .upgrade(Some(Program::current()?))
        .words_per_worker(1)
        .timeout(Some(Duration::from_secs(1)))
        .graceful_timeout(Duration::from_secs(2));
    let options = arguments.try_fold(basic.clone(), |options, word| with_option(options, &word))?;
    let worker = Fixture { options: basic, file: file.clone(), reloads: 0 };
    // Unique on the machine by the directory, since another may be process 1 of its namespace, too.
    let name = format!("{} {}", std::env::current_dir()?.display(), process::id());
    let remote = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    let arbiter = Arbiter::new(options).hooks(Announce).forker(SignallingForker { file });
    match arbiter.source(Remote(remote)).run(worker) {
        Ok(exit) => Ok(exit),
        Err(error) => {
            let reason = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            log::error!("{error}{reason}");
            process::exit(error.exit_code().into());
        }
    }
}

fn with_option(options: Options, word: &str) -> Result<Options, Box<dyn Error + Send + Sync>> {
    let Some((name, value)) = word.split_once('=') else {
        return Ok(options.bind(word.parse()?));
    };
    Ok(match name {
        "bind_mode" => options.bind_mode(Some(u32::from_str_radix(value, 8)?)),
        "boot_timeout" => options.boot_timeout(Some(Duration::from_secs(value.parse()?))),
        "daemon" => options.daemon(value.parse()?),
        "group" => options.group(Some(value.parse()?)),
        "initgroups" => options.initgroups(value.parse()?),
        "max_worker_lifetime" => {
            options.max_worker_lifetime(Some(Duration::from_secs(value.parse()?)), Duration::ZERO)
        }
        "max_worker_memory" => {
            options.max_worker_memory(Some(value.parse()?), MemoryKind::default())
        }
        "pidfile" => options.pidfile(Some(value.into())),
        "program" => options.upgrade(Some(Program::new(value, ".", []))),
        "reuse_port" => options.reuse_port(value.parse()?),
        "umask" => options.umask(u32::from_str_radix(value, 8)?),
        "user" => options.user(Some(value.parse()?)),
        // Those of the arbiter, as if it had been launched with them.
        "launched_in" => {
            setgroups(&[Gid::from_raw(value.parse()?)])?;
            options
        }
        "launched_by" => {
            setuid(Uid::from_raw(value.parse()?))?;
            options
        }
        _ => return Err(format!("no option {name}").into()),
    })
}

fn words(file: &str) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

impl Worker for Fixture {
    fn run(&mut self, mut process: WorkerProcess) -> Result<(), WorkerError> {
        match words(&self.file).first().map(String::as_str) {
            Some("app") => return Err(WorkerError::AppLoad("no application".into())),
            Some("boot") => return Err(WorkerError::Failed("no boot".into())),
            Some("panic") => panic!("a panic at boot"),
            Some("slow") => {
                log::info!("slow boot");
                sleep_for_ever();
            }
            _ => {}
        }
        process.ready()?;
        loop {
            let next = process.incoming().next();
            let Some(connection) = next else { return Ok(()) };
            self.serve(&connection?, &mut process)?;
        }
    }

    fn reload(&mut self) -> Result<Option<Options>, ReloadError> {
        let options = match words(&self.file).get(1..) {
            None | Some([]) => None,
            Some(words) => {
                let basic = self.options.clone();
                let options = words.iter().try_fold(basic, |all, word| with_option(all, word));
                Some(options.map_err(ReloadError::new)?)
            }
        };
        self.reloads += 1;
        Ok(options)
    }

    fn reload_abandoned(&mut self) {
        self.reloads -= 1;
    }
}

impl Fixture {
    fn serve(
        &self,
        mut connection: &Connection,
        process: &mut WorkerProcess,
    ) -> Result<(), WorkerError> {
        let mut byte = [0];
        if connection.read(&mut byte)? == 0 {
            return Ok(());
        }
        let answer = match byte {
            [b'f'] => fork_child(process)?,
            [b'h'] => sleep_for_ever(),
            [b'e'] => return Err(WorkerError::Failed("as asked".into())),
            [b'x'] => panic!("a panic while serving"),
            [b's'] => fs::read_to_string("/proc/self/status")?,
            [b'l'] => self.reloads.to_string(),
            [b'o'] => orphan()?,
            [b'v'] => protocol_variables(),
            [b'n'] => count(process).to_string(),
            _ => process::id().to_string(),
        };
        let mailbox = process.mailbox().ok_or_else(|| io::Error::other("no mailbox"))?;
        match byte {
            [b'm'] => return Ok(mailbox.send(connection.as_fd(), answer.as_bytes())?),
            [b'c'] => {
                let mut sender = [0; 16];
                if let Some((left, length)) = mailbox.receive(&mut sender)? {
                    let mut left = TcpStream::from(left);
                    left.write_all(sender.get(..length).unwrap_or_default())?;
                    write!(left, " {answer}")?;
                }
            }
            [b'r'] => process.ask_to_retire(RetireReason::MaxRequests)?,
            [b'w'] => {
                log::info!("waiting");
                io::copy(&mut connection, &mut io::sink())?;
            }
            _ => {}
        }
        connection.write_all(answer.as_bytes())?;
        match connection {
            // The child has it as well, and would keep it open.
            Connection::Tcp(stream) if byte == *b"f" => Ok(stream.shutdown(Shutdown::Both)?),
            Connection::Tcp(_) | Connection::Unix(_) => Ok(()),
        }
    }
}

impl AsFd for Remote {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Source for Remote {
    fn ready(&mut self, handle: &mut Handle<'_>) -> io::Result<()> {
        let mut message = [0; 16];
        let length = self.0.recv(&mut message)?;
        match message.get(..length).unwrap_or_default() {
            b"more" => handle.signal(Signal::Ttin),
            b"end" => handle.signal(Signal::Term),
            b"who" => {
                let ready = handle.workers().filter(|worker| worker.is_ready).count();
                let words = handle.workers().flat_map(|worker| worker.words);
                let sum: u64 = words.map(|word| word.load(Ordering::Relaxed)).sum();
                log::info!("{ready} are ready, and counted {sum}");
            }
            _ => return Err(io::Error::other("no such command")),
        }
        Ok(())
    }
}

impl Forker for SignallingForker {
    fn fork(&mut self) -> io::Result<Fork> {
        let word = words(&self.file).into_iter().next();
        if word.as_deref() == Some("full") {
            return Err(io::Error::from_raw_os_error(Errno::EAGAIN as i32));
        }
        let fork = SystemForker.fork()?;
        if fork == Fork::Child && word.as_deref() == Some("early") {
            raise(Number::SIGTERM)?;
        }
        Ok(fork)
    }
}

impl Hooks for Announce {
    fn child_ready(&mut self, worker: &WorkerInfo) -> Result<(), HookError> {
        log::info!("child_ready of {:?} with age {}", worker.pid.map(Pid::as_raw), worker.age);
        Ok(())
    }

    fn child_exit(&mut self, worker: &WorkerInfo, status: ExitStatus) -> Result<(), HookError> {
        let sum: u64 = worker.words.iter().map(|word| word.load(Ordering::Relaxed)).sum();
        match worker.pid {
            Some(pid) if sum > 0 => {
                log::info!("child_exit of {pid} by {status}, which had counted {sum}");
            }
            _ => {}
        }
        Ok(())
    }

    fn on_starting(&mut self) -> Result<(), HookError> {
        log::info!("starting with pid file: {}", Path::new("pid").exists());
        Ok(())
    }

    fn pre_exec(&mut self) -> Result<(), HookError> {
        log::info!("pre_exec");
        Ok(())
    }

    fn promoted(&mut self) -> Result<(), HookError> {
        log::info!("promoted with pid file: {}", Path::new("pid").exists());
        Ok(())
    }

    fn nworkers_changed(&mut self, new: u32, old: Option<u32>) -> Result<(), HookError> {
        log::info!("nworkers_changed from {old:?} to {new}");
        Ok(())
    }

    fn worker_exit(&mut self, worker: &WorkerInfo) -> Result<(), HookError> {
        log::info!("worker_exit of {:?}", worker.pid.map(Pid::as_raw));
        Ok(())
    }

    fn reopen_logs(&mut self) -> Result<(), HookError> {
        log::info!("logs reopened");
        Ok(())
    }

    fn on_exit(&mut self) -> Result<(), HookError> {
        log::info!("ending with pid file: {}", Path::new("pid").exists());
        Ok(())
    }
}

/// A process of the worker's own, which sleeps: its pid.
fn fork_child(worker: &WorkerProcess) -> io::Result<String> {
    let mask = SignalMask::block_all()?;
    match SystemForker.fork()? {
        Fork::Parent { child } => Ok(child.to_string()),
        Fork::Child => {
            worker.detach().here()?;
            worker.heartbeat().beat();
            drop(mask);
            // Longer than any test, then it ends as a worker does that failed.
            thread::sleep(Duration::from_secs(120));
            Err(io::ErrorKind::TimedOut.into())
        }
    }
}

/// One more in this worker's word, and the sum of all of them.
fn count(process: &WorkerProcess) -> u64 {
    let words = process.words();
    for word in words.iter() {
        word.fetch_add(1, Ordering::Relaxed);
    }
    let all = words.all().flat_map(|(_, words)| words);
    all.map(|word| word.load(Ordering::Relaxed)).sum()
}

/// The pid of a process whose parent is dead already, and that ends soon.
fn orphan() -> io::Result<String> {
    let command =
        process::Command::new("sh").args(["-c", "sleep 0.2 >/dev/null & echo $!"]).output()?;
    Ok(String::from_utf8_lossy(&command.stdout).trim().to_owned())
}

/// Names of variables that are meant for arbiters.
fn protocol_variables() -> String {
    let names = std::env::vars().map(|(name, _)| name);
    let protocols = ["GUNICORN_", "LISTEN_", "NOTIFY_", "RGUNICORN_", "WATCHDOG_"];
    names.filter(|name| protocols.iter().any(|start| name.starts_with(start))).collect()
}

fn sleep_for_ever() -> ! {
    loop {
        thread::sleep(Duration::from_secs(60));
    }
}

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = match record.target() {
            "rgunicorn.critical" => "CRITICAL",
            _ => record.level().as_str(),
        };
        let line = format!("{level} {} {}\n", process::id(), record.args());
        let _written = io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}
