//! The worker process of the sync kind.

use rgunicorn_arbiter::{Worker, WorkerError, WorkerProcess};

use crate::access::RequestLog;
use crate::handler::Handler;
use crate::options::Options;
use crate::reactor::Reactor;

/// Serves HTTP/1.1 on the arbiter's listeners with one application thread.
///
/// ```no_run
/// use rgunicorn_arbiter::{Arbiter, Exit, Error};
/// use rgunicorn_http1::{RequestHead, ResponseHead};
/// use rgunicorn_workers::{Client, ConnectionError, Handler, Options, Outcome, Server};
///
/// struct Hello;
///
/// impl Handler for Hello {
///     fn handle(&self, _: &RequestHead, mut client: Client) -> Result<Outcome, ConnectionError> {
///         client.send_head(&ResponseHead::new(200, &[(b"Content-Length", b"3")]))?;
///         client.send_data(b"hi\n")?;
///         Ok(Outcome::Done(client))
///     }
/// }
///
/// fn main() -> Result<Exit, Error> {
///     let address = "127.0.0.1:8000".parse()?;
///     let options = rgunicorn_arbiter::Options::new(2).bind(address);
///     Arbiter::new(options).run(Server::new(Hello, Options::default()))
/// }
/// ```
#[derive(Debug)]
pub struct Server<H, L = ()> {
    handler: H,
    log: L,
    options: Options,
}

impl<H: Handler> Server<H> {
    /// A server without a request log.
    pub fn new(handler: H, options: Options) -> Self {
        Self { handler, log: (), options }
    }
}

impl<H: Handler, L: RequestLog> Server<H, L> {
    /// The same, with every request reported to `log`.
    pub fn log<M: RequestLog>(self, log: M) -> Server<H, M> {
        Server { handler: self.handler, log, options: self.options }
    }
}

impl<H: Handler, L: RequestLog> Worker for Server<H, L> {
    fn run(&mut self, process: WorkerProcess) -> Result<(), WorkerError> {
        let mut reactor = Reactor::new(&self.handler, &self.log, self.options.clone(), process)?;
        let mut result = Ok(());
        self.handler.thread(&mut || result = reactor.run());
        Ok(result?)
    }
}
