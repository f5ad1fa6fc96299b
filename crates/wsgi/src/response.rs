//! How far a response has got.

use std::io;

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::Violation;
use crate::exchange::Exchange;
use crate::response_head::{HeadBuffer, HeadError};

/// The response of one request: its head, and what was sent so far.
#[derive(Debug, Default)]
pub(crate) struct Response {
    head: HeadBuffer,
    phase: Phase,
    /// The request's method was HEAD: the body is produced, but never sent (RFC 9110 §9.3.2).
    head_only: bool,
    /// The length of the body if head or list announced it.
    declared: Option<u64>,
    /// Bytes of the body given to the exchange; never above `declared`.
    sent: u64,
    /// The body was longer than declared.
    has_excess: bool,
    /// It may be, because it is a file of which a part is asked for.
    expects_excess: bool,
    /// What went wrong with the exchange and was shown to the application as an exception.
    failure: Option<io::Error>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// `start_response` was not called, or refused its arguments.
    #[default]
    Waiting,
    /// The head is known. PEP 3333 has it kept until the first non-empty piece of the body, so that
    /// an application that fails before can still answer otherwise.
    Started,
    /// The exchange has the head.
    Sent,
}

impl Response {
    /// Forgets the last request and keeps the memory.
    pub(crate) fn reset(&mut self, head_only: bool) {
        let head = std::mem::take(&mut self.head);
        *self = Self { head, head_only, ..Self::default() };
    }

    pub(crate) fn is_started(&self) -> bool {
        self.phase != Phase::Waiting
    }

    pub(crate) fn is_sent(&self) -> bool {
        self.phase == Phase::Sent
    }

    /// Takes status and headers, in place of earlier ones if there were any.
    pub(crate) fn start(
        &mut self,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyList>,
    ) -> Result<(), HeadError> {
        self.phase = Phase::Waiting;
        self.head.fill(status, headers)?;
        self.phase = Phase::Started;
        Ok(())
    }

    /// Gives the head to the exchange unless it has it; `length` is that of the whole body, if known.
    pub(crate) fn send_head(
        &mut self,
        exchange: &mut dyn Exchange,
        length: Option<u64>,
    ) -> Result<(), Fault> {
        match self.phase {
            Phase::Sent => return Ok(()),
            Phase::Waiting => return Err(Fault::Violation(Violation::NoStartResponse)),
            Phase::Started => {}
        }
        let announced = self.head.content_length();
        self.declared = announced.or(length);
        // A body of unknown length may be anything, but 1xx, 204 and 304 have none, and a length
        // would be wrong in the first two (RFC 9110 §8.6).
        let length = if announced.is_some() || self.forbids_body() { None } else { length };
        self.phase = Phase::Sent;
        self.head.view(length, |head| exchange.send_head(head)).map_err(Fault::Exchange)
    }

    /// What of this piece of the body may be sent, which is then counted as sent.
    pub(crate) fn admit<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        if self.is_bodiless() {
            return &[];
        }
        // More bytes would be taken for the next response on the connection.
        let allowed = self.left().and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX);
        let admitted = piece.get(..allowed).unwrap_or(piece);
        self.sent += admitted.len() as u64;
        if admitted.len() < piece.len() && !self.has_excess {
            self.has_excess = true;
            if !self.expects_excess {
                log::warn!(
                    "the application's body is longer than its Content-Length of {} bytes; the \
                     rest is dropped",
                    self.sent
                );
            }
        }
        admitted
    }

    /// Counts bytes of the body that the exchange took from a file.
    pub(crate) fn count(&mut self, taken: u64) {
        self.sent += taken;
    }

    /// The body bytes that are still to come, if that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        let declared = if self.is_sent() { self.declared } else { self.head.content_length() };
        declared.map(|declared| declared.saturating_sub(self.sent))
    }

    /// A body longer than declared is no mistake of the application's.
    pub(crate) fn expect_excess(&mut self) {
        self.expects_excess = true;
    }

    /// Whether the body was longer than declared, so that the rest of it is of no use.
    pub(crate) fn has_excess(&self) -> bool {
        self.has_excess
    }

    /// Remembers an error that the application sees as an exception.
    pub(crate) fn set_failure(&mut self, failure: io::Error) {
        self.failure = Some(failure);
    }

    pub(crate) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// Whether whatever the application returns as a body is not sent.
    pub(crate) fn is_bodiless(&self) -> bool {
        self.head_only || self.forbids_body()
    }

    /// The application has given the whole body.
    pub(crate) fn finish(&mut self, exchange: &mut dyn Exchange) -> Result<(), Fault> {
        if self.phase == Phase::Started && !self.is_bodiless() {
            if let Some(declared @ 1..) = self.head.content_length() {
                return Err(Fault::Violation(Violation::BodyMissing { declared }));
            }
        }
        // The length that an empty body would have had with GET is not known here.
        self.send_head(exchange, if self.head_only { None } else { Some(0) })?;
        match self.declared {
            Some(declared) if self.sent < declared && !self.is_bodiless() => {
                Err(Fault::Violation(Violation::BodyTooShort { declared, sent: self.sent }))
            }
            _ => Ok(()),
        }
    }

    /// 204 and 304 end with their head (RFC 9110 §6.4.1).
    fn forbids_body(&self) -> bool {
        matches!(self.head.status(), 204 | 304)
    }
}

/// Why a response cannot go on.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The response is complete, but `close()` raised.
    Close(PyErr),
    /// The exchange failed.
    Exchange(io::Error),
    /// The application raised.
    Raised(PyErr),
    /// The application broke a rule.
    Violation(Violation),
}

impl From<PyErr> for Fault {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}
