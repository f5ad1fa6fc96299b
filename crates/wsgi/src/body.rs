//! The response body: whatever the application returned, sent in the quickest way that is right.

use std::io;

use bytes::Bytes;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList, PyTuple};

use crate::call::{Call, attempt, send_piece};
use crate::exchange::Exchange;
use crate::file_wrapper::{FileWrapper, plain_file};
use crate::response::{Fault, Response};
use crate::slot::Slot;

/// A list or tuple: all of the body at once, so that its length is known, no Python code runs
/// between its pieces, and there is no `close()`.
pub(crate) enum Sequence<'a, 'py> {
    List(&'a Bound<'py, PyList>),
    Tuple(&'a Bound<'py, PyTuple>),
}

impl<'a, 'py> Sequence<'a, 'py> {
    /// Of exactly these classes: derived ones may iterate otherwise, or have a `close()`.
    pub(crate) fn of(iterable: &'a Bound<'py, PyAny>) -> Option<Self> {
        match (iterable.cast_exact::<PyList>(), iterable.cast_exact::<PyTuple>()) {
            (Ok(list), _) => Some(Self::List(list)),
            (_, Ok(tuple)) => Some(Self::Tuple(tuple)),
            _ => None,
        }
    }

    pub(crate) fn send(
        &self,
        response: &mut Response,
        exchange: &mut dyn Exchange,
    ) -> Result<(), Fault> {
        // All pieces are looked at before anything is sent: a wrong one makes a clean 500.
        let mut total = 0;
        for index in 0..self.len() {
            total += self.piece(index)?.as_bytes().len() as u64;
        }
        if total > 0 {
            response.send_head(exchange, Some(total))?;
        }
        // Another thread might change a list meanwhile; what it adds is of no interest.
        let (mut sent, mut rest) = (0, Rest::default());
        for index in 0..self.len() {
            if sent >= total {
                break;
            }
            let piece = self.piece(index)?;
            sent += piece.as_bytes().len() as u64;
            rest.send(response, exchange, &piece)?;
        }
        response.finish(exchange)
    }

    fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Tuple(tuple) => tuple.len(),
        }
    }

    fn piece(&self, index: usize) -> PyResult<Bound<'py, PyBytes>> {
        let item = match self {
            Self::List(list) => list.get_item(index),
            Self::Tuple(tuple) => tuple.get_item(index),
        };
        item?.cast_into::<PyBytes>().map_err(|error| not_bytes(&error.into_inner()))
    }
}

impl<E: Exchange> Call<Slot<E>> {
    /// Sends a body of any other kind.
    pub(crate) fn send_iterable(&self, iterable: &Bound<'_, PyAny>) -> Result<(), Fault> {
        let py = iterable.py();
        if let Ok(wrapper) = iterable.cast_exact::<FileWrapper>() {
            let file = wrapper.get().file(py);
            let is_sent = self.with(py, |response, exchange| {
                response.expect_excess();
                send_file(response, exchange, &file)
            })?;
            if is_sent {
                return self.with(py, Response::finish);
            }
        }
        for item in iterable.try_iter().map_err(|error| not_iterable(iterable, error))? {
            let item = item?;
            let piece = item.cast::<PyBytes>().map_err(|_| not_bytes(&item))?;
            if piece.as_bytes().is_empty() {
                continue;
            }
            // Lent for this piece only: what runs between two may call write() or read the input.
            let is_enough = self.with(py, |response, exchange| {
                response.send_head(exchange, None)?;
                // Frameworks wrap even a page of one piece, but they do say how long it is.
                if response.left() == Some(piece.as_bytes().len() as u64) {
                    Rest::default().send(response, exchange, piece)?;
                } else {
                    send_piece(py, response, exchange, piece.as_bytes())?;
                }
                Ok(response.has_excess())
            })?;
            // PEP 3333, "Handling the Content-Length Header".
            if is_enough {
                break;
            }
        }
        self.with(py, Response::finish)
    }

    /// Works with response and exchange, after any other thread that has one of them.
    fn with<R>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Response, &mut dyn Exchange) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        self.response.lend_in_turn(py, |response| {
            self.exchange.lend_in_turn(py, |exchange| work(response, exchange))
        })
    }
}

/// Calls `close()`, which PEP 3333 promises to every iterable that has one.
pub(crate) fn close(iterable: &Bound<'_, PyAny>) -> PyResult<()> {
    match iterable.getattr_opt(intern!(iterable.py(), "close"))? {
        Some(close) => close.call0().map(drop),
        None => Ok(()),
    }
}

/// The end of a body, of which every piece is here: what the exchange does not take at once it
/// may send after the application returned, since nothing will ask how far it got.
#[derive(Default)]
struct Rest {
    /// The exchange has not taken all of a piece, so that the others queue behind it.
    is_queueing: bool,
}

impl Rest {
    fn send(
        &mut self,
        response: &mut Response,
        exchange: &mut dyn Exchange,
        piece: &Bound<'_, PyBytes>,
    ) -> Result<(), Fault> {
        let admitted = response.admit(piece.as_bytes());
        let mut taken = 0;
        if !self.is_queueing && !admitted.is_empty() {
            taken = match exchange.send_data(admitted) {
                Ok(taken) => taken,
                Err(error) if is_passing(&error) => 0,
                Err(error) => return Err(Fault::Exchange(error)),
            };
        }
        if taken >= admitted.len() {
            return Ok(());
        }
        self.is_queueing = true;
        let owned = Bytes::from_owner(PyBackedBytes::from(piece.clone()));
        let rest = owned.slice(taken..admitted.len());
        piece.py().detach(|| exchange.send_rest(rest)).map_err(Fault::Exchange)
    }
}

/// Sends a file, or the part of it that is announced, and returns whether that was done: otherwise
/// it must be read.
fn send_file(
    response: &mut Response,
    exchange: &mut dyn Exchange,
    file: &Bound<'_, PyAny>,
) -> Result<bool, Fault> {
    let Some((descriptor, mut range)) = plain_file(file) else { return Ok(false) };
    let available = range.end - range.start;
    range.end = range.start + response.left().unwrap_or(available).min(available);
    if range.is_empty() {
        return Ok(false);
    }
    response.send_head(exchange, Some(available))?;
    let start = range.start;
    while !range.is_empty() && !response.is_bodiless() {
        match attempt(file.py(), exchange, |exchange| exchange.send_file(descriptor, range.clone()))
        {
            // Shorter than it was: the response cannot be completed, and `finish` will say so.
            Ok(0) => break,
            Ok(taken) => {
                let taken = taken.min(range.end - range.start);
                range.start += taken;
                response.count(taken);
            }
            Err(Fault::Exchange(error))
                if error.kind() == io::ErrorKind::Unsupported && range.start == start =>
            {
                return Ok(false);
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(true)
}

/// What an application may forget: to return anything, or to encode a page. No frame of Python is to
/// blame, so the message has to tell.
fn not_iterable(returned: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    let py = returned.py();
    // The object's own `__iter__` speaks for itself.
    if error.traceback(py).is_some() || !error.is_instance_of::<PyTypeError>(py) {
        return error;
    }
    let kind = type_name(returned);
    PyTypeError::new_err(format!("the application must return an iterable of bytes, not {kind}"))
}

fn not_bytes(piece: &Bound<'_, PyAny>) -> PyErr {
    let kind = type_name(piece);
    PyTypeError::new_err(format!("the response's body must be made of bytes, not of {kind}"))
}

fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "an object".to_owned(), |name| name.to_string())
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
