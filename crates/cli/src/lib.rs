//! The `rgunicorn` command: composes arbiter, http1, wsgi and workers.

use std::io::Write;
use std::process::ExitCode;

pub mod args;
pub mod config_file;
pub mod embed;
pub mod load;
mod log_file;
pub mod logging;
pub mod python;
pub mod settings;

/// Runs the command with these arguments, the program's name first.
pub fn run(args: &[String]) -> ExitCode {
    let version = concat!("rgunicorn (version ", env!("CARGO_PKG_VERSION"), ")");
    match args {
        [_, flag] if flag == "--version" || flag == "-v" => {
            let written = writeln!(std::io::stdout(), "{version}");
            ExitCode::from(u8::from(written.is_err()))
        }
        _ => ExitCode::from(2),
    }
}

#[pyo3::pymodule(name = "_rgunicorn")]
mod extension {
    use pyo3::prelude::*;

    /// Runs the command; its status becomes the process's.
    #[pyfunction]
    #[allow(clippy::needless_pass_by_value, reason = "arguments from Python come owned")]
    fn main(py: Python<'_>, args: Vec<String>) -> bool {
        py.detach(|| crate::run(&args) != std::process::ExitCode::SUCCESS)
    }
}
