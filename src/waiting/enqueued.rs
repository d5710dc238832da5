//! The wait of one thread in the queue of one primitive: it enters, blocks, and settles.
//!
//! A grant and a cancel can come to a waiting thread at the same time. A primitive must not lose
//! the grant then, and must not leave the waiter in its queue. The primitives with a queue that has
//! one lock take the two steps that decide this from here: [`Enqueued::enter`] before the thread
//! blocks, and [`Enqueued::settle`] after it. The primitive blocks in between, with
//! `cancel::context::wait`. The queue of a lock does not: its grant is only the word to try, which
//! a cancelled waiter passes on.
//!
//! # State
//!
//! - The **lock** is the one of the primitive. It covers the queue, the grant of each waiter in it,
//!   and everything that decides whether a thread has to wait. No thread blocks or wakes another
//!   one while it holds the lock, and no user code runs under it.
//! - The **waiter** is shared: one reference belongs to the waiting thread, in [`Enqueued`], and
//!   one to the queue. Its grant is written under the lock. The waiting thread also reads it
//!   without the lock.
//! - The **position** belongs to the waiting thread. It is valid until another thread takes the
//!   waiter out to grant it. A primitive that [sets waiters apart](super::WaitQueue::set_apart_if)
//!   instead leaves the position to the waiting thread, which takes the waiter out after the grant.
//!   So does a primitive that leaves the entry of a refused waiter in the queue.
//!
//! # Invariants
//!
//! 1. A thread enters in the critical section in which it found that it has to wait. So what it
//!    waits for cannot happen unnoticed between the look and the entry.
//! 2. A grant beats the cancel and the time limit: a wait that was granted ends as granted,
//!    whatever ended the block.
//! 3. A thread that was granted nothing leaves in the critical section in which it found that out.
//!    So it cannot be granted anything later, and its wait had no effect.
//! 4. The lock is released before other threads are woken.
//!
//! # Lock order
//!
//! The lock of the primitive comes last: no other lock of the crate is taken under it.

use std::sync::Arc;

use super::{Grant, Position, Slot, Waiter, Wakes};
use crate::facade::Mutex;
use crate::lanes::Object;

/// A waiter of this thread in the queue of a primitive with a lock around an `S`.
#[must_use = "a waiter that does not settle stays in its queue"]
pub(crate) struct Enqueued<'a, S> {
    lock: &'a Mutex<S>,
    waiter: Arc<Waiter>,
    position: Position,
}

impl<'a, S> Enqueued<'a, S> {
    /// Enters the queue with a new waiter for the thread that owns `slot`.
    ///
    /// `enter` runs under the lock. It looks whether the thread has to wait and puts the waiter
    /// into the queue, and it can grant other waiters.
    ///
    /// # Errors
    ///
    /// The thread need not wait: what `enter` returned instead of a position.
    #[inline]
    pub(crate) fn enter<R>(
        lock: &'a Mutex<S>,
        slot: Arc<Slot>,
        enter: impl FnOnce(&mut S, &Arc<Waiter>, &mut Wakes) -> Result<Position, R>,
    ) -> Result<Self, R> {
        // Made before the lock is taken, since it allocates.
        let waiter = Waiter::new(slot);
        let mut wakes = Wakes::default();

        // Invariant 1: one critical section for the look and the entry.
        let entered = enter(&mut lock.lock(), &waiter, &mut wakes);

        // Invariant 4: the lock was released at the end of the statement above.
        wakes.wake();
        entered.map(|position| Enqueued {
            lock,
            waiter,
            position,
        })
    }

    /// Returns whether the wait is over.
    #[inline]
    pub(crate) fn is_granted(&self) -> bool {
        self.waiter.is_granted()
    }

    /// Returns the primitive, as something to wait for.
    #[inline]
    pub(crate) fn object(&self) -> Object {
        Object::of(self.lock)
    }

    /// Returns the position of the waiter, which is valid after a grant only if the thread that
    /// granted the wait left the entry in the queue, or set it apart.
    #[inline]
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Settles what the wait came to, after the thread has blocked and the block `ended`.
    ///
    /// `leave` runs under the lock if the wait was granted nothing. It takes the waiter out of the
    /// queue, and it can grant other waiters.
    ///
    /// # Errors
    ///
    /// The wait was granted nothing: how the block `ended`.
    #[inline]
    pub(crate) fn settle<T, E>(
        &self,
        ended: Result<T, E>,
        leave: impl FnOnce(&mut S, Position, &mut Wakes),
    ) -> Result<Grant, Result<T, E>> {
        // Most waits end by a grant. It is final, so the lock is not needed to find it.
        if ended.is_ok() {
            let granted = self.waiter.grant();
            if granted != Grant::None {
                return Ok(granted);
            }
        }

        let mut wakes = Wakes::default();
        {
            let mut state = self.lock.lock();
            let granted = self.waiter.grant();

            // fault: wait-settles-after-the-look
            match granted {
                // Invariant 3: it leaves before the lock is released, so no grant can follow.
                // fault: cancelled-waiter-stays
                Grant::None => leave(&mut state, self.position, &mut wakes),
                // Invariant 2: the grant came before the cancel or the time limit was seen.
                // fault: cancel-beats-the-grant
                Grant::Given | Grant::Refused => return Ok(granted),
            }
        }

        // Invariant 4: the lock was released at the end of the block above.
        wakes.wake();
        Err(ended)
    }
}
