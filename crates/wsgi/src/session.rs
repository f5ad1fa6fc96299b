//! The objects that are made for a call and serve the next one as well.

use std::any::Any;
use std::sync::Arc;

use pyo3::prelude::*;

use crate::call::{AnyCall, Call};
use crate::environ::EnvironBuilder;
use crate::errors::Errors;
use crate::exchange::Exchange;
use crate::ffi;
use crate::input::Input;
use crate::options::EnvironOptions;
use crate::response::Response;
use crate::slot::Slot;
use crate::start_response;

/// What one thread needs to call the application. An application has as many as there were ever
/// calls at the same time.
pub(crate) struct Workspace {
    pub(crate) environ: EnvironBuilder,
    pub(crate) errors: Py<Errors>,
    /// A `Session<E>`, of the kind of exchange that came last.
    session: Option<Box<dyn Any + Send>>,
}

impl Workspace {
    pub(crate) fn new(py: Python<'_>, options: &EnvironOptions) -> PyResult<Box<Self>> {
        let errors = Bound::new(py, Errors::new())?;
        let environ = EnvironBuilder::new(py, options, &errors)?;
        Ok(Box::new(Self { environ, errors: errors.unbind(), session: None }))
    }

    /// The session of the last call, or a new one.
    pub(crate) fn take_session<E: Exchange + 'static>(
        &mut self,
        py: Python<'_>,
    ) -> PyResult<Box<Session<E>>> {
        match self.session.take().map(<Box<dyn Any + Send>>::downcast) {
            Some(Ok(session)) => Ok(session),
            Some(Err(_)) | None => Session::new(py).map(Box::new),
        }
    }

    /// Keeps a session for the next call, unless the application still holds a part of it: what it
    /// does with that must not reach another request.
    pub(crate) fn keep_session<E: Exchange + 'static>(
        &mut self,
        py: Python<'_>,
        session: Box<Session<E>>,
    ) {
        if session.is_unshared(py) {
            self.session = Some(session);
        }
    }
}

/// One call's shared state, and the callables that belong to it.
pub(crate) struct Session<E> {
    pub(crate) call: Arc<Call<Slot<E>>>,
    pub(crate) start_response: Py<PyAny>,
    write: Py<PyAny>,
    /// Out of use between two calls; keeps its memory.
    response: Option<Box<Response>>,
}

impl<E: Exchange + 'static> Session<E> {
    fn new(py: Python<'_>) -> PyResult<Self> {
        let call = Call::new();
        let any: Arc<AnyCall> = Arc::clone(&call) as _;
        let (start_response, write) = start_response::bind(py, &any)?;
        Ok(Self { call, start_response, write, response: None })
    }

    pub(crate) fn open(&mut self, exchange: E, head_only: bool) {
        let mut response = self.response.take().unwrap_or_default();
        response.reset(head_only);
        self.call.response.open(response);
        self.call.exchange.open(exchange);
    }

    pub(crate) fn input<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Input>> {
        Bound::new(py, Input::new(Arc::clone(&self.call) as _))
    }

    /// Ends the request for everyone who still holds a part of it.
    pub(crate) fn end(&self, py: Python<'_>) -> (Box<Response>, E) {
        (self.call.response.close(py), self.call.exchange.close(py))
    }

    /// Takes a response back for its memory.
    pub(crate) fn recycle(&mut self, response: Box<Response>) {
        self.response = Some(response);
    }

    /// Whether nobody else has a reference to any part: `start_response` is referred to only here,
    /// `write` also by the object behind `start_response`, and the call by the objects behind both.
    fn is_unshared(&self, py: Python<'_>) -> bool {
        ffi::reference_count(self.start_response.bind(py)) == 1
            && ffi::reference_count(self.write.bind(py)) == 2
            && Arc::strong_count(&self.call) == 3
    }
}
