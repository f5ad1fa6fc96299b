//! What the interpreter needs to know of the settings before it loads an application.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::{io, iter};

use pyo3::prelude::*;
use pyo3::types::PyList;
use rgunicorn_arbiter::Program;

use crate::settings::Settings;

/// Puts `chdir` and then each of `pythonpath` at the front of `sys.path`, as gunicorn does.
///
/// # Errors
///
/// Python's, if `sys.path` is not what it should be.
pub fn prepare_path(py: Python<'_>, settings: &Settings) -> PyResult<()> {
    directories(settings).iter().try_for_each(|directory| insert_path(py, directory))
}

/// `chdir` and then each of `pythonpath`.
pub(crate) fn directories(settings: &Settings) -> Vec<PathBuf> {
    // Relative to where the server runs, which is `chdir` by then; without dots in the middle.
    let absolute = |path| settings.chdir.join(path).components().collect();
    iter::once(settings.chdir.clone()).chain(settings.pythonpath.iter().map(absolute)).collect()
}

/// Puts `directory` at the front of `sys.path` unless it is somewhere in it.
pub(crate) fn insert_path(py: Python<'_>, directory: &Path) -> PyResult<()> {
    let path = py.import("sys")?.getattr("path")?.cast_into::<PyList>()?;
    // A str: importers do not take the `pathlib.Path` that PyO3 makes of a `Path`.
    let directory: &OsStr = directory.as_os_str();
    if !path.contains(directory)? {
        path.insert(0, directory)?;
    }
    Ok(())
}

/// The interpreter and its arguments, `-m` and the like included: what started this process.
pub(crate) fn command_line(py: Python<'_>) -> PyResult<Vec<OsString>> {
    let sys = py.import("sys")?;
    let mut line: Vec<OsString> = sys.getattr("orig_argv")?.extract()?;
    // Found along the PATH, or through a virtual environment's link, it had another name.
    if let (Some(first), interpreter) = (line.first_mut(), sys.getattr("executable")?) {
        *first = interpreter.extract()?;
    }
    Ok(line)
}

/// The program that this command line starts, here and with these variables.
pub(crate) fn program(command_line: Vec<OsString>) -> io::Result<Program> {
    let mut words = command_line.into_iter();
    let interpreter = words.next().unwrap_or_default();
    Ok(Program::new(interpreter, env::current_dir()?, env::vars_os()).args(words))
}

/// Gives SIGINT back to the system's default, so that the arbiter's handler is the only one.
///
/// # Errors
///
/// Not called on Python's main thread.
pub(crate) fn release_interrupt(py: Python<'_>) -> PyResult<()> {
    let signal = py.import("signal")?;
    signal.call_method1("signal", (signal.getattr("SIGINT")?, signal.getattr("SIG_DFL")?))?;
    Ok(())
}

/// Imports what Python itself imports late, when it first encodes a host name: for an outgoing
/// connection, or in Werkzeug's routing. Before the fork it is there once, and not in each worker
/// (0.8 MiB, with what its import leaves behind).
pub(crate) fn import_late_modules(py: Python<'_>) {
    if let Err(error) = py.import("encodings.idna") {
        log::debug!("cannot import encodings.idna: {error}");
    }
}

/// Makes what is loaded by now the workers' common memory: no collection in a worker looks at it and
/// copies its pages. Nothing is collected before, as the documentation of `gc.freeze` advises: new
/// objects of each worker would fill the holes, and copy the pages around them.
///
/// # Errors
///
/// `gc` is not what it should be.
pub(crate) fn freeze(py: Python<'_>) -> PyResult<()> {
    py.import("gc")?.call_method0("freeze")?;
    Ok(())
}

/// Ends the process without the interpreter's finalization, as threads are left in the application
/// that must not see it; does before what matters to an application, as `python` does: waits for
/// threads that are no daemons, runs `atexit` functions, flushes.
pub(crate) fn leave(status: u8) {
    Python::attach(|py| {
        let call = |module: &str, function: &str| py.import(module)?.call_method0(function);
        for (module, function) in [("threading", "_shutdown"), ("atexit", "_run_exitfuncs")] {
            if let Err(error) = call(module, function) {
                error.print(py);
            }
        }
        for stream in ["stdout", "stderr"] {
            let flushed =
                py.import("sys").and_then(|sys| sys.getattr(stream)?.call_method0("flush"));
            if let Err(error) = flushed {
                log::debug!("cannot flush {stream}: {error}");
            }
        }
        let exit = py.import("os").and_then(|os| os.call_method1("_exit", (status,)));
        debug_assert!(exit.is_err(), "os._exit does not return");
    });
}

/// Threads that an application started, and that no fork will have.
///
/// # Errors
///
/// `threading` is not what it should be.
pub(crate) fn other_threads(py: Python<'_>) -> PyResult<usize> {
    let active: usize = py.import("threading")?.call_method0("active_count")?.extract()?;
    Ok(active.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_directory_comes_first() {
        crate::embed::initialize(&["rgunicorn".into()]).unwrap();
        let settings = Settings {
            chdir: "/srv".into(),
            pythonpath: vec![".".into(), "lib".into(), "/opt/lib".into(), "lib".into()],
            ..Settings::default()
        };
        let path: Vec<String> = Python::attach(|py| {
            prepare_path(py, &settings).unwrap();
            let path = py.import("sys").unwrap().getattr("path").unwrap();
            path.extract().unwrap()
        });
        assert_eq!(path[..3], ["/opt/lib", "/srv/lib", "/srv"]);
        assert_eq!(path.iter().filter(|entry| *entry == "/srv").count(), 1);
    }
}
