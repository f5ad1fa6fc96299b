//! `Arbiter` with real processes: started, signalled, killed, and watched by their log.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and its server's log explains it"
)]

mod deaths;
mod init;
mod launch;
mod notify;
mod pidfile;
mod privileges;
mod reload;
mod retirement;
mod server;
mod siblings;
mod sockets;
mod source;
mod stop;
mod upgrade;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::sys::signal::{Signal, kill};

use self::server::{Server, answer};

#[test]
fn serves_until_term() {
    let mut server = Server::start(2);
    let worker = server.ask();
    assert_ne!(worker, server.pid());
    server.signal(Signal::SIGTERM);
    server.wait_for("Handling signal: term");
    server.wait_for_pid(worker, &format!("Worker exiting (pid: {worker})"));
    server.wait_for("Shutting down: Master");
    assert_eq!(server.code(), Some(0));
    assert!(TcpStream::connect(server.address()).is_err());
}

#[test]
fn term_lets_requests_finish() {
    let mut server = Server::start(1);
    let request = server.connect(b'w');
    let worker = server.wait_for("waiting");
    server.signal(Signal::SIGTERM);
    server.wait_for("Handling signal: term");
    assert!(worker.contains(&answer(request).to_string()));
    assert_eq!(server.code(), Some(0));
}

#[test]
fn term_kills_who_does_not_finish() {
    let mut server = Server::start(1);
    let _request = server.connect(b'w');
    server.wait_for("waiting");
    server.signal(Signal::SIGTERM);
    let log = server.all_lines().join("\n");
    assert!(log.contains("Worker graceful timeout (pid:"), "{log}");
    assert!(log.contains("was sent SIGKILL!") && !log.contains("out of memory"), "{log}");
    assert_eq!(server.code(), Some(0));
}

#[test]
fn quit_hurries_a_graceful_stop() {
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        let mut server = Server::start(2);
        server.signal(Signal::SIGTERM);
        server.signal(signal);
        assert_eq!(server.code(), Some(0));
    }
}

#[test]
fn ttin_and_ttou_change_the_number() {
    let mut server = Server::start(1);
    server.signal(Signal::SIGTTIN);
    server.wait_for("2 workers");
    server.signal(Signal::SIGTTIN);
    server.wait_for("3 workers");
    server.signal(Signal::SIGTTOU);
    server.wait_for("2 workers");
    server.signal(Signal::SIGTTOU);
    server.wait_for("1 workers");
    server.signal(Signal::SIGTTOU);
    server.wait_for("Handling signal: ttou");
    server.ask();
}

#[test]
fn winch_stops_the_workers_of_a_daemon() {
    let (mut server, worker) = Server::serving(&["daemon=true"]);
    server.signal(Signal::SIGWINCH);
    server.wait_for("graceful stop of workers");
    server.wait_for(&format!("Worker exiting (pid: {worker})"));
    server.wait_for("0 workers");
    // Connections wait in the meantime.
    let early = server.connect(b'p');
    server.signal(Signal::SIGTTIN);
    assert_ne!(answer(early), worker);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.code(), Some(0));
}

#[test]
fn hooks_are_told_of_numbers_and_of_workers_that_end() {
    let mut server = Server::launch("127.0.0.1:0", 1, "good");
    server.wait_for("nworkers_changed from None to 1");
    server.wait_for("1 workers");
    let worker = server.ask();
    server.signal(Signal::SIGTTIN);
    server.wait_for("nworkers_changed from Some(1) to 2");
    server.wait_for("2 workers");
    let _request = server.connect(b'e');
    server.wait_for("as asked");
    server.wait_for("worker_exit of Some(");
    // One that is still booting would end without its hook.
    server.ask();
    server.signal(Signal::SIGTERM);
    server.wait_for("worker_exit of Some(");
    server.wait_for("Shutting down: Master");
    let log = server.all_lines().join("\n");
    assert!(log.contains(&format!(" {worker} worker_exit of Some({worker})")), "{log}");
}

#[test]
fn hooks_are_told_of_workers_that_are_ready() {
    let mut server = Server::start(1);
    let first = server.ask();
    let ready = |pid, age| format!("child_ready of Some({pid}) with age {age}");
    server.wait_for_pid(server.pid(), &ready(first, 1));
    server.write_file("app");
    kill(first, Signal::SIGKILL).unwrap();
    server.wait_for(" exited with code 4");
    server.write_file("good");
    server.wait_for_pid(server.pid(), "child_ready of Some(");
    let last = server.ask();
    server.signal(Signal::SIGTERM);
    let log = server.all_lines();
    let told: Vec<_> = log.iter().filter(|line| line.contains("child_ready")).collect();
    let is_last = |line: &str| line.contains(&format!("of Some({last}) with age "));
    assert!(matches!(told[..], [_, line] if is_last(line)), "{told:#?}");
}

#[test]
fn other_signals() {
    let (mut server, worker) = Server::serving(&[]);
    server.signal(Signal::SIGUSR1);
    server.wait_for("logs reopened");
    server.signal(Signal::SIGWINCH);
    server.wait_for("SIGWINCH ignored. Not daemonized");
    server.signal(Signal::SIGURG);
    server.wait_for("Handling signal: urg");
    assert_eq!(server.ask(), worker);
    let signals =
        [Signal::SIGHUP, Signal::SIGUSR2, Signal::SIGTTIN, Signal::SIGURG, Signal::SIGWINCH];
    for signal in signals {
        kill(worker, signal).unwrap();
    }
    assert_eq!(server.ask(), worker);
}

#[test]
fn workers_end_with_their_arbiter() {
    let mut server = Server::start(3);
    server.signal(Signal::SIGKILL);
    // Which ends when the last one has closed its standard error.
    let log = server.all_lines();
    for line in ["Parent changed, shutting down: <Worker ", "Worker exiting"] {
        assert_eq!(log.iter().filter(|logged| logged.contains(line)).count(), 3, "{log:#?}");
    }
}

#[test]
fn the_first_worker_that_cannot_boot_ends_the_start() {
    for (words, code, reason) in [
        ("boot", 3, "Reason: Worker failed to boot."),
        ("panic", 3, "Reason: Worker failed to boot."),
        ("app", 4, "Reason: App failed to load."),
    ] {
        let mut server = Server::launch("127.0.0.1:0", 2, words);
        server.wait_for(&format!("exited with code {code}."));
        let log = server.all_lines().join("\n");
        assert!(log.contains("Shutting down: Master") && log.contains(reason), "{log}");
        assert_eq!(server.code(), Some(code));
    }
}

#[test]
fn a_signal_between_fork_and_handlers_is_not_lost() {
    let mut server = Server::launch("127.0.0.1:0", 1, "early");
    for _ in 0..2 {
        server.wait_for("ended too soon after its start");
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(server.code(), Some(0));
}

#[test]
fn a_port_in_use_is_tried_again() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut server = Server::launch(&format!("127.0.0.1:{port}"), 1, "good");
    server.wait_for(&format!("Connection in use: ('127.0.0.1', {port})"));
    server.wait_for(&format!(
        "connection to ('127.0.0.1', {port}) failed: [Errno 98] Address already in use"
    ));
    drop(taken);
    server.wait_for("Listening at");
    server.ask();
}

#[test]
fn a_port_that_stays_in_use_ends_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut server = Server::launch(&format!("127.0.0.1:{port}"), 1, "good");
    server.wait_for(&format!("Can't connect to ('127.0.0.1', {port})"));
    assert_eq!(server.code(), Some(1));
    let log = server.all_lines();
    assert_eq!(log.iter().filter(|line| line.contains("Connection in use")).count(), 5);
}

#[test]
fn an_address_that_cannot_be_bound_ends_the_start() {
    for (bind, line) in [
        ("unix:missing/socket", "Can't connect to missing/socket: No such file or directory"),
        ("unix:file", "Can't connect to file: the file is not a socket"),
        // Reserved for documentation, RFC 5737: no machine has it.
        ("192.0.2.1:0", "Invalid address: ('192.0.2.1', 0)"),
    ] {
        let mut server = Server::launch(bind, 1, "good");
        server.wait_for(line);
        assert_eq!(server.code(), Some(1), "{bind}");
    }
}

#[test]
fn a_unix_socket_comes_and_goes() {
    let mut server = Server::launch("unix:socket", 1, "good");
    let path = server.directory.path().join("socket");
    server.wait_for("Listening at: unix:socket");
    server.wait_for("Booting worker");
    let metadata = fs::symlink_metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o777);
    // A worker that ends removes nothing of its arbiter's.
    UnixStream::connect(&path).unwrap();
    server.signal(Signal::SIGTTIN);
    server.wait_for("2 workers");
    server.signal(Signal::SIGTTOU);
    server.wait_for("1 workers");
    UnixStream::connect(&path).unwrap();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn a_stale_unix_socket_is_replaced_and_a_foreign_one_left() {
    let mut server = Server::launch("unix:socket", 1, "good");
    server.wait_for("Listening at");
    server.wait_for("Booting worker");
    let path = server.directory.path().join("socket");
    // Another server takes the path over.
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.code(), Some(0));
    assert!(path.exists());
}
