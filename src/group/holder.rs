//! A permit that a thread holds around a group: what tasks inside of the group do for it when they
//! wait for tasks of the limited group outside.
//!
//! A task of a limited group that opens an inner group and waits for it cannot go on before the
//! tasks inside have ended. If one of these waits for a queued task of the limited group, that one
//! may need the permit. So the permit counts as given away exactly while the thread that holds it
//! waits for tasks inside *and* a task inside waits for one of the limited group.
//!
//! # Owners
//!
//! A group has a reference to the innermost holder around it, and each holder one to the next
//! outside: see [`held_permits`](super::held_permits). A group that is opened on a thread that
//! holds no permit, and that runs no task of a group with a holder, has none and pays nothing. A
//! holder is made with the first group that is opened inside of it.
//!
//! # States
//!
//! | the thread waits inside | tasks inside wait | of these, are about to be woken | the permit |
//! |---|---|---|---|
//! | no | any | any | is held |
//! | yes | none | none | is held |
//! | yes | some | fewer | is given away |
//! | yes | some | as many | is given away, and owed: `try_spawn` does not count on it |
//!
//! # Invariants
//!
//! 1. What the group has counted for the permit is what the state says. Both change in one critical
//!    section of the holder.
//! 2. A task inside is counted in the critical section that enters it as a waiter. It is taken off
//!    by the end that wakes it, or by itself: see invariants 2 and 3 of `limit`, which hold for
//!    this permit as for one of the waiter's own.
//! 3. The thread says by itself when it begins and ends to wait. It does not wait for a permit when
//!    it goes on: while tasks inside still wait then, the group runs one task more than its limit.
//! 4. The thread does not give the permit away for a wait of its own meanwhile: its standing is
//!    `Inside`.
//!
//! # Lock order
//!
//! A holder's lock is taken with no other lock held but that of a task's watch list and that of a
//! `Completions`, and inside it only that of the limited group's queue. No thread has the locks of
//! two holders.

use std::fmt;
use std::sync::Arc;

use super::shared::{Share, Shared};
use crate::facade::{Guard, Mutex, holds};
use crate::workers;

pub(super) struct Holder {
    /// The identity of the limited group.
    group: usize,
    outer: Option<Arc<Holder>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The thread waits for tasks inside. Its permit counts as one that is about to be free, or
    /// not.
    waits: Option<Ending>,
    /// Waits of tasks inside for tasks of the group.
    waiters: usize,
    /// Those of them that are about to end.
    owed: usize,
    /// The group, from the first of these waits on.
    group: Option<Arc<Shared>>,
}

type Ending = bool;

impl State {
    fn share(&self) -> Share {
        match self.waits {
            Some(ending) if self.waiters > 0 => Share {
                away: true,
                ending,
                owed: self.owed == self.waiters,
            },
            _ => Share::default(),
        }
    }
}

impl Holder {
    pub(super) fn new(group: usize, outer: Option<Arc<Holder>>) -> Arc<Self> {
        Arc::new(Holder {
            group,
            outer,
            state: Mutex::new(State::default()),
        })
    }

    /// This holder and those outside, the innermost first.
    pub(super) fn and_outer(self: &Arc<Self>) -> impl Iterator<Item = &Arc<Self>> {
        std::iter::successors(Some(self), |holder| holder.outer.as_ref())
    }

    pub(super) fn is_of(&self, group: usize) -> bool {
        self.group == group
    }

    /// Changes the state, and what the group has counted (invariant 1); the group, if it has to be
    /// listed.
    fn change(&self, change: impl FnOnce(&mut State)) -> Option<Arc<Shared>> {
        let mut state = self.state.lock();
        let before = state.share();
        change(&mut state);
        let after = state.share();
        let group = state.group.as_ref().filter(|_| before != after)?;
        group.account(before, after).then(|| group.clone())
    }

    /// The thread begins to wait for tasks inside. To be called with no lock held.
    pub(super) fn begin_wait(&self, ending: bool) {
        let list = self.change(|state| {
            // A waiter that came first is found here, one that comes later finds that the thread
            // waits.
            state.waits =
                Some(ending).filter(|_| holds(Guard::HolderFindsWaiters) || state.waiters == 0);
        });
        if let Some(group) = list {
            workers::list(group);
        }
    }

    /// The thread goes on.
    pub(super) fn end_wait(&self) {
        let list = self.change(|state| state.waits = None);
        debug_assert!(list.is_none(), "the permit is not given away here");
    }

    /// A task inside begins to wait for a task of `group`; whether that has to be listed.
    pub(super) fn add_waiter(&self, group: &Arc<Shared>) -> bool {
        let list = self.change(|state| {
            state.group.get_or_insert_with(|| group.clone());
            state.waiters += 1;
        });
        list.is_some()
    }

    /// The wait of a task inside is about to end.
    pub(super) fn owe(&self) {
        self.change(|state| state.owed += 1);
    }

    /// The wait of a task inside has ended.
    pub(super) fn remove_waiter(&self, owed: bool) {
        self.change(|state| {
            state.waiters -= 1;
            state.owed -= usize::from(owed);
        });
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holder")
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}
