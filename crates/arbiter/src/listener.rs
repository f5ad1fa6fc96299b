//! Sockets that listen: bound by the arbiter, inherited by the workers.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{SockFlag, accept4};
use socket2::{SockFilter, Socket};

mod bind;
mod file;

use self::file::SocketFile;
use crate::{Address, Options};

/// A listening socket: non-blocking, closed on `exec`, shared by the arbiter and its workers.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    /// What was asked for: another spelling of the same address is another address.
    requested: Address,
    /// What it became: names resolved, port 0 replaced by the kernel's choice.
    bound: Address,
    holding: Holding,
    /// Removed with the listener; Unix sockets with a path only.
    file: Option<SocketFile>,
}

/// Who accepts, and who else may.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Holding {
    /// It came from outside, where somebody may hold it as well.
    Given,
    /// It is ours.
    Own,
    /// It is ours and only keeps the port: each worker listens at a socket of its own, with this
    /// backlog.
    Reserved { backlog: i32 },
}

/// A connection that was accepted.
#[derive(Debug)]
pub enum Connection {
    /// From a TCP listener; small writes are not delayed (`TCP_NODELAY`).
    Tcp(TcpStream),
    /// From a Unix listener.
    Unix(UnixStream),
}

impl Listener {
    /// One of the options' addresses, as the other options say.
    pub(crate) fn bind(address: &Address, options: &Options) -> io::Result<Self> {
        bind::bind(address, options)
    }

    /// A socket that systemd gave, which is to be listened at whatever the options say.
    pub(crate) fn activated(socket: Socket, backlog: u32) -> io::Result<Self> {
        bind::adopt(socket, None, backlog)
    }

    /// A socket that an arbiter before this one listens at, or did, at an address of ours.
    pub(crate) fn passed(socket: Socket, address: &Address, backlog: u32) -> io::Result<Self> {
        bind::adopt(socket, Some(address), backlog)
    }

    /// Whether this socket is what binding `address` would give.
    pub(crate) fn is_at(socket: &Socket, address: &Address) -> bool {
        bind::is_at(socket, address)
    }

    /// Where it listens: an IP address and the real port, or a path.
    pub fn address(&self) -> &Address {
        &self.bound
    }

    /// Takes the next connection, non-blocking and closed on `exec`.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is none, or a sibling was faster; the
    /// kernel's error otherwise, as when a connection was given up before it was accepted.
    pub fn accept(&self) -> io::Result<Connection> {
        self.accept_with(SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)
    }

    /// As [`accept`](Self::accept), but reads and writes of the connection block.
    pub(crate) fn accept_blocking(&self) -> io::Result<Connection> {
        self.accept_with(SockFlag::SOCK_CLOEXEC)
    }

    pub(crate) fn requested(&self) -> &Address {
        &self.requested
    }

    /// Whether another program can go on with this very socket.
    pub(crate) fn can_be_passed(&self) -> bool {
        !matches!(self.holding, Holding::Reserved { .. })
    }

    /// Whether the socket's file goes with the listener, which it must not while others serve there.
    pub(crate) fn remove_file_at_end(&mut self, remove: bool) {
        if let Some(file) = &mut self.file {
            file.remove_at_end(remove);
        }
    }

    /// What a worker accepts from. With `reuse_port` that is a socket of its own.
    pub(crate) fn for_worker(self) -> io::Result<Self> {
        match self.holding {
            Holding::Reserved { backlog } => bind::share(&self, backlog),
            Holding::Given | Holding::Own => Ok(self),
        }
    }

    /// Lets in nobody any more, as a first step of a stop: whoever is in the queue by then is served,
    /// and whoever knocks later gets no answer until the socket is closed, and then a refusal.
    ///
    /// Closing a queue that somebody has just joined would reset him, though he was told that he is
    /// connected. Here new ones are SYN segments without ACK, and dropped; TCP repeats them after a
    /// second. For Unix sockets there is no such window: the kernel has no handshake to complete.
    pub(crate) fn turn_away(&self) {
        let is_tcp = matches!(self.bound, Address::Tcp { .. });
        if !is_tcp || self.holding == Holding::Given {
            return;
        }
        if let Err(error) = socket2::SockRef::from(&self.socket).attach_filter(&DROP_NEW) {
            log::debug!(target: crate::LOG, "Cannot turn new connections away: {error}");
        }
    }

    /// One syscall; std's and socket2's accept would need a second one for the flag.
    fn accept_with(&self, flags: SockFlag) -> io::Result<Connection> {
        let accepted = accept4(self.socket.as_raw_fd(), flags)?;
        #[expect(unsafe_code, reason = "nix returns the new descriptor as a number")]
        // SAFETY: the kernel has just made this descriptor for us, so nobody else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(accepted) };
        Ok(match self.bound {
            Address::Tcp { .. } => Connection::Tcp(socket.into()),
            Address::Abstract { .. } | Address::Descriptor { .. } | Address::Unix { .. } => {
                Connection::Unix(socket.into())
            }
        })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for &Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Connection::Tcp(stream) => (&*stream).read(buffer),
            Connection::Unix(stream) => (&*stream).read(buffer),
        }
    }
}

impl Write for &Connection {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Connection::Tcp(stream) => (&*stream).write(data),
            Connection::Unix(stream) => (&*stream).write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Classic BPF, `SO_ATTACH_FILTER` of socket(7). What it sees begins with the TCP header, where
/// byte 13 holds the flags: RFC 9293 §3.1.
const DROP_NEW: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13),       // load a byte
    SockFilter::new(0x54, 0, 0, 0x12),     // and SYN | ACK
    SockFilter::new(0x15, 0, 1, 0x02),     // is it SYN alone?
    SockFilter::new(0x06, 0, 0, 0),        // keep nothing
    SockFilter::new(0x06, 0, 0, u32::MAX), // keep everything
];
