//! Who waits for the first of several events: the ends of tasks, or a task that is ready.
//!
//! # Invariants
//!
//! 1. An event is in `events` from when it happened until it is taken, whoever waits and whatever is cancelled meanwhile.
//! 2. The waiter is entered in the critical section that saw no event, and is taken out by the event that wakes it or by
//!    itself: of the two, one gets the slot of the limit back that the waiter had given away, and once.
//! 3. An event gives the slot back before it can be taken, and before the task that it is about leaves the counts. So the
//!    waiter has a slot whenever it goes on, no queued task takes the place of the ended one, and the limit holds.
//!
//! # Lock order
//!
//! The lock is taken with no other held, and inside it only that of the group's queue.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::shared::{Left, Shared};
use super::slots::Away;
use crate::cancel::{context, Cancelled};
use crate::facade::{holds, spin, Guard, Mutex};
use crate::waiting::{Point, Slot};

/// Events in the order in which they happened, each known by a number, and the one thread that waits for the next.
pub(super) struct Completions(Mutex<State>);

#[derive(Default)]
struct State {
    events: VecDeque<usize>,
    waiter: Option<Waiter>,
}

/// A thread that waits for an event.
struct Waiter {
    thread: Arc<Slot>,
    /// The slot that it has left, for as long as it waits.
    left: Option<Left>,
}

impl Waiter {
    fn rejoin(&self) {
        if let Some(left) = &self.left {
            left.rejoin();
        }
    }
}

impl Completions {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Completions(Mutex::new(State::default())))
    }

    /// Says that `event` has happened.
    pub(super) fn push(&self, event: usize) {
        let mut state = self.0.lock();
        if holds(Guard::EventWithItsWaiter) {
            state.events.push_back(event);
        }
        let waiter = state.waiter.take();
        // Under the lock: a waiter that is not asleep finds the event by itself, and may end before this thread goes on.
        if let Some(waiter) = waiter.as_ref().filter(|_| holds(Guard::EventGivesSlotBack)) {
            waiter.rejoin();
        }
        drop(state);
        if !holds(Guard::EventWithItsWaiter) {
            self.0.lock().events.push_back(event);
        }
        if let Some(waiter) = waiter {
            waiter.thread.unpark();
        }
    }

    fn pop(&self) -> Option<usize> {
        self.0.lock().events.pop_front()
    }

    /// Takes the next event. A waiter that is a task of `group` leaves its limit meanwhile: the tasks it waits for may be
    /// queued behind it.
    ///
    /// # Errors
    ///
    /// The current scope was cancelled, before or meanwhile. No event has been taken then.
    #[track_caller]
    pub(super) fn next(&self, group: &Arc<Shared>) -> Result<usize, Cancelled> {
        context::check()?;
        if let Some(event) = self.pop_soon() {
            return Ok(event);
        }
        let _waiting = match self.enter(group) {
            Entered::Happened(event) => return Ok(event),
            Entered::Waiting(waiting) => waiting,
        };
        let mut event = None;
        context::wait(Point::Completion, None, || {
            event = self.pop();
            event.is_some()
        })?;
        Ok(event.unwrap_or_else(|| unreachable!("the wait has seen an event")))
    }

    /// As [`next`](Self::next), whatever is cancelled.
    #[track_caller]
    pub(super) fn next_uncancellable(&self, group: &Arc<Shared>) -> usize {
        if let Some(event) = self.pop_soon() {
            return event;
        }
        let _waiting = match self.enter(group) {
            Entered::Happened(event) => return event,
            Entered::Waiting(waiting) => waiting,
        };
        let mut event = None;
        context::wait_uncancellable(
            Point::Completion,
            || None,
            || {
                event = self.pop();
                event.is_some()
            },
        );
        event.unwrap_or_else(|| unreachable!("the wait has seen an event"))
    }

    fn pop_soon(&self) -> Option<usize> {
        let mut event = None;
        spin(|| {
            event = self.pop();
            event.is_some()
        });
        event
    }

    /// Enters this thread as the waiter, if no event has happened yet.
    fn enter(&self, group: &Arc<Shared>) -> Entered<'_> {
        let mut state = self.0.lock();
        if let Some(event) = state.events.pop_front() {
            return Entered::Happened(event);
        }
        let (left, away) = group.leave_limit().unzip();
        state.waiter = Some(Waiter { thread: context::slot(), left });
        drop(state);
        let offers = away.is_some();
        let waiting = Waiting(self, away);
        if offers {
            // Not under the lock: where the system has no thread for it, the queued task ends here and now, with an event.
            group.offer();
        }
        Entered::Waiting(waiting)
    }
}

enum Entered<'a> {
    Happened(usize),
    Waiting(Waiting<'a>),
}

/// Takes the waiter out again.
struct Waiting<'a>(&'a Completions, #[expect(dead_code, reason = "held for its drop")] Option<Away>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waiter = self.0 .0.lock().waiter.take();
        if let Some(waiter) = waiter {
            waiter.rejoin();
        }
    }
}

impl fmt::Debug for Completions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completions").field("events", &self.0.lock().events.len()).finish_non_exhaustive()
    }
}
