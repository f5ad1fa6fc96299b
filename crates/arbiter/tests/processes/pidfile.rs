//! The pid file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, id};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::server::{Server, connect, text, wait_until};

/// A server with one worker, whose pid file is `pid`.
fn start() -> Server {
    let mut server = Server::with_options(&["127.0.0.1:0", "pidfile=pid"]);
    server.wait_for("starting with pid file: true");
    server.wait_for("Listening at");
    server.wait_for("1 workers");
    // The answer tells that the worker has booted.
    server.ask();
    server
}

fn content(server: &Server) -> String {
    format!("{}\n", server.pid())
}

#[test]
fn a_pid_file_comes_and_goes() {
    let mut server = start();
    assert_eq!(fs::read_to_string(server.path("pid")).unwrap(), content(&server));
    let mode = fs::metadata(server.path("pid")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    // A worker that ends removes nothing of its arbiter's.
    server.signal(Signal::SIGTTIN);
    server.wait_for("2 workers");
    server.signal(Signal::SIGTTOU);
    server.wait_for("1 workers");
    assert!(server.path("pid").exists());
    server.signal(Signal::SIGTERM);
    server.wait_for("ending with pid file: false");
    assert_eq!(server.code(), Some(0));
    let left = fs::read_dir(server.directory.path()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["file"]);
}

#[test]
fn a_pid_file_of_a_living_process_ends_the_start() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("pid");
    fs::write(&path, format!(" {} \n", id())).unwrap();
    let mut server = Server::launch_in(directory, 1, &["127.0.0.1:0", "pidfile=pid"]);
    server.wait_for(&format!("Already running on PID {} (or pid file 'pid' is stale)", id()));
    assert_eq!(server.code(), Some(1));
    assert_eq!(fs::read_to_string(path).unwrap(), format!(" {} \n", id()));
}

#[test]
fn any_other_pid_file_is_overwritten() {
    let mut dead = Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    let (dead, long) = (dead.id().to_string(), "1".repeat(10_000));
    for stale in [&dead, "", "0", "-1", "12 34", "pid", "\u{fffd}", &long] {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("pid"), stale).unwrap();
        let mut server = Server::launch_in(directory, 1, &["127.0.0.1:0", "pidfile=pid"]);
        server.wait_for("Listening at");
        let written = fs::read_to_string(server.path("pid")).unwrap();
        assert_eq!(written, content(&server), "{stale}");
    }
}

#[test]
fn a_pid_file_that_cannot_be_written_ends_the_start() {
    for (path, reason) in [
        ("missing/pid", "No such file or directory"),
        ("file/pid", "Not a directory"),
        (".", "is a directory"),
        ("/", "is a directory"),
    ] {
        let pidfile = format!("pidfile={path}");
        let mut server = Server::with_options(&["127.0.0.1:0", &pidfile]);
        server.wait_for(&format!("cannot write pid file '{path}': {reason}"));
        assert_eq!(server.code(), Some(1));
    }
}

#[test]
fn a_start_that_fails_leaves_no_pid_file() {
    let mut server = Server::with_options(&["unix:file", "pidfile=pid"]);
    server.wait_for("starting with pid file: true");
    assert_eq!(server.code(), Some(1));
    assert!(!server.path("pid").exists());
}

#[test]
fn a_pid_file_of_somebody_else_is_left() {
    let mut server = start();
    fs::write(server.path("pid"), format!("{}\n", id())).unwrap();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.code(), Some(0));
    assert!(server.path("pid").exists());
}

#[test]
fn a_reload_writes_the_pid_file_anew() {
    let mut server = start();
    fs::remove_file(server.path("pid")).unwrap();
    server.signal(Signal::SIGHUP);
    server.wait_for("Worker exiting");
    assert_eq!(fs::read_to_string(server.path("pid")).unwrap(), content(&server));
    // Another spelling of the same path.
    let name = server.directory.path().file_name().unwrap().to_str().unwrap().to_owned();
    server.reload(&format!("good 127.0.0.1:0 pidfile=../{name}/./pid"));
    server.wait_for("Worker exiting");
    server.wait_for("1 workers");
    assert_eq!(fs::read_to_string(server.path("pid")).unwrap(), content(&server));
}

#[test]
fn a_reload_moves_the_pid_file() {
    let mut server = start();
    server.reload("good 127.0.0.1:0 pidfile=other");
    server.wait_for("Worker exiting");
    wait_until("the old one is gone", || (!server.path("pid").exists()).then_some(()));
    assert_eq!(fs::read_to_string(server.path("other")).unwrap(), content(&server));
    server.reload("good 127.0.0.1:0");
    server.wait_for("Worker exiting");
    wait_until("there is none any more", || (!server.path("other").exists()).then_some(()));
}

#[test]
fn an_abandoned_reload_brings_the_pid_file_back() {
    let mut server = start();
    let (address, worker) = (server.address(), server.ask());
    server.reload("boot 127.0.0.1:0 pidfile=other");
    server.wait_for("Reload abandoned: the new worker");
    wait_until("the new one is gone", || (!server.path("other").exists()).then_some(()));
    assert_eq!(fs::read_to_string(server.path("pid")).unwrap(), content(&server));
    // One that is another process's changes nothing, nor does an address with it.
    fs::write(server.path("taken"), format!("{}\n", id())).unwrap();
    server.reload("good 127.0.0.2:0 pidfile=taken");
    server.wait_for(&format!(
        "Reload abandoned: Already running on PID {} (or pid file 'taken' is stale)",
        id()
    ));
    assert_eq!(text(connect(&address, b'p')), worker.to_string());
    assert_eq!(text(connect(&address, b'l')), "0");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.code(), Some(0));
    assert!(!server.path("pid").exists() && server.path("taken").exists());
}
