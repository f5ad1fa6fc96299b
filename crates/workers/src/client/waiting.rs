//! Where a handler waits for its client.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};

use super::{Client, Inner};
use crate::poller::poll_timeout;

/// What a client has to do before its handler can go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Awaited {
    /// Send more of its body.
    Bytes,
    /// Take more of its response.
    Room,
}

impl Client {
    /// Blocks until the operation that last would have blocked can go on.
    ///
    /// # Errors
    /// `TimedOut`: the reader took nothing for `write_timeout`, or sent nothing of its body for
    /// `body_timeout`, or the request has taken too long. `Interrupted`: a signal arrived, whose
    /// handler may want to run before the next wait. Others: the client is gone.
    pub fn wait(&mut self) -> io::Result<()> {
        let inner = &mut *self.inner;
        let started = Instant::now();
        let options = &inner.context.options;
        let patience = match (inner.awaited, &inner.incoming) {
            (Awaited::Bytes, Some(incoming)) => {
                incoming.patience(options.body_timeout, inner.body_bytes)
            }
            _ => options.write_timeout,
        };
        let waited = inner.wait_until(started + patience);
        if let (Awaited::Bytes, Some(incoming)) = (inner.awaited, &mut inner.incoming) {
            incoming.waited += started.elapsed();
        }
        waited
    }
}

impl Inner {
    fn wait_until(&mut self, deadline: Instant) -> io::Result<()> {
        loop {
            self.check_time()?;
            self.context.beat();
            let remaining = deadline.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                return Err(self.out_of_patience());
            }
            let wanted = match self.awaited {
                Awaited::Bytes if self.output.is_empty() => PollFlags::POLLIN,
                // The client may want to read this before it sends more.
                Awaited::Bytes => PollFlags::POLLIN | PollFlags::POLLOUT,
                Awaited::Room => PollFlags::POLLOUT,
            };
            let mut fds = [PollFd::new(self.socket.stream().as_fd(), wanted)];
            let ready = poll(&mut fds, poll_timeout(Some(remaining.min(BEAT_INTERVAL))))?;
            let [fd] = fds;
            let is_room = fd.revents() == Some(PollFlags::POLLOUT);
            match self.awaited {
                _ if ready == 0 => {}
                Awaited::Bytes if is_room => self.flush()?,
                Awaited::Bytes | Awaited::Room => return Ok(()),
            }
        }
    }

    fn out_of_patience(&mut self) -> io::Error {
        match self.awaited {
            Awaited::Bytes => {
                let cause = "the client sends its body too slowly";
                self.give_up_body(408, io::ErrorKind::TimedOut, cause)
            }
            Awaited::Room => io::ErrorKind::TimedOut.into(),
        }
    }
}

/// A worker that waits for a reader is alive, and says so this often.
const BEAT_INTERVAL: Duration = Duration::from_millis(500);
