//! Who holds a mutex, in builds with debug assertions.

use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;

use crossbeam_utils::atomic::AtomicCell;

use crate::cancel::context;

/// The thread that holds a mutex, and where it locked it.
///
/// Only the thread that locked compares equal, and it reads what it wrote itself, so nothing is to be ordered.
#[derive(Debug)]
pub(super) struct Owner {
    thread: AtomicUsize,
    location: AtomicCell<Option<&'static Location<'static>>>,
}

impl Owner {
    pub(super) const fn new() -> Self {
        Owner { thread: AtomicUsize::new(0), location: AtomicCell::new(None) }
    }

    fn this_thread() -> usize {
        Arc::as_ptr(&context::slot()).addr()
    }

    /// The mutex has been locked at `location`.
    pub(super) fn set(&self, location: &'static Location<'static>) {
        self.location.store(Some(location));
        self.thread.store(Self::this_thread(), Relaxed);
    }

    /// The mutex is about to be unlocked.
    pub(super) fn clear(&self) {
        self.thread.store(0, Relaxed);
    }

    /// # Panics
    ///
    /// If this thread holds the mutex, which it would wait for until the end of time.
    #[track_caller]
    pub(super) fn assert_other(&self) {
        if self.thread.load(Relaxed) == Self::this_thread() {
            match self.location.load() {
                Some(location) => panic!("this thread holds the mutex already: it locked it at {location}"),
                None => panic!("this thread holds the mutex already"),
            }
        }
    }
}
