//! The queue of the waiters of one primitive.
//!
//! # Invariants
//!
//! 1. A queue belongs to one primitive and is touched under its lock. Grants are decided under the
//!    same lock. So a cancelled waiter that takes the lock and finds no grant will never get one.
//! 2. A grant is kept: it is written before the wake, and a wake is sticky. A waiter that was
//!    granted something while it was being cancelled has it.
//! 3. Wakes happen outside the lock: the waiters to wake are collected in [`Wakes`].
//! 4. A waiter that stands in several queues, each with a lock of its own, is granted only by
//!    [`Waiter::claim`] and leaves by [`Waiter::withdraw`]. Of all these, the first on its word
//!    wins. A thread that comes later passes the waiter over and leaves it where it stands, for its
//!    owner to take out.

use std::fmt;
use std::sync::Arc;

use slab::Slab;

use super::Slot;
use crate::facade::{AtomicU32, Ordering, Track};

/// A thread that waits for one thing.
///
/// # Memory ordering
///
/// What happened before a grant happens before `is_granted() == true` on the thread that waits.
pub(crate) struct Waiter {
    grant: AtomicU32,
    slot: Arc<Slot>,
    _leaks: Track,
}

/// The state of a wait, as the waiter is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Grant {
    /// Nothing yet.
    None,
    /// The waiter has the thing it waits for, or may try to take it.
    Given,
    /// The waiter will not get it: the barrier is broken, or the channel has no other end.
    Refused,
}

/// In place of a grant: the waiter has ended its wait by itself.
const WITHDRAWN: u32 = 3;

/// The number of bits that hold the grant. The bits above say for which case of the waiter it is.
const CASE: u32 = 2;

impl Waiter {
    /// Returns a waiter on the thread that owns `slot`.
    pub(crate) fn new(slot: Arc<Slot>) -> Arc<Self> {
        Arc::new(Waiter {
            grant: AtomicU32::new(Grant::None as u32),
            slot,
            _leaks: Track::new(),
        })
    }

    pub(crate) fn grant(&self) -> Grant {
        // Acquire pairs with the release in `set` and in `claim`.
        Grant::of(self.grant.load(Ordering::Acquire))
    }

    /// Whether the wait is over.
    pub(crate) fn is_granted(&self) -> bool {
        self.grant() != Grant::None
    }

    /// Sets the outcome of the wait, or that it goes on. The caller holds the lock of the primitive
    /// (invariant 1). The wake is still to come (invariant 2).
    pub(crate) fn set(&self, grant: Grant) {
        self.grant.store(grant as u32, Ordering::Release);
    }

    /// Sets the outcome of the wait for its `case`, unless the wait is over already (invariant 4).
    /// The caller holds the lock of the queue in which it found the waiter. If this returns true,
    /// the wake is still to come.
    pub(crate) fn claim(&self, grant: Grant, case: u32) -> bool {
        // Relaxed on failure: nothing is read of a waiter that is passed over.
        // fault: wait-is-claimed-twice
        self.grant
            .compare_exchange(
                0,
                grant as u32 | case << CASE,
                Ordering::Release,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// Grants the waiter the thing it waits for in its `case`, unless its wait is over, and wakes
    /// it.
    pub(crate) fn wake_for(&self, case: u32) {
        if self.claim(Grant::Given, case) {
            self.slot.unpark();
        }
    }

    /// Ends the wait for good (invariant 4). Returns the grant that came first, with its case. If
    /// there is none, none will come.
    pub(crate) fn withdraw(&self) -> Option<(Grant, u32)> {
        // Acquire pairs with the release in `claim`. Relaxed: a withdrawn waiter is passed over.
        let granted = self
            .grant
            .compare_exchange(0, WITHDRAWN, Ordering::Relaxed, Ordering::Acquire)
            .err()?;
        Some((Grant::of(granted), granted >> CASE))
    }
}

impl Grant {
    fn of(word: u32) -> Grant {
        match word & ((1 << CASE) - 1) {
            0 => Grant::None,
            1 => Grant::Given,
            _ => Grant::Refused,
        }
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter")
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

/// Waiters that have been granted something and are still to be woken.
#[derive(Debug, Default)]
#[must_use = "a grant without a wake is not noticed"]
pub(crate) struct Wakes {
    // Usually there is one waiter, and then nothing is allocated under the lock.
    first: Option<Arc<Waiter>>,
    more: Vec<Arc<Waiter>>,
}

impl Wakes {
    /// Gives `waiter` its grant, and keeps it for the wake (invariant 3).
    pub(crate) fn grant(&mut self, waiter: Arc<Waiter>, grant: Grant) {
        waiter.set(grant);
        self.keep(waiter);
    }

    /// Keeps `waiter`, which has been granted something, for the wake.
    pub(crate) fn keep(&mut self, waiter: Arc<Waiter>) {
        match self.first {
            None => self.first = Some(waiter),
            Some(_) => self.more.push(waiter),
        }
    }

    /// Wakes the waiters. The lock of the primitive has been released (invariant 3).
    pub(crate) fn wake(self) {
        for waiter in self.first.into_iter().chain(self.more) {
            waiter.slot.unpark();
        }
    }
}

const END: usize = usize::MAX;
/// In `before`: the waiter is no longer in the order.
const APART: usize = usize::MAX - 1;

/// Waiters in the order in which they came, each with its request. Any waiter leaves in constant
/// time.
///
/// A waiter that was set apart is no longer in the order and is not counted. Its request stays
/// until its owner removes it.
pub(crate) struct WaitQueue<T> {
    entries: Slab<QueueEntry<T>>,
    first: usize,
    last: usize,
    waiting: usize,
}

struct QueueEntry<T> {
    waiter: Arc<Waiter>,
    wants: T,
    before: usize,
    after: usize,
}

/// Where a waiter stands in its queue, for as long as it stands there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Position(usize);

impl<T> WaitQueue<T> {
    pub(crate) const fn new() -> Self {
        WaitQueue {
            entries: Slab::new(),
            first: END,
            last: END,
            waiting: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first == END
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    /// Puts `waiter` behind all other waiters.
    pub(crate) fn push(&mut self, waiter: Arc<Waiter>, wants: T) -> Position {
        let key = self.entries.insert(QueueEntry {
            waiter,
            wants,
            before: self.last,
            after: END,
        });

        match self.last {
            END => self.first = key,
            last => self.entries[last].after = key,
        }
        self.last = key;
        self.waiting += 1;
        Position(key)
    }

    /// Whether the waiter at `position` is before all other waiters.
    pub(crate) fn is_first(&self, position: Position) -> bool {
        self.first == position.0
    }

    /// Returns the request of the first waiter.
    pub(crate) fn front(&self) -> Option<&T> {
        self.entries.get(self.first).map(|entry| &entry.wants)
    }

    /// Takes the first waiter out.
    pub(crate) fn pop(&mut self) -> Option<(Arc<Waiter>, T)> {
        (self.first != END).then(|| self.remove(Position(self.first)))
    }

    /// Takes out the first waiter for which `taken` returns true.
    pub(crate) fn pop_if(
        &mut self,
        mut taken: impl FnMut(&Arc<Waiter>, &T) -> bool,
    ) -> Option<(Arc<Waiter>, T)> {
        let mut key = self.first;
        while let Some(entry) = self.entries.get(key) {
            if taken(&entry.waiter, &entry.wants) {
                return Some(self.remove(Position(key)));
            }
            key = entry.after;
        }
        None
    }

    /// Sets apart the first waiter for which `taken` returns true.
    pub(crate) fn set_apart_if(
        &mut self,
        mut taken: impl FnMut(&Arc<Waiter>, &T) -> bool,
    ) -> Option<(&Arc<Waiter>, &mut T)> {
        // Invariant 4: a waiter that is not taken stays where it stands.
        let mut key = self.first;
        loop {
            let entry = self.entries.get(key)?;
            let after = entry.after;

            if taken(&entry.waiter, &entry.wants) {
                // It keeps its key, so that its owner finds it.
                self.unlink(entry.before, after);
                let entry = &mut self.entries[key];
                entry.before = APART;
                return Some((&entry.waiter, &mut entry.wants));
            }
            key = after;
        }
    }

    /// Takes out a waiter that is in the order, or was set apart.
    pub(crate) fn remove(&mut self, position: Position) -> (Arc<Waiter>, T) {
        let QueueEntry {
            waiter,
            wants,
            before,
            after,
        } = self.entries.remove(position.0);

        // A waiter that was set apart has been unlinked, and its neighbours may have gone.
        if before != APART {
            self.unlink(before, after);
        }
        (waiter, wants)
    }

    /// Takes the waiter between these two out of the order, and joins them.
    fn unlink(&mut self, before: usize, after: usize) {
        match before {
            END => self.first = after,
            before => self.entries[before].after = after,
        }

        match after {
            END => self.last = before,
            after => self.entries[after].before = before,
        }
        self.waiting -= 1;
    }

    /// Returns the waiters in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<Waiter>, &T)> {
        let mut key = self.first;
        std::iter::from_fn(move || {
            let entry = self.entries.get(key)?;
            key = entry.after;
            Some((&entry.waiter, &entry.wants))
        })
    }

    /// Takes all waiters out and gives each of them `grant`.
    pub(crate) fn grant_all(&mut self, grant: Grant, wakes: &mut Wakes) {
        while let Some((waiter, _)) = self.pop() {
            wakes.grant(waiter, grant);
        }
    }
}

impl<T> Default for WaitQueue<T> {
    fn default() -> Self {
        WaitQueue::new()
    }
}

impl<T> fmt::Debug for WaitQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitQueue")
            .field("waiters", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn order(queue: &WaitQueue<u32>) -> Vec<u32> {
        queue.iter().map(|(_, wants)| *wants).collect()
    }

    #[test]
    fn leaving_keeps_the_order_of_the_others() {
        let slot = Slot::new();
        let mut queue = WaitQueue::new();
        let positions: Vec<_> = (0..6)
            .map(|n| queue.push(Waiter::new(slot.clone()), n))
            .collect();
        for (gone, left) in [
            (3, vec![0, 1, 2, 4, 5]),
            (0, vec![1, 2, 4, 5]),
            (5, vec![1, 2, 4]),
        ] {
            assert_eq!(queue.remove(positions[gone as usize]).1, gone);
            assert_eq!(order(&queue), left);
            assert_eq!(
                positions
                    .iter()
                    .position(|position| queue.is_first(*position)),
                Some(left[0] as usize)
            );
        }
        queue.push(Waiter::new(slot), 6);
        assert_eq!(order(&queue), [1, 2, 4, 6]);
        let popped: Vec<_> = std::iter::from_fn(|| queue.pop())
            .map(|(_, wants)| wants)
            .collect();
        assert_eq!(popped, [1, 2, 4, 6]);
        assert!(queue.is_empty() && queue.front().is_none());
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn one_that_is_set_apart_is_left_to_its_owner() {
        let slot = Slot::new();
        for (first, left) in [(0, [1, 2]), (1, [0, 2]), (2, [0, 1])] {
            let mut queue = WaitQueue::new();
            let positions: Vec<_> = (0..3)
                .map(|n| queue.push(Waiter::new(slot.clone()), n))
                .collect();
            let apart = queue
                .set_apart_if(|_, &wants| wants >= first)
                .expect("there is one");
            *apart.1 += 10;
            assert_eq!((order(&queue), queue.len()), (left.to_vec(), 2));
            let next = queue.push(Waiter::new(slot.clone()), 3);
            assert_eq!(queue.remove(positions[first as usize]).1, first + 10);
            assert_eq!(
                (order(&queue), queue.len()),
                ([left[0], left[1], 3].to_vec(), 3)
            );
            assert_eq!(queue.remove(next).1, 3);
            assert!(queue.set_apart_if(|_, _| false).is_none());
            assert_eq!(order(&queue), left);
        }
    }
}
