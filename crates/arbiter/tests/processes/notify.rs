//! What systemd is told: a socket of the test's stands for its own.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use tempfile::TempDir;

use crate::launch::Launch;
use crate::server::{PATIENCE, Server, wait_until};

pub(crate) struct Manager {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Manager {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, directory }
    }

    /// A server that will talk to it.
    pub(crate) fn launch(&self) -> Launch {
        let path = self.directory.path().join("notify");
        Launch::new().env("NOTIFY_SOCKET", path.to_str().unwrap())
    }

    pub(crate) fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// The next messages are these, but for signs of life.
    #[track_caller]
    pub(crate) fn expect(&self, messages: &[&str]) {
        for message in messages {
            let next = loop {
                let next = self.next();
                if next != "WATCHDOG=1" {
                    break next;
                }
            };
            assert_eq!(next, *message);
        }
    }

    pub(crate) fn wait_for(&self, message: &str) {
        while self.next() != message {}
    }
}

fn ready(server: &Server) -> String {
    format!("READY=1\nMAINPID={}", server.pid())
}

#[test]
fn ready_is_told_when_the_first_worker_is() {
    let manager = Manager::new();
    let mut server = manager.launch().words("slow").start(&["127.0.0.1:0"]);
    server.wait_for("slow boot");
    manager.socket.set_nonblocking(true).unwrap();
    assert!(manager.socket.recv(&mut [0; 64]).is_err(), "nobody serves yet");
    manager.socket.set_nonblocking(false).unwrap();
    // One worker more, and that boots.
    server.write_file("good");
    server.signal(Signal::SIGTTIN);
    manager.expect(&[&ready(&server), "STATUS=1 of 2 workers serve"]);
    server.signal(Signal::SIGTTOU);
    manager.expect(&["STATUS=1 of 1 workers serve"]);
    server.signal(Signal::SIGTERM);
    manager.expect(&["STOPPING=1\nSTATUS=Workers finish their requests"]);
    assert_eq!(server.code(), Some(0));
}

#[test]
fn reloads_are_told_whatever_comes_of_them() {
    let manager = Manager::new();
    let mut server = manager.launch().start(&["127.0.0.1:0"]);
    manager.expect(&[&ready(&server), "STATUS=1 of 1 workers serve"]);
    let expect_reload = || {
        let reloading = manager.next();
        let (state, time) = reloading.split_once("\nMONOTONIC_USEC=").unwrap();
        assert_eq!(state, "RELOADING=1");
        time.parse::<u64>().unwrap()
    };
    server.signal(Signal::SIGHUP);
    let first = expect_reload();
    manager.wait_for(&ready(&server));
    // The new workers do not boot.
    server.reload("boot");
    let second = loop {
        let message = manager.next();
        if let Some((_, time)) = message.split_once("MONOTONIC_USEC=") {
            break time.parse::<u64>().unwrap();
        }
    };
    assert!(second > first);
    server.wait_for("Reload abandoned");
    manager.wait_for(&ready(&server));
    // The options are wrong.
    server.reload("good unix:");
    server.wait_for("Reload abandoned");
    manager.wait_for(&ready(&server));
    assert!(!server.log().iter().any(|line| line.contains("Cannot notify")));
}

#[test]
fn the_watchdog_is_fed_while_a_worker_lives() {
    let manager = Manager::new();
    // A pid of somebody else would say that the watchdog is not for us.
    let mut server = manager.launch().env("WATCHDOG_USEC", "200000").start(&["127.0.0.1:0"]);
    manager.expect(&[&ready(&server)]);
    for _ in 0..5 {
        manager.wait_for("WATCHDOG=1");
    }
    // It cannot beat, nor end before it is killed.
    let worker = server.ask_when_listening();
    kill(worker, Signal::SIGSTOP).unwrap();
    server.wait_for("No worker shows life");
    server.wait_for("WORKER TIMEOUT");
    server.wait_for("Booting worker");
    assert_ne!(server.ask(), worker);
    manager.socket.set_nonblocking(true).unwrap();
    while manager.socket.recv(&mut [0; 4096]).is_ok() {}
    manager.socket.set_nonblocking(false).unwrap();
    manager.wait_for("WATCHDOG=1");
    // One of two is enough.
    server.signal(Signal::SIGTTIN);
    server.wait_for("2 workers");
    let worker = server.ask();
    kill(worker, Signal::SIGSTOP).unwrap();
    server.wait_for(&format!("WORKER TIMEOUT (pid:{worker})"));
    server.wait_for("was sent SIGKILL");
    let starved = server.log().iter().filter(|line| line.contains("No worker shows life"));
    assert_eq!(starved.count(), 1);
}

#[test]
fn a_watchdog_for_another_process_is_not_fed() {
    let manager = Manager::new();
    let launch = manager.launch().env("WATCHDOG_USEC", "20000").env("WATCHDOG_PID", "1");
    let mut server = launch.start(&["127.0.0.1:0"]);
    server.ask_when_listening();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.code(), Some(0));
    while !manager.next().starts_with("STOPPING") {}
}

#[test]
fn an_abstract_address_is_told_as_well() {
    let name = format!("rgunicorn-notify-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let server = Launch::new().env("NOTIFY_SOCKET", format!("@{name}")).start(&["127.0.0.1:0"]);
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).unwrap();
    assert_eq!(std::str::from_utf8(&buffer[..length]).unwrap(), ready(&server));
}

/// Whoever vanishes, is not there or is not understood costs one line.
#[test]
fn a_manager_that_is_not_there_is_named_once() {
    let manager = Manager::new();
    let mut server = manager.launch().env("WATCHDOG_USEC", "2000").start(&["127.0.0.1:0"]);
    manager.expect(&[&ready(&server)]);
    drop(manager);
    server.wait_for("Cannot notify the service manager at '/");
    let worker = server.ask_when_listening();
    server.signal(Signal::SIGHUP);
    server.wait_for(&format!("Worker exiting (pid: {worker})"));
    server.signal(Signal::SIGTERM);
    let log = server.all_lines();
    assert_eq!(log.iter().filter(|line| line.contains("Cannot notify")).count(), 1, "{log:#?}");
    assert_eq!(server.code(), Some(0));

    let too_long = format!("/{}", "x".repeat(200));
    for name in ["vsock:2:1234", &too_long] {
        let mut server = Launch::new().env("NOTIFY_SOCKET", name).start(&["127.0.0.1:0"]);
        server.wait_for("Cannot notify the service manager at '");
        server.ask_when_listening();
    }
}

#[test]
fn nobody_waits_for_a_manager_that_does_not_read() {
    let manager = Manager::new();
    let launch = manager.launch().env("WATCHDOG_USEC", "1000");
    let mut server = launch.start(&["127.0.0.1:0"]);
    server.wait_for("Cannot notify the service manager");
    server.ask();
    let mut read = 0;
    wait_until("a sign of life after that", || {
        manager.socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        read += usize::from(manager.socket.recv(&mut [0; 64]).is_ok());
        (read > 200).then_some(())
    });
}
