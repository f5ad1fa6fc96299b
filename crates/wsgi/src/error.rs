//! What can go wrong while an application is loaded or called, and whose fault it is.

use std::io;

use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use thiserror::Error;

/// Why a call of the application did not end well.
///
/// [`head_sent`](Self::head_sent) tells what the owner of the exchange can still do: answer with an
/// error page, or close the connection without a proper end so that the client notices.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AppError {
    /// The application raised after the head of the response was sent: the body is incomplete.
    #[error("the application failed after the response had begun")]
    AfterHead(#[source] PyErr),
    /// The request body could not be read, and the application gave up because of it before it
    /// sent anything: a malformed body, or a client that went away.
    #[error("cannot read the request body")]
    BadBody(#[source] io::Error),
    /// The application raised before anything was sent: a 500.
    #[error("the application failed")]
    BeforeHead(#[source] PyErr),
    /// The response is complete, but the iterable's `close()` raised.
    #[error("the application's close() failed after a complete response")]
    Close(#[source] PyErr),
    /// The exchange failed once the response had begun: most often the client is gone.
    #[error("the client is gone")]
    Disconnected(#[source] io::Error),
    /// The application broke the rules of PEP 3333.
    #[error(transparent)]
    Protocol(#[from] Violation),
}

impl AppError {
    /// Whether the head of the response was given to the exchange, so that no other can follow.
    pub fn head_sent(&self) -> bool {
        match self {
            Self::AfterHead(_) | Self::Close(_) | Self::Disconnected(_) => true,
            Self::BadBody(_) | Self::BeforeHead(_) => false,
            Self::Protocol(violation) => violation.head_sent(),
        }
    }

    /// Whether the client got a complete response in spite of the error, so that the connection may
    /// be used again.
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Close(_))
    }

    /// The traceback as Python prints it, with the chain of causes; `None` if no Python exception
    /// is behind this error.
    pub fn traceback(&self) -> Option<String> {
        self.exception().map(|error| Python::attach(|py| format_exception(py, error)))
    }

    /// The exit code, if the application raised `SystemExit`: 0 for none, 1 for one that is no
    /// integer, as in a script.
    pub fn system_exit(&self) -> Option<i32> {
        let error = self.exception()?;
        Python::attach(|py| SystemExit::of(py, error)).map(|exit| exit.code)
    }

    fn exception(&self) -> Option<&PyErr> {
        match self {
            Self::AfterHead(error) | Self::BeforeHead(error) | Self::Close(error) => Some(error),
            Self::BadBody(_) | Self::Disconnected(_) | Self::Protocol(_) => None,
        }
    }
}

/// A rule of PEP 3333 that the application broke without raising an exception.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// The application announced a body and returned none; nothing was sent.
    #[error("the application returned no body although its Content-Length is {declared}")]
    BodyMissing {
        /// The value of `Content-Length`, in bytes.
        declared: u64,
    },
    /// The body was shorter than announced: the client still waits for the rest, so the connection
    /// must be closed.
    #[error(
        "the application sent {sent} bytes of a body although its Content-Length is {declared}"
    )]
    BodyTooShort {
        /// The value of `Content-Length`, in bytes.
        declared: u64,
        /// The bytes that were sent.
        sent: u64,
    },
    /// The application returned, or yielded a part of the body, without calling `start_response`.
    #[error("the application did not call start_response()")]
    NoStartResponse,
    /// The path of the request is not below [`Request::script_name`](crate::Request::script_name), or
    /// that of the options.
    #[error("the request's path is not below SCRIPT_NAME")]
    OutsideScriptName,
}

impl Violation {
    /// Whether the head of the response was given to the exchange.
    pub fn head_sent(self) -> bool {
        match self {
            Self::BodyTooShort { .. } => true,
            Self::BodyMissing { .. } | Self::NoStartResponse | Self::OutsideScriptName => false,
        }
    }
}

/// What `SystemExit` asks of a program.
///
/// ```
/// use rgunicorn_wsgi::SystemExit;
/// use rgunicorn_wsgi::pyo3::{Python, exceptions::PySystemExit};
///
/// Python::initialize();
/// let exit = Python::attach(|py| {
///     SystemExit::of(py, &PySystemExit::new_err("no database"))
/// }).unwrap();
/// assert_eq!((exit.code, exit.message.as_deref()), (1, Some("no database")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SystemExit {
    /// The exit code: 0 for none, 1 with a message.
    pub code: i32,
    /// What `python` prints on standard error then: a code that is no integer.
    pub message: Option<String>,
}

impl SystemExit {
    /// What this exception asks for, if it is a `SystemExit`.
    pub fn of(py: Python<'_>, error: &PyErr) -> Option<Self> {
        if !error.is_instance_of::<PySystemExit>(py) {
            return None;
        }
        let code = error.value(py).getattr("code").ok()?;
        if code.is_none() {
            return Some(Self { code: 0, message: None });
        }
        Some(match code.extract() {
            Ok(code) => Self { code, message: None },
            Err(_) => Self { code: 1, message: Some(code.to_string()) },
        })
    }
}

/// Why an application could not be loaded.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// The module was imported, but what was asked for is not in it, or is no application.
    #[error("{0}")]
    Application(String),
    /// The module, or the factory in it, raised an exception.
    #[error("{message}")]
    Raised {
        /// What the exception asks for, if it is a `SystemExit`.
        exit: Option<SystemExit>,
        /// The exception on one line, such as `ModuleNotFoundError: No module named 'x'`.
        message: String,
        /// The traceback as Python prints it.
        traceback: String,
    },
}

impl LoadError {
    /// Whether the module itself was sound: gunicorn ends with exit code 4 then, otherwise 3.
    pub fn is_app_error(&self) -> bool {
        matches!(self, Self::Application(_))
    }

    /// The traceback as Python prints it, if the module or the factory raised.
    pub fn traceback(&self) -> Option<&str> {
        match self {
            Self::Application(_) => None,
            Self::Raised { traceback, .. } => Some(traceback),
        }
    }

    /// What the module or the factory asks for, if it raised `SystemExit`.
    pub fn system_exit(&self) -> Option<&SystemExit> {
        match self {
            Self::Application(_) => None,
            Self::Raised { exit, .. } => exit.as_ref(),
        }
    }

    pub(crate) fn raised(py: Python<'_>, error: &PyErr) -> Self {
        Self::Raised {
            exit: SystemExit::of(py, error),
            message: error.to_string(),
            traceback: format_exception(py, error),
        }
    }
}

/// An exception as Python prints it, with its traceback and the chain of causes; the bare
/// exception should even that fail.
///
/// ```
/// use rgunicorn_wsgi::format_exception;
/// use rgunicorn_wsgi::pyo3::{Python, exceptions::PyValueError};
///
/// Python::initialize();
/// let text = Python::attach(|py| format_exception(py, &PyValueError::new_err("no")));
/// assert_eq!(text, "ValueError: no\n");
/// ```
pub fn format_exception(py: Python<'_>, error: &PyErr) -> String {
    // Before Python 3.12 the exception does not know its traceback yet.
    let parts = (error.get_type(py), error.value(py), error.traceback(py));
    py.import("traceback")
        .and_then(|module| module.call_method1("format_exception", parts))
        .and_then(|lines| lines.extract::<Vec<String>>())
        .map_or_else(|_| error.to_string(), |lines| lines.concat())
}
