//! What prevents a start: one line that says which value and why, and gunicorn's code.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;

use rgunicorn_tests::{Launch, Server, Signal};

const HELLO: &str = "
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'hello']
";

/// The only line above the level of information, or the error on the terminal.
fn complaint(bind: &str, arguments: &[&str]) -> String {
    let finished = Launch::new(HELLO).bind(&[bind]).args(arguments).run();
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let is_information = |line: &&str| line.is_empty() || line.contains("[INFO]");
    let mut lines = finished.stderr.lines().filter(|line| !is_information(line));
    let (line, more) = (lines.next().unwrap_or_default(), lines.next());
    assert_eq!(more, None, "after {line}");
    line.to_owned()
}

#[test]
fn each_obstacle_gets_a_line() {
    for (bind, arguments, expected) in [
        (
            "127.0.0.1:0",
            &["--user", "nobody-of-this-name"][..],
            "No such user: 'nobody-of-this-name'",
        ),
        ("127.0.0.1:0", &["--group", "none-of-this-name"], "No such group: 'none-of-this-name'"),
        ("127.0.0.1:0", &["--pid", "missing/pid"], "cannot write pid file"),
        ("127.0.0.1:0", &["--pid", "/proc/pid"], "cannot write pid file '/proc/pid'"),
        ("fd://99", &[], "Can't connect to fd://99: Bad file descriptor"),
        ("fd://x", &[], "'fd://x' names no descriptor: a number from 3 on"),
        ("unix:missing/socket", &[], "Can't connect to missing/socket: No such file or directory"),
        ("unix:app.py", &[], "Can't connect to app.py: the file is not a socket"),
        // Reserved for documentation, RFC 5737 and RFC 3849: no machine has them.
        ("192.0.2.1:0", &[], "Invalid address: ('192.0.2.1', 0)"),
        ("[2001:db8::1]:0", &[], "('2001:db8::1', 0)"),
        ("127.0.0.1:0", &["--bind-mode", "rw"], "octal permission bits, 0 to 777"),
    ] {
        let line = complaint(bind, arguments);
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn an_address_in_use_is_tried_again_before_it_ends_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let finished = Launch::new(HELLO).bind(&[&address.to_string()]).run();
    assert_eq!(finished.code, Some(1));
    let count = |needle: &str| finished.stderr.matches(needle).count();
    assert_eq!(count("Connection in use: ('127.0.0.1', "), 5, "{}", finished.stderr);
    assert_eq!(count("Can't connect to ('127.0.0.1', "), 1, "{}", finished.stderr);
}

#[test]
fn the_pid_file_of_another_server_refuses_the_start() {
    // In a directory that outlives the first.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pid");
    let first = Server::start(&["--pid", path.to_str().unwrap()], HELLO);
    let pid = first.master().pid();
    let line = complaint("127.0.0.1:0", &["--pid", path.to_str().unwrap()]);
    let expected =
        format!("Already running on PID {pid} (or pid file '{}' is stale)", path.display());
    assert!(line.contains(&expected), "{line}");
    // One that was left behind does not.
    let finished = first.stop(Signal::SIGKILL);
    assert_eq!(finished.code, None);
    let second = Server::start(&["--pid", path.to_str().unwrap()], HELLO);
    let content = fs::read_to_string(&path).unwrap();
    assert_eq!(content.trim(), second.master().pid().to_string());
    assert_eq!(second.stop(Signal::SIGTERM).code, Some(0));
    assert!(!path.exists());
}

/// As root, the file that replaces it would be the end of `/dev/null`. Here only of a link to it.
#[test]
fn a_device_is_no_pid_file() {
    let launch = Launch::new(HELLO).args(&["--pid", "null"]);
    std::os::unix::fs::symlink("/dev/null", launch.directory().join("null")).unwrap();
    let finished = launch.run();
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let expected = "/null': it is no regular file";
    assert!(finished.stderr.contains(expected), "{finished:?}");
}

/// What would refuse a start refuses a reload, and the server serves on.
#[test]
fn a_reload_that_meets_an_obstacle_changes_nothing() {
    let server = Launch::new(HELLO).file("gunicorn.conf.py", "").start();
    assert_eq!(server.get("/").text(), "hello");
    for (config, reason) in [
        ("pidfile = '/proc/pid'", "Reload abandoned: cannot write pid file '/proc/pid'"),
        ("user = 'nobody-of-this-name'", "No such user: 'nobody-of-this-name'"),
        ("bind_mode = 'rw'", "octal permission bits"),
    ] {
        fs::write(server.path("gunicorn.conf.py"), config).unwrap();
        server.signal(Signal::SIGHUP);
        server.wait_for(reason);
        assert_eq!(server.get("/").text(), "hello");
    }
}

/// With `user`, nothing of a virtual environment runs as root; without, Python is started once.
#[test]
fn python_is_started_by_the_arbiter_unless_workers_are_somebody_else() {
    // What an environment may bring, and Python runs whenever it starts.
    const SITE: &str = "
import os
with open(os.path.join(os.path.dirname(__file__), 'started'), 'a') as file:
    file.write('%d ' % os.getpid())
";
    let uid = fs::metadata("/proc/self").unwrap().uid().to_string();
    for (arguments, is_arbiters) in [(&[][..], true), (&["--user", &*uid], false)] {
        let launch = Launch::new(HELLO).file("sitecustomize.py", SITE).args(arguments);
        let directory = launch.directory().to_owned();
        let server = launch.env("PYTHONPATH", &directory).start();
        assert_eq!(server.get("/").text(), "hello");
        let started = fs::read_to_string(server.path("started")).unwrap();
        let (master, worker) = (server.master().pid(), server.workers()[0].pid());
        // The package is started by Python itself, whatever the arguments are.
        let is_package = started.starts_with(&format!("{master} ")) && !is_arbiters;
        let expected = if is_arbiters || is_package { master } else { worker };
        assert_eq!(started, format!("{expected} "), "{arguments:?}");
        assert!(!is_package || std::env::var_os("TEST_SERVER").is_some());
    }
}
