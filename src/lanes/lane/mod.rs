//! One lane, and how its thread writes it.

mod reading;
#[cfg(all(test, not(loom)))]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::mem;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use std::sync::atomic::{
    AtomicBool as PlainBool, AtomicI32 as PlainI32, AtomicU32 as PlainU32, AtomicU64 as PlainU64,
    fence,
};
use std::thread::Thread;

use super::counts::Counts;
use super::frames::{ShownFrame, ShownFrames, StartMark};
use super::held::{HeldAs, HeldCell, HeldObjects, LockRank, NextTaker};
use super::open_groups::{Describe, OpenGroups};
use super::version::Version;
use super::wait::{Object, WaitCell, WaitFlags};
use crate::facade::{PlainRwLock, const_fn};

pub(crate) use reading::LaneView;

/// The state that one thread shows of itself. See the [module](super).
pub(crate) struct Lane {
    version: Version,
    frames: ShownFrames,
    wait: WaitCell,
    /// The first lock that the thread holds. Apart from the rest: most threads that hold one hold
    /// no other, and a lock must cost little.
    first_lock: HeldCell,
    /// How often the thread has begun, and how often it has ended, to look whether the wait is over
    /// after it was woken: odd while it looks.
    looks: PlainU32,
    held: HeldObjects,
    /// Tells the threads that had this lane apart; 0 while no thread has it.
    number: PlainU64,
    /// The number of the thread in the system; 0 where that is not known.
    system: PlainI32,
    thread: PlainRwLock<Option<Thread>>,
    /// The names of the tasks in the frames, with the numbers of the tasks.
    names: PlainRwLock<Vec<(u64, Cow<'static, str>)>>,
    /// The groups that this thread has opened.
    groups: OpenGroups,
    /// The tasks that this thread has taken and not begun, if it is a worker with a group.
    batch: PlainRwLock<Option<Arc<dyn Describe>>>,
    /// The thread is a worker.
    is_worker: PlainBool,
    /// The thread is a worker that waits for work, and runs no user code.
    is_idle: PlainBool,
    counts: Counts,
}

impl Lane {
    const_fn! {
        pub(super) const fn new() -> Self {
            Lane {
                version: Version::new(),
                frames: ShownFrames::new(),
                wait: WaitCell::new(),
                first_lock: HeldCell::new(),
                looks: PlainU32::new(0),
                held: HeldObjects::new(),
                number: PlainU64::new(0),
                system: PlainI32::new(0),
                thread: PlainRwLock::new(None),
                names: PlainRwLock::new(Vec::new()),
                groups: OpenGroups::new(),
                batch: PlainRwLock::new(None),
                is_worker: PlainBool::new(false),
                is_idle: PlainBool::new(false),
                counts: Counts::new(),
            }
        }
    }

    /// A lane that no reader of the process finds. Tests write it by hand.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn apart() -> &'static Self {
        let lane: &Lane = Box::leak(Box::new(Lane::new()));
        lane.claim(u64::MAX, 0, std::thread::current());
        lane
    }

    /// Keeps the list of groups busy, as its thread does for a moment.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn keep_busy<T>(&self, f: impl FnOnce() -> T) -> T {
        self.groups.keep_busy(f)
    }

    /// Gives the lane to the current thread.
    pub(super) fn claim(&self, number: u64, system: i32, thread: Thread) {
        *self.thread.write() = Some(thread);

        // Under a version, like in `give_back`.
        self.version.change(|| {
            self.system.store(system, Relaxed);

            // Release: a reader that sees the number sees the thread.
            self.number.store(number, Release);
        });
    }

    /// Shows what `in_parent` shows: the thread forked this process while that was its lane. For
    /// the owner.
    pub(super) fn go_on_from(&self, in_parent: &Self) {
        // The frames and the locks alone. The lists of the old lane are under locks that a reader
        // may have held, and the counts begin again.
        self.version.change(|| {
            self.frames.copy(&in_parent.frames);
            self.first_lock.copy(&in_parent.first_lock);
            self.held.copy(&in_parent.held);
        });
    }

    /// Empties the lane, which no thread has from now on.
    pub(super) fn give_back(&self) {
        // Under a version, so that no view mixes two threads. The counts stay (invariant 2 of
        // `counts`).
        self.version.change(|| {
            self.number.store(0, Relaxed);
            self.frames.clear();
            self.wait.clear();
            self.first_lock.clear();
            self.held.clear();
        });

        self.thread.write().take();
        self.names.write().clear();
        self.is_worker.store(false, Relaxed);
        self.is_idle.store(false, Relaxed);

        // A thread leaves its scopes before it ends, unless it ends the process inside of one.
        //
        // SAFETY: the lane is given back by its thread.
        unsafe { self.groups.clear() };
        self.set_batch(None);
    }

    /// Shows a frame until [`pop`](Self::pop). For the owner.
    #[inline(always)]
    pub(crate) fn push(&self, frame: ShownFrame) {
        // Invariant 1: a reader that sees the frame sees it with the wait of the same moment.
        self.version.change(|| self.frames.push(frame));
    }

    /// Takes back the frame that was pushed last. For the owner.
    #[inline(always)]
    pub(super) fn pop(&self) {
        // Invariant 2: an end needs no new version.
        self.frames.pop();

        if !(self.first_lock.is_of(0) && self.held.is_empty()) {
            self.rise();
        }
    }

    /// Gives the objects of the frame that was popped to the frame that goes on.
    ///
    /// A guard can outlive its frame: the body of a scope returns it, or a thread-local keeps it. A
    /// frame that is pushed later must not count as its taker. Guards are not
    /// `Send`, so a task cannot return one: what a task leaves belongs to no code of this thread.
    #[cold]
    fn rise(&self) {
        let depth = self.frames.depth();
        let taker = if self.frames.is_task(depth) {
            NextTaker::None
        } else {
            NextTaker::Frame
        };
        self.first_lock.rise(depth, taker);
        self.held.rise(depth, taker);
    }

    /// Marks the task in the innermost frame as being started. For the owner.
    pub(super) fn mark_starting(&'static self) -> Option<StartMark> {
        let mut mark = None;
        self.version.change(|| mark = self.frames.mark_starting());
        mark
    }

    #[inline]
    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Shows that the thread is about to wait. For the owner.
    #[inline]
    pub(crate) fn begin_wait(
        &self,
        kind: u8,
        object: Object,
        flags: WaitFlags,
        location: &'static Location<'static>,
    ) {
        // Invariant 1: the wait appears under a new version. Invariant 3: this version stays until
        // the thread goes on.
        self.version
            .change(|| self.wait.set(kind, object, flags, location));
    }

    /// Notes since when the thread waits, before it sleeps for the first time. For the owner.
    #[inline]
    pub(crate) fn stamp_wait(&self) {
        self.wait.stamp();
    }

    /// Shows that the thread no longer waits. For the owner.
    #[inline]
    pub(crate) fn end_wait(&self) {
        // Invariant 2, like in `pop`.
        self.wait.clear();
    }

    /// Notes that the code of the innermost frame has been told of a cancel at `location`.
    pub(crate) fn note_told(&self, location: &'static Location<'static>) {
        self.frames.note_told(location);
    }

    /// Notes the first sight of the innermost task of its own cancel. Calls `to_sight` with the
    /// number of the token of its group. For the owner.
    pub(crate) fn note_sight(&self, to_sight: impl FnOnce(u64) -> Option<u64>) {
        self.frames.note_sight(to_sight);
    }

    /// Returns how long after its cancel the task in the innermost frame first saw it, in
    /// nanoseconds. For the owner.
    pub(crate) fn to_sight(&self) -> Option<u64> {
        self.frames.to_sight()
    }

    /// Notes that the thread was woken, and looks whether its wait is over. For the owner.
    pub(crate) fn begin_look(&self) {
        // Invariant 4: an odd count says that a look has begun. Only the owner writes it.
        self.looks.store(self.looks.load(Relaxed) | 1, Relaxed);

        // Pairs with the fence in `next_look`: either the reader sees that this look has begun, and
        // asks for the next, or this look sees all that the reader has seen.
        fence(SeqCst);
    }

    /// Notes that the wait is not over. For the owner.
    pub(crate) fn end_look(&self) {
        let looks = self.looks.load(Relaxed);

        // Invariant 4: an even count says that no look is under way. Release pairs with
        // `has_looked`: the look is over when the reader reads the lane again.
        self.looks.store((looks | 1).wrapping_add(1), Release);
    }

    #[cold]
    pub(crate) fn hold(&self, object: usize, access: HeldAs, location: &'static Location<'static>) {
        self.held.add(object, access, self.frames.depth(), location);
    }

    /// Shows that other threads may have a lock of this thread too. For the owner.
    pub(super) fn share(&self, object: usize) {
        // An exclusive lock is shown once.
        if self.first_lock.is_of(object) {
            self.first_lock.share();
        } else if let Some(cell) = self.held.find(object) {
            cell.share();
        }
    }

    /// See [`locked_here`](super::locked_here). For the owner.
    pub(super) fn locked_here(
        &self,
        object: usize,
        excludes: impl Fn(HeldAs) -> bool,
    ) -> Option<&'static Location<'static>> {
        // A task that runs in place has a frame of its own, and is not the code that locked.
        let task = self.frames.innermost_task(self.frames.depth());

        let mut held = self.first_lock.view().into_iter().chain(self.held.view());
        let found = held.find(|held| {
            held.object == object
                && excludes(held.access)
                && !held.is_left
                && self.frames.innermost_task(held.depth) == task
        });
        found?.location
    }

    #[cold]
    pub(super) fn release(&self, object: usize, location: Option<&'static Location<'static>>) {
        self.held.remove(object, location);
    }

    /// Shows a lock.
    #[inline(always)]
    pub(super) fn lock(
        &self,
        object: usize,
        access: HeldAs,
        rank: LockRank,
        location: &'static Location<'static>,
    ) {
        match rank {
            LockRank::First => {
                // No other lock is held, so the cell is free, unless the guard in it was leaked.
                let depth = self.frames.depth();
                self.first_lock.set(object, access, depth, location);
            }
            LockRank::Further => self.hold(object, access, location),
        }
    }

    /// Takes back a lock that was taken at `location`, if that is known.
    ///
    /// Without it, the place of the wrong one of two guards to read may go on to be shown.
    #[inline(always)]
    pub(super) fn unlock(&self, object: usize, location: Option<&'static Location<'static>>) {
        if location.is_some() && !self.held.is_empty() {
            self.unlock_one_of_several(object, location);
        } else if self.first_lock.is_of(object) {
            self.first_lock.clear();
        } else {
            self.release(object, location);
        }
    }

    /// Takes back the entries of a lock that is dropped: their guards were leaked. Another lock may
    /// come to its address. Returns how many there were. For the owner.
    #[inline]
    pub(super) fn forget(&self, object: usize) -> usize {
        if self.first_lock.is_of(0) && self.held.is_empty() {
            return 0;
        }
        self.forget_leaked(object)
    }

    #[cold]
    fn forget_leaked(&self, object: usize) -> usize {
        let mut leaked = 0;
        if self.first_lock.is_of(object) {
            self.first_lock.clear();
            leaked += 1;
        }

        while self.held.contains(object, None) {
            self.held.remove(object, None);
            leaked += 1;
        }
        leaked
    }

    #[cold]
    fn unlock_one_of_several(&self, object: usize, location: Option<&'static Location<'static>>) {
        // Usually, the last of two guards from one place is dropped first.
        let is_first = self.first_lock.is_entry(object, location);
        if is_first && !self.held.contains(object, location) {
            self.first_lock.clear();
        } else {
            self.release(object, location);
        }
    }

    /// Shows a group for good.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn open(&self, number: u64, group: Arc<dyn Describe>) {
        let group: &'static Arc<dyn Describe> = Box::leak(Box::new(group));
        // SAFETY: no other thread writes the lane of a test, and the group is never freed.
        unsafe { self.groups.push(number, &**group) };
    }

    /// Takes back a group that [`open`](Self::open) shows.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn close(&self, group: &(dyn Describe + 'static)) {
        // SAFETY: as above.
        unsafe { self.groups.remove(group) };
    }

    /// Returns the groups that this thread has opened.
    #[inline]
    pub(super) fn groups(&self) -> &OpenGroups {
        &self.groups
    }

    /// Shows that the thread is a worker. For the owner.
    pub(crate) fn become_worker(&self) {
        self.is_worker.store(true, Relaxed);
    }

    /// Shows whether a worker waits for work. For the owner.
    pub(crate) fn set_idle(&self, is_idle: bool) {
        // Under a version: a reader that finds it twice has found one wait.
        self.version.change(|| self.is_idle.store(is_idle, Relaxed));
    }

    /// Shows the tasks that a worker has taken from a group and not begun. For the owner.
    pub(crate) fn set_batch(&self, batch: Option<Arc<dyn Describe>>) {
        // Dropped outside the lock: it may be the last reference.
        let before = mem::replace(&mut *self.batch.write(), batch);
        drop(before);
    }

    /// Shows the name of a task that the thread begins, until [`take_name`](Self::take_name). For
    /// the owner.
    pub(crate) fn add_name(&self, task: u64, name: Cow<'static, str>) {
        self.names.write().push((task, name));
    }

    /// Takes back the name that was shown last. For the owner.
    pub(crate) fn take_name(&self) {
        let name = self.names.write().pop();
        drop(name);
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}
