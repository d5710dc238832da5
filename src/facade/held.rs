//! Counts, in debug builds, how many locks of the crate each thread holds.
//!
//! User code must not run under a lock of the crate: it could come back to the same lock, or wait
//! for a thread that does. A drop counts as such code, since the last reference to a token drops
//! the callbacks that are registered with it. Each place where such code begins asserts here that
//! the thread holds none.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::thread;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// A guard of std's mutex that is counted.
#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T> {
    guard: std::sync::MutexGuard<'a, T>,
    _held: CountedLock,
}

/// Counts as one lock while it lives.
#[derive(Debug)]
struct CountedLock;

impl Drop for CountedLock {
    fn drop(&mut self) {
        let _ = HELD.try_with(|held| held.set(held.get() - 1));
    }
}

impl<'a, T> MutexGuard<'a, T> {
    pub(super) fn new(guard: std::sync::MutexGuard<'a, T>) -> Self {
        let _ = HELD.try_with(|held| held.set(held.get() + 1));
        MutexGuard {
            guard,
            _held: CountedLock,
        }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// Asserts that this thread holds no lock of the crate.
#[track_caller]
pub(super) fn assert_none() {
    // A thread that drops its thread-locals still counts where the target has its own kind of them,
    // since a `Cell` has no destructor. Elsewhere it may have dropped the count, and passes.
    let held = HELD.try_with(Cell::get).unwrap_or(0);

    // A second panic would end the process without the text of the first.
    assert!(
        held == 0 || thread::panicking(),
        "user code may run under {held} locks of the crate"
    );
}

#[cfg(test)]
mod tests {
    use crate::facade::{Mutex, catch};

    #[test]
    fn code_of_the_users_is_refused_under_a_lock() {
        let lock = Mutex::new(());
        assert!(catch(|| ()).is_ok());
        let guard = lock.lock();
        let refused = std::panic::catch_unwind(|| catch(|| ())).expect_err("the lock is held");
        assert!(
            refused
                .downcast_ref::<String>()
                .is_some_and(|text| text.contains("under 1 locks"))
        );
        drop(guard);
        assert!(catch(|| ()).is_ok());
    }
}
