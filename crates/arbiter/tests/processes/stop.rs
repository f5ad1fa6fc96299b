//! SIGTERM, whatever is going on.

use nix::sys::signal::{Signal, kill};

use crate::server::{Server, answer};

/// Ends it, and with it all that it started.
fn stop(mut server: Server) -> Vec<String> {
    server.signal(Signal::SIGTERM);
    let log = server.all_lines();
    assert_eq!(server.code(), Some(0), "{log:#?}");
    assert!(log.iter().any(|line| line.contains("Shutting down: Master")), "{log:#?}");
    log
}

#[test]
fn during_the_first_boot() {
    let mut server = Server::launch("127.0.0.1:0", 2, "slow");
    server.wait_for("slow boot");
    server.wait_for("slow boot");
    stop(server);
}

/// A boot that takes for ever has nothing to finish, and nobody waits until it is killed.
#[test]
fn during_a_boot_that_hangs() {
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
        let mut server = Server::launch("127.0.0.1:0", 1, "slow");
        server.wait_for("slow boot");
        server.signal(signal);
        let log = server.all_lines();
        assert_eq!(server.code(), Some(0), "{log:#?}");
        assert!(!log.iter().any(|line| line.contains("SIGKILL")), "{log:#?}");
    }
}

#[test]
fn during_a_reload() {
    let (mut server, worker) = Server::serving(&[]);
    server.reload("slow");
    server.wait_for("slow boot");
    let log = stop(server);
    assert!(log.iter().any(|line| line.contains(&format!("Worker exiting (pid: {worker})"))));
}

#[test]
fn while_a_reload_waits_for_an_old_worker() {
    let mut server = Server::start(1);
    let request = server.connect(b'w');
    server.wait_for("waiting");
    server.signal(Signal::SIGHUP);
    server.wait_for("Booting worker");
    server.signal(Signal::SIGHUP);
    server.wait_for("Hang up: Master");
    server.signal(Signal::SIGTERM);
    server.wait_for("Handling signal: term");
    answer(request);
    assert_eq!(server.code(), Some(0));
}

#[test]
fn during_retirement() {
    let (mut server, worker) = Server::serving(&[]);
    server.write_file("slow");
    answer(server.connect(b'r'));
    server.wait_for("slow boot");
    let log = stop(server);
    assert!(log.iter().any(|line| line.contains(&format!("Worker exiting (pid: {worker})"))));
}

#[test]
fn during_back_off() {
    let (mut server, worker) = Server::serving(&[]);
    server.write_file("boot");
    kill(worker, Signal::SIGKILL).unwrap();
    server.wait_for("ended too soon after its start");
    stop(server);
}

#[test]
fn while_a_worker_hangs() {
    let mut server = Server::start(1);
    let _request = server.connect(b'h');
    server.wait_for("WORKER TIMEOUT");
    stop(server);
}

#[test]
fn while_an_address_is_in_use() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
        let mut server = Server::launch(&address, 1, "good");
        server.wait_for("Connection in use");
        server.signal(signal);
        let log = server.all_lines();
        assert_eq!(server.code(), Some(0));
        assert!(!log.iter().any(|line| line.contains("Can't connect")), "{log:#?}");
        assert!(log.iter().any(|line| line.contains("Shutting down: Master")), "{log:#?}");
    }
}
