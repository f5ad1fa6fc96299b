//! System tests: the harness that starts the real server.
//!
//! A test names the server's arguments and an application, gets a running server on a free port in
//! a directory of its own, and talks to it in bytes:
//!
//! ```no_run
//! use rgunicorn_tests::{Server, Signal};
//!
//! let server = Server::start(&["--workers", "2"], "def app(environ, start_response): …");
//! assert_eq!(server.get("/").status, 200);
//! assert_eq!(server.stop(Signal::SIGTERM).code, Some(0));
//! ```
//!
//! The same tests judge each form of the server: `TEST_SERVER` names the program; when it is
//! unset, the native binary is built and used. Nothing waits for a fixed time: a test waits for a
//! log line, an answer or a process, and [`DEADLINE`] only turns a wait that would never end into
//! a failure. Whatever a test starts ends with it, also when the test fails.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a harness reports by panicking: the panic is the failed test"
)]
#![allow(
    clippy::missing_panics_doc,
    reason = "every function of a harness panics when the server disappoints it"
)]

mod browser;
mod client;
mod crowd;
mod download;
mod example;
mod framework;
mod launch;
mod load;
mod memory;
mod nginx;
mod notice;
mod output;
mod peers;
mod process;
mod program;
mod server;
mod successor;
mod virtualenv;
mod wait;

pub use browser::{Browser, Entrance};
pub use client::{Client, Response};
pub use crowd::Crowd;
pub use download::download;
pub use example::{example, example_within};
pub use framework::{BOTTLE, DJANGO, FALCON, FLASK, Framework, PYRAMID, visit};
pub use launch::Launch;
pub use load::{Connections, Load, Lost, Report};
pub use nginx::{Nginx, Upstream};
pub use nix::sys::signal::Signal;
pub use notice::{measured, skip};
pub use process::Process;
pub use server::{Finished, Server};
pub use successor::Successor;
pub use virtualenv::virtualenv;
pub use wait::{DEADLINE, eventually};
