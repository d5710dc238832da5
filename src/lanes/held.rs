//! What a thread holds, for which other threads wait: locks, the turn to make a value, a callback that
//! runs.
//!
//! An entry is two words. The owner writes the place first and the object last, and an unlock clears
//! the object. So a reader that finds the same object before and after it reads the place has a place
//! where this thread took that object.

use std::panic::Location;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32 as PlainU32, AtomicUsize as PlainUsize};

use crossbeam_utils::atomic::AtomicCell;

/// How many objects a lane shows. A thread that holds more shows the first of them.
const SHOWN: usize = 12;

#[derive(Debug)]
struct HeldCell {
    object: PlainUsize,
    /// The number of frames of the lane when it was taken.
    depth: PlainU32,
    location: AtomicCell<Option<&'static Location<'static>>>,
}

/// The objects that the thread of a lane holds.
#[derive(Debug)]
pub(super) struct HeldObjects {
    count: PlainU32,
    /// How many more there are.
    hidden: PlainU32,
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
            hidden: PlainU32::new(0),
            cells: [const { HeldCell::new() }; SHOWN],
        }
    }

    #[inline(always)]
    pub(super) fn add(&self, object: usize, depth: u32, location: &'static Location<'static>) {
        let count = self.count.load(Relaxed);
        match self.cells.get(count as usize) {
            Some(cell) => {
                cell.location.store(Some(location));
                cell.depth.store(depth, Relaxed);
                // Release: a reader that sees the object sees its place.
                cell.object.store(object, Release);
                self.count.store(count + 1, Relaxed);
            }
            None => self.hidden.store(self.hidden.load(Relaxed) + 1, Relaxed),
        }
    }

    #[inline(always)]
    pub(super) fn remove(&self, object: usize) {
        let count = self.count.load(Relaxed) as usize;
        // The object that was taken last is mostly given back first.
        let last = count.wrapping_sub(1);
        match self.cells.get(last) {
            Some(cell) if cell.object.load(Relaxed) == object => {
                cell.object.store(0, Relaxed);
                self.count.store(last as u32, Relaxed);
            }
            _ => self.remove_inner(object, count),
        }
    }

    /// Removes an object that is not the last.
    #[cold]
    fn remove_inner(&self, object: usize, count: usize) {
        let shown = self.cells.get(..count).unwrap_or(&[]);
        let found = shown
            .iter()
            .rposition(|cell| cell.object.load(Relaxed) == object);
        let Some(index) = found else {
            // It was taken when there was no room, or before the lane was claimed.
            let hidden = self.hidden.load(Relaxed);
            self.hidden.store(hidden.saturating_sub(1), Relaxed);
            return;
        };

        // The entries behind it move down, each cleared before it is written.
        for pair in shown[index..].windows(2) {
            pair[0].object.store(0, Relaxed);
            pair[0].location.store(pair[1].location.load());
            pair[0].depth.store(pair[1].depth.load(Relaxed), Relaxed);
            pair[0].object.store(pair[1].object.load(Relaxed), Release);
        }
        if let Some(cell) = shown.last() {
            cell.object.store(0, Relaxed);
        }
        self.count.store(count as u32 - 1, Relaxed);
    }

    pub(super) fn clear(&self) {
        self.count.store(0, Relaxed);
        self.hidden.store(0, Relaxed);
        self.cells
            .iter()
            .for_each(|cell| cell.object.store(0, Relaxed));
    }

    pub(super) fn view(&self) -> Vec<HeldView> {
        self.cells.iter().filter_map(HeldCell::view).collect()
    }
}

impl HeldCell {
    const fn new() -> Self {
        HeldCell {
            object: PlainUsize::new(0),
            depth: PlainU32::new(0),
            location: AtomicCell::new(None),
        }
    }

    fn view(&self) -> Option<HeldView> {
        let object = self.object.load(Acquire);
        let (location, depth) = (self.location.load(), self.depth.load(Acquire));
        let is_same = object != 0 && self.object.load(Relaxed) == object;
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
        held.view().iter().map(|held| held.object).collect()
    }

    #[test]
    fn objects_are_given_back_in_any_order() {
        let held = HeldObjects::new();
        let here = Location::caller();
        (1..=4).for_each(|object| held.add(object, 0, here));
        held.remove(2);
        assert_eq!(objects(&held), [1, 3, 4]);
        held.remove(4);
        held.remove(1);
        assert_eq!(objects(&held), [3]);
        held.remove(3);
        assert_eq!(objects(&held), []);
    }

    #[test]
    fn objects_for_which_there_is_no_room_are_counted() {
        let held = HeldObjects::new();
        (1..=SHOWN + 2).for_each(|object| held.add(object, 0, Location::caller()));
        assert_eq!(
            (objects(&held).len(), held.hidden.load(Relaxed)),
            (SHOWN, 2)
        );
        (1..=SHOWN + 2).rev().for_each(|object| held.remove(object));
        assert_eq!((objects(&held).len(), held.hidden.load(Relaxed)), (0, 0));
    }
}
