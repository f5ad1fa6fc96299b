//! Bodies that come piece by piece: quick ones leave together, and none waits for the next.

#![expect(clippy::unwrap_used, reason = "helpers fail their test by panicking, as tests do")]

use std::fs;
use std::thread;

use rgunicorn_tests::{Client, Server, eventually};

const APP: &str = "
import os, time

def app(environ, start_response):
    start_response('200 OK', [])
    return globals()[environ['PATH_INFO'][1:]](environ['QUERY_STRING'])

def wait_for(name):
    limit = time.monotonic() + 60
    while not os.path.exists(name) and time.monotonic() < limit:
        time.sleep(0.001)

def steps(name):
    for step in range(3):
        yield b'step %d\\n' % step
        wait_for(f'{name}{step}')

def count(text):
    for number in range(int(text)):
        yield b'%099d\\n' % number
    open('counted', 'w').close()

def busy(name):
    open(name, 'w').close()
    wait_for('end')
    return [b'busy']
";

const THREADS: [&str; 4] = ["-k", "gthread", "--threads", "2"];

fn send(client: &mut Client, target: &str) {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
}

/// Lets the application go on with each piece only when the one before it is here.
fn walk(server: &Server, client: &mut Client, name: &str) {
    send(client, &format!("/steps?{name}"));
    assert_eq!(client.receive_head().status, 200);
    for step in 0..3 {
        assert_eq!(client.receive_bytes(12), format!("7\r\nstep {step}\n\r\n").as_bytes());
        fs::write(server.path(&format!("{name}{step}")), "").unwrap();
    }
    assert_eq!(client.receive_bytes(5), b"0\r\n\r\n");
}

/// Lines of a hundred bytes.
fn numbers(count: usize) -> String {
    (0..count).fold(String::new(), |text, number| text + &format!("{number:099}\n"))
}

#[test]
fn a_piece_is_on_its_way_while_the_next_is_made() {
    for kind in [&[][..], &THREADS] {
        let server = Server::start(kind, APP);
        let mut client = server.connect();
        for name in ["a", "b"] {
            walk(&server, &mut client, name);
        }
    }
}

/// The monitor has looked after those who wait, and rests longer between two looks.
#[test]
fn nor_does_it_wait_when_all_threads_have_been_busy() {
    let server = Server::start(&THREADS, APP);
    let (mut first, mut second, mut third) = (server.connect(), server.connect(), server.connect());
    send(&mut first, "/busy?first");
    send(&mut second, "/steps?second");
    eventually("both threads' calls", || server.path("first").exists().then_some(()));
    assert_eq!(second.receive_head().status, 200);
    send(&mut third, "/steps?third");
    thread::sleep(std::time::Duration::from_millis(50));
    // The second thread takes up who waits.
    for step in 0..3 {
        fs::write(server.path(&format!("second{step}")), "").unwrap();
    }
    assert_eq!(third.receive_head().status, 200);
    for step in 0..3 {
        assert_eq!(third.receive_bytes(12), format!("7\r\nstep {step}\n\r\n").as_bytes());
        fs::write(server.path(&format!("third{step}")), "").unwrap();
    }
    fs::write(server.path("end"), "").unwrap();
    assert_eq!(first.receive().text(), "busy");
}

#[test]
fn many_small_pieces_wait_in_order_for_a_late_reader() {
    for kind in [&[][..], &THREADS] {
        let server = Server::start(kind, APP);
        let mut client = server.connect();
        // More than the sockets hold.
        send(&mut client, "/count?100000");
        eventually("all pieces", || server.path("counted").exists().then_some(()));
        assert!(client.receive().text() == numbers(100_000), "{kind:?}");
        send(&mut client, "/count?3");
        assert_eq!(client.receive().text(), numbers(3));
    }
}

#[test]
fn streams_of_several_threads_do_not_mix() {
    let server = Server::start(&["-k", "gthread", "--threads", "4"], APP);
    thread::scope(|scope| {
        for client in 0..4 {
            let server = &server;
            scope.spawn(move || {
                let mut connection = server.connect();
                for count in [1, 10, 100, 5000].map(|count| count + client) {
                    send(&mut connection, &format!("/count?{count}"));
                    assert!(connection.receive().text() == numbers(count), "{count}");
                }
            });
        }
    });
}
