//! From the command line to settings: what happens at the start, and again at SIGHUP.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pyo3::Python;
use rgunicorn_arbiter::Program;
use rgunicorn_wsgi::SystemExit;

use crate::args::{self, Invocation, UsageError};
use crate::config_file::{self, ConfigFileError};
use crate::embed::{self, EmbedError};
use crate::python;
use crate::settings::{ConfigLocation, Layer, SettingError, Settings, USAGE, help};

/// What the process was started with; SIGHUP reads the settings again from here.
#[derive(Clone, Debug)]
pub struct Launch {
    arguments: Vec<OsString>,
    directory: PathBuf,
    program: Option<Program>,
}

impl Launch {
    /// Notes the arguments, the program's name first, and the current directory.
    ///
    /// # Errors
    ///
    /// The current directory is gone.
    pub fn new(arguments: Vec<OsString>) -> io::Result<Self> {
        let shells = env::var_os("PWD").map(PathBuf::from);
        let directory = logical_directory(env::current_dir()?, shells)?;
        Ok(Self { arguments, directory, program: None })
    }

    /// The same, to be replaced by this program at SIGUSR2.
    #[must_use]
    pub fn with_program(mut self, program: Program) -> Self {
        self.program = Some(program);
        self
    }

    /// What replaces this process at SIGUSR2.
    pub fn program(&self) -> Option<&Program> {
        self.program.as_ref()
    }

    /// The arguments, the program's name first.
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// The directory in which the process was started, as the shell called it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// What the command line asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// To print this text on standard output, and no more.
    Print(String),
    /// To serve.
    Serve(Box<Loaded>),
}

/// Settings, and what to tell the operator about them.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The settings. `chdir` is absolute, and the process stands there.
    pub settings: Settings,
    /// Warnings for the error log, one line each.
    pub warnings: Vec<String>,
}

/// Why the program cannot start, ready to be printed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// For standard error, to be followed by a newline; nothing if it is empty.
    pub message: String,
    /// The program's status: 2 for a wrong command line, what `SystemExit` asks for, or 1 for
    /// everything else.
    pub exit_code: u8,
}

/// Reads the command line, the environment and the config file.
///
/// Python is started only when there is a config file to run. The process ends up in the
/// directory `chdir`, in which relative paths of the settings are meant; after an error, where it
/// was before.
///
/// # Errors
///
/// Whatever is wrong with the command line, the config file or a setting.
pub fn load(launch: &Launch) -> Result<Command, Failure> {
    let arguments = launch.arguments.get(1..).unwrap_or_default();
    let line = match args::parse(arguments)? {
        Invocation::Help => return Ok(Command::Print(help())),
        Invocation::Version => return Ok(Command::Print(VERSION.to_owned())),
        Invocation::Serve(line) => line,
    };
    let environment = match args::parse(&command_args()?).map_err(in_command_args)? {
        Invocation::Help => return Ok(Command::Print(help())),
        Invocation::Version => return Ok(Command::Print(VERSION.to_owned())),
        Invocation::Serve(line) => line.in_command_args(),
    };
    let before = env::current_dir();
    let loaded = read(launch, [environment, line]);
    if let (Err(_), Ok(before)) = (&loaded, before) {
        // The directory may be gone, which changes nothing about the error to report.
        env::set_current_dir(before).ok();
    }
    loaded.map(|loaded| Command::Serve(Box::new(loaded)))
}

/// The words of `GUNICORN_CMD_ARGS`.
fn command_args() -> Result<Vec<OsString>, Failure> {
    let Some(line) = env::var_os(COMMAND_ARGS) else {
        return Ok(Vec::new());
    };
    let words = shlex::bytes::split(line.as_bytes()).ok_or_else(|| {
        Failure::error(&format!("{COMMAND_ARGS} ends within a quotation, or after a backslash"))
    })?;
    Ok(words.into_iter().map(OsString::from_vec).collect())
}

/// A mistake there is not one of the command line that the operator sees.
fn in_command_args(error: UsageError) -> Failure {
    let mut failure = Failure::from(error);
    failure.message.push_str(" (in GUNICORN_CMD_ARGS)");
    failure
}

const COMMAND_ARGS: &str = "GUNICORN_CMD_ARGS";

/// `lines` are what the environment and the command line say, the lower one first.
fn read(launch: &Launch, lines: [Layer; 2]) -> Result<Loaded, Failure> {
    enter(&launch.directory)?;
    // Wrong values of the command line are told before any Python runs.
    let mut said = Settings::default();
    for line in &lines {
        said.apply(line)?;
    }

    let mut warnings = Vec::new();
    let mut layers = vec![Layer::from_environment(env::var_os)];
    if let Some(location) = said.config.or_else(default_config) {
        let location = in_launch_directory(launch, location);
        warnings.extend(extension_warning(&location));
        layers.push(config_layer(launch, &location)?);
    }
    layers.extend(lines);

    let mut settings = Settings::resolve(&layers)?;
    // `components` drops the dots in the middle, so that `--chdir .` adds nothing.
    settings.chdir = launch.directory.join(&settings.chdir).components().collect();
    enter(&settings.chdir)?;
    Ok(Loaded { settings, warnings })
}

/// Runs the config file with the launch directory importable, as under gunicorn.
fn config_layer(launch: &Launch, location: &ConfigLocation) -> Result<Layer, Failure> {
    embed::initialize(&launch.arguments)?;
    Python::attach(|py| {
        python::insert_path(py, &launch.directory)
            .map_err(|error| Failure::error(&error.to_string()))?;
        Ok(config_file::load(py, location)?)
    })
}

fn default_config() -> Option<ConfigLocation> {
    let path = Path::new("./gunicorn.conf.py");
    path.exists().then(|| ConfigLocation::File(path.to_owned()))
}

/// As under gunicorn, `__file__` is absolute: a config file asks it for its own directory. And who
/// reads an error in the log need not know where the server was started.
fn in_launch_directory(launch: &Launch, location: ConfigLocation) -> ConfigLocation {
    match location {
        // `components` drops the dot of `./gunicorn.conf.py`.
        ConfigLocation::File(path) => {
            ConfigLocation::File(launch.directory.join(path).components().collect())
        }
        ConfigLocation::Module(_) => location,
    }
}

fn extension_warning(location: &ConfigLocation) -> Option<String> {
    let ConfigLocation::File(path) = location else {
        return None;
    };
    let is_python = path.extension().is_some_and(|extension| extension == "py");
    (!is_python).then(|| {
        let path = path.display();
        format!("the config file '{path}' is executed as Python, but is not called .py")
    })
}

/// Changes the current directory.
pub(crate) fn enter(directory: &Path) -> Result<(), Failure> {
    env::set_current_dir(directory).map_err(|error| {
        Failure::error(&format!("can't chdir to '{}': {error}", directory.display()))
    })
}

/// The current directory by the name that the shell knows, if that is the same directory.
///
/// With releases behind a symbolic link this is the link, so that SIGHUP finds the new release.
fn logical_directory(physical: PathBuf, logical: Option<PathBuf>) -> io::Result<PathBuf> {
    if let Some(logical) = logical.filter(|logical| logical.is_absolute()) {
        let here = fs::metadata(&physical)?;
        let is_same = fs::metadata(&logical)
            .is_ok_and(|there| there.dev() == here.dev() && there.ino() == here.ino());
        if is_same {
            return Ok(logical);
        }
    }
    Ok(physical)
}

const VERSION: &str = concat!("rgunicorn (version ", env!("CARGO_PKG_VERSION"), ")");

impl Failure {
    /// gunicorn's form: an empty line, then the error; status 1.
    pub(crate) fn error(message: &str) -> Self {
        Self { message: format!("\nError: {message}"), exit_code: 1 }
    }

    /// The message without the form that a terminal is given.
    pub(crate) fn reason(&self) -> String {
        let reason = self.message.trim_start();
        match reason.strip_prefix("Error: ").unwrap_or(reason) {
            "" => format!("the config file exits with code {}", self.exit_code),
            reason => reason.to_owned(),
        }
    }
}

impl From<UsageError> for Failure {
    fn from(error: UsageError) -> Self {
        Self { message: format!("{USAGE}rgunicorn: error: {error}"), exit_code: 2 }
    }
}

impl From<SettingError> for Failure {
    fn from(error: SettingError) -> Self {
        Self::error(&error.to_string())
    }
}

impl From<ConfigFileError> for Failure {
    fn from(error: ConfigFileError) -> Self {
        match error {
            // The exception speaks for itself, and its traceback is long enough.
            ConfigFileError::Exit { exit, .. } => exit.into(),
            ConfigFileError::Raised { .. } => Self { message: error.to_string(), exit_code: 1 },
            _ => Self::error(&error.to_string()),
        }
    }
}

impl From<SystemExit> for Failure {
    /// As `python` ends: with the message alone, or without a word.
    fn from(exit: SystemExit) -> Self {
        // The kernel too takes the lowest eight bits and no more (exit(3)).
        let [exit_code, ..] = exit.code.to_le_bytes();
        Self { message: exit.message.unwrap_or_default(), exit_code }
    }
}

impl From<EmbedError> for Failure {
    fn from(error: EmbedError) -> Self {
        Self::error(&error.to_string())
    }
}

impl From<crate::logging::LogFileError> for Failure {
    fn from(error: crate::logging::LogFileError) -> Self {
        Self::error(&error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_keeps_the_name_that_the_shell_knows() {
        let temporary = tempfile::tempdir().unwrap();
        let release = temporary.path().join("release");
        let current = temporary.path().join("current");
        fs::create_dir(&release).unwrap();
        std::os::unix::fs::symlink("release", &current).unwrap();
        for (logical, expected) in [
            (Some(current.clone()), &current),
            (Some(temporary.path().to_owned()), &release),
            (Some(temporary.path().join("gone")), &release),
            (Some(PathBuf::from(".")), &release),
            (None, &release),
        ] {
            let directory = logical_directory(release.clone(), logical.clone()).unwrap();
            assert_eq!(&directory, expected, "{logical:?}");
        }
    }
}
