//! The limit of a group: which tasks hold its permits, and how a task that waits gives its permit
//! away.
//!
//! # Invariants
//!
//! 1. A task begins only with a permit, and only while fewer than `limit` are held. Only queued
//!    tasks wait for permits. Daemons need none.
//! 2. A task that waits for tasks of its group gives its permit up in the critical section that
//!    enters it as a waiter, and is given one back by the end that wakes it, or takes one by
//!    itself: of the two, one does, and once, in the critical section that takes it out of the
//!    waiters. Neither waits for a permit.
//! 3. The end of a task gives its waiters their permits back before it gives up the permit of the
//!    task. So of one waiter the permit of the task goes to it, and no queued task comes between.
//!    Each of the others takes one more, as does a waiter that goes on without the end of a task
//!    that held a permit; `permits` is above `limit` then, and nothing begins until it is below.
//! 4. Free permits go first to queued tasks that another task waits for, in the order of those
//!    waits, then to the others in the order of their spawns. So a task that has begun does not
//!    wait behind tasks that have not.
//! 5. Only a thread that holds a permit gives one up (see [`held_permits`]): a task that runs in
//!    place inside of another of its group, or that has given its own up, does not. So `permits` is
//!    the number of threads that will give one up.
//! 6. A task of a group inside of a task with a permit has none to give up by itself. Its wait
//!    counts for that permit: see [`Holder`].
//!
//! A limited group does not deadlock by its limit: if nothing can go on, every task that has begun
//! waits, for tasks of the group or for tasks inside, one of which waits for tasks of the group. So
//! no permit is held, so the first queued task may begin.
//!
//! All of it changes under the lock of the group's queue.

use std::sync::Arc;

use super::super::erased::ErasedTask;
use super::super::held_permits::{self, Away, Holding, Inside};
use super::super::holder::Holder;
use super::{Dead, Queue, Shared};
use crate::facade::{Guard, holds};
use crate::workers;

/// What a task has of the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::group) enum Permit {
    Nothing,
    Own,
}

impl Permit {
    pub(super) fn is_some(self) -> bool {
        self != Permit::Nothing
    }
}

/// What a permit that its thread holds for tasks inside adds to the counts of its group: see
/// [`Holder`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(in crate::group) struct Share {
    /// It is given away.
    pub(in crate::group) away: bool,
    /// It is that of a task that has ended, but for its callbacks.
    pub(in crate::group) ending: bool,
    /// It is about to be taken back.
    pub(in crate::group) owed: bool,
}

/// The permits that a waiting thread has given up, its own and those of the tasks that it is inside
/// of, and will take back.
#[must_use]
pub(in crate::group) struct GivenUp {
    group: Arc<Shared>,
    own: Option<Own>,
    around: Vec<Arc<Holder>>,
    /// What it waits for has ended, but for its callbacks: the permits are about to be taken back.
    owed: bool,
}

/// The permit of the task itself.
struct Own {
    /// The task has ended, but for its callbacks, one of which waits.
    ending: bool,
}

impl GivenUp {
    /// Says that what the task waits for is about to happen, so that `try_spawn` does not count on
    /// its permit.
    pub(in crate::group) fn is_owed(&mut self) {
        if !self.owed && holds(Guard::EndOwesPermits) {
            self.owed = true;
            if self.own.is_some() {
                self.group.queue.lock().permits_owed += 1;
            }
            self.around.iter().for_each(|holder| holder.owe());
        }
    }

    /// Takes the permits back. Does not wait for any: a task that has been woken goes on, and
    /// queued tasks have to wait.
    pub(in crate::group) fn take_back(self) {
        if let Some(Own { ending }) = self.own {
            let mut queue = self.group.queue.lock();
            queue.permits += 1;
            queue.permits_ending += usize::from(ending);
            queue.permits_owed -= usize::from(self.owed);
        }
        self.around
            .iter()
            .for_each(|holder| holder.remove_waiter(self.owed));
    }
}

/// What a thread has given up as it began to wait, beside what its waiter's entry says.
#[must_use]
pub(in crate::group) struct Leave {
    group: Arc<Shared>,
    _away: Option<Away>,
    /// To be dropped outside the lock of the waiter's entry.
    _dead: Dead,
    list: bool,
}

impl Leave {
    /// Lists the group, if a queued task may begin with the permit. Not under the lock of a
    /// waiter's entry: where the system has no thread for it, the queued task ends here and now.
    pub(in crate::group) fn offer(&self) {
        if self.list {
            workers::list(self.group.clone());
        }
    }
}

impl Shared {
    /// What tells the group from every other that lives.
    fn identity(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The right to begin a queued task on this thread, which waits for nothing else; the permit
    /// that the task gets.
    #[inline]
    pub(in crate::group) fn begin_in_place(&self) -> Option<Permit> {
        if !self.is_limited() {
            return Some(Permit::Nothing);
        }
        if held_permits::is_held(self.identity()) {
            // That of the waiting task will do.
            return Some(Permit::Nothing);
        }
        let mut dead = Dead::default();
        let mut queue = self.queue.lock();
        // Invariant 4.
        let free = queue.permits < self.limit && !queue.is_any_awaited(&mut dead);
        queue.permits += usize::from(free); // guard: take-a-permit-in-place
        free.then_some(Permit::Own)
    }

    /// Notes that this thread holds a permit, if it does.
    pub(in crate::group) fn hold(&self, permit: Permit) -> Option<Holding> {
        (self.is_limited() && permit.is_some()).then(|| held_permits::hold(self.identity()))
    }

    /// Says that a permit is about to be free, before another thread can see that its task has
    /// ended.
    pub(super) fn permit_is_ending(&self, holding: Option<&Holding>) {
        self.queue.lock().permits_ending += 1;
        if let Some(holding) = holding {
            holding.is_ending();
        }
    }

    /// Gives up a permit whose task was claimed by another thread, or has no thread.
    pub(in crate::group) fn free_permit(self: &Arc<Self>, permit: Permit) {
        if !permit.is_some() {
            return;
        }
        let mut queue = self.queue.lock();
        queue.give_back(permit);
        let list = queue.must_list(self.limit);
        drop(queue);
        if list {
            workers::list(self.clone());
        }
    }

    /// Gives up the permit of the task that this thread runs, which begins to wait for `tasks`, and
    /// those of the tasks that it is inside of; none if there is no limit, or no permit. To be
    /// called in the critical section that enters the thread as a waiter, and followed by
    /// [`Leave::offer`] outside it. `by` is an address of the wait's own.
    pub(in crate::group) fn give_up<I>(
        self: &Arc<Self>,
        by: usize,
        tasks: impl FnOnce() -> I,
    ) -> Option<(GivenUp, Leave)>
    where
        I: IntoIterator<Item = ErasedTask>,
    {
        if !self.is_limited() || !holds(Guard::WaitGivesPermitUp) {
            return None;
        }
        let around = if holds(Guard::WaitInsideGivesPermitUp) {
            held_permits::holders_of(self.identity())
        } else {
            Vec::new()
        };
        let away = held_permits::give_away(self.identity());
        if away.is_none() && around.is_empty() {
            return None;
        }
        let own = away.as_ref().map(|away| Own {
            ending: away.was_ending(),
        });
        let mut dead = Dead::default();
        let mut queue = self.queue.lock();
        if let Some(Own { ending }) = own {
            queue.permits -= 1;
            queue.permits_ending -= usize::from(ending);
        }
        queue.add_awaited(tasks(), by, &mut dead);
        let mut list = queue.must_list(self.limit);
        drop(queue);
        for holder in &around {
            list |= holder.add_waiter(self);
        }
        let given_up = GivenUp {
            group: self.clone(),
            own,
            around,
            owed: false,
        };
        Some((
            given_up,
            Leave {
                group: self.clone(),
                _away: away,
                _dead: dead,
                list,
            },
        ))
    }

    /// Says that this thread waits for tasks of the group, which may have permits around it that
    /// this thread holds. To be called with no lock held.
    #[inline]
    pub(in crate::group) fn wait_inside(&self) -> Option<Inside> {
        self.around.as_ref().map(held_permits::wait_inside)
    }

    /// Counts what a permit that is held for tasks inside has become; whether the group has to be
    /// listed, as which it counts then.
    pub(in crate::group) fn account(&self, before: Share, after: Share) -> bool {
        let mut queue = self.queue.lock();
        queue.permits = queue.permits + usize::from(before.away) - usize::from(after.away);
        queue.permits_ending =
            queue.permits_ending + usize::from(before.ending) - usize::from(after.ending);
        queue.permits_owed =
            queue.permits_owed + usize::from(after.owed) - usize::from(before.owed);
        !before.away && after.away && queue.must_list(self.limit)
    }

    /// A wait has ended before what it waited for: no queued task is to come before others because
    /// of it. Returns those that are still queued.
    pub(in crate::group) fn not_awaited(&self, by: usize, dead: &mut Dead) -> Vec<ErasedTask> {
        self.queue.lock().remove_awaited(by, dead)
    }
}

impl Queue {
    /// Frees a permit.
    pub(super) fn give_back(&mut self, permit: Permit) {
        self.permits -= usize::from(permit.is_some());
    }
}
