//! Composition: what the settings ask for, made of the crates.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process;

use pyo3::Python;
use rgunicorn_arbiter::{
    Arbiter, Daemon, ExitStatus, Fork, Forker, HookError, Hooks, Listener, Moment, Program,
    SystemForker, WorkerInfo,
};
use rgunicorn_workers::{PythonForker, RequestLog, Scoreboard};

use crate::environment::Environment;
use crate::library::Library;
use crate::load::{Command, Failure, Launch, Loaded, load};
use crate::logs::{Logs, SharedLogs};
use crate::settings::{Settings, listing};
use crate::site::{NoApp, Preloaded, Site, arbiter_options, chain, load_app, warn};
use crate::title::Title;
use crate::{embed, python};

/// Runs the command. Returns in the arbiter and in each of its workers, with the status that the
/// process is to end with.
///
/// # Errors
/// The program cannot start.
pub(crate) fn run(arguments: Vec<OsString>, program: io::Result<Program>) -> Result<u8, Failure> {
    release_interrupt()?;
    let gone = |error| Failure::error(&format!("the current directory is gone: {error}"));
    let launch = Launch::new(arguments).map_err(gone)?.with_program(program.map_err(gone)?);
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
    let loaded = Python::attach(|py| {
        Environment::apply(py, &settings.raw_env)
            .map_err(|error| NoApp::Raised(error.to_string()))?;
        load_app(py, settings)
    });
    match loaded {
        Ok(_) => Ok(0),
        Err(NoApp::Exit { exit, .. }) => Err(exit.into()),
        Err(NoApp::Fault(reason) | NoApp::Raised(reason)) => {
            let message = format!("\nError while loading the application:\n\n{reason}");
            Err(Failure { message, exit_code: 1 })
        }
    }
}

fn supervise(launch: Launch, mut loaded: Loaded) -> Result<u8, Failure> {
    if loaded.settings.daemon {
        go_to_background(&mut loaded)?;
    }
    let logs = SharedLogs::new(Logs::open(&loaded.settings)?);
    let preloaded = if loaded.settings.preload_app {
        Some(preload(&launch, &loaded.settings)?)
    } else {
        prepare_interpreter(&launch, &loaded.settings)?;
        None
    };
    release_interrupt()?;
    let options = arbiter_options(&loaded.settings, &launch);
    let title = Title::new(&loaded.settings);
    let observer = Observer {
        logs: logs.clone(),
        library: Library::new(&loaded.settings),
        loaded: loaded.clone(),
        title: title.clone(),
    };
    let site = Site::new(launch, loaded.settings, logs, preloaded, title);
    let arbiter = Arbiter::new(options).hooks(observer).forker(SiteForker);
    match arbiter.run(site) {
        Ok(exit) => Ok(exit.code()),
        Err(error) if error.is_logged() => Ok(error.exit_code()),
        Err(error) => Err(Failure::error(&chain(&error))),
    }
}

/// `--daemon`: from here on this is another process, and nobody sees what it prints. The successor of
/// an arbiter is in the background already, and has to stay that one's child.
fn go_to_background(loaded: &mut Loaded) -> Result<(), Failure> {
    if env::var_os("NOTIFY_SOCKET").is_some() {
        loaded.warnings.push(
            "daemon: the service manager that set NOTIFY_SOCKET follows the process that it has \
             started, and that one has ended; leave the server in the foreground"
                .to_owned(),
        );
    }
    if Arbiter::predecessor().is_some() {
        return Ok(());
    }
    match Daemon::detach(&mut SiteForker, loaded.settings.enable_stdio_inheritance) {
        Ok(Daemon::Background) => Ok(()),
        // Its `atexit` functions are the arbiter's.
        #[expect(clippy::exit, reason = "a process that is forked away leaves its copy untouched")]
        Ok(Daemon::Launcher) => process::exit(0),
        Err(error) => Err(Failure::error(&format!("cannot go to the background: {error}"))),
    }
}

/// Leaves Ctrl-C to the system, and then to the arbiter. Python's handler, which is there as soon as
/// anything imports `signal`, would raise `KeyboardInterrupt` wherever it happens to be; and whoever
/// asks for the signal after it would have it run as well.
fn release_interrupt() -> Result<(), Failure> {
    if embed::is_initialized() {
        Python::attach(python::release_interrupt)
            .map_err(|error| Failure::error(&error.to_string()))?;
    }
    Ok(())
}

/// Starts Python once for all workers: each would else spend 30 ms on it, also the one that takes the
/// place of a dead one. But not where workers are to be somebody else: what a virtual environment
/// runs at the start of Python is then not for the arbiter, who may be root.
fn prepare_interpreter(launch: &Launch, settings: &Settings) -> Result<(), Failure> {
    if settings.user.is_some() && !embed::is_initialized() {
        return Ok(());
    }
    embed::initialize(launch.arguments())?;
    Python::attach(python::freeze).map_err(|error| Failure::error(&error.to_string()))
}

/// `--preload`: the application is there before anything is bound, and a failure ends the start
/// with its traceback and status 1, as under gunicorn; an application that exits is not contradicted.
fn preload(launch: &Launch, settings: &Settings) -> Result<Preloaded, Failure> {
    embed::initialize(launch.arguments())?;
    release_interrupt()?;
    let preloaded = Python::attach(|py| Preloaded::load(py, settings));
    preloaded.map_err(|error| match error {
        NoApp::Exit { exit, .. } => exit.into(),
        NoApp::Fault(reason) => Failure::error(&reason),
        NoApp::Raised(traceback) => Failure { message: traceback, exit_code: 1 },
    })
}

/// The lines around the arbiter's own: gunicorn's, and what a worker was doing that has died; and what
/// the arbiter imports between its forks.
struct Observer {
    logs: SharedLogs,
    library: Option<Library>,
    loaded: Loaded,
    title: Title,
}

impl Observer {
    fn import_library(&mut self) {
        if let Some(library) = self.library.take() {
            library.import();
        }
    }
}

impl Hooks for Observer {
    fn on_starting(&mut self) -> Result<(), HookError> {
        log::info!("Starting rgunicorn {}", env!("CARGO_PKG_VERSION"));
        warn(&self.loaded);
        Ok(())
    }

    fn when_ready(&mut self, _listeners: &[Listener]) -> Result<(), HookError> {
        log::info!("Using worker: {}", self.loaded.settings.worker_class);
        self.title.show("master");
        Ok(())
    }

    fn pre_fork(&mut self, worker: &WorkerInfo) -> Result<(), HookError> {
        if worker.age > 1 {
            self.import_library();
        }
        Ok(())
    }

    fn child_ready(&mut self, _worker: &WorkerInfo) -> Result<(), HookError> {
        self.import_library();
        Ok(())
    }

    fn child_exit(&mut self, worker: &WorkerInfo, status: ExitStatus) -> Result<(), HookError> {
        if let (Some(pid), false) = (worker.pid, status.success()) {
            for request in Scoreboard::read(&worker.words, Moment::now()) {
                log::error!("Worker (pid:{pid}) ended by {status} in the midst of {request}");
            }
        }
        Ok(())
    }

    fn promoted(&mut self) -> Result<(), HookError> {
        self.title.promote();
        Ok(())
    }

    fn reopen_logs(&mut self) -> Result<(), HookError> {
        self.logs.current().reopen();
        Ok(())
    }
}

/// Forks as it must: Python may not have been started, see [`prepare_interpreter`].
struct SiteForker;

impl Forker for SiteForker {
    fn fork(&mut self) -> io::Result<Fork> {
        if embed::is_initialized() { PythonForker::default().fork() } else { SystemForker.fork() }
    }
}
