//! One connection, as its handler holds it.

use std::fmt;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rgunicorn_arbiter::Address;
use rgunicorn_http1::{
    Connection, Event, Headers, ProtocolError, RequestHead, ResponseHead, error_response,
};

use crate::context::Context;
use crate::handler::ConnectionError;
use crate::output::Output;
use crate::poller::{Interest, Token};
use crate::spool::Body;
use crate::stream::Stream;

/// A client whose request is complete: read its body, send a head, send data.
///
/// It is owned: by the reactor while bytes travel, by a [`Handler`](crate::Handler) while it
/// answers. Dropping it closes the connection. None of its methods waits, but for
/// [`wait`](Self::wait).
pub struct Client {
    inner: Box<Inner>,
}

struct Inner {
    body: Body,
    /// Bytes pushed into `body` so far.
    body_bytes: u64,
    context: Arc<Context>,
    /// The request whose body is under way.
    head: Option<RequestHead>,
    http: Connection,
    /// Index into `context.locals`.
    listener: usize,
    output: Output,
    peer: Option<SocketAddr>,
    /// What the poller waits for on this socket, if it knows the socket.
    registered: Option<Interest>,
    /// Body bytes of the current response.
    sent_bytes: u64,
    /// Status of the current response, 100 to 599; 0 before its head.
    status: u16,
    stream: Stream,
    token: Token,
}

/// Data up to this size is copied behind the head, so that one send(2) takes both; copying more
/// costs more than writev(2) does.
const COPY_LIMIT_BYTES: usize = 16 << 10;

/// One call takes at most so much, so that what the socket leaves is bounded.
const STEP_LIMIT_BYTES: usize = 256 << 10;

/// A worker that waits for a reader is alive, and says so this often.
const BEAT_INTERVAL: Duration = Duration::from_millis(500);

/// The handler's side.
impl Client {
    /// The client's address; `None` for a Unix socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.inner.peer
    }

    /// The address of the listener that the client came by.
    pub fn local(&self) -> Option<&Arc<Address>> {
        self.inner.context.locals.get(self.inner.listener)
    }

    /// Reads the request's body; 0 is its end.
    ///
    /// # Errors
    /// The temporary file of a large body cannot be read.
    pub fn read_body(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.body.read(buffer)
    }

    /// Starts the response. The head stays in the buffer until data or the end follows, so that
    /// one packet carries both.
    ///
    /// # Errors
    /// [`ConnectionError::Response`]: a second head, or one that is not valid.
    pub fn send_head(&mut self, head: &ResponseHead<'_>) -> Result<(), ConnectionError> {
        let inner = &mut *self.inner;
        inner.http.send_response(head, SystemTime::now(), &mut inner.output.head)?;
        inner.status = head.status;
        inner.sent_bytes = 0;
        Ok(())
    }

    /// Sends a piece of the body and says how much of it was taken. What the socket does not
    /// take at once is kept, up to `response_buffer_size`.
    ///
    /// # Errors
    /// [`ConnectionError::Io`] of kind `WouldBlock`: the buffer is full, [`wait`](Self::wait) and
    /// send the same again. Of another kind: the client is gone.
    /// [`ConnectionError::Response`]: more than `Content-Length` says.
    pub fn send_data(&mut self, data: &[u8]) -> Result<usize, ConnectionError> {
        let inner = &mut *self.inner;
        if data.is_empty() {
            return Ok(0);
        }
        if inner.output.buffered() >= inner.context.options.response_buffer_size {
            inner.output.flush(&inner.stream)?;
            if inner.output.buffered() >= inner.context.options.response_buffer_size {
                return Err(io::Error::from(io::ErrorKind::WouldBlock).into());
            }
        }
        let data = data.get(..STEP_LIMIT_BYTES).unwrap_or(data);
        let chunk = inner.http.send_data(data.len() as u64)?;
        inner.sent_bytes += data.len() as u64;
        if !chunk.writes_body() {
            return Ok(data.len());
        }
        inner.output.head.extend_from_slice(chunk.prefix());
        if data.len() <= COPY_LIMIT_BYTES {
            inner.output.head.extend_from_slice(data);
            inner.output.head.extend_from_slice(chunk.suffix());
            inner.output.flush(&inner.stream)?;
        } else {
            inner.output.write_through(&inner.stream, data, chunk.suffix())?;
        }
        Ok(data.len())
    }

    /// Sends the end of the body, whatever its size: what the socket does not take now is sent
    /// after the handler has returned, from where it lies.
    ///
    /// # Errors
    /// As [`send_data`](Self::send_data), but never `WouldBlock`.
    pub fn send_rest(&mut self, data: Bytes) -> Result<(), ConnectionError> {
        let inner = &mut *self.inner;
        if data.is_empty() {
            return Ok(());
        }
        let chunk = inner.http.send_data(data.len() as u64)?;
        inner.sent_bytes += data.len() as u64;
        if chunk.writes_body() {
            inner.output.head.extend_from_slice(chunk.prefix());
            inner.output.tail.extend_from_slice(chunk.suffix());
            inner.output.set_rest_bytes(data);
            inner.output.flush(&inner.stream)?;
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
        let chunk = inner.http.send_data(length)?;
        inner.sent_bytes += length;
        if chunk.writes_body() {
            inner.output.head.extend_from_slice(chunk.prefix());
            inner.output.tail.extend_from_slice(chunk.suffix());
            inner.output.set_rest_file(file, range)?;
            inner.output.flush(&inner.stream)?;
        }
        Ok(length)
    }

    /// Answers with a small page of this status and closes afterwards, if no head is out yet;
    /// otherwise only closes.
    pub fn send_error(&mut self, status: u16, message: &str) {
        let inner = &mut *self.inner;
        inner.http.close_after_response();
        if inner.status == 0 {
            inner.status = status;
            inner.output.head.extend_from_slice(&error_response(status, message));
        }
    }

    /// Blocks until more data can be taken.
    ///
    /// # Errors
    /// `TimedOut`: the reader took nothing for `write_timeout`. Others: the client is gone.
    pub fn wait(&mut self) -> io::Result<()> {
        let inner = &mut *self.inner;
        let deadline = Instant::now() + inner.context.options.write_timeout;
        loop {
            inner.context.heartbeat.beat();
            let remaining = deadline.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let slice =
                PollTimeout::try_from(remaining.min(BEAT_INTERVAL)).map_err(io::Error::other)?;
            let mut fds = [PollFd::new(inner.stream.as_fd(), PollFlags::POLLOUT)];
            match poll(&mut fds, slice) {
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What the reactor is to do with a connection whose response is finished.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    /// Nothing is to be waited for.
    Close,
    /// The socket did not take all of it.
    Flush,
    /// Close, but not before the client has read the response.
    Linger,
    /// The next request may come.
    Reuse,
}

/// The reactor's side.
impl Client {
    pub(crate) fn new(
        stream: Stream,
        peer: Option<SocketAddr>,
        listener: usize,
        token: Token,
        context: Arc<Context>,
    ) -> Self {
        let http = Connection::new(Arc::clone(&context.options.http1));
        let inner = Inner {
            body: Body::Empty,
            body_bytes: 0,
            context,
            head: None,
            http,
            listener,
            output: Output::default(),
            peer,
            registered: None,
            sent_bytes: 0,
            status: 0,
            stream,
            token,
        };
        Self { inner: Box::new(inner) }
    }

    /// Tells the poller what to wait for; nothing when it waits for that already.
    pub(crate) fn wait_for(&mut self, interest: Interest) -> io::Result<()> {
        let inner = &mut *self.inner;
        match inner.registered {
            Some(registered) if registered == interest => return Ok(()),
            Some(_) => inner.context.poller.modify(&inner.stream, inner.token, interest)?,
            None => inner.context.poller.add(&inner.stream, inner.token, interest)?,
        }
        inner.registered = Some(interest);
        Ok(())
    }

    /// One read(2) into the protocol. `false`: nothing is there yet.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        match self.inner.stream.read(buffer) {
            Ok(0) => self.inner.http.receive_eof(),
            Ok(count) => self.inner.http.receive_data(buffer.get(..count).unwrap_or_default()),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => return Ok(false),
                _ => return Err(error),
            },
        }
        Ok(true)
    }

    /// One read(2) to nowhere; the number of bytes, 0 at their end.
    pub(crate) fn discard(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.stream.read(buffer)
    }

    pub(crate) fn next_event(&mut self) -> Result<Event, ProtocolError> {
        self.inner.http.next_event()
    }

    /// Keeps the head until its body is complete.
    pub(crate) fn keep_head(&mut self, head: RequestHead) {
        self.inner.head = Some(head);
    }

    pub(crate) fn take_head(&mut self) -> Option<RequestHead> {
        self.inner.head.take()
    }

    /// A head is here and its body is not.
    pub(crate) fn awaits_body(&self) -> bool {
        self.inner.head.is_some()
    }

    /// Returns the length of the body so far.
    pub(crate) fn push_body(&mut self, data: Bytes) -> io::Result<u64> {
        let inner = &mut *self.inner;
        let options = &inner.context.options;
        inner.body_bytes += data.len() as u64;
        inner.body.push(data, options.request_buffer_size, options.tmp_upload_dir.as_deref())?;
        Ok(inner.body_bytes)
    }

    pub(crate) fn complete_body(&mut self) -> io::Result<()> {
        self.inner.body.complete()
    }

    /// `Expect: 100-continue` is answered as soon as we are about to wait for the body: the
    /// reactor, not the application, is who reads it (RFC 9110 §10.1.1).
    pub(crate) fn send_continue(&mut self) -> io::Result<()> {
        let inner = &mut *self.inner;
        if inner.http.wants_continue() {
            let head = ResponseHead::new(100, &[]);
            inner
                .http
                .send_informational(&head, &mut inner.output.head)
                .map_err(io::Error::other)?;
            inner.output.flush(&inner.stream)?;
        }
        Ok(())
    }

    /// The answer to bytes that are no request.
    pub(crate) fn refuse(&mut self, response: &[u8]) {
        self.inner.http.close_after_response();
        self.inner.output.head.extend_from_slice(response);
    }

    pub(crate) fn close_after_response(&mut self) {
        self.inner.http.close_after_response();
    }

    /// Not one byte of the next request is here.
    pub(crate) fn is_idle(&self) -> bool {
        self.inner.http.is_idle()
    }

    pub(crate) fn has_buffered_input(&self) -> bool {
        self.inner.http.has_buffered_input()
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.inner.output.flush(&self.inner.stream)
    }

    pub(crate) fn has_output(&self) -> bool {
        !self.inner.output.is_empty()
    }

    pub(crate) fn shutdown_write(&mut self) -> io::Result<()> {
        self.inner.stream.shutdown_write()
    }

    /// Status and body bytes of the response, for the log.
    pub(crate) fn sent(&self) -> (u16, u64) {
        (self.inner.status, self.inner.sent_bytes)
    }

    /// An idle connection owns no buffer: the worker's only one is lent to the connection that
    /// is being answered, and comes back when all of it is sent.
    pub(crate) fn swap_buffer(&mut self, spare: &mut BytesMut) {
        if self.inner.output.head.is_empty() {
            std::mem::swap(&mut self.inner.output.head, spare);
        }
    }

    /// Ends the response, once the handler has returned. A response without its end, or with
    /// less than its `Content-Length`, is one that the client must not take for whole: its
    /// connection is closed instead of the final chunk (RFC 9112 §8).
    pub(crate) fn finish(&mut self, request: &RequestHead) -> io::Result<Next> {
        if self.inner.status == 0 {
            self.send_error(500, "");
        }
        let inner = &mut *self.inner;
        inner.body = Body::Empty;
        inner.body_bytes = 0;
        let ended = inner.http.send_end(Headers::empty(), &mut inner.output.tail).is_ok();
        inner.output.flush(&inner.stream)?;
        Ok(if !inner.output.is_empty() {
            Next::Flush
        } else if ended && inner.http.can_reuse() {
            Next::Reuse
        } else if ended && !request.keep_alive() && !inner.http.has_buffered_input() {
            // The client announced that it sends nothing more, so nothing unread can turn our
            // close into a reset that destroys the response on its way.
            Next::Close
        } else {
            Next::Linger
        })
    }

    /// What a connection does when the rest of its response is out.
    pub(crate) fn after_flush(&self) -> Next {
        if self.inner.http.can_reuse() { Next::Reuse } else { Next::Linger }
    }

    /// Makes room for the next request.
    pub(crate) fn start_next_cycle(&mut self) -> Result<(), ConnectionError> {
        self.inner.http.start_next_cycle()?;
        self.inner.status = 0;
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let inner = &*self.inner;
        if inner.registered.is_some()
            && let Err(error) = inner.context.poller.delete(&inner.stream)
        {
            log::debug!("cannot forget a connection: {error}");
        }
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
