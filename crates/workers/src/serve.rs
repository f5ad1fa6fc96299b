//! One request, from the handler's call to the record of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rgunicorn_http1::RequestHead;

use crate::access::{Record, RequestLog};
use crate::client::{Client, Next};
use crate::clock::wall_clock;
use crate::handler::{Handler, Outcome};
use crate::inflight::{Flight, Held, InFlight};
use crate::poller::Token;

/// A complete request on its way to an application thread.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) client: Client,
    pub(crate) request: RequestHead,
    /// Since when it waits for an application thread.
    pub(crate) since: Instant,
    pub(crate) token: Token,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Served {
    /// The connection and what is to become of it; `None` when it is gone.
    pub(crate) client: Option<(Client, Next)>,
    pub(crate) duration: Duration,
    pub(crate) finished: Instant,
    /// The worker is to end.
    pub(crate) last: bool,
    pub(crate) token: Token,
}

/// The single path that every request takes. A panic in the handler costs its connection, and
/// nothing else. Others see the request on its thread if it has a deadline.
pub(crate) fn serve_one<H: Handler, L: RequestLog>(
    handler: &H,
    log: &L,
    job: Job,
    seat: Option<(&InFlight, usize)>,
) -> Served {
    let Job { mut client, request, token, .. } = job;
    let (started, clock) = (wall_clock(), Instant::now());
    client.start();
    let peer = client.peer();
    let request = board(seat, request, &mut client, (started, clock));
    let outcome = catch_unwind(AssertUnwindSafe(|| handler.handle(&request, client)));
    let (client, last) = match outcome {
        Ok(Ok(Outcome::Done(client))) => (Some(client), false),
        Ok(Ok(Outcome::Last(client))) => (Some(client), true),
        Ok(Err(error)) => {
            log::debug!("connection lost while answering: {error}");
            (None, false)
        }
        Err(_) => {
            log::error!("the handler panicked; its connection is closed");
            (None, false)
        }
    };
    if let (Held::Shared(flight), Some((in_flight, thread))) = (&request, seat) {
        if let Some(seat) = in_flight.seat(thread) {
            seat.returned(flight);
        }
    }
    let ended = client.map(|mut client| {
        let next = client.finish(&request);
        (client, next)
    });
    let finished = Instant::now();
    let duration = finished - clock;
    let client = ended.and_then(|(client, next)| {
        let (status, sent_bytes) = client.sent();
        let response_headers = client.logged_headers();
        // Whoever answered in the handler's place has said so.
        if status != 0 {
            log.request_done(&Record {
                request: &request,
                peer,
                status,
                sent_bytes,
                response_headers,
                notes: client.notes(),
                started,
                duration,
            });
        }
        match next {
            Ok(next) => Some((client, next)),
            Err(error) => {
                log::debug!("connection lost while answering: {error}");
                None
            }
        }
    });
    if let Some((in_flight, thread)) = seat {
        in_flight.leave(thread);
    }
    Served { client, duration, finished, last, token }
}

/// The request begins; at its deadline somebody else may end it.
fn board(
    seat: Option<(&InFlight, usize)>,
    request: RequestHead,
    client: &mut Client,
    started: (SystemTime, Instant),
) -> Held {
    let Some((thread, seat)) = seat.and_then(|(it, thread)| Some((thread, it.seat(thread)?)))
    else {
        return Held::Own(request);
    };
    let socket = (Arc::clone(client.socket()), client.token());
    let flight = Arc::new(Flight::new(thread, request, client.peer(), socket, started));
    client.set_flight(Arc::clone(&flight));
    seat.enter(&flight);
    Held::Shared(flight)
}
