//! Many slow clients, moved on by one thread.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::wait::DEADLINE;

/// Clients that all do the same, very slowly: a little at each [`step`](Self::step).
///
/// ```no_run
/// use rgunicorn_tests::{Crowd, Server};
///
/// let server = Server::start(&[], "def app(environ, start_response): …");
/// let request = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
/// let mut crowd = Crowd::of_senders(server.address(), 500, request, 0);
/// for _ in 0..5 {
///     crowd.step();
/// }
/// assert!(crowd.finish().iter().all(|response| response.starts_with(b"HTTP/1.1 200 ")));
/// ```
#[derive(Debug)]
pub struct Crowd {
    /// What they have received so far.
    received: Vec<Vec<u8>>,
    request: Vec<u8>,
    /// How much of the request each of them has sent.
    sent: usize,
    /// Bytes that each of them reads in a step.
    step_bytes: usize,
    streams: Vec<TcpStream>,
}

impl Crowd {
    /// Clients that send the start of a request at once, and then a byte at each step. The request
    /// must ask the server to close the connection.
    pub fn of_senders(address: SocketAddr, count: usize, request: &str, start: usize) -> Self {
        Self::join(address, count, request, start, 0)
    }

    /// Clients that send their request at once, and then read so many bytes at each step.
    pub fn of_readers(address: SocketAddr, count: usize, request: &str, step_bytes: usize) -> Self {
        Self::join(address, count, request, request.len(), step_bytes)
    }

    fn join(
        address: SocketAddr,
        count: usize,
        request: &str,
        sent: usize,
        step_bytes: usize,
    ) -> Self {
        let request = request.as_bytes().to_vec();
        let streams = (0..count).map(|_| {
            let mut stream = TcpStream::connect(address).expect("the server accepts connections");
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            stream.write_all(&request[..sent]).expect("the server reads");
            stream
        });
        let streams: Vec<TcpStream> = streams.collect();
        let received = vec![Vec::new(); count];
        Self { received, request, sent, step_bytes, streams }
    }

    /// Each of them does its little.
    pub fn step(&mut self) {
        if let Some(byte) = self.request.get(self.sent) {
            for stream in &mut self.streams {
                stream.write_all(&[*byte]).expect("the server reads");
            }
            self.sent += 1;
        }
        if self.step_bytes > 0 {
            for (stream, received) in self.streams.iter_mut().zip(&mut self.received) {
                stream.set_nonblocking(true).unwrap();
                let read = stream.take(self.step_bytes as u64).read_to_end(received);
                assert!(
                    matches!(&read, Err(error) if error.kind() == ErrorKind::WouldBlock)
                        || matches!(&read, Ok(length) if *length == self.step_bytes),
                    "the response ended after {} bytes: {read:?}",
                    received.len()
                );
                stream.set_nonblocking(false).unwrap();
            }
        }
    }

    /// All of them hurry: they send the rest and read to the end. Returns what each has received.
    pub fn finish(mut self) -> Vec<Vec<u8>> {
        for stream in &mut self.streams {
            stream.write_all(&self.request[self.sent..]).expect("the server reads");
        }
        for (stream, received) in self.streams.iter_mut().zip(&mut self.received) {
            stream.read_to_end(received).expect("the server answers and closes");
        }
        self.received
    }
}
