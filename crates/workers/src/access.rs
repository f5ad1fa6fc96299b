//! What is known of a request once it has been answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rgunicorn_http1::RequestHead;

/// Name and value of a response's field, as they were sent.
pub(crate) type LoggedHeader = (Box<[u8]>, Box<[u8]>);

/// Fields of a response that are kept until it is logged.
pub(crate) type LoggedHeaders = Vec<LoggedHeader>;

/// Name and value of what a handler noted.
pub(crate) type Note = (Arc<str>, Box<str>);

/// One answered request, as an access log or a counter sees it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Record<'a> {
    /// The request as it came.
    pub request: &'a RequestHead,
    /// The client's address; absent for a Unix socket.
    pub peer: Option<SocketAddr>,
    /// The status that was sent, 100 to 599.
    pub status: u16,
    /// Body bytes of the response, without chunk framing.
    pub sent_bytes: u64,
    /// The fields of the response, in the order of its head; empty unless
    /// [`Options::log_response_headers`](crate::Options::log_response_headers) asks for them.
    pub response_headers: &'a [LoggedHeader],
    /// What the handler told about the request, by [`Client::note`](crate::Client::note). Of a WSGI
    /// application: the variables of the environ that `WsgiHandler::log_environ` asks for.
    pub notes: &'a [Note],
    /// When the handler was called, to within a few milliseconds.
    pub started: SystemTime,
    /// From then until the response lay with the kernel or in the connection's output buffer.
    pub duration: Duration,
}

impl<'a> Record<'a> {
    /// A record of this request with an empty response, as tests of a [`RequestLog`] need it.
    pub fn new(request: &'a RequestHead) -> Self {
        Self {
            request,
            peer: None,
            status: 200,
            sent_bytes: 0,
            response_headers: &[],
            notes: &[],
            started: SystemTime::UNIX_EPOCH,
            duration: Duration::ZERO,
        }
    }
}

/// Receives every answered request, on the thread that served it.
///
/// The unit type is a log that keeps nothing.
pub trait RequestLog: Send + Sync + 'static {
    /// Called once per request, after the response and before the connection's next request.
    fn request_done(&self, record: &Record<'_>) {
        let _ = record;
    }

    /// `SIGUSR1`: files were renamed and are to be opened anew.
    fn reopen(&self) {}
}

impl RequestLog for () {}
