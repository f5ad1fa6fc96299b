//! The `rgunicorn` command: composes arbiter, http1, wsgi and workers.
//!
//! As a library it is two things: [`run`], which is the whole command, and the parts of it that
//! tools may want, the table of [`settings`] above all.

use std::ffi::OsString;
use std::io::{self, Write};

use rgunicorn_arbiter::Program;

pub mod access_format;
pub mod access_log;
mod app_logger;
pub mod args;
mod basic_auth;
pub mod config_file;
pub mod embed;
mod environment;
mod library;
pub mod load;
mod log_file;
pub mod logging;
mod logs;
mod package;
mod proctitle;
pub mod python;
mod serve;
pub mod settings;
mod site;
mod title;

/// Runs the command with these arguments, the program's name first, and returns its status.
///
/// It returns in the arbiter and in each of its workers: end the process in both.
pub fn run(arguments: Vec<OsString>) -> u8 {
    run_as(arguments, Program::current())
}

/// As [`run`], with the program that replaces this process at SIGUSR2.
fn run_as(arguments: Vec<OsString>, program: io::Result<Program>) -> u8 {
    let status = serve::run(arguments, program).unwrap_or_else(|failure| {
        if !failure.message.is_empty() {
            // With standard error closed there is nobody to tell; the status remains.
            writeln!(io::stderr(), "{}", failure.message).ok();
        }
        failure.exit_code
    });
    if rgunicorn_workers::has_left_threads() {
        python::leave(status);
    }
    status
}

#[pyo3::pymodule(name = "_rgunicorn", gil_used = false)]
mod extension {
    use std::ffi::OsString;

    use pyo3::prelude::*;

    /// Runs the command and returns its status, in the arbiter and in each of its workers.
    #[pyfunction]
    fn main(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<u8> {
        let command_line = crate::python::command_line(py)?;
        Ok(py.detach(|| crate::run_as(arguments, crate::python::program(command_line))))
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let class = rgunicorn_workers::request_timeout(module.py())?;
        module.add("RequestTimeout", class)
    }
}
