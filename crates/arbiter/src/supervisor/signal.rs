//! What operators ask for, phase by phase.

use super::child::Child;
use super::{Action, Phase, Supervisor};
use crate::{Command, Halt, Moment, Options, Report, Signal};

impl Supervisor {
    pub(super) fn signal(&mut self, signal: Signal, now: Moment) {
        if matches!(self.phase, Phase::Stopped) {
            return;
        }
        self.report(Report::Handling(signal));
        match (&self.phase, signal) {
            (_, Signal::Usr1) => {
                self.actions.push_back(Action::ReopenLogs);
                self.tell_all(Command::ReopenLogs);
            }
            (_, Signal::Urg) => self.tell_all(Command::Report),
            (_, Signal::Winch) if !self.plan.daemon => self.report(Report::NotDaemonized),
            (Phase::Stopping { halt, quick: false }, Signal::Int | Signal::Quit) => {
                self.phase = Phase::Stopping { halt: *halt, quick: true };
                self.stop(now, |_| true);
            }
            (Phase::Stopping { .. } | Phase::Stopped, _) => {}
            (_, Signal::Usr2) => self.upgrade(),
            (_, Signal::Int | Signal::Quit) => self.halt(Halt::Asked, true, now),
            (_, Signal::Term) => self.halt(Halt::Asked, false, now),
            (Phase::Renewing(_), Signal::Hup) => {
                self.report(Report::HangUp);
                self.report(Report::ReloadSuperseded);
                self.tell_reload_again();
                self.reload_asked = true;
                self.abandon_reload(now);
            }
            (Phase::Running | Phase::Reloading, Signal::Hup) => {
                self.report(Report::HangUp);
                self.tell_reload_again();
                self.reload_asked = true;
            }
            (_, Signal::Winch) => {
                self.report(Report::StoppingWorkers);
                self.resize(|_| 0);
            }
            (_, Signal::Ttin) if self.wanted >= Options::WORKERS_MAX => {
                self.report(Report::WorkersMax(Options::WORKERS_MAX));
            }
            (_, Signal::Ttin) => self.resize(|wanted| (wanted + 1).min(Options::WORKERS_MAX)),
            // Nobody gets below 1 in this way, but who is there already stays.
            (_, Signal::Ttou) => self.resize(|wanted| wanted.min(wanted.saturating_sub(1).max(1))),
        }
    }

    /// Also the number that returns when a reload is abandoned: the operator asked for it.
    fn resize(&mut self, next: impl Fn(u32) -> u32) {
        self.wanted = next(self.wanted);
        if let Phase::Renewing(renewal) = &mut self.phase {
            renewal.previous_wanted = next(renewal.previous_wanted);
        }
    }

    fn tell_all(&mut self, command: Command) {
        let pids = self.children.iter().filter_map(Child::pid);
        self.actions.extend(pids.map(|pid| Action::Command { pid, command }));
    }

    pub(super) fn halt(&mut self, halt: Halt, quick: bool, now: Moment) {
        self.phase = Phase::Stopping { halt, quick };
        self.look_at = None;
        self.actions.push_back(Action::CloseListeners { graceful: !quick });
        self.stop(now, |_| true);
    }
}
