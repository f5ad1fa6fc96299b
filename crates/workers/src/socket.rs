//! A client's socket, as two may hold it: whoever has the connection, and the reactor.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::poller::{Interest, Poller, Token};
use crate::stream::Stream;

/// A stream and what the poller waits for on it.
///
/// While a handler has the connection, the reactor may see its socket fire: with a hang-up, or with
/// the next request. It must be able to silence it then, without the connection.
#[derive(Debug)]
pub(crate) struct Socket {
    poller: Arc<Poller>,
    /// `Interest` in a number, 0 for none.
    registered: AtomicU8,
    stream: Stream,
    token: Token,
}

impl Socket {
    pub(crate) fn new(stream: Stream, token: Token, poller: Arc<Poller>) -> Self {
        Self { poller, registered: AtomicU8::new(0), stream, token }
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Whether the client has reset its connection, or closed its side.
    pub(crate) fn is_gone(&self) -> bool {
        let closed = PollFlags::from_bits_retain(nix::libc::POLLRDHUP);
        let mut fds = [PollFd::new(self.stream.as_fd(), closed)];
        // An interrupted look has seen nothing.
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }

    pub(crate) fn is_registered(&self) -> bool {
        self.registered.load(Ordering::SeqCst) != 0
    }

    /// Tells the poller what to wait for; nothing when it waits for that already. Only the leader
    /// may, so that two never change it at once.
    pub(crate) fn wait_for(&self, interest: Interest) -> io::Result<()> {
        let (wanted, registered) = (number(interest), self.registered.load(Ordering::SeqCst));
        if registered == wanted {
            return Ok(());
        }
        if registered == 0 {
            self.poller.add(&self.stream, self.token, interest)?;
        } else {
            self.poller.modify(&self.stream, self.token, interest)?;
        }
        self.registered.store(wanted, Ordering::SeqCst);
        Ok(())
    }

    /// The poller forgets the socket: an entry that waits for nothing would still report hang-ups.
    pub(crate) fn silence(&self) {
        if self.registered.swap(0, Ordering::SeqCst) != 0 {
            if let Err(error) = self.poller.delete(&self.stream) {
                log::debug!("cannot forget a connection: {error}");
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.silence();
    }
}

fn number(interest: Interest) -> u8 {
    match interest {
        Interest::Read => 1,
        Interest::ReadExclusive => 2,
        Interest::Write => 3,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;
    use crate::poller::Events;

    fn next(poller: &Poller) -> Option<Token> {
        let mut events = Events::with_capacity(4);
        poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
        events.next()
    }

    #[test]
    fn is_silent_before_it_closes_though_others_hold_it() {
        let poller = Arc::new(Poller::new().unwrap());
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        // As a sibling has one, or a child process of the application.
        let copy = ours.as_fd().try_clone_to_owned().unwrap();
        let socket = Socket::new(Stream::Unix(ours), Token(7), Arc::clone(&poller));
        assert!(!socket.is_registered());
        socket.wait_for(Interest::Read).unwrap();
        assert!(socket.is_registered());
        theirs.write_all(b"x").unwrap();
        assert_eq!(next(&poller), Some(Token(7)));
        socket.silence();
        socket.silence();
        assert_eq!((socket.is_registered(), next(&poller)), (false, None));
        socket.wait_for(Interest::Read).unwrap();
        socket.wait_for(Interest::Write).unwrap();
        assert_eq!(next(&poller), Some(Token(7)));
        drop(socket);
        drop(theirs);
        assert_eq!(next(&poller), None);
        drop(copy);
    }
}
