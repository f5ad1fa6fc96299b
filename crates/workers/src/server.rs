//! The worker process.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;

use nix::sys::signal::{SigSet, SigmaskHow};
use rgunicorn_arbiter::{Worker, WorkerError, WorkerProcess};

use crate::access::RequestLog;
use crate::handler::Handler;
use crate::monitor::Monitor;
use crate::options::Options;
use crate::pool::Pool;
use crate::reactor::Reactor;

/// Serves HTTP/1.1 on the arbiter's listeners, with one application thread or several.
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
    handler: Arc<H>,
    log: Arc<L>,
    options: Options,
}

impl<H: Handler> Server<H> {
    /// A server without a request log.
    pub fn new(handler: H, options: Options) -> Self {
        Self { handler: Arc::new(handler), log: Arc::new(()), options }
    }
}

impl<H: Handler, L: RequestLog> Server<H, L> {
    /// The same, with every request reported to `log`.
    pub fn log<M: RequestLog>(self, log: M) -> Server<H, M> {
        Server { handler: self.handler, log: Arc::new(log), options: self.options }
    }
}

impl<H: Handler, L: RequestLog> Worker for Server<H, L> {
    fn run(&mut self, process: WorkerProcess) -> Result<(), WorkerError> {
        let (heartbeat, timeout) = (process.heartbeat(), process.timeout());
        let threads = self.options.threads;
        let handler: Arc<dyn Handler> = Arc::<H>::clone(&self.handler);
        let log = Arc::clone(&self.log);
        let mut reactor = Reactor::new(handler, log, self.options.clone(), process)?;
        let pool = Pool::new(Arc::clone(&self.handler), Arc::clone(&self.log), &reactor)?;
        let pool = Arc::new(pool);
        let monitor = spawn_quietly("monitor", {
            let monitor = Monitor::new(Arc::clone(&pool));
            let pool = Arc::clone(&pool);
            move || pool.guard(|| monitor.run())
        })?;
        for thread in 0..threads.map_or(0, NonZeroUsize::get) {
            let pool = Arc::clone(&pool);
            let run = Box::new(move || pool.run_spawned(thread));
            self.handler.spawn(format!("worker-{thread}"), run)?;
        }
        reactor.open()?;
        pool.lead.put_back(Box::new(reactor));
        self.handler.thread(&mut || {
            if threads.is_some() {
                pool.watch(&heartbeat, timeout);
            } else {
                pool.run(0);
            }
        });
        if monitor.join().is_err() {
            log::error!("the monitor panicked");
        }
        pool.failure().map_or(Ok(()), |error| Err(error.into()))
    }
}

/// A thread to which no signal is delivered: they are the main thread's, whose waits they are to
/// interrupt.
pub(crate) fn spawn_quietly<F>(name: &str, run: F) -> io::Result<JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    mask.thread_set_mask()?;
    spawned
}
