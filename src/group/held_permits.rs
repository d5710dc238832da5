//! The permits of limits that this thread holds: one for each task of a limited group that it is inside of.
//!
//! What is counted is in the group's queue. Here a thread knows whether there is anything that it could give away: a task
//! that runs in place inside of another of its group has no permit of its own, and a task whose permit is already given away has
//! none to give.

use std::cell::RefCell;

use crate::facade::{local, Late};

local! {
    static HELD: RefCell<Vec<Held>> = RefCell::new(Vec::new());
}

local! {
    // Stands in for `HELD` in the destructors that run after that of `HELD`.
    static LATE: Late<RefCell<Vec<Held>>> = Late::new();
}

struct Held {
    /// The identity of the group, which outlives its tasks.
    group: usize,
    standing: Standing,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// The task runs.
    Running,
    /// The task has ended, as far as other threads can see, and its callbacks run.
    Ending,
    /// The task waits, and another task may have the permit.
    Away,
}

fn with<T>(f: impl FnOnce(&mut Vec<Held>) -> T) -> Option<T> {
    if HELD.try_with(|_| ()).is_ok() {
        return Some(HELD.with(|held| f(&mut held.borrow_mut())));
    }
    let is_spent = |held: &RefCell<Vec<Held>>| held.borrow().is_empty();
    LATE.try_with(|late| late.with(Default::default, is_spent, |held| f(&mut held.borrow_mut()))).ok()
}

/// The thread holds a permit for as long as this lives.
#[must_use]
#[derive(Debug)]
pub(super) struct Holding(());

/// Notes that this thread runs a task of `group` that has a permit.
pub(super) fn hold(group: usize) -> Holding {
    with(|held| held.push(Held { group, standing: Standing::Running }));
    Holding(())
}

impl Holding {
    /// The task has ended, but for its callbacks.
    pub(super) fn is_ending(&self) {
        with(|held| {
            if let Some(held) = held.last_mut() {
                held.standing = Standing::Ending;
            }
        });
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        with(Vec::pop);
    }
}

/// Whether this thread has a permit of `group`, and has not given it away.
pub(super) fn is_held(group: usize) -> bool {
    with(|held| held.iter().rev().find(|held| held.group == group).is_some_and(|held| held.standing != Standing::Away))
        .unwrap_or(false)
}

/// The innermost permit of a group is given away for as long as this lives.
#[must_use]
#[derive(Debug)]
pub(super) struct Away {
    place: usize,
    before: Standing,
}

/// Notes that this thread gives its permit of `group` away, if it has one.
pub(super) fn give_away(group: usize) -> Option<Away> {
    with(|held| {
        let place = held.iter().rposition(|held| held.group == group)?;
        let before = std::mem::replace(&mut held[place].standing, Standing::Away);
        (before != Standing::Away).then_some(Away { place, before })
    })
    .flatten()
}

impl Away {
    /// The permit was counted as one that is about to be free.
    pub(super) fn was_ending(&self) -> bool {
        self.before == Standing::Ending
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        with(|held| held[self.place].standing = self.before);
    }
}
