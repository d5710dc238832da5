//! The tasks that a worker has taken and not begun, as other threads find them.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool as PlainBool, Ordering::Relaxed};

use crate::facade::Mutex;

/// The tasks that a worker has taken from a source and not begun.
///
/// Threads that join them can still claim them. Other workers cannot find them.
pub(crate) trait LocalBatch: Send + Sync {
    /// Gives the tasks back to their source, because the worker is not coming to them.
    ///
    /// Runs no user code and sends no worker: the caller sees to that (invariant 5 of the pool).
    fn give_back(&self);
}

/// Where the local batch of a worker is found.
///
/// The flag says that the batch may hold tasks. It is set after tasks have been put there, and
/// cleared before they are taken back, so tasks that stay in a batch are never without it.
pub(super) struct PublishedBatch {
    batch: Mutex<Option<Arc<dyn LocalBatch>>>,
    flag: PlainBool,
}

impl PublishedBatch {
    pub(super) fn new() -> Self {
        PublishedBatch {
            batch: Mutex::new(None),
            flag: PlainBool::new(false),
        }
    }

    pub(super) fn set(&self, batch: Option<Arc<dyn LocalBatch>>) {
        // The lock is released before the old batch is dropped.
        let old = mem::replace(&mut *self.batch.lock(), batch);
        drop(old);
    }

    pub(super) fn flag(&self) {
        self.flag.store(true, Relaxed);
    }

    pub(super) fn clear_flag(&self) {
        self.flag.store(false, Relaxed);
    }

    pub(super) fn is_flagged(&self) -> bool {
        self.flag.load(Relaxed)
    }

    /// Gives the tasks back to their source, which may then need a worker.
    pub(super) fn give_back(&self) {
        // First, so that tasks that the worker puts here meanwhile are flagged again.
        self.clear_flag();

        // A copy, so that the lock is free while the source takes its own.
        let batch = self.batch.lock().clone();
        if let Some(batch) = batch {
            batch.give_back();
        }
    }
}

impl fmt::Debug for PublishedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishedBatch")
            .field("is_flagged", &self.is_flagged())
            .finish_non_exhaustive()
    }
}
