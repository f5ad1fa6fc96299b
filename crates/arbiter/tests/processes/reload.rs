//! Reloads: the new generation takes over while clients come and go.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::{Signal, kill};

use crate::server::{PATIENCE, Server, answer, connect, text, wait_until};

#[test]
fn clients_do_not_notice_a_reload() {
    // Who still boots when the reload begins need not come, and whoever takes his place is needed
    // at once: the number of processes is promised to those who have settled.
    let mut server = Server::settled(4);
    let address = server.address();
    let (begun, is_over) = (Barrier::new(5), AtomicBool::new(false));
    let clients = thread::scope(|scope| {
        // Also when a line is waited for in vain.
        let over = End(&is_over);
        let ask = || ask_until(&is_over, &begun, &address);
        let clients = [(); 4].map(|()| scope.spawn(ask));
        begun.wait();
        for _ in 0..2 {
            server.signal(Signal::SIGHUP);
            server.wait_for("Hang up: Master");
            server.wait_for("Reload completed.");
        }
        drop(over);
        clients.map(|client| client.join().unwrap())
    });
    server.signal(Signal::SIGTERM);
    let log = server.all_lines();
    for answered in clients {
        answered.unwrap();
    }
    assert_eq!(log.iter().filter(|line| line.contains("Booting worker")).count(), 12);
    // One beyond the wanted number at the most.
    assert_eq!(server.most_workers(), Some(5));
    assert_eq!(server.code(), Some(0));
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks once, meets the others, and goes on, each time on a connection of its own.
///
/// # Errors
/// What happened to the first request that was not answered.
fn ask_until(is_over: &AtomicBool, begun: &Barrier, address: &str) -> Result<(), String> {
    let first = ask_once(address);
    begun.wait();
    first?;
    let mut answers = 1;
    while !is_over.load(Ordering::Relaxed) {
        ask_once(address).map_err(|lost| format!("after {answers} answers {lost}"))?;
        answers += 1;
    }
    Ok(())
}

fn ask_once(address: &str) -> Result<(), String> {
    let mut stream =
        TcpStream::connect(address).map_err(|error| format!("no connection: {error}"))?;
    let client = stream.local_addr().unwrap();
    let mut answer = String::new();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = stream
        .write_all(b"p")
        .and_then(|()| stream.shutdown(Shutdown::Write))
        .and_then(|()| stream.read_to_string(&mut answer));
    match (told, answer.parse::<u32>()) {
        (Ok(_), Ok(_)) => Ok(()),
        (told, _) => Err(format!("{client} got {answer:?}, and then {told:?}")),
    }
}

#[test]
fn ttin_counts_during_a_reload() {
    let mut server = Server::start(1);
    server.reload("slow");
    server.wait_for("slow boot");
    server.signal(Signal::SIGTTIN);
    server.wait_for("slow boot");
    server.reload("good");
    server.wait_for("Reload begins anew.");
    server.wait_for("Reload completed.");
    // As many as the configuration says.
    server.wait_for("1 workers");
    server.ask();
}

#[test]
fn hang_up_replaces_all_workers() {
    let mut server = Server::start(2);
    let request = server.connect(b'w');
    let old = server.wait_for("waiting");
    server.signal(Signal::SIGHUP);
    server.wait_for("Hang up: Master");
    server.wait_for("Booting worker");
    // Who is busy serves on, and others do as well.
    let other = server.ask().to_string();
    let busy = answer(request).to_string();
    assert!(old.contains(&busy) && busy != other);
    server.wait_for(&format!("Worker exiting (pid: {busy})"));
    server.wait_for("Reload completed.");
    assert_ne!(server.ask().to_string(), busy);
}

#[test]
fn a_reload_that_does_not_boot_is_abandoned() {
    let (mut server, worker) = Server::serving(&[]);
    for words in ["boot", "app", "panic"] {
        server.reload(words);
        server.wait_for("Reload abandoned: the new worker");
        assert_eq!(server.ask(), worker);
    }
    // Its successor is made of what was there before.
    server.write_file("good");
    kill(worker, Signal::SIGKILL).unwrap();
    server.wait_for("1 workers");
    let worker = server.ask();
    assert_eq!(text(server.connect(b'l')), "0");
    server.reload("good unix:");
    server
        .wait_for("Reload abandoned: the configuration cannot be read anew: 'unix:' has no valid");
    assert_eq!(server.ask(), worker);
    server.reload("good");
    server.wait_for(&format!("Worker exiting (pid: {worker})"));
    assert_ne!(server.ask(), worker);
}

#[test]
fn a_reload_that_never_boots_is_superseded() {
    let (mut server, worker) = Server::serving(&[]);
    server.reload("slow");
    server.wait_for("slow boot");
    assert_eq!(server.ask(), worker);
    server.reload("good");
    server.wait_for("Reload begins anew.");
    server.wait_for(&format!("Worker exiting (pid: {worker})"));
    assert_ne!(server.ask(), worker);
}

#[test]
fn a_reload_moves_to_another_address() {
    let mut server = Server::start(1);
    let (old, worker) = (server.address(), server.ask());
    // One that cannot be bound changes nothing.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    server.reload(&format!("good {}", taken.local_addr().unwrap()));
    server.wait_for("Reload abandoned: cannot listen at 127.0.0.1");
    assert_eq!(server.ask(), worker);
    kill(worker, Signal::SIGKILL).unwrap();
    server.wait_for("Booting worker");
    let worker = server.ask();
    assert_eq!(text(server.connect(b'l')), "0");
    // Nor does one that is bound, when the workers do not boot.
    server.reload("boot 127.0.0.2:0");
    server.wait_for("Listening at: http://127.0.0.2:");
    let refused = server.address();
    server.wait_for("Reload abandoned");
    wait_until("the new address is closed", || TcpStream::connect(&refused).err());
    assert_eq!(answer(connect(&old, b'p')), worker);
    server.reload("good 127.0.0.2:0");
    server.wait_for("Listening at: http://127.0.0.2:");
    server.wait_for(&format!("Worker exiting (pid: {worker})"));
    assert_ne!(server.ask(), worker);
    wait_until("the old address is closed", || TcpStream::connect(&old).err());
}
