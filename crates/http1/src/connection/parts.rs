//! A connection on its way to another process, or to another configuration.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::Connection;
use crate::config::Config;
use crate::error::SendError;
use crate::forwarded::Peer;
use crate::head::RequestHead;
use crate::state::{Client, Server, State, Step};

/// What there is to know about a connection on which no exchange is under way: enough to go on in
/// another process, to which its socket goes too.
///
/// Nothing of it depends on the configuration, so that the other process may have a newer one. The
/// peer is not in it: who moves a connection has its address anyway.
///
/// # Examples
///
/// ```
/// use rgunicorn_http1::{Config, Connection, Event, Parts, Peer};
///
/// let mut http = Connection::new(Config::new().into(), Peer::Ip([192, 0, 2, 7].into()));
/// http.receive_data(b"GET / HTTP/1.1\r\nHo");
/// assert!(matches!(http.next_event(), Ok(Event::NeedData)));
/// let sent = http.to_parts().expect("no request is under way");
///
/// // … and elsewhere, where it has arrived field by field:
/// let received = Parts { input: sent.input, ..Parts::default() };
/// let peer = Peer::Ip([192, 0, 2, 7].into());
/// let mut http = Connection::from_parts(Config::new().into(), peer, received);
/// http.receive_data(b"st: example.com\r\n\r\n");
/// assert!(matches!(http.next_event(), Ok(Event::Request(head)) if head.target() == b"/"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// [`close_after_response`](Connection::close_after_response) was called.
    pub closing: bool,
    /// `100 Continue` was sent for the request that `input` begins with: it must not be sent twice.
    pub continue_sent: bool,
    /// The peer will send nothing more.
    pub eof: bool,
    /// Bytes that were received and belong to requests that are still to be served.
    pub input: Bytes,
}

impl Connection {
    /// Takes a request back, as if it had not been read: the next event is the same request again.
    /// Whether `100 Continue` was sent is remembered.
    ///
    /// `head` is the one that the last [`Event::Request`](crate::Event::Request) gave, `body` what
    /// was read since: all that [`Event::Data`](crate::Event::Data) gave. Of a chunked body nothing
    /// may have been read.
    ///
    /// # Errors
    ///
    /// [`SendError::WrongState`] if the response was begun, or another number of bytes of the body
    /// was read, or there is no request; nothing has changed then.
    ///
    /// # Examples
    ///
    /// ```
    /// use rgunicorn_http1::{Config, Connection, Event, Peer};
    ///
    /// let mut http = Connection::new(Config::new().into(), Peer::Local);
    /// http.receive_data(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    /// let Event::Request(head) = http.next_event()? else { panic!("the head is complete") };
    /// http.unread(&head, b"").expect("nothing was answered");
    /// assert_eq!(http.to_parts().expect("no request is under way").input.len(), 37);
    /// # Ok::<(), rgunicorn_http1::ProtocolError>(())
    /// ```
    pub fn unread(&mut self, head: &RequestHead, body: &[u8]) -> Result<(), SendError> {
        let count = body.len() as u64;
        let is_whole = match &self.state.client {
            Client::Body(reader) => reader.has_read(count, head.body()),
            Client::Done => head.body().length() == Some(count),
            Client::Closed | Client::Failed(_) | Client::Idle(_) => false,
        };
        if !is_whole {
            return Err(SendError::WrongState);
        }
        self.state.take(Step::Unread)?;
        self.expects_continue = false;
        let mut input = BytesMut::from(head.as_bytes());
        input.extend_from_slice(body);
        input.extend_from_slice(&self.input);
        self.input = input;
        Ok(())
    }

    /// What another process needs to go on with this connection by [`from_parts`](Self::from_parts),
    /// as if nothing had happened. This one is unchanged, so that it can go on itself if the other
    /// process cannot be reached; only one of them may use the socket.
    ///
    /// It is there between two requests, also if a part of the next one was received; a request that
    /// was read can be taken back by [`unread`](Self::unread). `None` while a request is under way,
    /// until [`start_next_cycle`](Self::start_next_cycle), and after the end or a failure.
    pub fn to_parts(&self) -> Option<Parts> {
        let State { client: Client::Idle(reader), server: Server::Idle } = &self.state else {
            return None;
        };
        Some(Parts {
            closing: self.closing,
            continue_sent: self.continue_sent,
            eof: self.eof,
            input: [reader.skipped(), &self.input].concat().into(),
        })
    }

    /// Goes on with a connection where [`to_parts`](Self::to_parts) left it. Bytes that come with it
    /// are judged by this configuration, and so is the peer, as in [`new`](Self::new).
    pub fn from_parts(config: Arc<Config>, peer: Peer, parts: Parts) -> Self {
        Self {
            closing: parts.closing,
            continue_sent: parts.continue_sent,
            eof: parts.eof,
            input: parts.input.into(),
            ..Self::new(config, peer)
        }
    }
}
