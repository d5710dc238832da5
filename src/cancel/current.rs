//! The task or body that a thread runs.
//!
//! Some values drop differently if their task ends ill, and some errors name the task that caused
//! them. Both ask here.
//!
//! The group sets a record when it runs a body or the closure of a task, and when it drops a value
//! of the task, on workers and in place alike. Afterwards the record before is restored. Only the
//! thread itself reads its record, when it drops an end of a channel, opens a group, or breaks a
//! barrier.
//!
//! A drop is *ill* while the group says so, or while the thread panics and did not panic when the
//! record was set. A destructor may run a task on a thread that panics already: that task has not
//! panicked itself.
//!
//! `CURRENT` has no destructor. So the destructors of other thread-locals can use it, and no use
//! has to ask whether it still lives. It owns nothing while no record is set, and every record
//! restores the record before it: nothing is left when the thread ends.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};
use std::sync::Arc;
use std::thread;

use super::actor::{Actor, Part, TaskIdentity};
use super::id::TokenId;
use crate::facade::local;
use crate::lanes::{self, Frame, FrameKind, Pushed};
use crate::scoped::Bindings;

local! {
    static CURRENT: Current = Current::new();
}

struct Current {
    actor: ManuallyDrop<RefCell<Option<Actor>>>,
    /// The thread was panicking when the task, or the body of a scope in it, began.
    was_panicking: Cell<bool>,
    /// The group drops values of a task that did not end well.
    ill: Cell<bool>,
}

impl Current {
    const fn new() -> Self {
        Current {
            actor: ManuallyDrop::new(RefCell::new(None)),
            was_panicking: Cell::new(false),
            ill: Cell::new(false),
        }
    }
}

/// Runs `f` with the record of this thread. A thread of a model has none in its destructors.
#[inline(always)]
fn with<T>(f: impl FnOnce(&Current) -> T) -> Option<T> {
    CURRENT.try_with(f).ok()
}

/// Whether the values that the group drops belong to a task that ended well.
enum Drops {
    Well,
    Ill,
}

/// While it lives, this thread has the record it was made with. Its drop restores the record
/// before.
#[must_use = "the record is restored at once if this is not kept"]
pub(crate) struct Recorded {
    before: Option<Actor>,
    was_panicking: bool,
    ill: bool,
    bindings: Bindings,
    /// What the lane of the thread shows meanwhile.
    _shown: Option<Shown>,
    /// It belongs to its thread.
    _thread: PhantomData<*const ()>,
}

/// Shows a task on the lane of this thread, with its name if it has one.
#[inline(always)]
pub(crate) fn show(kind: FrameKind, task: &TaskIdentity, group: TokenId) -> Shown {
    let frame = lanes::push(Frame {
        kind,
        id: task.id.0,
        group: group.0,
        location: task.location,
    });
    Shown {
        _frame: frame,
        is_named: task.name.is_some() && add_name(task),
    }
}

#[cold]
fn add_name(task: &TaskIdentity) -> bool {
    let (Some(lane), Some(name)) = (lanes::mine(), &task.name) else {
        return false;
    };
    lane.add_name(task.id.0, name.clone());
    true
}

/// While it lives, the lane of this thread shows a task.
#[must_use = "the task is shown for as long as this lives"]
pub(crate) struct Shown {
    _frame: Pushed,
    is_named: bool,
}

impl Drop for Shown {
    #[inline(always)]
    fn drop(&mut self) {
        // Before the frame, which is dropped after this: no name without its frame is shown.
        if self.is_named {
            take_name();
        }
    }
}

#[cold]
fn take_name() {
    if let Some(lane) = lanes::mine() {
        lane.take_name();
    }
}

impl Recorded {
    #[inline(always)]
    fn set(actor: Option<Actor>, drops: Drops, bindings: Bindings, shown: Option<Shown>) -> Self {
        let mut recorded = Recorded {
            before: actor,
            was_panicking: thread::panicking(),
            ill: matches!(drops, Drops::Ill),
            bindings,
            _shown: shown,
            _thread: PhantomData,
        };

        recorded.exchange();
        recorded
    }

    /// Exchanges the record kept here and the record of the thread.
    ///
    /// In place, since an actor is large: each move of an actor that was written a moment ago waits
    /// until the writes have left the store buffer.
    #[inline(always)]
    fn exchange(&mut self) {
        // A swap: the same step sets the record, and restores the record before it at the drop.
        with(|current| {
            mem::swap(&mut *current.actor.borrow_mut(), &mut self.before);
            self.was_panicking = current.was_panicking.replace(self.was_panicking);
            self.ill = current.ill.replace(self.ill);
        });
        self.bindings = self.bindings.replace();
    }

    /// Says that the task did not end well, for the values dropped from now on.
    pub(crate) fn turn_ill(&self) {
        with(|current| current.ill.set(true));
    }
}

impl Drop for Recorded {
    #[inline]
    fn drop(&mut self) {
        self.exchange();
    }
}

/// Records that this thread runs `task`, of a group with the token `group` that was opened in
/// `opened_in` under `bindings`. Its lane shows a frame of this kind.
#[inline(always)]
pub(crate) fn begin(
    task: TaskIdentity,
    kind: FrameKind,
    group: TokenId,
    opened_in: Option<Arc<Actor>>,
    bindings: Bindings,
) -> Recorded {
    let shown = show(kind, &task, group);
    let actor = Actor::new(Part::Task(task), opened_in);
    Recorded::set(Some(actor), Drops::Well, bindings, Some(shown))
}

/// Records that this thread drops values of `task`, of a group with the token `group`, which did
/// not end well.
pub(crate) fn begin_ill(
    task: TaskIdentity,
    group: TokenId,
    opened_in: Option<Arc<Actor>>,
) -> Recorded {
    // Without bindings: values that are dropped are not the code of the task.
    let shown = show(FrameKind::Drops, &task, group);
    let actor = Actor::new(Part::Task(task), opened_in);
    Recorded::set(Some(actor), Drops::Ill, Bindings::NONE, Some(shown))
}

/// Records that this thread runs the body of the group of this token, which was opened in
/// `opened_in`.
#[inline(always)]
pub(crate) fn begin_body(group: TokenId, opened_in: Option<Arc<Actor>>) -> Recorded {
    let actor = Actor::new(Part::Body(group), opened_in);
    Recorded::set(Some(actor), Drops::Well, Bindings::current(), None)
}

/// Records that this thread runs code for `actor`, which another thread runs.
pub(crate) fn begin_for(actor: Option<Actor>) -> Recorded {
    Recorded::set(actor, Drops::Well, Bindings::NONE, None)
}

/// Returns whether a value that is dropped now is dropped because a task, or a body, did not end
/// well.
#[inline]
pub(crate) fn is_ill() -> bool {
    with(|current| current.ill.get() || (thread::panicking() && !current.was_panicking.get()))
        .unwrap_or_else(thread::panicking)
}

/// Returns the task or body that this thread is in.
#[inline]
pub(crate) fn actor() -> Option<Actor> {
    with(|current| current.actor.borrow().clone()).flatten()
}

/// Returns the task that this thread is in.
pub(crate) fn task() -> Option<TaskIdentity> {
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
