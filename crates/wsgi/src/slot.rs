//! A place from which a value is lent for the time of one operation.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use pyo3::PyErr;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

/// Holds what several Python objects share while one request lasts.
///
/// The lock is held only to take the value out and to put it back, never while working with it: a
/// thread that blocked on a lock while it is attached, behind one that waits to be attached, would
/// stop the interpreter for good. Whoever comes while the value is lent is told so.
pub(crate) struct Slot<T> {
    state: Mutex<State<T>>,
    returned: Condvar,
}

struct State<T> {
    /// `None` while lent, or before the first `open`.
    value: Option<T>,
    /// False before and after a request.
    open: bool,
    /// Whether `returned` has a listener; saves the system call of notifying nobody.
    awaited: bool,
}

impl<T> Slot<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State { value: None, open: false, awaited: false }),
            returned: Condvar::new(),
        }
    }

    /// A request begins.
    pub(crate) fn open(&self, value: T) {
        let mut state = self.lock();
        state.value = Some(value);
        state.open = true;
    }

    /// Lends the value to `work`, unless another thread has it or the request is over.
    pub(crate) fn lend<R>(&self, work: impl FnOnce(&mut T) -> R) -> Result<R, Unavailable> {
        let value = {
            let mut state = self.lock();
            if !state.open {
                return Err(Unavailable::Over);
            }
            state.value.take().ok_or(Unavailable::Busy)?
        };
        Ok(self.with(value, work))
    }

    /// Lends the value to `work` as soon as no other thread has it.
    pub(crate) fn lend_in_turn<R>(&self, py: Python<'_>, work: impl FnOnce(&mut T) -> R) -> R
    where
        T: Send,
    {
        let taken = self.lock().value.take();
        let value = taken.unwrap_or_else(|| py.detach(|| self.wait_detached()));
        self.with(value, work)
    }

    /// The request is over: nobody gets the value any more but the caller.
    pub(crate) fn close(&self, py: Python<'_>) -> T
    where
        T: Send,
    {
        let taken = {
            let mut state = self.lock();
            state.open = false;
            state.value.take()
        };
        taken.unwrap_or_else(|| py.detach(|| self.wait_detached()))
    }

    /// Puts the value back even if `work` panics: the application may swallow what PyO3 makes of the
    /// panic, and then the end of the request would wait for ever.
    fn with<R>(&self, mut value: T, work: impl FnOnce(&mut T) -> R) -> R {
        let result = panic::catch_unwind(AssertUnwindSafe(|| work(&mut value)));
        let mut state = self.lock();
        state.value = Some(value);
        if state.awaited {
            self.returned.notify_all();
        }
        drop(state);
        result.unwrap_or_else(|panic| panic::resume_unwind(panic))
    }

    fn wait_detached(&self) -> T {
        let mut state = self.lock();
        loop {
            if let Some(value) = state.value.take() {
                state.awaited = false;
                return value;
            }
            state.awaited = true;
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A panic elsewhere cannot leave the state half changed: every change is one assignment.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a value cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// Another thread works with it.
    Busy,
    /// The request has ended.
    Over,
}

impl From<Unavailable> for PyErr {
    /// The same exceptions as for a file: `ValueError` when closed, `RuntimeError` on reentry.
    fn from(unavailable: Unavailable) -> Self {
        match unavailable {
            Unavailable::Busy => PyRuntimeError::new_err("another thread uses this request"),
            Unavailable::Over => PyValueError::new_err("the request has ended"),
        }
    }
}
