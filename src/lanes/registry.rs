//! The lanes of the process.
//!
//! They are in segments that are made as threads come and are never freed. So a reader needs no
//! lock to find them, and none to allocate: a dump can read them when nothing else works.
//!
//! A child of `fork` has lanes of its own. Its only thread claims a new one, which shows the frames
//! and the locks of the old one: the code is still inside of these, and leaves them.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::sync::atomic::{AtomicU32 as PlainU32, AtomicU64 as PlainU64};
use std::thread;

use super::lane::Lane;
use crate::facade::{InChild, PlainMutex, local, per_process};

/// The number of lanes of the first segment. Each further one has twice as many as the one before.
const FIRST: usize = 16;

/// More than there can be threads.
const SEGMENTS: usize = 28;

struct Registry {
    segments: [OnceLock<Box<[Lane]>>; SEGMENTS],
    /// How many lanes have ever been claimed.
    made: PlainU32,
    /// The lanes that were given back, by their index.
    free: PlainMutex<Vec<u32>>,
}

per_process! {
    static REGISTRY: Registry = Registry {
        segments: [const { OnceLock::new() }; SEGMENTS],
        made: PlainU32::new(0),
        free: PlainMutex::new(Vec::new()),
    };
}

/// The lane of the parent is not for this process.
static IN_CHILD: InChild = InChild::new(|| HERE.with(Here::take_away));

local! {
    // Without a destructor, so that it lives as long as the thread.
    static HERE: Here = Here::new();
}

thread_local! {
    // Its destructor gives the lane back.
    static LEAVES: Leaves = const { Leaves };
}

struct Here {
    lane: Cell<Option<&'static Lane>>,
    index: Cell<u32>,
    /// The lane of this thread in the parent of this process, until the thread claims another.
    in_parent: Cell<Option<&'static Lane>>,
    /// The lane has been given back. Destructors of thread-locals that run later have none.
    has_left: Cell<bool>,
}

impl Here {
    const fn new() -> Self {
        Here {
            lane: Cell::new(None),
            index: Cell::new(0),
            in_parent: Cell::new(None),
            has_left: Cell::new(false),
        }
    }

    /// Takes the lane away, in a child that the thread has forked.
    fn take_away(&self) {
        if let Some(lane) = self.lane.take() {
            self.in_parent.set(Some(lane));
        }
    }
}

struct Leaves;

impl Drop for Leaves {
    fn drop(&mut self) {
        HERE.with(|here| {
            here.has_left.set(true);
            if let Some(lane) = here.lane.take() {
                lane.give_back();
                REGISTRY.free.lock().push(here.index.get());
            }
        });
    }
}

/// Returns the lane of this thread. Returns none in the last destructors of a thread.
#[inline(always)]
pub(crate) fn mine() -> Option<&'static Lane> {
    match HERE.with(|here| here.lane.get()) {
        None => claim(),
        mine => mine,
    }
}

/// Returns the lane of this thread, if it has one. Claims none.
#[inline(always)]
pub(crate) fn claimed() -> Option<&'static Lane> {
    HERE.with(|here| here.lane.get())
}

/// Returns whether this thread has a lane, or had one in the parent of this process. Touches no
/// thread-local with a destructor.
pub(crate) fn has_used_the_crate() -> bool {
    HERE.with(|here| here.lane.get().or(here.in_parent.get()).is_some())
}

#[cold]
fn claim() -> Option<&'static Lane> {
    static NUMBER: PlainU64 = PlainU64::new(1);

    HERE.with(|here| {
        // The destructor that gives the lane back must be registered first.
        if here.has_left.get() || LEAVES.try_with(|_| ()).is_err() {
            return None;
        }

        IN_CHILD.ensure();

        // The number is new, even where the lane is not: it tells the threads apart.
        let index = REGISTRY.take_index()?;
        let lane = REGISTRY.at(index as usize)?;
        lane.claim(
            NUMBER.fetch_add(1, Relaxed),
            system_number(),
            thread::current(),
        );
        if let Some(in_parent) = here.in_parent.take() {
            lane.go_on_from(in_parent);
        }
        here.index.set(index);
        here.lane.set(Some(lane));
        Some(lane)
    })
}

impl Registry {
    /// Returns the index of a lane that no thread has.
    fn take_index(&self) -> Option<u32> {
        // A lane that was given back first: readers look at all that were ever made.
        let mut free = self.free.lock();
        if let Some(index) = free.pop() {
            return Some(index);
        }

        // Under the lock of the free lanes, so no two threads make the same one.
        let index = self.made.load(Relaxed);
        let (segment, _) = place(index as usize);
        self.segments.get(segment)?.get_or_init(|| {
            let lanes = (0..FIRST << segment).map(|_| Lane::new());
            lanes.collect()
        });

        // AcqRel, as in `all`: of this thread and a reader, the second sees what came before the
        // first. So a reader sees the lane, with its segment, or what the thread does from here on
        // is after the begin of the reader.
        self.made.fetch_add(1, AcqRel);
        Some(index)
    }

    fn at(&self, index: usize) -> Option<&Lane> {
        let (segment, place) = place(index);
        self.segments.get(segment)?.get()?.get(place)
    }
}

/// Returns the segment of a lane, and its place in the segment.
fn place(index: usize) -> (usize, usize) {
    // The segments before have FIRST * (2^segment - 1) lanes together.
    let segment = (index / FIRST + 1).ilog2() as usize;
    (segment, index - FIRST * ((1 << segment) - 1))
}

/// Returns all lanes that a thread has, or once had.
pub(crate) fn all() -> impl Iterator<Item = &'static Lane> {
    // Where no thread has had a lane, a reader makes no registry: it must not allocate.
    let registry = REGISTRY.made();

    // An addition of nothing, to be ordered with those in `take_index`.
    let made = registry.map_or(0, |registry| registry.made.fetch_add(0, AcqRel));
    (0..made as usize).filter_map(move |index| registry?.at(index))
}

#[cfg(target_os = "linux")]
pub(super) fn system_number() -> i32 {
    nix::unistd::gettid().as_raw()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn system_number() -> i32 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_has_a_place_of_its_own() {
        let places: Vec<_> = (0..FIRST * 7 + 1).map(place).collect();
        assert_eq!(places[0], (0, 0));
        assert_eq!(places[FIRST - 1], (0, FIRST - 1));
        assert_eq!(places[FIRST], (1, 0));
        assert_eq!(places[FIRST * 3 - 1], (1, FIRST * 2 - 1));
        assert_eq!(places[FIRST * 3], (2, 0));
        assert_eq!(places[FIRST * 7], (3, 0));
    }

    #[test]
    fn a_lane_that_was_given_back_gets_a_new_number() {
        let number = || {
            let lane = mine().expect("the thread lives");
            let view = lane.view().expect("it has a thread");
            view.expect("its thread reads it").number
        };
        let first = thread::spawn(number).join().unwrap();
        let second = thread::spawn(number).join().unwrap();
        assert_ne!(first, second);
        let is_shown = |number| {
            let views = all().filter_map(|lane| lane.view()?.ok());
            views.into_iter().any(|view| view.number == number)
        };
        assert!(!is_shown(first) && !is_shown(second) && is_shown(number()));
    }
    #[test]
    fn lanes_of_threads_that_have_ended_are_used_again() {
        const THREADS: u32 = 1_000;

        let before = REGISTRY.made.load(Relaxed);
        for _ in 0..THREADS {
            thread::spawn(|| assert!(mine().is_some())).join().unwrap();
        }

        // Other tests have threads too.
        assert!(REGISTRY.made.load(Relaxed) - before < THREADS / 2);
    }
}
