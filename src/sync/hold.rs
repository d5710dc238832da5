//! The part of a lock that does not depend on its value, and what a guard does when it unlocks.
//!
//! A guard has the guard of the facade's lock and, declared after it, a [`Hold`]. Fields are
//! dropped in the order of their declaration, so the lock is unlocked before the hold looks for
//! waiters: invariant 2 of the [lock queue](super::lock_queue). A hold does not name the type of
//! the value. So a guard can be mapped to a part of the value, and a guard to read is covariant.

use std::marker::PhantomData;
use std::panic::Location;

use super::lock_queue::{LockMode, LockQueue};
use crate::cancel::context;
use crate::facade::const_fn;
use crate::lanes::{self, HeldAs};

/// A lock without its value.
#[derive(Debug)]
pub(super) struct LockBase {
    pub(super) queue: LockQueue,
}

impl LockBase {
    const_fn! {
        pub(super) const fn new() -> Self {
            LockBase {
                queue: LockQueue::new(),
            }
        }
    }

    /// Checks that this task, which is about to wait, does not wait for itself.
    ///
    /// The owner of a lock is a task on a thread, not the thread alone: a task that runs in place
    /// can share a thread with a task that holds the lock. It then waits like a task on a worker.
    ///
    /// # Panics
    ///
    /// If the task holds the lock in a way that `excludes` what it waits for.
    #[track_caller]
    pub(super) fn assert_not_this_task(&self, excludes: impl Fn(LockMode) -> bool) {
        let excludes = |held| match held {
            HeldAs::Exclusive => excludes(LockMode::Write),
            HeldAs::Shared => excludes(LockMode::Read),
        };

        // A wait for a lock that this thread holds never ends, so it is a panic and not a
        // deadlock.
        if let Some(location) = lanes::locked_here(&self.queue, excludes) {
            panic!("this thread holds the lock already: it locked it at {location}");
        }
    }
}

impl Drop for LockBase {
    #[inline]
    fn drop(&mut self) {
        // A guard that this thread leaked would make it seem to hold the next lock at this address.
        // A lock that was moved since, or that another thread drops, leaves its entry.
        for _ in 0..lanes::forgotten(&self.queue) {
            context::lock_released();
        }
    }
}

/// States that this thread holds a lock. A guard drops it after the unlock.
pub(super) struct Hold<'a> {
    base: &'a LockBase,
    /// Where the lock was taken. A guard is passed in registers, and one more word would cost half
    /// as much as the lock.
    #[cfg(debug_assertions)]
    location: &'static Location<'static>,
    /// Not `Send`: a task that waits for itself is found by comparing threads.
    _stays: PhantomData<std::sync::MutexGuard<'a, ()>>,
}

impl<'a> Hold<'a> {
    /// Begins the hold. Called directly after the lock was taken.
    #[inline]
    #[track_caller]
    pub(super) fn new(base: &'a LockBase, access: LockMode) -> Self {
        let rank = context::lock_taken();
        let access = match access {
            LockMode::Read => HeldAs::Shared,
            LockMode::Write => HeldAs::Exclusive,
        };
        let location = Location::caller();
        lanes::locked(&base.queue, access, rank, location);
        Hold {
            base,
            #[cfg(debug_assertions)]
            location,
            _stays: PhantomData,
        }
    }

    /// Returns where the lock was taken, if this build knows it.
    #[inline(always)]
    fn location(&self) -> Option<&'static Location<'static>> {
        #[cfg(debug_assertions)]
        return Some(self.location);
        #[cfg(not(debug_assertions))]
        return None;
    }

    /// Lets waiting readers in. Called directly after this writer became a reader.
    #[inline]
    pub(super) fn downgraded(self) -> Self {
        lanes::downgraded(&self.base.queue);
        self.base.queue.downgraded();
        self
    }
}

impl Drop for Hold<'_> {
    #[inline]
    fn drop(&mut self) {
        // The lane before the queue, so that a waiter which is told finds no holder that has gone.
        context::lock_released();
        lanes::unlocked(&self.base.queue, self.location());
        self.base.queue.unlocked();
    }
}
