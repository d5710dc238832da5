//! The task or body that a thread runs: for values whose drop depends on how that ends, and for
//! errors that say because of which task they came about.
//!
//! A record is set where the group runs a body or the closure of a task, and where it drops
//! something of the task's, on workers and in place alike. The record before is restored after
//! that. Only the thread itself reads it, when it drops an end of a channel, opens a group, or
//! breaks a barrier.
//!
//! A drop is *ill* while the group says so, or while the thread panics and did not when the record
//! was set: a task that is run by a destructor, on a thread that panics already, has not panicked
//! itself.
//!
//! In the destructors of thread-locals that run after that of `CURRENT`, the record is in `LATE`.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::sync::Arc;
use std::thread;

use super::TokenId;
use super::actor::{Actor, Identity, Part};
use crate::facade::{Late, local};

local! {
    static CURRENT: Current = Current::new();
}

local! {
    static LATE: Late<Current> = Late::new();
}

struct Current {
    actor: RefCell<Option<Actor>>,
    /// The thread was panicking when the task, or the body of a scope in it, began.
    was_panicking: Cell<bool>,
    /// What the group drops now belongs to a task that did not end well.
    ill: Cell<bool>,
}

impl Current {
    const fn new() -> Self {
        Current {
            actor: RefCell::new(None),
            was_panicking: Cell::new(false),
            ill: Cell::new(false),
        }
    }

    /// It says what a new one says.
    fn is_blank(&self) -> bool {
        self.actor.borrow().is_none() && !self.was_panicking.get() && !self.ill.get()
    }
}

/// `f` with the record of this thread; none in a model, whose threads have no last destructor.
#[inline]
fn with<T>(f: impl FnOnce(&Current) -> T) -> Option<T> {
    if CURRENT.try_with(|_| ()).is_ok() {
        Some(CURRENT.with(f))
    } else {
        LATE.try_with(|late| late.with(Current::new, Current::is_blank, f))
            .ok()
    }
}

/// While it lives, this thread has the record it was made with. The one before is restored after
/// it.
#[must_use = "the record is restored at once if this is not kept"]
pub(crate) struct Recorded {
    before: Option<Actor>,
    was_panicking: bool,
    ill: bool,
    /// It belongs to its thread.
    _thread: PhantomData<*const ()>,
}

impl Recorded {
    #[inline]
    fn set(actor: Option<Actor>, ill: bool) -> Self {
        let before = with(|current| Recorded {
            before: current.actor.replace(actor),
            was_panicking: current.was_panicking.replace(thread::panicking()),
            ill: current.ill.replace(ill),
            _thread: PhantomData,
        });
        // Not made beforehand: its drop restores.
        before.unwrap_or_else(|| Recorded {
            before: None,
            was_panicking: false,
            ill: false,
            _thread: PhantomData,
        })
    }

    /// Says that the task did not end well, for what is dropped from now on.
    pub(crate) fn turn_ill(&self) {
        with(|current| current.ill.set(true));
    }
}

impl Drop for Recorded {
    #[inline]
    fn drop(&mut self) {
        with(|current| {
            current.actor.replace(self.before.take());
            current.was_panicking.set(self.was_panicking);
            current.ill.set(self.ill);
        });
    }
}

/// Records that this thread runs `task`, of a group that was opened in `opened_in`.
#[inline]
pub(crate) fn begin(task: Identity, opened_in: Option<Arc<Actor>>) -> Recorded {
    Recorded::set(Some(Actor::new(Part::Task(task), opened_in)), false)
}

/// Records that this thread drops what belongs to `task`, which did not end well.
pub(crate) fn begin_ill(task: Identity, opened_in: Option<Arc<Actor>>) -> Recorded {
    Recorded::set(Some(Actor::new(Part::Task(task), opened_in)), true)
}

/// Records that this thread runs the body of the group of this token, which was opened in
/// `opened_in`.
#[inline]
pub(crate) fn begin_body(group: TokenId, opened_in: Option<Arc<Actor>>) -> Recorded {
    Recorded::set(Some(Actor::new(Part::Body(group), opened_in)), false)
}

/// Records that this thread runs something for `actor`, which another thread runs.
pub(crate) fn begin_for(actor: Option<Actor>) -> Recorded {
    Recorded::set(actor, false)
}

/// Whether what is dropped now is dropped because a task, or a body, did not end well.
#[inline]
pub(crate) fn is_ill() -> bool {
    with(|current| current.ill.get() || (thread::panicking() && !current.was_panicking.get()))
        .unwrap_or_else(thread::panicking)
}

/// The task or body that this thread is in.
#[inline]
pub(crate) fn actor() -> Option<Actor> {
    with(|current| current.actor.borrow().clone()).flatten()
}

/// The task that this thread is in.
pub(crate) fn task() -> Option<Identity> {
    with(|current| {
        current
            .actor
            .borrow()
            .as_ref()
            .and_then(Actor::task)
            .cloned()
    })
    .flatten()
}
