//! Sockets that listen: bound by the arbiter, inherited by the workers.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, lchown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::socket::{SockFlag, accept4};
use nix::sys::stat::{Mode, umask};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::{Address, Group, Options, Pid, User};

/// A listening socket: non-blocking, closed on `exec`, shared by the arbiter and its workers.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    /// What was asked for: another spelling of the same address is another address.
    requested: Address,
    /// What it became: names resolved, port 0 replaced by the kernel's choice.
    bound: Address,
    /// Removed with the listener; Unix sockets only.
    _file: Option<SocketFile>,
}

/// A connection that was accepted.
#[derive(Debug)]
pub enum Connection {
    /// From a TCP listener; small writes are not delayed (`TCP_NODELAY`).
    Tcp(TcpStream),
    /// From a Unix listener.
    Unix(UnixStream),
}

/// The file of a bound Unix socket. The process that made it removes it, and only if it is still
/// the same file: a successor may have put its own there.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    owner: Pid,
    device: u64,
    inode: u64,
}

impl Listener {
    /// One of the options' addresses, as the other options say.
    pub(crate) fn bind(address: &Address, options: &Options) -> io::Result<Self> {
        let backlog = i32::try_from(options.backlog).unwrap_or(i32::MAX);
        match address {
            Address::Tcp { host, port } => bind_tcp(address, resolve(host, *port)?, backlog),
            Address::Unix { path } => bind_unix(address, path, backlog, options),
        }
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

    /// One syscall; std's and socket2's accept would need a second one for the flag.
    fn accept_with(&self, flags: SockFlag) -> io::Result<Connection> {
        let accepted = accept4(self.socket.as_raw_fd(), flags)?;
        #[expect(unsafe_code, reason = "nix returns the new descriptor as a number")]
        // SAFETY: the kernel has just made this descriptor for us, so nobody else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(accepted) };
        Ok(match self.bound {
            Address::Tcp { .. } => Connection::Tcp(socket.into()),
            Address::Unix { .. } => Connection::Unix(socket.into()),
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

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = || {
            let file = fs::symlink_metadata(&self.path).ok()?;
            Some((file.dev(), file.ino()) == (self.device, self.inode))
        };
        if Pid::this() == self.owner && is_ours() == Some(true) {
            if let Err(error) = fs::remove_file(&self.path) {
                log::debug!(target: crate::LOG, "Cannot remove {}: {error}", self.path.display());
            }
        }
    }
}

/// A name becomes its first IPv4 address if it has one, as with gunicorn.
fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let v4 = addresses.iter().find(|address| address.is_ipv4());
    v4.or(addresses.first()).copied().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

fn bind_tcp(requested: &Address, address: SocketAddr, backlog: i32) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restarted server need not wait for the connections of its predecessor to time out.
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it: one syscall less per connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    listen(&socket, backlog)?;
    let local = socket.local_addr()?.as_socket();
    let local = local.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));
    let bound = Address::tcp(local.ip().to_string(), local.port());
    Ok(Listener { socket: socket.into(), requested: requested.clone(), bound, _file: None })
}

fn bind_unix(
    requested: &Address,
    path: &Path,
    backlog: i32,
    options: &Options,
) -> io::Result<Listener> {
    remove_stale_socket(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    {
        let _umask = Umask::set(options.umask);
        socket.bind(&SockAddr::unix(path)?)?;
    }
    let metadata = fs::symlink_metadata(path)?;
    let file = SocketFile {
        // The process may change its directory.
        path: std::path::absolute(path)?,
        owner: Pid::this(),
        device: metadata.dev(),
        inode: metadata.ino(),
    };
    // Nobody can connect before `listen`, so no one sees the owner of in between. A symbolic link is
    // not followed: who may write to the directory could have put one there.
    let (user, group) = (options.privileges.user, options.privileges.group);
    if user.is_some() || group.is_some() {
        lchown(path, user.map(User::uid), group.map(Group::gid))?;
    }
    listen(&socket, backlog)?;
    let (requested, bound) = (requested.clone(), requested.clone());
    Ok(Listener { socket: socket.into(), requested, bound, _file: Some(file) })
}

/// The umask of this process, until it is dropped. chmod(2) afterwards would follow a symbolic link
/// that was put in the socket's place, and open somebody's file to everybody.
struct Umask(Mode);

impl Umask {
    fn set(bits: u32) -> Self {
        Self(umask(Mode::from_bits_truncate(bits)))
    }
}

impl Drop for Umask {
    fn drop(&mut self) {
        umask(self.0);
    }
}

fn listen(socket: &Socket, backlog: i32) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.listen(backlog)
}

/// A socket file outlives its process; anything else at that path is somebody's data.
fn remove_stale_socket(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file is not a socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
