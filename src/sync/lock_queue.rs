//! How a thread waits for a lock: the queue in front of data that is only ever tried.
//!
//! The lock itself is the facade's: `attempt` tries it, and a waiter that is woken tries again, so
//! a thread that runs may take the lock before one that has still to wake up. A grant is therefore
//! no more than the word to try. That is what makes a contended lock fast, and what would starve a
//! waiter beside a thread that locks again at once: so now and then whoever unlocks hands the lock
//! over. It stays free, and only the first in the queue may try it.
//!
//! # The flags
//!
//! | bit | meaning |
//! |---|---|
//! | `WAITING` | the queue is not empty |
//! | `WOKEN` | somebody in it has been told to try and has not settled: whoever unlocks need tell nobody |
//! | `WRITER` | somebody in it wants to write: readers that come now stand behind |
//! | `HANDED` | the lock is for the first in the queue: who comes now stands behind without having tried |
//!
//! # Invariants
//!
//! 1. The flags are written under the lock of the queue.
//! 2. While they say `WAITING` without `WOKEN`, either somebody holds the lock who will see that
//!    when he unlocks or becomes a reader, or somebody in the queue is about to try. Publishing and
//!    trying stand on one side of it, unlocking and looking on the other, and each has a full fence
//!    between its two steps: one of them sees the other. Who enters behind others has nothing to
//!    try: what holds for them holds for him, and whoever of them leaves sees to the next.
//! 3. Whoever takes `WOKEN` back holds the lock, or tries after it, or wakes the next.
//! 4. Readers that wait with no writer before them wait only while somebody writes: who reads first
//!    wakes them all, and so does a writer that becomes a reader.
//! 5. `HANDED` is set by whoever tells the first to try, and is cleared when that one leaves with
//!    the lock; if he leaves without it, it is for the next, or is cleared with the queue. Until
//!    then he is told of each unlock, by invariants 2 and 3, and only who looked before it was set
//!    can still be faster, once: he gets the lock after no more unlocks than there were others
//!    about to lock.

use std::sync::Arc;
use std::time::Duration;

use crate::cancel::Cancelled;
use crate::cancel::context;
use crate::facade::{AtomicU32, Mutex, Ordering, Pace, const_fn, fence, fence_after_rmw, spin};
use crate::waiting::{Grant, Position, WaitKind, WaitQueue, Waiter, Wakes};

const WAITING: u32 = 1;
const WOKEN: u32 = 1 << 1;
const WRITER: u32 = 1 << 2;
const HANDED: u32 = 1 << 3;

/// How often a lock is handed over, at most. Each time it is idle for as long as its waiter takes
/// to wake up.
const HAND_OVER_EVERY: Duration = Duration::from_micros(500);

/// How a thread wants the lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    Read,
    Write,
}

/// Whether a cancel ends the wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wait {
    Cancellable,
    Uncancellable,
}

#[derive(Debug)]
pub(super) struct LockQueue {
    flags: AtomicU32,
    line: Mutex<Line>,
}

#[derive(Debug)]
struct Line {
    waiters: WaitQueue<Access>,
    writers: usize,
    /// How many have been told to try and have not settled.
    woken: usize,
    /// Whether the lock is for the first waiter alone.
    handed: bool,
    hand_over: Pace,
}

impl LockQueue {
    const_fn! {
        pub(super) const fn new() -> Self {
            LockQueue {
                flags: AtomicU32::new(0),
                line: Mutex::new(Line {
                    waiters: WaitQueue::new(),
                    writers: 0,
                    woken: 0,
                    handed: false,
                    hand_over: Pace::new(HAND_OVER_EVERY),
                }),
            }
        }
    }

    /// Whether who comes now has to stand behind those who wait, without trying.
    #[inline]
    pub(super) fn bars(&self, access: Access) -> bool {
        let barring = match access {
            Access::Read => WRITER | HANDED,
            Access::Write => HANDED,
        };
        // Relaxed: it is a matter of fairness only, and who has just unlocked has seen what he set
        // himself.
        self.flags.load(Ordering::Relaxed) & barring != 0
    }

    /// Whether a writer waits.
    pub(super) fn has_writer(&self) -> bool {
        // Relaxed: who asks is about to wait, and one that comes later stands behind.
        self.flags.load(Ordering::Relaxed) & WRITER != 0
    }

    /// Whether the lock is for one that waits for it.
    #[inline]
    pub(super) fn is_handed_over(&self) -> bool {
        self.bars(Access::Write)
    }

    /// Directly after an unlock: tells the first who waits. Where other readers are left, a writer
    /// is told in vain; a reader cannot see whether there are any, since its guard does not know
    /// the lock's value.
    #[inline]
    pub(super) fn unlocked(&self) {
        // Invariant 2. The unlock was a read-modify-write.
        //
        // fault: unlock-without-fence
        fence_after_rmw();
        if self.flags.load(Ordering::Relaxed) & (WAITING | WOKEN) == WAITING {
            self.wake_first();
        }
    }

    /// Directly after a writer became a reader: tells the readers that are first in the queue. A
    /// writer that is first still has to wait, for this reader.
    #[inline]
    pub(super) fn downgraded(&self) {
        // Invariant 2. The downgrade was a read-modify-write.
        //
        // fault: downgrade-without-fence
        fence_after_rmw();
        // fault: downgrade-tells-no-reader
        if self.flags.load(Ordering::Relaxed) & (WAITING | WOKEN) == WAITING {
            self.wake_readers();
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.line.lock().waiters.len()
    }

    #[cold]
    fn wake_first(&self) {
        let mut wakes = Wakes::default();
        {
            let mut line = self.line.lock();
            line.tell_first(&mut wakes);
            self.publish(&line);
        }
        wakes.wake();
    }

    #[cold]
    fn wake_readers(&self) {
        let mut wakes = Wakes::default();
        {
            let mut line = self.line.lock();
            if line.waiters.front() == Some(&Access::Read) {
                line.tell_first(&mut wakes);
                self.publish(&line);
            }
        }
        wakes.wake();
    }

    fn publish(&self, line: &Line) {
        let mut flags = 0;
        if !line.waiters.is_empty() {
            flags |= WAITING;
        }
        if line.woken != 0 {
            flags |= WOKEN;
        }
        if line.writers != 0 {
            flags |= WRITER;
        }
        // fault: hand-over-bars-no-thread
        if line.handed {
            flags |= HANDED;
        }
        // Relaxed: the fences of invariant 2 order it.
        self.flags.store(flags, Ordering::Relaxed);
    }

    /// Locks, waiting for it if need be; the scope has been checked and a first attempt has failed.
    #[cold]
    #[track_caller]
    pub(super) fn acquire<G>(
        &self,
        access: Access,
        point: WaitKind,
        wait: Wait,
        mut attempt: impl FnMut() -> Option<G>,
    ) -> Result<G, Cancelled> {
        let mut got = None;
        spin(|| {
            // One who has to stand behind others waits for wakes, which are not worth spinning for.
            if self.bars(access) {
                return true;
            }
            got = attempt();
            got.is_some()
        });
        if let Some(guard) = got {
            return Ok(guard);
        }
        let waiter = Waiter::new(context::slot());
        let (place, mut may_try) = {
            let mut line = self.line.lock();
            // Invariant 2.
            let may_try = line.waiters.is_empty();
            let place = line.join(&waiter, access);
            self.publish(&line);
            (place, may_try)
        };
        loop {
            if may_try {
                // Invariant 2.
                fence();
                if let Some(guard) = attempt() {
                    self.leave(&waiter, place, access, Leaving::Locked);
                    return Ok(guard);
                }
            }
            let waited = match wait {
                Wait::Cancellable => context::wait(point, None, || waiter.is_granted()),
                Wait::Uncancellable => Ok(context::wait_uncancellable(
                    point,
                    || None,
                    || waiter.is_granted(),
                )),
            };
            if let Err(cancelled) = waited {
                self.leave(&waiter, place, access, Leaving::Cancelled);
                return Err(cancelled);
            }
            if let Some(guard) = attempt() {
                self.leave(&waiter, place, access, Leaving::Locked);
                return Ok(guard);
            }
            // Somebody was faster. The place in the queue is kept.
            let mut line = self.line.lock();
            line.settle(&waiter);
            self.publish(&line);
            may_try = true;
        }
    }

    fn leave(&self, waiter: &Arc<Waiter>, place: Position, access: Access, leaving: Leaving) {
        let mut wakes = Wakes::default();
        {
            let mut line = self.line.lock();
            let was_told = line.settle(waiter);
            line.give_up_hand_over(place, leaving);
            line.waiters.remove(place);
            if access == Access::Write {
                line.writers -= 1;
            }
            let readers_first = line.waiters.front() == Some(&Access::Read);
            let passes_on = match leaving {
                // Invariant 4; a writer's unlock does the rest.
                //
                // fault: reader-tells-no-reader
                Leaving::Locked => access == Access::Read && readers_first,
                // Invariant 3; and readers behind a writer that has gone may read beside those that
                // do.
                //
                // fault: cancelled-waiter-keeps-its-wake
                // fault: cancelled-writer-bars-readers
                Leaving::Cancelled => was_told || access == Access::Write && readers_first,
            };
            if passes_on {
                line.tell_first(&mut wakes);
            }
            self.publish(&line);
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

impl Line {
    fn join(&mut self, waiter: &Arc<Waiter>, access: Access) -> Position {
        if access == Access::Write {
            self.writers += 1;
        }
        self.waiters.push(waiter.clone(), access)
    }

    /// Takes back what a waiter was told, if it was.
    fn settle(&mut self, waiter: &Waiter) -> bool {
        let was_told = waiter.is_granted();
        if was_told {
            self.woken -= 1;
            waiter.set(Grant::None);
        }
        was_told
    }

    /// Invariant 5: a waiter is about to leave its place.
    fn give_up_hand_over(&mut self, place: Position, leaving: Leaving) {
        let got_it = leaving == Leaving::Locked && self.waiters.is_first(place);
        // fault: empty-queue-bars
        let was_last = self.waiters.len() == 1;
        if got_it || was_last {
            self.handed = false;
        }
    }

    /// Tells the first waiter to try, or all readers up to the first writer. Not while somebody
    /// told has still to settle: it will find the lock, or wake the next.
    fn tell_first(&mut self, wakes: &mut Wakes) {
        if self.woken != 0 {
            return;
        }
        let mut told = Vec::new();
        for (waiter, access) in self.waiters.iter() {
            if *access == Access::Write && !told.is_empty() {
                break;
            }
            told.push(waiter.clone());
            if *access == Access::Write {
                break;
            }
        }
        self.woken = told.len();
        // Invariant 5.
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
        let mut line = queue.line.lock();
        let mut join = |access| {
            let waiter = Waiter::new(Slot::new());
            line.join(&waiter, access);
            waiter
        };
        let (first, second) = (join(Access::Read), join(Access::Read));
        line.tell_first(&mut Wakes::default());
        assert!(first.is_granted() && second.is_granted());

        line.settle(&first);
        line.tell_first(&mut Wakes::default());
        assert!(!first.is_granted(), "the second reader is still on its way");

        line.settle(&second);
        line.tell_first(&mut Wakes::default());
        assert!(first.is_granted() && second.is_granted());
    }

    #[test]
    fn a_downgrade_tells_readers_that_are_first_and_no_writer() {
        let slot = Slot::new();
        for first in [Access::Read, Access::Write] {
            let queue = LockQueue::new();
            let waiters = [first, Access::Read].map(|access| {
                let waiter = Waiter::new(slot.clone());
                let mut line = queue.line.lock();
                line.join(&waiter, access);
                queue.publish(&line);
                waiter
            });
            queue.downgraded();
            let told = waiters.map(|waiter| waiter.is_granted());
            assert_eq!(told, [first == Access::Read; 2]);
        }
    }
}
