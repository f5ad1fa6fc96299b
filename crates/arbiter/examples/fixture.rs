//! What `tests/processes.rs` starts and kills: a server that does on demand what servers do by
//! accident.
//!
//! `fixture BIND WORKERS [FILE]`, where the first word of FILE says how a worker boots: `boot` fails,
//! `app` has no application, `panic` panics, `slow` never gets ready, `early` receives SIGTERM before
//! it has handlers of its own, anything else succeeds; the second word, if any, is where to listen
//! after a reload. A client sends one byte: `p` asks for the pid, `h` makes the worker hang, `e` exit
//! with an error, `x` panic, `w` wait for the end of the input before it answers.

#![expect(clippy::panic, reason = "one of the accidents")]

use std::error::Error;
use std::io::{Read, Write};
use std::time::Duration;
use std::{fs, io, process, thread};

use nix::sys::signal::{Signal, raise};
use rgunicorn_arbiter::{
    Arbiter, Connection, Exit, Fork, Forker, HookError, Hooks, Options, ReloadError, SystemForker,
    Worker, WorkerError, WorkerProcess,
};

struct Fixture {
    options: Options,
    file: Option<String>,
}

struct SignallingForker {
    file: Option<String>,
}

struct Announce;

/// Lines on standard error: level, pid, message.
struct Log;

fn main() -> Result<Exit, Box<dyn Error>> {
    static LOG: Log = Log;
    log::set_logger(&LOG)?;
    log::set_max_level(log::LevelFilter::Debug);
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("BIND is missing")?.parse()?;
    let workers = arguments.next().ok_or("WORKERS is missing")?.parse()?;
    let options = Options::new(workers)
        .timeout(Some(Duration::from_secs(1)))
        .graceful_timeout(Duration::from_secs(2));
    let file = arguments.next();
    let worker = Fixture { options: options.clone(), file: file.clone() };
    let arbiter = Arbiter::new(options.bind(address));
    match arbiter.hooks(Announce).forker(SignallingForker { file }).run(worker) {
        Ok(exit) => Ok(exit),
        Err(error) => {
            log::error!("{error}");
            process::exit(error.exit_code().into());
        }
    }
}

fn words(file: Option<&String>) -> Vec<String> {
    let text = file.and_then(|file| fs::read_to_string(file).ok());
    text.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

impl Worker for Fixture {
    fn run(&mut self, mut process: WorkerProcess) -> Result<(), WorkerError> {
        match words(self.file.as_ref()).first().map(String::as_str) {
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
        for connection in process.incoming() {
            serve(&connection?)?;
        }
        Ok(())
    }

    fn reload(&mut self) -> Result<Option<Options>, ReloadError> {
        match words(self.file.as_ref()).get(1).map(|word| word.parse()) {
            Some(Ok(address)) => Ok(Some(self.options.clone().bind(address))),
            Some(Err(error)) => Err(ReloadError::new(error)),
            None => Ok(None),
        }
    }
}

impl Forker for SignallingForker {
    fn fork(&mut self) -> io::Result<Fork> {
        let fork = SystemForker.fork()?;
        let word = words(self.file.as_ref()).into_iter().next();
        if fork == Fork::Child && word.as_deref() == Some("early") {
            raise(Signal::SIGTERM)?;
        }
        Ok(fork)
    }
}

impl Hooks for Announce {
    fn reopen_logs(&mut self) -> Result<(), HookError> {
        log::info!("logs reopened");
        Ok(())
    }
}

fn serve(mut connection: &Connection) -> Result<(), WorkerError> {
    let mut byte = [0];
    if connection.read(&mut byte)? == 0 {
        return Ok(());
    }
    match byte {
        [b'h'] => sleep_for_ever(),
        [b'e'] => return Err(WorkerError::Failed("as asked".into())),
        [b'x'] => panic!("a panic while serving"),
        [b'w'] => {
            log::info!("waiting");
            io::copy(&mut connection, &mut io::sink())?;
        }
        _ => {}
    }
    Ok(connection.write_all(process::id().to_string().as_bytes())?)
}

fn sleep_for_ever() {
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
