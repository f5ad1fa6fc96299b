//! USR2: another arbiter takes over, or does not.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::launch::Launch;
use crate::notify::Manager;
use crate::server::{Server, answer, fixture, text, wait_until};

/// The new arbiter, which is no child of the test's.
struct Successor(Pid);

impl Successor {
    /// Asks the old one for it, and waits until it serves.
    fn start(server: &mut Server) -> Self {
        server.signal(Signal::SIGUSR2);
        let line = server.wait_for("A new master is started (pid:");
        let pid = line.split_once("(pid:").unwrap().1.trim_end_matches(')').parse().unwrap();
        let successor = Self(Pid::from_raw(pid));
        server.wait_for_pid(successor.0, "Listening at");
        server.wait_for_pid(successor.0, "1 workers");
        successor
    }

    fn signal(&self, signal: Signal) {
        kill(self.0, signal).unwrap();
    }

    fn is_gone(&self) -> bool {
        kill(self.0, None).is_err()
    }

    /// After the old one has gone.
    fn stop(self, server: &mut Server) -> Vec<String> {
        self.signal(Signal::SIGTERM);
        server.all_lines()
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        // Its workers notice and end.
        let _killed = kill(self.0, Signal::SIGKILL);
    }
}

fn pid_in(server: &Server, file: &str) -> Option<i32> {
    fs::read_to_string(server.path(file)).ok().map(|text| text.trim().parse().unwrap())
}

/// A worker of this arbiter answers.
fn ask_one_of(server: &Server, arbiter: Pid) -> Pid {
    wait_until("an answer of the arbiter's", || {
        let worker = server.ask();
        let status = fs::read_to_string(format!("/proc/{worker}/status")).ok()?;
        status.contains(&format!("PPid:\t{arbiter}\n")).then_some(worker)
    })
}

#[test]
fn the_new_arbiter_takes_over() {
    let mut server = Server::with_options(&["127.0.0.1:0", "unix:socket", "pidfile=pid"]);
    server.wait_for("1 workers");
    let old = server.pid();
    let address = server.address();
    let successor = Successor::start(&mut server);
    assert_eq!(server.address(), address);
    assert_eq!(pid_in(&server, "pid"), Some(old.as_raw()));
    assert_eq!(pid_in(&server, "pid.2"), Some(successor.0.as_raw()));
    ask_one_of(&server, old);
    ask_one_of(&server, successor.0);
    // One at a time.
    server.signal(Signal::SIGUSR2);
    server.wait_for_pid(old, "USR2 signal ignored. Child exists.");
    successor.signal(Signal::SIGUSR2);
    server.wait_for_pid(successor.0, "USR2 signal ignored. Parent exists.");
    successor.signal(Signal::SIGHUP);
    server.wait_for_pid(successor.0, "Hang up: Master.2");
    server.wait_for_pid(successor.0, "Reload completed.");

    server.signal(Signal::SIGTERM);
    server.wait_for_pid(old, "Shutting down: Master");
    assert_eq!(server.code(), Some(0));
    server.wait_for_pid(successor.0, "Master has been promoted.");
    server.wait_for_pid(successor.0, "promoted with pid file: true");
    assert_eq!(pid_in(&server, "pid"), Some(successor.0.as_raw()));
    assert_eq!(pid_in(&server, "pid.2"), None);
    // The socket's file is still there, and belongs to the new one.
    let worker = server.ask();
    UnixStream::connect(server.path("socket")).unwrap();
    // What was meant for the arbiter is not in the environment of its workers.
    assert_eq!(text(server.connect(b'v')), "");
    successor.signal(Signal::SIGHUP);
    server.wait_for_pid(successor.0, "Hang up: Master");
    server.wait_for_pid(worker, "Worker exiting");
    // And it can be replaced in turn.
    successor.signal(Signal::SIGUSR2);
    let line = server.wait_for_pid(successor.0, "A new master is started (pid:");
    let third = line.split_once("(pid:").unwrap().1.trim_end_matches(')').parse().unwrap();
    let third = Successor(Pid::from_raw(third));
    server.wait_for_pid(third.0, "1 workers");
    successor.signal(Signal::SIGTERM);
    server.wait_for_pid(third.0, "promoted with pid file: true");
    let (socket, pid) = (server.path("socket"), server.path("pid"));
    assert!(socket.exists() && pid.exists());
    let log = third.stop(&mut server);
    assert!(log.iter().any(|line| line.ends_with("Shutting down: Master")), "{log:#?}");
    assert!(!socket.exists() && !pid.exists());
}

#[test]
fn the_old_arbiter_goes_on_when_the_new_one_goes() {
    let mut server = Server::with_options(&["127.0.0.1:0", "unix:socket", "pidfile=pid"]);
    server.wait_for("1 workers");
    let worker = server.ask();
    for signal in [Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGKILL] {
        let successor = Successor::start(&mut server);
        successor.signal(signal);
        let end = format!("The new master (pid:{}) ended with ", successor.0);
        server.wait_for(&end);
        assert!(successor.is_gone(), "it is reaped");
        wait_until("only the old one serves", || (server.ask() == worker).then_some(()));
        UnixStream::connect(server.path("socket")).unwrap();
    }
    assert_eq!(pid_in(&server, "pid"), Some(server.pid().as_raw()));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.code(), Some(0));
    assert!(!server.path("socket").exists());
}

#[test]
fn a_killed_arbiter_is_succeeded() {
    let mut server = Server::with_options(&["127.0.0.1:0", "pidfile=pid"]);
    server.wait_for("1 workers");
    let successor = Successor::start(&mut server);
    server.signal(Signal::SIGKILL);
    server.wait_for_pid(successor.0, "Master has been promoted.");
    server.wait_for_pid(successor.0, "promoted with pid file: true");
    assert_eq!(pid_in(&server, "pid"), Some(successor.0.as_raw()));
    ask_one_of(&server, successor.0);
    successor.stop(&mut server);
}

#[test]
fn a_program_that_does_not_start_changes_nothing() {
    for (content, lines) in [
        (
            None,
            &["Cannot execute './new': No such file", "ended with code 255; this one serves"][..],
        ),
        (Some("#!/bin/sh\nexit 7\n"), &["ended with code 7; this one serves on."]),
    ] {
        let mut server = Server::with_options(&["127.0.0.1:0", "program=./new"]);
        server.wait_for("1 workers");
        if let Some(content) = content {
            let path = server.path("new");
            fs::write(&path, content).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let worker = server.ask();
        server.signal(Signal::SIGUSR2);
        server.wait_for("pre_exec");
        for line in lines {
            server.wait_for(line);
        }
        assert_eq!(server.ask(), worker);
    }
}

/// What is executed is the file where the old one was found, whatever it is by then.
#[test]
fn an_exchanged_file_is_executed() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("file"), "good").unwrap();
    let program = directory.path().join("server");
    fs::copy(fixture(), &program).unwrap();
    let mut command = Command::new("./server");
    command.args(["1", "file", "127.0.0.1:0"]);
    let mut server = Server::spawn(command, directory);
    server.wait_for("1 workers");
    let exchanged = server.path("exchanged");
    fs::write(&exchanged, "#!/bin/sh\nexit 7\n").unwrap();
    fs::set_permissions(&exchanged, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(exchanged, program).unwrap();
    server.signal(Signal::SIGUSR2);
    server.wait_for("ended with code 7; this one serves on.");
}

/// The sum of what workers have counted, as one of them sees it that has counted one more.
fn count(server: &Server) -> u32 {
    text(server.connect(b'n')).parse().unwrap()
}

/// The same, of another worker than this one, which cannot run meanwhile, and neither its arbiter.
fn count_without(server: &Server, others: [Pid; 2]) -> u32 {
    let signal = |signal| others.map(|pid| kill(pid, signal).unwrap());
    signal(Signal::SIGSTOP);
    let count = count(server);
    signal(Signal::SIGCONT);
    count
}

#[test]
fn workers_see_the_words_of_the_other_arbiters() {
    let (mut server, old) = Server::serving(&[]);
    let old_ones = [server.pid(), old];
    for counted in [0, 3] {
        assert_eq!(count(&server), counted + 1);
        let successor = Successor::start(&mut server);
        let new_ones = [successor.0, ask_one_of(&server, successor.0)];
        assert_eq!(count_without(&server, old_ones), counted + 2);
        assert_eq!(count_without(&server, new_ones), counted + 3);
        // What the new one has counted goes with it.
        kill(successor.0, Signal::SIGKILL).unwrap();
        server.wait_for("this one serves on.");
        wait_until("the new worker's end", || kill(new_ones[1], None).err());
        assert_eq!(count(&server), counted + 3);
    }
    let successor = Successor::start(&mut server);
    server.signal(Signal::SIGTERM);
    server.wait_for_pid(successor.0, "Master has been promoted.");
    assert_eq!(count(&server), 1);
}

/// setrlimit(2): no process may make a file, be it only for others to map.
#[test]
fn an_upgrade_needs_no_files() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("file"), "good").unwrap();
    let mut command = Command::new("sh");
    let fixture = fixture();
    command.args(["-c", "ulimit -f 0 && exec \"$0\" 1 file 127.0.0.1:0"]).arg(fixture);
    let mut server = Server::spawn(command, directory);
    server.wait_for("1 workers");
    assert_eq!(count(&server), 1);
    let successor = Successor::start(&mut server);
    server.signal(Signal::SIGTERM);
    server.wait_for_pid(successor.0, "Master has been promoted.");
    assert_eq!(count(&server), 1);
}

/// The new arbiter gets listeners, mailbox and pages, and nothing else of the old one's.
#[test]
fn descriptors_do_not_grow_in_number() {
    let descriptors = |pid: Pid| {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let kinds =
            targets.map(|target| target.to_str().unwrap().split(':').next().unwrap().to_owned());
        let mut kinds: Vec<String> = kinds.collect();
        kinds.sort();
        kinds
    };
    let mut server = Server::with_options(&["127.0.0.1:0", "unix:socket"]);
    server.wait_for("1 workers");
    let before = descriptors(server.pid());
    let successor = Successor::start(&mut server);
    assert_eq!(descriptors(successor.0), before);
    assert_eq!(descriptors(server.pid()), before);
}

#[test]
fn what_lies_in_the_mailbox_is_kept() {
    let mut server = Server::start(1);
    let first = server.ask();
    let left = server.connect(b'm');
    assert_eq!(server.ask(), first);
    let successor = Successor::start(&mut server);
    server.signal(Signal::SIGTERM);
    server.wait_for_pid(successor.0, "Master has been promoted.");
    let second = answer(server.connect(b'c'));
    assert_ne!(first, second);
    assert_eq!(text(left), format!("{first} {second}"));
    successor.stop(&mut server);
}

/// The new arbiter may listen elsewhere: what it does not share with the old one it binds.
#[test]
fn queues_are_kept_and_nobody_is_refused() {
    let mut server = Server::start(1);
    let busy = server.connect(b'w');
    server.wait_for("waiting");
    let queued = server.connect(b'p');
    let successor = Successor::start(&mut server);
    // The new worker serves who came to the old one.
    assert_ne!(answer(queued).to_string(), "");
    server.signal(Signal::SIGTERM);
    server.wait_for("Handling signal: term");
    answer(busy);
    assert_eq!(server.code(), Some(0));
    ask_one_of(&server, successor.0);
    successor.stop(&mut server);
}

#[test]
fn under_systemd_the_main_process_changes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let manager = Manager::new();
    let launch = manager.launch().descriptor(&listener, 3).activated("1").watchdog("400000");
    let mut server: Server = launch.start(&["127.0.0.1:1"]);
    server.wait_for("1 workers");
    manager.expect(&[&format!("READY=1\nMAINPID={}", server.pid()), "STATUS=1 of 1 workers serve"]);
    let successor = Successor::start(&mut server);
    // As long as it is not the main process, systemd would not believe it.
    ask_one_of(&server, successor.0);
    server.signal(Signal::SIGTERM);
    manager.expect(&[
        &format!("MAINPID={}", successor.0),
        &format!("READY=1\nMAINPID={}", successor.0),
        "STATUS=1 of 1 workers serve",
    ]);
    assert_eq!(server.code(), Some(0));
    manager.wait_for("WATCHDOG=1");
    successor.signal(Signal::SIGTERM);
    manager.expect(&["STOPPING=1\nSTATUS=Workers finish their requests"]);
    server.all_lines();
    let _still_open = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
}

#[test]
fn wrong_descriptors_end_the_start() {
    for (name, value) in
        [("GUNICORN_FD", "x"), ("GUNICORN_FD", "900"), ("RGUNICORN_MAILBOX_FD", "7")]
    {
        let launch = Launch::new().env("GUNICORN_PID", "1").env(name, value);
        let mut server = launch.start(&["127.0.0.1:0"]);
        server.wait_for(&format!("{name}={value} cannot be taken over"));
        assert_eq!(server.code(), Some(1));
    }
}
