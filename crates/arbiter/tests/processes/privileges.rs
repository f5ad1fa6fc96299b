//! Who workers are, and whose their sockets are.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use nix::sys::signal::Signal;

use crate::server::{Server, text};

/// A user and a group that nobody has, and another such group.
const STRANGER: u32 = 54_321;
const STRANGERS: u32 = 54_322;
const OTHERS: u32 = 54_323;

#[expect(clippy::print_stderr, reason = "whoever reads the test's output learns what it skipped")]
fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: only root can drop privileges");
    }
    is_root
}

/// The worker of a server that is launched with these options and in the group `OTHERS`.
struct Worker {
    server: Server,
    status: String,
}

impl Worker {
    fn of(options: &[&str]) -> Self {
        let launched_in = format!("launched_in={OTHERS}");
        let mut server = Server::with_options(&[&["127.0.0.1:0", &*launched_in], options].concat());
        server.wait_for("Listening at");
        let status = text(server.connect(b's'));
        Self { server, status }
    }

    fn line(&self, name: &str) -> Vec<&str> {
        let line = self.status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().split_whitespace().collect()
    }

    fn ids(&self, name: &str) -> Vec<u32> {
        self.line(name).into_iter().map(|id| id.parse().unwrap()).collect()
    }
}

#[test]
fn workers_drop_privileges_for_good() {
    if !is_root() {
        return;
    }
    let (user, group) = (format!("user={STRANGER}"), format!("group={STRANGERS}"));
    let worker = Worker::of(&[&user, &group]);
    // Real, effective, saved and of the file system.
    assert_eq!((worker.ids("Uid:"), worker.ids("Gid:")), (vec![STRANGER; 4], vec![STRANGERS; 4]));
    assert_eq!(worker.line("CapEff:"), ["0000000000000000"]);
    assert_eq!(worker.ids("Groups:"), [OTHERS]);
    let arbiter = fs::metadata(format!("/proc/{}", worker.server.pid())).unwrap();
    assert_eq!((arbiter.uid(), arbiter.gid()), (0, 0));
    // Its arbiter still commands it.
    worker.server.signal(Signal::SIGTERM);
    let Worker { mut server, .. } = worker;
    assert_eq!(server.code(), Some(0));
}

#[test]
fn each_privilege_alone() {
    if !is_root() {
        return;
    }
    let worker = Worker::of(&[&format!("group={STRANGERS}")]);
    assert_eq!((worker.ids("Uid:"), worker.ids("Gid:")), (vec![0; 4], vec![STRANGERS; 4]));
    let worker = Worker::of(&[&format!("user={STRANGER}")]);
    assert_eq!((worker.ids("Uid:"), worker.ids("Gid:")), (vec![STRANGER; 4], vec![0; 4]));
    let worker = Worker::of(&["initgroups=true"]);
    assert_eq!((worker.ids("Uid:"), worker.ids("Groups:")), (vec![0; 4], vec![OTHERS]));
}

#[test]
fn a_reload_changes_privileges() {
    if !is_root() {
        return;
    }
    let Worker { mut server, .. } = Worker::of(&[]);
    server.reload(&format!("good 127.0.0.1:0 user={STRANGER}"));
    server.wait_for("Worker exiting");
    server.wait_for("1 workers");
    let status = text(server.connect(b's'));
    assert_eq!(Worker { server, status }.ids("Uid:"), [STRANGER; 4]);
}

#[test]
fn initgroups_replaces_the_groups_of_the_arbiter() {
    if !is_root() {
        return;
    }
    let group = format!("group={STRANGERS}");
    let worker = Worker::of(&["user=daemon", &group, "initgroups=true"]);
    let groups = worker.ids("Groups:");
    assert!(groups.contains(&STRANGERS) && !groups.contains(&OTHERS), "{groups:?}");
    assert_eq!(worker.ids("Gid:"), [STRANGERS; 4]);
    // Who has no name is no member of anything.
    let user = format!("user={STRANGER}");
    let worker = Worker::of(&[&user, &group, "initgroups=true"]);
    assert_eq!((worker.ids("Uid:"), worker.ids("Groups:")), (vec![STRANGER; 4], vec![OTHERS]));
}

/// gunicorn's default of 0 would let everybody write the files of an application.
#[test]
fn workers_keep_their_umask() {
    let mut server = Server::with_options(&["127.0.0.1:0", "umask=033"]);
    server.wait_for("Listening at");
    let umask = |status: &str| {
        let line = status.lines().find(|line| line.starts_with("Umask:"));
        line.unwrap().to_owned()
    };
    let own = fs::read_to_string("/proc/self/status").unwrap();
    assert_eq!(umask(&text(server.connect(b's'))), umask(&own));
}

#[test]
fn who_cannot_drop_privileges_does_not_boot() {
    // Root can do everything, so it becomes somebody else first.
    let launched_by = format!("launched_by={STRANGER}");
    let options = if nix::unistd::geteuid().is_root() { vec![&*launched_by] } else { Vec::new() };
    for (option, reason) in [
        ("user=0", "cannot become user 0: Operation not permitted"),
        ("group=54322", "cannot become group 54322: Operation not permitted"),
    ] {
        let mut server = Server::with_options(&[&options[..], &["127.0.0.1:0", option]].concat());
        server.wait_for("Exception in worker process");
        server.wait_for(reason);
        server.wait_for("Reason: Worker failed to boot.");
        assert_eq!(server.code(), Some(3));
    }
}

#[test]
fn a_unix_socket_is_made_under_the_umask() {
    for (option, mode) in [("umask=0", 0o777), ("umask=027", 0o750), ("umask=7777", 0)] {
        let mut server = Server::with_options(&["unix:socket", option]);
        server.wait_for("Listening at: unix:socket");
        let metadata = fs::symlink_metadata(server.path("socket")).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{option}");
    }
}

#[test]
fn a_unix_socket_belongs_to_the_workers() {
    if !is_root() {
        return;
    }
    let (user, group) = (format!("user={STRANGER}"), format!("group={STRANGERS}"));
    for (options, owner) in [
        (&["unix:socket", &*user, &*group][..], (STRANGER, STRANGERS)),
        (&["unix:socket", &*user], (STRANGER, 0)),
        (&["unix:socket", &*group], (0, STRANGERS)),
    ] {
        let mut server = Server::with_options(options);
        server.wait_for("Listening at: unix:socket");
        let metadata = fs::symlink_metadata(server.path("socket")).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), owner);
        server.signal(Signal::SIGTERM);
        assert_eq!(server.code(), Some(0));
        assert!(!server.path("socket").exists());
    }
}
