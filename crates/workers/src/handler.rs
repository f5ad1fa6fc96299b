//! What answers requests.

use std::io;
use std::time::Duration;

use rgunicorn_http1::{RequestHead, SendError};

use crate::call::Interrupter;
use crate::client::Client;

/// Answers requests: a WSGI application is one, a Rust type can be another.
///
/// A request arrives when it is complete, body included, so no handler ever waits for a slow
/// client to send; unless [`Options::request_buffering`](crate::Options::request_buffering) is off.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. The connection comes back in the [`Outcome`]; a handler that drops it
    /// closes it.
    ///
    /// # Errors
    /// The connection is of no more use; it has been dropped.
    fn handle(&self, request: &RequestHead, client: Client) -> Result<Outcome, ConnectionError>;

    /// The life of the process's main thread as a worker. An interpreter attaches here, once: to
    /// attach for each request would cost more than the rest of it.
    fn thread(&self, run: &mut dyn FnMut()) {
        run();
    }

    /// Starts one of several threads that call [`handle`](Self::handle). An interpreter makes it
    /// one of its own, attached for life.
    ///
    /// # Errors
    /// There cannot be another thread.
    fn spawn(&self, name: String, run: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        std::thread::Builder::new().name(name).spawn(run).map(drop)
    }

    /// Called around everything that may wait. An interpreter detaches here.
    fn blocking(&self, wait: &mut (dyn FnMut() + Send)) {
        wait();
    }

    /// What ends calls on this thread that take longer than `limit`, the worker's
    /// [`request_timeout`](crate::Options::request_timeout); asked once on each thread that calls
    /// [`handle`](Self::handle), if there is a limit. Without one the handler learns from
    /// [`ConnectionError::Expired`].
    fn interrupter(&self, limit: Duration) -> Option<Box<dyn Interrupter>> {
        let _ = limit;
        None
    }

    /// The worker is to end at once, and a call on the process's main thread is in its way: an
    /// interpreter raises an exception in it. Asked once, on another thread. Whoever does nothing is
    /// killed by the arbiter after a while.
    fn abort(&self) {}

    /// What the threads of this process are doing, for the log. It may take a second, and is called
    /// on a thread that nobody waits for, while the others go on or are stuck. An interpreter tells
    /// the stacks of its own functions here.
    ///
    /// # Errors
    /// That cannot be seen at the moment.
    fn stacks(&self) -> io::Result<Vec<Stack>> {
        Ok(Vec::new())
    }

    /// Called after each such wait, on the process's main thread: here an interpreter runs the
    /// signal handlers that became pending meanwhile. `false`: one of them says that the worker is to
    /// end.
    fn woken(&self) -> bool {
        true
    }
}

/// Where a thread is.
///
/// ```
/// use rgunicorn_workers::Stack;
///
/// let stack = Stack::new(7, "  File \"shop.py\", line 3 in pay".to_owned());
/// assert_eq!(stack.thread, 7);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stack {
    /// The thread as `pthread_self(3)` has it, which is Python's `threading.get_ident()`.
    pub thread: u64,
    /// Lines of text, without a newline at the end.
    pub text: String,
}

impl Stack {
    /// The stack of this thread.
    pub fn new(thread: u64, text: String) -> Self {
        Self { thread, text }
    }
}

/// What became of the connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Answered, or to be closed because it was answered in part: the connection itself knows.
    Done(Client),
    /// As `Done`, and the worker must end: it was told so in the midst of the request.
    Last(Client),
}

/// Why a response could not be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The request has taken longer than [`Options::request_timeout`](crate::Options::request_timeout),
    /// and its client was answered without the handler.
    #[error("the request has run out of time")]
    Expired,
    /// The client is gone, or took no byte within the write timeout.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The handler broke the protocol, for instance by a second head.
    #[error("the response is not one")]
    Response(#[from] SendError),
}

impl From<ConnectionError> for io::Error {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Expired => Self::new(io::ErrorKind::TimedOut, error),
            ConnectionError::Io(error) => error,
            ConnectionError::Response(error) => Self::new(io::ErrorKind::InvalidInput, error),
        }
    }
}
