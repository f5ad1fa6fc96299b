//! The arbiter as process 1, in a container as it were.

use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::server::{Server, fixture, text};

/// In namespaces of its own, with a `/proc` of its own; only root may.
fn start() -> Option<Server> {
    let unshare = |program: &mut Command| {
        let arguments = ["--pid", "--mount-proc", "--fork", "--kill-child"];
        let mut command = Command::new("unshare");
        command.args(arguments).arg(program.get_program()).args(program.get_args());
        command
    };
    let can = unshare(&mut Command::new("true")).output();
    if !can.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("file"), "good").unwrap();
    let mut program = Command::new(fixture());
    program.args(["1", "file", "127.0.0.1:0"]);
    let mut server = Server::spawn(unshare(&mut program), directory);
    server.wait_for("Listening at");
    Some(server)
}

/// Process 1 as seen from here: the only child of `unshare`.
fn init(server: &Server) -> Pid {
    let children = format!("/proc/{0}/task/{0}/children", server.pid());
    Pid::from_raw(std::fs::read_to_string(children).unwrap().trim().parse().unwrap())
}

#[test]
fn process_1_reaps_orphans() {
    let Some(mut server) = start() else { return };
    let init = init(&server);
    let orphan = text(server.connect(b'o'));
    server.wait_for(&format!("Reaped unknown child process (pid:{orphan}, status:code 0)"));
    // A worker that dies is found as ever.
    let worker = server.ask();
    let _request = server.connect(b'e');
    server.wait_for(&format!("Worker (pid:{worker}) exited with code 255."));
    assert_ne!(server.ask(), worker);
    kill(init, Signal::SIGTERM).unwrap();
    server.wait_for("Shutting down: Master");
    assert_eq!(server.code(), Some(0));
}
