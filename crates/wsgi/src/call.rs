//! What one call of the application shares with the objects that were handed to it.

use std::io;
use std::sync::Arc;

use pyo3::exceptions::PyAssertionError;
use pyo3::prelude::*;

use crate::exchange::Exchange;
use crate::response::{Fault, Response};
use crate::slot::{Slot, Unavailable};

/// The state of one request. `start_response`, `write` and `wsgi.input` see it as [`AnyCall`],
/// because a Python class cannot be generic; the driver knows the kind of exchange.
pub(crate) struct Call<S: ?Sized> {
    /// Boxed, because it changes hands several times in each call.
    pub(crate) response: Slot<Box<Response>>,
    pub(crate) exchange: S,
}

pub(crate) type AnyCall = Call<dyn Lend>;

/// A slot with an exchange of some kind in it.
pub(crate) trait Lend: Send + Sync {
    /// Lends the exchange to `work`.
    fn lend(&self, work: &mut dyn FnMut(&mut dyn Exchange)) -> Result<(), Unavailable>;
}

impl<E: Exchange> Lend for Slot<E> {
    fn lend(&self, work: &mut dyn FnMut(&mut dyn Exchange)) -> Result<(), Unavailable> {
        Self::lend(self, |exchange| work(exchange))
    }
}

impl<E: Exchange> Call<Slot<E>> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { response: Slot::new(), exchange: Slot::new() })
    }
}

impl AnyCall {
    /// Lends response and exchange to `work`.
    pub(crate) fn transmit(
        &self,
        mut work: impl FnMut(&mut Response, &mut dyn Exchange) -> Result<(), Fault>,
    ) -> Result<Result<(), Fault>, Unavailable> {
        self.response.lend(|response| {
            let mut result = Ok(());
            self.exchange.lend(&mut |exchange| result = work(response, exchange))?;
            Ok(result)
        })?
    }

    /// Makes a Python exception of what went wrong in an operation of the application's. An error of
    /// the exchange is remembered: should the application let the exception through, then it was not
    /// its fault.
    pub(crate) fn raise(&self, fault: Fault) -> PyErr {
        let error = match fault {
            Fault::Close(error) | Fault::Raised(error) => return error,
            Fault::Violation(violation) => return PyAssertionError::new_err(violation.to_string()),
            Fault::Exchange(error) => error,
        };
        let shown = io::Error::new(error.kind(), error.to_string());
        match self.response.lend(|response| response.set_failure(error)) {
            // Busy if another thread starts the response just now: then it goes unremembered.
            Ok(()) | Err(_) => shown.into(),
        }
    }
}

/// Sends one piece of the body, and the head before the first one that is not empty.
///
/// PEP 3333, "Buffering and Streaming": the piece is on its way before the application goes on.
pub(crate) fn send_piece(
    py: Python<'_>,
    response: &mut Response,
    exchange: &mut dyn Exchange,
    piece: &[u8],
) -> Result<(), Fault> {
    if piece.is_empty() {
        return Ok(());
    }
    response.send_head(exchange, None)?;
    let mut left = response.admit(piece);
    while !left.is_empty() {
        let taken = match attempt(py, exchange, |exchange| exchange.send_data(left))? {
            0 => return Err(Fault::Exchange(io::ErrorKind::WriteZero.into())),
            taken => taken,
        };
        left = left.get(taken..).unwrap_or_default();
    }
    Ok(())
}

/// Repeats an operation until it can be done, waiting detached from Python in between.
pub(crate) fn attempt<R>(
    py: Python<'_>,
    exchange: &mut dyn Exchange,
    mut operation: impl FnMut(&mut dyn Exchange) -> io::Result<R>,
) -> Result<R, Fault> {
    loop {
        let result = match operation(exchange) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                py.detach(|| exchange.wait())
            }
            Err(error) => Err(error),
            Ok(value) => return Ok(value),
        };
        match result {
            Ok(()) => {}
            // As everywhere in Python (PEP 475): signal handlers run, and may raise.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => py.check_signals()?,
            Err(error) => return Err(Fault::Exchange(error)),
        }
    }
}
