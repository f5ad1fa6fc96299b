#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod abnf;
mod body;
mod chunked;
mod config;
mod connection;
mod date;
mod encode;
mod error;
mod event;
mod fields;
mod forwarded;
mod framing;
mod head;
mod page;
mod policy;
mod reason;
mod request_line;
mod response;
mod section;
mod state;
mod target;
mod trailer;
mod trusted_peers;

pub use chunked::Chunk;
pub use config::Config;
pub use connection::{Connection, Parts};
pub use error::{ProtocolError, SendError};
pub use event::Event;
pub use forwarded::{Peer, Scheme, SecureSchemeHeaders};
pub use framing::Framing;
pub use head::RequestHead;
pub use page::error_response;
pub use reason::canonical_reason;
pub use request_line::Version;
pub use response::{Headers, ResponseHead};
pub use trailer::Trailers;
pub use trusted_peers::{TrustedPeers, TrustedPeersError};
