//! Variables of the environ, as the application leaves them, for the log.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use rgunicorn_wsgi::{Observer, format_exception};

use crate::access::Note;

/// Looks for some variables at the end of a call.
pub(crate) struct Variables<'a> {
    names: &'a [Arc<str>],
    found: Vec<Note>,
}

impl<'a> Variables<'a> {
    pub(crate) fn new(names: &'a [Arc<str>]) -> Self {
        Self { names, found: Vec::new() }
    }

    /// Those that were there, by the names that were asked for.
    pub(crate) fn found(self) -> Vec<Note> {
        self.found
    }
}

impl Observer for Variables<'_> {
    fn after(&mut self, environ: &Bound<'_, PyDict>) {
        if self.names.is_empty() {
            return;
        }
        // A list of its own: a thread of the application's may change the environ meanwhile.
        let keys = environ.keys();
        for name in self.names {
            // As in gunicorn: case does not matter, and the variable that came last counts.
            let key = keys.iter().rev().find(|key| is_called(key, name));
            let value = key.and_then(|key| environ.get_item(key).ok().flatten());
            let Some(value) = value else { continue };
            match value.str() {
                Ok(text) => self.found.push((Arc::clone(name), text.to_string_lossy().into())),
                Err(error) => {
                    let traceback = format_exception(environ.py(), &error);
                    log::error!("{name} of the environ cannot be logged\n{}", traceback.trim_end());
                }
            }
        }
    }
}

fn is_called(key: &Bound<'_, PyAny>, name: &str) -> bool {
    let key = key.cast::<PyString>();
    key.is_ok_and(|key| key.to_str().is_ok_and(|key| key.eq_ignore_ascii_case(name)))
}
