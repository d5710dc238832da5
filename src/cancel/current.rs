//! The task or body that a thread runs.
//!
//! Some values drop differently if their task ends ill, and some errors name the task that caused
//! them. Both ask here.
//!
//! The group pushes a record when it runs a body or the closure of a task, and when it drops a
//! value of the task, on workers and in place alike. Afterwards it pops the record. Only the thread
//! itself reads its records, when it drops an end of a channel, opens a group, or breaks a barrier.
//!
//! A drop is *ill* while the group says so, or while the thread panics and did not panic when the
//! record was pushed. A destructor may run a task on a thread that panics already: that task has
//! not panicked itself.
//!
//! `CURRENT` has no destructor. So the destructors of other thread-locals can use it, and no use
//! has to ask whether it still lives. It owns nothing while it has no record, and every record is
//! popped: nothing is left when the thread ends.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::thread;

use super::actor::{Actor, Part, TaskIdentity};
use super::id::TokenId;
use crate::facade::local;
use crate::lanes::{self, FrameKind, Pushed, ShownFrame};
use crate::scoped::Bindings;

local! {
    static CURRENT: ManuallyDrop<RefCell<Records>> =
        ManuallyDrop::new(RefCell::new(Records::new()));
}

/// How many records of a thread need no allocation.
const SHALLOW: usize = 8;

struct Record {
    actor: Option<Actor>,
    /// The thread was panicking when the record was pushed.
    was_panicking: bool,
    /// The group drops values of a task that did not end well.
    ill: bool,
    /// The bindings of the thread before the record.
    bindings: Bindings,
}

/// The records of a thread.
///
/// They are written where they stay, and not moved: an actor is large, and a move of one that was
/// written a moment ago waits until the writes have left the store buffer.
struct Records {
    first: [Option<Record>; SHALLOW],
    deep: Vec<Record>,
    depth: usize,
}

impl Records {
    const fn new() -> Self {
        Records {
            first: [const { None }; SHALLOW],
            deep: Vec::new(),
            depth: 0,
        }
    }

    #[inline(always)]
    fn push(&mut self, record: Record) {
        match self.first.get_mut(self.depth) {
            Some(place) => *place = Some(record),
            None => self.deep.push(record),
        }
        self.depth += 1;
    }

    #[inline(always)]
    fn pop(&mut self) {
        self.depth -= 1;
        match self.first.get_mut(self.depth) {
            Some(place) => *place = None,
            None => self.pop_deep(),
        }
    }

    #[cold]
    fn pop_deep(&mut self) {
        self.deep.pop();
        // Nothing is left when the thread ends.
        if self.deep.is_empty() {
            self.deep = Vec::new();
        }
    }

    #[inline]
    fn last(&self) -> Option<&Record> {
        let last = self.depth.checked_sub(1)?;
        match self.first.get(last) {
            Some(place) => place.as_ref(),
            None => self.deep.last(),
        }
    }

    fn last_mut(&mut self) -> Option<&mut Record> {
        let last = self.depth.checked_sub(1)?;
        match self.first.get_mut(last) {
            Some(place) => place.as_mut(),
            None => self.deep.last_mut(),
        }
    }
}

/// Runs `f` with the records of this thread. A thread of a model has none in its destructors.
#[inline(always)]
fn with<T>(f: impl FnOnce(&RefCell<Records>) -> T) -> Option<T> {
    CURRENT.try_with(|current| f(current)).ok()
}

/// Whether the values that the group drops belong to a task that ended well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Drops {
    Well,
    Ill,
}

/// While it lives, this thread has the record it was made with, above the record before.
///
/// Like [`Pushed`], it does not hold the record.
#[must_use = "the record is popped at once if this is not kept"]
pub(crate) struct Recorded {
    /// The frame that the lane of the thread shows meanwhile.
    _shown: Option<Shown>,
    /// It belongs to its thread.
    _thread: PhantomData<*const ()>,
}

/// Shows a task on the lane of this thread, with its name if it has one.
#[inline(always)]
pub(crate) fn show(kind: FrameKind, task: &TaskIdentity, group: TokenId) -> Shown {
    let frame = lanes::push(ShownFrame {
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
    fn push(actor: Option<Actor>, drops: Drops, bindings: Bindings, shown: Option<Shown>) -> Self {
        let bindings = bindings.replace();
        with(|records| {
            records.borrow_mut().push(Record {
                actor,
                was_panicking: thread::panicking(),
                ill: drops == Drops::Ill,
                bindings,
            });
        });
        Recorded {
            _shown: shown,
            _thread: PhantomData,
        }
    }

    /// Says that the task did not end well, for the values dropped from now on.
    pub(crate) fn turn_ill(&self) {
        with(|records| {
            if let Some(record) = records.borrow_mut().last_mut() {
                record.ill = true;
            }
        });
    }
}

impl Drop for Recorded {
    #[inline]
    fn drop(&mut self) {
        with(|records| {
            let mut records = records.borrow_mut();
            if let Some(record) = records.last() {
                record.bindings.replace();
            }
            records.pop();
        });
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
    Recorded::push(Some(actor), Drops::Well, bindings, Some(shown))
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
    Recorded::push(Some(actor), Drops::Ill, Bindings::NONE, Some(shown))
}

/// Records that this thread runs the body of the group of this token, which was opened in
/// `opened_in`.
#[inline(always)]
pub(crate) fn begin_body(group: TokenId, opened_in: Option<Arc<Actor>>) -> Recorded {
    let actor = Actor::new(Part::Body(group), opened_in);
    Recorded::push(Some(actor), Drops::Well, Bindings::current(), None)
}

/// Records that this thread runs code for `actor`, which another thread runs.
pub(crate) fn begin_for(actor: Option<Actor>) -> Recorded {
    Recorded::push(actor, Drops::Well, Bindings::NONE, None)
}

/// Returns whether a value that is dropped now is dropped because a task, or a body, did not end
/// well.
#[inline]
pub(crate) fn is_ill() -> bool {
    // A panic that was there at the begin of the task, such as in a destructor that opens a scope,
    // is not a panic of this task.
    let look = |records: &RefCell<Records>| match records.borrow().last() {
        Some(record) => record.ill || (thread::panicking() && !record.was_panicking),
        None => thread::panicking(),
    };
    with(look).unwrap_or_else(thread::panicking)
}

/// Returns the task or body that this thread is in.
#[inline]
pub(crate) fn actor() -> Option<Actor> {
    with(|records| records.borrow().last()?.actor.clone()).flatten()
}

/// Returns the task that this thread is in.
pub(crate) fn task() -> Option<TaskIdentity> {
    with(|records| records.borrow().last()?.actor.as_ref()?.task().cloned()).flatten()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_more_records_than_its_first_places() {
        let group = |depth: usize| TokenId(depth as u64);
        let here = || match actor().as_ref().and_then(|actor| actor.parts().next()) {
            Some(Part::Body(group)) => Some(*group),
            _ => None,
        };

        let depths = 0..2 * SHALLOW + 1;
        let mut recorded = Vec::new();
        for depth in depths.clone() {
            recorded.push(begin_body(group(depth), None));
            assert_eq!(here(), Some(group(depth)));
        }

        for depth in depths.rev() {
            assert_eq!(here(), Some(group(depth)));
            let record = recorded.pop().expect("there is one for each depth");
            record.turn_ill();
            assert!(is_ill());
            drop(record);
            assert!(!is_ill());
        }
        assert_eq!(here(), None);
        let capacity = with(|records| records.borrow().deep.capacity());
        assert_eq!(capacity, Some(0), "the thread could end now and leak it");
    }
}
