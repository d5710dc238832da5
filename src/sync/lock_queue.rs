//! The queue of the threads that wait for a lock.
//!
//! The lock itself is the facade's, and it is only ever tried: `attempt` tries it, and a waiter
//! that is woken tries again. So a grant only tells a waiter to try. A running thread may take the
//! lock before a waiter has woken up, which makes a contended lock fast. But a thread that locks
//! again at once could starve the waiters. So now and then an unlock *hands the lock over*: the
//! lock stays free, and only the first waiter may try it.
//!
//! # The flags
//!
//! | bit | meaning |
//! |---|---|
//! | `WAITING` | the queue is not empty |
//! | `WOKEN` | a waiter was told to try and has not settled: an unlock need not tell another one |
//! | `WRITER` | a waiter wants to write: a reader that comes now enters the queue |
//! | `HANDED` | only the first waiter may try: a thread that comes now enters the queue |
//!
//! # Invariants
//!
//! 1. The flags are written under the lock of the queue.
//! 2. While they say `WAITING` without `WOKEN`, a waiter is about to try, or a thread holds the
//!    lock and will see the flags when it unlocks or becomes a reader. The waiter publishes the
//!    flags and then tries; the holder unlocks and then looks at the flags. Each has a full fence
//!    between its two steps, so one of them sees the other. A waiter that is not first need not
//!    try: the waiters ahead of it wake the next one when they leave.
//! 3. A thread that takes `WOKEN` back holds the lock, or tries after that, or wakes the next
//!    waiter.
//! 4. Readers with no writer ahead of them wait only while a thread writes: the first of them to
//!    read wakes the others, and so does a writer that becomes a reader.
//! 5. `HANDED` is set with the word that tells the first waiter to try. It is cleared when that
//!    waiter leaves with the lock. If it leaves without the lock, the lock is for the next waiter,
//!    or the flag is cleared because the queue is empty. Until then each unlock tells the first
//!    waiter, by invariants 2 and 3. Only a thread that read the flags before `HANDED` was set can
//!    barge, once. So the first waiter gets the lock after at most as many unlocks as other threads
//!    were about to lock.

use std::sync::Arc;
use std::time::Duration;

use crate::cancel::Cancelled;
use crate::cancel::context;
use crate::deadlock;
use crate::facade::{AtomicU32, Mutex, Ordering, Pace, const_fn, fence, fence_after_rmw, spin};
use crate::lanes::Object;
use crate::waiting::{Grant, OnCancel, Position, WaitKind, WaitQueue, Waiter, Wakes};

const WAITING: u32 = 1;
const WOKEN: u32 = 1 << 1;
const WRITER: u32 = 1 << 2;
const HANDED: u32 = 1 << 3;

/// The least time between two hand-overs. During each the lock is idle until its waiter has woken
/// up.
const HAND_OVER_EVERY: Duration = Duration::from_micros(500);

/// How a thread wants the lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LockMode {
    Read,
    Write,
}

#[derive(Debug)]
pub(super) struct LockQueue {
    flags: AtomicU32,
    state: Mutex<LockQueueState>,
}

#[derive(Debug)]
struct LockQueueState {
    waiters: WaitQueue<LockMode>,
    writers: usize,
    /// The number of waiters that were told to try and have not settled.
    woken: usize,
    /// Whether only the first waiter may take the lock.
    handed: bool,
    hand_over: Pace,
}

impl LockQueue {
    const_fn! {
        pub(super) const fn new() -> Self {
            LockQueue {
                flags: AtomicU32::new(0),
                state: Mutex::new(LockQueueState {
                    waiters: WaitQueue::new(),
                    writers: 0,
                    woken: 0,
                    handed: false,
                    hand_over: Pace::new(HAND_OVER_EVERY),
                }),
            }
        }
    }

    /// Returns whether a thread that comes now has to enter the queue without trying.
    #[inline]
    pub(super) fn bars(&self, access: LockMode) -> bool {
        let barring = match access {
            LockMode::Read => WRITER | HANDED,
            LockMode::Write => HANDED,
        };

        // Relaxed: only fairness depends on it, and a thread that has just unlocked sees the flags
        // that it set itself.
        self.flags.load(Ordering::Relaxed) & barring != 0
    }

    /// Returns whether a writer waits.
    pub(super) fn has_writer(&self) -> bool {
        // Relaxed: the calling thread is about to wait, and a writer that comes later is behind it.
        self.flags.load(Ordering::Relaxed) & WRITER != 0
    }

    /// Returns whether the lock is kept for the first waiter.
    #[inline]
    pub(super) fn is_handed_over(&self) -> bool {
        self.bars(LockMode::Write)
    }

    /// Tells the first waiter to try. Called directly after an unlock.
    ///
    /// If other threads still read, a writer is told to try and cannot lock. A reader cannot see
    /// whether they do, since its guard does not know the lock's value.
    #[inline]
    pub(super) fn unlocked(&self) {
        // Invariant 2: a full fence between the unlock, which was a read-modify-write, and the look
        // at the flags.
        //
        // fault: unlock-without-fence
        fence_after_rmw();
        if self.flags.load(Ordering::Relaxed) & (WAITING | WOKEN) == WAITING {
            self.wake_first();
        }
    }

    /// Tells the readers at the front of the queue to try. Called directly after a writer became a
    /// reader.
    ///
    /// A writer at the front still has to wait, for this reader.
    #[inline]
    pub(super) fn downgraded(&self) {
        // Invariant 2: a full fence between the downgrade, which was a read-modify-write, and the
        // look at the flags.
        //
        // fault: downgrade-without-fence
        fence_after_rmw();

        // fault: downgrade-tells-no-reader
        if self.flags.load(Ordering::Relaxed) & (WAITING | WOKEN) == WAITING {
            self.wake_readers();
        }
    }

    /// Returns the number of waiters.
    pub(super) fn len(&self) -> usize {
        self.state.lock().waiters.len()
    }

    #[cold]
    fn wake_first(&self) {
        let mut wakes = Wakes::default();
        {
            let mut state = self.state.lock();
            state.tell_first(&mut wakes);
            self.publish(&state);
        }
        wakes.wake();
    }

    #[cold]
    fn wake_readers(&self) {
        let mut wakes = Wakes::default();
        {
            let mut state = self.state.lock();
            if state.waiters.front() == Some(&LockMode::Read) {
                state.tell_first(&mut wakes);
                self.publish(&state);
            }
        }

        wakes.wake();
    }

    /// Writes the flags that `state` gives.
    fn publish(&self, state: &LockQueueState) {
        let mut flags = 0;

        if !state.waiters.is_empty() {
            flags |= WAITING;
        }

        if state.woken != 0 {
            flags |= WOKEN;
        }

        if state.writers != 0 {
            flags |= WRITER;
        }

        // fault: hand-over-bars-no-thread
        if state.handed {
            flags |= HANDED;
        }

        // Invariant 1: the caller holds the lock. Relaxed: the fences of invariant 2 order it.
        self.flags.store(flags, Ordering::Relaxed);
    }

    /// Blocks until `attempt` has taken the lock.
    ///
    /// The scope has been checked, and a first attempt has failed.
    #[cold]
    #[track_caller]
    pub(super) fn acquire<G>(
        &self,
        access: LockMode,
        kind: WaitKind,
        on_cancel: OnCancel,
        mut attempt: impl FnMut() -> Option<G>,
    ) -> Result<G, Cancelled> {
        if let Some(guard) = self.spin(access, &mut attempt) {
            return Ok(guard);
        }

        deadlock::expect_wait();
        let waiter = Waiter::new(context::slot());
        let what = kind.on(Object::of(self));
        let (position, mut may_try) = self.enter(&waiter, access);
        loop {
            if may_try {
                // Invariant 2: between the publish of the flags and the attempt.
                fence();
                if let Some(guard) = attempt() {
                    self.leave(&waiter, position, access, Leaving::Locked);
                    return Ok(guard);
                }
            }

            let waited = match on_cancel {
                OnCancel::Return => context::wait(what, None, || waiter.is_granted()),
                OnCancel::Wait => Ok(context::wait_uncancellable(
                    what,
                    || None,
                    || waiter.is_granted(),
                )),
            };
            if let Err(cancelled) = waited {
                self.leave(&waiter, position, access, Leaving::Cancelled);
                return Err(cancelled);
            }

            if let Some(guard) = attempt() {
                self.leave(&waiter, position, access, Leaving::Locked);
                return Ok(guard);
            }

            // Another thread was faster. The waiter keeps its position, and by invariant 3 it tries
            // once more after it has taken `WOKEN` back.
            let mut state = self.state.lock();
            state.settle(&waiter);
            self.publish(&state);
            may_try = true;
        }
    }

    /// Tries to take the lock for a moment, unless this thread has to enter the queue.
    fn spin<G>(&self, access: LockMode, mut attempt: impl FnMut() -> Option<G>) -> Option<G> {
        let mut got = None;
        spin(|| {
            // A thread that has to enter the queue waits for wakes of other threads, which take
            // longer than a spin.
            if self.bars(access) {
                return true;
            }
            got = attempt();
            got.is_some()
        });

        got
    }

    /// Puts a waiter into the queue. Returns its position, and whether it has to try once more.
    fn enter(&self, waiter: &Arc<Waiter>, access: LockMode) -> (Position, bool) {
        let mut state = self.state.lock();
        // Invariant 2: only the first waiter has to try after the flags are published.
        let may_try = state.waiters.is_empty();
        let position = state.join(waiter, access);
        self.publish(&state);
        (position, may_try)
    }

    /// Takes the waiter out of the queue, and tells others to try where the invariants ask for it.
    fn leave(&self, waiter: &Arc<Waiter>, position: Position, access: LockMode, leaving: Leaving) {
        let mut wakes = Wakes::default();
        {
            let mut state = self.state.lock();
            let was_told = state.settle(waiter);

            // Before the waiter is removed, since it asks whether the waiter is first or last.
            state.give_up_hand_over(position, leaving);
            state.waiters.remove(position);
            if access == LockMode::Write {
                state.writers -= 1;
            }

            let readers_first = state.waiters.front() == Some(&LockMode::Read);
            let passes_on = match leaving {
                // Invariant 4: a reader wakes the readers behind it. The unlock of a writer tells
                // the next waiter.
                //
                // fault: reader-tells-no-reader
                Leaving::Locked => access == LockMode::Read && readers_first,
                // Invariant 3: it has taken `WOKEN` back, so it wakes the next. Invariant 4:
                // readers behind a writer that has gone may read beside those that hold the lock.
                //
                // fault: cancelled-waiter-keeps-its-wake
                // fault: cancelled-writer-bars-readers
                Leaving::Cancelled => was_told || access == LockMode::Write && readers_first,
            };
            if passes_on {
                state.tell_first(&mut wakes);
            }
            self.publish(&state);
        }

        wakes.wake();
    }
}

/// Why a waiter leaves the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leaving {
    Locked,
    Cancelled,
}

impl LockQueueState {
    /// Puts a waiter at the end of the queue.
    fn join(&mut self, waiter: &Arc<Waiter>, access: LockMode) -> Position {
        if access == LockMode::Write {
            self.writers += 1;
        }
        self.waiters.push(waiter.clone(), access)
    }

    /// Takes the word to try back from a waiter. Returns whether it had been told.
    fn settle(&mut self, waiter: &Waiter) -> bool {
        let was_told = waiter.is_granted();
        if was_told {
            self.woken -= 1;
            waiter.set(Grant::None);
        }
        was_told
    }

    /// Ends the hand-over if the waiter at `position`, which is about to leave, is the last that it
    /// concerns: invariant 5.
    fn give_up_hand_over(&mut self, position: Position, leaving: Leaving) {
        let got_it = leaving == Leaving::Locked && self.waiters.is_first(position);
        // fault: empty-queue-bars
        let was_last = self.waiters.len() == 1;
        if got_it || was_last {
            self.handed = false;
        }
    }

    /// Tells the first waiter to try, or all readers up to the first writer.
    ///
    /// Does nothing while a waiter that was told has not settled: by invariant 3 it takes the lock
    /// or wakes the next one.
    fn tell_first(&mut self, wakes: &mut Wakes) {
        if self.woken != 0 {
            return;
        }

        let mut told = Vec::new();
        for (waiter, access) in self.waiters.iter() {
            // A writer shares the lock with no reader before it, and with no waiter behind it.
            if *access == LockMode::Write && !told.is_empty() {
                break;
            }
            told.push(waiter.clone());
            if *access == LockMode::Write {
                break;
            }
        }

        self.woken = told.len();

        // Invariant 5: set with the word to try, in one critical section.
        self.handed |= !told.is_empty() && self.hand_over.is_due();
        for waiter in told {
            wakes.grant(waiter, Grant::Given);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::waiting::Slot;

    #[test]
    fn no_waiter_is_told_again_before_all_that_were_told_have_settled() {
        let queue = LockQueue::new();
        let mut state = queue.state.lock();
        let mut join = |access| {
            let waiter = Waiter::new(Slot::new());
            state.join(&waiter, access);
            waiter
        };
        let (first, second) = (join(LockMode::Read), join(LockMode::Read));
        state.tell_first(&mut Wakes::default());
        assert!(first.is_granted() && second.is_granted());

        state.settle(&first);
        state.tell_first(&mut Wakes::default());
        assert!(!first.is_granted(), "the second reader is still on its way");

        state.settle(&second);
        state.tell_first(&mut Wakes::default());
        assert!(first.is_granted() && second.is_granted());
    }

    #[test]
    fn a_downgrade_tells_readers_that_are_first_and_no_writer() {
        let slot = Slot::new();
        for first in [LockMode::Read, LockMode::Write] {
            let queue = LockQueue::new();
            let waiters = [first, LockMode::Read].map(|access| {
                let waiter = Waiter::new(slot.clone());
                let mut state = queue.state.lock();
                state.join(&waiter, access);
                queue.publish(&state);
                waiter
            });
            queue.downgraded();
            let told = waiters.map(|waiter| waiter.is_granted());
            assert_eq!(told, [first == LockMode::Read; 2]);
        }
    }
}
