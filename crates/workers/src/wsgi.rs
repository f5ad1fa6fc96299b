//! A WSGI application as a [`Handler`].

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pyo3::prelude::*;
use rgunicorn_arbiter::Address;
use rgunicorn_http1::{Framing, RequestHead, ResponseHead};
use rgunicorn_wsgi::{App, AppError, Exchange, Local, Request, Scheme, format_exception};

use crate::backtrace::Backtraces;
use crate::call::Interrupter;
use crate::client::Client;
use crate::handler::{ConnectionError, Handler, Outcome, Stack};
use crate::interrupt::{Interrupt, ThreadInterrupter};
use crate::python::{end_if_forked, raise_on_abort, spawn_thread};
use crate::variables::Variables;

/// Calls a WSGI application, on the process's main thread, attached to Python for life.
#[derive(Debug)]
pub struct WsgiHandler {
    aborted: Arc<AtomicBool>,
    app: App,
    backtraces: Backtraces,
    /// Made when the first thread asks for it.
    interrupt: OnceLock<Arc<Interrupt>>,
    /// Variables of the environ that the log wants to know.
    logged: Vec<Arc<str>>,
}

impl WsgiHandler {
    /// Takes the application, the signal by which the arbiter ends a worker that hangs, and one
    /// (SIGSTKFLT) by which this process looks at its own stacks.
    ///
    /// # Errors
    /// Not called on Python's main thread, or without a `faulthandler`.
    pub fn new(py: Python<'_>, app: App) -> PyResult<Self> {
        let (interrupt, logged) = (OnceLock::new(), Vec::new());
        let backtraces = Backtraces::install(py)?;
        Ok(Self { aborted: raise_on_abort(py)?, app, backtraces, interrupt, logged })
    }

    /// Notes these variables of the environ for the log, with the values that they have after the
    /// request, also those that the application sets. Case does not matter. Those that are there
    /// become [`Record::notes`](crate::Record::notes), as `str()` shows them. None by default.
    #[must_use]
    pub fn log_environ<N: Into<Arc<str>>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.logged = names.into_iter().map(Into::into).collect();
        self
    }
}

impl WsgiHandler {
    /// A client that went away is its own affair; everything else is the application's, and its
    /// developer needs to know where.
    fn report(&self, head: &RequestHead, client: &Client, error: &AppError) {
        let (method, target) = (head.method(), String::from_utf8_lossy(head.target()));
        match error {
            AppError::Disconnected(cause) => {
                log::debug!("Ignored premature client disconnection. {method} {target}: {cause}");
            }
            AppError::BadBody(cause) if client.has_broken_body() => {
                log::debug!("Ignored an incomplete request. {method} {target}: {cause}");
            }
            _ => match error.traceback() {
                Some(traceback) if self.is_timeout(error) => {
                    log::error!("Request interrupted {method} {target}\n{}", traceback.trim_end());
                }
                Some(traceback) => {
                    log::error!(
                        "Error handling request {method} {target}\n{}",
                        traceback.trim_end()
                    );
                }
                None => log::error!("Error handling request {method} {target}: {error}"),
            },
        }
    }

    fn is_timeout(&self, error: &AppError) -> bool {
        match (self.interrupt.get(), error) {
            (
                Some(interrupt),
                AppError::AfterHead(error) | AppError::BeforeHead(error) | AppError::Close(error),
            ) => Python::attach(|py| interrupt.is_cause(py, error)),
            _ => false,
        }
    }
}

impl Handler for WsgiHandler {
    fn handle(&self, head: &RequestHead, client: Client) -> Result<Outcome, ConnectionError> {
        let local = client.local().map(Arc::clone);
        let request = Request {
            method: head.method(),
            target: head.target(),
            version: head.version().as_str(),
            headers: head.headers(),
            scheme: match head.scheme() {
                rgunicorn_http1::Scheme::Http => Scheme::Http,
                rgunicorn_http1::Scheme::Https => Scheme::Https,
            },
            peer: client.peer(),
            local: match local.as_deref() {
                Some(Address::Tcp { host, port, .. }) => Local::Tcp { address: host, port: *port },
                _ => Local::Unix,
            },
            script_name: script_name(head),
            has_body: head.body() != Framing::None,
        };
        let mut variables = Variables::new(&self.logged);
        let (mut client, result) = self.app.call_observed(request, client, &mut variables);
        end_if_forked();
        for (name, value) in variables.found() {
            client.note(name, value);
        }
        if let Err(error) = result {
            self.report(head, &client, &error);
            if !error.is_complete() {
                client.send_error(500, "");
            }
        }
        Ok(if self.aborted.load(Ordering::Relaxed) {
            Outcome::Last(client)
        } else {
            Outcome::Done(client)
        })
    }

    fn thread(&self, run: &mut dyn FnMut()) {
        Python::attach(|_| run());
    }

    fn spawn(&self, name: String, run: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        Python::attach(|py| spawn_thread(py, &name, run)).map_err(io::Error::other)
    }

    fn blocking(&self, wait: &mut (dyn FnMut() + Send)) {
        Python::attach(|py| py.detach(wait));
    }

    fn interrupter(&self, limit: Duration) -> Option<Box<dyn Interrupter>> {
        let made = Python::attach(|py| -> PyResult<_> {
            if self.interrupt.get().is_none() {
                // Made outside of the lock, as Python may give the interpreter away meanwhile: of
                // two that are made at once the first one counts.
                let interrupt = Arc::new(Interrupt::new(py, limit)?);
                drop(self.interrupt.set(interrupt));
            }
            self.interrupt
                .get()
                .map(|interrupt| ThreadInterrupter::new(py, Arc::clone(interrupt)))
                .transpose()
        });
        match made {
            Ok(interrupter) => interrupter.map(|it| Box::new(it) as Box<dyn Interrupter>),
            Err(error) => {
                log::error!("requests that take too long cannot be interrupted: {error}");
                None
            }
        }
    }

    /// As the arbiter does with one that hangs: a thread that sleeps in the kernel wakes up, too.
    fn abort(&self) {
        if let Err(error) = kill(Pid::this(), Signal::SIGABRT) {
            log::error!("cannot interrupt a call: {error}");
        }
    }

    fn stacks(&self) -> io::Result<Vec<Stack>> {
        self.backtraces.dump()
    }

    fn woken(&self) -> bool {
        Python::attach(|py| match py.check_signals() {
            // There was no call to raise it in.
            Err(_) if self.aborted.load(Ordering::Relaxed) => false,
            Err(error) => {
                let traceback = format_exception(py, &error);
                log::error!("Exception in a signal handler\n{}", traceback.trim_end());
                true
            }
            Ok(()) => true,
        })
    }
}

/// Where the application is mounted, if a trusted proxy says so by gunicorn's field `SCRIPT_NAME`. The
/// last one counts: a proxy that adds its own puts it behind the client's.
fn script_name(head: &RequestHead) -> Option<&[u8]> {
    if !head.peer_is_trusted() {
        return None;
    }
    let fields = head.headers().filter(|(name, _)| name.eq_ignore_ascii_case(b"SCRIPT_NAME"));
    fields.map(|(_, value)| value).last()
}

/// What the application does to its connection.
impl Exchange for Client {
    fn read_body(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::read_body(self, buffer)
    }

    fn read_size(&self, limit: usize) -> Option<usize> {
        let remaining = usize::try_from(self.body_remaining()?).unwrap_or(usize::MAX);
        let size = limit.min(remaining);
        (self.is_body_here() || size <= PROMISE_LIMIT_BYTES).then_some(size)
    }

    fn send_head(&mut self, head: &rgunicorn_wsgi::ResponseHead<'_>) -> io::Result<()> {
        end_if_forked();
        let mut response = ResponseHead::new(head.status, head.headers);
        response.reason = head.reason;
        response.length = head.length;
        Ok(Self::send_head(self, &response)?)
    }

    fn send_data(&mut self, data: &[u8]) -> io::Result<usize> {
        end_if_forked();
        Ok(Self::send_data(self, data)?)
    }

    fn send_rest(&mut self, data: Bytes) -> io::Result<()> {
        end_if_forked();
        Ok(Self::send_rest(self, data)?)
    }

    fn send_file(&mut self, file: BorrowedFd<'_>, range: Range<u64>) -> io::Result<u64> {
        Ok(Self::send_file(self, file, range)?)
    }

    fn wait(&mut self) -> io::Result<()> {
        Self::wait(self)
    }
}

/// So many bytes of a body that is still coming may have their memory before they are here.
const PROMISE_LIMIT_BYTES: usize = 1 << 20;
