//! `--daemon`: the server in the background.

#![expect(clippy::unwrap_used, reason = "helpers fail their test by panicking, as tests do")]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rgunicorn_tests::{Client, Launch, Process, Signal, eventually};

const APP: &str = "
import os

def app(environ, start_response):
    open('written', 'w').close()
    print('printed')
    start_response('200 OK', [])
    return [b'%d' % os.getsid(0)]
";

/// A server that nobody's child is.
struct Background {
    arbiter: Process,
    address: SocketAddr,
    log: PathBuf,
}

impl Background {
    /// The server that has written this directory's files.
    fn find(directory: &Path) -> Self {
        let log = directory.join("error.log");
        let address = eventually("the address", || {
            let text = fs::read_to_string(&log).ok()?;
            let (_, address) = text.split_once("Listening at: http://")?;
            address.split_once(' ')?.0.parse().ok()
        });
        let pid = fs::read_to_string(directory.join("pid")).unwrap().trim().parse().unwrap();
        Self { arbiter: Process::find(pid).unwrap(), address, log }
    }

    fn get(&self) -> String {
        Client::connect(self.address).get("/").text().to_owned()
    }

    fn wait_for(&self, needle: &str) {
        let logged = || fs::read_to_string(&self.log).unwrap().contains(needle).then_some(());
        eventually(needle, logged);
    }

    fn wait_for_workers(&self, count: usize) {
        eventually("so many workers", || {
            (Process::children_of(self.arbiter.pid()).len() == count).then_some(())
        });
    }

    fn status(&self, name: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.arbiter.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_once(":\t").unwrap().1.to_owned()
    }

    fn stream(&self, number: u32) -> String {
        let path = format!("/proc/{}/fd/{number}", self.arbiter.pid());
        fs::read_link(path).unwrap().to_str().unwrap().to_owned()
    }

    fn stop(self) {
        self.arbiter.signal(Signal::SIGTERM);
        eventually("its end", || (!self.arbiter.is_alive()).then_some(()));
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.arbiter.signal(Signal::SIGKILL);
    }
}

fn launch() -> Launch {
    Launch::new(APP).args(&["--daemon", "--pid", "pid", "--log-file", "error.log"])
}

#[test]
fn the_server_leaves_the_terminal() {
    let started = launch().args(&["--workers", "2"]).spawn();
    let server = Background::find(started.directory());
    let session: i32 = server.get().parse().unwrap();
    assert!(session != server.arbiter.pid(), "it leads no session");
    assert_eq!(server.status("Umask"), "0022");
    for number in 0..3 {
        assert_eq!(server.stream(number), "/dev/null");
    }
    let written = fs::metadata(started.path("written")).unwrap().permissions().mode();
    assert_eq!(written & 0o777, 0o644);
    let pid = started.path("pid");
    server.stop();
    assert!(!pid.exists());
    let finished = started.wait();
    assert_eq!(
        (finished.code, finished.stdout, finished.stderr),
        (Some(0), String::new(), String::new())
    );
}

#[test]
fn winch_lets_the_workers_go_and_hup_brings_them_back() {
    let started = launch().args(&["--workers", "2"]).spawn();
    let server = Background::find(started.directory());
    server.wait_for_workers(2);
    server.arbiter.signal(Signal::SIGWINCH);
    server.wait_for_workers(0);
    server.arbiter.signal(Signal::SIGHUP);
    server.wait_for_workers(2);
    server.get();
    server.stop();
}

/// The careful way forward: first the old workers go, and only then the old master.
#[test]
fn winch_after_usr2_leaves_the_work_to_the_new_server() {
    let started = launch().spawn();
    let old = Background::find(started.directory());
    old.wait_for("Booting worker");
    old.arbiter.signal(Signal::SIGUSR2);
    old.wait_for("A new master is started");
    let text = fs::read_to_string(&old.log).unwrap();
    let (_, pid) = text.rsplit_once("A new master is started (pid:").unwrap();
    let new = Process::find(pid.split_once(')').unwrap().0.parse().unwrap()).unwrap();
    let new = Background { arbiter: new, address: old.address, log: old.log.clone() };
    // It is in the background already, and no other process than the one that was started.
    new.wait_for_workers(1);
    old.arbiter.signal(Signal::SIGWINCH);
    eventually("only the successor's workers", || {
        (Process::children_of(old.arbiter.pid()) == [new.arbiter]).then_some(())
    });
    new.get();
    // Back: the old one's workers return, and the new one goes.
    old.arbiter.signal(Signal::SIGHUP);
    old.wait_for_workers(2);
    new.arbiter.signal(Signal::SIGTERM);
    old.wait_for("this one serves on");
    old.get();
    old.stop();
}

#[test]
fn standard_streams_stay_if_they_are_wanted() {
    let started = Launch::new(APP).args(&["--daemon", "-R", "--pid", "pid"]).spawn();
    let line = started.wait_for("Listening at: http://");
    let (_, address) = line.split_once("http://").unwrap();
    let pid = fs::read_to_string(started.path("pid")).unwrap().trim().parse().unwrap();
    let server = Background {
        arbiter: Process::find(pid).unwrap(),
        address: address.split_once(' ').unwrap().0.parse().unwrap(),
        log: started.path("none"),
    };
    assert_eq!(server.stream(0), "/dev/null");
    server.get();
    server.stop();
    let finished = started.wait();
    assert_eq!(finished.code, Some(0));
    assert!(finished.stdout.contains("printed"), "{finished:?}");
    assert!(finished.stderr.contains("Shutting down: Master"), "{finished:?}");
}

#[test]
fn a_config_file_may_run_before() {
    const CONFIG: &str = "
import atexit, os

daemon = True
pidfile = 'pid'
errorlog = 'error.log'
os.register_at_fork(after_in_child=lambda: open('forks', 'a').write('x'))
atexit.register(lambda: open('exits', 'a').write('x'))
";
    let started = Launch::new(APP).file("gunicorn.conf.py", CONFIG).spawn();
    let server = Background::find(started.directory());
    server.get();
    // Twice on the way to the background, and once for the worker.
    assert_eq!(fs::read_to_string(started.path("forks")).unwrap(), "xxx");
    // Nobody on the way has run what is meant for the end.
    assert!(!started.path("exits").exists());
    server.stop();
    assert_eq!(started.wait().code, Some(0));
}

#[test]
fn a_service_manager_is_warned_of() {
    let started = launch().env("NOTIFY_SOCKET", "@rgunicorn-test-nobody").spawn();
    let server = Background::find(started.directory());
    server.wait_for("leave the server in the foreground");
    server.stop();
}
