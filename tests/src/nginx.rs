//! The real nginx in front of a server.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::browser::Entrance;
use crate::load::Connections;
use crate::notice::skip;
use crate::server::Server;
use crate::wait::eventually;

/// By what kind of socket nginx reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// `proxy_pass` to an address.
    Tcp,
    /// `proxy_pass` to a socket file.
    Unix,
}

/// A running nginx with one entrance for each way to the server; dropping it ends it.
///
/// Its entrances are socket files in a directory of its own: unlike ports they cannot be taken by
/// somebody else, and no privileges are needed.
///
/// ```no_run
/// use rgunicorn_tests::{Connections, Launch, Nginx, Upstream};
///
/// let binds = ["127.0.0.1:0", Nginx::SERVER_SOCKET];
/// let server = Launch::new("def app(environ, start_response): …").bind(&binds).start();
/// let Some(nginx) = Nginx::before(&server) else { return };
/// let mut client = nginx.entrance(Upstream::Unix, Connections::KeepAlive).connect();
/// assert_eq!(client.get("/").status, 200);
/// ```
#[derive(Debug)]
pub struct Nginx {
    process: Server,
}

impl Nginx {
    /// Where a server has to listen besides its TCP address: `--bind` with a socket file in its
    /// directory.
    pub const SERVER_SOCKET: &str = "unix:server.sock";

    /// Every way to the server.
    pub const WAYS: [(Upstream, Connections); 4] = [
        (Upstream::Tcp, Connections::Close),
        (Upstream::Tcp, Connections::KeepAlive),
        (Upstream::Unix, Connections::Close),
        (Upstream::Unix, Connections::KeepAlive),
    ];

    /// Starts nginx as it usually runs, a master with one worker, and waits until it listens;
    /// `None`, and a line that says so, if it is not installed.
    pub fn before(server: &Server) -> Option<Self> {
        Self::start(server, "master_process on;")
    }

    /// The same in a single process, which needs no privileges on any system.
    pub fn alone_before(server: &Server) -> Option<Self> {
        Self::start(server, "master_process off;")
    }

    fn start(server: &Server, master: &str) -> Option<Self> {
        let directory = TempDir::with_prefix("nginx-").expect("a temporary directory");
        let configuration = configuration(directory.path(), server, master);
        fs::write(directory.path().join("nginx.conf"), configuration).unwrap();
        let Some(program) = program() else {
            skip("nginx is not installed (Debian: nginx-core)");
            return None;
        };
        let mut command = Command::new(program);
        command.current_dir(directory.path());
        command.arg("-p").arg(directory.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let nginx = Self { process: Server::spawn(command, directory) };
        for (upstream, connections) in Self::WAYS {
            let path = nginx.process.path(&entrance(upstream, connections));
            eventually("nginx to listen", || UnixStream::connect(&path).ok());
        }
        Some(nginx)
    }

    /// Where this way to the server begins.
    pub fn entrance(&self, upstream: Upstream, connections: Connections) -> Entrance {
        Entrance::Unix(self.process.path(&entrance(upstream, connections)))
    }

    /// The lines of its error log so far.
    pub fn log(&self) -> Vec<String> {
        self.process.log()
    }
}

fn entrance(upstream: Upstream, connections: Connections) -> String {
    format!("{upstream:?}-{connections:?}.sock")
}

/// Debian keeps it where only administrators look for programs.
fn program() -> Option<&'static str> {
    ["nginx", "/usr/sbin/nginx"].into_iter().find(|program| {
        let tried = Command::new(program).arg("-v").stderr(Stdio::null()).status();
        !matches!(tried, Err(error) if error.kind() == ErrorKind::NotFound)
    })
}

fn configuration(directory: &Path, server: &Server, master: &str) -> String {
    // Its workers would become `nobody`, to whom our directories are closed.
    let is_root = fs::metadata(directory).unwrap().uid() == 0;
    let user = if is_root { "user root;" } else { "" };
    let (address, socket) = (server.address(), server.path("server.sock"));
    let servers: String = Nginx::WAYS.into_iter().map(|way| site(way.0, way.1)).collect();
    format!(
        "daemon off; {master} {user}
        error_log stderr warn;
        pid nginx.pid;
        events {{ worker_connections 1024; }}
        http {{
            access_log off;
            client_max_body_size 0;
            client_body_temp_path body;
            proxy_temp_path proxy;
            fastcgi_temp_path fastcgi;
            uwsgi_temp_path uwsgi;
            scgi_temp_path scgi;
            upstream Tcp {{ server {address}; keepalive 16; }}
            upstream Unix {{ server unix:{socket}; keepalive 16; }}
            {servers}
        }}
        ",
        socket = socket.display(),
    )
}

fn site(upstream: Upstream, connections: Connections) -> String {
    // nginx's own default is HTTP/1.0 and `Connection: close`.
    let version = match connections {
        Connections::Close => "",
        Connections::KeepAlive => "proxy_http_version 1.1; proxy_set_header Connection \"\";",
    };
    format!(
        "server {{
            listen unix:{entrance};
            location / {{
                proxy_pass http://{upstream:?};
                proxy_set_header Host $host;
                proxy_set_header X-Forwarded-Proto https;
                {version}
            }}
        }}
        ",
        entrance = entrance(upstream, connections),
    )
}
