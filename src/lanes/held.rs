//! What a thread holds, for which other threads wait: locks, the turn to make a value, a callback
//! that runs.
//!
//! An entry is three words. The owner writes the place first and the object last, and an unlock
//! clears the object. So a reader that finds the same object before and after it reads the place
//! has a place where this thread took that object.

use std::panic::Location;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32 as PlainU32, AtomicUsize as PlainUsize};

use crossbeam_utils::atomic::AtomicCell;

/// How many objects of one sort a lane shows. A thread that holds more shows the first of them.
const SHOWN: usize = 12;

/// An object that a thread holds.
#[derive(Debug)]
pub(super) struct HeldCell {
    /// Its address, or 0.
    object: PlainUsize,
    /// The number of frames of the lane when it was taken.
    depth: PlainU32,
    location: AtomicCell<Option<&'static Location<'static>>>,
}

/// Objects that the thread of a lane holds.
#[derive(Debug)]
pub(super) struct HeldObjects {
    count: PlainU32,
    cells: [HeldCell; SHOWN],
}

/// An object that a thread holds, as a reader finds it.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "which parts are read depends on the features")]
pub(crate) struct HeldView {
    pub(crate) object: usize,
    /// The number of frames of the lane when it was taken: the frame below has taken it.
    pub(crate) depth: u32,
    pub(crate) location: Option<&'static Location<'static>>,
}

impl HeldObjects {
    pub(super) const fn new() -> Self {
        HeldObjects {
            count: PlainU32::new(0),
            cells: [const { HeldCell::new() }; SHOWN],
        }
    }

    #[inline(always)]
    pub(super) fn add(&self, object: usize, depth: u32, location: &'static Location<'static>) {
        let count = self.count.load(Relaxed);
        if let Some(cell) = self.cells.get(count as usize) {
            cell.set(object, depth, location);
        }
        // Those for which there is no room are counted.
        self.count.store(count.wrapping_add(1), Relaxed);
    }

    #[inline(always)]
    pub(super) fn remove(&self, object: usize) {
        let last = self.count.load(Relaxed).wrapping_sub(1);
        // The object that was taken last is mostly given back first.
        match self.cells.get(last as usize) {
            Some(cell) if cell.is_of(object) => {
                cell.clear();
                self.count.store(last, Relaxed);
            }
            _ => self.remove_inner(object, last),
        }
    }

    /// Removes an object that is not the last of those shown.
    #[cold]
    fn remove_inner(&self, object: usize, last: u32) {
        // It was taken before the thread had a lane.
        if last == u32::MAX {
            return;
        }

        let shown = &self.cells[..SHOWN.min(last as usize + 1)];
        let found = shown.iter().rposition(|cell| cell.is_of(object));
        if let Some(index) = found {
            // The entries behind it move down, each cleared before it is written.
            for pair in shown[index..].windows(2) {
                pair[0].clear();
                if let Some(next) = pair[1].view() {
                    pair[0].location.store(next.location);
                    pair[0].depth.store(next.depth, Relaxed);
                    pair[0].object.store(next.object, Release);
                }
            }
            if let Some(cell) = shown.last() {
                cell.clear();
            }
        }
        self.count.store(last, Relaxed);
    }

    /// Whether nothing is held that the lane knows of.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Relaxed) == 0
    }

    /// Gives what was taken in frames deeper than `depth` to the frame that goes on.
    pub(super) fn rise(&self, depth: u32) {
        self.cells.iter().for_each(|cell| cell.rise(depth));
    }

    pub(super) fn clear(&self) {
        self.count.store(0, Relaxed);
        self.cells.iter().for_each(HeldCell::clear);
    }

    pub(super) fn view(&self) -> impl Iterator<Item = HeldView> {
        self.cells.iter().filter_map(HeldCell::view)
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
    pub(super) fn set(&self, object: usize, depth: u32, location: &'static Location<'static>) {
        self.location.store(Some(location));
        self.depth.store(depth, Relaxed);
        // Release: a reader that sees the object sees its place.
        self.object.store(object, Release);
    }

    /// If it was taken deeper than at `depth`, it was taken there.
    pub(super) fn rise(&self, depth: u32) {
        let taken = self.depth.load(Relaxed);
        self.depth.store(taken.min(depth), Relaxed);
    }

    #[inline(always)]
    pub(super) fn is_of(&self, object: usize) -> bool {
        self.object.load(Relaxed) == object
    }

    #[inline(always)]
    pub(super) fn clear(&self) {
        self.object.store(0, Relaxed);
    }

    pub(super) fn view(&self) -> Option<HeldView> {
        let object = self.object.load(Acquire);
        let (location, depth) = (self.location.load(), self.depth.load(Acquire));
        let is_same = object != 0 && self.is_of(object);
        is_same.then_some(HeldView {
            object,
            depth,
            location,
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn objects(held: &HeldObjects) -> Vec<usize> {
        held.view().map(|held| held.object).collect()
    }

    #[test]
    fn objects_are_given_back_in_any_order() {
        let held = HeldObjects::new();
        let here = Location::caller();
        (1..=4).for_each(|object| held.add(object, 7, here));
        held.remove(2);
        assert_eq!(objects(&held), [1, 3, 4]);
        assert!(held.view().all(|held| held.depth == 7));
        held.remove(4);
        held.remove(1);
        assert_eq!(objects(&held), [3]);
        held.remove(3);
        assert_eq!((objects(&held).len(), held.count.load(Relaxed)), (0, 0));
    }

    #[test]
    fn an_object_that_outlives_its_frame_belongs_to_the_frame_around() {
        let held = HeldObjects::new();
        held.add(1, 1, Location::caller());
        held.add(2, 3, Location::caller());
        held.rise(2);
        let depths: Vec<_> = held.view().map(|held| held.depth).collect();
        assert_eq!(depths, [1, 2]);
    }

    #[test]
    fn objects_for_which_there_is_no_room_are_counted() {
        let held = HeldObjects::new();
        (1..=SHOWN + 2).for_each(|object| held.add(object, 0, Location::caller()));
        assert_eq!(objects(&held).len(), SHOWN);
        // The last two are not shown, and one that is shown goes first.
        held.remove(1);
        assert_eq!(objects(&held).len(), SHOWN - 1);
        (2..=SHOWN + 2).rev().for_each(|object| held.remove(object));
        assert_eq!((objects(&held).len(), held.count.load(Relaxed)), (0, 0));
    }

    #[test]
    fn an_object_that_was_never_shown_is_given_back_without_harm() {
        let held = HeldObjects::new();
        held.remove(1);
        assert_eq!(held.count.load(Relaxed), 0);
    }
}
