//! An [`http`] request as the application is told of it.

use std::net::{IpAddr, SocketAddr};

use http::request::Parts;
use http::uri::Authority;
use http::{Uri, Version, header};

use crate::request::{Local, Request, Scheme};

/// What a request does not tell of the connection that it came by. With feature `tower`.
///
/// Whoever accepted the connection puts this into [`http::Request::extensions_mut`]; all of it is
/// optional. What is not known is as on a Unix socket: `REMOTE_ADDR` is empty, `REMOTE_PORT` absent,
/// and `SERVER_NAME` and `SERVER_PORT` come from the `Host` field.
///
/// ```
/// use rgunicorn_wsgi::{Scheme, Transport};
///
/// let mut request = http::Request::new(());
/// let peer = "192.0.2.7:50312".parse()?;
/// request.extensions_mut().insert(Transport::default().peer(peer).scheme(Scheme::Https));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transport {
    /// Who sent the request: `REMOTE_ADDR` and `REMOTE_PORT`.
    pub peer: Option<SocketAddr>,
    /// Where it arrived: `SERVER_NAME` and `SERVER_PORT`.
    pub local: Option<SocketAddr>,
    /// `wsgi.url_scheme`. Without it the scheme of the request's URI is taken, which HTTP/1 clients
    /// leave out and any client can choose, and otherwise `http`.
    pub scheme: Option<Scheme>,
}

impl Transport {
    /// Sets [`peer`](Self::peer).
    #[must_use]
    pub fn peer(mut self, peer: SocketAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    /// Sets [`local`](Self::local).
    #[must_use]
    pub fn local(mut self, local: SocketAddr) -> Self {
        self.local = Some(local);
        self
    }

    /// Sets [`scheme`](Self::scheme).
    #[must_use]
    pub fn scheme(mut self, scheme: Scheme) -> Self {
        self.scheme = Some(scheme);
        self
    }
}

/// The part of the path that a router has taken off.
#[derive(Debug, Default)]
pub(super) struct Mount {
    /// Empty, or with a slash at its beginning and none at its end.
    script_name: String,
    /// The same, percent-encoded.
    prefix: String,
}

impl Mount {
    pub(super) fn new(path: &str) -> Self {
        let path = path.trim_matches('/');
        if path.is_empty() {
            return Self::default();
        }
        let script_name = format!("/{path}");
        let prefix = script_name.bytes().map(encode).collect();
        Self { script_name, prefix }
    }

    pub(super) fn script_name(&self) -> &str {
        &self.script_name
    }

    /// The request target as the client wrote it, as far as that can still be known.
    fn target(&self, uri: &Uri) -> Vec<u8> {
        match (uri.path_and_query(), uri.authority()) {
            (Some(target), _) if target.as_str().starts_with('/') => {
                [&self.prefix, target.as_str()].concat().into_bytes()
            }
            // `OPTIONS *`, and the authority that CONNECT has for a target (RFC 9112 §3.2).
            (Some(target), _) => target.as_str().into(),
            (None, Some(authority)) => authority.as_str().into(),
            (None, None) => b"/".into(),
        }
    }
}

/// Shows a request to `work` in the form that an application needs.
pub(super) fn with<R>(
    head: &Parts,
    mount: &Mount,
    has_body: bool,
    work: impl FnOnce(Request<'_, Fields<'_>>) -> R,
) -> R {
    let transport = head.extensions.get::<Transport>().copied().unwrap_or_default();
    let target = mount.target(&head.uri);
    let local = transport.local.map(text);
    let fields = fields(head);
    work(Request {
        method: head.method.as_str(),
        target: &target,
        version: version(head.version),
        headers: fields.iter().copied(),
        scheme: transport.scheme.unwrap_or_else(|| scheme(&head.uri)),
        peer: transport.peer,
        local: match &local {
            Some((address, port)) => Local::Tcp { address, port: *port },
            None => Local::Unix,
        },
        script_name: None,
        has_body,
    })
}

pub(super) type Fields<'a> = std::iter::Copied<std::slice::Iter<'a, (&'a [u8], &'a [u8])>>;

/// The header fields. A host in the request's URI comes in place of the `Host` field: HTTP/2 has
/// only that (RFC 9113 §8.3.1), and in HTTP/1.1 it prevails (RFC 9112 §3.2.2).
fn fields(head: &Parts) -> Vec<(&[u8], &[u8])> {
    let host = head.uri.authority().map(|authority| (&b"host"[..], host(authority)));
    let has_host = host.is_some();
    let others = head
        .headers
        .iter()
        .filter(|&(name, _)| !(has_host && name == header::HOST))
        .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    host.into_iter().chain(others).collect()
}

/// Without the user, whom no `Host` names.
fn host(authority: &Authority) -> &[u8] {
    let text = authority.as_str();
    text.rsplit_once('@').map_or(text, |(_, host)| host).as_bytes()
}

fn scheme(uri: &Uri) -> Scheme {
    match uri.scheme() {
        Some(scheme) if *scheme == http::uri::Scheme::HTTPS => Scheme::Https,
        _ => Scheme::Http,
    }
}

/// As gunicorn shows them, with both numbers.
fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

/// An IPv4 address of an IPv6 socket is shown as what it is.
fn text(address: SocketAddr) -> (String, u16) {
    let ip: IpAddr = address.ip().to_canonical();
    (ip.to_string(), address.port())
}

/// All but what may stand in a path as it is (RFC 3986 §3.3).
fn encode(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_precedes_paths_and_nothing_else() {
        let cases = [
            ("", "/a?b", "", "/a?b"),
            ("/", "/a", "", "/a"),
            ("/shop", "/", "/shop", "/shop/"),
            ("/shop/", "/a?b=/c", "/shop", "/shop/a?b=/c"),
            ("shop", "http://host/a", "/shop", "/shop/a"),
            ("/shop", "*", "/shop", "*"),
            ("/shop", "host:443", "/shop", "host:443"),
            ("/50% ü?", "/a", "/50% ü?", "/50%25%20%C3%BC%3F/a"),
        ];
        for (path, uri, script_name, target) in cases {
            let mount = Mount::new(path);
            let text = String::from_utf8(mount.target(&uri.parse().unwrap())).unwrap();
            assert_eq!((mount.script_name(), text.as_str()), (script_name, target), "{path} {uri}");
        }
    }

    #[test]
    fn a_host_in_the_uri_prevails() {
        let cases = [
            ("/", Some("a"), Some("a")),
            ("http://b:1/", Some("a"), Some("b:1")),
            ("https://user@b/", None, Some("b")),
            ("/", None, None),
        ];
        for (uri, field, expected) in cases {
            let mut request = http::Request::builder().uri(uri);
            if let Some(value) = field {
                request = request.header("Host", value);
            }
            let (head, ()) = request.body(()).unwrap().into_parts();
            let hosts: Vec<_> = fields(&head).into_iter().map(|(_, value)| value).collect();
            let expected: Vec<_> = expected.iter().map(|host| host.as_bytes()).collect();
            assert_eq!(hosts, expected, "{uri} {field:?}");
        }
    }
}
