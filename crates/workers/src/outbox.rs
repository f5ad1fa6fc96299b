//! Responses, and pieces of one, that leave together.
//!
//! When several requests are ready at one wake-up, their application calls run one after another
//! and their responses go out at the end: the application's code and data stay in the processor's
//! caches, which system calls in between would push out (Flask: 63 against 48 µs a request), and
//! the responses to a pipeline leave in one segment.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes, BytesMut};

use crate::poller::Token;
use crate::socket::Socket;

/// What waits for the end of a wake-up's work, or for the next piece, at most a millisecond.
///
/// Any thread may flush it, so that no response waits for an application call that does not end.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    entries: Mutex<Entries>,
    /// Something is in there; a look at it costs no lock.
    filled: AtomicBool,
}

#[derive(Debug, Default)]
struct Entries {
    /// The letters' contents, one behind the other.
    bytes: BytesMut,
    letters: Vec<Letter>,
    /// What a socket did not take: its connection's reactor has to go on with it.
    stalled: Vec<Stalled>,
}

#[derive(Debug)]
struct Letter {
    /// Bytes of `Entries::bytes` that are its own.
    length: usize,
    socket: Arc<Socket>,
    token: Token,
}

/// The rest of a response, or that its client is gone.
#[derive(Debug)]
pub(crate) struct Stalled {
    pub(crate) rest: io::Result<Bytes>,
    pub(crate) token: Token,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Whereabouts {
    /// With the application.
    Away,
    Gone,
    /// With the reactor.
    Here,
}

/// More is not kept back: it fills a packet anyway.
const LIMIT_BYTES: usize = 64 << 10;

impl Outbox {
    /// Takes a response, or more of one, and leaves its buffer empty.
    pub(crate) fn push(&self, token: Token, socket: &Arc<Socket>, response: &mut BytesMut) {
        let mut entries = self.lock();
        if entries.bytes.len() + response.len() > LIMIT_BYTES {
            entries.flush();
        }
        entries.bytes.extend_from_slice(response);
        let length = response.len();
        response.clear();
        match entries.letters.last_mut() {
            Some(letter) if letter.token == token => letter.length += length,
            _ => entries.letters.push(Letter { length, socket: Arc::clone(socket), token }),
        }
        self.filled.store(true, Ordering::SeqCst);
    }

    /// Sends what is there, as far as the sockets take it.
    pub(crate) fn flush(&self) {
        if self.filled.load(Ordering::SeqCst) {
            let mut entries = self.lock();
            entries.flush();
            self.filled.store(!entries.stalled.is_empty(), Ordering::SeqCst);
        }
    }

    /// Flushes, and gives out what the sockets of connections that are here did not take. Others
    /// may be sending at this moment, and must find theirs.
    pub(crate) fn flush_all(&self, mut is: impl FnMut(Token) -> Whereabouts) -> Vec<Stalled> {
        if !self.filled.load(Ordering::SeqCst) {
            return Vec::new();
        }
        let mut entries = self.lock();
        entries.flush();
        let stalled = std::mem::take(&mut entries.stalled);
        let mut here = Vec::new();
        for stalled in stalled {
            match is(stalled.token) {
                Whereabouts::Away => entries.stalled.push(stalled),
                Whereabouts::Gone => {}
                Whereabouts::Here => here.push(stalled),
            }
        }
        self.filled.store(!entries.stalled.is_empty(), Ordering::SeqCst);
        here
    }

    /// Flushes because `token` is about to send directly, and gives out what its socket did not
    /// take: that goes first.
    ///
    /// # Errors
    /// The client is gone.
    pub(crate) fn flush_before(&self, token: Token) -> io::Result<Option<Bytes>> {
        if !self.filled.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let mut entries = self.lock();
        entries.flush();
        let position = entries.stalled.iter().position(|stalled| stalled.token == token);
        let stalled = position.map(|position| entries.stalled.swap_remove(position));
        self.filled.store(!entries.stalled.is_empty(), Ordering::SeqCst);
        stalled.map(|stalled| stalled.rest).transpose()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn flush(&mut self) {
        let mut bytes = &self.bytes[..];
        for Letter { length, socket, token } in self.letters.drain(..) {
            let (response, others) = bytes.split_at(length.min(bytes.len()));
            bytes = others;
            // Behind what is stalled already nothing may overtake.
            let behind = self.stalled.iter_mut().find(|stalled| stalled.token == token);
            let sent = match &behind {
                Some(_) => Ok(0),
                None => write(&socket, response),
            };
            match (behind, sent) {
                (Some(Stalled { rest: Ok(rest), .. }), _) => {
                    *rest = [&rest[..], response].concat().into();
                }
                (Some(_), _) => {}
                (None, Ok(sent)) if sent == response.len() => {}
                (None, sent) => {
                    let rest = sent.map(|sent| {
                        let mut rest = response;
                        rest.advance(sent);
                        Bytes::copy_from_slice(rest)
                    });
                    self.stalled.push(Stalled { rest, token });
                }
            }
        }
        self.bytes.clear();
    }
}

/// Bytes that the socket took.
fn write(socket: &Socket, response: &[u8]) -> io::Result<usize> {
    loop {
        match socket.stream().write(response) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::poller::Poller;
    use crate::stream::Stream;

    /// A client's end, and ours.
    fn connection(token: u64) -> (UnixStream, Arc<Socket>, Token) {
        let (theirs, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let poller = Arc::new(Poller::new().unwrap());
        let socket = Socket::new(Stream::Unix(ours), Token(token), poller);
        (theirs, Arc::new(socket), Token(token))
    }

    fn received(client: &mut UnixStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Err(error) = client.read_to_end(&mut bytes) {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
        bytes
    }

    fn push(outbox: &Outbox, (_, socket, token): &(UnixStream, Arc<Socket>, Token), text: &[u8]) {
        let mut response = BytesMut::from(text);
        outbox.push(*token, socket, &mut response);
        assert!(response.is_empty(), "the buffer is used again");
    }

    #[test]
    fn responses_leave_together_and_in_order() {
        let outbox = Outbox::default();
        let (mut first, mut second) = (connection(1), connection(2));
        push(&outbox, &first, b"one ");
        push(&outbox, &second, b"two");
        push(&outbox, &first, b"three ");
        push(&outbox, &first, b"four");
        assert!(received(&mut first.0).is_empty() && received(&mut second.0).is_empty());
        outbox.flush();
        assert_eq!(received(&mut first.0), b"one three four");
        assert_eq!(received(&mut second.0), b"two");
        outbox.flush();
        assert!(received(&mut first.0).is_empty());
    }

    #[test]
    fn what_fills_a_packet_is_not_kept_back() {
        let outbox = Outbox::default();
        let mut client = connection(1);
        push(&outbox, &client, &vec![b'x'; LIMIT_BYTES]);
        push(&outbox, &client, b"y");
        assert_eq!(received(&mut client.0).len(), LIMIT_BYTES);
        outbox.flush();
        assert_eq!(received(&mut client.0), b"y");
    }

    /// Fills the socket until it takes no more, and returns what has been pushed.
    fn stall(outbox: &Outbox, client: &(UnixStream, Arc<Socket>, Token)) -> Vec<u8> {
        let mut pushed = Vec::new();
        for letter in (b'a'..=b'z').cycle() {
            let response = vec![letter; 50_000];
            push(outbox, client, &response);
            pushed.extend(response);
            outbox.flush();
            if !outbox.lock().stalled.is_empty() {
                return pushed;
            }
        }
        pushed
    }

    #[test]
    fn nothing_overtakes_what_the_socket_did_not_take() {
        let outbox = Outbox::default();
        let mut client = connection(1);
        let mut pushed = stall(&outbox, &client);
        let mut arrived = received(&mut client.0);
        // There is room now, but this one has to wait for the rest before it.
        push(&outbox, &client, b"last");
        pushed.extend(b"last");
        outbox.flush();
        assert!(received(&mut client.0).is_empty());
        let away = outbox.flush_all(|_| Whereabouts::Away);
        assert!(away.is_empty(), "whoever has it will ask");
        let here = outbox.flush_all(|_| Whereabouts::Here);
        let [Stalled { rest: Ok(rest), token }] = &here[..] else { panic!("{here:?}") };
        assert_eq!(*token, client.2);
        arrived.extend_from_slice(rest);
        assert!(arrived == pushed);
        assert!(outbox.flush_all(|_| Whereabouts::Here).is_empty(), "given out once");
    }

    #[test]
    fn who_sends_directly_gets_his_rest_and_nobody_elses() {
        let outbox = Outbox::default();
        let (client, mut other) = (connection(1), connection(2));
        stall(&outbox, &client);
        push(&outbox, &other, b"before");
        assert_eq!(outbox.flush_before(other.2).unwrap(), None);
        assert_eq!(received(&mut other.0), b"before");
        assert!(outbox.flush_before(client.2).unwrap().is_some());
        assert_eq!(outbox.flush_before(client.2).unwrap(), None);
    }

    #[test]
    fn of_who_is_gone_the_error_is_told_once() {
        let outbox = Outbox::default();
        let (client, other) = (connection(1), connection(2));
        drop(client.0);
        let mut response = BytesMut::from(&b"response"[..]);
        outbox.push(client.2, &client.1, &mut response);
        push(&outbox, &other, b"to another");
        outbox.flush();
        assert!(outbox.flush_before(client.2).is_err());
        assert!(outbox.flush_all(|_| Whereabouts::Gone).is_empty());
    }
}
