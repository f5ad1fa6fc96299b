//! The page that all workers share with their arbiter: who is ready, who wants to be replaced, when
//! each last beat, and words of which only the workers know the meaning.
//!
//! gunicorn keeps a temporary file per worker and sets its time stamp: two syscalls a beat, and a
//! trap when the directory is on a slow disk. A word of shared memory costs one store.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use nix::sys::resource::{Resource, getrlimit};

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
///
/// At an upgrade two arbiters serve, and their workers see each other's words. The old ones were
/// forked before there was a new one: so each arbiter has a page ready for its successor, which its
/// workers look at as well, and leaves both behind.
#[derive(Debug)]
pub(crate) struct SharedPage {
    /// Absent if nobody else is to map it.
    file: Option<OwnedFd>,
    slots: NonNull<Slots>,
    words: NonNull<AtomicU64>,
    /// Of each worker, at most `Options::WORDS_MAX`.
    words_per_worker: usize,
    /// Whether this process is none of the arbiter's, which is its own affair and not shared.
    is_detached: AtomicBool,
    /// Those of other arbiters: of a successor, and before it of a predecessor, if there is one.
    kin: Vec<Self>,
}

#[derive(Debug)]
#[repr(C)]
struct Slots {
    /// `layout()`, as long as nobody else has written to it.
    layout: AtomicU64,
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
    /// The words of every worker that serves, this one's too, in the order of their ids; after them
    /// those of the other arbiter at an upgrade, with ids that may be the same. It reads as many cache
    /// lines as there have been workers at a time, not as there may be.
    pub fn all(&self) -> impl Iterator<Item = (WorkerId, &[AtomicU64])> {
        self.page.words_in_use().chain(self.page.kin.iter().flat_map(SharedPage::words_in_use))
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
    /// That of an arbiter, with those of its kin. What a predecessor left is as `files` tells it, and
    /// of no use if that is another version, or its workers have other numbers of words.
    pub(crate) fn open(
        words_per_worker: usize,
        files: Option<[OwnedFd; 2]>,
    ) -> io::Result<Arc<Self>> {
        let left = files.map(|files| files.map(|file| Self::left(file, words_per_worker)));
        let (mut own, predecessors) = match left {
            Some([Ok(mut predecessors), Ok(own)]) => {
                predecessors.file = None;
                (own, Some(predecessors))
            }
            Some(_) | None => (Self::new(words_per_worker)?, None),
        };
        own.kin = predecessors.into_iter().collect();
        own.kin.push(Self::new(words_per_worker)?);
        Ok(Arc::new(own))
    }

    /// What a successor opens: this one, and its own. `None` if either is no file.
    pub(crate) fn files(&self) -> Option<[BorrowedFd<'_>; 2]> {
        let own = self.file.as_ref()?;
        let successors = self.kin.last()?.file.as_ref()?;
        Some([own.as_fd(), successors.as_fd()])
    }

    /// The other arbiter is gone, and its workers with it.
    pub(crate) fn forget_kin(&self) {
        for page in &self.kin {
            page.slots().used.store(0, Ordering::Relaxed);
        }
    }

    /// The kernel gives memory to what is used of it; the rest costs addresses only.
    fn new(words_per_worker: usize) -> io::Result<Self> {
        let file = memory_file(length(words_per_worker) as u64).inspect_err(|error| {
            log::debug!("no other arbiter will see these workers: no file in memory: {error}");
        });
        let page = Self::map(file.ok(), words_per_worker)?;
        page.slots().layout.store(layout(), Ordering::Relaxed);
        Ok(page)
    }

    /// What another arbiter made, if it can be used here.
    fn left(file: OwnedFd, words_per_worker: usize) -> io::Result<Self> {
        let file = File::from(file);
        let seals = SealFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GET_SEALS)?);
        // Whoever reads beyond the end of a file dies of SIGBUS.
        let is_whole = file.metadata()?.len() == length(words_per_worker) as u64;
        if !is_whole || !seals.contains(SealFlag::F_SEAL_SHRINK) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let page = Self::map(Some(file.into()), words_per_worker)?;
        if page.is_known() { Ok(page) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    fn map(file: Option<OwnedFd>, words_per_worker: usize) -> io::Result<Self> {
        let length =
            NonZeroUsize::new(length(words_per_worker)).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_SHARED;
        #[expect(unsafe_code, reason = "shared memory has no safe interface")]
        let memory = match &file {
            // SAFETY: a mapping at an address of the kernel's choice overlaps nothing.
            Some(file) => unsafe { mmap(None, length, protection, flags, file, 0) },
            // SAFETY: as above.
            None => unsafe { mmap_anonymous(None, length, protection, flags) },
        }?;
        let slots = memory.cast::<Slots>();
        #[expect(unsafe_code, reason = "shared memory has no safe interface")]
        // SAFETY: the mapping is at least as long as `Slots`.
        let words = unsafe { slots.add(1) }.cast();
        let is_detached = AtomicBool::new(false);
        Ok(Self { file, slots, words, words_per_worker, is_detached, kin: Vec::new() })
    }

    /// Whether whoever made it has the same notion of what is where.
    fn is_known(&self) -> bool {
        #[expect(unsafe_code, reason = "shared memory has no safe interface")]
        // SAFETY: every page of whatever version begins with this number, of which any is valid.
        let made_by = unsafe { self.slots.cast::<AtomicU64>().as_ref() };
        made_by.load(Ordering::Relaxed) == layout()
    }

    fn words_in_use(&self) -> impl Iterator<Item = (WorkerId, &[AtomicU64])> {
        let used = self.slots().used.load(Ordering::Relaxed);
        let ready = WorkerId::all().take(used).filter(|worker| self.is_ready(*worker));
        ready.map(|worker| (worker, self.words(worker)))
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

/// A file of this length for a successor to map. It never becomes shorter. A limit for the sizes of
/// files and a kernel that wants none in memory (`vm.memfd_noexec`) are reasons to have none.
fn memory_file(length: u64) -> io::Result<OwnedFd> {
    let (limit, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
    if limit < length {
        // Whoever tries dies of SIGXFSZ, setrlimit(2).
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = File::from(memfd_create("rgunicorn-words", flags)?);
    file.set_len(length)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK))?;
    Ok(file.into())
}

/// What tells versions of this program apart, of which another may be the successor.
fn layout() -> u64 {
    let mut hasher = DefaultHasher::new();
    (env!("CARGO_PKG_VERSION"), size_of::<Slots>()).hash(&mut hasher);
    hasher.finish()
}

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
        let page = SharedPage::open(0, None).unwrap();
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
            let page = SharedPage::open(count, None).unwrap();
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
        let page = SharedPage::open(1, None).unwrap();
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

    #[test]
    fn what_a_predecessor_left_is_used_if_it_fits() {
        let old = SharedPage::open(1, None).unwrap();
        let left = || {
            let files = old.files().unwrap();
            Some(files.map(|file| file.try_clone_to_owned().unwrap()))
        };
        let id = WorkerId::all().next().unwrap();
        old.clear(id);
        old.set_ready(id);
        old.words(id)[0].store(7, Ordering::Relaxed);
        let seen = |page: &Arc<SharedPage>| {
            let words = page.words_of(id);
            words.all().map(|(_, words)| words[0].load(Ordering::Relaxed)).collect::<Vec<_>>()
        };
        let new = SharedPage::open(1, left()).unwrap();
        new.clear(id);
        new.set_ready(id);
        new.words(id)[0].store(8, Ordering::Relaxed);
        assert_eq!((seen(&old), seen(&new)), (vec![7, 8], vec![8, 7]));
        // The new one has gone.
        old.forget_kin();
        assert_eq!((seen(&old), seen(&new)), (vec![7], vec![7]));

        let with_others = SharedPage::open(9, left()).unwrap();
        assert_eq!(with_others.kin.len(), 1);
        old.slots().layout.fetch_add(1, Ordering::Relaxed);
        assert_eq!(SharedPage::open(1, left()).unwrap().kin.len(), 1);
        let device = || OwnedFd::from(File::open("/dev/zero").unwrap());
        assert_eq!(SharedPage::open(1, Some([device(), device()])).unwrap().kin.len(), 1);
    }
}
