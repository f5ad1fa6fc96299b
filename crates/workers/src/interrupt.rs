//! Ends a request that takes too long, by an exception in the midst of it.

use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyCFunction, PyType};
use pyo3::{PyErr, intern};

use crate::call::{Call, Interrupter};
use crate::python::set_async_exception;

/// The exception `rgunicorn.RequestTimeout`, for applications that want to catch it.
///
/// It is raised in the midst of a request that takes longer than
/// [`Options::request_timeout`](crate::Options::request_timeout). The class descends from
/// `BaseException`, as `SystemExit` does, which gunicorn raises for the same reason: `except
/// Exception` is how applications go on after a failure, and this one is not to be survived.
/// `finally` and `with` still clean up.
///
/// # Errors
/// Memory is short.
pub fn request_timeout(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = CLASS.get_or_try_init(py, || new_class(py, &py.get_type::<PyBaseException>()))?;
    Ok(class.bind(py).clone())
}

/// A class of this name.
fn new_class(py: Python<'_>, base: &Bound<'_, PyType>) -> PyResult<Py<PyType>> {
    let text = c"A request took longer than the setting `request_timeout` allows.";
    PyErr::new_type(py, c"rgunicorn.RequestTimeout", Some(text), Some(base), None)
}

/// Raises [`request_timeout`] in application threads.
#[derive(Debug)]
pub(crate) struct Interrupt {
    request_timeout: Py<PyType>,
}

impl Interrupt {
    /// Prepares the exception; its message says this limit. CPython raises a class, without
    /// arguments, so that a class of its own, below the one that applications know, has the message.
    ///
    /// # Errors
    /// Memory is short.
    pub(crate) fn new(py: Python<'_>, limit: Duration) -> PyResult<Self> {
        let class = new_class(py, &request_timeout(py)?)?;
        let message = format!("the request took longer than {} s", limit.as_secs_f64());
        // A builtin function is no method: it is called without the instance.
        let text = PyCFunction::new_closure(py, None, None, move |_, _| message.clone())?;
        class.bind(py).setattr(intern!(py, "__str__"), text)?;
        Ok(Self { request_timeout: class })
    }

    /// Raises it in the thread of this `threading.get_ident()`, before its next bytecode: a thread
    /// that waits in C code, asleep or for a lock, only when that returns. `false`: there is no
    /// such thread.
    pub(crate) fn raise_in_thread(&self, py: Python<'_>, ident: u64) -> bool {
        set_async_exception(py, ident, Some(self.request_timeout.bind(py)))
    }

    /// Takes it back, if the thread has not raised it yet: the request has ended in between, and
    /// the next one is not to suffer.
    pub(crate) fn withdraw(py: Python<'_>, ident: u64) {
        set_async_exception(py, ident, None);
    }

    /// Is this the exception that was raised?
    pub(crate) fn is_cause(&self, py: Python<'_>, error: &PyErr) -> bool {
        error.is_instance(py, self.request_timeout.bind(py))
    }
}

/// Raises it in one thread.
#[derive(Debug)]
pub(crate) struct ThreadInterrupter {
    ident: u64,
    interrupt: Arc<Interrupt>,
}

impl ThreadInterrupter {
    /// For the current thread.
    ///
    /// # Errors
    /// Python cannot tell which one it is.
    pub(crate) fn new(py: Python<'_>, interrupt: Arc<Interrupt>) -> PyResult<Self> {
        Ok(Self { ident: current_ident(py)?, interrupt })
    }
}

impl Interrupter for ThreadInterrupter {
    fn interrupt(&self, call: &Call) {
        // Attached first and held then: nobody who holds a call waits for the interpreter.
        Python::attach(|py| {
            if let Some(_hold) = call.hold() {
                self.interrupt.raise_in_thread(py, self.ident);
            }
        });
    }

    fn withdraw(&self) {
        Python::attach(|py| Interrupt::withdraw(py, self.ident));
    }
}

/// What `threading.get_ident()` says of the current thread.
///
/// # Errors
/// Python cannot tell.
pub(crate) fn current_ident(py: Python<'_>) -> PyResult<u64> {
    py.import("threading")?.call_method0("get_ident")?.extract()
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::sync::mpsc;
    use std::thread;

    use pyo3::types::PyDict;

    use super::*;

    const LOOP: &str = "\
try:
    started()
    try:
        while True:
            pass
    except Exception:
        log.append('swallowed')
    finally:
        log.append('cleaned up')
except BaseException as error:
    import traceback
    log.append(traceback.format_exception_only(type(error), error)[0].strip())
    raise
";

    #[test]
    fn a_loop_is_interrupted() {
        Python::initialize();
        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn(move || {
            Python::attach(|py| {
                let globals = PyDict::new(py);
                globals.set_item("log", Vec::<String>::new()).unwrap();
                let started = PyCFunction::new_closure(py, None, None, move |arguments, _| {
                    sender.send(current_ident(arguments.py()).unwrap()).unwrap();
                });
                globals.set_item("started", started.unwrap()).unwrap();
                let error = py
                    .run(&CString::new(LOOP).unwrap(), Some(&globals), None)
                    .expect_err("it does not end by itself");
                let log = globals.get_item("log").unwrap().unwrap().extract::<Vec<String>>();
                (log.unwrap(), error)
            })
        });
        let ident = receiver.recv().unwrap();
        let interrupt = Python::attach(|py| {
            let interrupt = Interrupt::new(py, Duration::from_millis(1500)).unwrap();
            assert!(interrupt.raise_in_thread(py, ident));
            assert!(!interrupt.raise_in_thread(py, 1) && !interrupt.raise_in_thread(py, u64::MAX));
            interrupt
        });
        let (log, error) = thread.join().unwrap();
        let line = "rgunicorn.RequestTimeout: the request took longer than 1.5 s";
        assert_eq!(log, ["cleaned up", line]);
        Python::attach(|py| {
            assert!(interrupt.is_cause(py, &error));
            assert!(!interrupt.is_cause(py, &pyo3::exceptions::PySystemExit::new_err(1)));
        });
    }

    #[test]
    fn what_is_withdrawn_is_not_raised() {
        Python::initialize();
        Python::attach(|py| {
            let interrupt = Interrupt::new(py, Duration::from_secs(30)).unwrap();
            let ident = current_ident(py).unwrap();
            assert!(interrupt.raise_in_thread(py, ident));
            Interrupt::withdraw(py, ident);
            py.run(c"for _ in range(1000): pass", None, None).unwrap();
            assert!(interrupt.raise_in_thread(py, ident));
            let error = py.run(c"for _ in range(1000): pass", None, None).unwrap_err();
            assert_eq!(error.value(py).to_string(), "the request took longer than 30 s");
        });
    }
}
