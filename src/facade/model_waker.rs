//! The waker of a thread that waits for descriptors, in a model: a flag, and an unpark.

use std::io;

use super::{AtomicU32, Ordering, Unparker};

/// Like an eventfd: woken until it is drained.
#[derive(Debug)]
pub(crate) struct Waker {
    woken: AtomicU32,
    owner: Unparker,
}

impl Waker {
    /// Makes the waker of this thread.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Waker {
            woken: AtomicU32::new(0),
            owner: Unparker::current(),
        })
    }

    /// No model forks.
    pub(crate) fn renew(&self) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn wake(&self) {
        // The kernel orders a write to a descriptor before the read that finds it.
        self.woken.swap(1, Ordering::AcqRel);
        self.owner.unpark();
    }

    pub(crate) fn drain(&self) {
        self.woken.swap(0, Ordering::AcqRel);
    }

    /// Whether a poll would find it readable.
    #[allow(dead_code, reason = "for models")]
    pub(crate) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire) == 1
    }
}
