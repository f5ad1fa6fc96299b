//! Word to systemd: the datagrams of `sd_notify(3)`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::{LOG, Moment, Pid, ServiceState};

/// Where the service manager listens.
#[derive(Debug)]
pub(crate) struct Notifier {
    name: OsString,
    address: SocketAddr,
    socket: UnixDatagram,
    /// Said once, and again when it has been heard in between.
    is_lost: bool,
}

impl Notifier {
    /// For `NOTIFY_SOCKET`, a path or after `@` an abstract name. `None` if it cannot be used, which
    /// is logged: a server that serves matters more.
    pub(crate) fn new(name: OsString) -> Option<Self> {
        let open = || {
            let address = match name.as_bytes().strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name)?,
                None if name.as_bytes().starts_with(b"/") => SocketAddr::from_pathname(&name)?,
                None => return Err(io::ErrorKind::Unsupported.into()),
            };
            let socket = UnixDatagram::unbound()?;
            // A manager that does not read must not stop the arbiter.
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok((address, socket))
        };
        match open() {
            Ok((address, socket)) => Some(Self { name, address, socket, is_lost: false }),
            Err(error) => {
                log_lost(&name, &error);
                None
            }
        }
    }

    pub(crate) fn send(&mut self, state: ServiceState) {
        let result = self.socket.send_to_addr(message(state).as_bytes(), &self.address);
        match (result, self.is_lost) {
            (Ok(_), _) => self.is_lost = false,
            (Err(_), true) => {}
            (Err(error), false) => {
                self.is_lost = true;
                log_lost(&self.name, &error);
            }
        }
    }
}

fn log_lost(name: &OsStr, error: &io::Error) {
    let name = name.to_string_lossy();
    log::warn!(target: LOG, "Cannot notify the service manager at '{name}': {error}");
}

/// Lines of assignments, without a line feed at the end.
fn message(state: ServiceState) -> String {
    match state {
        ServiceState::MainPid(pid) => format!("MAINPID={pid}"),
        // A promoted arbiter is not the process that systemd has started.
        ServiceState::Ready => format!("READY=1\nMAINPID={}", Pid::this()),
        ServiceState::Reloading => {
            let now = Moment::now().saturating_since(Moment::from_start(Duration::ZERO));
            format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros())
        }
        ServiceState::Status { ready, wanted } => {
            format!("STATUS={ready} of {wanted} workers serve")
        }
        ServiceState::Stopping => "STOPPING=1\nSTATUS=Workers finish their requests".to_owned(),
        ServiceState::Watchdog => "WATCHDOG=1".to_owned(),
    }
}

const PATIENCE: Duration = Duration::from_millis(100);
