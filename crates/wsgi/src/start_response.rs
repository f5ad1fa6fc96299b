//! `start_response` and the `write` that it returns.

use std::sync::Arc;

use pyo3::exceptions::{PyAssertionError, PyBaseException, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTraceback, PyTuple};

use crate::call::{AnyCall, send_piece};
use crate::response_head::header_list;

/// The object whose bound method is handed to the application: CPython calls a bound method of a
/// native class without packing the arguments into a tuple, a class with `__call__` only with.
#[pyclass(frozen, module = "rgunicorn")]
pub(crate) struct StartResponse {
    call: Arc<AnyCall>,
    write: Py<PyAny>,
}

#[pymethods]
impl StartResponse {
    /// PEP 3333, "The `start_response()` Callable". Keywords are not part of it, but gunicorn takes
    /// these.
    #[pyo3(signature = (status, headers, exc_info = None))]
    fn start_response(
        &self,
        py: Python<'_>,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
        exc_info: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let replace = match exc_info {
            Some(exc_info) => exc_info.is_truthy()?,
            None => false,
        };
        // Before anything is lent, as code of the application may run.
        let headers = &header_list(headers)?;
        let started = self.call.response.lend(|response| {
            if response.is_sent() && replace {
                None
            } else if response.is_started() && !replace {
                Some(Err(PyAssertionError::new_err("start_response() was already called")))
            } else {
                Some(response.start(status, headers).map_err(PyErr::from))
            }
        })?;
        match started {
            Some(result) => result.map(|()| self.write.clone_ref(py)),
            // Too late for other headers: the application's error goes back where it came from, and
            // out of the application. Nothing of exc_info is kept, as that would be a cycle through
            // the traceback's frames.
            None => Err(reraise(exc_info)),
        }
    }
}

/// Holds what `write` needs.
#[pyclass(frozen, module = "rgunicorn")]
pub(crate) struct Write {
    call: Arc<AnyCall>,
}

#[pymethods]
impl Write {
    /// PEP 3333, "The `write()` Callable": returns when the data has been given to the server.
    #[pyo3(signature = (data, /))]
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyBytes>) -> PyResult<()> {
        let data = data.as_bytes();
        let sent =
            self.call.transmit(|response, exchange| send_piece(py, response, exchange, data))?;
        sent.map_err(|fault| self.call.raise(fault))
    }
}

/// The two bound methods for one call.
pub(crate) fn bind(py: Python<'_>, call: &Arc<AnyCall>) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
    let write = Bound::new(py, Write { call: Arc::clone(call) })?.getattr("write")?.unbind();
    let start_response = StartResponse { call: Arc::clone(call), write: write.clone_ref(py) };
    let start_response = Bound::new(py, start_response)?.getattr("start_response")?.unbind();
    Ok((start_response, write))
}

/// `raise exc_info[1].with_traceback(exc_info[2])`
fn reraise(exc_info: Option<&Bound<'_, PyAny>>) -> PyErr {
    let parts = exc_info.and_then(|exc_info| exc_info.cast::<PyTuple>().ok());
    let value = parts.and_then(|parts| parts.get_item(1).ok());
    let Some(value) = value.and_then(|value| value.cast_into::<PyBaseException>().ok()) else {
        return PyTypeError::new_err("exc_info must be what sys.exc_info() returned");
    };
    let py = value.py();
    let traceback = parts
        .and_then(|parts| parts.get_item(2).ok())
        .and_then(|traceback| traceback.cast_into::<PyTraceback>().ok());
    let error = PyErr::from_value(value.into_any());
    error.set_traceback(py, traceback);
    error
}
