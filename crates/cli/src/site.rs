//! What the workers are made of: settings, logs, and an application.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::SystemTime;

use pyo3::prelude::*;
use rgunicorn_arbiter::{Options, ReloadError, Worker, WorkerError, WorkerProcess};
use rgunicorn_workers::{Server, WsgiHandler, detach_forks};
use rgunicorn_wsgi::{App, EnvironOptions, LoadError, Spec, SystemExit};

use crate::environment::Environment;
use crate::load::{Command, Launch, Loaded, enter, load};
use crate::logs::{Logs, SharedLogs};
use crate::settings::{Settings, WorkerClass};
use crate::title::Title;
use crate::{app_logger, embed, python};

/// What clients are told, and applications find in `SERVER_SOFTWARE`.
pub(crate) const SERVER_SOFTWARE: &str = concat!("rgunicorn/", env!("CARGO_PKG_VERSION"));

/// What the workers are made of.
pub(crate) struct Site {
    launch: Launch,
    logs: SharedLogs,
    preloaded: Option<Preloaded>,
    /// What the last reload replaced, until the next one.
    previous: Option<Settings>,
    settings: Settings,
    title: Title,
}

/// An application that was loaded before the workers were forked.
pub(crate) struct Preloaded {
    app: App,
    environment: Environment,
}

impl Site {
    pub(crate) fn new(
        launch: Launch,
        settings: Settings,
        logs: SharedLogs,
        preloaded: Option<Preloaded>,
        title: Title,
    ) -> Self {
        Self { launch, logs, preloaded, previous: None, settings, title }
    }

    fn handler(&mut self, py: Python<'_>) -> Result<WsgiHandler, WorkerError> {
        // The worker is a process of its own, so that nobody else misses what it takes.
        let app = match self.preloaded.take() {
            Some(preloaded) => preloaded.app,
            None => load_app(py, &self.settings).map_err(|error| match error {
                NoApp::Fault(reason) => WorkerError::AppLoad(reason.into()),
                // Whatever its code: a worker that ends in its boot has failed, and why is worth a
                // line. Under gunicorn it is started again and again, without a word.
                NoApp::Exit { traceback, .. } | NoApp::Raised(traceback) => {
                    WorkerError::Failed(traceback.into())
                }
            })?,
        };
        let handler =
            WsgiHandler::new(py, app).map_err(|error| WorkerError::Failed(error.into()))?;
        let is_logged = self.settings.accesslog.is_some();
        let variables = self.settings.access_log_format.environ_variables();
        Ok(handler.log_environ(variables.filter(|_| is_logged)))
    }

    /// Settings and logs for the next workers; the logs change at once, or nothing does.
    fn read_anew(&self) -> Result<Option<Loaded>, ReloadError> {
        let loaded = match load(&self.launch) {
            Ok(Command::Serve(loaded)) => *loaded,
            // The arguments are those of the start, which asked for a server.
            Ok(Command::Print(_)) => return Ok(None),
            Err(failure) => return Err(ReloadError::new(failure.reason())),
        };
        self.logs.replace(Logs::open(&loaded.settings).map_err(ReloadError::new)?);
        Ok(Some(loaded))
    }

    /// Goes back to the directory and the variables of the current settings. What cannot be had
    /// again stays as it is: the old workers serve on.
    fn stand_again(&mut self) {
        if let Err(failure) = enter(&self.settings.chdir) {
            log::error!("{}", failure.reason());
        }
        let variables = self.settings.raw_env.clone();
        if let Err(error) = self.change_environment(&variables) {
            log::error!("{}", chain(&error));
        }
    }

    /// Lays these variables over the environment of the start, for what is preloaded.
    fn change_environment(
        &mut self,
        variables: &[(OsString, OsString)],
    ) -> Result<(), ReloadError> {
        let Some(preloaded) = &mut self.preloaded else {
            return Ok(());
        };
        Python::attach(|py| {
            preloaded.environment.restore(py)?;
            preloaded.environment = Environment::apply(py, variables)?;
            Ok(())
        })
        .map_err(|error: PyErr| ReloadError::new(error))
    }
}

impl Worker for Site {
    fn run(&mut self, process: WorkerProcess) -> Result<(), WorkerError> {
        self.title.show("worker");
        embed::initialize(self.launch.arguments())
            .map_err(|error| WorkerError::Failed(error.into()))?;
        let handler = Python::attach(|py| {
            detach_forks(py, process.detach())
                .and_then(|()| Environment::forget(py))
                .and_then(|()| Environment::apply(py, &self.settings.raw_env))
                .map_err(|error| WorkerError::Failed(error.into()))?;
            self.handler(py)
        })?;
        Server::new(handler, worker_options(&self.settings)).log(self.logs.current()).run(process)
    }

    fn reload(&mut self) -> Result<Option<Options>, ReloadError> {
        // The config file is to see the environment as it was at the start.
        self.change_environment(&[])?;
        let loaded = match self.read_anew() {
            Ok(Some(loaded)) => loaded,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.stand_again();
                return Err(error);
            }
        };
        self.change_environment(&loaded.settings.raw_env)?;
        warn(&loaded);
        if self.preloaded.is_some() {
            log::warn!("preload_app: a reload does not load the application anew, a restart does");
        }
        self.previous = Some(std::mem::replace(&mut self.settings, loaded.settings));
        self.title.rename(&self.settings);
        Ok(Some(arbiter_options(&self.settings, &self.launch)))
    }

    fn reload_abandoned(&mut self) {
        let Some(previous) = self.previous.take() else {
            return;
        };
        self.settings = previous;
        self.title.rename(&self.settings);
        self.stand_again();
        match Logs::open(&self.settings) {
            Ok(logs) => self.logs.replace(logs),
            Err(error) => log::error!("{error}"),
        }
    }
}

impl Preloaded {
    /// Loads the application in the arbiter, as the workers would.
    ///
    /// # Errors
    ///
    /// There is no application.
    pub(crate) fn load(py: Python<'_>, settings: &Settings) -> Result<Self, NoApp> {
        let raised = |error: PyErr| NoApp::Raised(error.to_string());
        let environment = Environment::apply(py, &settings.raw_env).map_err(raised)?;
        let app = load_app(py, settings)?;
        let threads = python::other_threads(py).map_err(raised)?;
        if threads > 0 {
            log::warn!(
                "preload_app: the application has started {threads} threads; workers are \
                        forked without them"
            );
        }
        python::import_late_modules(py);
        python::freeze(py).map_err(raised)?;
        Ok(Self { app, environment })
    }
}

/// Why there is no application, in words for the log.
pub(crate) enum NoApp {
    /// What was asked for is not there, or is no application: gunicorn's exit code 4.
    Fault(String),
    /// A module raised an exception, whose traceback this is: gunicorn's exit code 3.
    Raised(String),
    /// A module raised `SystemExit`.
    Exit { exit: SystemExit, traceback: String },
}

impl From<LoadError> for NoApp {
    fn from(error: LoadError) -> Self {
        let traceback = error.traceback().map(|traceback| traceback.trim_end().to_owned());
        match (error.system_exit(), traceback) {
            (Some(exit), Some(traceback)) => Self::Exit { exit: exit.clone(), traceback },
            (None, Some(traceback)) => Self::Raised(traceback),
            (_, None) => Self::Fault(error.to_string()),
        }
    }
}

/// Loads the application as `settings` say: also the module path is theirs.
pub(crate) fn load_app(py: Python<'_>, settings: &Settings) -> Result<App, NoApp> {
    let spec: Spec = settings.wsgi_app.parse().map_err(|error| NoApp::Fault(chain(&error)))?;
    python::prepare_path(py, settings)
        .and_then(|()| app_logger::install(py, settings.loglevel))
        .map_err(|error| NoApp::Raised(error.to_string()))?;
    let environ = EnvironOptions::default()
        .script_name(script_name()?)
        .server_software(SERVER_SOFTWARE)
        .multiprocess(settings.workers > 1)
        .multithread(settings.worker_class == WorkerClass::Gthread);
    Ok(App::load(py, &spec, environ)?)
}

/// Where the application is mounted: as under gunicorn the variable `SCRIPT_NAME`, from outside or from
/// `raw_env`, which is there by now.
fn script_name() -> Result<String, NoApp> {
    let Some(value) = std::env::var_os("SCRIPT_NAME") else {
        return Ok(String::new());
    };
    match value.into_string() {
        Ok(path) if path.is_empty() || path.starts_with('/') => Ok(path),
        Ok(other) => Err(other.into()),
        Err(other) => Err(other),
    }
    .map_err(|value: OsString| {
        NoApp::Fault(format!(
            "invalid value for the environment variable SCRIPT_NAME: {value:?} (allowed: a path \
             that begins with a slash, such as \"/shop\")"
        ))
    })
}

pub(crate) fn arbiter_options(settings: &Settings, launch: &Launch) -> Options {
    let options = Options::new(settings.workers)
        .timeout(settings.timeout)
        .boot_timeout(settings.boot_timeout)
        .max_worker_lifetime(settings.max_worker_lifetime, settings.max_worker_lifetime_jitter)
        .max_worker_memory(settings.max_worker_memory, settings.max_worker_memory_kind)
        .graceful_timeout(settings.graceful_timeout)
        .backlog(settings.backlog)
        .bind_mode(settings.bind_mode)
        .reuse_port(settings.reuse_port)
        // Absolute: the arbiter may stand elsewhere by the time that it removes the file.
        .pidfile(settings.pidfile.as_ref().map(|path| settings.chdir.join(path)))
        .user(settings.user)
        .group(settings.group)
        .initgroups(settings.initgroups)
        .umask(settings.umask)
        .upgrade(launch.program().cloned())
        .daemon(settings.daemon)
        .scheme("http");
    let options = settings.bind.iter().cloned().fold(options, Options::bind);
    worker_options(settings).acquaint(options)
}

fn worker_options(settings: &Settings) -> rgunicorn_workers::Options {
    let http1 = rgunicorn_http1::Config::new()
        .limit_request_line(settings.limit_request_line)
        .limit_request_fields(settings.limit_request_fields)
        .limit_request_field_size(settings.limit_request_field_size)
        .forwarded_allow_ips(settings.forwarded_allow_ips.peers().clone())
        .secure_scheme_headers(settings.secure_scheme_headers.iter().cloned().collect())
        .server("rgunicorn");
    let mut options = rgunicorn_workers::Options::default();
    options.http1 = Arc::new(http1);
    options.header_timeout = settings.header_timeout;
    options.body_timeout = settings.body_timeout;
    options.write_timeout = settings.write_timeout;
    options.keepalive = settings.keepalive;
    options.limit_request_body = settings.limit_request_body;
    options.log_response_headers =
        settings.accesslog.is_some() && settings.access_log_format.needs_response_headers();
    options.max_requests = max_requests(settings);
    options.queue_timeout = settings.queue_timeout;
    options.request_buffering = settings.request_buffering;
    options.request_timeout = settings.request_timeout;
    options.connections = settings.worker_connections;
    options.threads = match settings.worker_class {
        WorkerClass::Gthread => NonZeroUsize::new(settings.threads as usize),
        WorkerClass::Sync => None,
    };
    options
}

/// A number of this worker's own, so that not all are replaced at once.
fn max_requests(settings: &Settings) -> Option<u64> {
    // Seeded here: state from before the fork would be the same in every worker.
    let mut seed = DefaultHasher::new();
    (std::process::id(), SystemTime::now()).hash(&mut seed);
    let jitter = fastrand::Rng::with_seed(seed.finish()).u64(0..=settings.max_requests_jitter);
    (settings.max_requests > 0).then(|| settings.max_requests + jitter)
}

/// Tells the operator what is worth a look in the settings.
pub(crate) fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
