//! USR2: the process that becomes the new arbiter, and what changes when the old one is gone.

use std::io;

use super::{Ending, Master};
use crate::arbiter::logging::log_hook;
use crate::error::Chain;
use crate::fork::SignalMask;
use crate::{Event, Exit, ExitStatus, Fork, Forker, Hooks, LOG, Moment, Worker, inherit};

impl<H: Hooks, F: Forker, W: Worker> Master<H, F, W> {
    /// Forks the process that is to become the new arbiter.
    pub(super) fn upgrade(&mut self) -> Option<Ending> {
        let forked = if self.options.upgrade.is_some() {
            SignalMask::block_all().and_then(|mask| Ok((self.forker.fork()?, mask)))
        } else {
            Err(io::Error::new(io::ErrorKind::Unsupported, "no program is known to execute"))
        };
        let result = match forked {
            Ok((Fork::Child, mask)) => return Some(Ending::Upgraded(mask)),
            Ok((Fork::Parent { child }, _)) => {
                self.kin.successor = Some(child);
                Ok(child)
            }
            Err(error) => Err(error),
        };
        self.supervisor.handle_event(Event::Upgraded(result), Moment::now());
        None
    }

    /// In that process: executes the program. What is not left to it closes.
    pub(super) fn into_successor(mut self, mask: SignalMask) -> Exit {
        log_hook("pre_exec", self.hooks.pre_exec());
        // The mask would stay over `exec`.
        drop(mask);
        if let Some(program) = &self.options.upgrade {
            let (listeners, is_activated) = self.listeners.to_leave();
            let shared = self.mailbox.as_ref().map(|mailbox| (mailbox, &*self.page));
            let error = program.execute(|command| {
                inherit::leave(command, self.pid, &listeners, is_activated, shared)
            });
            let file = program.file().to_string_lossy();
            log::error!(target: LOG, "Cannot execute '{file}': {error}");
        }
        Exit::of_worker(ExitStatus::FAILED)
    }

    /// The names of the arbiter that is gone are free.
    pub(super) fn promote(&mut self) {
        if let Err(error) = self.pidfiles.promote(self.options.pidfile.as_deref()) {
            log::error!(target: LOG, "{}", Chain(&error));
        }
        log_hook("promoted", self.hooks.promoted());
    }
}
