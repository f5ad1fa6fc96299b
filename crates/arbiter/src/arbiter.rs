//! The performer: binds, then does what the [`Supervisor`](crate::Supervisor) decides.

mod child;
mod kin;
mod listeners;
mod logging;
mod master;
mod orphans;

use self::kin::Kin;
use self::listeners::Listeners;
use self::logging::{log_hook, log_report};
use self::master::{Master, Possessions};
use crate::fork::ignore_broken_pipes;
use crate::pidfile::Pidfiles;
use crate::signals::Signals;
use crate::{
    Error, Exit, Forker, Halt, Hooks, Options, Pid, Report, Source, SystemForker, Worker, inherit,
};

/// Binds sockets and keeps workers alive that serve them.
///
/// ```no_run
/// use rgunicorn_arbiter::{Arbiter, Error, Exit, Options, WorkerProcess};
///
/// fn main() -> Result<Exit, Error> {
///     let options = Options::new(4).bind("127.0.0.1:7000".parse()?);
///     Arbiter::new(options).run(|mut process: WorkerProcess| {
///         process.ready()?;
///         for connection in process.incoming() {
///             std::io::copy(&mut &connection?, &mut std::io::sink())?;
///         }
///         Ok(())
///     })
/// }
/// ```
#[derive(Debug)]
pub struct Arbiter<H = (), F = SystemForker> {
    options: Options,
    hooks: H,
    forker: F,
    sources: Vec<Box<dyn Source>>,
}

impl Arbiter {
    /// Variables of the environment that one arbiter or its starter leaves to another. A worker's
    /// environment has none of them; a copy that was made before it was forked may.
    pub const VARIABLES: &[&str] = inherit::VARIABLES;

    /// The arbiter that has started this process to be replaced by it, as on USR2: see
    /// [`Options::upgrade`]. It may have ended meanwhile.
    pub fn predecessor() -> Option<Pid> {
        inherit::predecessor()
    }

    /// An arbiter without hooks that forks plainly.
    pub fn new(options: Options) -> Self {
        Self { options, hooks: (), forker: SystemForker, sources: Vec::new() }
    }
}

impl<H, F> Arbiter<H, F> {
    /// The same arbiter, observed by these hooks.
    pub fn hooks<G: Hooks>(self, hooks: G) -> Arbiter<G, F> {
        let Self { options, forker, sources, .. } = self;
        Arbiter { options, hooks, forker, sources }
    }

    /// The same arbiter with another way to fork.
    pub fn forker<G: Forker>(self, forker: G) -> Arbiter<H, G> {
        let Self { options, hooks, sources, .. } = self;
        Arbiter { options, hooks, forker, sources }
    }

    /// The same arbiter, which also watches this descriptor; there may be several.
    #[must_use]
    pub fn source(mut self, source: impl Source + 'static) -> Self {
        self.sources.push(Box::new(source));
        self
    }
}

impl<H: Hooks, F: Forker> Arbiter<H, F> {
    /// Runs until it is told to stop. It returns in the arbiter **and in each worker**: let `main`
    /// end with the [`Exit`] in both, and whatever else `main` owns is dropped in both.
    ///
    /// The process should have no other thread. Afterwards the signals of the arbiter do nothing,
    /// rather than what they did before, and SIGPIPE stays ignored.
    ///
    /// # Errors
    ///
    /// When it cannot start: see [`Error`]. In a worker there is no error, but an exit code.
    pub fn run(mut self, worker: impl Worker) -> Result<Exit, Error> {
        master::check(&self.options)?;
        ignore_broken_pipes()?;
        log_hook("nworkers_changed", self.hooks.nworkers_changed(self.options.plan.workers, None));
        let mut signals = Signals::new(Signals::ARBITER)?;
        let kin = Kin::find()?;
        let (mailbox, pages) = (inherit::mailbox()?, inherit::pages()?);
        let pidfiles = Pidfiles::create(self.options.pidfile.as_deref(), kin.predecessor())?;
        self.hooks.on_starting()?;
        let Some(mut listeners) =
            Listeners::open(&self.options, inherit::sockets()?, &mut signals)?
        else {
            log_report(&Report::ShuttingDown(Halt::Asked));
            return Ok(Exit::of_arbiter(Halt::Asked));
        };
        listeners.share(kin.predecessor().is_some());
        listeners.log(self.options.scheme);
        self.hooks.when_ready(listeners.as_slice())?;
        let Self { options, hooks, forker, sources } = self;
        // Whoever is seen to be idle is sent work, and has to look into the same mailbox.
        let shared = mailbox.map(|mailbox| (mailbox, pages)).filter(|_| options.mailbox);
        let possessions = Possessions { signals, listeners, pidfiles, kin, shared, sources };
        Ok(Master::new(options, hooks, forker, worker, possessions)?.run())
    }
}
