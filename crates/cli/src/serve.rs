//! Composition: what the settings ask for, made of the crates.

use std::ffi::OsString;
use std::io::{self, Write};
use std::sync::Arc;

use pyo3::prelude::*;
use rgunicorn_arbiter::{
    Arbiter, Fork, Forker, HookError, Hooks, Listener, Options, ReloadError, SystemForker, Worker,
    WorkerError, WorkerProcess,
};
use rgunicorn_workers::{PythonForker, Record, RequestLog, Server, WsgiHandler};
use rgunicorn_wsgi::{App, EnvironOptions, LoadError, Spec};

use crate::access_log::AccessLog;
use crate::load::{Command, Failure, Launch, Loaded, load};
use crate::logging::{self, Logger};
use crate::settings::{Settings, listing};
use crate::{embed, python};

/// What clients are told, and applications find in `SERVER_SOFTWARE`.
const SERVER_SOFTWARE: &str = concat!("rgunicorn/", env!("CARGO_PKG_VERSION"));

/// Runs the command. Returns in the arbiter and in each of its workers, with the status that the
/// process is to end with.
///
/// # Errors
/// The program cannot start.
pub(crate) fn run(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let launch = Launch::new(arguments)
        .map_err(|error| Failure::error(&format!("the current directory is gone: {error}")))?;
    let loaded = match load(&launch)? {
        Command::Print(text) => return print(&text).map(|()| 0),
        Command::Serve(loaded) => *loaded,
    };
    if loaded.settings.print_config {
        print(&listing(&loaded.settings))?;
    }
    if loaded.settings.check_config || loaded.settings.print_config {
        return check_config(&launch, &loaded.settings);
    }
    supervise(launch, loaded)
}

fn print(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{}", text.trim_end())
        .map_err(|error| Failure::error(&format!("cannot print: {error}")))
}

/// `--check-config`: everything that a start would do, but for the start.
fn check_config(launch: &Launch, settings: &Settings) -> Result<u8, Failure> {
    embed::initialize(launch.arguments())?;
    match Python::attach(|py| load_app(py, settings)) {
        Ok(_) => Ok(0),
        Err(NoApp::Fault(reason) | NoApp::Raised(reason)) => {
            let message = format!("\nError while loading the application:\n\n{reason}");
            Err(Failure { message, exit_code: 1 })
        }
    }
}

fn supervise(launch: Launch, loaded: Loaded) -> Result<u8, Failure> {
    let logs = Logs::open(&loaded.settings)?;
    if embed::is_initialized() {
        // Whoever asks for SIGINT after Python would have Python's handler run as well, and
        // KeyboardInterrupt rise in the midst of an application.
        Python::attach(python::release_interrupt)
            .map_err(|error| Failure::error(&error.to_string()))?;
    }
    let options = arbiter_options(&loaded.settings);
    let observer = Observer { logs: logs.clone(), loaded: loaded.clone() };
    let site = Site { launch, logs, settings: loaded.settings };
    let arbiter = Arbiter::new(options).hooks(observer).forker(SiteForker);
    match arbiter.run(site) {
        Ok(exit) => Ok(exit.code()),
        Err(error) if error.is_logged() => Ok(error.exit_code()),
        Err(error) => Err(Failure::error(&chain(&error))),
    }
}

fn arbiter_options(settings: &Settings) -> Options {
    let options = Options::new(settings.workers)
        .timeout(settings.timeout)
        .graceful_timeout(settings.graceful_timeout)
        .backlog(settings.backlog)
        .scheme("http");
    settings.bind.iter().cloned().fold(options, Options::bind)
}

fn worker_options(settings: &Settings) -> rgunicorn_workers::Options {
    let http1 = rgunicorn_http1::Config::new()
        .limit_request_line(settings.limit_request_line)
        .limit_request_fields(settings.limit_request_fields)
        .limit_request_field_size(settings.limit_request_field_size)
        .server("rgunicorn");
    let mut options = rgunicorn_workers::Options::default();
    options.http1 = Arc::new(http1);
    options.header_timeout = settings.header_timeout;
    options.body_timeout = settings.body_timeout;
    options.write_timeout = settings.write_timeout;
    options.keepalive = settings.keepalive;
    options.limit_request_body = settings.limit_request_body;
    options
}

/// Why there is no application, in words for the log.
enum NoApp {
    /// What was asked for is not there, or is no application: gunicorn's exit code 4.
    Fault(String),
    /// A module raised an exception, whose traceback this is: gunicorn's exit code 3.
    Raised(String),
}

impl From<LoadError> for NoApp {
    fn from(error: LoadError) -> Self {
        match error.traceback() {
            Some(traceback) => Self::Raised(traceback.trim_end().to_owned()),
            None => Self::Fault(error.to_string()),
        }
    }
}

/// Loads the application as `settings` say: also the module path is theirs.
fn load_app(py: Python<'_>, settings: &Settings) -> Result<App, NoApp> {
    let spec: Spec = settings.wsgi_app.parse().map_err(|error| NoApp::Fault(chain(&error)))?;
    python::prepare_path(py, settings).map_err(|error| NoApp::Raised(error.to_string()))?;
    let environ = EnvironOptions::default()
        .server_software(SERVER_SOFTWARE)
        .multiprocess(settings.workers > 1);
    Ok(App::load(py, &spec, environ)?)
}

/// What the workers are made of.
struct Site {
    launch: Launch,
    logs: Logs,
    settings: Settings,
}

impl Worker for Site {
    fn run(&mut self, process: WorkerProcess) -> Result<(), WorkerError> {
        embed::initialize(self.launch.arguments())
            .map_err(|error| WorkerError::Failed(error.into()))?;
        let handler = Python::attach(|py| self.handler(py))?;
        Server::new(handler, worker_options(&self.settings)).log(self.logs.clone()).run(process)
    }

    fn reload(&mut self) -> Result<Option<Options>, ReloadError> {
        let loaded = match load(&self.launch) {
            Ok(Command::Serve(loaded)) => *loaded,
            // The arguments are those of the start, which asked for a server.
            Ok(Command::Print(_)) => return Ok(None),
            Err(failure) => return Err(ReloadError::new(failure.reason().to_owned())),
        };
        self.logs = Logs::open(&loaded.settings).map_err(ReloadError::new)?;
        warn(&loaded);
        self.settings = loaded.settings;
        Ok(Some(arbiter_options(&self.settings)))
    }
}

impl Site {
    fn handler(&self, py: Python<'_>) -> Result<WsgiHandler, WorkerError> {
        let app = load_app(py, &self.settings).map_err(|error| match error {
            NoApp::Fault(reason) => WorkerError::AppLoad(reason.into()),
            NoApp::Raised(traceback) => WorkerError::Failed(traceback.into()),
        })?;
        WsgiHandler::new(py, app).map_err(|error| WorkerError::Failed(error.into()))
    }
}

/// Both logs: what `SIGUSR1` reopens.
#[derive(Clone, Debug)]
struct Logs {
    access: Option<AccessLog>,
    error: &'static Logger,
}

impl Logs {
    fn open(settings: &Settings) -> Result<Self, logging::LogFileError> {
        Ok(Self { error: logging::init(settings)?, access: AccessLog::open(settings)? })
    }
}

impl RequestLog for Logs {
    fn request_done(&self, record: &Record<'_>) {
        if let Some(access) = &self.access {
            access.request_done(record);
        }
    }

    fn reopen(&self) {
        let access = self.access.as_ref().map_or(Ok(()), AccessLog::reopen);
        for result in [self.error.reopen(), access] {
            if let Err(error) = result {
                log::error!("{error}");
            }
        }
    }
}

/// The lines that gunicorn logs around the arbiter's own.
struct Observer {
    logs: Logs,
    loaded: Loaded,
}

impl Hooks for Observer {
    fn on_starting(&mut self) -> Result<(), HookError> {
        log::info!("Starting rgunicorn {}", env!("CARGO_PKG_VERSION"));
        warn(&self.loaded);
        Ok(())
    }

    fn when_ready(&mut self, _listeners: &[Listener]) -> Result<(), HookError> {
        log::info!("Using worker: {}", self.loaded.settings.worker_class);
        Ok(())
    }

    fn reopen_logs(&mut self) -> Result<(), HookError> {
        self.logs.reopen();
        Ok(())
    }
}

fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
}

/// Forks as it must: a config file may have started Python in the arbiter, at the start or at a
/// reload. Without, each worker starts its own, and the arbiter stays small.
struct SiteForker;

impl Forker for SiteForker {
    fn fork(&mut self) -> io::Result<Fork> {
        if embed::is_initialized() { PythonForker::default().fork() } else { SystemForker.fork() }
    }
}

/// An error with its causes, on one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
