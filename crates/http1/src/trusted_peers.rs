//! Whose word about the client counts.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use thiserror::Error;

use crate::forwarded::Peer;

/// The peers that may speak for the client: gunicorn's `forwarded_allow_ips`.
///
/// The syntax is gunicorn's: IP addresses and networks, and `*` for everybody, separated by commas.
/// No entry at all trusts no address. A peer on a Unix socket is always trusted: who may connect
/// there is a matter of file permissions.
///
/// # Examples
///
/// ```
/// use rgunicorn_http1::{Peer, TrustedPeers};
///
/// let trusted: TrustedPeers = "127.0.0.1, 10.0.0.0/8".parse()?;
/// assert!(trusted.contains(Peer::Ip("10.1.2.3".parse()?)));
/// assert!(!trusted.contains(Peer::Ip("192.0.2.7".parse()?)));
/// assert!(trusted.contains(Peer::Local));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedPeers {
    any: bool,
    networks: Vec<IpNet>,
}

/// What is wrong with an entry.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustedPeersError {
    /// A network with bits set beyond its prefix: it is not clear what was meant, the one address
    /// or the network.
    #[error("{entry:?} has host bits set: the network is {network:?}")]
    HostBits {
        /// The entry, for instance `10.0.0.1/8`.
        entry: String,
        /// The network in which it lies, for instance `10.0.0.0/8`.
        network: String,
    },
    /// Neither address nor network nor `*`.
    #[error("{entry:?} is neither an IP address nor a network")]
    Invalid {
        /// The entry.
        entry: String,
    },
}

impl TrustedPeers {
    /// Is the word of this peer to be taken? An IPv4 address that arrived on an IPv6 socket,
    /// `::ffff:192.0.2.7`, is looked for in both forms.
    pub fn contains(&self, peer: Peer) -> bool {
        match peer {
            Peer::Ip(address) => {
                let canonical = address.to_canonical();
                let holds =
                    |network: &IpNet| network.contains(&canonical) || network.contains(&address);
                self.any || self.networks.iter().any(holds)
            }
            Peer::Local => true,
        }
    }
}

/// This machine, `127.0.0.1` and `::1`, as in gunicorn.
impl Default for TrustedPeers {
    fn default() -> Self {
        let loopback: [IpAddr; 2] = [[127, 0, 0, 1].into(), [0, 0, 0, 0, 0, 0, 0, 1].into()];
        Self { any: false, networks: loopback.map(IpNet::from).into() }
    }
}

impl FromStr for TrustedPeers {
    type Err = TrustedPeersError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut peers = Self { any: false, networks: Vec::new() };
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            match entry {
                "*" => peers.any = true,
                _ => peers.networks.push(network(entry)?),
            }
        }
        Ok(peers)
    }
}

fn network(entry: &str) -> Result<IpNet, TrustedPeersError> {
    let network = match entry.parse::<IpAddr>() {
        Ok(address) => return Ok(address.into()),
        Err(_) => entry.parse::<IpNet>(),
    };
    let network = network.map_err(|_| TrustedPeersError::Invalid { entry: entry.to_owned() })?;
    let truncated = network.trunc();
    if truncated != network {
        let (entry, network) = (entry.to_owned(), truncated.to_string());
        return Err(TrustedPeersError::HostBits { entry, network });
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusts(entries: &str, address: &str) -> bool {
        let peers: TrustedPeers = entries.parse().unwrap();
        peers.contains(Peer::Ip(address.parse().unwrap()))
    }

    #[test]
    fn addresses_and_networks() {
        for (entries, address, expected) in [
            ("127.0.0.1,::1", "127.0.0.1", true),
            ("127.0.0.1,::1", "::1", true),
            ("127.0.0.1,::1", "127.0.0.2", false),
            ("127.0.0.1,::1", "::ffff:127.0.0.1", true),
            ("::ffff:10.0.0.0/104", "::ffff:10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "10.1.2.3", false),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::1", false),
            ("0.0.0.0/0", "192.0.2.7", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8::1", true),
            (" 10.0.0.1 , 10.0.0.2,", "10.0.0.2", true),
            ("10.0.0.1,*", "192.0.2.7", true),
            ("*", "::1", true),
            ("", "127.0.0.1", false),
        ] {
            assert_eq!(trusts(entries, address), expected, "{address} in {entries:?}");
        }
    }

    #[test]
    fn the_default_is_this_machine() {
        assert_eq!("127.0.0.1,::1".parse(), Ok(TrustedPeers::default()));
    }

    #[test]
    fn a_unix_socket_is_trusted_whatever_the_setting() {
        assert!("".parse::<TrustedPeers>().unwrap().contains(Peer::Local));
    }

    #[test]
    fn wrong_entries() {
        for entry in ["localhost", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "/8", "**", "::/129"] {
            let error = Err(TrustedPeersError::Invalid { entry: entry.to_owned() });
            assert_eq!(format!("127.0.0.1,{entry}").parse::<TrustedPeers>(), error, "{entry}");
        }
        let error = "192.168.1.1/24".parse::<TrustedPeers>().unwrap_err().to_string();
        assert_eq!(error, r#""192.168.1.1/24" has host bits set: the network is "192.168.1.0/24""#);
        assert!("2001:db8::1/32".parse::<TrustedPeers>().is_err());
    }
}
