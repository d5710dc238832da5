//! Who waits for the first of several events: the ends of tasks, or a task that is ready.
//!
//! # Invariants
//!
//! 1. An event is in `events` from when it happened until it is taken, whoever waits and whatever
//!    is cancelled meanwhile.
//! 2. The waiter is entered, and gives up its permit of the limit, in the critical section that saw
//!    no event. It is taken out by the event that wakes it or by itself: of the two, one takes the
//!    permit back, and once.
//! 3. An event takes the permit back before it can be taken, and before the task that it is about
//!    leaves the counts. So the waiter has a permit whenever it goes on, no queued task takes the
//!    place of the ended one, and the limit holds.
//!
//! # Lock order
//!
//! The lock is taken with no other held but that of a task's watch list, and inside it only that of
//! the group's queue.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::erased::ErasedTask;
use super::held_permits::Inside;
use super::shared::{Dead, GivenUp, Leave, Shared};
use crate::cancel::{Cancelled, context};
use crate::facade::{Guard, Mutex, holds, spin};
use crate::waiting::{Point, Slot};

/// Events in the order in which they happened, each known by a number, and the one thread that
/// waits for the next.
pub(super) struct Completions(Mutex<State>);

#[derive(Default)]
struct State {
    events: VecDeque<usize>,
    waiter: Option<Waiter>,
    /// Tasks whose ends are events and which were queued when that was said. The first wait that
    /// gives up a permit hands them on to the queue of the group; one that is cut short takes them
    /// back.
    tasks: Vec<ErasedTask>,
    /// Some of them have been handed on.
    handed_on: bool,
    /// Ends that are about to be events: of tasks whose callbacks run.
    coming: usize,
}

/// A thread that waits for an event.
struct Waiter {
    thread: Arc<Slot>,
    /// The permit that it takes back at the end of the wait.
    given_up: Option<GivenUp>,
}

impl Completions {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Completions(Mutex::new(State::default())))
    }

    /// Says that the end of `task` will be an event, if that is queued.
    pub(super) fn await_queued(&self, task: ErasedTask) {
        let mut dead = Dead::default();
        let mut state = self.0.lock();
        if state.tasks.len() == state.tasks.capacity() {
            // The body gives nothing up and never hands them on.
            state.tasks.retain(|task| dead.spare(task));
        }
        state.tasks.push(task);
    }

    /// Lets go of the tasks that no wait has handed on. For a wait that is the last: a task may
    /// hold what its end is told to, and the two would keep each other.
    pub(super) fn forget_queued(&self) {
        let tasks = std::mem::take(&mut self.0.lock().tasks);
        drop(tasks);
    }

    /// Says that an event is about to happen.
    pub(super) fn is_coming(&self) {
        let mut state = self.0.lock();
        state.coming += 1;
        if let Some(given_up) = state
            .waiter
            .as_mut()
            .and_then(|waiter| waiter.given_up.as_mut())
        {
            given_up.is_owed();
        }
    }

    /// Says that `event` has happened, of which [`is_coming`](Self::is_coming) has told.
    pub(super) fn push_coming(&self, event: usize) {
        self.0.lock().coming -= 1;
        self.push(event);
    }

    /// Says that `event` has happened.
    pub(super) fn push(&self, event: usize) {
        let mut state = self.0.lock();
        if holds(Guard::EventWithItsWaiter) {
            state.events.push_back(event);
        }
        let waiter = state.waiter.take().map(|Waiter { thread, given_up }| {
            // Under the lock: a waiter that is not asleep finds the event by itself, and may end
            // before this thread goes on.
            if let Some(given_up) = given_up.filter(|_| holds(Guard::EventGivesPermitBack)) {
                given_up.take_back();
            }
            thread
        });
        drop(state);
        if !holds(Guard::EventWithItsWaiter) {
            self.0.lock().events.push_back(event);
        }
        if let Some(waiter) = waiter {
            waiter.unpark();
        }
    }

    /// Says that no thread will wait for an event again.
    pub(super) fn abandon(&self, group: &Shared) {
        let mut dead = Dead::default();
        let mut state = self.0.lock();
        let tasks = std::mem::take(&mut state.tasks);
        let handed_on = std::mem::take(&mut state.handed_on);
        drop(state);
        if handed_on {
            drop(group.not_awaited(self.address(), &mut dead));
        }
        drop(tasks);
    }

    /// What tells it from every other that lives.
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn pop(&self) -> Option<usize> {
        self.0.lock().events.pop_front()
    }

    /// Takes the next event. A waiter that is a task of `group` gives up its permit meanwhile: the
    /// tasks it waits for may be queued.
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
        let State {
            tasks,
            waiter,
            coming,
            handed_on,
            ..
        } = &mut *state;
        let (mut given_up, leave) = group.give_up(self.address(), || tasks.drain(..)).unzip();
        *handed_on |= given_up.is_some();
        if let Some(given_up) = given_up.as_mut().filter(|_| *coming > 0) {
            given_up.is_owed();
        }
        *waiter = Some(Waiter {
            thread: context::slot(),
            given_up,
        });
        drop(state);
        let mut waiting = Waiting {
            completions: self,
            group: group.clone(),
            leave,
            _inside: None,
        };
        if let Some(leave) = &waiting.leave {
            leave.offer();
        }
        waiting._inside = group.wait_inside();
        Entered::Waiting(waiting)
    }
}

enum Entered<'a> {
    Happened(usize),
    Waiting(Waiting<'a>),
}

/// Takes the waiter out again.
struct Waiting<'a> {
    completions: &'a Completions,
    group: Arc<Shared>,
    leave: Option<Leave>,
    _inside: Option<Inside>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut dead = Dead::default();
        let mut state = self.completions.0.lock();
        let Some(waiter) = state.waiter.take() else {
            return;
        };
        // The wait was cut short. The next one hands the tasks on again.
        if let Some(given_up) = waiter.given_up {
            given_up.take_back();
            state.tasks.extend(
                self.group
                    .not_awaited(self.completions.address(), &mut dead),
            );
        }
    }
}

impl fmt::Debug for Completions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completions")
            .field("events", &self.0.lock().events.len())
            .finish_non_exhaustive()
    }
}
