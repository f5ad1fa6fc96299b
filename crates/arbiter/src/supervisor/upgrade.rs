//! Upgrade: two arbiters at the same sockets, until one of them goes.
//!
//! Either may: when the old one goes the new one is promoted, and when the new one goes the old one
//! is as it was.

use std::io;

use super::{Action, Supervisor};
use crate::{ExitStatus, Pid, Report};

/// The other arbiter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kin {
    /// There is none.
    None,
    /// The one that this one is to replace.
    Predecessor,
    /// The one that is to replace this one; `None` while `Action::Upgrade` is out.
    Successor(Option<Pid>),
}

impl Supervisor {
    /// Tells that another arbiter has started this one to take its place, and is not gone yet.
    pub fn await_promotion(&mut self) {
        self.kin = Kin::Predecessor;
    }

    pub(super) fn is_successor(&self) -> bool {
        self.kin == Kin::Predecessor
    }

    pub(super) fn successor(&self) -> Option<Pid> {
        match self.kin {
            Kin::Successor(pid) => pid,
            Kin::None | Kin::Predecessor => None,
        }
    }

    pub(super) fn upgrade(&mut self) {
        match self.kin {
            Kin::None => {
                self.kin = Kin::Successor(None);
                self.actions.push_back(Action::Upgrade);
            }
            Kin::Predecessor => self.report(Report::UpgradeIgnored { other: "Parent" }),
            Kin::Successor(_) => self.report(Report::UpgradeIgnored { other: "Child" }),
        }
    }

    pub(super) fn upgraded(&mut self, result: io::Result<Pid>) {
        if self.kin != Kin::Successor(None) {
            return;
        }
        match result {
            Ok(pid) => {
                self.kin = Kin::Successor(Some(pid));
                self.actions.push_back(Action::ShareListeners(true));
                self.report(Report::Upgrading { pid });
            }
            Err(error) => {
                self.kin = Kin::None;
                self.report(Report::UpgradeFailed { error });
            }
        }
    }

    /// Whether it was the successor that ended.
    pub(super) fn successor_exited(&mut self, pid: Pid, status: ExitStatus) -> bool {
        let is_successor = self.successor() == Some(pid);
        if is_successor {
            self.kin = Kin::None;
            self.actions.push_back(Action::ShareListeners(false));
            self.report(Report::UpgradeEnded { pid, status });
        }
        is_successor
    }

    /// The predecessor is gone.
    pub(super) fn promoted(&mut self) {
        if self.kin == Kin::Predecessor {
            self.kin = Kin::None;
            self.report(Report::Promoted);
            self.actions.push_back(Action::Promote);
            self.actions.push_back(Action::ShareListeners(false));
            self.tell_anew();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Moment, Plan, Signal};

    /// What workers may leave behind finds somebody, unless the service ends.
    #[test]
    fn the_service_goes_on_with_this_arbiter_or_with_another() {
        let now = Moment::now();
        let supervisor = || Supervisor::new(Plan::new(2), now);
        assert!(supervisor().service_goes_on());
        for signal in [Signal::Term, Signal::Quit, Signal::Int] {
            let mut alone = supervisor();
            alone.handle_event(Event::Signal(signal), now);
            assert!(!alone.service_goes_on(), "{signal:?}");

            let mut new = supervisor();
            new.await_promotion();
            new.handle_event(Event::Signal(signal), now);
            assert!(new.service_goes_on(), "{signal:?}: the old one serves on");
        }
        let mut old = supervisor();
        old.handle_event(Event::Signal(Signal::Usr2), now);
        old.handle_event(Event::Upgraded(Ok(Pid::from_raw(7))), now);
        old.handle_event(Event::Signal(Signal::Term), now);
        assert!(old.service_goes_on());
        let (pid, status) = (Pid::from_raw(7), ExitStatus::Exited(0));
        old.handle_event(Event::Exited { pid, status, out_of_memory: None }, now);
        assert!(!old.service_goes_on());
    }
}
