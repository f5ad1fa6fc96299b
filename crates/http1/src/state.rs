//! Where an exchange stands. As in h11, every transition is in one `match`, [`State::after`], and
//! nothing else changes a side from one state to another.

use crate::body::{BodyReader, BodyWriter};
use crate::error::ProtocolError;
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

    /// The state after a step; `None` if that step cannot be taken here.
    pub(crate) fn after(self, step: Step) -> Option<Self> {
        let Self { client, server } = self;
        let (client, server) = match (step, client, server) {
            (Step::Request(body), Client::Idle(_), Server::Idle) => {
                (Client::Body(body), Server::Response)
            }
            (Step::MessageEnd, Client::Body(_), server) => (Client::Done, server),
            (Step::Eof, Client::Idle(_), server) => (Client::Closed, server),
            (Step::Failure(error), Client::Idle(_) | Client::Body(_), server) => {
                (Client::Failed(error), server)
            }
            // An answer may come before the end of the request, and after a broken one.
            (Step::Response(body), client, Server::Response) => (client, Server::Body(body)),
            (Step::ResponseEnd { reuse: true }, client, Server::Body(_)) => (client, Server::Done),
            (Step::ResponseEnd { reuse: false }, client, Server::Body(_)) => {
                (client, Server::MustClose)
            }
            (Step::NextCycle, Client::Done, Server::Done) => return Some(Self::new()),
            (
                Step::Eof
                | Step::Failure(_)
                | Step::MessageEnd
                | Step::NextCycle
                | Step::Request(_)
                | Step::Response(_)
                | Step::ResponseEnd { .. },
                ..,
            ) => return None,
        };
        Some(Self { client, server })
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

    /// The state after these steps; `None` as soon as one cannot be taken.
    fn run(steps: &[Step]) -> Option<State> {
        steps.iter().try_fold(State::new(), |state, &step| state.after(step))
    }

    #[test]
    fn an_exchange_in_order() {
        let state = run(&[REQUEST, Step::MessageEnd, response(), RESPONSE_END]).unwrap();
        assert!(state.is_reusable());
        let state = state.after(Step::NextCycle).unwrap();
        assert!(matches!(state, State { client: Client::Idle(_), server: Server::Idle }));
    }

    #[test]
    fn an_answer_may_come_first() {
        let state = run(&[REQUEST, response(), RESPONSE_END]).unwrap();
        assert!(!state.is_reusable());
        assert!(state.after(Step::MessageEnd).unwrap().is_reusable());
    }

    #[test]
    fn a_broken_request_may_be_answered() {
        let failure = Step::Failure(ProtocolError::ChunkSize);
        let state = run(&[REQUEST, failure, response(), RESPONSE_END]).unwrap();
        assert!(!state.is_reusable());
        assert!(state.after(Step::NextCycle).is_none());
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
        ] {
            assert!(run(steps).is_none(), "{steps:?}");
        }
    }
}
