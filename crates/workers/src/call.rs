//! A call of a handler that others may end.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Ends calls of [`Handler::handle`](crate::Handler::handle) on one application thread, when a
/// request takes longer than
/// [`Options::request_timeout`](crate::Options::request_timeout).
pub trait Interrupter: Send + Sync {
    /// Makes the call end soon. This is called on a thread of its own, which may wait, for an
    /// interpreter for instance; the call may return meanwhile, so what is done to its thread has
    /// to be done while [`Call::hold`] holds it.
    fn interrupt(&self, call: &Call);

    /// Takes back an interruption that has not arrived, on the application thread: the call has
    /// returned, and the next one is not to suffer.
    fn withdraw(&self);
}

/// A call of a handler, which may return at any moment.
#[derive(Debug, Default)]
pub struct Call {
    stage: Mutex<Stage>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    /// Held once; an interruption may be on its way.
    Interrupted,
    Returned,
    #[default]
    Running,
}

/// Keeps a [`Call`] from returning.
#[derive(Debug)]
pub struct Hold<'a> {
    _stage: MutexGuard<'a, Stage>,
}

impl Call {
    /// Keeps the call from returning, for as short a time as possible; `None`: it has.
    ///
    /// ```
    /// use rgunicorn_workers::{Call, Interrupter};
    ///
    /// struct Flag(std::sync::atomic::AtomicBool);
    ///
    /// impl Interrupter for Flag {
    ///     fn interrupt(&self, call: &Call) {
    ///         if let Some(_hold) = call.hold() {
    ///             self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    ///         }
    ///     }
    ///
    ///     fn withdraw(&self) {
    ///         self.0.store(false, std::sync::atomic::Ordering::SeqCst);
    ///     }
    /// }
    /// ```
    pub fn hold(&self) -> Option<Hold<'_>> {
        let mut stage = self.stage();
        if *stage == Stage::Returned {
            return None;
        }
        *stage = Stage::Interrupted;
        Some(Hold { _stage: stage })
    }

    /// Whether it has returned by now.
    pub(crate) fn has_returned(&self) -> bool {
        *self.stage() == Stage::Returned
    }

    /// It has returned, and nobody holds it any more. `true`: somebody has.
    pub(crate) fn returned(&self) -> bool {
        std::mem::replace(&mut *self.stage(), Stage::Returned) == Stage::Interrupted
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_returned_is_not_held() {
        let call = Call::default();
        assert!(!call.returned());
        assert!(call.hold().is_none());
        let call = Call::default();
        drop(call.hold().unwrap());
        assert!(call.returned());
    }
}
