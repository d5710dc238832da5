//! The part of a lock that does not depend on its value, and what a guard does when it unlocks.
//!
//! A guard has the guard of the facade's lock and, declared after it, a [`Hold`]. Fields are
//! dropped in the order of their declaration, so the lock is unlocked before the hold looks for
//! waiters: invariant 2 of the queue. A hold does not name the type of the value. So a guard can be
//! mapped to a part of the value, and a guard to read is covariant.

use std::marker::PhantomData;

#[cfg(debug_assertions)]
use super::holders::{Holder, Holders};
use super::lock_queue::{Access, LockQueue};
use crate::cancel::context;
use crate::facade::const_fn;

/// A lock without its value.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) queue: LockQueue,
    #[cfg(debug_assertions)]
    pub(super) holders: Holders,
}

impl Core {
    const_fn! {
        pub(super) const fn new() -> Self {
            Core {
                queue: LockQueue::new(),
                #[cfg(debug_assertions)]
                holders: Holders::new(),
            }
        }
    }

    /// Fails, in builds with debug assertions, if this task holds the lock in a way that `excludes`
    /// what it is about to wait for.
    #[inline]
    #[track_caller]
    pub(super) fn assert_not_this_task(&self, excludes: impl Fn(Access) -> bool) {
        #[cfg(debug_assertions)]
        self.holders.assert_not_this_task(excludes);
        #[cfg(not(debug_assertions))]
        let _ = excludes;
    }
}

/// This thread holds a lock. Dropped after the unlock.
pub(super) struct Hold<'a> {
    core: &'a Core,
    #[cfg(debug_assertions)]
    holder: Holder,
    /// Not `Send`: a task that waits for itself is found by comparing threads.
    _stays: PhantomData<std::sync::MutexGuard<'a, ()>>,
}

impl<'a> Hold<'a> {
    /// Directly after the lock.
    #[inline]
    #[track_caller]
    #[cfg_attr(
        not(debug_assertions),
        allow(unused_variables, reason = "only the check of holders asks for it")
    )]
    pub(super) fn new(core: &'a Core, access: Access) -> Self {
        context::lock_taken();
        Hold {
            core,
            #[cfg(debug_assertions)]
            holder: core.holders.add(access),
            _stays: PhantomData,
        }
    }

    /// Directly after this writer became a reader: lets the readers in that wait for it.
    #[inline]
    pub(super) fn downgraded(self) -> Self {
        #[cfg(debug_assertions)]
        self.core.holders.downgrade(self.holder);
        self.core.queue.downgraded();
        self
    }
}

impl Drop for Hold<'_> {
    #[inline]
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        self.core.holders.remove(self.holder);
        context::lock_released();
        self.core.queue.unlocked();
    }
}
