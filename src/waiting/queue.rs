//! The queue of those who wait for one primitive.
//!
//! # Invariants
//!
//! 1. A queue belongs to one primitive and is touched under its lock. Whether a waiter is granted
//!    what it waits for is decided there too, so a cancelled waiter that takes the lock and finds
//!    no grant will never get one.
//! 2. A grant is kept: it is written before the wake, and a wake is sticky. Whoever was granted
//!    something while it was being cancelled has it.
//! 3. Wakes happen outside of the lock: what is to be woken is collected in [`Wakes`].
//! 4. A waiter that stands in several queues, each with a lock of its own, is granted by
//!    [`Waiter::claim`] only and leaves by
//!    [`Waiter::withdraw`]: of all these the first on its word wins. Whoever comes later passes it over and leaves it where
//!    it stands, for its owner to take out.

use std::fmt;
use std::sync::Arc;

use slab::Slab;

use super::Slot;
use crate::facade::{AtomicU32, Ordering, Track};

/// One thread that waits for one thing.
///
/// # Memory ordering
///
/// What happened before a grant happens before `is_granted() == true` on the thread that waits.
pub(crate) struct Waiter {
    grant: AtomicU32,
    slot: Arc<Slot>,
    _leaks: Track,
}

/// What a waiter has been told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Grant {
    /// Nothing yet.
    None,
    /// It has what it waits for, or may try to take it.
    Given,
    /// It will not get it: the barrier is broken, the channel has no other end.
    Refused,
}

/// In the place of a grant: the waiter has ended its wait by itself.
const WITHDRAWN: u32 = 3;

/// The bits of the word that hold the grant; those above say for which of the waiter's cases it is.
const CASE: u32 = 2;

impl Waiter {
    /// A waiter on the thread that owns `slot`.
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

    /// Says what became of the wait, or that it goes on. The caller holds the lock of the
    /// primitive; the wake is still to come.
    pub(crate) fn set(&self, grant: Grant) {
        self.grant.store(grant as u32, Ordering::Release);
    }

    /// Says what became of the wait for its `case`, unless it is over already. The caller holds the
    /// lock of the queue in which it found the waiter; the wake is still to come if this is true.
    pub(crate) fn claim(&self, grant: Grant, case: u32) -> bool {
        // Relaxed on failure: nothing is read of a waiter that is passed over.
        //
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

    /// Grants it what it waits for in its `case`, unless its wait is over, and wakes it.
    pub(crate) fn wake_for(&self, case: u32) {
        if self.claim(Grant::Given, case) {
            self.slot.unpark();
        }
    }

    /// Ends the wait for good: the grant that came first, with its case, or none will come.
    pub(crate) fn withdraw(&self) -> Option<(Grant, u32)> {
        // Acquire pairs with the release in `claim`. Relaxed if there was none: who finds the
        // waiter withdrawn passes it over.
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
    // Most often there is one, and then nothing is allocated under the lock.
    first: Option<Arc<Waiter>>,
    more: Vec<Arc<Waiter>>,
}

impl Wakes {
    /// Gives `waiter` its grant, and keeps it for the wake.
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

    /// Wakes them. The lock of the primitive has been released.
    pub(crate) fn wake(self) {
        for waiter in self.first.into_iter().chain(self.more) {
            waiter.slot.unpark();
        }
    }
}

const END: usize = usize::MAX;
/// In `before`: the waiter has no place in the order any more.
const APART: usize = usize::MAX - 1;

/// Waiters in the order in which they came, each with what it wants. Any of them leaves in constant
/// time.
///
/// A waiter that was set apart is no longer in the order and is not counted. What it wants stays
/// until its owner removes it.
pub(crate) struct Queue<T> {
    nodes: Slab<Node<T>>,
    first: usize,
    last: usize,
    waiting: usize,
}

struct Node<T> {
    waiter: Arc<Waiter>,
    wants: T,
    before: usize,
    after: usize,
}

/// Where in its queue a waiter stands, for as long as it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place(usize);

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Queue {
            nodes: Slab::new(),
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

    /// Puts `waiter` behind all others.
    pub(crate) fn push(&mut self, waiter: Arc<Waiter>, wants: T) -> Place {
        let key = self.nodes.insert(Node {
            waiter,
            wants,
            before: self.last,
            after: END,
        });
        match self.last {
            END => self.first = key,
            last => self.nodes[last].after = key,
        }
        self.last = key;
        self.waiting += 1;
        Place(key)
    }

    /// Whether the waiter there is before all others.
    pub(crate) fn is_first(&self, place: Place) -> bool {
        self.first == place.0
    }

    /// What the first waiter wants.
    pub(crate) fn front(&self) -> Option<&T> {
        self.nodes.get(self.first).map(|node| &node.wants)
    }

    /// Takes the first waiter out.
    pub(crate) fn pop(&mut self) -> Option<(Arc<Waiter>, T)> {
        (self.first != END).then(|| self.remove(Place(self.first)))
    }

    /// Takes the first waiter out that is `taken` when it is tried.
    pub(crate) fn pop_if(
        &mut self,
        mut taken: impl FnMut(&Arc<Waiter>, &T) -> bool,
    ) -> Option<(Arc<Waiter>, T)> {
        let mut key = self.first;
        while let Some(node) = self.nodes.get(key) {
            if taken(&node.waiter, &node.wants) {
                return Some(self.remove(Place(key)));
            }
            key = node.after;
        }
        None
    }

    /// Sets the first waiter apart that is `taken` when it is tried.
    pub(crate) fn set_apart_if(
        &mut self,
        mut taken: impl FnMut(&Arc<Waiter>, &T) -> bool,
    ) -> Option<(&Arc<Waiter>, &mut T)> {
        let mut key = self.first;
        loop {
            let node = self.nodes.get(key)?;
            let after = node.after;
            if taken(&node.waiter, &node.wants) {
                self.unlink(node.before, after);
                let node = &mut self.nodes[key];
                node.before = APART;
                return Some((&node.waiter, &mut node.wants));
            }
            key = after;
        }
    }

    /// Takes a waiter out that is still in, or was set apart.
    pub(crate) fn remove(&mut self, place: Place) -> (Arc<Waiter>, T) {
        let Node {
            waiter,
            wants,
            before,
            after,
        } = self.nodes.remove(place.0);
        if before != APART {
            self.unlink(before, after);
        }
        (waiter, wants)
    }

    /// Takes the waiter between these two out of the order.
    fn unlink(&mut self, before: usize, after: usize) {
        match before {
            END => self.first = after,
            before => self.nodes[before].after = after,
        }
        match after {
            END => self.last = before,
            after => self.nodes[after].before = before,
        }
        self.waiting -= 1;
    }

    /// The waiters from the first on.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<Waiter>, &T)> {
        let mut key = self.first;
        std::iter::from_fn(move || {
            let node = self.nodes.get(key)?;
            key = node.after;
            Some((&node.waiter, &node.wants))
        })
    }

    /// Takes all waiters out and gives each of them `grant`.
    pub(crate) fn grant_all(&mut self, grant: Grant, wakes: &mut Wakes) {
        while let Some((waiter, _)) = self.pop() {
            wakes.grant(waiter, grant);
        }
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Queue::new()
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("waiters", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn order(queue: &Queue<u32>) -> Vec<u32> {
        queue.iter().map(|(_, wants)| *wants).collect()
    }

    #[test]
    fn leaving_keeps_the_order_of_the_others() {
        let slot = Slot::new();
        let mut queue = Queue::new();
        let places: Vec<_> = (0..6)
            .map(|n| queue.push(Waiter::new(slot.clone()), n))
            .collect();
        for (gone, left) in [
            (3, vec![0, 1, 2, 4, 5]),
            (0, vec![1, 2, 4, 5]),
            (5, vec![1, 2, 4]),
        ] {
            assert_eq!(queue.remove(places[gone as usize]).1, gone);
            assert_eq!(order(&queue), left);
            assert_eq!(
                places.iter().position(|place| queue.is_first(*place)),
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
            let mut queue = Queue::new();
            let places: Vec<_> = (0..3)
                .map(|n| queue.push(Waiter::new(slot.clone()), n))
                .collect();
            let apart = queue
                .set_apart_if(|_, &wants| wants >= first)
                .expect("there is one");
            *apart.1 += 10;
            assert_eq!((order(&queue), queue.len()), (left.to_vec(), 2));
            let next = queue.push(Waiter::new(slot.clone()), 3);
            assert_eq!(queue.remove(places[first as usize]).1, first + 10);
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
