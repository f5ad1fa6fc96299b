//! A connection, as the reactor moves it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rgunicorn_arbiter::Address;
use rgunicorn_http1::{Connection, Event, Headers, Peer, ProtocolError, RequestHead, ResponseHead};

use super::{Awaited, Client, Incoming, Inner, Progress};
use crate::access::{LoggedHeader, LoggedHeaders, Note};
use crate::context::Context;
use crate::handler::ConnectionError;
use crate::handoff::{INPUT_LIMIT, Passenger, Patience};
use crate::inflight::Flight;
use crate::output::Output;
use crate::pipe::Carried;
use crate::poller::Token;
use crate::socket::Socket;
use crate::spool::Body;
use crate::stream::Stream;

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

/// What came of looking for data.
#[derive(Debug)]
pub(crate) enum Received {
    /// A body has no place to gather.
    NoRoom(io::Error),
    /// Nothing is there yet.
    Nothing,
    /// Data, or their end.
    Something,
}

impl Client {
    pub(crate) fn new(
        socket: Arc<Socket>,
        peer: Option<SocketAddr>,
        local: Option<Arc<Address>>,
        token: Token,
        context: Arc<Context>,
    ) -> Self {
        let speaker = speaker(socket.stream(), peer);
        let http = Connection::new(Arc::clone(&context.options.http1), speaker);
        let inner = Inner {
            awaited: Awaited::Room,
            body: Body::Empty,
            body_bytes: 0,
            context,
            deferred: 0,
            defers: false,
            flight: None,
            head: None,
            http,
            incoming: None,
            local,
            logged_headers: LoggedHeaders::new(),
            notes: Vec::new(),
            output: Output::default(),
            peer,
            progress: Progress::Between,
            requests: 0,
            sent_bytes: 0,
            status: 0,
            socket,
            token,
        };
        Self { inner: Box::new(inner) }
    }

    /// A connection that comes from a sibling.
    pub(crate) fn arrived(
        socket: Arc<Socket>,
        passenger: Passenger,
        local: Option<Arc<Address>>,
        token: Token,
        context: Arc<Context>,
    ) -> Self {
        let Passenger { parts, peer, requests, .. } = passenger;
        let mut client = Self::new(socket, peer, local, token, context);
        let inner = &mut *client.inner;
        let speaker = speaker(inner.socket.stream(), peer);
        let config = Arc::clone(&inner.context.options.http1);
        inner.http = Connection::from_parts(config, speaker, parts);
        inner.requests = requests;
        client
    }

    /// What a sibling needs to know to go on with this connection; `None` while it is in the midst
    /// of something. A head that was read is unread, with what was read of its body.
    pub(crate) fn passenger(&mut self, patience: Patience, readable: bool) -> Option<Passenger> {
        if let Some(head) = self.inner.head.take() {
            if !self.unread(&head) {
                self.inner.head = Some(head);
            }
        }
        let inner = &mut *self.inner;
        let is_between = inner.progress == Progress::Between && inner.head.is_none();
        // What lies in the outbox is sent first, or cannot be sent, and then it stays here.
        if !is_between || inner.catch_up().is_err() || !inner.output.is_empty() {
            return None;
        }
        let parts = inner.http.to_parts().filter(|parts| parts.input.len() <= INPUT_LIMIT)?;
        let local = inner.local.as_ref().map(ToString::to_string).unwrap_or_default();
        let (peer, requests) = (inner.peer, inner.requests);
        Some(Passenger { local, parts, patience, peer, readable, requests })
    }

    /// Puts a request back before the connection, as if it had not been read; `false` if too much
    /// of a body came with it for a sibling to get.
    pub(crate) fn unread(&mut self, head: &RequestHead) -> bool {
        let inner = &mut *self.inner;
        let body = inner.body.in_memory();
        let fits = body.is_empty() || head.as_bytes().len() + body.len() <= INPUT_LIMIT;
        let unread = fits && inner.http.unread(head, body).is_ok();
        if unread {
            inner.forget_body();
        }
        unread
    }

    pub(crate) fn socket(&self) -> &Arc<Socket> {
        &self.inner.socket
    }

    /// Takes what has arrived, up to the size of the buffer, into the protocol; or past it, if it
    /// belongs to a body that lies in a file.
    ///
    /// # Errors
    /// The client is gone.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        match self.try_receive(buffer) {
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(Received::Nothing),
                _ => Err(error),
            },
            received => received,
        }
    }

    fn try_receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let inner = &mut *self.inner;
        let carried = match (&mut inner.body, inner.http.body_remaining()) {
            (Body::Spooled(spool), limit @ 1..) => {
                spool.carry(inner.socket.stream(), limit, &inner.context.spools)?
            }
            _ => None,
        };
        match carried {
            Some(Carried::Bytes(0)) => inner.http.receive_eof(),
            Some(Carried::Bytes(count)) => {
                inner.http.receive_body(count as u64);
                inner.body_bytes += count as u64;
            }
            Some(Carried::NoRoom(error)) => return Ok(Received::NoRoom(error)),
            None => match inner.socket.stream().read(buffer)? {
                0 => inner.http.receive_eof(),
                count => inner.http.receive_data(buffer.get(..count).unwrap_or_default()),
            },
        }
        Ok(Received::Something)
    }

    /// One read(2) to nowhere; the number of bytes, 0 at their end.
    pub(crate) fn discard(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.socket.stream().read(buffer)
    }

    pub(crate) fn next_event(&mut self) -> Result<Event, ProtocolError> {
        self.inner.http.next_event()
    }

    /// Keeps the head until its body is complete, or the handler is to read that.
    ///
    /// # Errors
    /// There is no place for the body that it announces.
    pub(crate) fn keep_head(&mut self, head: RequestHead) -> io::Result<()> {
        let inner = &mut *self.inner;
        let options = &inner.context.options;
        let announced = head.body().length();
        let is_large = announced.is_none_or(|length| length > options.request_buffer_size as u64);
        if is_large && !options.request_buffering {
            inner.incoming = Some(Incoming::new(announced));
        } else {
            inner.body = Body::announced(announced, &inner.context.spools)?;
        }
        inner.head = Some(head);
        Ok(())
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
        inner.body_bytes += data.len() as u64;
        inner.body.push(data, &inner.context.spools)?;
        Ok(inner.body_bytes)
    }

    pub(crate) fn complete_body(&mut self) -> io::Result<()> {
        self.inner.body.complete()
    }

    pub(crate) fn send_continue(&mut self) -> io::Result<()> {
        self.inner.send_continue()
    }

    pub(crate) fn tell_of_invalid_request(&self, error: &ProtocolError) {
        self.inner.tell_of_invalid_request(error);
    }

    /// The answer to bytes that are no request.
    pub(crate) fn refuse(&mut self, response: &[u8]) {
        self.inner.progress = Progress::Response;
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
        self.inner.flush()
    }

    pub(crate) fn has_output(&self) -> bool {
        !self.inner.output.is_empty()
    }

    pub(crate) fn shutdown_write(&mut self) -> io::Result<()> {
        self.inner.socket.stream().shutdown_write()
    }

    /// Status and body bytes of the response, for the log.
    pub(crate) fn sent(&self) -> (u16, u64) {
        (self.inner.status, self.inner.sent_bytes)
    }

    /// The response's fields, if records are to carry them.
    pub(crate) fn logged_headers(&self) -> &[LoggedHeader] {
        &self.inner.logged_headers
    }

    /// What the handler told about the request.
    pub(crate) fn notes(&self) -> &[Note] {
        &self.inner.notes
    }

    /// An idle connection owns no buffer: the worker's only one is lent to the connection that
    /// is being answered, and comes back when all of it is sent.
    pub(crate) fn swap_buffer(&mut self, spare: &mut BytesMut) {
        if self.inner.output.head.is_empty() {
            std::mem::swap(&mut self.inner.output.head, spare);
        }
    }

    /// The handler is about to be called.
    pub(crate) fn start(&mut self) {
        self.inner.progress = Progress::Response;
    }

    /// Others see the request.
    pub(crate) fn set_flight(&mut self, flight: Arc<Flight>) {
        self.inner.flight = Some(flight);
    }

    pub(crate) fn token(&self) -> Token {
        self.inner.token
    }

    /// Whether a finished response may wait for those of other requests that are ready.
    pub(crate) fn set_defers(&mut self, defers: bool) {
        // A client that is still sending may wait for its answer before it sends on.
        self.inner.defers = defers && self.inner.incoming.is_none();
    }

    /// Takes back what a socket did not take from the outbox.
    pub(crate) fn put_back(&mut self, rest: &[u8]) {
        self.inner.output.prepend(rest);
    }

    /// Ends the response, once the handler has returned. A response without its end, or with
    /// less than its `Content-Length`, is one that the client must not take for whole: its
    /// connection is closed instead of the final chunk (RFC 9112 §8).
    pub(crate) fn finish(&mut self, request: &RequestHead) -> io::Result<Next> {
        if self.inner.status == 0 {
            self.send_error(500, "");
        }
        let inner = &mut *self.inner;
        if inner.incoming.is_some() && inner.progress != Progress::Truncated {
            inner.skip_incoming();
        }
        inner.forget_body();
        if inner.flight.take().is_some_and(|flight| !flight.land()) {
            // Time is up: the client was answered, and our side closed.
            inner.progress = Progress::Truncated;
            inner.output = Output::default();
            return Ok(Next::Linger);
        }
        let ended = inner.progress != Progress::Truncated
            && inner.http.send_end(Headers::empty(), inner.output.end()).is_ok();
        if !(ended && inner.http.can_reuse()) {
            // Nothing of a response may lie elsewhere when its connection closes.
            inner.flush()?;
        } else if !inner.output.is_empty() {
            inner.hand_over(true)?;
        }
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
        let is_between = self.inner.progress == Progress::Between;
        if is_between || self.inner.http.can_reuse() { Next::Reuse } else { Next::Linger }
    }

    /// Makes room for the next request.
    pub(crate) fn start_next_cycle(&mut self) -> Result<(), ConnectionError> {
        if self.inner.progress != Progress::Between {
            self.inner.http.start_next_cycle()?;
            self.inner.progress = Progress::Between;
            self.inner.requests += 1;
        }
        self.inner.output.release();
        self.inner.status = 0;
        self.inner.logged_headers.clear();
        self.inner.notes.clear();
        Ok(())
    }
}

impl Inner {
    /// `Expect: 100-continue` is answered as soon as somebody is about to wait for the body: the
    /// reactor, or a handler that reads it as it comes (RFC 9110 §10.1.1).
    pub(super) fn send_continue(&mut self) -> io::Result<()> {
        if self.http.wants_continue() {
            let head = ResponseHead::new(100, &[]);
            self.http.send_informational(&head, &mut self.output.head).map_err(io::Error::other)?;
            self.flush()?;
        }
        Ok(())
    }

    fn forget_body(&mut self) {
        self.context.spools.recycle(std::mem::take(&mut self.body));
        self.body_bytes = 0;
        self.incoming = None;
    }
}

/// Whom the protocol has to do with, for what is believed of forwarded fields.
fn speaker(stream: &Stream, peer: Option<SocketAddr>) -> Peer {
    match (stream, peer) {
        (Stream::Tcp(_), Some(address)) => Peer::Ip(address.ip()),
        // The kernel forgets the address of a connection that was reset: a stranger, not one of us.
        (Stream::Tcp(_), None) => Peer::Ip(Ipv4Addr::UNSPECIFIED.into()),
        (Stream::Unix(_), _) => Peer::Local,
    }
}
