//! What workers leave for each other: connections in the mailbox, numbers in the shared page.

use std::io::Read;
use std::net::{Shutdown, TcpStream};

use nix::sys::signal::{Signal, kill};

use crate::server::{Server, answer, text, wait_until};

/// The answer to a connection that was left and taken: who left it, and who took it.
fn both(mut left: TcpStream) -> (String, String) {
    left.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    left.read_to_string(&mut answer).unwrap();
    let (sender, taker) = answer.split_once(' ').unwrap();
    (sender.to_owned(), taker.to_owned())
}

#[test]
fn a_connection_outlives_the_worker_that_left_it() {
    let mut server = Server::start(1);
    let first = server.ask();
    let left = server.connect(b'm');
    // Answered only after that connection was left, as the worker serves one after the other.
    assert_eq!(server.ask(), first);
    kill(first, Signal::SIGKILL).unwrap();
    server.wait_for("Booting worker");
    let second = answer(server.connect(b'c'));
    assert_eq!(both(left), (first.to_string(), second.to_string()));
}

#[test]
fn a_connection_outlives_a_reload() {
    let mut server = Server::start(1);
    let first = server.ask();
    let left = server.connect(b'm');
    assert_eq!(server.ask(), first);
    server.signal(Signal::SIGHUP);
    server.wait_for(&format!("Worker exiting (pid: {first})"));
    let second = answer(server.connect(b'c'));
    assert_eq!(both(left), (first.to_string(), second.to_string()));
}

#[test]
fn workers_see_each_others_words() {
    let mut server = Server::start(2);
    for count in 1..=20 {
        assert_eq!(text(server.connect(b'n')), count.to_string());
    }
    // What a worker wrote ends with it, and the others' stays.
    let dead = server.ask();
    kill(dead, Signal::SIGKILL).unwrap();
    server.wait_for(&format!("child_exit of {dead} by SIGKILL, which had counted "));
    server.wait_for(&format!("Worker (pid:{dead}) was sent SIGKILL!"));
    let rest = wait_until("an answer", || text(server.connect(b'n')).parse::<u32>().ok());
    assert!(rest <= 21, "{rest}");
    assert_eq!(text(server.connect(b'n')), (rest + 1).to_string());
}
