//! USR2: another server of another version takes over, or does not.

#![expect(clippy::unwrap_used, reason = "helpers fail their test by panicking, as tests do")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;

use rgunicorn_tests::{
    Client, Connections, Launch, Load, Process, Server, Signal, Successor, eventually, example,
};

/// Answers with the pid of its arbiter.
const ARBITER: &str = "
import os

def app(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % os.getppid()]
";

fn title(process: Process) -> String {
    let line = fs::read(format!("/proc/{}/cmdline", process.pid())).unwrap();
    String::from_utf8(line).unwrap().replace('\0', " ").trim_end().to_owned()
}

fn pid_in(server: &Server, file: &str) -> Option<i32> {
    fs::read_to_string(server.path(file)).ok()?.trim().parse().ok()
}

#[test]
fn a_deploy_forward_loses_nothing() {
    let arguments = &["--workers", "2", "--pid", "pid", "--name", "a-name-that-is-long-enough"];
    let server = Server::start(arguments, ARBITER);
    server.wait_for_workers(2);
    let old = server.master();
    let loads = [Connections::KeepAlive, Connections::Close]
        .map(|connections| Load::start(&server, connections, 4));
    for load in &loads {
        load.wait_for_answers(100);
    }
    let new = Successor::start(&server, 1);
    loads[1].wait_for_body(&new.master().pid().to_string());
    assert_eq!(
        (pid_in(&server, "pid"), pid_in(&server, "pid.2")),
        (Some(old.pid()), Some(new.master().pid()))
    );
    assert_eq!(title(new.master()), "rgunicorn: master [a-name-that-is-long-enough.2]");
    assert_eq!(title(new.workers()[0]), "rgunicorn: worker [a-name-that-is-long-enough.2]");
    for load in &loads {
        load.wait_for_answers(100);
    }

    server.signal(Signal::SIGTERM);
    server.wait_for("Master has been promoted.");
    for load in &loads {
        load.wait_for_answers(100);
    }
    eventually("the pid file's new name", || {
        (pid_in(&server, "pid") == Some(new.master().pid()) && pid_in(&server, "pid.2").is_none())
            .then_some(())
    });
    eventually("the title", || {
        (title(new.master()) == "rgunicorn: master [a-name-that-is-long-enough]").then_some(())
    });
    for load in loads {
        assert_eq!(load.stop().lost, []);
    }
    new.signal(Signal::SIGTERM);
    let finished = server.wait();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
}

#[test]
fn a_rollback_loses_nothing() {
    let server = Server::start(&["--workers", "2"], ARBITER);
    server.wait_for_workers(2);
    let old = server.master().pid().to_string();
    let load = Load::start(&server, Connections::Close, 4);
    for (count, signal) in [(1, Signal::SIGTERM), (2, Signal::SIGQUIT)] {
        let new = Successor::start(&server, count);
        load.wait_for_body(&new.master().pid().to_string());
        if signal == Signal::SIGQUIT {
            // At once means at once: whoever it was answering is lost.
            assert_eq!(load.stop().lost, []);
            new.signal(signal);
            new.wait_for_end();
            break;
        }
        new.signal(signal);
        server.wait_for_count("ended with code 0; this one serves on.", count);
        load.wait_for_answers(100);
    }
    server.wait_for_count("this one serves on.", 2);
    assert_eq!(server.get("/").text(), old);
    assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
}

#[test]
fn a_broken_version_changes_nothing() {
    let server = Server::start(&[], ARBITER);
    assert_eq!(server.get("/").status, 200);
    server.replace_app("syntax error");
    let new = Successor::start(&server, 1);
    server.wait_for(&format!(
        "The new master (pid:{}) ended with code 3; this one",
        new.master().pid()
    ));
    assert_eq!(server.get("/").text(), server.master().pid().to_string());
    // And the mended one is taken.
    server.replace_app(ARBITER);
    let new = Successor::start(&server, 2);
    server.signal(Signal::SIGTERM);
    server.wait_for("Master has been promoted.");
    // Which of two that wait gets a connection is the kernel's choice; now there is one.
    assert_eq!(server.get("/").text(), new.master().pid().to_string());
    new.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code, Some(0));
}

/// It starts where the old one was started, with the environment that it was started with.
#[test]
fn directory_and_environment_are_those_of_the_launch() {
    const SEEN: &str = "
import os

def app(environ, start_response):
    names = [name for name in os.environ if 'GUNICORN' in name or 'LISTEN' in name]
    start_response('200 OK', [])
    seen = (os.getppid(), os.getcwd(), os.environ['COLOR'], names)
    return [repr(seen).encode()]
";
    let server = Launch::new("")
        .file("sub/app.py", SEEN)
        .file("gunicorn.conf.py", "chdir = 'sub'\nraw_env = ['COLOR=' + __import__('os').environ.get('COLOR', 'none') + '!']\npreload_app = True\n")
        .env("COLOR", "blue")
        .start();
    let expected = |arbiter: i32| {
        let directory = server.path("sub").canonicalize().unwrap();
        format!("({arbiter}, '{}', 'blue!', [])", directory.display())
    };
    assert_eq!(server.get("/").text(), expected(server.master().pid()));
    let new = Successor::start(&server, 1);
    server.wait_for_count("Booting worker", 2);
    server.signal(Signal::SIGTERM);
    server.wait_for("Master has been promoted.");
    assert_eq!(server.get("/").text(), expected(new.master().pid()));
    new.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code, Some(0));
}

#[test]
fn under_systemd_it_becomes_the_main_process() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let launch = Launch::new(ARBITER).descriptor(listener).env("LISTEN_FDS", "1");
    let path = launch.directory().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(rgunicorn_tests::DEADLINE)).unwrap();
    let wait_for = |start: &str| {
        let mut buffer = [0; 4096];
        loop {
            let length = manager.recv(&mut buffer).unwrap();
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.starts_with(start) {
                return message;
            }
        }
    };
    let server = launch.env("NOTIFY_SOCKET", path.as_os_str()).start();
    let ready = wait_for("READY=1");
    // No worker was ready before: this one answers at once.
    assert_eq!(ready, format!("READY=1\nMAINPID={}", server.master().pid()));
    assert_eq!(server.get("/").text(), server.master().pid().to_string());
    server.signal(Signal::SIGHUP);
    wait_for("RELOADING=1\nMONOTONIC_USEC=");
    wait_for("READY=1");
    let new = Successor::start(&server, 1);
    server.wait_for_count("Booting worker", 3);
    server.signal(Signal::SIGTERM);
    assert_eq!(wait_for("MAINPID"), format!("MAINPID={}", new.master().pid()));
    assert_eq!(wait_for("READY=1"), format!("READY=1\nMAINPID={}", new.master().pid()));
    assert_eq!(server.get("/").text(), new.master().pid().to_string());
    new.signal(Signal::SIGTERM);
    wait_for("STOPPING=1");
    assert_eq!(server.wait().code, Some(0));
}

#[test]
fn any_program_of_an_arbiter_can_be_replaced() {
    let server = example("supervised_tcp", &["127.0.0.1:0"]);
    server.wait_for_workers(4);
    let new = Successor::start(&server, 1);
    eventually("the new workers", || (new.workers().len() == 4).then_some(()));
    server.signal(Signal::SIGTERM);
    server.wait_for("Master has been promoted.");
    new.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code, Some(0));
}

#[test]
fn unix_sockets_stay_as_long_as_anybody_serves() {
    let server = Launch::new(ARBITER).bind(&["unix:socket"]).start();
    let socket = server.path("socket");
    let ask = || Client::connect_unix(&socket).get("/").text().to_owned();
    assert_eq!(ask(), server.master().pid().to_string());
    let new = Successor::start(&server, 1);
    server.wait_for_count("Booting worker", 2);
    new.signal(Signal::SIGTERM);
    server.wait_for("this one serves on.");
    assert_eq!(ask(), server.master().pid().to_string());
    let new = Successor::start(&server, 2);
    server.wait_for_count("Booting worker", 3);
    server.signal(Signal::SIGTERM);
    server.wait_for("Master has been promoted.");
    assert_eq!(ask(), new.master().pid().to_string());
    new.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code, Some(0));
    assert!(!socket.exists());
}
