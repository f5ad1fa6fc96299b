//! The page that all workers share with their arbiter: who is ready, who wants to be replaced, and
//! when each last beat.
//!
//! gunicorn keeps a temporary file per worker and sets its time stamp: two syscalls a beat, and a
//! trap when the directory is on a slow disk. A word of shared memory costs one store.

use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::{Moment, RetireReason, WorkerId};

/// Tells the arbiter that the worker is alive; made by [`WorkerProcess::heartbeat`].
///
/// Clones beat for the same worker, from any thread.
///
/// [`WorkerProcess::heartbeat`]: crate::WorkerProcess::heartbeat
#[derive(Clone, Debug)]
pub struct Heartbeat {
    page: Arc<SharedPage>,
    worker: WorkerId,
}

/// One slot per worker, mapped before the first fork, so that every process has the same.
#[derive(Debug)]
pub(crate) struct SharedPage {
    slots: NonNull<[Slot; WorkerId::SLOTS]>,
}

/// Alone in its cache line: workers on different cores beat without disturbing each other.
#[derive(Debug)]
#[repr(align(64))]
struct Slot {
    /// Milliseconds of the monotonic clock, 0 before the first beat.
    beat: AtomicU64,
    ready: AtomicBool,
    /// `RetireReason::code`, 0 for none.
    retire: AtomicU8,
}

impl Heartbeat {
    /// Beats: one relaxed store of the present time.
    pub fn beat(&self) {
        self.page.slot(self.worker).beat.store(Moment::now().as_millis(), Ordering::Relaxed);
    }
}

impl SharedPage {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        let length = NonZeroUsize::new(LENGTH).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        #[expect(unsafe_code, reason = "shared memory has no safe interface")]
        // SAFETY: an anonymous mapping at an address of the kernel's choice overlaps nothing.
        let memory = unsafe { mmap_anonymous(None, length, protection, MapFlags::MAP_SHARED) }?;
        Ok(Arc::new(Self { slots: memory.cast() }))
    }

    /// Before the worker is forked: nothing of its predecessor's remains.
    pub(crate) fn clear(&self, worker: WorkerId) {
        let slot = self.slot(worker);
        slot.beat.store(0, Ordering::Relaxed);
        slot.ready.store(false, Ordering::Relaxed);
        slot.retire.store(0, Ordering::Relaxed);
    }

    pub(crate) fn last_beat(&self, worker: WorkerId) -> Option<Moment> {
        match self.slot(worker).beat.load(Ordering::Relaxed) {
            0 => None,
            milliseconds => Some(Moment::from_millis(milliseconds)),
        }
    }

    pub(crate) fn set_ready(&self, worker: WorkerId) {
        self.slot(worker).ready.store(true, Ordering::Release);
    }

    pub(crate) fn is_ready(&self, worker: WorkerId) -> bool {
        self.slot(worker).ready.load(Ordering::Acquire)
    }

    pub(crate) fn set_retire(&self, worker: WorkerId, reason: RetireReason) {
        self.slot(worker).retire.store(reason.code(), Ordering::Release);
    }

    pub(crate) fn retire_reason(&self, worker: WorkerId) -> Option<RetireReason> {
        RetireReason::from_code(self.slot(worker).retire.load(Ordering::Acquire))
    }

    pub(crate) fn heartbeat(self: &Arc<Self>, worker: WorkerId) -> Heartbeat {
        Heartbeat { page: Arc::clone(self), worker }
    }

    fn slot(&self, worker: WorkerId) -> &Slot {
        #[expect(unsafe_code, reason = "shared memory has no safe interface")]
        // SAFETY: the mapping holds `SLOTS` slots from a page boundary on, lives as long as `self`,
        // and all zeros, with which the kernel fills it, is a valid `Slot`. Other processes write
        // to it, but through the same atomics only.
        let slots = unsafe { self.slots.as_ref() };
        #[expect(clippy::indexing_slicing, reason = "a WorkerId is below SLOTS by construction")]
        &slots[worker.index()]
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "shared memory has no safe interface")]
        // SAFETY: mapped in `new` with this length; every reference into it borrows from `self`.
        let unmapped = unsafe { munmap(self.slots.cast(), LENGTH) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}

#[expect(unsafe_code, reason = "NonNull is neither Send nor Sync by itself")]
// SAFETY: the mapping is not bound to a thread.
unsafe impl Send for SharedPage {}

#[expect(unsafe_code, reason = "NonNull is neither Send nor Sync by itself")]
// SAFETY: a shared reference gives access to atomics only.
unsafe impl Sync for SharedPage {}

const LENGTH: usize = size_of::<[Slot; WorkerId::SLOTS]>();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_separate_and_cleared() {
        let page = SharedPage::new().unwrap();
        let (first, last) = (WorkerId::all().next().unwrap(), WorkerId::all().last().unwrap());
        assert_eq!(page.last_beat(last), None);
        page.heartbeat(last).beat();
        page.set_ready(last);
        assert!(page.last_beat(last).is_some() && page.is_ready(last));
        assert!(page.last_beat(first).is_none() && !page.is_ready(first));
        page.set_retire(last, RetireReason::MaxRequests);
        assert_eq!(page.retire_reason(last), Some(RetireReason::MaxRequests));
        assert_eq!(page.retire_reason(first), None);
        page.clear(last);
        assert!(page.last_beat(last).is_none() && !page.is_ready(last));
        assert_eq!(page.retire_reason(last), None);
    }
}
