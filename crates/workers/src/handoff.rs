//! A connection on its way to a sibling, through the arbiter's mailbox: its socket, and a message
//! about all that the socket does not know.
//!
//! Every field is little-endian, and no text is trusted to end by itself:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | [`VERSION`] |
//! | 1 | flags |
//! | 8 | requests served on this connection |
//! | 8 | [`Patience`], milliseconds of the monotonic clock |
//! | 1, 7 or 27 | the kind of the peer's address, and the address |
//! | 2 + n | the listener's address |
//! | 2 + n | bytes that were received and belong to requests still to be served |

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf, BufMut, Bytes, TryGetError};
use rgunicorn_arbiter::{Mailbox, Moment};
use rgunicorn_http1::Parts;
use socket2::{Domain, Socket, Type};

use crate::stream::Stream;

/// A connection between requests, but for its socket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Passenger {
    /// The address of the listener that it came by, as text of at most [`LOCAL_LIMIT`] bytes. An
    /// index would mean another listener after a reload or an upgrade with other addresses.
    pub(crate) local: String,
    /// What of the protocol is under way; at most [`INPUT_LIMIT`] bytes of input.
    pub(crate) parts: Parts,
    pub(crate) patience: Patience,
    /// `None` for a Unix socket.
    pub(crate) peer: Option<SocketAddr>,
    /// Bytes wait in the socket: whoever gets it need not ask a poller first.
    pub(crate) readable: bool,
    /// Requests served on this connection so far.
    pub(crate) requests: u64,
}

/// How long it has waited, or may wait, by the clock that all processes of a machine share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Patience {
    /// A head is under way, and must be complete by then.
    Head { deadline: Moment },
    /// Nothing of a request is here, since then. How long that may last is a setting of whoever has
    /// the connection.
    Idle { since: Moment },
}

/// What became of a connection that was to go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Departure {
    /// There is no room in the mailbox now; later there may be.
    Full,
    /// A sibling will have it: forget it here, without shutting it down.
    Sent,
    /// It does not fit into a message, and is to be served here.
    TooLong,
}

/// A message that is none of ours, or of another version.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum MessageError {
    #[error("the flags {0:#010b} have no meaning")]
    Flags(u8),
    #[error("{length} bytes of {field} are more than {limit}")]
    Length { field: &'static str, length: usize, limit: usize },
    #[error("the listener's address is not UTF-8")]
    Local,
    #[error("a peer's address of kind {0} is unknown")]
    Peer(u8),
    #[error("{missing} bytes are missing")]
    Short { missing: usize },
    #[error("{0} bytes follow its end")]
    Trailing(usize),
    #[error("version {0} is not {VERSION}")]
    Version(u8),
}

/// Of this layout. A worker that meets another, because an upgrade changed it, cannot know what the
/// connection is at, and closes it.
const VERSION: u8 = 1;

/// The most bytes of input that travel. With more of them fewer messages fit into the mailbox, and
/// a connection with so much of a request here is better served where it is.
pub(crate) const INPUT_LIMIT: usize = 4096;

/// The most bytes of a listener's address: a path is shorter, and so is a name of the DNS.
pub(crate) const LOCAL_LIMIT: usize = 512;

const CLOSING: u8 = 1;
const CONTINUE_SENT: u8 = 1 << 1;
const EOF: u8 = 1 << 2;
const HEAD: u8 = 1 << 3;
const READABLE: u8 = 1 << 4;
const FLAGS: u8 = CLOSING | CONTINUE_SENT | EOF | HEAD | READABLE;

const PEER_NONE: u8 = 0;
const PEER_V4: u8 = 4;
const PEER_V6: u8 = 6;

/// Version, flags, requests, patience, the longest address, two lengths, two texts.
const MESSAGE_LIMIT: usize = 1 + 1 + 8 + 8 + 27 + 2 + LOCAL_LIMIT + 2 + INPUT_LIMIT;
const _: () = assert!(MESSAGE_LIMIT <= Mailbox::PAYLOAD_MAX);

impl Passenger {
    /// The message.
    ///
    /// # Errors
    /// [`MessageError::Length`].
    pub(crate) fn encode(&self) -> Result<Vec<u8>, MessageError> {
        let mut message = Vec::with_capacity(96 + self.parts.input.len());
        message.put_u8(VERSION);
        message.put_u8(self.flags());
        message.put_u64_le(self.requests);
        let (Patience::Head { deadline: moment } | Patience::Idle { since: moment }) =
            self.patience;
        message.put_u64_le(moment.as_millis());
        put_peer(&mut message, self.peer);
        put_text(&mut message, LOCAL, self.local.as_bytes())?;
        put_text(&mut message, INPUT, &self.parts.input)?;
        Ok(message)
    }

    /// Reads a message, all of it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn decode(mut message: &[u8]) -> Result<Self, MessageError> {
        let message = &mut message;
        let version = message.try_get_u8()?;
        if version != VERSION {
            return Err(MessageError::Version(version));
        }
        let flags = message.try_get_u8()?;
        if flags & !FLAGS != 0 {
            return Err(MessageError::Flags(flags));
        }
        let requests = message.try_get_u64_le()?;
        let moment = Moment::from_millis(message.try_get_u64_le()?);
        let peer = get_peer(message)?;
        let local = get_text(message, LOCAL)?;
        let input = get_text(message, INPUT)?;
        if !message.is_empty() {
            return Err(MessageError::Trailing(message.len()));
        }
        let patience = match flags & HEAD {
            0 => Patience::Idle { since: moment },
            _ => Patience::Head { deadline: moment },
        };
        let parts = Parts {
            closing: flags & CLOSING != 0,
            continue_sent: flags & CONTINUE_SENT != 0,
            eof: flags & EOF != 0,
            input: Bytes::copy_from_slice(input),
        };
        let local = std::str::from_utf8(local).map_err(|_| MessageError::Local)?.to_owned();
        Ok(Self { local, parts, patience, peer, readable: flags & READABLE != 0, requests })
    }

    fn flags(&self) -> u8 {
        [
            (CLOSING, self.parts.closing),
            (CONTINUE_SENT, self.parts.continue_sent),
            (EOF, self.parts.eof),
            (HEAD, matches!(self.patience, Patience::Head { .. })),
            (READABLE, self.readable),
        ]
        .into_iter()
        .fold(0, |flags, (flag, is_set)| if is_set { flags | flag } else { flags })
    }
}

impl From<TryGetError> for MessageError {
    fn from(error: TryGetError) -> Self {
        Self::Short { missing: error.requested.saturating_sub(error.available) }
    }
}

/// Leaves a connection for whichever sibling looks first. The socket stays open here, too: after
/// [`Departure::Sent`] the caller removes it from its poller, then closes it.
///
/// # Errors
/// The mailbox is broken; the connection is still here.
pub(crate) fn send(
    mailbox: &Mailbox,
    stream: &Stream,
    passenger: &Passenger,
) -> io::Result<Departure> {
    let Ok(message) = passenger.encode() else { return Ok(Departure::TooLong) };
    match mailbox.send(stream.as_fd(), &message) {
        Ok(()) => Ok(Departure::Sent),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Departure::Full),
        Err(error) => Err(error),
    }
}

/// Takes a connection that a sibling left. `None`: there is none, or one that is not understood,
/// which is closed; the log tells of the first of these only, since a sibling of another version
/// sends many.
///
/// # Errors
/// The mailbox is broken.
pub(crate) fn receive(mailbox: &Mailbox) -> io::Result<Option<(Stream, Passenger)>> {
    let mut buffer = [0; Mailbox::PAYLOAD_MAX];
    let error = match mailbox.receive(&mut buffer) {
        Ok(None) => return Ok(None),
        Ok(Some((descriptor, length))) => {
            match open(descriptor, buffer.get(..length).unwrap_or_default()) {
                Ok(arrived) => return Ok(Some(arrived)),
                Err(error) => error,
            }
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => error,
        Err(error) => return Err(error),
    };
    if !REPORTED.swap(true, Ordering::Relaxed) {
        log::error!("a connection from another worker is lost, and so may others be: {error}");
    }
    Ok(None)
}

/// Whether this process has logged a message that it did not understand.
static REPORTED: AtomicBool = AtomicBool::new(false);

fn open(descriptor: OwnedFd, message: &[u8]) -> io::Result<(Stream, Passenger)> {
    let passenger = Passenger::decode(message).map_err(io::Error::other)?;
    let socket = Socket::from(descriptor);
    if socket.r#type()? != Type::STREAM {
        return Err(io::Error::other("its socket is no stream"));
    }
    let stream = match socket.domain()? {
        Domain::UNIX => Stream::Unix(socket.into()),
        Domain::IPV4 | Domain::IPV6 => Stream::Tcp(socket.into()),
        other => return Err(io::Error::other(format!("its socket is of {other:?}"))),
    };
    Ok((stream, passenger))
}

/// A text of limited length, as errors name it.
#[derive(Clone, Copy)]
struct Text {
    name: &'static str,
    limit: usize,
}

const INPUT: Text = Text { name: "input", limit: INPUT_LIMIT };
const LOCAL: Text = Text { name: "a listener's address", limit: LOCAL_LIMIT };

impl Text {
    fn check(self, length: usize) -> Result<(), MessageError> {
        let (field, limit) = (self.name, self.limit);
        if length > limit {
            return Err(MessageError::Length { field, length, limit });
        }
        Ok(())
    }
}

fn put_text(message: &mut Vec<u8>, kind: Text, text: &[u8]) -> Result<(), MessageError> {
    kind.check(text.len())?;
    // Both limits are far below 65536.
    message.put_u16_le(u16::try_from(text.len()).unwrap_or(u16::MAX));
    message.put_slice(text);
    Ok(())
}

fn get_text<'a>(message: &mut &'a [u8], kind: Text) -> Result<&'a [u8], MessageError> {
    let length = usize::from(message.try_get_u16_le()?);
    kind.check(length)?;
    let missing = length.saturating_sub(message.len());
    let (text, rest) = message.split_at_checked(length).ok_or(MessageError::Short { missing })?;
    *message = rest;
    Ok(text)
}

fn put_peer(message: &mut Vec<u8>, peer: Option<SocketAddr>) {
    match peer {
        None => message.put_u8(PEER_NONE),
        Some(SocketAddr::V4(address)) => {
            message.put_u8(PEER_V4);
            message.put_u32_le(address.ip().to_bits());
            message.put_u16_le(address.port());
        }
        Some(SocketAddr::V6(address)) => {
            message.put_u8(PEER_V6);
            message.put_u128_le(address.ip().to_bits());
            message.put_u16_le(address.port());
            message.put_u32_le(address.flowinfo());
            message.put_u32_le(address.scope_id());
        }
    }
}

fn get_peer(message: &mut &[u8]) -> Result<Option<SocketAddr>, MessageError> {
    match message.try_get_u8()? {
        PEER_NONE => Ok(None),
        PEER_V4 => {
            let ip = Ipv4Addr::from_bits(message.try_get_u32_le()?);
            Ok(Some(SocketAddrV4::new(ip, message.try_get_u16_le()?).into()))
        }
        PEER_V6 => {
            let ip = Ipv6Addr::from_bits(message.try_get_u128_le()?);
            let port = message.try_get_u16_le()?;
            let flowinfo = message.try_get_u32_le()?;
            let scope_id = message.try_get_u32_le()?;
            Ok(Some(SocketAddrV6::new(ip, port, flowinfo, scope_id).into()))
        }
        kind => Err(MessageError::Peer(kind)),
    }
}

#[cfg(test)]
mod tests;
