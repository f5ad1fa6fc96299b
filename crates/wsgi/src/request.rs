//! What an application is told about a request, borrowed from whoever parsed it.

use std::net::SocketAddr;

/// A request as the embedding server knows it.
///
/// `H` yields the header fields as they came, name and value, in order; anything that borrows its
/// fields will do. Nothing is copied that Python does not need a copy of.
///
/// ```
/// use rgunicorn_wsgi::{Local, Request, Scheme};
///
/// let headers = [(&b"Host"[..], &b"example.org"[..]), (b"Accept", b"*/*")];
/// let request = Request {
///     method: "GET",
///     target: b"/articles?page=2",
///     version: "HTTP/1.1",
///     headers: headers.iter().copied(),
///     scheme: Scheme::Http,
///     peer: Some(([192, 0, 2, 7], 50_312).into()),
///     local: Local::Tcp { address: "192.0.2.1", port: 80 },
///     script_name: None,
///     has_body: false,
/// };
/// assert_eq!(request.headers.clone().count(), 2);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Request<'a, H> {
    /// The method, for instance `GET`; case matters (RFC 9110 §9.1).
    pub method: &'a str,
    /// The request target as it came, in any form of RFC 9112 §3.2.
    pub target: &'a [u8],
    /// The protocol version as `SERVER_PROTOCOL` shows it, for instance `HTTP/1.1`.
    pub version: &'a str,
    /// The header fields, values without surrounding white space.
    pub headers: H,
    /// Whether the client sees this server through TLS.
    pub scheme: Scheme,
    /// Who sent the request: `REMOTE_ADDR` and `REMOTE_PORT`. An IPv4 address that is written as an
    /// IPv6 one is shown as IPv4. `None`, on a Unix socket: the first is empty, the second absent.
    pub peer: Option<SocketAddr>,
    /// Where it arrived.
    pub local: Local<'a>,
    /// `SCRIPT_NAME` of this request alone, as a proxy that is trusted tells it. `None`: that of
    /// [`EnvironOptions::script_name`](crate::EnvironOptions::script_name).
    pub script_name: Option<&'a [u8]>,
    /// Whether anything may come from [`Exchange::read_body`](crate::Exchange::read_body); without,
    /// `wsgi.input` is empty and costs nothing.
    pub has_body: bool,
}

/// `wsgi.url_scheme`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    #[default]
    Http,
    /// `https`
    Https,
}

impl Scheme {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that a URL of this scheme means when it names none (RFC 9110 §4.2).
    pub(crate) fn default_port(self) -> &'static str {
        match self {
            Self::Http => "80",
            Self::Https => "443",
        }
    }
}

/// The listener: `SERVER_NAME` and `SERVER_PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local<'a> {
    /// An address as text, without brackets for IPv6, and a port.
    Tcp {
        /// The IP address or host name.
        address: &'a str,
        /// The port.
        port: u16,
    },
    /// A Unix socket: name and port come from the `Host` field, or are `localhost` and the
    /// scheme's port, since PEP 3333 allows neither to be empty.
    Unix,
}
