//! What a worker's own forks have of their worker, and how they give it up.

use std::io;
use std::sync::Arc;

use nix::sys::signal::Signal as Number;

use crate::fork::{handler_of, restore_default};
use crate::shared::SharedPage;

/// Cuts a process that the application forks off from the worker it was forked from; made by
/// [`WorkerProcess::detach`](crate::WorkerProcess::detach).
///
/// Such a process has the worker's signal handlers, by which SIGTERM would end neither of them, and
/// its place in the shared page. With a [`SignalMask`](crate::SignalMask) around the fork and the
/// cut no signal gets lost in between.
///
/// ```
/// use rgunicorn_arbiter::{Fork, Forker, SystemForker, WorkerError, WorkerProcess};
///
/// fn run(mut process: WorkerProcess) -> Result<(), WorkerError> {
///     let detach = process.detach();
///     process.ready()?;
///     match SystemForker.fork()? {
///         Fork::Child => detach.here()?,
///         Fork::Parent { child } => log::info!("{child} is another process"),
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Detach {
    page: Arc<SharedPage>,
    /// The worker's signals with the handlers that it has for them.
    handlers: Arc<[(Number, usize)]>,
}

impl Detach {
    pub(crate) fn new(page: Arc<SharedPage>, signals: &[Number]) -> io::Result<Self> {
        let handlers = signals.iter().map(|number| Ok((*number, handler_of(*number)?)));
        Ok(Self { page, handlers: handlers.collect::<io::Result<_>>()? })
    }

    /// From now on nothing in the calling process beats or speaks for the worker, and signals do what
    /// they do by default, unless somebody else has set a handler for them. For the child of a
    /// fork, right after it, on the side of the child.
    ///
    /// # Errors
    ///
    /// When the system refuses to change a handler.
    pub fn here(&self) -> io::Result<()> {
        self.page.detach();
        for (number, ours) in self.handlers.iter() {
            if handler_of(*number)? == *ours {
                restore_default(*number)?;
            }
        }
        Ok(())
    }
}
