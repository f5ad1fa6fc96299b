//! How a listener comes to be: bound here, or taken over from whoever had the socket before.

use std::ffi::OsStr;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::lchown;
use std::path::Path;

use nix::sys::stat::{Mode, umask};
use socket2::{Domain, SockAddr, Socket, Type};

use super::file::{SocketFile, remove_stale};
use super::{Holding, Listener};
use crate::{Address, Group, Options, User, inherit};

pub(super) fn bind(address: &Address, options: &Options) -> io::Result<Listener> {
    let backlog = length(options.backlog);
    match address {
        Address::Abstract { name } => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            let zero_and_name = [b"\0", name.as_bytes()].concat();
            socket.bind(&SockAddr::unix(OsStr::from_bytes(&zero_and_name))?)?;
            listen(&socket, backlog)?;
            listener(socket, address, Holding::Own, None)
        }
        Address::Descriptor { number } => {
            let socket = inherit::claim(*number)?;
            listen_if_needed(&socket, backlog)?;
            listener(socket, address, Holding::Given, None)
        }
        Address::Tcp { host, port } => {
            let socket = bind_tcp(resolve(host, *port)?, options.reuse_port)?;
            if options.reuse_port {
                listener(socket, address, Holding::Reserved { backlog }, None)
            } else {
                listen(&socket, backlog)?;
                listener(socket, address, Holding::Own, None)
            }
        }
        Address::Unix { path } => bind_unix(address, path, backlog, options),
    }
}

/// A socket that somebody else bound; with `address` on behalf of a server that this one replaces.
pub(super) fn adopt(
    socket: Socket,
    address: Option<&Address>,
    backlog: u32,
) -> io::Result<Listener> {
    listen_if_needed(&socket, length(backlog))?;
    let (holding, file) = match address {
        None | Some(Address::Descriptor { .. }) => (Holding::Given, None),
        // The file may have been removed or replaced: then it is nobody's of ours.
        Some(Address::Unix { path }) => (Holding::Own, SocketFile::at(path).ok()),
        Some(Address::Abstract { .. } | Address::Tcp { .. }) => (Holding::Own, None),
    };
    let requested = address.cloned().map_or_else(|| name_of(&socket), Ok)?;
    listener(socket, &requested, holding, file)
}

/// A worker's own socket at the port that the arbiter keeps, `SO_REUSEPORT` of socket(7).
pub(super) fn share(reserved: &Listener, backlog: i32) -> io::Result<Listener> {
    let address = socket2::SockRef::from(&reserved.socket).local_addr()?;
    let address = address.as_socket().ok_or(io::ErrorKind::Unsupported)?;
    let socket = bind_tcp(address, true)?;
    listen(&socket, backlog)?;
    listener(socket, &reserved.requested, Holding::Own, None)
}

pub(super) fn is_at(socket: &Socket, address: &Address) -> bool {
    let Ok(local) = socket.local_addr() else { return false };
    match address {
        Address::Abstract { name } => local.as_abstract_namespace() == Some(name.as_bytes()),
        Address::Descriptor { number } => socket.as_raw_fd() == *number,
        Address::Tcp { host, port } => match (local.as_socket(), resolve(host, *port)) {
            (Some(local), Ok(wanted)) => {
                local.ip() == wanted.ip() && (*port == 0 || *port == local.port())
            }
            _ => false,
        },
        Address::Unix { path } => local.as_pathname() == Some(path),
    }
}

fn listener(
    socket: Socket,
    requested: &Address,
    holding: Holding,
    file: Option<SocketFile>,
) -> io::Result<Listener> {
    let bound = name_of(&socket)?;
    Ok(Listener { socket: socket.into(), requested: requested.clone(), bound, holding, file })
}

/// Where the socket is, as the kernel says.
fn name_of(socket: &Socket) -> io::Result<Address> {
    let local = socket.local_addr()?;
    if let Some(address) = local.as_socket() {
        return Ok(Address::tcp(address.ip().to_string(), address.port()));
    }
    let unnamed = || io::Error::new(io::ErrorKind::InvalidInput, "it has no address");
    match (local.as_abstract_namespace(), local.as_pathname()) {
        (Some(name), _) => Address::unix(OsStr::from_bytes(&[b"\0", name].concat())),
        (None, Some(path)) => Address::unix(path),
        (None, None) => return Err(unnamed()),
    }
    .map_err(|_| unnamed())
}

/// A name becomes its first IPv4 address if it has one, as with gunicorn.
fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let v4 = addresses.iter().find(|address| address.is_ipv4());
    v4.or(addresses.first()).copied().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

fn bind_tcp(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restarted server need not wait for the connections of its predecessor to time out.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    // Accepted sockets inherit it: one syscall less per connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bind_unix(
    requested: &Address,
    path: &Path,
    backlog: i32,
    options: &Options,
) -> io::Result<Listener> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    {
        // A new file has every permission that the umask does not take.
        let _umask = Umask::set(options.bind_mode.map_or(options.umask, |mode| !mode));
        socket.bind(&SockAddr::unix(path)?)?;
    }
    let file = SocketFile::at(path)?;
    // Nobody can connect before `listen`, so no one sees the owner of in between. A symbolic link is
    // not followed: who may write to the directory could have put one there.
    let (user, group) = (options.privileges.user, options.privileges.group);
    if user.is_some() || group.is_some() {
        lchown(path, user.map(User::uid), group.map(Group::gid))?;
    }
    listen(&socket, backlog)?;
    listener(socket, requested, Holding::Own, Some(file))
}

/// The umask of this process, until it is dropped. chmod(2) afterwards would follow a symbolic link
/// that was put in the socket's place, and open somebody's file to everybody.
struct Umask(Mode);

impl Umask {
    fn set(bits: u32) -> Self {
        Self(umask(Mode::from_bits_truncate(bits & 0o777)))
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

/// What listens already keeps the backlog that it was given.
fn listen_if_needed(socket: &Socket, backlog: i32) -> io::Result<()> {
    if socket.is_listener()? { socket.set_nonblocking(true) } else { listen(socket, backlog) }
}

fn length(backlog: u32) -> i32 {
    i32::try_from(backlog).unwrap_or(i32::MAX)
}
