//! The objects of a thread that other threads wait for: locks, the turn to make a value, a callback
//! that runs.
//!
//! An entry is three words. The owner writes the place first and the object last, and an unlock
//! clears the object. So a reader reads the object, the place, and the object again. If it finds
//! the same object twice, this thread took that object at that place. The exception is a thread
//! that has meanwhile given the object back, taken another, and taken the first again.

use std::panic::Location;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32 as PlainU32, AtomicUsize as PlainUsize};

use crossbeam_utils::atomic::AtomicCell;

/// How a thread holds an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HeldAs {
    /// No other thread can have it: a lock to write, a turn, a callback that runs.
    Exclusive,
    /// Other threads may have it too: a lock to read.
    Shared,
}

/// Whether a thread that takes a lock holds others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LockRank {
    /// It holds no other lock.
    First,
    /// It holds at least one other lock.
    Further,
}

/// The bit of a `depth` that says that the object is shared.
const SHARED: u32 = 1 << 31;

/// The `depth` of an object that was taken by a task which has ended on this thread. The guard was
/// leaked, or a thread-local keeps it, and no code that runs here counts as its owner.
const LEFT: u32 = SHARED - 1;

impl HeldAs {
    #[inline(always)]
    fn bit(self) -> u32 {
        match self {
            HeldAs::Exclusive => 0,
            HeldAs::Shared => SHARED,
        }
    }

    fn of(depth: u32) -> Self {
        if depth & SHARED == 0 {
            HeldAs::Exclusive
        } else {
            HeldAs::Shared
        }
    }
}

/// The code that counts as the taker of the objects which an ended frame left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NextTaker {
    /// The frame around it.
    Frame,
    /// No code of this thread, for the frame was a task.
    None,
}

/// How many objects a lane shows. An object that is taken while as many are shown is not shown.
const SHOWN: usize = 12;

/// An object that a thread holds.
#[derive(Debug)]
pub(super) struct HeldCell {
    /// Its address, or 0.
    object: PlainUsize,
    /// The number of frames of the lane when it was taken, and whether the object is shared.
    depth: PlainU32,
    location: AtomicCell<Option<&'static Location<'static>>>,
}

/// Objects that the thread of a lane holds.
///
/// The first `shown` cells show objects, and the others show none. For an object that found no room
/// there is nothing to take back.
#[derive(Debug)]
pub(super) struct HeldObjects {
    shown: PlainU32,
    cells: [HeldCell; SHOWN],
}

/// An object that a thread holds, as a reader finds it.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "which parts are read depends on the features")]
pub(crate) struct HeldView {
    pub(crate) object: usize,
    /// The number of frames of the lane when it was taken: the frame below has taken it. 0 if it
    /// `is_left`.
    pub(crate) depth: u32,
    /// The task that took it has ended.
    pub(crate) is_left: bool,
    pub(crate) access: HeldAs,
    pub(crate) location: Option<&'static Location<'static>>,
}

impl HeldObjects {
    pub(super) const fn new() -> Self {
        HeldObjects {
            shown: PlainU32::new(0),
            cells: [const { HeldCell::new() }; SHOWN],
        }
    }

    #[inline(always)]
    pub(super) fn add(
        &self,
        object: usize,
        access: HeldAs,
        depth: u32,
        location: &'static Location<'static>,
    ) {
        // The owner alone writes the count and the cells, so no step needs to be atomic as a whole.
        let shown = self.shown.load(Relaxed);
        if let Some(cell) = self.cells.get(shown as usize) {
            cell.set(object, access, depth, location);
            self.shown.store(shown + 1, Relaxed);
        }
    }

    /// Shows what `before` shows. For the owner, in a lane that shows nothing.
    pub(super) fn copy(&self, before: &Self) {
        for (cell, before) in self.cells.iter().zip(&before.cells) {
            cell.copy(before);
        }
        self.shown.store(before.shown.load(Relaxed), Relaxed);
    }

    /// Removes an object that was taken at `location`, if that is known.
    #[inline(always)]
    pub(super) fn remove(&self, object: usize, location: Option<&'static Location<'static>>) {
        // Wraps where none is shown: then there is no last cell.
        let last = self.shown.load(Relaxed).wrapping_sub(1);

        // Usually, the object that was taken last is given back first.
        match self.cells.get(last as usize) {
            Some(cell) if cell.is_entry(object, location) => {
                cell.clear();
                self.shown.store(last, Relaxed);
            }
            Some(_) => self.remove_inner(object, location, last),
            None => {}
        }
    }

    /// Removes an object that is not the last of those shown.
    #[cold]
    fn remove_inner(&self, object: usize, location: Option<&'static Location<'static>>, last: u32) {
        let shown = &self.cells[..=last as usize];
        let mut found = shown.iter();
        let found = found.rposition(|cell| cell.is_entry(object, location));

        // It found no room, or was taken before the thread had a lane.
        let Some(index) = found else {
            return;
        };

        // The entries behind it move down, each cleared before it is written.
        for pair in shown[index..].windows(2) {
            pair[0].clear();
            if let Some(next) = pair[1].view() {
                pair[0].location.store(next.location);
                pair[0].depth.store(pair[1].depth.load(Relaxed), Relaxed);
                pair[0].object.store(next.object, Release);
            }
        }

        // The last has moved, or is removed itself.
        if let Some(cell) = shown.last() {
            cell.clear();
        }
        self.shown.store(last, Relaxed);
    }

    /// Whether no object is shown.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.shown.load(Relaxed) == 0
    }

    /// Gives the objects of frames deeper than `depth` to `taker`. A frame that goes on is at
    /// `depth`.
    pub(super) fn rise(&self, depth: u32, taker: NextTaker) {
        self.cells.iter().for_each(|cell| cell.rise(depth, taker));
    }

    /// Returns whether an object that was taken at `location`, if that is known, is shown.
    pub(super) fn contains(
        &self,
        object: usize,
        location: Option<&'static Location<'static>>,
    ) -> bool {
        let mut cells = self.cells.iter();
        cells.any(|cell| cell.is_entry(object, location))
    }

    /// Returns the entry of an object.
    pub(super) fn find(&self, object: usize) -> Option<&HeldCell> {
        self.cells.iter().rev().find(|cell| cell.is_of(object))
    }

    pub(super) fn clear(&self) {
        self.shown.store(0, Relaxed);
        self.cells.iter().for_each(HeldCell::clear);
    }

    pub(super) fn view(&self) -> impl Iterator<Item = HeldView> {
        // Most threads show no object here, and none of the five cache lines of the cells is read.
        // The count need not be the newest: each cell says itself whether it shows an object.
        let shown = self.shown.load(Relaxed) as usize;
        self.cells.iter().take(shown).filter_map(HeldCell::view)
    }
}

impl HeldCell {
    pub(super) const fn new() -> Self {
        HeldCell {
            object: PlainUsize::new(0),
            depth: PlainU32::new(0),
            location: AtomicCell::new(None),
        }
    }

    /// Shows an object in a cell that shows none.
    #[inline(always)]
    pub(super) fn set(
        &self,
        object: usize,
        access: HeldAs,
        depth: u32,
        location: &'static Location<'static>,
    ) {
        self.location.store(Some(location));
        self.depth.store(depth | access.bit(), Relaxed);

        // Release: a reader that sees the object sees its place.
        self.object.store(object, Release);
    }

    /// Shows what `before` shows. For the owner, in a cell that shows nothing.
    pub(super) fn copy(&self, before: &Self) {
        self.location.store(before.location.load());
        self.depth.store(before.depth.load(Relaxed), Relaxed);
        self.object.store(before.object.load(Relaxed), Release);
    }

    /// Gives the object to `taker`, if it was taken deeper than `depth`.
    pub(super) fn rise(&self, depth: u32, taker: NextTaker) {
        let taken = self.depth.load(Relaxed);
        if taken & !SHARED <= depth || taken & !SHARED == LEFT {
            return;
        }

        // The mark of a shared object is above any depth, and stays.
        let risen = match taker {
            NextTaker::Frame => depth,
            NextTaker::None => LEFT,
        };
        self.depth.store(risen | (taken & SHARED), Relaxed);
    }

    #[inline(always)]
    pub(super) fn is_of(&self, object: usize) -> bool {
        self.object.load(Relaxed) == object
    }

    /// Returns whether it shows an object that was taken at `location`, if that is known. Two
    /// guards to read one lock are told apart by that. For the owner.
    #[inline(always)]
    pub(super) fn is_entry(
        &self,
        object: usize,
        location: Option<&'static Location<'static>>,
    ) -> bool {
        let is_taken_there = match location {
            None => true,
            Some(location) => {
                let taken = self.location.load();
                taken.is_some_and(|taken| std::ptr::eq(taken, location))
            }
        };
        self.is_of(object) && is_taken_there
    }

    /// Shares an object that was exclusive.
    pub(super) fn share(&self) {
        self.depth.store(self.depth.load(Relaxed) | SHARED, Relaxed);
    }

    #[inline(always)]
    pub(super) fn clear(&self) {
        self.object.store(0, Relaxed);
    }

    pub(super) fn view(&self) -> Option<HeldView> {
        let object = self.object.load(Acquire);
        let (location, depth) = (self.location.load(), self.depth.load(Acquire));
        let is_same = object != 0 && self.is_of(object);
        let taken = depth & !SHARED;
        is_same.then_some(HeldView {
            object,
            depth: if taken == LEFT { 0 } else { taken },
            is_left: taken == LEFT,
            access: HeldAs::of(depth),
            location,
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[inline(never)]
    fn here() -> &'static Location<'static> {
        Location::caller()
    }

    fn objects(held: &HeldObjects) -> Vec<usize> {
        held.view().map(|held| held.object).collect()
    }

    #[test]
    fn objects_are_given_back_in_any_order() {
        let held = HeldObjects::new();
        (1..=4).for_each(|object| held.add(object, HeldAs::Exclusive, 7, here()));
        held.remove(2, Some(here()));
        assert_eq!(objects(&held), [1, 3, 4]);
        assert!(held.view().all(|held| held.depth == 7));
        held.remove(4, Some(here()));
        held.remove(1, Some(here()));
        assert_eq!(objects(&held), [3]);
        held.remove(3, Some(here()));
        assert_eq!((objects(&held).len(), held.shown.load(Relaxed)), (0, 0));
    }

    #[test]
    fn a_lane_that_is_given_back_holds_nothing() {
        let held = HeldObjects::new();
        (1..=SHOWN + 1).for_each(|object| held.add(object, HeldAs::Exclusive, 0, here()));
        held.clear();
        assert!(objects(&held).is_empty() && held.is_empty());
    }

    #[test]
    fn an_object_that_outlives_its_frame_belongs_to_the_frame_around() {
        let held = HeldObjects::new();
        held.add(1, HeldAs::Exclusive, 1, here());
        held.add(2, HeldAs::Shared, 3, here());
        held.rise(2, NextTaker::Frame);
        let access: Vec<_> = held.view().map(|held| held.access).collect();
        assert_eq!(access, [HeldAs::Exclusive, HeldAs::Shared]);
        let depths: Vec<_> = held.view().map(|held| held.depth).collect();
        assert_eq!(depths, [1, 2]);
        assert!(held.view().all(|held| !held.is_left));
    }

    #[test]
    fn an_object_that_outlives_its_task_belongs_to_no_frame_until_it_is_given_back() {
        let held = HeldObjects::new();
        (1..=3).for_each(|object| held.add(object, HeldAs::Shared, object as u32, here()));
        let left = || held.view().map(|held| (held.depth, held.is_left));

        // An object that is left stays left, even where a frame that holds nothing ends.
        held.rise(2, NextTaker::None);
        held.rise(1, NextTaker::Frame);
        held.rise(0, NextTaker::Frame);
        assert!(left().eq([(0, false), (0, false), (0, true)]));
        assert!(held.view().all(|held| held.access == HeldAs::Shared));
        held.remove(1, Some(here()));
        assert!(left().eq([(0, false), (0, true)]));
        held.remove(3, Some(here()));
        assert!(left().eq([(0, false)]));
    }

    #[test]
    fn an_object_can_be_shared_after_it_was_taken() {
        let held = HeldObjects::new();
        (8..10).for_each(|object| held.add(object, HeldAs::Exclusive, 3, here()));
        held.find(9).expect("it is held").share();
        let access = |held: &HeldObjects| held.view().map(|held| held.access).collect::<Vec<_>>();
        assert_eq!(access(&held), [HeldAs::Exclusive, HeldAs::Shared]);

        // It stays shared where it moves.
        held.remove(8, Some(here()));
        assert_eq!(access(&held), [HeldAs::Shared]);
        assert!(held.view().all(|held| held.depth == 3) && held.find(8).is_none());
    }

    #[test]
    fn objects_for_which_there_is_no_room_are_not_shown() {
        let held = HeldObjects::new();
        let add = |object| held.add(object, HeldAs::Shared, 0, here());
        (1..=SHOWN + 2).for_each(add);
        assert_eq!(objects(&held).len(), SHOWN);

        // The last two are not shown, and a shown one goes first.
        held.remove(1, Some(here()));
        assert_eq!(objects(&held).len(), SHOWN - 1);
        (2..=SHOWN + 2)
            .rev()
            .for_each(|object| held.remove(object, Some(here())));
        assert_eq!((objects(&held).len(), held.shown.load(Relaxed)), (0, 0));
    }

    #[test]
    fn two_entries_of_one_object_are_told_apart_by_their_places() {
        let held = HeldObjects::new();
        let other = Location::caller();
        held.add(1, HeldAs::Shared, 1, other);
        held.add(1, HeldAs::Shared, 2, here());
        assert!(held.contains(1, Some(other)) && !held.contains(2, Some(other)));

        held.remove(1, Some(other));
        assert!(!held.contains(1, Some(other)));
        let depths: Vec<_> = held.view().map(|held| held.depth).collect();
        assert_eq!(depths, [2]);

        // Where the place is not known, the last goes first.
        held.add(1, HeldAs::Shared, 3, other);
        held.remove(1, None);
        assert!(held.contains(1, None) && !held.contains(1, Some(other)));
    }

    #[test]
    fn nothing_is_shown_that_was_given_back() {
        // A generator of its own, so that a failure comes again.
        let mut state = 1_u64;
        let mut next = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % below
        };

        for _ in 0..1_000 {
            let (held, mut taken) = (HeldObjects::new(), Vec::new());
            for object in 1..=200 {
                if taken.is_empty() || taken.len() < 2 * SHOWN && next(2) == 0 {
                    held.add(object, HeldAs::Exclusive, 0, here());
                    taken.push(object);
                } else {
                    held.remove(taken.swap_remove(next(taken.len())), Some(here()));
                }
                let shown = objects(&held);
                assert!(
                    shown.iter().all(|object| taken.contains(object)),
                    "{shown:?}, {taken:?}"
                );
                assert_eq!(held.is_empty(), shown.is_empty());
            }

            taken
                .drain(..)
                .for_each(|object| held.remove(object, Some(here())));
            assert!(objects(&held).is_empty() && held.is_empty());
        }
    }

    #[test]
    fn an_object_that_was_never_shown_is_given_back_without_harm() {
        let held = HeldObjects::new();
        held.remove(1, Some(here()));
        assert_eq!(held.shown.load(Relaxed), 0);
    }
}
