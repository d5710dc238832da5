//! How many threads run tasks: workers, and threads that belong to one task.

use std::sync::atomic::{AtomicUsize as PlainUsize, Ordering::Relaxed};

static THREADS: PlainUsize = PlainUsize::new(0);
static PEAK: PlainUsize = PlainUsize::new(0);

/// The threads of the pool that live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Census {
    pub(crate) workers: usize,
    pub(crate) idle_workers: usize,
    /// Workers, and threads that belong to one task.
    pub(crate) threads: usize,
    pub(crate) peak_threads: usize,
}

/// While it lives, the thread counts as one that runs tasks.
#[derive(Debug)]
#[must_use]
pub(super) struct Counted(());

impl Counted {
    pub(super) fn begin() -> Self {
        let threads = THREADS.fetch_add(1, Relaxed) + 1;
        PEAK.fetch_max(threads, Relaxed);
        Counted(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        THREADS.fetch_sub(1, Relaxed);
    }
}

/// Returns how many threads there are, and the most that there have been at once.
pub(super) fn threads() -> (usize, usize) {
    let threads = THREADS.load(Relaxed);
    // A thread that begins between its two counts is not more than the peak.
    (threads, PEAK.load(Relaxed).max(threads))
}
