//! The permits that this thread holds: one for each task of a limited group that it is inside of.
//!
//! The queue of a group has the counts. Here a thread finds out which permits it could give away: a
//! task that runs in place inside of another task of its group has no permit of its own, and a
//! permit that is already given away cannot be given again. The thread also finds the outer permits
//! around a group that it opens: the permits it holds, and outside of them the outer permits around
//! the group of the task that it runs.

use std::cell::{Cell, RefCell};
use std::mem;
use std::sync::Arc;

use super::outer_permit::OuterPermit;
use super::permit::TaskPermit;
use crate::facade::{InChild, Late, local};

local! {
    static THREAD: RefCell<ThreadPermits> = RefCell::new(ThreadPermits::new());
}

local! {
    // Whether `THREAD`, or what stands in for it, is blank. It has no destructor, so a look at it
    // costs one load.
    static IS_BLANK: Cell<bool> = Cell::new(true);
}

local! {
    // Stands in for `THREAD` in the destructors that run after the destructor of `THREAD`.
    static LATE: Late<RefCell<ThreadPermits>> = Late::new();
}

/// A child of `fork` holds no permit: the groups of its parent may be locked for ever. The
/// references are leaked.
static IN_CHILD: InChild = InChild::new(|| {
    let take_away = |thread: &RefCell<ThreadPermits>| {
        if let Ok(mut thread) = thread.try_borrow_mut() {
            mem::forget(mem::take(&mut *thread));
        }
    };
    // The first touch of `THREAD` on a thread allocates.
    let is_used = IS_BLANK.try_with(|is_blank| !is_blank.replace(true));
    if is_used.unwrap_or(false) {
        let _ = THREAD.try_with(take_away);
    }
});

#[derive(Default)]
struct ThreadPermits {
    /// The innermost last.
    held: Vec<HeldPermit>,
    /// The innermost outer permit around the group of the task that a worker runs. A task that runs
    /// in place belongs to that group or to one around it, so every outer permit of its group is
    /// around the thread already.
    outside: Option<Arc<OuterPermit>>,
}

impl ThreadPermits {
    const fn new() -> Self {
        ThreadPermits {
            held: Vec::new(),
            outside: None,
        }
    }

    fn is_blank(&self) -> bool {
        self.held.is_empty() && self.outside.is_none()
    }
}

struct HeldPermit {
    /// The identity of the group, which outlives its tasks.
    group: usize,
    stage: PermitStage,
    /// Made with the first group that is opened inside.
    outer_permit: Option<Arc<OuterPermit>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PermitStage {
    /// The thread holds the permit, as [`TaskPermit::Held`] or [`TaskPermit::Ending`].
    Here(TaskPermit),
    /// The task waits for tasks of the group, and another task may have the permit.
    Yielded,
    /// The task waits for tasks of a group that was opened inside of it, and another task may have
    /// the permit: see [`OuterPermit`].
    Lent,
}

impl PermitStage {
    /// The permit, if the thread can give it away.
    fn here(self) -> Option<TaskPermit> {
        match self {
            PermitStage::Here(permit) => Some(permit),
            PermitStage::Yielded | PermitStage::Lent => None,
        }
    }
}

/// Calls `f` with the permits of this thread; none in the last destructors of a model's thread.
fn with<T>(f: impl FnOnce(&mut ThreadPermits) -> T) -> Option<T> {
    let f = |thread: &RefCell<ThreadPermits>| {
        let mut thread = thread.borrow_mut();
        let result = f(&mut thread);
        let _ = IS_BLANK.try_with(|is_blank| is_blank.set(thread.is_blank()));
        result
    };

    if THREAD.try_with(|_| ()).is_ok() {
        return Some(THREAD.with(f));
    }

    // A destructor of a thread-local runs after the destructor of `THREAD`.
    let is_spent = |thread: &RefCell<ThreadPermits>| thread.borrow().is_blank();
    LATE.try_with(|late| late.with(Default::default, is_spent, f))
        .ok()
}

/// While it lives, the thread holds a permit.
#[must_use]
#[derive(Debug)]
pub(crate) struct Holding(());

/// Notes that this thread runs a task of `group` that has a permit.
pub(super) fn hold(group: usize) -> Holding {
    IN_CHILD.ensure();
    with(|thread| {
        thread.held.push(HeldPermit {
            group,
            stage: PermitStage::Here(TaskPermit::Held),
            outer_permit: None,
        });
    });
    Holding(())
}

impl Holding {
    /// Notes that the task has ended, except for its callbacks.
    pub(super) fn set_ending(&self) {
        with(|thread| {
            if let Some(held) = thread.held.last_mut() {
                held.stage = PermitStage::Here(TaskPermit::Ending);
            }
        });
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        // The entry is dropped outside of `with`: it may be the last reference to an outer permit.
        let held = with(|thread| thread.held.pop());
        drop(held);
    }
}

/// Returns whether this thread has a permit of `group` that it has not given away.
pub(super) fn is_held(group: usize) -> bool {
    with(|thread| {
        // Only the innermost of several permits of one group can be here.
        let innermost = thread.held.iter().rev().find(|held| held.group == group);
        innermost.is_some_and(|held| held.stage.here().is_some())
    })
    .unwrap_or(false)
}

/// While it lives, the innermost permit of a group is given away.
#[must_use]
#[derive(Debug)]
pub(super) struct Yielding {
    place: usize,
    permit: TaskPermit,
}

/// Notes that this thread gives its permit of `group` away, if it has one.
pub(super) fn give_away(group: usize) -> Option<Yielding> {
    with(|thread| {
        let place = thread.held.iter().rposition(|held| held.group == group)?;

        // A permit that is given away already cannot be given again (invariant 5 of the limit).
        let permit = thread.held[place].stage.here()?;
        thread.held[place].stage = PermitStage::Yielded;
        Some(Yielding { place, permit })
    })
    .flatten()
}

impl Yielding {
    /// The permit that was given away.
    pub(super) fn permit(&self) -> TaskPermit {
        self.permit
    }
}

impl Drop for Yielding {
    fn drop(&mut self) {
        with(|thread| thread.held[self.place].stage = PermitStage::Here(self.permit));
    }
}

/// The outer permits of `group` that this thread is inside of, except for a permit that the thread
/// could give away itself.
pub(super) fn outer_permits_of(group: usize) -> Vec<Arc<OuterPermit>> {
    with(|thread| {
        // A permit that is here belongs to a task that runs: the thread gives that away itself.
        let here = thread
            .held
            .iter()
            .filter(|held| held.stage == PermitStage::Lent)
            .filter_map(|held| held.outer_permit.as_ref());
        // Permits of other threads, around the group of the running task.
        let outside = thread.outside.iter().flat_map(OuterPermit::and_outer);

        here.chain(outside)
            .filter(|outer| outer.is_of(group))
            .cloned()
            .collect()
    })
    .unwrap_or_default()
}

/// The innermost outer permit around a group that is opened here.
#[inline]
pub(super) fn innermost() -> Option<Arc<OuterPermit>> {
    // Most scopes are opened where no permit is held.
    if IS_BLANK.with(Cell::get) {
        return None;
    }
    link_permits()
}

/// Links the permits of this thread to those outside of them, and returns the innermost.
#[cold]
fn link_permits() -> Option<Arc<OuterPermit>> {
    with(|thread| {
        if thread.held.is_empty() {
            return thread.outside.clone();
        }

        // Each permit that the thread holds gets its link to the next outside, from outside in.
        let mut outer = thread.outside.clone();
        for held in &mut thread.held {
            let permit = held
                .outer_permit
                .get_or_insert_with(|| OuterPermit::new(held.group, outer));
            outer = Some(permit.clone());
        }
        outer
    })
    .flatten()
}

/// While it lives, the thread runs tasks of a group with an outer permit around it.
#[must_use]
#[derive(Debug)]
pub(super) struct RunningInside {
    before: Option<Arc<OuterPermit>>,
}

/// Notes that this thread runs tasks of a group that has `outer` around it.
pub(super) fn run_inside(outer: &Arc<OuterPermit>) -> RunningInside {
    RunningInside {
        before: with(|thread| thread.outside.replace(outer.clone())).flatten(),
    }
}

impl Drop for RunningInside {
    fn drop(&mut self) {
        let mut before = self.before.take();
        // Swapped, so that the outer permit is dropped outside of `with`.
        with(|thread| mem::swap(&mut thread.outside, &mut before));
    }
}

/// While it lives, this thread waits for tasks inside of permits that it holds.
#[must_use]
#[derive(Debug)]
pub(crate) struct Lending {
    outer_permits: Vec<Arc<OuterPermit>>,
    _restore: RestoreLent,
}

/// Restores the stages of permits that were lent when it is dropped.
#[must_use]
#[derive(Debug)]
struct RestoreLent(Vec<(usize, TaskPermit)>);

impl Drop for RestoreLent {
    fn drop(&mut self) {
        with(|thread| {
            for &(place, permit) in &self.0 {
                thread.held[place].stage = PermitStage::Here(permit);
            }
        });
    }
}

/// Notes that this thread begins to wait for tasks of a group that has `around` around it. To be
/// called with no lock held.
pub(super) fn wait_inside(around: &Arc<OuterPermit>) -> Lending {
    let mut lent = Vec::new();
    let mut places = Vec::new();
    with(|thread| {
        for (place, held) in thread.held.iter_mut().enumerate() {
            let (Some(permit), Some(outer)) = (held.stage.here(), &held.outer_permit) else {
                continue;
            };
            // Only a permit around the awaited group is lent to its tasks.
            if around.and_outer().any(|other| Arc::ptr_eq(other, outer)) {
                lent.push((outer.clone(), permit));
                places.push((place, permit));
                // Invariant 4 of `outer_permit`.
                held.stage = PermitStage::Lent;
            }
        }
    });

    // If this unwinds, the stages are restored.
    let restore = RestoreLent(places);

    // Outside of `with`, since listing a group can run user code.
    let outer_permits = lent.into_iter().map(|(outer, permit)| {
        outer.begin_wait(permit);
        outer
    });

    Lending {
        outer_permits: outer_permits.collect(),
        _restore: restore,
    }
}

impl Drop for Lending {
    fn drop(&mut self) {
        self.outer_permits.iter().for_each(|outer| outer.end_wait());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_inside_of_a_permit_while_it_runs_tasks_there() {
        let inside_of = || innermost().map(|outer| Arc::as_ptr(&outer));
        let outer = OuterPermit::new(1, None);
        let inner = OuterPermit::new(2, Some(outer.clone()));
        assert!(inside_of().is_none());
        let runs = run_inside(&outer);
        assert_eq!(inside_of(), Some(Arc::as_ptr(&outer)));
        let runs_inner = run_inside(&inner);
        assert_eq!(inside_of(), Some(Arc::as_ptr(&inner)));

        drop(runs_inner);
        assert_eq!(inside_of(), Some(Arc::as_ptr(&outer)));
        drop(runs);
        assert!(inside_of().is_none());
    }
}
