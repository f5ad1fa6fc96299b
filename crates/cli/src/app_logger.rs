//! Python's logger `gunicorn.error`. Applications that want their lines among those of the server
//! take its handlers and its level; without the logger, they would be silent below a warning.

use std::ffi::CStr;

use pyo3::ffi::c_str;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple};

use crate::logging::WSGI_ERRORS;
use crate::settings::LogLevel;

/// Sets up the logger, at the latest when the application imports `logging`. What it is given goes
/// to the error log as it is, in gunicorn's format.
///
/// # Errors
///
/// `logging` is not what it should be.
pub(crate) fn install(py: Python<'_>, level: LogLevel) -> PyResult<()> {
    let write = |arguments: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| -> PyResult<()> {
        let text = arguments.get_item(0)?.str()?;
        log::error!(target: WSGI_ERRORS, "{}", text.to_string_lossy());
        Ok(())
    };
    let write = PyCFunction::new_closure(py, None, None, write)?;
    let module = PyModule::from_code(py, SOURCE, c_str!("app_logger.py"), NAME)?;
    module.getattr("install")?.call1((write, level.to_string().to_uppercase()))?;
    Ok(())
}

const SOURCE: &CStr = c_str!(include_str!("app_logger.py"));
const NAME: &CStr = c"rgunicorn_app_logger";
