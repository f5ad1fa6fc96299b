//! A client that keeps cookies, as a session needs it.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::client::{Client, Response};
use crate::server::Server;

/// Where a site can be entered: the server itself, or a proxy in front of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Entrance {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Entrance {
    /// Opens a connection.
    pub fn connect(&self) -> Client {
        match self {
            Self::Tcp(address) => Client::connect(*address),
            Self::Unix(path) => Client::connect_unix(path),
        }
    }
}

impl From<&Server> for Entrance {
    fn from(server: &Server) -> Self {
        Self::Tcp(server.address())
    }
}

/// A visitor of one site. It uses one connection as long as it is kept.
///
/// ```no_run
/// use rgunicorn_tests::{Browser, Entrance, Server};
///
/// let server = Server::start(&[], "def app(environ, start_response): …");
/// let mut browser = Browser::new(Entrance::from(&server));
/// assert_eq!(browser.get("/visits").text(), "1");
/// assert_eq!(browser.get("/visits").text(), "2");
/// ```
#[derive(Debug)]
pub struct Browser {
    client: Client,
    cookies: Vec<(String, String)>,
    entrance: Entrance,
}

impl Browser {
    /// A visitor without cookies.
    pub fn new(entrance: Entrance) -> Self {
        Self { client: entrance.connect(), cookies: Vec::new(), entrance }
    }

    /// Asks for a page.
    pub fn get(&mut self, target: &str) -> Response {
        self.ask(&format!("GET {target}"), "", &[])
    }

    /// Sends a form: a title, and a file named `a.bin`.
    pub fn upload(&mut self, target: &str, title: &str, content: &[u8]) -> Response {
        let mut body = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\n{title}\r\n\
             --edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n--edge--\r\n");
        let fields = format!(
            "Content-Type: multipart/form-data; boundary=edge\r\nContent-Length: {}\r\n",
            body.len()
        );
        self.ask(&format!("POST {target}"), &fields, &body)
    }

    fn ask(&mut self, request: &str, fields: &str, body: &[u8]) -> Response {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = match cookies.join("; ") {
            none if none.is_empty() => none,
            some => format!("Cookie: {some}\r\n"),
        };
        self.client.send(format!("{request} HTTP/1.1\r\nHost: localhost\r\n{cookies}{fields}\r\n"));
        self.client.send(body);
        let response = self.client.receive();
        if response.closes() {
            self.client = self.entrance.connect();
        }
        for (_, cookie) in response.headers.iter().filter(|(name, _)| is_set_cookie(name)) {
            let pair = cookie.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').expect("a cookie has a name and a value");
            self.cookies.retain(|(known, _)| known != name);
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
        response
    }
}

fn is_set_cookie(name: &str) -> bool {
    name.eq_ignore_ascii_case("Set-Cookie")
}
