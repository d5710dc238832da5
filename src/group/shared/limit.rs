//! The limit of a group: which tasks hold its permits, and how a task that waits gives its permit away.
//!
//! # Invariants
//!
//! 1. A task begins only with a permit, and only while fewer than `limit` are held. Only queued tasks wait for permits.
//!    Daemons need none.
//! 2. A task that waits for tasks of its group gives its permit up in the critical section that enters it as a waiter, and is
//!    given one back by the end that wakes it, or takes one by itself: of the two, one does, and once. Neither waits for a
//!    permit.
//! 3. The end of a task gives its waiters their permits back before it gives up the permit of the task. So of one waiter the
//!    permit of the task goes to it, and no queued task comes between. Each of the others takes one more, as does a waiter
//!    that goes on without the end of a task that held a permit; `permits` is above `limit` then, and nothing begins until
//!    it is below.
//! 4. Free permits go first to queued tasks that another task waits for, in the order of those waits, then to the others in
//!    the order of their spawns. So a task that has begun does not wait behind tasks that have not.
//! 5. Only a thread that holds a permit gives one up (see [`held_permits`]): a task that runs in place inside of another of
//!    its group, or that has given its own up, does not. So `permits` is the number of threads that will give one up.
//!
//! A limited group does not deadlock by its limit: if nothing can go on, every task that has begun waits, so no permit is
//! held, so the first queued task may begin.
//!
//! All of it changes under the lock of the group's queue.

use std::sync::Arc;

use super::super::held_permits::{self, Away, Holding};
use super::{Dead, Erased, Queue, Shared};
use crate::facade::{holds, Guard};
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

/// A permit that a waiting task has given up and will take back.
#[must_use]
pub(in crate::group) struct GivenUp {
    group: Arc<Shared>,
    /// The task has ended, but for its callbacks, one of which waits.
    ending: bool,
    /// What it waits for has ended, but for its callbacks: the permit is about to be taken back.
    owed: bool,
}

impl GivenUp {
    /// Says that what the task waits for is about to happen, so that `try_spawn` does not count on its permit.
    pub(in crate::group) fn is_owed(&mut self) {
        if !self.owed && holds(Guard::EndOwesPermits) {
            self.owed = true;
            self.group.queue.lock().permits_owed += 1;
        }
    }

    /// Takes the permit back. Does not wait for one: a task that has been woken goes on, and queued tasks have to wait.
    pub(in crate::group) fn take_back(self) {
        let mut queue = self.group.queue.lock();
        queue.permits += 1;
        queue.permits_ending += usize::from(self.ending);
        queue.permits_owed -= usize::from(self.owed);
    }
}

/// What a thread has given up as it began to wait, beside what its waiter's entry says.
#[must_use]
pub(in crate::group) struct Leave {
    group: Arc<Shared>,
    _away: Away,
    /// To be dropped outside the lock of the waiter's entry.
    _dead: Dead,
    list: bool,
}

impl Leave {
    /// Lists the group, if a queued task may begin with the permit. Not under the lock of a waiter's entry: where the system
    /// has no thread for it, the queued task ends here and now.
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

    /// The right to begin a queued task on this thread, which waits for nothing else; the permit that the task gets.
    #[inline]
    pub(in crate::group) fn begin_in_place(&self) -> Option<Permit> {
        if !self.is_limited() {
            return Some(Permit::Nothing);
        }
        if held_permits::is_held(self.identity()) {
            // That of the waiting task will do.
            return Some(Permit::Nothing);
        }
        let mut queue = self.queue.lock();
        let free = queue.permits < self.limit;
        queue.permits += usize::from(free); // guard: take-a-permit-in-place
        free.then_some(Permit::Own)
    }

    /// Notes that this thread holds a permit, if it does.
    pub(in crate::group) fn hold(&self, permit: Permit) -> Option<Holding> {
        (self.is_limited() && permit.is_some()).then(|| held_permits::hold(self.identity()))
    }

    /// Says that a permit is about to be free, before another thread can see that its task has ended.
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

    /// Gives up the permit of the task that this thread runs, which begins to wait for `tasks`; none if there is no limit, or
    /// this thread holds no permit. To be called in the critical section that enters the thread as a waiter, and followed by
    /// [`Leave::offer`] outside it.
    pub(in crate::group) fn give_up<I>(self: &Arc<Self>, tasks: impl FnOnce() -> I) -> Option<(GivenUp, Leave)>
    where
        I: IntoIterator<Item = Erased>,
    {
        if !self.is_limited() || !holds(Guard::WaitGivesPermitUp) {
            return None;
        }
        let away = held_permits::give_away(self.identity())?;
        let mut dead = Dead::default();
        let mut queue = self.queue.lock();
        queue.permits -= 1;
        queue.permits_ending -= usize::from(away.was_ending());
        queue.add_awaited(tasks(), &mut dead);
        let list = queue.must_list(self.limit);
        drop(queue);
        let given_up = GivenUp { group: self.clone(), ending: away.was_ending(), owed: false };
        Some((given_up, Leave { group: self.clone(), _away: away, _dead: dead, list }))
    }

    /// The thread that had entered as a waiter for the queued `task` waits no more.
    pub(in crate::group) fn not_awaited(&self, task: &Erased) {
        let mut queue = self.queue.lock();
        let place = queue.awaited.iter().rposition(|awaited| awaited.is(task));
        let entry = place.and_then(|place| queue.awaited.remove(place));
        drop(queue);
        drop(entry);
    }
}

impl Queue {
    /// Frees a permit.
    pub(super) fn give_back(&mut self, permit: Permit) {
        self.permits -= usize::from(permit.is_some());
    }
}
