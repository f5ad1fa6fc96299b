//! A body that the handler reads while the client sends it.

use std::error::Error;
use std::io::{self, Read};
use std::time::Duration;

use rgunicorn_http1::{Event, ProtocolError};

use super::{Awaited, Inner};

/// How such a body has come so far.
#[derive(Debug)]
pub(super) struct Incoming {
    /// Its length, as the head announced it; `None`: it comes in chunks.
    pub(super) announced: Option<u64>,
    /// Why it cannot be read on: the status of the answer, unless the handler has one of its own.
    pub(super) fault: Option<u16>,
    /// How long the handler has waited for the client.
    pub(super) waited: Duration,
}

impl Incoming {
    pub(super) fn new(announced: Option<u64>) -> Self {
        Self { announced, fault: None, waited: Duration::ZERO }
    }

    /// How much longer a client may be silent that has sent `received` bytes of the body. A silence
    /// of `longest` is forgiven once: a client that sends next to nothing each time would keep the
    /// handler for ever.
    pub(super) fn patience(&self, longest: Duration, received: u64) -> Duration {
        let earned = Duration::from_secs(received / LOWEST_RATE);
        longest.min(longest.saturating_add(earned).saturating_sub(self.waited))
    }
}

impl Inner {
    /// Reads what has arrived, past the protocol where that allows it: then the bytes are copied
    /// once.
    pub(super) fn read_incoming(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.body_fault().is_some() {
            return Err(io::Error::other("the rest of the body cannot be read"));
        }
        while self.body.remaining() == 0 && !buffer.is_empty() {
            let direct = usize::try_from(self.http.body_remaining()).unwrap_or(usize::MAX);
            if direct > 0 {
                let space = direct.min(buffer.len());
                let count = self.receive(buffer.get_mut(..space).unwrap_or_default())?;
                if count > 0 {
                    self.http.receive_body(count as u64);
                    self.count_body(count)?;
                    return Ok(count);
                }
            }
            match self.http.next_event() {
                Ok(Event::Data(data)) => {
                    self.count_body(data.len())?;
                    self.body = data.into();
                }
                Ok(Event::NeedData) => self.receive_piece()?,
                Ok(_) => return Ok(0),
                Err(error) => return Err(self.malformed(error)),
            }
        }
        self.body.read(buffer)
    }

    pub(super) fn body_fault(&self) -> Option<u16> {
        self.incoming.as_ref()?.fault
    }

    /// Reads the end of a body that its handler did not care for, if that is here: the next request
    /// comes behind it.
    pub(super) fn skip_incoming(&mut self) {
        for _ in 0..LAST_READS {
            match self.http.next_event() {
                Ok(Event::Data(_)) => {}
                Ok(Event::NeedData) if self.receive_piece().is_ok() => {}
                _ => return,
            }
        }
    }

    /// Notes that nothing more of the body will be read, and why.
    pub(super) fn give_up_body(
        &mut self,
        status: u16,
        kind: io::ErrorKind,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> io::Error {
        self.http.close_after_response();
        if let Some(incoming) = &mut self.incoming {
            incoming.fault = Some(status);
        }
        io::Error::new(kind, cause)
    }

    fn malformed(&mut self, error: ProtocolError) -> io::Error {
        if error == ProtocolError::UnexpectedEof {
            return self.give_up_body(error.status(), io::ErrorKind::ConnectionReset, error);
        }
        self.tell_of_invalid_request(&error);
        self.give_up_body(error.status(), io::ErrorKind::InvalidData, error)
    }

    fn count_body(&mut self, count: usize) -> io::Result<()> {
        self.body_bytes += count as u64;
        if let Some(limit) = self.context.options.exceeded_body_limit(self.body_bytes) {
            let cause = format!("the body is larger than {limit} bytes");
            return Err(self.give_up_body(413, io::ErrorKind::InvalidData, cause));
        }
        Ok(())
    }

    fn receive_piece(&mut self) -> io::Result<()> {
        let mut piece = [0; PIECE_BYTES];
        let count = self.receive(&mut piece)?;
        self.http.receive_data(piece.get(..count).unwrap_or_default());
        Ok(())
    }

    /// One read(2), and a word to a client that waits for it (RFC 9110 §10.1.1).
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.socket.stream().read(buffer) {
            Ok(0) => {
                self.http.receive_eof();
                Ok(0)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.awaited = Awaited::Bytes;
                self.send_continue()?;
                Err(error)
            }
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                Err(self.give_up_body(400, error.kind(), error))
            }
            received => received,
        }
    }
}

/// Bytes a second below which a client has no right to a thread of the application's: a tenth of
/// the slowest connections that people still use.
const LOWEST_RATE: u64 = 500;

/// The protocol is fed in pieces of this size, which lie on the stack.
const PIECE_BYTES: usize = 16 << 10;

/// Steps towards the end of a body that nobody wants; beyond, closing the connection is cheaper.
const LAST_READS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(30);

    fn after(waited: u64) -> Incoming {
        Incoming { waited: Duration::from_secs(waited), ..Incoming::new(None) }
    }

    #[test]
    fn a_client_that_sends_next_to_nothing_uses_up_its_time() {
        assert_eq!(after(0).patience(LONGEST, 0), LONGEST);
        assert_eq!(after(29).patience(LONGEST, 1), Duration::from_secs(1));
        assert_eq!(after(30).patience(LONGEST, 2), Duration::ZERO);
        assert_eq!(after(31).patience(LONGEST, 3), Duration::ZERO);
    }

    #[test]
    fn a_slow_client_is_waited_for_and_no_silence_is_longer_than_the_longest() {
        assert_eq!(after(1000).patience(LONGEST, 1000 * LOWEST_RATE), LONGEST);
        assert_eq!(after(1000).patience(LONGEST, 990 * LOWEST_RATE), Duration::from_secs(20));
        assert_eq!(after(1).patience(LONGEST, u64::MAX), LONGEST);
    }
}
