//! The task that a thread runs, for values whose drop depends on how that task ends.
//!
//! A task's record is set where the group runs the task's closure and where the group drops something of the task's, on
//! workers and in place alike, and the record before is restored after that. Only the thread itself reads it, when it drops
//! an end of a channel.
//!
//! A drop is *ill* while the group says so, or while the thread panics and did not when the record was set: a task that is
//! run by a destructor, on a thread that panics already, has not panicked itself.
//!
//! In the destructors of thread-locals that run after that of `CURRENT`, the record is in `LATE`.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::panic::Location;
use std::thread;

use super::{TaskId, TaskInfo};
use crate::facade::{local, Late};

local! {
    static CURRENT: Current = Current::new();
}

local! {
    static LATE: Late<Current> = Late::new();
}

struct Current {
    task: RefCell<Option<Identity>>,
    /// The thread was panicking when the task, or the body of a scope in it, began.
    was_panicking: Cell<bool>,
    /// What the group drops now belongs to a task that did not end well.
    ill: Cell<bool>,
}

impl Current {
    const fn new() -> Self {
        Current { task: RefCell::new(None), was_panicking: Cell::new(false), ill: Cell::new(false) }
    }

    /// It says what a new one says.
    fn is_blank(&self) -> bool {
        self.task.borrow().is_none() && !self.was_panicking.get() && !self.ill.get()
    }
}

/// `f` with the record of this thread; none in a model, whose threads have no last destructor.
#[inline]
fn with<T>(f: impl FnOnce(&Current) -> T) -> Option<T> {
    if CURRENT.try_with(|_| ()).is_ok() {
        Some(CURRENT.with(f))
    } else {
        LATE.try_with(|late| late.with(Current::new, Current::is_blank, f)).ok()
    }
}

/// A task, in a form that is cheap to copy. A [`TaskInfo`] allocates for its name.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) id: TaskId,
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) location: &'static Location<'static>,
}

impl Identity {
    pub(crate) fn info(self) -> TaskInfo {
        TaskInfo { id: self.id, name: self.name.map(Cow::into_owned), location: self.location }
    }
}

/// While it lives, this thread has the record it was made with. The one before is restored after it.
#[must_use = "the record is restored at once if this is not kept"]
pub(crate) struct Recorded {
    /// The task before, if this record is that of another.
    task: Option<Option<Identity>>,
    was_panicking: bool,
    ill: bool,
    /// It belongs to its thread.
    _thread: PhantomData<*const ()>,
}

impl Recorded {
    #[inline]
    fn set(task: Option<Identity>, ill: bool) -> Self {
        let before = with(|current| Recorded {
            task: task.map(|task| current.task.replace(Some(task))),
            was_panicking: current.was_panicking.replace(thread::panicking()),
            ill: current.ill.replace(ill),
            _thread: PhantomData,
        });
        // Not made beforehand: its drop restores.
        before.unwrap_or_else(|| Recorded { task: None, was_panicking: false, ill: false, _thread: PhantomData })
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
            if let Some(task) = self.task.take() {
                current.task.replace(task);
            }
            current.was_panicking.set(self.was_panicking);
            current.ill.set(self.ill);
        });
    }
}

/// Records that this thread runs `task`.
#[inline]
pub(crate) fn begin(task: Identity) -> Recorded {
    Recorded::set(Some(task), false)
}

/// Records that this thread drops what belongs to `task`, which did not end well.
pub(crate) fn begin_ill(task: Identity) -> Recorded {
    Recorded::set(Some(task), true)
}

/// Records that this thread runs the body of a scope, in the task that it is in.
pub(crate) fn begin_body() -> Recorded {
    Recorded::set(None, false)
}

/// Whether what is dropped now is dropped because a task, or a body, did not end well.
#[inline]
pub(crate) fn is_ill() -> bool {
    with(|current| current.ill.get() || (thread::panicking() && !current.was_panicking.get())).unwrap_or_else(thread::panicking)
}

/// The task that this thread is in.
pub(crate) fn task() -> Option<Identity> {
    with(|current| current.task.borrow().clone()).flatten()
}
