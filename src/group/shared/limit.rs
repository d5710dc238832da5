//! The limit of a group: who holds its slots, and how a task that waits gives one away.
//!
//! # Invariants
//!
//! 1. A task begins only with a slot: a free one, while fewer than `limit` are taken, or that of the task that waits for it,
//!    while no more than `limit` are. Daemons need none.
//! 2. A task that waits for a queued task of its own group *lends* its slot to that task and no other, for as long as it
//!    waits. A slot that comes back before the end of the wait stays with the waiter. One whose borrower still runs when the
//!    wait is cut short is counted twice: `slots` is then above `limit` until one of the two has ended, and nothing begins
//!    meanwhile.
//! 3. A task that waits for the first of several events *leaves* its slot to whatever is queued, and gets one back with the
//!    event.
//! 4. Only who holds a slot gives one away (see [`slots`]): a task that runs in place inside of another of its group, or that
//!    has given its own away, does not, so `slots` is the number of those who will give one back.
//!
//! All of it changes under the lock of the group's queue.

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;

use super::super::slots::{self, Away, Holding};
use super::{Dead, Erased, Queue, Shared};
use crate::facade::{holds, Guard};
use crate::workers::{self, Claimed};

/// What a task has of the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::group) enum Slot {
    Nothing,
    Own,
    Lent(usize),
}

impl Slot {
    pub(super) fn is_some(self) -> bool {
        self != Slot::Nothing
    }
}

/// Where the slot is that a waiting task has lent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Loan {
    /// With the task that waits: the other has not begun, or has ended.
    AtHome,
    /// With the task that is waited for.
    Out,
    /// There, and the wait has been cut short: the task that waited has taken another.
    Kept,
}

/// The slots that waiting tasks have lent.
#[derive(Default)]
pub(super) struct Loans {
    /// Tasks that were lent a slot, with the loan, and have not begun. They are among those of the queue as well.
    lent: VecDeque<(Erased, usize)>,
    loans: Slab<Loan>,
}

impl Loans {
    fn lend(&mut self, task: Erased) -> usize {
        let loan = self.loans.insert(Loan::AtHome);
        self.lent.push_back((task, loan));
        loan
    }

    /// The wait is over: what the loan is now, and the task, if that has not begun.
    fn end(&mut self, loan: usize) -> (Loan, Option<Erased>) {
        let ended = match self.loans[loan] {
            Loan::Out => {
                self.loans[loan] = Loan::Kept;
                Loan::Kept
            }
            _ => self.loans.remove(loan),
        };
        let place = self.lent.iter().position(|(_, lent)| *lent == loan);
        (ended, place.and_then(|place| self.lent.remove(place)).map(|(task, _)| task))
    }

    pub(super) fn are_waiting(&self) -> bool {
        !self.lent.is_empty()
    }

    /// The next task that was lent a slot and that nobody has claimed, with the slot.
    pub(super) fn take(&mut self, dead: &mut Dead) -> Option<(Erased, Slot)> {
        while let Some((task, loan)) = self.lent.pop_front() {
            let claimed = task.claimed();
            if claimed == Claimed::No {
                self.loans[loan] = Loan::Out;
                return Some((task, Slot::Lent(loan)));
            }
            dead.bury(task, claimed);
        }
        None
    }

    /// The borrower has ended. True if the slot is free, and not with the task that has lent it.
    fn give_back(&mut self, loan: usize) -> bool {
        let kept = self.loans[loan] != Loan::Out;
        if kept {
            self.loans.remove(loan);
        } else {
            self.loans[loan] = Loan::AtHome;
        }
        kept
    }
}

/// The slot of a task that waits is lent to the task that it waits for, for as long as this lives.
#[must_use]
pub(in crate::group) struct Lending {
    group: Arc<Shared>,
    loan: usize,
    away: Away,
}

impl Drop for Lending {
    fn drop(&mut self) {
        self.group.end_loan(self.loan, &self.away);
    }
}

/// A slot that has been left to whatever is queued, and is to be given back.
#[must_use]
pub(in crate::group) struct Left {
    group: Arc<Shared>,
    ending: bool,
}

impl Left {
    /// Takes the slot back. Does not wait for one: a task that has been woken goes on, and what is queued has to wait.
    pub(in crate::group) fn rejoin(&self) {
        let mut queue = self.group.queue.lock();
        queue.slots += 1;
        queue.slots_ending += usize::from(self.ending);
    }
}

impl Shared {
    /// What tells the group from every other that lives.
    fn identity(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The right to begin a queued task here, for whoever waits for nothing else; the slot that the task gets.
    #[inline]
    pub(in crate::group) fn begin_in_place(&self) -> Option<Slot> {
        if !self.is_limited() {
            return Some(Slot::Nothing);
        }
        if slots::is_held(self.identity()) {
            // That of the waiting task will do.
            return Some(Slot::Nothing);
        }
        let mut queue = self.queue.lock();
        let free = queue.slots < self.limit;
        queue.slots += usize::from(free); // guard: take-a-slot-in-place
        free.then_some(Slot::Own)
    }

    /// Notes that this thread holds a slot, if it does.
    pub(in crate::group) fn hold(&self, slot: Slot) -> Option<Holding> {
        (self.is_limited() && slot.is_some()).then(|| slots::hold(self.identity()))
    }

    /// Says that a slot is about to be free, before anybody can see that its task has ended.
    pub(super) fn slot_is_ending(&self, holding: Option<&Holding>) {
        self.queue.lock().slots_ending += 1;
        if let Some(holding) = holding {
            holding.is_ending();
        }
    }

    /// Gives a slot back whose task was claimed by somebody else, or has no thread.
    pub(in crate::group) fn free_slot(self: &Arc<Self>, slot: Slot) {
        if !slot.is_some() {
            return;
        }
        let mut queue = self.queue.lock();
        queue.give_back(slot);
        let list = queue.must_list(self.limit);
        drop(queue);
        if list {
            workers::list(self.clone());
        }
    }

    /// Lends the slot of the task that this thread runs, which waits, to a queued task of the same group; none if there is no
    /// limit, or this thread holds no slot.
    pub(in crate::group) fn lend(self: &Arc<Self>, task: impl FnOnce() -> Erased) -> Option<Lending> {
        if !self.is_limited() || !holds(Guard::WaitLendsSlot) {
            return None;
        }
        let away = slots::give_away(self.identity())?;
        let mut queue = self.queue.lock();
        let loan = queue.loans.get_or_insert_default().lend(task());
        queue.slots_ending -= usize::from(away.was_ending());
        let list = queue.must_list(self.limit);
        drop(queue);
        let lending = Lending { group: self.clone(), loan, away };
        if list {
            workers::list(self.clone());
        }
        Some(lending)
    }

    /// The wait is over. If the task that was waited for has begun and not ended, it keeps the slot, and the one that waited
    /// takes another, whether one is free or not: to wait for it would hold up a clean-up, or make a timeout come late.
    fn end_loan(self: &Arc<Self>, loan: usize, away: &Away) {
        let mut queue = self.queue.lock();
        let (ended, borrower) = queue.loans.get_or_insert_default().end(loan);
        if ended == Loan::Kept {
            queue.slots += usize::from(holds(Guard::CutWaitTakesASlot));
        }
        queue.slots_ending += usize::from(away.was_ending());
        drop(queue);
        drop(borrower);
    }

    /// Gives up the slot of the task that this thread runs, until it rejoins; none if there is no limit, or this thread holds
    /// no slot. `offer` then lets a queued task have it.
    pub(in crate::group) fn leave_limit(self: &Arc<Self>) -> Option<(Left, Away)> {
        if !self.is_limited() {
            return None;
        }
        let away = slots::give_away(self.identity())?;
        let mut queue = self.queue.lock();
        queue.slots -= 1;
        queue.slots_ending -= usize::from(away.was_ending());
        drop(queue);
        Some((Left { group: self.clone(), ending: away.was_ending() }, away))
    }

    /// Lists the group, if a slot has become free for a queued task.
    pub(in crate::group) fn offer(self: &Arc<Self>) {
        let list = self.queue.lock().must_list(self.limit);
        if list {
            workers::list(self.clone());
        }
    }
}

impl Queue {
    /// Gives a slot back: to the task that has lent it, if that waits.
    pub(super) fn give_back(&mut self, slot: Slot) {
        let free = match slot {
            Slot::Nothing => false,
            Slot::Own => true,
            Slot::Lent(loan) => self.loans.get_or_insert_default().give_back(loan),
        };
        self.slots -= usize::from(free);
    }
}
