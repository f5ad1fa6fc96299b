//! An application: loaded once, called for each request.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::body::{self, Sequence};
use crate::error::format_exception;
use crate::exchange::Exchange;
use crate::import;
use crate::observer::Observer;
use crate::options::EnvironOptions;
use crate::request::Request;
use crate::response::{Fault, Response};
use crate::session::{Session, Workspace};
use crate::{AppError, LoadError, Spec};

/// A WSGI application.
///
/// It may be called from several threads at once if it is thread-safe in itself; say so with
/// [`EnvironOptions::multithread`]. What calls have in common is kept between them, once for
/// each call that runs at the same time.
///
/// ```
/// use pyo3::prelude::*;
/// use rgunicorn_wsgi::{App, EnvironOptions, pyo3};
///
/// Python::initialize();
/// let app = Python::attach(|py| {
///     App::load(py, &"wsgiref.simple_server:demo_app".parse().unwrap(), EnvironOptions::default())
/// });
/// assert!(app.is_ok());
/// ```
pub struct App {
    callable: Py<PyAny>,
    options: EnvironOptions,
    /// One for each call that is not under way; never more than there were threads.
    idle: Mutex<Idle>,
}

impl App {
    /// Imports an application.
    ///
    /// The directory it lies in must be in `sys.path`.
    ///
    /// # Errors
    /// With gunicorn's messages, if there is no such module or no application in it, or if one of
    /// them raises an exception.
    pub fn load(py: Python<'_>, spec: &Spec, options: EnvironOptions) -> Result<Self, LoadError> {
        import::load(py, spec).map(|callable| Self::new(callable, options))
    }

    /// Takes an application that is there already.
    pub fn new(app: Py<PyAny>, options: EnvironOptions) -> Self {
        Self { callable: app, options, idle: Mutex::default() }
    }

    /// The same application with other options, and nothing of what calls have made of these.
    #[cfg(feature = "tower")]
    pub(crate) fn with_options(
        &self,
        change: impl FnOnce(EnvironOptions) -> EnvironOptions,
    ) -> Self {
        let callable = Python::attach(|py| self.callable.clone_ref(py));
        Self::new(callable, change(self.options.clone()))
    }

    /// Answers one request.
    ///
    /// Attaches to the interpreter, which costs next to nothing if the calling thread is attached
    /// already, and detaches while the exchange waits. The exchange comes back whatever happens; its
    /// owner ends the response, and must not when the error says that it is incomplete.
    ///
    /// # Errors
    /// When the application raised, broke PEP 3333, or the exchange failed. An exception of
    /// `close()` that follows another error is logged.
    ///
    /// # Panics
    /// When the exchange panics: the panic passes through the application as a Python exception and
    /// goes on here.
    pub fn call<'a, E, H>(&self, request: Request<'a, H>, exchange: E) -> (E, Result<(), AppError>)
    where
        E: Exchange + 'static,
        H: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    {
        self.call_observed(request, exchange, &mut ())
    }

    /// As [`call`](Self::call), with somebody who looks at it from Python's side.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    ///
    /// # Panics
    /// As [`call`](Self::call).
    pub fn call_observed<'a, E, H>(
        &self,
        request: Request<'a, H>,
        exchange: E,
        observer: &mut impl Observer,
    ) -> (E, Result<(), AppError>)
    where
        E: Exchange + 'static,
        H: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    {
        Python::attach(|py| {
            let idle = self.idle().pop();
            let prepared = idle.map_or_else(|| Workspace::new(py, &self.options), Ok);
            let mut workspace = match prepared {
                Ok(workspace) => workspace,
                Err(error) => return (exchange, Err(AppError::BeforeHead(error))),
            };
            let mut session = match workspace.take_session(py) {
                Ok(session) => session,
                Err(error) => return (exchange, Err(AppError::BeforeHead(error))),
            };
            session.open(exchange, request.method == "HEAD");
            let input = if request.has_body { session.input(py).map(Some) } else { Ok(None) };
            let environ = input
                .map_err(Fault::Raised)
                .and_then(|input| workspace.environ.build(py, request, input));
            let (exchange, mut response, result) = match environ {
                Ok(environ) => self.respond(&session, &environ, observer),
                Err(fault) => {
                    let (response, exchange) = session.end(py);
                    (exchange, response, Err(fault))
                }
            };
            let result = result.map_err(|fault| judge(py, &mut response, fault));
            workspace.errors.get().finish_line();
            session.recycle(response);
            workspace.keep_session(py, session);
            self.idle().push(workspace);
            (exchange, result)
        })
    }

    /// Calls the application and sends what it returns.
    fn respond<E: Exchange + 'static>(
        &self,
        session: &Session<E>,
        environ: &Bound<'_, PyDict>,
        observer: &mut impl Observer,
    ) -> (E, Box<Response>, Result<(), Fault>) {
        let py = environ.py();
        let start_response = session.start_response.bind(py);
        let iterable = match self.callable.bind(py).call1((environ, start_response)) {
            Ok(iterable) => iterable,
            Err(error) => {
                observer.after(environ);
                let (response, exchange) = session.end(py);
                return (exchange, response, Err(Fault::Raised(error)));
            }
        };
        if let Some(sequence) = Sequence::of(&iterable) {
            let (mut response, mut exchange) = session.end(py);
            let result = sequence.send(&mut response, &mut exchange);
            observer.after(environ);
            return (exchange, response, result);
        }
        let sent = session.call.send_iterable(&iterable);
        observer.after(environ);
        // PEP 3333: whatever happened, and before the application hears of another request.
        let closed = body::close(&iterable);
        let (response, exchange) = session.end(py);
        let result = match (sent, closed) {
            (sent, Ok(())) => sent,
            (Ok(()), Err(error)) => Err(Fault::Close(error)),
            (Err(first), Err(error)) => {
                log::error!("close() failed as well:\n{}", format_exception(py, &error));
                Err(first)
            }
        };
        (exchange, response, result)
    }

    /// Locked to take one or to put one back, while no Python code can run. Another call's panic
    /// leaves the list whole.
    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for App {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("App").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Boxed, because a workspace is large and moves out and in with every call.
type Idle = Vec<Box<Workspace>>;

/// Says whose fault it was.
fn judge(py: Python<'_>, response: &mut Response, fault: Fault) -> AppError {
    let error = match fault {
        Fault::Close(error) => return AppError::Close(error),
        Fault::Exchange(error) => return AppError::Disconnected(error),
        Fault::Violation(violation) => return AppError::Protocol(violation),
        Fault::Raised(error) => error,
    };
    let is_sent = response.is_sent();
    match response.take_failure() {
        // Our own exception, or what a framework made of it.
        Some(failure) if error.is_instance_of::<PyOSError>(py) => {
            if is_sent {
                AppError::Disconnected(failure)
            } else {
                AppError::BadBody(failure)
            }
        }
        _ if is_sent => AppError::AfterHead(error),
        _ => AppError::BeforeHead(error),
    }
}
