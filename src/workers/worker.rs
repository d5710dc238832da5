//! One worker, as the pool and the monitor see it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32 as PlainU32, Ordering::Relaxed};

use crossbeam_utils::atomic::AtomicCell;
#[cfg(target_os = "linux")]
use nix::unistd::Pid;

use super::local_batch::{LocalBatch, PublishedBatch};
use crate::facade::{AtomicU8, Ordering, Unparker};

const AT_WORK: u8 = 0;
const IDLE: u8 = 1;
const WOKEN: u8 = 2;
const RETIRED: u8 = 3;

/// The activity of a worker, which decides whether it takes one of the places of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Activity {
    /// It is idle, on its way, or gone. It takes no place.
    Away,
    /// It is at work. It takes a place.
    Busy,
    /// It is blocked in a blocking point of this crate. It takes no place.
    Blocked,
    /// The monitor found it blocked in foreign code. It takes no place.
    Stalled,
}

/// A worker thread, as the pool and the monitor see it.
///
/// `status` says which thread may decide over the worker. A wake and a retirement each exchange it
/// from `IDLE`, so of the two one is seen to fail (invariant 3 of the pool). It orders no memory:
/// all that a worker is woken for is under the lock of the pool.
pub(crate) struct Worker {
    key: usize,
    unparker: Unparker,
    status: AtomicU8,
    /// How many tasks it has begun. The monitor looks whether this changes.
    tasks: PlainU32,
    /// Changes under the lock of the pool.
    activity: AtomicCell<Activity>,
    batch: PublishedBatch,
    /// The system's name for the thread.
    #[cfg(target_os = "linux")]
    thread: Pid,
}

impl Worker {
    /// Makes the worker of this thread.
    pub(super) fn new(key: usize) -> Self {
        Worker {
            key,
            unparker: Unparker::current(),
            status: AtomicU8::new(AT_WORK),
            tasks: PlainU32::new(0),
            activity: AtomicCell::new(Activity::Away),
            batch: PublishedBatch::new(),
            #[cfg(target_os = "linux")]
            thread: nix::unistd::gettid(),
        }
    }

    /// Marks the worker as idle. Called under the lock of the pool, before the worker is listed.
    pub(super) fn become_idle(&self) {
        self.status.store(IDLE, Ordering::Relaxed);
    }

    /// Takes an idle worker for a wake. Returns `false` if it has retired.
    pub(super) fn take(&self) -> bool {
        self.status
            .compare_exchange(IDLE, WOKEN, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Whether another thread has taken the worker for a wake.
    pub(super) fn is_woken(&self) -> bool {
        self.status.load(Ordering::Relaxed) == WOKEN
    }

    /// Retires an idle worker. Returns `false` if it has been taken for a wake.
    pub(super) fn try_retire(&self) -> bool {
        // A wake that comes first is seen by the failure of the exchange.
        //
        // fault: worker-retires-by-load-and-store
        self.status
            .compare_exchange(IDLE, RETIRED, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    pub(super) fn unpark(&self) {
        self.unparker.unpark();
    }

    pub(super) fn key(&self) -> usize {
        self.key
    }

    #[cfg(target_os = "linux")]
    pub(super) fn thread(&self) -> Pid {
        self.thread
    }

    /// Counts a task that begins on this worker.
    #[inline]
    pub(super) fn count_task(&self) {
        // Only the worker itself writes, so a load and a store do.
        self.tasks
            .store(self.tasks.load(Relaxed).wrapping_add(1), Relaxed);
    }

    pub(super) fn tasks(&self) -> u32 {
        self.tasks.load(Relaxed)
    }

    #[inline]
    pub(super) fn activity(&self) -> Activity {
        self.activity.load()
    }

    /// Returns the activity before. Called under the lock of the pool, which counts places.
    pub(super) fn swap_activity(&self, activity: Activity) -> Activity {
        self.activity.swap(activity)
    }

    /// Says where the worker keeps the tasks that it has taken and not begun.
    pub(crate) fn publish_batch(&self, batch: Arc<dyn LocalBatch>) {
        self.batch.set(Some(batch));
    }

    /// Says that the worker no longer keeps tasks.
    pub(crate) fn withdraw_batch(&self) {
        self.batch.clear_flag();
        self.batch.set(None);
    }

    /// Tells the monitor that there are tasks in the batch. Called after they have been put there.
    pub(crate) fn flag_batch(&self) {
        self.batch.flag();
    }

    /// Tells the monitor that there are no tasks in the batch.
    pub(crate) fn clear_batch_flag(&self) {
        self.batch.clear_flag();
    }

    /// Whether there may be tasks in the batch.
    pub(super) fn has_batch(&self) -> bool {
        self.batch.is_flagged()
    }

    /// Gives the tasks of the batch back to their source, which may then need a worker.
    pub(super) fn give_back(&self) {
        self.batch.give_back();
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
