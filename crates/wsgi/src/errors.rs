//! `wsgi.errors`: a text stream whose lines go to the log.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyString;

/// PEP 3333, "Input and Error Streams": `write`, `writelines` and `flush`.
///
/// Each line becomes one record of the `log` crate, under the target `rgunicorn.wsgi.errors`. What
/// is left without a newline follows at `flush()` and at the end of the request.
#[pyclass(frozen, module = "rgunicorn")]
pub(crate) struct Errors {
    /// The unfinished line; at most `LINE_LIMIT` bytes and the last write.
    line: Mutex<String>,
}

impl Errors {
    pub(crate) fn new() -> Self {
        Self { line: Mutex::new(String::new()) }
    }

    /// Logs the unfinished line, if there is one.
    pub(crate) fn finish_line(&self) {
        let line = std::mem::take(&mut *self.line());
        if !line.is_empty() {
            log_line(&line);
        }
    }

    fn line(&self) -> MutexGuard<'_, String> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Errors {
    /// Returns the number of characters, as text files do.
    fn write(&self, text: &Bound<'_, PyString>) -> PyResult<usize> {
        let text_len = text.len()?;
        // Lone surrogates, as `surrogateescape` makes them of file names, are no reason to lose a
        // message.
        let text = text.to_string_lossy();
        let complete = {
            let mut line = self.line();
            line.push_str(&text);
            let end = match line.rfind('\n') {
                Some(newline) => newline + 1,
                None if line.len() > LINE_LIMIT => line.len(),
                None => 0,
            };
            let rest = line.split_off(end);
            std::mem::replace(&mut *line, rest)
        };
        // The log may lead back into Python: not under the lock.
        complete.lines().for_each(log_line);
        Ok(text_len)
    }

    fn writelines(&self, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.write(line?.cast::<PyString>()?)?;
        }
        Ok(())
    }

    fn flush(&self) {
        self.finish_line();
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        self.finish_line();
    }
}

fn log_line(line: &str) {
    log::error!(target: "rgunicorn.wsgi.errors", "{line}");
}

/// An unfinished line longer than this is logged as it is, in bytes.
const LINE_LIMIT: usize = 64 * 1024;
