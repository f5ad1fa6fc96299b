//! Who looks after the worker while its application is busy.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};

use rgunicorn_arbiter::WorkerId;

use crate::access::RequestLog;
use crate::handler::Handler;
use crate::lead::View;
use crate::poller::poll_timeout;
use crate::pool::Pool;
use crate::tick::TICK;

/// A thread that never touches the interpreter, so that nothing in it can hold it up.
///
/// It sleeps while somebody leads. If an application call lasts longer than a tick, the reactor
/// lies orphaned: the monitor calls an idle application thread to lead, or leads itself when all
/// are busy.
#[derive(Debug)]
pub(crate) struct Monitor<H, L> {
    /// Siblings that had nothing to do at the last tick.
    idle: Vec<(WorkerId, u64)>,
    pool: Arc<Pool<H, L>>,
    /// The vacancy that the last tick found.
    seen: Option<u64>,
    watch: Watch,
}

/// How often to look after those who wait when there is nobody to pass them on to.
const LONELY_TICK: Duration = Duration::from_millis(10);

/// What wakes the monitor.
#[derive(Clone, Copy, Debug)]
enum Watch {
    /// The poller too, and the end of this time: the monitor leads.
    Poller(Option<Duration>),
    /// The tick only.
    Tick,
}

impl<H: Handler, L: RequestLog> Monitor<H, L> {
    pub(crate) fn new(pool: Arc<Pool<H, L>>) -> Self {
        Self { idle: Vec::new(), pool, seen: None, watch: Watch::Tick }
    }

    /// Until the worker ends.
    pub(crate) fn run(mut self) {
        loop {
            self.sleep();
            self.pool.context.heed_silence();
            match self.pool.lead.view() {
                View::Stopped => return,
                View::Led => self.stand_by(),
                // A request that has just begun will be over soon.
                View::Vacant { turn, .. } if self.seen != Some(turn) => {
                    self.stand_by();
                    self.seen = Some(turn);
                }
                View::Vacant { turn, .. } => self.step_in(turn),
            }
        }
    }

    fn sleep(&self) {
        let (tick, poller) = (self.pool.tick.as_fd(), self.pool.context.poller.as_fd());
        let mut fds =
            [PollFd::new(tick, PollFlags::POLLIN), PollFd::new(poller, PollFlags::POLLIN)];
        let (fds, patience) = match self.watch {
            Watch::Poller(patience) => (&mut fds[..], patience),
            Watch::Tick => (&mut fds[..1], None),
        };
        if let Err(error) = poll(fds, poll_timeout(patience)) {
            log::debug!("the monitor was woken: {error}");
        }
        self.pool.tick.drain();
    }

    /// Somebody leads, or will soon; work goes on unless he sleeps.
    fn stand_by(&mut self) {
        self.seen = None;
        self.watch = Watch::Tick;
        // Nobody's response waits longer than a tick for a call that lasts.
        self.pool.context.outbox.flush();
        if !self.pool.context.is_asleep() {
            self.pool.tick.arm(TICK);
        }
        if self.pool.context.board.has_rested(&mut self.idle) {
            self.pool.context.ask_to_spread();
        }
    }

    /// The reactor has lain orphaned for a whole tick.
    fn step_in(&mut self, turn: u64) {
        let pool = &self.pool;
        if pool.lead.call_follower() {
            self.stand_by();
            return;
        }
        let Some(mut reactor) = pool.lead.take_vacant(turn) else {
            self.stand_by();
            return;
        };
        if let Err(error) = reactor.tend() {
            pool.fail(error);
            return;
        }
        if reactor.is_finished() {
            // Only calls are left that nobody waits for. Of several threads the main one has none.
            pool.stop();
            if pool.context.beat.is_some() {
                pool.abort();
            }
        }
        // From here on whoever has something to send sends it himself.
        pool.context.set_asleep(true);
        pool.context.outbox.flush();
        self.watch = if reactor.has_ready() {
            let has_siblings = pool.context.has_receivers();
            pool.tick.arm(if has_siblings { TICK } else { LONELY_TICK });
            Watch::Tick
        } else {
            Watch::Poller(reactor.patience())
        };
        pool.lead.put_back(reactor);
    }
}
