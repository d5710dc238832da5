//! How many threads run tasks: workers, and threads that belong to one task.

use std::sync::atomic::{AtomicUsize as PlainUsize, Ordering::Relaxed};

use crate::facade::per_process;

#[derive(Debug)]
struct Threads {
    now: PlainUsize,
    peak: PlainUsize,
}

per_process! {
    static THREADS: Threads = Threads {
        now: PlainUsize::new(0),
        peak: PlainUsize::new(0),
    };
}

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
pub(super) struct Counted(&'static Threads);

impl Counted {
    pub(super) fn begin() -> Self {
        let of_process: &Threads = &THREADS;
        let threads = of_process.now.fetch_add(1, Relaxed) + 1;
        of_process.peak.fetch_max(threads, Relaxed);
        Counted(of_process)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Relaxed);
    }
}

/// Returns how many threads there are, and the most that there have been at once.
pub(super) fn threads() -> (usize, usize) {
    let threads = THREADS.now.load(Relaxed);
    // A thread that begins between its two counts is not more than the peak.
    (threads, THREADS.peak.load(Relaxed).max(threads))
}
