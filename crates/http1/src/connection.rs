//! The only type with a memory: bytes in, events out, and the other way.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::BytesMut;

use crate::body::{BodyReader, BodyWriter};
use crate::chunked::{Chunk, Part};
use crate::config::Config;
use crate::encode::{self, Exchange, Plan};
use crate::error::{ProtocolError, SendError};
use crate::event::Event;
use crate::forwarded::Peer;
use crate::framing::Framing;
use crate::request_line::{MethodKind, Version};
use crate::response::{Headers, ResponseHead};
use crate::state::{Client, Server, State, Step};

mod parts;

pub use parts::Parts;

/// The server's end of one HTTP/1.1 connection.
///
/// Bytes of the peer go in by [`receive_data`](Self::receive_data) and come out as [`Event`]s; the
/// response is described by the `send_…` methods, which append what must be written to a buffer of
/// the caller's. See the [crate documentation](crate) for the loop around it.
///
/// # Examples
///
/// ```
/// use rgunicorn_http1::{Config, Connection, Event, Peer};
///
/// let mut http = Connection::new(Config::new().into(), Peer::Ip([192, 0, 2, 7].into()));
/// http.receive_data(b"GET /path HTTP/1.1\r\nHost: example.com\r\n\r\n");
/// let Event::Request(head) = http.next_event()? else { panic!("the head is complete") };
/// assert_eq!(head.target(), b"/path");
/// # Ok::<(), rgunicorn_http1::ProtocolError>(())
/// ```
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about the connection or the exchange"
)]
pub struct Connection {
    config: Arc<Config>,
    /// Received, not yet given out. Without heap memory while idle.
    input: BytesMut,
    state: State,
    exchange: Exchange,
    /// `100 Continue` was sent for the request that is here, or for the one whose head is next.
    continue_sent: bool,
    /// `100-continue` was asked for, and neither answered nor made needless by the body.
    expects_continue: bool,
    /// The server wants the connection to end with this exchange.
    closing: bool,
    /// The peer will send nothing more.
    eof: bool,
    /// The peer may speak for the client.
    trusted: bool,
}

impl Connection {
    /// A connection on which nothing was received.
    ///
    /// The peer is the one that the socket knows, a proxy if there is one; it decides whether
    /// [`Config::secure_scheme_headers`] count.
    pub fn new(config: Arc<Config>, peer: Peer) -> Self {
        let trusted = config.forwarded_allow_ips.contains(peer);
        Self {
            config,
            input: BytesMut::new(),
            state: State::new(),
            exchange: Exchange {
                version: Version::Http11,
                method: MethodKind::Other,
                keep_alive: false,
            },
            continue_sent: false,
            expects_continue: false,
            closing: false,
            eof: false,
            trusted,
        }
    }

    /// Takes bytes that the peer sent. They are copied, so that one read buffer may serve many
    /// connections. Nothing is judged before [`next_event`](Self::next_event).
    pub fn receive_data(&mut self, data: &[u8]) {
        // RFC 9110 §10.1.1: a peer that sends its body does not wait for us any longer.
        self.expects_continue &= data.is_empty();
        if self.input.capacity() == 0 {
            // Just as large as needed: most requests arrive whole, and are given out whole.
            self.input = BytesMut::from(data);
        } else {
            self.input.extend_from_slice(data);
        }
    }

    /// Is there a use for more bytes? `false` after the end or an error, and while 64 KiB wait that
    /// [`next_event`](Self::next_event) has not looked at: reading on would only fill memory.
    pub fn wants_data(&self) -> bool {
        let searched = match &self.state.client {
            Client::Body(reader) => reader.searched(),
            Client::Done => 0,
            Client::Idle(reader) => reader.searched(),
            Client::Closed | Client::Failed(_) => return false,
        };
        !self.eof && self.input.len() - searched.min(self.input.len()) < INPUT_LIMIT
    }

    /// Notes that the peer will send nothing more. What it sent before is still read.
    pub fn receive_eof(&mut self) {
        self.eof = true;
    }

    /// Bytes of the body that the caller may read from the peer itself, past this connection: what is
    /// still to come of a body of known length, as soon as none of it waits to be given out.
    /// Otherwise 0.
    ///
    /// With [`receive_body`](Self::receive_body) this is for a large body on its way to a file, which
    /// need not be copied through here, nor into the program's memory at all (`splice(2)`).
    ///
    /// # Examples
    ///
    /// ```
    /// use rgunicorn_http1::{Config, Connection, Event, Peer};
    ///
    /// let mut http = Connection::new(Config::new().into(), Peer::Local);
    /// http.receive_data(b"PUT /file HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nfirst");
    /// assert!(matches!(http.next_event()?, Event::Request(_)));
    /// assert!(matches!(http.next_event()?, Event::Data(data) if data == "first"));
    /// assert_eq!(http.body_remaining(), 995);
    /// http.receive_body(995); // read by the caller
    /// assert!(matches!(http.next_event()?, Event::EndOfMessage(_)));
    /// # Ok::<(), rgunicorn_http1::ProtocolError>(())
    /// ```
    pub fn body_remaining(&self) -> u64 {
        match &self.state.client {
            Client::Body(BodyReader::Length(left)) if self.input.is_empty() => *left,
            Client::Body(_)
            | Client::Closed
            | Client::Done
            | Client::Failed(_)
            | Client::Idle(_) => 0,
        }
    }

    /// Takes note that the caller has read `length` bytes of the body itself.
    ///
    /// # Panics
    ///
    /// If that is more than [`body_remaining`](Self::body_remaining): the caller has read into the next
    /// request, whose beginning is lost.
    pub fn receive_body(&mut self, length: u64) {
        let remaining = self.body_remaining();
        assert!(length <= remaining, "{length} bytes read of a body that has {remaining} left");
        self.expects_continue &= length == 0;
        if let Client::Body(BodyReader::Length(left)) = &mut self.state.client {
            *left -= length;
        }
    }

    /// What the peer said next. Call it until [`Event::NeedData`], [`Event::Paused`] or
    /// [`Event::Closed`].
    ///
    /// # Errors
    ///
    /// What the peer did wrong; the same error is returned ever after.
    pub fn next_event(&mut self) -> Result<Event, ProtocolError> {
        let result = match &self.state.client {
            Client::Body(_) => self.read_body(),
            Client::Closed => Ok(Event::Closed),
            Client::Done => Ok(Event::Paused),
            Client::Failed(error) => Err(*error),
            Client::Idle(_) => self.read_head(),
        };
        if let Err(error) = result {
            // For a failure that is only repeated there is no transition, and none is needed.
            self.state.take(Step::Failure(error)).unwrap_or_default();
        }
        result
    }

    /// Does the peer wait for `100 Continue` before it sends the body (RFC 9110 §10.1.1)? It does
    /// not, or not any longer, once body bytes arrived or a response was begun.
    pub fn wants_continue(&self) -> bool {
        self.expects_continue
    }

    /// Appends an informational response to `output`: `100 Continue`, `103 Early Hints`. To an
    /// HTTP/1.0 peer, which could not understand it, nothing is sent (RFC 9110 §15.2).
    ///
    /// # Errors
    ///
    /// [`SendError::WrongState`] unless a request waits for its response; [`SendError::Status`]
    /// unless the status is 100 or 102 to 199; otherwise what is wrong with the fields.
    pub fn send_informational(
        &mut self,
        head: &ResponseHead<'_>,
        output: &mut BytesMut,
    ) -> Result<(), SendError> {
        let Server::Response = self.state.server else { return Err(SendError::WrongState) };
        if self.exchange.version == Version::Http10 {
            return Ok(());
        }
        encode::informational(head, output)?;
        if head.status == 100 {
            self.continue_sent = true;
            self.expects_continue = false;
        }
        Ok(())
    }

    /// Appends the head of the response to `output` and tells how its body is framed. `now` is for
    /// the `Date` field.
    ///
    /// In this order: status line, `Server`, `Date`, `Connection`, `Transfer-Encoding` or
    /// `Content-Length` as needed, then the caller's fields. A `Content-Length` of the caller's is
    /// left out with 204, and a `Connection: close` closes.
    ///
    /// # Errors
    ///
    /// [`SendError::WrongState`] unless a request waits for its response; otherwise what is wrong
    /// with the head. Nothing was written then, and another head may be sent.
    pub fn send_response(
        &mut self,
        head: &ResponseHead<'_>,
        now: SystemTime,
        output: &mut BytesMut,
    ) -> Result<Framing, SendError> {
        // A peer that was not told to continue may send the body or not: nobody knows what the next
        // bytes are.
        let readable = !self.expects_continue && !matches!(self.state.client, Client::Failed(_));
        let keep_alive = self.exchange.keep_alive && readable && !self.closing;
        let plan = Plan::new(head, Exchange { keep_alive, ..self.exchange }, &self.config)?;
        self.state.take(Step::Response(BodyWriter::new(plan.framing)))?;
        plan.write(head, &self.config, now, output);
        self.expects_continue = false;
        self.closing = !plan.keep_alive;
        Ok(plan.framing)
    }

    /// Announces a piece of the body of `length` bytes, and tells what to write around it.
    ///
    /// # Errors
    ///
    /// [`SendError::WrongState`] unless a response was begun; [`SendError::BodyTooLong`] if that is
    /// more than its `Content-Length` has room for: then nothing was counted, and a shorter piece
    /// may be sent.
    pub fn send_data(&mut self, length: u64) -> Result<Chunk, SendError> {
        match &mut self.state.server {
            Server::Body(writer) => writer.data(length),
            Server::Done | Server::Idle | Server::MustClose | Server::Response => {
                Err(SendError::WrongState)
            }
        }
    }

    /// Is all of a body there that a `Content-Length` announced? Its end takes no more bytes.
    pub fn is_body_sent(&self) -> bool {
        matches!(&self.state.server, Server::Body(writer) if writer.framing() == Framing::Length(0))
    }

    /// Ends the response, and appends to `output` what that takes.
    ///
    /// # Errors
    ///
    /// [`SendError::WrongState`] unless a response was begun; [`SendError::BodyTooShort`] if less
    /// was sent than its `Content-Length` says: the exchange is over, and the caller must close the
    /// connection, since nothing else tells the peer. What is wrong with the trailers, which need a
    /// chunked body and are dropped where there is none at all.
    pub fn send_end(
        &mut self,
        trailers: Headers<'_>,
        output: &mut BytesMut,
    ) -> Result<(), SendError> {
        let Server::Body(writer) = &self.state.server else { return Err(SendError::WrongState) };
        match writer.framing() {
            Framing::Chunked => encode::last_chunk(trailers, output)?,
            Framing::Close | Framing::Length(_) if !trailers.as_slice().is_empty() => {
                return Err(SendError::Trailers);
            }
            Framing::Length(missing @ 1..) => {
                self.state.take(Step::ResponseEnd { reuse: false })?;
                return Err(SendError::BodyTooShort { missing });
            }
            Framing::Close | Framing::Length(0) | Framing::None => {}
        }
        self.state.take(Step::ResponseEnd { reuse: !self.closing })
    }

    /// Makes the connection end with this exchange: a response that was not begun yet will say
    /// `Connection: close`.
    pub fn close_after_response(&mut self) {
        self.closing = true;
    }

    /// Is the exchange over, with nothing left of it to read or to write, and may another follow?
    /// If the response came before the end of the request, events must be read first.
    pub fn can_reuse(&self) -> bool {
        self.state.is_reusable() && !self.closing
    }

    /// Begins the next exchange; bytes of it that were received are kept.
    ///
    /// # Errors
    ///
    /// [`SendError::WrongState`] unless [`can_reuse`](Self::can_reuse).
    pub fn start_next_cycle(&mut self) -> Result<(), SendError> {
        if self.closing {
            return Err(SendError::WrongState);
        }
        self.state.take(Step::NextCycle)?;
        self.continue_sent = false;
        if self.input.is_empty() {
            // A server holds thousands of idle connections: none of them holds a buffer.
            self.input = BytesMut::new();
        }
        Ok(())
    }

    /// What made [`next_event`](Self::next_event) fail, for a log: bytes of the peer's that begin with
    /// the head that was refused, or in the midst of a body with the line that was; as far as they
    /// have been received. Empty while nothing has failed.
    ///
    /// # Examples
    ///
    /// ```
    /// use rgunicorn_http1::{Config, Connection, Peer};
    ///
    /// let mut http = Connection::new(Config::new().into(), Peer::Local);
    /// http.receive_data(b"GET /path HTTP/1.1\r\nHost: a b\r\n\r\n");
    /// assert!(http.next_event().is_err());
    /// assert!(http.refused().starts_with(b"GET /path HTTP/1.1\r\n"));
    /// ```
    pub fn refused(&self) -> &[u8] {
        match &self.state.client {
            Client::Failed(_) => &self.input,
            Client::Body(_) | Client::Closed | Client::Done | Client::Idle(_) => &[],
        }
    }

    /// Were bytes received that no event has given out?
    pub fn has_buffered_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Is the connection between requests, without one byte of the next?
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State { client: Client::Idle(_), server: Server::Idle })
            && self.input.is_empty()
    }

    fn read_head(&mut self) -> Result<Event, ProtocolError> {
        let Client::Idle(reader) = &mut self.state.client else { return Ok(Event::Paused) };
        let forwarded = self.trusted.then_some(&self.config.secure_scheme_headers);
        let Some((head, line, verdict)) = reader.read(&mut self.input, &self.config, forwarded)?
        else {
            if !self.eof {
                return Ok(Event::NeedData);
            }
            // gunicorn closes silently too: who leaves in the midst of a head wants no answer.
            return Ok(self.received(Step::Eof, Event::Closed));
        };
        self.exchange =
            Exchange { version: line.version, method: line.kind, keep_alive: verdict.keep_alive };
        self.expects_continue =
            verdict.expects_continue && self.input.is_empty() && !self.continue_sent;
        let body = BodyReader::new(verdict.framing);
        Ok(self.received(Step::Request(body), Event::Request(head)))
    }

    fn read_body(&mut self) -> Result<Event, ProtocolError> {
        let Client::Body(reader) = &mut self.state.client else { return Ok(Event::Paused) };
        match reader.read(&mut self.input, &self.config)? {
            Part::Data(data) => Ok(Event::Data(data)),
            Part::End(trailers) => {
                Ok(self.received(Step::MessageEnd, Event::EndOfMessage(trailers)))
            }
            Part::NeedData if self.eof => Err(ProtocolError::UnexpectedEof),
            Part::NeedData => Ok(Event::NeedData),
        }
    }

    /// Takes a step of the peer's, which its state has allowed by reading so far.
    fn received(&mut self, step: Step, event: Event) -> Event {
        let taken = self.state.take(step);
        debug_assert!(taken.is_ok(), "{step:?} in {:?}", self.state);
        event
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("input", &self.input.len())
            .field("state", &self.state)
            .field("closing", &self.closing)
            .field("eof", &self.eof)
            .finish_non_exhaustive()
    }
}

/// Bytes that may wait without having been looked at.
const INPUT_LIMIT: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small_and_owns_no_buffer() {
        assert!(size_of::<Connection>() <= 128, "{}", size_of::<Connection>());
        let mut http = Connection::new(Config::new().into(), Peer::Local);
        // In two pieces, so that the buffer is filled anew, extended, split and drained.
        for piece in [
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na",
            "\r\n0\r\n\r\n",
        ] {
            http.receive_data(piece.as_bytes());
            while !matches!(http.next_event().unwrap(), Event::NeedData | Event::Paused) {}
        }
        let mut output = BytesMut::new();
        http.send_response(&ResponseHead::new(204, &[]), SystemTime::UNIX_EPOCH, &mut output)
            .unwrap();
        http.send_end(Headers::empty(), &mut output).unwrap();
        http.start_next_cycle().unwrap();
        assert!(http.is_idle());
        assert_eq!(http.input.capacity(), 0);
        let parts = http.to_parts().unwrap();
        let moved = Connection::from_parts(Config::new().into(), Peer::Local, parts);
        assert!(moved.is_idle());
        assert_eq!(moved.input.capacity(), 0);
    }
}
