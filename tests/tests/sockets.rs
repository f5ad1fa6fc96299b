//! Where the server listens, and who is lost when it stops.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{self, UnixStream};
use std::thread;

use rgunicorn_tests::{Client, Launch, Server, Signal, eventually};

const HELLO: &str = "
def app(environ, start_response):
    start_response('200 OK', [('Content-Length', '5')])
    return [b'hello']
";

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

fn ask(mut stream: impl Read + Write) -> io::Result<String> {
    let mut text = String::new();
    stream.write_all(REQUEST)?;
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn several_addresses_of_all_kinds() {
    let name = format!("rgunicorn-test-{}", std::process::id());
    let bind = format!("unix:@{name}");
    let mut addresses = vec!["127.0.0.1:0", "unix:plain", &*bind];
    // A machine may have none.
    let has_ipv6 = TcpListener::bind("[::1]:0").is_ok();
    if has_ipv6 {
        addresses.push("[::1]:0");
    }
    let server = Launch::new(HELLO).bind(&addresses).start();
    assert_eq!(server.get("/").text(), "hello");
    assert_eq!(Client::connect_unix(&server.path("plain")).get("/").text(), "hello");
    let address = net::SocketAddr::from_abstract_name(&name).unwrap();
    assert!(ask(UnixStream::connect_addr(&address).unwrap()).unwrap().ends_with("hello"));
    if has_ipv6 {
        let line = server.log().into_iter().find(|line| line.contains("Listening at")).unwrap();
        let (_, port) = line.split_once("http://[::1]:").unwrap();
        let port = port.split([',', ' ']).next().unwrap().parse().unwrap();
        let address = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port));
        assert_eq!(Client::connect(address).get("/").text(), "hello");
    }
    let plain = server.path("plain");
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
    assert!(!plain.exists());
}

#[test]
fn bind_mode_decides_who_may_connect() {
    for (arguments, mode) in [
        (&["--bind-mode", "660"][..], 0o660),
        (&["--bind-mode", "0600", "--umask", "0"], 0o600),
        (&["--umask", "027"], 0o750),
    ] {
        let server = Launch::new(HELLO).bind(&["unix:socket"]).args(arguments).start();
        let permissions = fs::symlink_metadata(server.path("socket")).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, mode, "{arguments:?}");
    }
}

#[test]
fn systemd_opens_the_socket_and_keeps_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let descriptor = listener.try_clone().unwrap();
    // Whoever comes before the server is there waits for it.
    let early = TcpStream::connect(address).unwrap();
    let server = Launch::new(HELLO).descriptor(descriptor).env("LISTEN_FDS", "1").start();
    assert_eq!(server.address(), address);
    assert!(ask(early).unwrap().ends_with("hello"));
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
    // Nobody is refused between two servers.
    let between = TcpStream::connect(address).unwrap();
    let next = Launch::new(HELLO).descriptor(listener).env("LISTEN_FDS", "1").start();
    assert!(ask(between).unwrap().ends_with("hello"));
    assert_eq!(next.stop(Signal::SIGTERM).code, Some(0));
}

#[test]
fn a_descriptor_by_its_number() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = Launch::new(HELLO).descriptor(listener).bind(&["fd://3"]).start();
    assert_eq!(server.address(), address);
    assert_eq!(server.get("/").text(), "hello");
    let finished = Launch::new(HELLO).bind(&["fd://77"]).run();
    assert_eq!(finished.code, Some(1));
    assert!(finished.stderr.contains("Can't connect to fd://77: Bad file descriptor"));
}

/// A subprocess, started in any way, gets none of the server's descriptors and variables.
#[test]
fn what_an_application_starts_inherits_nothing() {
    const SUBPROCESS: &str = r"
import os, subprocess

SCRIPT = 'ls -l /proc/self/fd; env'

def app(environ, start_response):
    start_response('200 OK', [])
    output = subprocess.run(['sh', '-c', SCRIPT], close_fds=False, stdin=subprocess.DEVNULL,
                            capture_output=True).stdout
    read, write = os.pipe()
    os.set_inheritable(write, True)
    os.spawnlp(os.P_WAIT, 'sh', 'sh', '-c', f'({SCRIPT}) >&{write} {write}>&-')
    os.close(write)
    copied = subprocess.run(['env'], env=os.environ.copy(), capture_output=True).stdout
    return [output, os.read(read, 65536), copied]
";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Launch::new(SUBPROCESS)
        .descriptor(listener)
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", "web")
        .args(&["--access-logfile", "access.log", "--log-file", "error.log", "--pid", "pid"])
        .spawn();
    let log = server.path("error.log");
    eventually("the server listens", || {
        fs::read_to_string(&log).ok().filter(|log| log.contains("Booting worker"))
    });
    let text = fs::read_to_string(&log).unwrap();
    let (_, address) = text.split_once("Listening at: http://").unwrap();
    let address = address.split(' ').next().unwrap().parse().unwrap();
    let answer = Client::connect(address).get("/").text().to_owned();
    assert!(answer.contains("PATH="), "{answer}");
    for leaked in ["socket:", "eventpoll", "memfd", ".log", "LISTEN_"] {
        assert!(!answer.contains(leaked), "{leaked} in {answer}");
    }
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

/// Whoever was told that he is connected gets an answer, and whoever comes later a refusal.
#[test]
fn a_stop_resets_nobody() {
    for arguments in [&["--workers", "1"], &["--workers", "3"]] {
        let server = Server::start(arguments, HELLO);
        assert_eq!(server.get("/").text(), "hello");
        let address = server.address();
        let client = move || {
            let (mut answered, mut lost) = (0, Vec::new());
            while let Ok(stream) = TcpStream::connect(address) {
                match ask(stream) {
                    Ok(text) if text.ends_with("hello") => answered += 1,
                    other => lost.push(other),
                }
            }
            (answered, lost)
        };
        let clients: Vec<_> = (0..8).map(|_| thread::spawn(client)).collect();
        for _ in 0..100 {
            assert_eq!(server.get("/").text(), "hello");
        }
        assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
        for client in clients {
            let (answered, lost) = client.join().unwrap();
            assert!(answered > 0 && lost.is_empty(), "{answered} answered, lost: {lost:?}");
        }
    }
}

#[test]
fn reuse_port_spreads_over_workers_and_loses_nothing_at_a_stop() {
    const PID: &str = "
import os

def app(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % os.getpid()]
";
    let server = Server::start(&["--workers", "2", "--reuse-port"], PID);
    let address = server.address();
    let asked = || ask(TcpStream::connect(address).ok()?).ok().filter(|text| !text.is_empty());
    let first = eventually("an answer", asked);
    let body = |text: &str| text.rsplit_once("\r\n\r\n").unwrap().1.to_owned();
    eventually("the other worker's answer", || asked().filter(|text| body(text) != body(&first)));
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
    assert!(TcpStream::connect(address).is_err());
}
