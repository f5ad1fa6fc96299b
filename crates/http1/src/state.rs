//! Where an exchange stands. As in h11, every transition is in one `match`, [`State::take`], and
//! nothing else changes a side from one state to another.

use crate::body::{BodyReader, BodyWriter};
use crate::error::{ProtocolError, SendError};
use crate::head::HeadReader;

/// What the peer may send next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Client {
    Body(BodyReader),
    Closed,
    /// The request is complete; the next one waits for the end of the exchange.
    Done,
    /// The peer broke the protocol: what follows cannot be understood.
    Failed(ProtocolError),
    Idle(HeadReader),
}

/// What we may send next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Server {
    Body(BodyWriter),
    /// The response is complete, and another one may follow on this connection.
    Done,
    /// No request, nothing to answer.
    Idle,
    /// The response is complete, and the connection with it.
    MustClose,
    /// A request waits for its response.
    Response,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// The peer closed the connection outside of a body.
    Eof,
    /// The peer broke the protocol.
    Failure(ProtocolError),
    /// The body of the request is complete.
    MessageEnd,
    /// The next request may be read.
    NextCycle,
    /// A head was received.
    Request(BodyReader),
    /// The head of the response was sent.
    Response(BodyWriter),
    /// The response is complete.
    ResponseEnd { reuse: bool },
    /// The request was put back, as if it had not been read.
    Unread,
}

/// Both sides of one exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    pub(crate) client: Client,
    pub(crate) server: Server,
}

impl State {
    /// Before any request.
    pub(crate) fn new() -> Self {
        Self { client: Client::Idle(HeadReader::default()), server: Server::Idle }
    }

    /// Takes a step.
    ///
    /// # Errors
    ///
    /// [`SendError::WrongState`] if it cannot be taken here; nothing has changed then.
    pub(crate) fn take(&mut self, step: Step) -> Result<(), SendError> {
        // In place: the readers inside are large, and moving both sides cost 40 ns a request.
        match (step, &self.client, &self.server) {
            (Step::Request(body), Client::Idle(_), Server::Idle) => {
                self.client = Client::Body(body);
                self.server = Server::Response;
            }
            (Step::MessageEnd, Client::Body(_), _) => self.client = Client::Done,
            (Step::Eof, Client::Idle(_), _) => self.client = Client::Closed,
            (Step::Failure(error), Client::Idle(_) | Client::Body(_), _) => {
                self.client = Client::Failed(error);
            }
            // An answer may come before the end of the request, and after a broken one.
            (Step::Response(body), _, Server::Response) => self.server = Server::Body(body),
            (Step::ResponseEnd { reuse: true }, _, Server::Body(_)) => self.server = Server::Done,
            (Step::ResponseEnd { reuse: false }, _, Server::Body(_)) => {
                self.server = Server::MustClose;
            }
            (Step::NextCycle, Client::Done, Server::Done)
            | (Step::Unread, Client::Body(_) | Client::Done, Server::Response) => {
                *self = Self::new();
            }
            (
                Step::Eof
                | Step::Failure(_)
                | Step::MessageEnd
                | Step::NextCycle
                | Step::Request(_)
                | Step::Response(_)
                | Step::ResponseEnd { .. }
                | Step::Unread,
                ..,
            ) => return Err(SendError::WrongState),
        }
        Ok(())
    }

    /// May another request follow on this connection, now?
    pub(crate) fn is_reusable(&self) -> bool {
        matches!(self, Self { client: Client::Done, server: Server::Done })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::Framing;

    const REQUEST: Step = Step::Request(BodyReader::Length(0));
    const RESPONSE_END: Step = Step::ResponseEnd { reuse: true };

    fn response() -> Step {
        Step::Response(BodyWriter::new(Framing::None))
    }

    /// The state after these steps, or the error of the first that cannot be taken.
    fn run(steps: &[Step]) -> Result<State, SendError> {
        let mut state = State::new();
        steps.iter().try_for_each(|&step| state.take(step))?;
        Ok(state)
    }

    #[test]
    fn an_exchange_in_order() {
        let mut state = run(&[REQUEST, Step::MessageEnd, response(), RESPONSE_END]).unwrap();
        assert!(state.is_reusable());
        state.take(Step::NextCycle).unwrap();
        assert!(matches!(state, State { client: Client::Idle(_), server: Server::Idle }));
    }

    #[test]
    fn an_answer_may_come_first() {
        let mut state = run(&[REQUEST, response(), RESPONSE_END]).unwrap();
        assert!(!state.is_reusable());
        state.take(Step::MessageEnd).unwrap();
        assert!(state.is_reusable());
    }

    #[test]
    fn a_broken_request_may_be_answered() {
        let failure = Step::Failure(ProtocolError::ChunkSize);
        let mut state = run(&[REQUEST, failure, response(), RESPONSE_END]).unwrap();
        assert!(!state.is_reusable());
        assert_eq!(state.take(Step::NextCycle), Err(SendError::WrongState));
    }

    #[test]
    fn a_request_may_be_put_back_until_its_response() {
        for steps in [&[REQUEST, Step::Unread][..], &[REQUEST, Step::MessageEnd, Step::Unread]] {
            let state = run(steps).unwrap();
            assert!(matches!(state, State { client: Client::Idle(_), server: Server::Idle }));
        }
    }

    #[test]
    fn what_cannot_be() {
        for steps in [
            &[response()][..],
            &[Step::MessageEnd],
            &[Step::NextCycle],
            &[RESPONSE_END],
            &[REQUEST, REQUEST],
            &[REQUEST, Step::Eof],
            &[REQUEST, RESPONSE_END],
            &[REQUEST, response(), response()],
            &[REQUEST, Step::MessageEnd, Step::NextCycle],
            &[REQUEST, Step::MessageEnd, Step::MessageEnd],
            &[REQUEST, Step::MessageEnd, Step::Failure(ProtocolError::ChunkSize)],
            &[REQUEST, response(), Step::ResponseEnd { reuse: false }, RESPONSE_END],
            &[Step::Eof, REQUEST],
            &[Step::Unread],
            &[REQUEST, Step::Failure(ProtocolError::ChunkSize), Step::Unread],
            &[REQUEST, response(), Step::Unread],
        ] {
            assert!(run(steps).is_err(), "{steps:?}");
        }
    }
}
