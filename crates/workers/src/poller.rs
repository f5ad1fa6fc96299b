//! Which descriptors can go on: epoll(7), level-triggered.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollTimeout;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Says which descriptor an event is about; the caller's own number.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Token(pub(crate) u64);

/// What to wait for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Interest {
    /// Bytes, or the end of them.
    Read,
    /// As `Read`, for a descriptor that several processes wait for: one of them is woken, not all.
    /// The kernel lets such an entry be added and deleted, but not modified.
    ReadExclusive,
    /// Room for more bytes.
    Write,
}

impl Interest {
    fn flags(self) -> EpollFlags {
        match self {
            Self::Read => EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP,
            Self::ReadExclusive => EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE,
            Self::Write => EpollFlags::EPOLLOUT,
        }
    }
}

/// One epoll instance.
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: Epoll,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll })
    }

    pub(crate) fn add(&self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(interest.flags(), token.0))?)
    }

    pub(crate) fn modify(&self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        let mut event = EpollEvent::new(interest.flags(), token.0);
        Ok(self.epoll.modify(fd, &mut event)?)
    }

    /// Must come before the descriptor is closed: where an application's child process holds a
    /// copy of it, a closed descriptor would go on firing and could no longer be deleted.
    pub(crate) fn delete(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(fd)?)
    }

    /// Waits at most this long, `None` for ever, and fills `events`; an interrupted wait is an
    /// empty one.
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        (events.filled, events.taken) = (0, 0);
        match self.epoll.wait(&mut events.buffer, epoll_timeout(timeout)) {
            Ok(filled) => events.filled = filled,
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// `None` is for ever.
fn epoll_timeout(timeout: Option<Duration>) -> EpollTimeout {
    timeout.map_or(EpollTimeout::NONE, |timeout| {
        EpollTimeout::try_from(milliseconds(timeout)).unwrap_or(EpollTimeout::MAX)
    })
}

/// The same for poll(2).
pub(crate) fn poll_timeout(timeout: Option<Duration>) -> PollTimeout {
    timeout.map_or(PollTimeout::NONE, |timeout| {
        PollTimeout::try_from(milliseconds(timeout)).unwrap_or(PollTimeout::MAX)
    })
}

/// Rounds up, so that a deadline has passed when the wait for it is over.
fn milliseconds(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

/// The tokens of one wait.
#[derive(Debug)]
pub(crate) struct Events {
    buffer: Vec<EpollEvent>,
    /// `0 <= filled <= buffer.len()`
    filled: usize,
    /// `0 <= taken <= filled`
    taken: usize,
}

impl Events {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { buffer: vec![EpollEvent::empty(); capacity], filled: 0, taken: 0 }
    }

    /// More descriptors may be ready than these.
    pub(crate) fn is_full(&self) -> bool {
        self.filled == self.buffer.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.taken == self.filled
    }

    /// Takes the next one.
    pub(crate) fn next(&mut self) -> Option<Token> {
        let event = self.buffer.get(..self.filled)?.get(self.taken)?;
        self.taken += 1;
        Some(Token(event.data()))
    }
}

/// An epoll instance is readable while one of its descriptors can go on.
impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn tells_which_descriptor_is_readable() {
        let poller = Poller::new().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        poller.add(&ours, Token(7), Interest::Read).unwrap();
        let mut events = Events::with_capacity(4);
        poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events.next(), None);
        theirs.write_all(b"x").unwrap();
        poller.wait(&mut events, None).unwrap();
        assert_eq!(events.next(), Some(Token(7)));
        assert_eq!(events.next(), None);
        poller.delete(&ours).unwrap();
        poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events.next(), None);
    }

    #[test]
    fn rounds_timeouts_up() {
        for (nanoseconds, milliseconds) in [(0, 0_u16), (1, 1), (1_000_000, 1), (1_000_001, 2)] {
            let timeout = epoll_timeout(Some(Duration::from_nanos(nanoseconds)));
            assert_eq!(timeout, EpollTimeout::from(milliseconds), "{nanoseconds}");
        }
        assert_eq!(epoll_timeout(None), EpollTimeout::NONE);
        assert_eq!(epoll_timeout(Some(Duration::MAX)), EpollTimeout::MAX);
    }
}
