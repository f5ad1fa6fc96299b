//! Why an arbiter cannot do its work.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use crate::{Address, AddressError, HookError, InheritError, Options, PidfileError};

/// Why an arbiter could not start or go on. Nothing that a worker does is such an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text that was to be an address is none.
    #[error("invalid address")]
    Address(#[from] AddressError),
    /// An address cannot be listened at. It has been logged, in gunicorn's words.
    #[error("cannot listen at {address}")]
    Bind {
        /// Where.
        address: Address,
        /// Why.
        source: io::Error,
    },
    /// `on_starting` or `when_ready` failed.
    #[error("the start was refused")]
    Hook(#[from] HookError),
    /// The sockets that the environment tells of cannot be listened at.
    #[error(transparent)]
    Inherit(#[from] InheritError),
    /// The pid file cannot be written, or another arbiter's pid is in it.
    #[error(transparent)]
    Pidfile(#[from] PidfileError),
    /// The system refused what no arbiter can do without: a pipe, a signal handler, a page.
    #[error("cannot supervise workers")]
    System(#[from] io::Error),
    /// More words are asked for than a worker can have.
    #[error("{words} words per worker are more than the {} that there can be", Options::WORDS_MAX)]
    TooManyWords {
        /// The number asked for.
        words: usize,
    },
    /// More workers are asked for than an arbiter can keep.
    #[error("{workers} workers are more than the {} that an arbiter keeps", Options::WORKERS_MAX)]
    TooManyWorkers {
        /// The number asked for.
        workers: u32,
    },
}

impl Error {
    /// The code to exit with, as gunicorn's for all of these: 1.
    pub fn exit_code(&self) -> u8 {
        1
    }

    /// Whether the log has it already.
    pub fn is_logged(&self) -> bool {
        matches!(self, Self::Bind { .. })
    }
}

/// Shows an error with its causes, which no `Display` of ours repeats.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
