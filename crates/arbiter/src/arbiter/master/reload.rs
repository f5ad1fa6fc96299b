//! HUP: what new workers are made of, all of it or nothing.

use super::{Master, check};
use crate::arbiter::logging::log_hook;
use crate::error::Chain;
use crate::{Error, Event, Forker, Hooks, LOG, Moment, Options, Worker};

impl<H: Hooks, F: Forker, W: Worker> Master<H, F, W> {
    pub(super) fn reload(&mut self) {
        let event = match self.read_anew() {
            Ok(()) => {
                log_hook("on_reload", self.hooks.on_reload());
                Event::Reloaded(self.options.plan.clone())
            }
            Err(cause) => {
                log::error!(target: LOG, "Reload abandoned: {cause}");
                Event::ReloadFailed
            }
        };
        self.supervisor.handle_event(event, Moment::now());
    }

    fn read_anew(&mut self) -> Result<(), String> {
        let options = match self.worker.reload() {
            Ok(Some(options)) => options,
            Ok(None) => self.options.clone(),
            Err(error) => return Err(Chain(&error).to_string()),
        };
        if let Err(error) = self.prepare(&options) {
            self.worker.reload_abandoned();
            return Err(Chain(&error).to_string());
        }
        self.previous = Some(std::mem::replace(&mut self.options, options));
        Ok(())
    }

    /// All that new workers need, or nothing.
    fn prepare(&mut self, options: &Options) -> Result<(), Error> {
        check(options)?;
        let moves = self.listeners.rebind(options)?;
        if let Err(error) = self.pidfiles.replace(options.pidfile.as_deref()) {
            self.listeners.restore_previous();
            return Err(error.into());
        }
        if moves {
            self.listeners.log(options.scheme);
        }
        Ok(())
    }
}
