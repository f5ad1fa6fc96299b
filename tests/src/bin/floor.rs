//! The floor of the benchmark: the least that an HTTP server on Linux can do.
//!
//! One thread, one epoll(7), one recv(2) and one send(2) for a request. It parses heads, because
//! every server must, and its answer is a constant. What another server costs beyond that is the
//! price of what it does. It answers `tests/bench` and nobody else: it takes it that a head arrives
//! whole and that no body follows.
//!
//! ```text
//! floor PORT
//! ```

use std::error::Error;
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use httparse::{Request, Status};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::sockopt::TcpNoDelay;
use nix::sys::socket::{MsgFlags, recv, send, setsockopt};

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).ok_or("usage: floor PORT")?.parse()?;
    Floor::bind(port)?.run()?;
    Ok(())
}

struct Floor {
    /// One connection at the index of its descriptor, which the kernel keeps small.
    connections: Vec<Option<TcpStream>>,
    epoll: Epoll,
    input: Box<[u8]>,
    listener: TcpListener,
    output: Vec<u8>,
}

impl Floor {
    fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        // Accepted connections inherit it, which saves each of them a system call.
        setsockopt(&listener, TcpNoDelay, &true)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        Ok(Self {
            connections: Vec::new(),
            epoll,
            input: vec![0; BUFFER_BYTES].into_boxed_slice(),
            listener,
            output: Vec::with_capacity(BUFFER_BYTES),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); 256];
        loop {
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Err(Errno::EINTR) => 0,
                waited => waited?,
            };
            for event in events.iter().take(count) {
                if event.data() == LISTENER {
                    self.accept()?;
                } else {
                    self.answer(usize::try_from(event.data()).unwrap_or(usize::MAX));
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let index = usize::try_from(stream.as_raw_fd()).unwrap_or_default();
            if self.connections.len() <= index {
                self.connections.resize_with(index + 1, || None);
            }
            let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP;
            self.epoll.add(&stream, EpollEvent::new(interest, index as u64))?;
            if let Some(place) = self.connections.get_mut(index) {
                *place = Some(stream);
            }
        }
    }

    /// Answers what has arrived; closes the connection when either side wants that.
    fn answer(&mut self, index: usize) {
        let Some(place) = self.connections.get_mut(index) else { return };
        let Some(stream) = place else { return };
        // The flag, not the socket's mode, keeps it from waiting: that costs no system call.
        let count = match recv(stream.as_raw_fd(), &mut self.input, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN) => return,
            received => received.unwrap_or(0),
        };
        self.output.clear();
        let reusable = respond(self.input.get(..count).unwrap_or_default(), &mut self.output);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let sent = self.output.is_empty() || send(stream.as_raw_fd(), &self.output, flags).is_ok();
        if !reusable || !sent {
            *place = None;
        }
    }
}

/// Writes one response for each request; `false` when the connection is to be closed.
fn respond(mut input: &[u8], output: &mut Vec<u8>) -> bool {
    if input.is_empty() {
        return false;
    }
    while !input.is_empty() {
        let mut headers = [const { MaybeUninit::uninit() }; 100];
        let mut request = Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(input, &mut headers);
        let Ok(Status::Complete(length)) = parsed else { return false };
        input = input.get(length..).unwrap_or_default();
        let closes = request.headers.iter().any(|header| {
            header.name.eq_ignore_ascii_case("connection")
                && header.value.eq_ignore_ascii_case(b"close")
        });
        output.extend_from_slice(if closes { CLOSING } else { LASTING });
        if closes {
            return false;
        }
    }
    true
}

/// The listener's token; a connection's is its descriptor.
const LISTENER: u64 = u64::MAX;

const BUFFER_BYTES: usize = 64 << 10;

/// The fields that every server sends, and the hello of the benchmark's application.
const LASTING: &[u8] = b"HTTP/1.1 200 OK\r\nServer: floor\r\n\
    Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: keep-alive\r\n\
    Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!";

const CLOSING: &[u8] = b"HTTP/1.1 200 OK\r\nServer: floor\r\n\
    Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\n\
    Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_each_request_until_one_that_closes() {
        let cases: [(&[u8], bool, usize); 5] = [
            (b"", false, 0),
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", true, 1),
            (b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", true, 2),
            (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n\r\n", false, 1),
            (b"not HTTP\r\n\r\n", false, 0),
        ];
        for (input, reusable, responses) in cases {
            let mut output = Vec::new();
            assert_eq!(respond(input, &mut output), reusable, "{}", input.escape_ascii());
            let written = output.windows(13).filter(|part| part == b"Hello, World!").count();
            assert_eq!(written, responses, "{}", input.escape_ascii());
        }
    }
}
