//! Pre-fork HTTP workers: a reactor that no slow client can hold up, and the handlers behind it.
//!
//! A [`Server`] is what an arbiter's workers are made of. It accepts, reads, times out and
//! flushes without blocking, and calls its [`Handler`] only when a request is complete, body
//! included. Slow heads, slow bodies, slow readers and idle keep-alive connections cost no
//! application thread.
//!
//! Without features this is a pre-fork server for a Rust handler, and no Python is near. The
//! feature `wsgi` adds [`WsgiHandler`] and the fork that CPython needs.

mod access;
#[cfg(feature = "wsgi")]
mod backtrace;
mod call;
mod client;
mod clock;
mod context;
mod handler;
mod handoff;
mod inbox;
mod inflight;
#[cfg(feature = "wsgi")]
mod interrupt;
mod lead;
mod monitor;
mod options;
mod outbox;
mod output;
mod pace;
mod pipe;
mod poller;
mod pool;
#[cfg(feature = "wsgi")]
mod python;
mod reactor;
mod report;
mod scoreboard;
mod serve;
mod server;
mod silence;
mod slots;
mod socket;
mod spool;
mod stream;
mod tick;
mod timers;
#[cfg(feature = "wsgi")]
mod variables;
#[cfg(feature = "wsgi")]
mod wsgi;

pub use access::{Record, RequestLog};
pub use call::{Call, Hold, Interrupter};
pub use client::Client;
pub use handler::{ConnectionError, Handler, Outcome, Stack};
#[cfg(feature = "wsgi")]
pub use interrupt::request_timeout;
pub use options::Options;
#[cfg(feature = "wsgi")]
pub use python::{PythonForker, detach_forks, has_left_threads};
pub use scoreboard::{RunningRequest, Scoreboard};
pub use server::Server;
#[cfg(feature = "wsgi")]
pub use wsgi::WsgiHandler;
