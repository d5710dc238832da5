//! The part of a lock that does not depend on its value, and what a guard does when it unlocks.
//!
//! A guard has the guard of the facade's lock and, declared after it, a [`Hold`]. Fields are
//! dropped in the order of their declaration, so the lock is unlocked before the hold looks for
//! waiters: invariant 2 of the [lock queue](super::lock_queue). A hold does not name the type of
//! the value. So a guard can be mapped to a part of the value, and a guard to read is covariant.

use std::marker::PhantomData;

#[cfg(debug_assertions)]
use super::lock_owners::{LockOwnerId, LockOwners};
use super::lock_queue::{Access, LockQueue};
use crate::cancel::context;
use crate::facade::const_fn;
use crate::lanes;

/// A lock without its value.
#[derive(Debug)]
pub(super) struct LockBase {
    pub(super) queue: LockQueue,
    #[cfg(debug_assertions)]
    pub(super) owners: LockOwners,
}

impl LockBase {
    const_fn! {
        pub(super) const fn new() -> Self {
            LockBase {
                queue: LockQueue::new(),
                #[cfg(debug_assertions)]
                owners: LockOwners::new(),
            }
        }
    }

    /// Panics, in builds with debug assertions, if this task holds the lock in a way that
    /// `excludes` what it is about to wait for.
    #[inline]
    #[track_caller]
    pub(super) fn assert_not_this_task(&self, excludes: impl Fn(Access) -> bool) {
        #[cfg(debug_assertions)]
        self.owners.assert_not_this_task(excludes);
        #[cfg(not(debug_assertions))]
        let _ = excludes;
    }
}

/// States that this thread holds a lock. A guard drops it after the unlock.
pub(super) struct Hold<'a> {
    base: &'a LockBase,
    #[cfg(debug_assertions)]
    owner: LockOwnerId,
    /// Not `Send`: a task that waits for itself is found by comparing threads.
    _stays: PhantomData<std::sync::MutexGuard<'a, ()>>,
}

impl<'a> Hold<'a> {
    /// Begins the hold. Called directly after the lock was taken.
    #[inline]
    #[track_caller]
    #[cfg_attr(
        not(debug_assertions),
        allow(unused_variables, reason = "only the list of owners asks for it")
    )]
    pub(super) fn new(base: &'a LockBase, access: Access) -> Self {
        let is_first = context::lock_taken();
        lanes::locked(&base.queue, is_first);
        Hold {
            base,
            #[cfg(debug_assertions)]
            owner: base.owners.add(access),
            _stays: PhantomData,
        }
    }

    /// Lets waiting readers in. Called directly after this writer became a reader.
    #[inline]
    pub(super) fn downgraded(self) -> Self {
        #[cfg(debug_assertions)]
        self.base.owners.downgrade(self.owner);
        self.base.queue.downgraded();
        self
    }
}

impl Drop for Hold<'_> {
    #[inline]
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        self.base.owners.remove(self.owner);
        context::lock_released();
        lanes::unlocked(&self.base.queue);
        self.base.queue.unlocked();
    }
}
