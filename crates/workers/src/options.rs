//! What an embedder may decide about a worker.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rgunicorn_http1::Config;

use crate::scoreboard::Scoreboard;

/// Limits and times of one worker. Names and defaults are gunicorn's where gunicorn has them.
///
/// ```
/// use std::time::Duration;
/// use rgunicorn_workers::Options;
///
/// let mut options = Options::default();
/// options.keepalive = Some(Duration::from_secs(5));
/// assert_eq!(options.body_timeout, Duration::from_secs(30));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Longest silence within a request's body. Default 30 s.
    pub body_timeout: Duration,
    /// Connections that one worker holds at most; at the limit it stops accepting, and clients
    /// wait in the listener's queue. Default 10,000.
    pub connections: usize,
    /// From the first byte of a request, or from accepting a connection, to the end of the
    /// head. Default 30 s.
    pub header_timeout: Duration,
    /// The protocol's limits and the `Server` field.
    pub http1: Arc<Config>,
    /// How long an idle connection waits for its next request; `None` closes after each
    /// response. Default 2 s.
    pub keepalive: Option<Duration>,
    /// Whether records carry the fields of the response. Default: no, which saves copies.
    pub log_response_headers: bool,
    /// Largest request body in bytes, answered with 413 beyond; `None` is without limit.
    /// Default 1 GiB.
    pub limit_request_body: Option<u64>,
    /// After how many requests the worker asks the arbiter for a successor, which takes over as
    /// soon as it is ready; `None`: never. Default: never.
    pub max_requests: Option<u64>,
    /// How long a request may wait for a thread that calls the handler. One that has waited longer
    /// gets 503, with as many seconds as `Retry-After`, and its connection goes on. Requests whose
    /// clients have gone meanwhile are dropped in any case. Default `None`: without limit.
    pub queue_timeout: Option<Duration>,
    /// Bodies up to this many bytes wait in memory, larger ones in an unlinked file.
    /// Default 1 MiB.
    pub request_buffer_size: usize,
    /// Whether the handler gets a request when all of its body is here. If not, a body that is
    /// announced as larger than `request_buffer_size`, or not announced, is read by the handler
    /// while the client sends it: it lies in no file, and a slow client holds a thread. One that is
    /// silent for `body_timeout`, or sends less than 500 bytes a second, is given up. Default: yes.
    pub request_buffering: bool,
    /// How long the handler may work on one request. Then the client gets a 504 if the response has
    /// not begun, and sees its connection cut if it has; whatever the handler does to its
    /// [`Client`](crate::Client) fails with
    /// [`ConnectionError::Expired`](crate::ConnectionError::Expired), and its
    /// [`Interrupter`](crate::Interrupter) is to end the call. A thread that does not come back, for
    /// as long again and at least 5 s, makes the worker ask for its successor. Default `None`:
    /// without limit.
    pub request_timeout: Option<Duration>,
    /// Bytes of a streamed response that wait for a slow reader in memory; more wait in an unlinked
    /// file. Default 128 KiB.
    pub response_buffer_size: usize,
    /// Bytes of a streamed response that wait for a slow reader in a file; then the application
    /// waits with them. Default 1 GiB.
    pub response_spool_size: u64,
    /// Threads that call the handler. `None` is the process's main thread, which also beats, so
    /// that a call that outlasts the arbiter's `timeout` ends the worker: gunicorn's sync. With
    /// threads of its own the main thread only beats: gunicorn's gthread. Default `None`.
    pub threads: Option<NonZeroUsize>,
    /// Where bodies that do not fit into memory go, of requests and of responses; `None` is the system's temporary folder.
    pub tmp_upload_dir: Option<PathBuf>,
    /// Longest time in which a reader takes not one byte of its response. Default 30 s.
    pub write_timeout: Duration,
}

impl Options {
    /// Lets an arbiter's workers know of each other and hand connections over, so that none waits
    /// behind a busy worker or ends with one. Without this each worker is alone with its own.
    ///
    /// ```
    /// use rgunicorn_workers::Options;
    ///
    /// let options = Options::default();
    /// let arbiter = options.acquaint(rgunicorn_arbiter::Options::new(4));
    /// # let _ = arbiter;
    /// ```
    pub fn acquaint(&self, arbiter: rgunicorn_arbiter::Options) -> rgunicorn_arbiter::Options {
        let threads = self.threads.map_or(1, NonZeroUsize::get);
        arbiter.mailbox(true).words_per_worker(Scoreboard::words_per_worker(threads))
    }
}

impl Options {
    /// The limit that a body of so many bytes exceeds.
    pub(crate) fn exceeded_body_limit(&self, length: u64) -> Option<u64> {
        self.limit_request_body.filter(|&limit| length > limit)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            body_timeout: Duration::from_secs(30),
            connections: 10_000,
            header_timeout: Duration::from_secs(30),
            http1: Arc::new(Config::default()),
            keepalive: Some(Duration::from_secs(2)),
            limit_request_body: Some(1 << 30),
            log_response_headers: false,
            max_requests: None,
            queue_timeout: None,
            request_buffer_size: 1 << 20,
            request_buffering: true,
            request_timeout: None,
            response_buffer_size: 128 << 10,
            response_spool_size: 1 << 30,
            threads: None,
            tmp_upload_dir: None,
            write_timeout: Duration::from_secs(30),
        }
    }
}
