//! A pre-fork HTTP server in Rust: rgunicorn-workers with a handler of one's own, without Python.
//!
//! ```text
//! cargo run -p rgunicorn-examples --bin rust_handler -- 127.0.0.1:7002
//! ```
//!
//! It shows the seam at which rgunicorn itself puts WSGI in: a [`Handler`] answers requests that are
//! complete, a [`RequestLog`] hears of the answers. Slow clients, timeouts, keep-alive, large
//! bodies and the end of a worker are the business of [`Server`].

use std::num::NonZeroUsize;
use std::process;

use rgunicorn_arbiter::{Arbiter, Error, Exit};
use rgunicorn_examples::log_to_stderr;
use rgunicorn_http1::{RequestHead, ResponseHead};
use rgunicorn_workers::{
    Client, ConnectionError, Handler, Options, Outcome, Record, RequestLog, Server,
};

struct Describe;

impl Handler for Describe {
    fn handle(
        &self,
        request: &RequestHead,
        mut client: Client,
    ) -> Result<Outcome, ConnectionError> {
        // The body lies in memory, or in a file if it is large: to read it never waits for the
        // client.
        let (mut buffer, mut body_bytes) = ([0; 8192], 0);
        while let count @ 1.. = client.read_body(&mut buffer)? {
            body_bytes += count;
        }
        let (method, target) = (request.method(), request.target().escape_ascii());
        let (pid, thread) = (process::id(), std::thread::current());
        let thread = thread.name().unwrap_or_default();
        let text = format!("{method} {target}, {body_bytes} bytes, by {thread} of {pid}\n");
        let head = ResponseHead::new(200, &[(b"Content-Type", b"text/plain")]);
        client.send_head(&ResponseHead { length: Some(text.len() as u64), ..head })?;
        // What the client does not take at once is sent after this returns.
        client.send_rest(text.into())?;
        Ok(Outcome::Done(client))
    }
}

struct Log;

impl RequestLog for Log {
    fn request_done(&self, record: &Record<'_>) {
        let (method, target) = (record.request.method(), record.request.target().escape_ascii());
        log::info!("{method} {target} {} in {:?}", record.status, record.duration);
    }
}

fn main() -> Result<Exit, Error> {
    log_to_stderr();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7002".to_owned());
    let mut options = Options::default();
    // Two calls at a time in each worker; and what waits for a busy one goes to its sibling.
    options.threads = NonZeroUsize::new(2);
    let arbiter = options.acquaint(rgunicorn_arbiter::Options::new(2).bind(address.parse()?));
    Arbiter::new(arbiter).run(Server::new(Describe, options).log(Log))
}
