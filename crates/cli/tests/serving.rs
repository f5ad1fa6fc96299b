//! Settings whose effect only a running server shows.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::ExitStatus;

use nix::sys::signal::Signal;
use support::{Server, command, directory, run};

/// Answers with what `/NAME` has in the environment, by both ways to look.
const ENVIRONMENT: &str = "import os\n\
    from subprocess import check_output\n\
    AT_IMPORT = os.environ.get('COLOUR')\n\
    def app(environ, start_response):\n    \
        name = environ['PATH_INFO'][1:]\n    \
        start_response('200 OK', [])\n    \
        child = check_output(['/bin/sh', '-c', 'echo $' + name]).decode().strip()\n    \
        return [f'{AT_IMPORT} {os.environ.get(name)} {child}'.encode()]\n";

#[test]
fn variables_are_there_before_the_application() {
    let temporary = directory(&[
        ("shop.py", ENVIRONMENT),
        ("gunicorn.conf.py", "import os\nassert 'COLOUR' not in os.environ\n"),
    ]);
    for preload in [&[][..], &["--preload"]] {
        let line = [&["shop:app", "-e", "COLOUR=red", "--env", "SIZE=a=b"], preload].concat();
        let mut server = Server::start(temporary.path(), command(), &line);
        assert_eq!(server.get("/COLOUR"), "red red red", "{preload:?}");
        assert_eq!(server.get("/SIZE"), "red a=b a=b");
        // The config file looks again, and must not see them.
        server.signal(Signal::SIGHUP);
        server.wait_for("Worker exiting");
        assert_eq!(server.get("/COLOUR"), "red red red", "{preload:?}");
        let (status, log) = server.stop(Signal::SIGTERM);
        assert!(status.success(), "{log:?}");
    }
}

#[test]
fn a_reload_that_cannot_open_its_log_changes_nothing() {
    let temporary =
        directory(&[("shop.py", GENERATION), ("gunicorn.conf.py", "raw_env = ['RELEASE=one']\n")]);
    let config = temporary.path().join("gunicorn.conf.py");
    fs::create_dir(temporary.path().join("elsewhere")).unwrap();
    for preload in [&["shop:app"][..], &["shop:app", "--preload"]] {
        fs::write(&config, "raw_env = ['RELEASE=one']\n").unwrap();
        let mut server = Server::start(temporary.path(), command(), preload);
        assert_eq!(server.get("/"), "one");
        let settings = "raw_env = ['RELEASE=two']\naccesslog = '/no/such/log'\n\
                        chdir = 'elsewhere'\nerrorlog = '/dev/null'\n";
        fs::write(&config, settings).unwrap();
        server.signal(Signal::SIGHUP);
        server.wait_for("isn't writable");
        let here = fs::read_link(format!("/proc/{}/cwd", server.pid())).unwrap();
        assert_eq!(here, temporary.path().canonicalize().unwrap());
        assert_eq!(server.get("/"), "one");
        let (status, log) = server.stop(Signal::SIGTERM);
        assert!(status.success(), "{log:?}");
    }
}

const PRELOADED: &str = "import gc, os, sys\n\
    IMPORTED_IN = os.getpid()\n\
    def app(environ, start_response):\n    \
        start_response('200 OK', [])\n    \
        frozen = gc.get_freeze_count() > 1000\n    \
        late = 'encodings.idna' in sys.modules\n    \
        return [f'{IMPORTED_IN} {os.getpid()} {frozen} {late}'.encode()]\n";

#[test]
fn the_application_is_loaded_once_for_all_workers() {
    let temporary = directory(&[("shop.py", PRELOADED)]);
    let mut server =
        Server::start(temporary.path(), command(), &["shop:app", "--preload", "-w", "2"]);
    let arbiter = server.pid().to_string();
    let answer = server.get("/");
    let [imported, worker, frozen, late] = answer.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{answer}");
    };
    assert_eq!((imported, frozen, late), (arbiter.as_str(), "True", "True"));
    assert_ne!(worker, arbiter);

    let first = server.workers();
    server.signal(Signal::SIGHUP);
    server.wait_for("preload_app: a reload does not load the application anew");
    server.wait_for_end_of(&first);
    assert!(server.get("/").starts_with(&arbiter));
    let (status, log) = server.stop(Signal::SIGTERM);
    assert!(status.success(), "{log:?}");
}

#[test]
fn an_application_that_cannot_be_preloaded_ends_the_start() {
    let temporary = directory(&[("broken.py", "def app(): pass\n1 / 0\n"), ("empty.py", "")]);
    let attempt = |app| run(temporary.path(), command().args([app, "--preload", "-b", ":0"]));
    let (status, _, errors) = attempt("broken:app");
    assert_eq!(status, Some(1));
    assert!(errors.starts_with("Traceback (most recent call last):\n"), "{errors}");
    assert!(errors.ends_with("ZeroDivisionError: division by zero\n"), "{errors}");
    let (status, _, errors) = attempt("empty:app");
    assert_eq!(status, Some(1));
    assert_eq!(errors, "\nError: Failed to find attribute 'app' in 'empty'.\n");
}

const IDENTITY: &str = "import os\n\
    def app(environ, start_response):\n    \
        start_response('200 OK', [])\n    \
        return [f'{os.getuid()} {os.getgid()}'.encode()]\n";

#[test]
fn workers_run_as_somebody_else_and_can_reopen_their_logs() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let temporary = directory(&[("shop.py", IDENTITY)]);
    fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut probe = command();
    let probe = probe.uid(65534).gid(65534).args(["shop:app", "--check-config"]);
    let probe = probe.current_dir(temporary.path()).status();
    if !probe.as_ref().is_ok_and(ExitStatus::success) {
        eprintln!("skipped: others than root cannot read this server or its Python: {probe:?}");
        return;
    }
    let socket = temporary.path().join("socket");
    let line = format!(
        "shop:app --user 65534 --group 65534 --umask 077 --pid shop.pid --chdir . \
         --access-logfile access.log --bind unix:{}",
        socket.display()
    );
    let line: Vec<_> = line.split(' ').collect();
    let mut server = Server::start(temporary.path(), command(), &line);
    assert_eq!(server.get("/"), "65534 65534");

    let of = |name: &str| fs::metadata(temporary.path().join(name)).unwrap();
    assert_eq!((of("access.log").uid(), of("access.log").gid()), (65534, 65534));
    assert_eq!((of("socket").uid(), of("socket").mode() & 0o777), (65534, 0o700));
    let pidfile = temporary.path().join("shop.pid");
    assert_eq!(fs::read_to_string(&pidfile).unwrap(), format!("{}\n", server.pid()));

    let second = run(temporary.path(), command().args(["shop:app", "-p", "shop.pid", "-b", ":0"]));
    assert_eq!(second.0, Some(1));
    assert!(second.2.contains(&format!("Already running on PID {}", server.pid())), "{second:?}");

    // A worker, which could not create the file, finds the one that the arbiter made.
    fs::rename(temporary.path().join("access.log"), temporary.path().join("old.log")).unwrap();
    server.signal(Signal::SIGUSR1);
    server.wait_for("Handling signal: usr1");
    let lines = |name: &str| {
        fs::read_to_string(temporary.path().join(name)).unwrap_or_default().lines().count()
    };
    let before = lines("old.log");
    for round in 1.. {
        server.get("/");
        if lines("access.log") > 0 {
            break;
        }
        assert!(round < 10_000, "the log was never reopened; {before} lines went to the old one");
    }
    let (status, log) = server.stop(Signal::SIGTERM);
    assert!(status.success(), "{log:?}");
    assert!(!pidfile.exists());
}

const GENERATION: &str = "import os\n\
    if os.path.exists('broken'): raise RuntimeError('broken release')\n\
    def app(environ, start_response):\n    \
        start_response('200 OK', [])\n    \
        return [os.environ['RELEASE'].encode()]\n";

#[test]
fn an_abandoned_reload_leaves_settings_and_logs_as_they_were() {
    let temporary = directory(&[
        ("shop.py", GENERATION),
        ("gunicorn.conf.py", "raw_env = ['RELEASE=one']\naccesslog = 'one.log'\n"),
    ]);
    let here = |name: &str| temporary.path().join(name);
    let mut server = Server::start(temporary.path(), command(), &["shop:app"]);
    assert_eq!(server.get("/"), "one");
    fs::write(here("gunicorn.conf.py"), "raw_env = ['RELEASE=two']\naccesslog = 'two.log'\n")
        .unwrap();
    fs::write(here("broken"), "").unwrap();
    server.signal(Signal::SIGHUP);
    server.wait_for("RuntimeError: broken release");
    server.wait_for("exited with code 3");
    fs::remove_file(here("broken")).unwrap();

    // The successor of a killed worker is made of what its predecessor was made of.
    let [worker] = server.workers()[..] else { panic!("{:?}", server.workers()) };
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(worker.try_into().unwrap()), Signal::SIGKILL)
        .unwrap();
    server.wait_for("Booting worker with pid");
    assert_eq!(server.get("/"), "one");
    let (status, log) = server.stop(Signal::SIGTERM);
    assert!(status.success(), "{log:?}");
    assert_eq!(fs::read_to_string(here("one.log")).unwrap().lines().count(), 2);
    assert_eq!(fs::read_to_string(here("two.log")).unwrap(), "");
}

#[test]
fn workers_are_replaced_after_their_requests() {
    let temporary = directory(&[("shop.py", PRELOADED)]);
    let line = ["shop:app", "--max-requests", "5", "--max-requests-jitter", "3"];
    let mut server = Server::start(temporary.path(), command(), &line);
    let first = server.workers();
    for _ in 0..8 {
        server.get("/");
    }
    server.wait_for("Autorestarting worker after current request.");
    server.wait_for("Worker exiting");
    server.get("/");
    let (status, log) = server.stop(Signal::SIGTERM);
    assert!(status.success(), "{log:?}");
    let second = log.iter().filter(|line| line.contains("Booting worker")).count();
    assert!(second >= 2, "{first:?} had no successor");
}

const HEADERS: &str = "def app(environ, start_response):\n    \
        start_response('200 OK', [('X-Count', environ['PATH_INFO'][1:])])\n    \
        return [b'hello']\n";

#[test]
fn the_access_log_has_the_format_that_was_asked_for() {
    let temporary = directory(&[("shop.py", HEADERS)]);
    let format = "%(m)s %(U)s %({x-count}o)s %({user-agent}i)s %(b)s";
    let line = ["shop:app", "--access-logfile", "a.log", "--access-logformat", format];
    let server = Server::start(temporary.path(), command(), &line);
    // Two on one connection, the second without what the first one had.
    server.send(
        "GET /1 HTTP/1.1\r\nHost: x\r\nUser-Agent: u\r\n\r\n\
         GET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    server.send("NONSENSE\r\n\r\n");
    let (status, log) = server.stop(Signal::SIGTERM);
    assert!(status.success(), "{log:?}");
    let lines = fs::read_to_string(temporary.path().join("a.log")).unwrap();
    assert_eq!(lines, "GET /1 1 u 5\nGET /2 2 - 5\n");
}

const SCHEME: &str = "def app(environ, start_response):\n    \
        start_response('200 OK', [])\n    \
        return [environ['wsgi.url_scheme'].encode()]\n";

#[test]
fn a_trusted_proxy_tells_the_scheme() {
    let temporary = directory(&[
        ("shop.py", SCHEME),
        ("tls.conf.py", "secure_scheme_headers = {'X-Tls': 'yes'}\n"),
    ]);
    let scheme = |server: &Server, field: &str| {
        let response = server.send(&format!("GET / HTTP/1.0\r\n{field}\r\n\r\n"));
        response.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    let server = Server::start(temporary.path(), command(), &["shop:app"]);
    assert_eq!(scheme(&server, "X-Forwarded-Proto: https"), "https");
    assert_eq!(scheme(&server, "X-Tls: yes"), "http");
    drop(server);
    let server = Server::start(temporary.path(), command(), &["shop:app", "-c", "tls.conf.py"]);
    assert_eq!(scheme(&server, "X-Forwarded-Proto: https"), "http");
    assert_eq!(scheme(&server, "X-Tls: yes"), "https");
    drop(server);
    let mut command = command();
    command.env("FORWARDED_ALLOW_IPS", "10.0.0.1");
    let server = Server::start(temporary.path(), command, &["shop:app"]);
    assert_eq!(scheme(&server, "X-Forwarded-Proto: https"), "http");
}

#[test]
fn processes_have_titles() {
    let mall = "default_proc_name = 'mall'\n";
    let temporary = directory(&[("shop.py", SCHEME), ("mall.conf.py", mall)]);
    let server = Server::start(temporary.path(), command(), &["shop:app", "--name", "corner"]);
    let title = |pid: u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        let end = line.iter().position(|byte| *byte == 0).unwrap();
        assert!(line[end..].iter().all(|byte| *byte == 0), "the arguments are gone");
        String::from_utf8(line[..end].to_vec()).unwrap()
    };
    // An answer tells that the worker is beyond its start.
    assert_eq!(server.get("/"), "http");
    assert_eq!(title(server.pid()), "rgunicorn: master [corner]");
    assert_eq!(title(server.workers()[0]), "rgunicorn: worker [corner]");
    let shared = Server::start(temporary.path(), command(), &["shop:app", "-c", "mall.conf.py"]);
    assert_eq!(shared.get("/"), "http");
    assert_eq!(title(shared.workers()[0]), "rgunicorn: worker [mall]");
    let (status, log) = server.stop(Signal::SIGTERM);
    assert!(status.success(), "{log:?}");
}
