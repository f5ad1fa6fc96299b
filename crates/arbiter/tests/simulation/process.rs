//! A worker process as it is, whatever the supervisor believes.

use std::time::Duration;

use rgunicorn_arbiter::{ExitStatus, WorkerId};

use crate::random::{Random, Temper};

pub(crate) struct Process {
    pub(crate) worker: WorkerId,
    pub(crate) age: u64,
    pub(crate) generation: u64,
    pub(crate) is_ready: bool,
    /// `None`: it will never be ready by itself.
    pub(crate) ready_at: Option<Duration>,
    pub(crate) dies_at: Option<(Duration, ExitStatus)>,
    /// Heeds no command, and does not beat.
    pub(crate) is_hung: bool,
    pub(crate) last_beat: Option<Duration>,
    pub(crate) has_asked: bool,
    pub(crate) told: Told,
}

/// The last word to a process, as far as its end is concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Told {
    Nothing,
    /// It hangs, and will have a successor.
    Abort,
    Stop,
    Killed,
}

impl Process {
    /// One that boots in up to three seconds, then serves for ever.
    pub(crate) fn new(
        worker: WorkerId,
        age: u64,
        generation: u64,
        now: Duration,
        random: &mut Random,
    ) -> Self {
        Self {
            worker,
            age,
            generation,
            is_ready: false,
            ready_at: Some(now + random.up_to(Duration::from_secs(3))),
            dies_at: None,
            is_hung: false,
            last_beat: None,
            has_asked: false,
            told: Told::Nothing,
        }
    }

    /// The same with a fault, maybe: it hangs, or dies, before it is ready or after.
    pub(crate) fn with_faults(mut self, random: &mut Random, temper: &Temper) -> Self {
        let Some(booted_at) = self.ready_at else { return self };
        match random.below(temper.workers_for_60_faults) {
            0..10 => self.ready_at = None,
            10..25 => {
                self.ready_at = None;
                let codes = [0, 1, 3, 4].map(ExitStatus::Exited);
                let status = random.pick(&[codes[0], codes[1], codes[2], codes[3], KILLED]);
                self.dies_at = Some((booted_at, status));
            }
            25..40 => self.is_hung = true,
            40..60 => {
                let dies_at = booted_at + random.up_to(Duration::from_secs(5));
                let status = ExitStatus::Exited(random.pick(&[0, 1, 255]));
                self.dies_at = Some((dies_at, status));
            }
            _ => {}
        }
        self
    }

    /// Whether it serves, and is to go on with it.
    pub(crate) fn serves(&self) -> bool {
        self.is_ready && self.told == Told::Nothing
    }
}

pub(crate) const KILLED: ExitStatus = ExitStatus::Signaled(9);
