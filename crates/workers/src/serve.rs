//! One request, from the handler's call to the record of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rgunicorn_http1::RequestHead;

use crate::access::{Record, RequestLog};
use crate::client::{Client, Next};
use crate::clock::wall_clock;
use crate::handler::{Handler, Outcome};
use crate::poller::Token;

/// A complete request on its way to an application thread.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) client: Client,
    pub(crate) request: RequestHead,
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
/// nothing else.
pub(crate) fn serve_one<H: Handler, L: RequestLog>(handler: &H, log: &L, job: Job) -> Served {
    let Job { mut client, request, token } = job;
    let (started, clock) = (wall_clock(), Instant::now());
    client.start();
    let peer = client.peer();
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
    let ended = client.map(|mut client| {
        let next = client.finish(&request);
        (client, next)
    });
    let finished = Instant::now();
    let duration = finished - clock;
    let client = ended.and_then(|(client, next)| {
        let (status, sent_bytes) = client.sent();
        let response_headers = client.logged_headers();
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
        match next {
            Ok(next) => Some((client, next)),
            Err(error) => {
                log::debug!("connection lost while answering: {error}");
                None
            }
        }
    });
    Served { client, duration, finished, last, token }
}
