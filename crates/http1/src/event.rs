//! What was received.

use bytes::Bytes;

use crate::head::RequestHead;
use crate::trailer::Trailers;

/// The answer of [`Connection::next_event`](crate::Connection::next_event).
#[derive(Clone, Debug)]
pub enum Event {
    /// The peer will send no further request: it closed the connection between two, or before one
    /// was complete. This event repeats.
    Closed,
    /// A part of the body, never empty. How a body is cut into parts says nothing. It shares the
    /// buffer in which it was received: copy what is small and kept for long.
    Data(Bytes),
    /// The request is complete.
    EndOfMessage(Trailers),
    /// Read from the peer, then call [`receive_data`](crate::Connection::receive_data) or
    /// [`receive_eof`](crate::Connection::receive_eof).
    NeedData,
    /// The request is complete and its response is not, or
    /// [`start_next_cycle`](crate::Connection::start_next_cycle) was not called yet: nothing more
    /// is read until then, even if the next request has already arrived. This event repeats.
    Paused,
    /// A new request; its body follows.
    Request(RequestHead),
}
