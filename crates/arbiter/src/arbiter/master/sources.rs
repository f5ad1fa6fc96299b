//! Descriptors of others.

use std::io;

use super::Master;
use crate::{Event, Forker, Handle, Hooks, LOG, Moment, Source, Worker};

impl<H: Hooks, F: Forker, W: Worker> Master<H, F, W> {
    pub(super) fn serve_sources(&mut self, readable: &[bool]) {
        let mut sources = std::mem::take(&mut self.sources).into_iter();
        for is_readable in readable {
            let Some(mut source) = sources.next() else { break };
            let served = if *is_readable { self.serve_source(&mut *source) } else { Ok(()) };
            match served {
                Ok(()) => self.sources.push(source),
                Err(error) => log::error!(target: LOG, "{source:?} is given up: {error}"),
            }
        }
        self.sources.extend(sources);
    }

    fn serve_source(&mut self, source: &mut dyn Source) -> io::Result<()> {
        let workers = self.workers.values().map(|worker| worker.status(&self.page)).collect();
        let mut handle = Handle { workers, asked: Vec::new() };
        let served = source.ready(&mut handle);
        for signal in handle.asked {
            self.supervisor.handle_event(Event::Signal(signal), Moment::now());
        }
        served
    }
}
