//! The page that all workers share with their arbiter: who is ready, who wants to be replaced, when
//! each last beat, and words of which only the workers know the meaning.
//!
//! gunicorn keeps a temporary file per worker and sets its time stamp: two syscalls a beat, and a
//! trap when the directory is on a slow disk. A word of shared memory costs one store.

use std::io;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

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

/// What a worker tells its siblings: numbers in memory that all of them share, as many as
/// [`Options::words_per_worker`] says; made by [`WorkerProcess::words`].
///
/// It dereferences to the worker's own words, which are 0 when it starts, stay while other workers
/// are replaced, and share no cache line with another's. Clones are the same words, from any
/// thread.
///
/// ```
/// use std::sync::atomic::Ordering::Relaxed;
/// use rgunicorn_arbiter::{WorkerError, WorkerProcess};
///
/// /// With `Options::words_per_worker(1)`: connections that a worker has open.
/// fn least_busy(process: &WorkerProcess, open: u64) -> bool {
///     let words = process.words();
///     if let [own, ..] = &*words {
///         own.store(open, Relaxed);
///     }
///     let mut others = words.all().filter_map(|(_, words)| words.first());
///     others.all(|others| others.load(Relaxed) >= open)
/// }
/// ```
///
/// [`Options::words_per_worker`]: crate::Options::words_per_worker
/// [`WorkerProcess::words`]: crate::WorkerProcess::words
#[derive(Clone, Debug)]
pub struct Words {
    page: Arc<SharedPage>,
    worker: WorkerId,
}

/// One slot per worker, mapped before the first fork, so that every process has the same. Behind
/// the slots, in the same mapping, are the words.
#[derive(Debug)]
pub(crate) struct SharedPage {
    slots: NonNull<Slots>,
    words: NonNull<AtomicU64>,
    /// Of each worker, at most `Options::WORDS_MAX`.
    words_per_worker: usize,
    /// Whether this process is none of the arbiter's, which is its own affair and not shared.
    is_detached: AtomicBool,
}

#[derive(Debug)]
#[repr(C)]
struct Slots {
    /// There will be workers when all that are here now have ended.
    service_goes_on: AtomicBool,
    /// How many of the slots have ever been used: nobody need look at the others.
    used: AtomicUsize,
    each: [Slot; WorkerId::SLOTS],
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
        if !self.page.is_detached() {
            self.page.slot(self.worker).beat.store(Moment::coarse().as_millis(), Ordering::Relaxed);
        }
    }
}

impl Heartbeat {
    /// How long ago the worker beat; zero if it never has.
    pub fn silence(&self) -> Duration {
        let beat = self.page.last_beat(self.worker);
        beat.map_or(Duration::ZERO, |beat| Moment::now().saturating_since(beat))
    }
}

impl Words {
    /// The words of every worker that serves, this one's too, in the order of their ids. It reads
    /// as many cache lines as there have been workers at a time, not as there may be.
    pub fn all(&self) -> impl Iterator<Item = (WorkerId, &[AtomicU64])> {
        let used = self.page.slots().used.load(Ordering::Relaxed);
        WorkerId::all()
            .take(used)
            .filter(|worker| self.page.is_ready(*worker))
            .map(|worker| (worker, self.page.words(worker)))
    }

    /// Whether there will be workers when those of the present have ended: the arbiter replaces who
    /// ends, or another arbiter, of an upgrade, serves on. What is left in the
    /// [mailbox](crate::Mailbox) then finds somebody, sooner or later.
    pub fn service_goes_on(&self) -> bool {
        self.page.slots().service_goes_on.load(Ordering::SeqCst)
    }
}

impl Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        self.page.words(self.worker)
    }
}

impl SharedPage {
    /// The kernel gives memory to what is used of it; the rest costs addresses only.
    pub(crate) fn new(words_per_worker: usize) -> io::Result<Arc<Self>> {
        let length =
            NonZeroUsize::new(length(words_per_worker)).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        #[expect(unsafe_code, reason = "shared memory has no safe interface")]
        // SAFETY: an anonymous mapping at an address of the kernel's choice overlaps nothing.
        let memory = unsafe { mmap_anonymous(None, length, protection, MapFlags::MAP_SHARED) }?;
        let slots = memory.cast::<Slots>();
        #[expect(unsafe_code, reason = "shared memory has no safe interface")]
        // SAFETY: the mapping is at least as long as `Slots`.
        let words = unsafe { slots.add(1) }.cast();
        let is_detached = AtomicBool::new(false);
        Ok(Arc::new(Self { slots, words, words_per_worker, is_detached }))
    }

    /// Before the worker is forked: nothing of its predecessor's remains.
    pub(crate) fn clear(&self, worker: WorkerId) {
        let slot = self.slot(worker);
        slot.beat.store(0, Ordering::Relaxed);
        slot.ready.store(false, Ordering::Relaxed);
        slot.retire.store(0, Ordering::Relaxed);
        for word in self.words(worker) {
            word.store(0, Ordering::Relaxed);
        }
        self.slots().used.fetch_max(worker.index() + 1, Ordering::Relaxed);
    }

    /// After the worker has ended: it serves no more.
    pub(crate) fn clear_ready(&self, worker: WorkerId) {
        self.slot(worker).ready.store(false, Ordering::Release);
    }

    /// This process, forked from a worker, is none itself.
    pub(crate) fn detach(&self) {
        self.is_detached.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_detached(&self) -> bool {
        self.is_detached.load(Ordering::Relaxed)
    }

    /// Said before workers are told to stop.
    pub(crate) fn set_service_goes_on(&self, goes_on: bool) {
        self.slots().service_goes_on.store(goes_on, Ordering::SeqCst);
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

    pub(crate) fn words_of(self: &Arc<Self>, worker: WorkerId) -> Words {
        Words { page: Arc::clone(self), worker }
    }

    fn slots(&self) -> &Slots {
        #[expect(unsafe_code, reason = "shared memory has no safe interface")]
        // SAFETY: the mapping holds `Slots` from a page boundary on, lives as long as `self`, and
        // all zeros, with which the kernel fills it, is a valid value. Other processes write to it,
        // but through the same atomics only.
        unsafe {
            self.slots.as_ref()
        }
    }

    fn slot(&self, worker: WorkerId) -> &Slot {
        #[expect(clippy::indexing_slicing, reason = "a WorkerId is below SLOTS by construction")]
        &self.slots().each[worker.index()]
    }

    pub(crate) fn words(&self, worker: WorkerId) -> &[AtomicU64] {
        let first = worker.index() * stride(self.words_per_worker);
        #[expect(unsafe_code, reason = "shared memory has no safe interface")]
        // SAFETY: behind the slots the mapping holds a stride of words for each of `SLOTS` workers,
        // and a WorkerId is below that.
        let first = unsafe { self.words.add(first) };
        #[expect(unsafe_code, reason = "shared memory has no safe interface")]
        // SAFETY: a stride is no shorter than the words of a worker. As for `slots`, zeros are
        // valid, others write through the same atomics, and it lives as long as `self`.
        unsafe {
            slice::from_raw_parts(first.as_ptr(), self.words_per_worker)
        }
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "shared memory has no safe interface")]
        // SAFETY: mapped in `new` with this length; every reference into it borrows from `self`.
        let unmapped = unsafe { munmap(self.slots.cast(), length(self.words_per_worker)) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}

#[expect(unsafe_code, reason = "NonNull is neither Send nor Sync by itself")]
// SAFETY: the mapping is not bound to a thread.
unsafe impl Send for SharedPage {}

#[expect(unsafe_code, reason = "NonNull is neither Send nor Sync by itself")]
// SAFETY: a shared reference gives access to atomics only.
unsafe impl Sync for SharedPage {}

/// Of the mapping, in bytes.
fn length(words_per_worker: usize) -> usize {
    size_of::<Slots>() + WorkerId::SLOTS * stride(words_per_worker) * size_of::<AtomicU64>()
}

/// From one worker's words to the next one's: as many as fill whole cache lines.
fn stride(words_per_worker: usize) -> usize {
    words_per_worker.next_multiple_of(size_of::<Slot>() / size_of::<AtomicU64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_separate_and_cleared() {
        let page = SharedPage::new(0).unwrap();
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

    #[test]
    fn words_are_separate_and_cleared() {
        for count in [0, 1, 8, 9, 4096] {
            let page = SharedPage::new(count).unwrap();
            let ids: Vec<WorkerId> = WorkerId::all().collect();
            for id in &ids {
                let words = page.words_of(*id);
                assert_eq!(words.len(), count);
                words.iter().for_each(|word| word.store(id.index() as u64 + 1, Ordering::Relaxed));
            }
            for id in &ids {
                let is_own =
                    |word: &AtomicU64| word.load(Ordering::Relaxed) == id.index() as u64 + 1;
                assert!(page.words_of(*id).iter().all(is_own));
            }
            page.clear(ids[3]);
            assert!(page.words_of(ids[3]).iter().all(|word| word.load(Ordering::Relaxed) == 0));
        }
    }

    #[test]
    fn only_who_serves_is_listed() {
        let page = SharedPage::new(1).unwrap();
        let ids: Vec<WorkerId> = WorkerId::all().take(3).collect();
        for id in &ids {
            page.clear(*id);
        }
        let words = page.words_of(ids[0]);
        assert_eq!(words.all().count(), 0);
        page.set_ready(ids[0]);
        page.set_ready(ids[2]);
        page.words_of(ids[2])[0].store(7, Ordering::Relaxed);
        let all: Vec<_> =
            words.all().map(|(id, words)| (id, words[0].load(Ordering::Relaxed))).collect();
        assert_eq!(all, [(ids[0], 0), (ids[2], 7)]);
        page.clear_ready(ids[2]);
        assert_eq!(words.all().count(), 1);
    }
}
