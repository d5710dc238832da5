//! The first of several events: the ends of tasks, or a started task that is ready.
//!
//! # Invariants
//!
//! 1. An event is in `happened` from when it happened until it is taken, whichever thread waits and
//!    whatever is cancelled meanwhile.
//! 2. The waiter is entered, and gives its permit away, in the critical section that saw no event.
//!    The event that wakes it takes it out, or the waiter itself does. The side that takes it out
//!    takes the permit back, and only that side.
//! 3. An event takes the permit back before it can be taken, and before the task that it is about
//!    leaves the counts. So the waiter has a permit when it goes on, no queued task takes the place
//!    of the ended one, and the limit holds.
//!
//! # Lock order
//!
//! The lock is taken with no other lock held but the lock of a task's watch list. Inside it, the
//! locks of [`OuterPermit`](super::outer_permit::OuterPermit)s and of the group's queue are taken.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::deferred_drops::DeferredDrops;
use super::group_state::GroupState;
use super::held_permits::Lending;
use super::yielding::{TaskWaiter, YieldGuard, YieldedPermits};
use crate::cancel::{Cancelled, context};
use crate::deadlock;
use crate::facade::{Mutex, spin};
use crate::group::erased::ErasedTask;
use crate::lanes::Object;
use crate::waiting::{WaitFor, WaitKind};

impl GroupState {
    /// Tasks of the group, as what a thread waits for at a blocking point of this kind.
    pub(crate) fn awaited(&self, kind: WaitKind) -> WaitFor {
        kind.on(Object::Group(self.node().id().0))
    }
}

/// Events in the order in which they happened, each known by a number, and the one thread that
/// waits for the next.
pub(crate) struct Completions(Mutex<Events>);

#[derive(Default)]
struct Events {
    happened: VecDeque<usize>,
    waiter: Option<TaskWaiter>,
    /// Tasks that were queued when their ends were asked for as events. The first wait that gives a
    /// permit away hands them on to the queue of the group. A wait that is cut short takes them
    /// back.
    queued: Vec<ErasedTask>,
    /// Some of `queued` have been handed on.
    handed_on: bool,
    /// Events that are about to happen: ends of tasks that run their callbacks.
    announced: usize,
}

impl Completions {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Completions(Mutex::new(Events::default())))
    }

    /// Notes that the end of `task`, which is queued, will be an event.
    pub(crate) fn await_queued(&self, task: ErasedTask) {
        let mut drops = DeferredDrops::default();
        let mut events = self.0.lock();

        // The body gives no permit away, so it never hands the tasks on. The list is kept short
        // here.
        if events.queued.len() == events.queued.capacity() {
            events.queued.retain(|task| drops.keep_unclaimed(task));
        }
        events.queued.push(task);
    }

    /// Drops the tasks that no wait has handed on. For the last wait: a task may hold the handle to
    /// these events, so the two would keep each other.
    pub(crate) fn forget_queued(&self) {
        let queued = std::mem::take(&mut self.0.lock().queued);
        // Outside the lock, since the drop of a task can run user code.
        drop(queued);
    }

    /// Notes that an event is about to happen.
    pub(crate) fn announce(&self) {
        let mut events = self.0.lock();
        events.announced += 1;

        // The waiter will take its permit back soon, so `try_spawn` must not count on it.
        let waiter = events.waiter.as_mut();
        if let Some(yielded) = waiter.and_then(|waiter| waiter.yielded.as_mut()) {
            yielded.mark_owed();
        }
    }

    /// Adds an event that was announced.
    pub(crate) fn push_announced(&self, event: usize) {
        self.0.lock().announced -= 1;
        self.push(event);
    }

    /// Adds an event that has happened.
    pub(crate) fn push(&self, event: usize) {
        let mut events = self.0.lock();

        // fault: event-comes-after-its-waiter
        events.happened.push_back(event);
        let waiter = events.waiter.take().map(|TaskWaiter { thread, yielded }| {
            // Invariant 3: under the lock, since a waiter that is awake finds the event by itself
            // and may end before this thread goes on.
            if let Some(yielded) = yielded {
                // fault: event-keeps-the-permit
                yielded.take_back();
            }
            thread
        });
        drop(events);

        if let Some(waiter) = waiter {
            waiter.unpark();
        }
    }

    /// Notes that no thread will wait for an event again.
    pub(crate) fn abandon(&self, group: &GroupState) {
        let mut drops = DeferredDrops::default();
        let mut events = self.0.lock();
        let queued = std::mem::take(&mut events.queued);
        let handed_on = std::mem::take(&mut events.handed_on);
        drop(events);

        // Tasks are dropped outside of all locks.
        if handed_on {
            drop(group.not_awaited(self.address(), &mut drops));
        }
        drop(queued);
    }

    /// Identifies these events among all that live.
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn pop(&self) -> Option<usize> {
        // Invariant 1: only the thread that waits takes an event, and it returns the event.
        self.0.lock().happened.pop_front()
    }

    /// Takes the next event, which is shown as a wait for `what`. A waiter that is a task of
    /// `group` gives its permit away meanwhile: the tasks that it waits for may be queued.
    ///
    /// # Errors
    ///
    /// The current scope was cancelled, before or meanwhile. No event has been taken then.
    #[track_caller]
    pub(crate) fn next(&self, what: WaitFor, group: &Arc<GroupState>) -> Result<usize, Cancelled> {
        context::check()?;

        // An event that comes within a spin saves the price of a yielded permit.
        if let Some(event) = self.pop_soon() {
            return Ok(event);
        }

        deadlock::expect_wait();
        let _waiting = match self.enter(group) {
            EnterResult::Happened(event) => return Ok(event),
            EnterResult::Waits(waiting) => waiting,
        };

        let mut event = None;
        context::wait(what, None, || {
            event = self.pop();
            event.is_some()
        })?;
        Ok(event.unwrap_or_else(|| unreachable!("the wait has seen an event")))
    }

    /// Takes the next event, even in a cancelled scope.
    #[track_caller]
    pub(crate) fn next_uncancellable(&self, what: WaitFor, group: &Arc<GroupState>) -> usize {
        if let Some(event) = self.pop_soon() {
            return event;
        }

        // An event between the look and the entry is found by the entry, under the lock.
        deadlock::expect_wait();
        let _waiting = match self.enter(group) {
            EnterResult::Happened(event) => return event,
            EnterResult::Waits(waiting) => waiting,
        };

        let mut event = None;
        context::wait_uncancellable(
            what,
            || None,
            || {
                event = self.pop();
                event.is_some()
            },
        );
        event.unwrap_or_else(|| unreachable!("the wait has seen an event"))
    }

    /// Spins for an event.
    fn pop_soon(&self) -> Option<usize> {
        let mut event = None;
        spin(|| {
            event = self.pop();
            event.is_some()
        });
        event
    }

    /// Enters this thread as the waiter, unless an event has happened.
    fn enter(&self, group: &Arc<GroupState>) -> EnterResult<'_> {
        let mut events = self.0.lock();
        if let Some(event) = events.happened.pop_front() {
            return EnterResult::Happened(event);
        }

        // Invariant 2: the permit is given away in the critical section that saw no event.
        let queued = &mut events.queued;
        let (mut yielded, guard) = group
            .yield_permits(self.address(), || queued.drain(..))
            .unzip();
        events.handed_on |= yielded.is_some();

        // The event was announced before this waiter came.
        if events.announced > 0 {
            yielded.iter_mut().for_each(YieldedPermits::mark_owed);
        }
        events.waiter = Some(TaskWaiter {
            thread: context::slot(),
            yielded,
        });
        drop(events);

        let mut waiting = EventWaiter {
            completions: self,
            group: group.clone(),
            guard,
            _lending: None,
        };

        // Outside the lock: both can run code of others.
        if let Some(guard) = &waiting.guard {
            guard.offer();
        }
        waiting._lending = group.wait_inside();
        EnterResult::Waits(waiting)
    }
}

enum EnterResult<'a> {
    Happened(usize),
    Waits(EventWaiter<'a>),
}

/// Takes the waiter out again when it is dropped.
struct EventWaiter<'a> {
    completions: &'a Completions,
    group: Arc<GroupState>,
    guard: Option<YieldGuard>,
    _lending: Option<Lending>,
}

impl Drop for EventWaiter<'_> {
    fn drop(&mut self) {
        let mut drops = DeferredDrops::default();
        let mut events = self.completions.0.lock();
        let Some(waiter) = events.waiter.take() else {
            return;
        };

        // The wait was cut short, so it takes its permit back itself (invariant 2). The next wait
        // hands the tasks on again.
        if let Some(yielded) = waiter.yielded {
            yielded.take_back();
            let address = self.completions.address();
            let queued = self.group.not_awaited(address, &mut drops);
            events.queued.extend(queued);
        }
    }
}

impl fmt::Debug for Completions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completions")
            .field("happened", &self.0.lock().happened.len())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Completions;

    #[test]
    fn events_that_live_at_once_are_told_apart() {
        let events = [(); 2].map(|()| Completions::new());
        let [first, second] = [0, 1].map(|at| events[at].address());
        assert_ne!(first, second);
        assert_eq!(first, events[0].address());
    }
}
