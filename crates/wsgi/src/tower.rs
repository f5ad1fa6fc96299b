//! A WSGI application as a [`tower_service::Service`].

mod body;
mod channel;
mod exchange;
mod request;

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http_body::Body;
use tower_service::Service;

use self::channel::Sender;
use self::exchange::Bridge;
use self::request::Mount;
use crate::{App, AppError};

pub use self::body::{ResponseFuture, WsgiBody};
pub use self::request::Transport;

/// A WSGI application as a [`tower_service::Service`]: for axum, hyper, and whatever else speaks
/// [`http`]'s types. With feature `tower`.
///
/// An application blocks, so each request is a job for `spawn`, which must run it on a thread that
/// may block: `tokio::task::spawn_blocking`, a pool, or `std::thread::spawn`. How many applications
/// run at the same time is `spawn`'s to decide; what it never runs, for instance while its runtime
/// shuts down, is answered with 500. It must not run a job before it returns: the job would wait
/// for a reader that waits for the job.
///
/// Nothing is gathered on the way. `wsgi.input` fetches the request body as the application reads
/// it, in the application's thread, so that an upload is never ahead of its reader by more than the
/// piece that came last, and the client may be as slow as it likes. Of the response, 128 KiB wait
/// for the client before the application does. (A body that is whole already, such as the usual
/// list of one `bytes` object, waits as it is, and the application's thread is free.) When the
/// response is dropped, because the client is gone, writing and waiting for the request body fail
/// with `ConnectionAbortedError`, the iteration ends, and `close()` is called. How long all of this
/// may take is for the server to limit.
///
/// The service is never busy ([`poll_ready`](Service::poll_ready)) and never fails. An application
/// that fails is logged, and answered with 500 if nothing of its response was sent (400 if it gave
/// up over a broken request body); otherwise the body ends with an error, on which servers close
/// the connection, so that no client takes a part of it for the whole.
///
/// Trailers of the request are dropped, WSGI has no place for them; so is the reason phrase of a
/// status, for which [`http`] has none. A status 1xx is an error.
///
/// ```no_run
/// use rgunicorn_wsgi::pyo3::Python;
/// use rgunicorn_wsgi::{App, EnvironOptions, WsgiService};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// Python::initialize();
/// let spec = "shop.wsgi:application".parse()?;
/// let app = Python::attach(|py| App::load(py, &spec, EnvironOptions::default()))?;
/// let shop = WsgiService::new(app, |job| {
///     tokio::task::spawn_blocking(job);
/// });
/// // For a router that takes the prefix off: `Router::new().nest_service("/shop", shop)`.
/// let shop = shop.mount("/shop");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct WsgiService<S> {
    app: Arc<App>,
    mount: Arc<Mount>,
    spawn: S,
}

impl<S> WsgiService<S>
where
    S: Fn(Box<dyn FnOnce() + Send>),
{
    /// Takes the application, and what runs a job on a thread that may block.
    ///
    /// Attaches to the interpreter for a moment. `wsgi.multithread` is true, whatever the
    /// application's options say, because nothing here keeps two jobs from running at once.
    #[expect(clippy::needless_pass_by_value, reason = "two that call one would be a mistake")]
    pub fn new(app: App, spawn: S) -> Self {
        let app = app.with_options(|options| options.multithread(true));
        Self { app: Arc::new(app), mount: Arc::default(), spawn }
    }

    /// Says which prefix a router has taken off the path, such as `/shop`: it is `SCRIPT_NAME`, from
    /// which applications make the links to their own pages. Given as it is in `SCRIPT_NAME`, not
    /// percent-encoded.
    ///
    /// A request does not tell it: axum's `nest` keeps the original target in an extension of its
    /// own, other routers nowhere. For a router that leaves the path as it is,
    /// [`EnvironOptions::script_name`](crate::EnvironOptions::script_name) is right instead, which
    /// this replaces.
    #[must_use]
    pub fn mount(self, path: &str) -> Self {
        let mount = Mount::new(path);
        let app = self.app.with_options(|options| options.script_name(mount.script_name()));
        Self { app: Arc::new(app), mount: Arc::new(mount), ..self }
    }
}

impl<B, S> Service<http::Request<B>> for WsgiService<S>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    S: Fn(Box<dyn FnOnce() + Send>),
{
    type Response = http::Response<WsgiBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> ResponseFuture {
        let (head, body) = request.into_parts();
        let (sender, receiver) = channel::channel();
        let (app, mount) = (Arc::clone(&self.app), Arc::clone(&self.mount));
        (self.spawn)(Box::new(move || answer(&app, &mount, &head, body, sender)));
        ResponseFuture::new(receiver)
    }
}

impl<S> fmt::Debug for WsgiService<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("WsgiService")
            .field("app", &self.app)
            .field("mount", &self.mount)
            .finish_non_exhaustive()
    }
}

/// The job: one request, from its head to the end of its response.
fn answer<B>(app: &App, mount: &Mount, head: &Parts, body: B, sender: Sender)
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // Jobs may have queued for a thread longer than the client had patience.
    if sender.is_abandoned() {
        return;
    }
    let has_body = !body.is_end_stream();
    let exchange = Bridge::new(sender, body, head.method == http::Method::HEAD);
    let (exchange, result) =
        request::with(head, mount, has_body, |request| app.call(request, exchange));
    let sender = exchange.into_sender();
    match result {
        Ok(()) => sender.complete(),
        Err(error) => {
            report(head, &error, sender.is_abandoned());
            match error {
                error if error.is_complete() => sender.complete(),
                AppError::BadBody(_) => sender.fail(http::StatusCode::BAD_REQUEST),
                _ => sender.fail(http::StatusCode::INTERNAL_SERVER_ERROR),
            }
        }
    }
}

/// A client that went away is its own affair; everything else is the application's, and its
/// developer needs to know where.
fn report(head: &Parts, error: &AppError, is_abandoned: bool) {
    let (method, target) = (&head.method, &head.uri);
    match (error, error.traceback()) {
        (AppError::BadBody(cause) | AppError::Disconnected(cause), _) if is_abandoned => {
            log::debug!("Ignored premature client disconnection. {method} {target}: {cause}");
        }
        (AppError::BadBody(cause) | AppError::Disconnected(cause), _) => {
            log::error!("Error handling request {method} {target}: {error}: {cause}");
        }
        (_, Some(traceback)) => {
            log::error!("Error handling request {method} {target}\n{}", traceback.trim_end());
        }
        (_, None) => log::error!("Error handling request {method} {target}: {error}"),
    }
}
