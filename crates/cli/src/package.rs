//! The package `rgunicorn` that applications import, for the native binary: the wheel has it as
//! files.

use std::ffi::CStr;

use pyo3::ffi::c_str;
use pyo3::prelude::*;

/// What stands in the wheel.
const SOURCE: &CStr = c_str!(include_str!("../python/rgunicorn/__init__.py"));

/// Makes `import rgunicorn` work. A wheel that happens to be installed is another program, whose
/// exceptions nobody raises here: it is not looked at.
///
/// # Errors
///
/// Memory is short.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    let extension = pyo3::wrap_pymodule!(crate::extension)(py);
    py.import("sys")?.getattr("modules")?.set_item("rgunicorn._rgunicorn", extension)?;
    PyModule::from_code(py, SOURCE, c"rgunicorn/__init__.py", c"rgunicorn").map(drop)
}
