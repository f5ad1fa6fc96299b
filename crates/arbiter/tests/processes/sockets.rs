//! Where a server listens: many addresses of all kinds, and who is lost when it stops.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::thread;

use nix::sys::signal::{Signal, kill};

use crate::launch::Launch;
use crate::server::{Server, answer, connect, text, wait_until};

/// The pid of whoever answers at a Unix socket.
fn ask_unix(mut stream: UnixStream) -> i32 {
    stream.write_all(b"p").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.parse().unwrap()
}

fn tcp() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// A name in the abstract namespace, which all tests share.
fn abstract_name(test: &str) -> String {
    format!("rgunicorn-{test}-{}", std::process::id())
}

fn connect_abstract(name: &str) -> std::io::Result<UnixStream> {
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(name).unwrap())
}

#[test]
fn all_addresses_are_served() {
    let name = abstract_name("all");
    let bind = format!("unix:@{name}");
    let mut server = Server::with_options(&["127.0.0.1:0", "127.0.0.2:0", "unix:socket", &bind]);
    let line = server.wait_for("Listening at");
    assert!(line.contains(&format!(",unix:socket,{bind} (")), "{line}");
    for address in line.split([',', ' ']).filter_map(|word| word.strip_prefix("http://")) {
        answer(connect(address, b'p'));
    }
    ask_unix(UnixStream::connect(server.path("socket")).unwrap());
    ask_unix(connect_abstract(&name).unwrap());
    server.signal(Signal::SIGTERM);
    assert_eq!(server.code(), Some(0));
    assert!(!server.path("socket").exists());
    assert!(connect_abstract(&name).is_err());
}

#[test]
fn ipv6_is_served_or_refused_in_one_line() {
    let mut server = Server::with_options(&["[::1]:0"]);
    // A machine may have none.
    if TcpListener::bind("[::1]:0").is_ok() {
        let line = server.wait_for("Listening at");
        assert!(line.contains("http://[::1]:"), "{line}");
        server.ask();
    } else {
        server.wait_for("('::1', 0)");
        assert_eq!(server.code(), Some(1));
    }
}

#[test]
fn an_abstract_name_in_use_is_tried_again() {
    let name = abstract_name("taken");
    let taken = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let mut server = Server::with_options(&[&format!("unix:@{name}")]);
    server.wait_for(&format!("Connection in use: unix:@{name}"));
    drop(taken);
    server.wait_for("Listening at");
    ask_unix(connect_abstract(&name).unwrap());
}

#[test]
fn bind_mode_is_the_mode_of_the_file() {
    for (option, mode) in [("bind_mode=660", 0o660), ("bind_mode=0", 0), ("bind_mode=777", 0o777)] {
        let mut server = Server::with_options(&["unix:socket", option, "umask=022"]);
        server.wait_for("Listening at: unix:socket");
        let metadata = fs::symlink_metadata(server.path("socket")).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{option}");
    }
}

#[test]
fn a_descriptor_is_served_and_left_to_its_owner() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut server = Launch::new().descriptor(&listener, 7).start(&["fd://7"]);
    server.wait_for(&format!("Listening at: http://{address}"));
    server.ask();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.code(), Some(0));
    // The port is open still: here nobody accepts, but nobody is refused.
    TcpStream::connect(&address).unwrap();
}

#[test]
fn a_bound_socket_is_listened_at() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let mut server = Launch::new().descriptor(&socket, 3).start(&["fd://3"]);
    server.wait_for("Listening at");
    server.ask();
}

#[test]
fn what_is_no_socket_ends_the_start() {
    let file = tempfile::tempfile().unwrap();
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for (descriptor, reason) in [
        (None, "Bad file descriptor"),
        (Some(file.as_fd()), "Socket operation on non-socket"),
        (Some(datagrams.as_fd()), "it is no stream socket of IPv4, IPv6 or Unix"),
    ] {
        let launch = Launch::new();
        let launch = match descriptor {
            Some(descriptor) => launch.descriptor(descriptor, 9),
            None => launch,
        };
        let mut server = launch.start(&["fd://9"]);
        server.wait_for(&format!("Can't connect to fd://9: {reason}"));
        assert_eq!(server.code(), Some(1));
    }
}

#[test]
fn systemd_says_where_to_listen() {
    let name = abstract_name("systemd");
    let first = tcp();
    let second = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let address = first.local_addr().unwrap().to_string();
    let mut server = Launch::new()
        .descriptor(&first, 3)
        .descriptor(&second, 4)
        .activated("2")
        .start(&["127.0.0.1:1"]);
    let line = server.wait_for("Listening at");
    assert!(line.contains(&format!("http://{address},unix:@{name}")), "{line}");
    let worker = server.ask();
    assert_eq!(worker.as_raw(), ask_unix(connect_abstract(&name).unwrap()));
    // What was meant for the arbiter is not in the environment of a worker.
    assert_eq!(text(server.connect(b'v')), "");
    // And no reload moves it elsewhere.
    server.reload("good 127.0.0.1:1");
    server.wait_for(&format!("Worker exiting (pid: {worker})"));
    server.ask();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.code(), Some(0));
    TcpStream::connect(address).unwrap();
}

#[test]
fn sockets_for_another_process_are_not_taken() {
    let listener = tcp();
    let mut server = Launch::new()
        .descriptor(&listener, 3)
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDS", "1")
        .start(&["127.0.0.1:0"]);
    server.wait_for("Listening at");
    assert_ne!(server.address(), listener.local_addr().unwrap().to_string());
}

#[test]
fn what_the_environment_tells_wrongly_ends_the_start() {
    let listener = tcp();
    for (count, reason) in [
        ("two", "LISTEN_FDS=two cannot be taken over"),
        ("-1", "LISTEN_FDS=-1 cannot be taken over"),
        ("2", "LISTEN_FDS=2 cannot be taken over: descriptor 4: "),
    ] {
        let launch = Launch::new().descriptor(&listener, 3).activated(count);
        let mut server = launch.start(&["127.0.0.1:0"]);
        server.wait_for(reason);
        assert_eq!(server.code(), Some(1));
    }
}

#[test]
fn with_reuse_port_each_worker_listens() {
    let mut server = Launch::new().workers(2).start(&["127.0.0.1:0", "reuse_port=true"]);
    server.wait_for("Listening at: http://127.0.0.1:");
    let connected = || TcpStream::connect(server.address()).ok();
    wait_until("the first worker listens", connected);
    let first = server.ask();
    wait_until("the other worker answers", || (server.ask() != first).then_some(()));
    // The port stays, whoever dies.
    kill(first, Signal::SIGKILL).unwrap();
    server.wait_for("was sent SIGKILL");
    let connected = || TcpStream::connect(server.address()).ok();
    wait_until("a successor listens", connected);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.code(), Some(0));
    assert!(TcpStream::connect(server.address()).is_err());
}

#[test]
fn a_foreign_port_is_not_shared() {
    let taken = tcp();
    let address = taken.local_addr().unwrap().to_string();
    let mut server = Server::with_options(&[&address, "reuse_port=true"]);
    server.wait_for("Connection in use");
}

/// Whoever was told that he is connected gets an answer.
#[test]
fn a_stop_resets_nobody() {
    let mut server = Launch::new().workers(2).start(&["127.0.0.1:0"]);
    server.wait_for("Listening at");
    server.ask();
    let address = server.address();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let address = address.clone();
            thread::spawn(move || {
                let (mut answered, mut lost) = (0, Vec::new());
                // Until the first refusal: who knocks during the stop waits a second for it.
                while let Ok(mut stream) = TcpStream::connect(&address) {
                    let mut text = String::new();
                    let mut ask = || {
                        stream.write_all(b"p")?;
                        stream.shutdown(Shutdown::Write)?;
                        stream.read_to_string(&mut text)
                    };
                    match ask() {
                        Ok(1..) => answered += 1,
                        Ok(0) => lost.push(ErrorKind::UnexpectedEof),
                        Err(error) => lost.push(error.kind()),
                    }
                }
                (answered, lost)
            })
        })
        .collect();
    for _ in 0..200 {
        server.ask();
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(server.code(), Some(0));
    for client in clients {
        let (answered, lost) = client.join().unwrap();
        assert_eq!(lost, []);
        assert!(answered > 0);
    }
}

/// The queue of a worker that is busy when it is told to stop is served as well.
#[test]
fn who_waits_in_the_queue_is_served() {
    let mut server = Server::start(1);
    let busy = server.connect(b'w');
    server.wait_for("waiting");
    let queued: Vec<TcpStream> = (0..20).map(|_| server.connect(b'p')).collect();
    server.signal(Signal::SIGTERM);
    server.wait_for("Handling signal: term");
    let worker = answer(busy);
    for stream in queued {
        assert_eq!(answer(stream), worker);
    }
    assert_eq!(server.code(), Some(0));
}

#[test]
fn an_address_that_goes_serves_its_queue() {
    let mut server = Server::start(1);
    let old = server.address();
    let busy = server.connect(b'w');
    server.wait_for("waiting");
    let queued: Vec<TcpStream> = (0..20).map(|_| connect(&old, b'p')).collect();
    server.reload("good 127.0.0.2:0");
    server.wait_for("Listening at: http://127.0.0.2:");
    let new = server.ask();
    let worker = answer(busy);
    for stream in queued {
        assert_eq!(answer(stream), worker);
    }
    assert_ne!(new, worker);
    wait_until("the old address is closed", || TcpStream::connect(&old).err());
}

#[test]
fn an_address_that_stays_keeps_its_socket() {
    let mut server = Server::start(1);
    let address = server.address();
    let inode = |address: &str| {
        let port: u16 = address.rsplit_once(':').unwrap().1.parse().unwrap();
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let entry = format!(":{port:04X} 00000000:0000 0A");
        let line = table.lines().find(|line| line.contains(&entry)).unwrap().to_owned();
        line.split_whitespace().nth(9).unwrap().to_owned()
    };
    let before = inode(&address);
    let worker = server.ask();
    server.reload("good 127.0.0.1:0 127.0.0.2:0");
    server.wait_for(&format!("Worker exiting (pid: {worker})"));
    assert_eq!(inode(&address), before);
}
