//! A descriptor of the program's own in the arbiter's loop.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::server::{Server, text, wait_until};

fn tell(server: &Server, message: &str) -> std::io::Result<usize> {
    let directory = server.directory.path().canonicalize()?;
    let name = format!("{} {}", directory.display(), server.pid());
    let remote = SocketAddr::from_abstract_name(name)?;
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&remote)?;
    socket.send(message.as_bytes())
}

#[test]
fn a_source_sees_the_workers_and_asks_for_what_signals_do() {
    let mut server = Server::start(1);
    assert_eq!(text(server.connect(b'n')), "1");
    tell(&server, "who").unwrap();
    server.wait_for("1 are ready, and counted 1");
    tell(&server, "more").unwrap();
    server.wait_for("Handling signal: ttin");
    server.wait_for("2 workers");
    server.ask();
    tell(&server, "end").unwrap();
    assert_eq!(server.code(), Some(0));
}

#[test]
fn a_source_that_fails_is_closed_and_the_rest_goes_on() {
    let (mut server, worker) = Server::serving(&[]);
    tell(&server, "nonsense").unwrap();
    let line = server.wait_for(" is given up: no such command");
    assert!(line.starts_with("ERROR") && line.contains("Remote"), "{line}");
    // Nor do the workers hold it.
    wait_until("it is closed", || tell(&server, "who").err());
    assert_eq!(server.ask(), worker);
}
