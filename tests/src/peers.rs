//! Who is connected to a process.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use crate::process::Process;

impl Process {
    /// The other ends of the TCP connections that this process holds open, over IPv4. Other
    /// processes may hold the same.
    pub fn peers(self) -> BTreeSet<SocketAddr> {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.pid()));
        let descriptors = descriptors.expect("the process runs and is ours");
        let inodes: BTreeSet<String> = descriptors
            .filter_map(|descriptor| {
                let target = fs::read_link(descriptor.ok()?.path()).ok()?;
                Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
            })
            .collect();
        let table = fs::read_to_string("/proc/net/tcp").expect("/proc is mounted");
        table.lines().filter_map(|line| peer(line, &inodes)).collect()
    }
}

/// The peer of a connection that is one of these, from a line of `/proc/net/tcp`,
/// `proc_pid_net(5)`: `sl local_address rem_address st tx_queue:rx_queue tr:when retrnsmt uid
/// timeout inode …`
fn peer(line: &str, inodes: &BTreeSet<String>) -> Option<SocketAddr> {
    let mut fields = line.split_ascii_whitespace();
    let (peer, state) = (fields.nth(2)?, fields.next()?);
    // Most lines, if there are many, are nobody's any more.
    if matches!(state, LISTEN | TIME_WAIT) || !inodes.contains(fields.nth(5)?) {
        return None;
    }
    let (address, port) = peer.split_once(':')?;
    // The number is the machine's way to read the four bytes, which lie in the network's order.
    let address = Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?.to_ne_bytes());
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((address, port).into())
}

/// States of `include/net/tcp_states.h`.
const LISTEN: &str = "0A";
const TIME_WAIT: &str = "06";

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn both_ends_of_a_connection_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let this = Process::find(i32::try_from(std::process::id()).unwrap()).unwrap();
        let peers = this.peers();
        assert!(peers.contains(&client.peer_addr().unwrap()), "{peers:?}");
        // Nobody holds the other end before it is accepted.
        assert!(!peers.contains(&client.local_addr().unwrap()), "{peers:?}");
        let (_accepted, _) = listener.accept().unwrap();
        assert!(this.peers().contains(&client.local_addr().unwrap()));
    }
}
