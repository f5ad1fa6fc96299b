//! The other arbiter at the same sockets, as processes: the one that started this one to be
//! replaced by it, and the one that this one has started for that.

use std::io;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal as Number;

use crate::{Pid, inherit};

#[derive(Debug)]
pub(super) struct Kin {
    /// Until it is gone.
    predecessor: Option<Pid>,
    /// Until it is reaped.
    pub(super) successor: Option<Pid>,
}

impl Kin {
    /// The predecessor's end is to wake this process, as if it were a child's.
    pub(super) fn find() -> io::Result<Self> {
        let predecessor = inherit::predecessor();
        if predecessor.is_some() {
            set_pdeathsig(Number::SIGCHLD)?;
        }
        Ok(Self { predecessor, successor: None })
    }

    pub(super) fn predecessor(&self) -> Option<Pid> {
        self.predecessor
    }

    /// Whether the predecessor has gone since the last call: then init, or a reaper, is the parent.
    pub(super) fn loses_predecessor(&mut self) -> bool {
        let is_gone = self.predecessor.is_some_and(|predecessor| predecessor != Pid::parent());
        if is_gone {
            self.predecessor = None;
        }
        is_gone
    }
}
