//! One connection, as its handler holds it.

use std::fmt;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use bytes::Bytes;
use rgunicorn_arbiter::Address;
use rgunicorn_http1::{Connection, ProtocolError, RequestHead, ResponseHead, error_response};

use crate::access::{LoggedHeaders, Note};
use crate::clock::wall_clock;
use crate::context::Context;
use crate::handler::ConnectionError;
use crate::inflight::Flight;
use crate::output::Output;
use crate::poller::Token;
use crate::socket::Socket;
use crate::spool::Body;

mod incoming;
mod lifecycle;
mod waiting;

use incoming::Incoming;
use waiting::Awaited;

pub(crate) use lifecycle::{Next, Received};

/// A client whose request is here: read its body, send a head, send data.
///
/// It is owned: by the reactor while bytes travel, by a [`Handler`](crate::Handler) while it
/// answers. Dropping it closes the connection. None of its methods waits, but for
/// [`wait`](Self::wait).
pub struct Client {
    inner: Box<Inner>,
}

struct Inner {
    /// What the last operation that could not go on waits for.
    awaited: Awaited,
    body: Body,
    /// Bytes of the body that have come out of the protocol so far.
    body_bytes: u64,
    context: Arc<Context>,
    /// Other requests are ready, so a finished response may wait for theirs.
    defers: bool,
    /// So many bytes of what this connection sends may lie in the outbox.
    deferred: usize,
    /// What others see of the current request, if it has a deadline.
    flight: Option<Arc<Flight>>,
    /// The request whose body is under way.
    head: Option<RequestHead>,
    http: Connection,
    /// The handler reads the body as it comes.
    incoming: Option<Incoming>,
    local: Option<Arc<Address>>,
    /// Fields of the current response, if records are to carry them.
    logged_headers: LoggedHeaders,
    /// What the handler told about the current request.
    notes: Vec<Note>,
    output: Output,
    peer: Option<SocketAddr>,
    progress: Progress,
    /// Requests served on this connection, here and in other workers.
    requests: u64,
    /// Body bytes of the current response.
    sent_bytes: u64,
    /// Status of the current response, 100 to 599; 0 before its head.
    status: u16,
    socket: Arc<Socket>,
    token: Token,
}

/// How far a connection has come with its response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Progress {
    /// Between requests.
    Between,
    /// It is under way.
    Response,
    /// It failed: it must not get an end.
    Truncated,
}

/// Data up to this size is copied behind the head, so that one send(2) takes both; copying more
/// costs more than writev(2) does.
const COPY_LIMIT_BYTES: usize = 16 << 10;

/// So much of a refused request's first line is for the log.
const LOGGED_LINE_BYTES: usize = 200;

/// Pieces of one response that leave together.
const DEFERRED_LIMIT_BYTES: usize = 64 << 10;

/// One call takes at most so much, so that what the socket leaves is bounded.
const STEP_LIMIT_BYTES: usize = 128 << 10;

impl Client {
    /// The client's address; `None` for a Unix socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.inner.peer
    }

    /// The address of the listener that the client came by.
    pub fn local(&self) -> Option<&Arc<Address>> {
        self.inner.local.as_ref()
    }

    /// Reads the request's body; 0 is its end.
    ///
    /// # Errors
    /// The temporary file of a large body cannot be read. Without
    /// [`request_buffering`](crate::Options::request_buffering) also, and then the connection ends
    /// after the response: `WouldBlock`, [`wait`](Self::wait) and read again; `InvalidData`, the
    /// body is malformed or too large; `ConnectionReset`, the client is gone.
    pub fn read_body(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let inner = &mut *self.inner;
        inner.check_time()?;
        if inner.incoming.is_some() { inner.read_incoming(buffer) } else { inner.body.read(buffer) }
    }

    /// Bytes of the request's body that were not read yet; `None` if nobody knows, because it
    /// is still coming in chunks.
    pub fn body_remaining(&self) -> Option<u64> {
        let here = self.inner.body.remaining();
        match &self.inner.incoming {
            Some(incoming) => {
                Some(incoming.announced?.saturating_sub(self.inner.body_bytes) + here)
            }
            None => Some(here),
        }
    }

    /// Whether all of the body has arrived.
    pub fn is_body_here(&self) -> bool {
        self.inner.incoming.is_none()
    }

    /// Whether it was the client's doing that the body could not be read to its end.
    pub(crate) fn has_broken_body(&self) -> bool {
        self.inner.body_fault().is_some()
    }

    /// Starts the response. The head stays in the buffer until data or the end follows, so that
    /// one packet carries both.
    ///
    /// # Errors
    /// [`ConnectionError::Response`]: a second head, or one that is not valid.
    /// [`ConnectionError::Expired`], here and below: the request has taken too long.
    pub fn send_head(&mut self, head: &ResponseHead<'_>) -> Result<(), ConnectionError> {
        let inner = &mut *self.inner;
        if inner.context.is_closing() {
            inner.http.close_after_response();
        }
        inner.http.send_response(head, wall_clock(), &mut inner.output.head)?;
        inner.begin_response()?;
        inner.status = head.status;
        inner.sent_bytes = 0;
        if inner.context.options.log_response_headers {
            let copies = head.headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            inner.logged_headers = copies.collect();
        }
        Ok(())
    }

    /// Sends a piece of the body and says how much of it was taken. A small piece may wait up to a
    /// millisecond for others, which then leave with it; another thread sends it if none come. What
    /// the socket does not take is kept: up to `response_buffer_size` in memory, then up to
    /// `response_spool_size` in an unlinked file.
    ///
    /// # Errors
    /// [`ConnectionError::Io`] of kind `WouldBlock`: there is no room left, [`wait`](Self::wait) and
    /// send the same again. Of another kind: the client is gone, or the file cannot be written.
    /// [`ConnectionError::Response`]: more than `Content-Length` says.
    pub fn send_data(&mut self, data: &[u8]) -> Result<usize, ConnectionError> {
        let inner = &mut *self.inner;
        if data.is_empty() {
            return Ok(0);
        }
        inner.check_time()?;
        let limit_memory = inner.context.options.response_buffer_size;
        if inner.output.is_behind(limit_memory) {
            inner.flush()?;
        }
        let is_behind = inner.output.is_behind(limit_memory);
        let options = &inner.context.options;
        if is_behind && inner.output.spilled() >= options.response_spool_size {
            inner.awaited = Awaited::Room;
            return Err(io::Error::from(io::ErrorKind::WouldBlock).into());
        }
        let data = data.get(..STEP_LIMIT_BYTES).unwrap_or(data);
        let chunk = inner.http.send_data(data.len() as u64)?;
        inner.sent_bytes += data.len() as u64;
        if !chunk.writes_body() {
            return Ok(data.len());
        }
        if is_behind {
            let parts = [chunk.prefix(), data, chunk.suffix()];
            inner.output.spill(parts, options.tmp_upload_dir.as_deref()).inspect_err(|error| {
                log::error!("cannot keep a response in a temporary file: {error}");
            })?;
            return Ok(data.len());
        }
        inner.output.head.extend_from_slice(chunk.prefix());
        if data.len() <= COPY_LIMIT_BYTES {
            inner.output.head.extend_from_slice(data);
            inner.output.head.extend_from_slice(chunk.suffix());
            inner.hand_over(inner.http.is_body_sent())?;
        } else {
            inner.catch_up()?;
            inner.output.write_through(inner.socket.stream(), data, chunk.suffix())?;
        }
        Ok(data.len())
    }

    /// Sends the end of the body, in one call or several, whatever its size: what the socket does
    /// not take now is sent after the handler has returned, from where it lies. Nothing but more of
    /// it may follow.
    ///
    /// # Errors
    /// As [`send_data`](Self::send_data), but never `WouldBlock`.
    pub fn send_rest(&mut self, data: Bytes) -> Result<(), ConnectionError> {
        let inner = &mut *self.inner;
        if data.is_empty() {
            return Ok(());
        }
        inner.check_time()?;
        let chunk = inner.http.send_data(data.len() as u64)?;
        inner.sent_bytes += data.len() as u64;
        if chunk.writes_body() {
            inner.output.push_rest_bytes(chunk.prefix(), data, chunk.suffix());
            inner.flush()?;
        }
        Ok(())
    }

    /// Sends a range of a file as the end of the body, by sendfile(2), also after the handler has
    /// returned; the caller may close its descriptor. Returns the length of the range.
    ///
    /// # Errors
    /// As [`send_rest`](Self::send_rest); [`ConnectionError::Io`] also when no descriptor is left.
    pub fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        range: Range<u64>,
    ) -> Result<u64, ConnectionError> {
        let inner = &mut *self.inner;
        let length = range.end.saturating_sub(range.start);
        if length == 0 {
            return Ok(0);
        }
        inner.check_time()?;
        let chunk = inner.http.send_data(length)?;
        inner.sent_bytes += length;
        if chunk.writes_body() {
            inner.output.push_rest_file(chunk.prefix(), file, range, chunk.suffix())?;
            inner.flush()?;
        }
        Ok(length)
    }

    /// Answers with a small page of this status, if no head is out yet; otherwise leaves the
    /// response without its end, so that the client does not take it for whole (RFC 9112 §8).
    /// Either way the connection is closed afterwards.
    pub fn send_error(&mut self, status: u16, message: &str) {
        let inner = &mut *self.inner;
        inner.progress = Progress::Truncated;
        // A body that cannot be read is not the handler's fault.
        let (status, message) = inner.body_fault().map_or((status, message), |fault| (fault, ""));
        if inner.status == 0 && inner.begin_response().is_ok() {
            inner.status = status;
            inner.output.head.extend_from_slice(&error_response(status, message));
        }
    }

    /// Tells the log about this request: it finds this name and value in
    /// [`Record::notes`](crate::Record::notes).
    pub fn note(&mut self, name: Arc<str>, value: impl Into<Box<str>>) {
        self.inner.notes.push((name, value.into()));
    }
}

impl Inner {
    /// The same line for all of them, whoever read so far.
    fn tell_of_invalid_request(&self, error: &ProtocolError) {
        let peer = self.peer.map_or_else(|| "unix".to_owned(), |peer| peer.ip().to_string());
        let refused = self.http.refused();
        let line = refused.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        let line = line.get(..LOGGED_LINE_BYTES).unwrap_or(line);
        log::warn!("Invalid request from ip={peer}: {error}: \"{}\"", line.escape_ascii());
    }

    /// From here on the response is the handler's, unless time is up.
    fn begin_response(&self) -> Result<(), ConnectionError> {
        match &self.flight {
            Some(flight) if !flight.begin_response() => Err(ConnectionError::Expired),
            _ => Ok(()),
        }
    }

    fn check_time(&self) -> Result<(), ConnectionError> {
        match &self.flight {
            Some(flight) if flight.is_expired() => Err(ConnectionError::Expired),
            _ => Ok(()),
        }
    }

    /// Sends what is there, as far as the socket takes it.
    fn flush(&mut self) -> io::Result<()> {
        self.catch_up()?;
        self.output.flush(self.socket.stream())
    }

    /// Sends, or leaves in the outbox: a small and whole response, to be sent with those of other
    /// requests, and a small piece, to be sent with those that follow at once.
    ///
    /// PEP 3333, "Buffering and Streaming", wants a piece to be on its way while the application
    /// makes the next one: within a millisecond the monitor sends what lies there.
    fn hand_over(&mut self, is_whole: bool) -> io::Result<()> {
        let may_wait = if is_whole { self.defers } else { self.may_defer_piece() };
        // What may not wait leaves with what lies there already.
        if (may_wait || self.deferred > 0) && self.output.is_brief() {
            let outbox = &self.context.outbox;
            self.deferred += self.output.head.len();
            outbox.push(self.token, &self.socket, &mut self.output.head);
            if may_wait {
                if self.context.is_asleep() {
                    outbox.flush();
                }
                return Ok(());
            }
        }
        self.flush()
    }

    /// Not while nobody would send it; nor many bytes, since what a slow reader does not take must
    /// be noticed; nor to a client that may wait for this piece before it sends on.
    fn may_defer_piece(&self) -> bool {
        self.deferred < DEFERRED_LIMIT_BYTES && self.incoming.is_none() && !self.context.is_asleep()
    }

    /// What is in the outbox goes before what is sent directly.
    fn catch_up(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.deferred) > 0 {
            if let Some(rest) = self.context.outbox.flush_before(self.token)? {
                self.output.prepend(&rest);
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("peer", &self.inner.peer)
            .field("status", &self.inner.status)
            .finish_non_exhaustive()
    }
}
