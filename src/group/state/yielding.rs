//! How a task of a limited group gives its permit away while it waits: see the page `limit.md`
//! beside this file. The comments cite its invariants.

use std::sync::Arc;

use super::deferred_drops::DeferredDrops;
use super::group_state::GroupState;
use super::held_permits::{self, Holding, Lending, Yielding};
use super::outer_permit::{Contribution, LimitedGroup, OuterPermit};
use super::permit::TaskPermit;
use crate::group::erased::ErasedTask;
use crate::group::permit_wait::PermitWait;
use crate::waiting::Slot;
use crate::workers;

/// A thread that waits for the end of a task, or for another event of its group.
pub(crate) struct TaskWaiter {
    pub(crate) thread: Arc<Slot>,
    /// The permits that it takes back at the end of the wait.
    pub(crate) yielded: Option<YieldedPermits>,
}

/// The permits that a waiting thread has given away and will take back: its own, and the permits of
/// the tasks that it is inside of.
#[must_use]
pub(crate) struct YieldedPermits {
    group: Arc<GroupState>,
    /// The permit of the task itself.
    own: TaskPermit,
    outer: Vec<Arc<OuterPermit>>,
    /// The awaited task has ended, except for its callbacks: the permits will be taken back soon.
    owed: bool,
}

impl YieldedPermits {
    /// Notes that the awaited event is about to happen, so that `try_spawn` does not count on the
    /// permits.
    pub(crate) fn mark_owed(&mut self) {
        // Once for each wait, since `take_back` takes it off once.
        //
        // fault: end-owes-no-permit
        if !self.owed {
            self.owed = true;
            if self.own.is_some() {
                self.group.queue.lock().permits.owed += 1;
            }
            self.outer.iter().for_each(|outer| outer.owe());
        }
    }

    /// Takes the permits back, whether any are free or not: a task that has been woken goes on, and
    /// queued tasks have to wait (invariant 2).
    pub(crate) fn take_back(self) {
        // Nothing is listed here: a permit that is taken lets no other task begin.
        if self.own.is_some() {
            let mut queue = self.group.queue.lock();
            // fault: woken-task-takes-no-permit
            queue.permits.take(self.own);
            // fault: owed-permit-stays-owed
            queue.permits.owed -= usize::from(self.owed);
            queue.permits.lent -= 1;
        }

        for outer in &self.outer {
            if self.owed {
                outer.remove_owed_waiter();
            } else {
                outer.remove_waiter();
            }
        }
    }
}

/// The thread's side of a yield: while it lives, the thread knows that its permit is given away.
#[must_use]
pub(crate) struct YieldGuard {
    group: Arc<GroupState>,
    _yielding: Option<Yielding>,
    /// To be dropped outside the lock of the waiter's entry.
    _drops: DeferredDrops,
    list: bool,
}

impl YieldGuard {
    /// Lists the group if a queued task may begin with the permit. To be called outside the lock of
    /// the waiter's entry: if the system has no thread for the queued task, the task fails inside
    /// of this call.
    pub(crate) fn offer(&self) {
        // fault: given-permit-is-not-offered
        if self.list {
            workers::list(self.group.clone());
        }
    }
}

impl GroupState {
    /// Identifies the group among all that live.
    fn identity(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Acquires the right to begin a queued task on this thread, which waits for nothing else.
    /// Returns the permit that the task gets, and ends its wait for one.
    #[inline]
    pub(crate) fn begin_in_place(&self, wait: &PermitWait) -> Option<TaskPermit> {
        if !self.is_limited() {
            return Some(TaskPermit::None);
        }

        if held_permits::is_held(self.identity()) {
            // The permit of the waiting task serves for both (invariant 5).
            self.end_permit_wait(wait);
            return Some(TaskPermit::None);
        }

        let mut drops = DeferredDrops::default();
        let mut queue = self.queue.lock();

        // Invariant 4: an awaited task comes first.
        //
        // fault: task-in-place-overtakes-an-awaited-one
        let free = queue.permits.held < self.limit && !queue.is_any_awaited(&mut drops);

        // fault: task-in-place-takes-no-permit
        queue.permits.held += usize::from(free);

        // If another thread has claimed the task meanwhile, its wait is over too.
        if free && wait.is_under_way() {
            queue.end_permit_wait(wait);
        }
        free.then_some(TaskPermit::Held)
    }

    /// Notes that this thread holds `permit`, if it is one.
    pub(crate) fn hold(&self, permit: TaskPermit) -> Option<Holding> {
        (self.is_limited() && permit.is_some()).then(|| held_permits::hold(self.identity()))
    }

    /// Notes that a permit is about to be free, before another thread can see that its task has
    /// ended.
    pub(super) fn permit_is_ending(&self, holding: Option<&Holding>) {
        // fault: ending-permit-is-not-noted
        self.queue.lock().permits.ending += 1;
        if let Some(holding) = holding {
            holding.set_ending();
        }
    }

    /// Gives away the permits of this thread, which begins to wait for `tasks`: the permit of the
    /// task that it runs, and of the tasks that it is inside of. Returns none if there is no
    /// limit, or no permit to give.
    ///
    /// To be called in the critical section that enters the thread as a waiter (invariant 2), and
    /// followed by [`YieldGuard::offer`] outside of it. `by` is an address that identifies the
    /// wait.
    pub(crate) fn yield_permits<I>(
        self: &Arc<Self>,
        by: usize,
        tasks: impl FnOnce() -> I,
    ) -> Option<(YieldedPermits, YieldGuard)>
    where
        I: IntoIterator<Item = ErasedTask>,
    {
        // fault: waiting-task-keeps-its-permit
        if !self.is_limited() {
            return None;
        }

        // Before the thread's own permit counts as given away: an outer permit that is lent stays
        // one (invariant 6).
        //
        // fault: outer-tasks-keep-their-permits
        let outer = held_permits::outer_permits_of(self.identity());
        let yielding = held_permits::give_away(self.identity());
        if yielding.is_none() && outer.is_empty() {
            return None;
        }

        let own = yielding.as_ref().map_or(TaskPermit::None, Yielding::permit);

        // The counts, and the tasks that now come first (invariant 4).
        let mut drops = DeferredDrops::default();
        let mut queue = self.queue.lock();
        queue.permits.give_back(own);
        queue.permits.lent += usize::from(own.is_some());

        // fault: awaited-task-is-not-first
        queue.add_awaited(tasks(), by, &mut drops);
        let mut list = queue.must_list(self.limit);
        drop(queue);

        // After the queue's lock, which is inside the lock of an outer permit.
        //
        // fault: outer-permit-has-no-waiter
        for outer in &outer {
            list |= outer.add_waiter(self);
        }

        let yielded = YieldedPermits {
            group: self.clone(),
            own,
            outer,
            owed: false,
        };

        let guard = YieldGuard {
            group: self.clone(),
            _yielding: yielding,
            _drops: drops,
            list,
        };
        Some((yielded, guard))
    }

    /// Notes that this thread waits for tasks of the group. If it holds permits around the group,
    /// they are lent to the tasks inside. To be called with no lock held.
    #[inline]
    pub(crate) fn wait_inside(&self) -> Option<Lending> {
        self.outer_permit.as_ref().map(held_permits::wait_inside)
    }

    /// Takes back that a wait comes before others: it has ended before the awaited event. Returns
    /// its tasks that are still queued.
    pub(crate) fn not_awaited(&self, by: usize, drops: &mut DeferredDrops) -> Vec<ErasedTask> {
        self.queue.lock().remove_awaited(by, drops)
    }
}

impl LimitedGroup for GroupState {
    fn recount(&self, before: Contribution, after: Contribution) -> bool {
        let mut queue = self.queue.lock();
        let permits = &mut queue.permits;
        let given_away = |of: Contribution| usize::from(of.given_away.is_some());
        let ending = |of: Contribution| usize::from(of.given_away == Some(TaskPermit::Ending));

        permits.held = permits.held + given_away(before) - given_away(after);
        permits.lent = permits.lent + given_away(after) - given_away(before);
        permits.ending = permits.ending + ending(before) - ending(after);
        permits.owed = permits.owed + usize::from(after.owed) - usize::from(before.owed);

        // Only a permit that has become free can let a queued task begin.
        before.given_away.is_none() && after.given_away.is_some() && queue.must_list(self.limit)
    }

    fn list(self: Arc<Self>) {
        workers::list(self);
    }
}
