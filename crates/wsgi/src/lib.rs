#![doc = include_str!("../README.md")]

mod app;
mod body;
mod call;
mod environ;
mod error;
mod errors;
mod exchange;
mod ffi;
mod file_wrapper;
mod import;
mod input;
mod keys;
mod observer;
mod options;
mod request;
mod response;
mod response_head;
mod session;
mod slot;
mod start_response;
mod target;
#[cfg(feature = "tower")]
mod tower;

pub use pyo3;

pub use crate::app::App;
pub use crate::error::{AppError, LoadError, SystemExit, Violation, format_exception};
pub use crate::exchange::Exchange;
pub use crate::import::{Spec, SpecError};
pub use crate::observer::Observer;
pub use crate::options::EnvironOptions;
pub use crate::request::{Local, Request, Scheme};
pub use crate::response_head::ResponseHead;
#[cfg(feature = "tower")]
pub use crate::tower::{ResponseFuture, Transport, WsgiBody, WsgiService};
