//! Workers that ask to be replaced.

use nix::sys::signal::{Signal, kill};

use crate::server::{Server, answer};

#[test]
fn who_asks_to_retire_is_replaced() {
    let mut server = Server::start(2);
    let worker = answer(server.connect(b'r'));
    server.wait_for_pid(worker, "Autorestarting worker after current request.");
    server.wait_for(&format!("Worker (pid:{worker}) asks for a successor: max_requests"));
    let successor = server.wait_for("Booting worker");
    let end = server.wait_for_pid(worker, &format!("Worker exiting (pid: {worker})"));
    let place = |line: &str| server.log().iter().position(|logged| logged == line);
    assert!(place(&successor) < place(&end));
    server.wait_for("2 workers");
    assert_ne!(server.ask(), worker);
}

#[test]
fn who_asks_to_retire_stays_until_its_successor_boots() {
    let (mut server, worker) = Server::serving(&[]);
    server.write_file("boot");
    assert_eq!(answer(server.connect(b'r')), worker);
    server.wait_for("Exception in worker process");
    server.wait_for("ended too soon after its start; the next start is in 1 s.");
    // Asking again makes no difference.
    assert_eq!(answer(server.connect(b'r')), worker);
    server.wait_for("the next start is in 2 s.");
    assert_eq!(server.ask(), worker);
    server.write_file("good");
    server.wait_for_pid(worker, &format!("Worker exiting (pid: {worker})"));
    assert_ne!(server.ask(), worker);
    let asked = server.log().iter().filter(|line| line.contains("Autorestarting")).count();
    assert_eq!(asked, 1);
}

#[test]
fn who_dies_instead_of_retiring_is_replaced_once() {
    let (mut server, worker) = Server::serving(&[]);
    server.write_file("slow");
    assert_eq!(answer(server.connect(b'r')), worker);
    server.wait_for("slow boot");
    server.write_file("good");
    kill(worker, Signal::SIGKILL).unwrap();
    server.wait_for(&format!("Worker (pid:{worker}) was sent SIGKILL!"));
    server.wait_for("1 workers");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.code(), Some(0));
    let booted = server.all_lines().iter().filter(|line| line.contains("Booting")).count();
    assert_eq!(booted, 2);
}

#[test]
fn who_has_lived_its_time_is_replaced() {
    let (mut server, worker) = Server::serving(&["max_worker_lifetime=1"]);
    server.wait_for(&format!("Worker (pid:{worker}) is to be replaced: it has served for 1"));
    server.wait_for(&format!("Worker exiting (pid: {worker})"));
    assert_ne!(server.ask(), worker);
}

#[test]
fn who_is_too_large_from_the_start_stays() {
    let mut server = Server::with_options(&["127.0.0.1:0", "max_worker_memory=1000"]);
    let line = server.wait_for("from the start, and max_worker_memory is 0 MiB");
    assert!(line.starts_with("WARN"), "{line}");
    let worker = server.ask();
    assert!(line.contains(&format!("Worker (pid:{worker}) takes ")), "{line}");
}
