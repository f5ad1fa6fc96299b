//! The interpreter inside the native binary.
//!
//! The wheel is loaded by a Python that already runs, and there [`initialize`] has nothing to do.
//! The binary finds the Python that the user means: the active virtual environment, by its
//! variable or by the PATH, else the Python that it was built for. It is configured by its executable's path, from which CPython
//! works out prefix, virtual environment and `site-packages`.
#![expect(unsafe_code, reason = "CPython's start and end are a C API that PyO3 does not wrap")]

use std::ffi::{CStr, CString, NulError, OsStr, OsString, c_char};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{env, fs};

use pyo3::ffi;
use pyo3::prelude::*;

use crate::package;

/// No interpreter can be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// An argument or path with a NUL in it.
    #[error("an argument contains a NUL byte")]
    Argument(#[from] NulError),
    /// Python refused its configuration.
    #[error("Python cannot start: {0}")]
    Start(String),
    /// `threading` cannot be imported: the standard library is not where Python expects it.
    #[error("Python cannot import its own library")]
    Library(#[source] PyErr),
    /// The package `rgunicorn` cannot be made.
    #[error("Python cannot have the package rgunicorn")]
    Package(#[source] PyErr),
    /// The virtual environment belongs to another version of Python.
    #[error(
        "this rgunicorn was built for Python {built}, but the virtual environment {} is for \
         Python {found}; rebuild it with PYO3_PYTHON={} cargo install rgunicorn",
        .virtualenv.display(), .virtualenv.join("bin/python").display()
    )]
    Version {
        /// Major and minor version of the library that this program is linked with.
        built: String,
        /// The environment's.
        found: String,
        /// The environment's directory.
        virtualenv: PathBuf,
    },
}

/// Whether an interpreter runs in this process.
pub fn is_initialized() -> bool {
    // SAFETY: may be called at any time, from any thread.
    unsafe { ffi::Py_IsInitialized() != 0 }
}

/// Starts the interpreter unless one runs; `arguments` become `sys.argv`.
///
/// The calling thread becomes Python's main thread, and is not attached afterwards. Signal
/// handlers stay as they are, until somebody imports `signal`: that claims SIGINT if it has its
/// default action. `PYTHON*` environment variables are honoured.
///
/// # Errors
///
/// The virtual environment is for another version of Python, or Python cannot start.
pub fn initialize(arguments: &[OsString]) -> Result<(), EmbedError> {
    if is_initialized() {
        return Ok(());
    }
    let mut config = Config::new();
    if let Some(python) = find_python(&built_version())? {
        config.set_executable(&python)?;
    }
    config.set_arguments(arguments)?;
    config.initialize()?;
    // SAFETY: this thread is attached, having just initialised the interpreter. From here on
    // `Python::attach` is the one way in.
    unsafe { ffi::PyEval_SaveThread() };
    // The thread that imports `threading` first is its main thread.
    Python::attach(|py| {
        py.import("threading").map_err(EmbedError::Library)?;
        package::install(py).map_err(EmbedError::Package)
    })
}

/// Ends the interpreter: waits for non-daemon threads, runs `atexit` functions, flushes buffers.
///
/// Returns false if something could not be flushed, for which `python` exits with 120. Nothing may
/// use Python afterwards; without an interpreter this does nothing.
pub fn finalize() -> bool {
    if !is_initialized() {
        return true;
    }
    // SAFETY: the interpreter runs, and any thread may attach.
    unsafe { ffi::PyGILState_Ensure() };
    // SAFETY: this thread is attached.
    unsafe { ffi::Py_FinalizeEx() == 0 }
}

/// CPython's start-up configuration, cleared when dropped.
struct Config(ffi::PyConfig);

impl Config {
    fn new() -> Self {
        let mut config = MaybeUninit::uninit();
        // SAFETY: writes a whole PyConfig to memory that is large enough and ours.
        unsafe { ffi::PyConfig_InitPythonConfig(config.as_mut_ptr()) };
        // SAFETY: initialised in the line before.
        let mut config: ffi::PyConfig = unsafe { config.assume_init() };
        // Signals are the arbiter's and the worker's; the command line is not Python's.
        config.install_signal_handlers = 0;
        config.parse_argv = 0;
        Self(config)
    }

    /// The interpreter to be: `executable` decides where Python looks for its library from 3.11
    /// on, `program_name` before.
    fn set_executable(&mut self, python: &Path) -> Result<(), EmbedError> {
        let python = CString::new(python.as_os_str().as_bytes())?;
        let config: *mut ffi::PyConfig = &raw mut self.0;
        for field in [&raw mut self.0.executable, &raw mut self.0.program_name] {
            // SAFETY: the configuration is initialised, the field is its own, and the string ends
            // with NUL; Python copies it.
            check(unsafe { ffi::PyConfig_SetBytesString(config, field, python.as_ptr()) })?;
        }
        Ok(())
    }

    fn set_arguments(&mut self, arguments: &[OsString]) -> Result<(), EmbedError> {
        let arguments: Vec<CString> = arguments
            .iter()
            .map(|argument| CString::new(argument.as_bytes()))
            .collect::<Result<_, _>>()?;
        let mut pointers: Vec<*const c_char> =
            arguments.iter().map(|argument| argument.as_ptr()).collect();
        let count = ffi::Py_ssize_t::try_from(pointers.len()).unwrap_or_default();
        // SAFETY: `count` pointers to strings that end with NUL and live until the call returns;
        // Python copies them.
        check(unsafe { ffi::PyConfig_SetBytesArgv(&raw mut self.0, count, pointers.as_mut_ptr()) })
    }

    fn initialize(mut self) -> Result<(), EmbedError> {
        // SAFETY: the configuration is complete, and no interpreter runs.
        check(unsafe { ffi::Py_InitializeFromConfig(&raw mut self.0) })
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`; frees its strings once.
        unsafe { ffi::PyConfig_Clear(&raw mut self.0) };
    }
}

fn check(status: ffi::PyStatus) -> Result<(), EmbedError> {
    // SAFETY: only looks at the value.
    if unsafe { ffi::PyStatus_Exception(status) } == 0 {
        return Ok(());
    }
    if status.err_msg.is_null() {
        return Err(EmbedError::Start(format!("status {}", status.exitcode)));
    }
    // SAFETY: not null, and the messages of a `PyStatus` are static strings.
    let message = unsafe { CStr::from_ptr(status.err_msg) };
    Err(EmbedError::Start(message.to_string_lossy().into_owned()))
}

/// `3.11`, of the library that is linked.
fn built_version() -> String {
    // SAFETY: a static string, there before the interpreter is.
    let version = unsafe { ffi::Py_GetVersion() };
    // SAFETY: not null, ends with NUL.
    let version = unsafe { CStr::from_ptr(version) };
    minor_version(&version.to_string_lossy())
}

/// `3.11` of `3.11.7 (main, …)`.
fn minor_version(version: &str) -> String {
    let number = version.split(' ').next().unwrap_or_default();
    let mut parts = number.split('.');
    let (major, minor) = (parts.next(), parts.next());
    format!("{}.{}", major.unwrap_or_default(), minor.unwrap_or_default())
}

/// The interpreter that the user means: of the active virtual environment, else the one of the
/// build, else the first on the PATH. `None` leaves it to Python's own search.
fn find_python(version: &str) -> Result<Option<PathBuf>, EmbedError> {
    let virtualenv = env::var_os("VIRTUAL_ENV").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    choose_python(version, virtualenv.as_deref(), &path, BUILT_FOR.map(Path::new))
}

/// The interpreter that this program was compiled for; the wheel needs none.
const BUILT_FOR: Option<&str> = option_env!("RGUNICORN_BUILT_FOR");

fn choose_python(
    version: &str,
    virtualenv: Option<&Path>,
    path: &OsStr,
    built_for: Option<&Path>,
) -> Result<Option<PathBuf>, EmbedError> {
    let name = format!("python{version}");
    let built_for = built_for.filter(|python| python.exists());
    if let Some(virtualenv) = virtualenv {
        let found = virtualenv_version(virtualenv);
        let is_ours = found.as_deref() == Some(version);
        if let (Some(found), false) = (found, is_ours) {
            return Err(EmbedError::Version {
                built: version.to_owned(),
                found,
                virtualenv: virtualenv.to_owned(),
            });
        }
        // The plain names are as good if the environment says that it is of our version.
        let plain = ["python3", "python"].into_iter().filter(|_| is_ours);
        let python = std::iter::once(name.as_str())
            .chain(plain)
            .map(|name| virtualenv.join("bin").join(name))
            .find(|python| python.exists());
        if python.is_some() {
            return Ok(python);
        }
    }
    let on_path = env::split_paths(path)
        .map(|directory| directory.join(&name))
        .find(|python| python.exists());
    // An activated environment is meant, whoever built this program. Any other interpreter is
    // not: it may be another build of Python, whose library does not fit ours, or a script
    // (pyenv's shims), which `sys.executable` must not be.
    let is_virtual = |python: &PathBuf| {
        let virtualenv = python.ancestors().nth(2);
        virtualenv.and_then(virtualenv_version).as_deref() == Some(version)
    };
    Ok(match (on_path, built_for) {
        (Some(python), _) if is_virtual(&python) => Some(python),
        (_, Some(built_for)) => Some(built_for.to_owned()),
        (on_path, None) => on_path,
    })
}

/// The version that `pyvenv.cfg` tells; `venv` and `virtualenv` name it differently.
fn virtualenv_version(virtualenv: &Path) -> Option<String> {
    let text = fs::read_to_string(virtualenv.join("pyvenv.cfg")).ok()?;
    text.lines()
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| matches!(key.trim(), "version" | "version_info"))
        .map(|(_, version)| minor_version(version.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with an empty file at each of `paths`.
    fn tree(paths: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for path in paths {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        directory
    }

    #[test]
    fn the_order_in_which_an_interpreter_is_looked_for() {
        let tree = tree(&[
            "venv/bin/python3.11",
            "empty/bin/python3.9",
            "usr/bin/python3.11",
            "home/shims/python3.11",
            "active/bin/python3.11",
            "built/python3.11",
        ]);
        let at = |path: &str| tree.path().join(path);
        fs::write(at("active/pyvenv.cfg"), "version = 3.11.2\n").unwrap();
        // virtual environment, PATH, built for, expected
        let cases: [(&str, &[&str], &str, Option<&str>); 10] = [
            ("venv", &["usr/bin"], "built/python3.11", Some("venv/bin/python3.11")),
            ("venv", &["active/bin"], "built/python3.11", Some("venv/bin/python3.11")),
            ("", &["active/bin"], "built/python3.11", Some("active/bin/python3.11")),
            ("", &["usr/bin", "active/bin"], "built/python3.11", Some("built/python3.11")),
            ("empty", &["active/bin"], "built/python3.11", Some("active/bin/python3.11")),
            ("gone", &["usr/bin"], "built/python3.11", Some("built/python3.11")),
            ("", &["home/shims", "usr/bin"], "built/python3.11", Some("built/python3.11")),
            ("", &["nothing", "usr/bin"], "gone/python3.11", Some("usr/bin/python3.11")),
            ("", &[], "built/python3.11", Some("built/python3.11")),
            ("", &[], "gone/python3.11", None),
        ];
        for (virtualenv, path, built_for, expected) in cases {
            let virtualenv = Some(at(virtualenv)).filter(|_| !virtualenv.is_empty());
            let path = env::join_paths(path.iter().map(|directory| at(directory))).unwrap();
            let found = choose_python("3.11", virtualenv.as_deref(), &path, Some(&at(built_for)));
            assert_eq!(found.unwrap(), expected.map(at), "{virtualenv:?} {path:?}");
        }
    }

    #[test]
    fn a_virtual_environment_of_another_version() {
        let tree = tree(&["bin/python3.11"]);
        for (text, found) in [
            ("home = /usr\nversion = 3.12.1\n", Some("3.12")),
            ("version_info = 3.9.2.final.0\n", Some("3.9")),
            ("version = 3.11.2\n", None),
            ("home = /usr\n", None),
        ] {
            fs::write(tree.path().join("pyvenv.cfg"), text).unwrap();
            let chosen = choose_python("3.11", Some(tree.path()), OsStr::new(""), None);
            let message = chosen.err().map(|error| error.to_string());
            let path = tree.path().display();
            let expected = found.map(|found| {
                format!(
                    "this rgunicorn was built for Python 3.11, but the virtual environment {path} \
                     is for Python {found}; rebuild it with PYO3_PYTHON={path}/bin/python cargo \
                     install rgunicorn"
                )
            });
            assert_eq!(message, expected);
        }
    }

    #[test]
    fn a_virtual_environment_with_plain_names_only() {
        let tree = tree(&["bin/python"]);
        let chosen = || choose_python("3.11", Some(tree.path()), OsStr::new(""), None).unwrap();
        assert_eq!(chosen(), None);
        fs::write(tree.path().join("pyvenv.cfg"), "version = 3.11.2\n").unwrap();
        assert_eq!(chosen(), Some(tree.path().join("bin/python")));
    }

    #[test]
    fn versions() {
        assert_eq!(minor_version("3.11.7 (main, Jan 1)"), "3.11");
        assert_eq!(minor_version("3.13.0+"), "3.13");
        assert!(choose_python("3.11", None, OsStr::new(""), None).unwrap().is_none());
    }
}
