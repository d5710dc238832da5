//! How a thread waits for a lock: the queue in front of data that is only ever tried.
//!
//! The lock itself is the facade's: `attempt` tries it, and a waiter that is woken tries again, so a thread that runs may
//! take the lock before one that has still to wake up. A grant is therefore no more than the word to try.
//!
//! # The flags
//!
//! | bit | meaning |
//! |---|---|
//! | `WAITING` | the queue is not empty |
//! | `WOKEN` | somebody in it has been told to try and has not settled: whoever unlocks need tell nobody |
//! | `WRITER` | somebody in it wants to write: readers that come now stand behind |
//!
//! # Invariants
//!
//! 1. The flags are written under the lock of the queue.
//! 2. While they say `WAITING` without `WOKEN`, either somebody holds the lock who will see that when he unlocks, or
//!    somebody in the queue is about to try. Publishing and trying stand on one side of it, unlocking and looking on the
//!    other, and each has a full fence between its two steps: one of them sees the other.
//! 3. Whoever takes `WOKEN` back holds the lock, or tries after it, or wakes the next.
//! 4. Readers that wait with no writer before them wait only while somebody writes: who reads first wakes them all.

use std::sync::Arc;

use crate::cancel::context;
use crate::cancel::Cancelled;
use crate::facade::{const_fn, fence, fence_after_rmw, holds, spin, AtomicU32, Guard, Mutex, Ordering};
use crate::waiting::{Grant, Place, Point, Queue, Waiter, Wakes};

const WAITING: u32 = 1;
const WOKEN: u32 = 1 << 1;
const WRITER: u32 = 1 << 2;

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
    waiters: Queue<Access>,
    writers: usize,
    /// How many have been told to try and have not settled.
    woken: usize,
}

impl LockQueue {
    const_fn! {
        pub(super) const fn new() -> Self {
            LockQueue {
                flags: AtomicU32::new(0),
                line: Mutex::new(Line { waiters: Queue::new(), writers: 0, woken: 0 }),
            }
        }
    }

    /// Whether a reader that comes now has to stand behind a writer.
    #[inline]
    pub(super) fn bars_readers(&self) -> bool {
        // Relaxed: it is a matter of fairness only.
        self.flags.load(Ordering::Relaxed) & WRITER != 0
    }

    /// Directly after an unlock: tells the first who waits.
    #[inline]
    pub(super) fn unlocked(&self) {
        // Invariant 2. The unlock was a read-modify-write.
        if holds(Guard::FenceAfterUnlock) {
            fence_after_rmw();
        }
        if self.flags.load(Ordering::Relaxed) & (WAITING | WOKEN) == WAITING {
            self.wake_first();
        }
    }

    /// As [`unlocked`](Self::unlocked), for a reader; `is_locked` looks whether others still read. The last of them sees the
    /// flags as well.
    #[inline]
    pub(super) fn unlocked_by_reader(&self, is_locked: impl FnOnce() -> bool) {
        if holds(Guard::FenceAfterUnlock) {
            fence_after_rmw();
        }
        if self.flags.load(Ordering::Relaxed) & (WAITING | WOKEN) == WAITING && !is_locked() {
            self.wake_first();
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
        // Relaxed: the fences of invariant 2 order it.
        self.flags.store(flags, Ordering::Relaxed);
    }

    /// Locks, waiting for it if need be; the scope has been checked and a first attempt has failed.
    #[cold]
    #[track_caller]
    pub(super) fn acquire<G>(
        &self,
        access: Access,
        point: Point,
        wait: Wait,
        mut attempt: impl FnMut() -> Option<G>,
    ) -> Result<G, Cancelled> {
        let mut got = None;
        spin(|| {
            if access == Access::Write || !self.bars_readers() {
                got = attempt();
            }
            got.is_some()
        });
        if let Some(guard) = got {
            return Ok(guard);
        }
        let waiter = Waiter::new(context::slot());
        let (place, mut may_try) = {
            let mut line = self.line.lock();
            // Behind a writer there is nothing to try: whoever goes before wakes this one.
            let may_try = access == Access::Write || line.writers == 0;
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
                Wait::Uncancellable => Ok(context::wait_uncancellable(point, || None, || waiter.is_granted())),
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

    fn leave(&self, waiter: &Arc<Waiter>, place: Place, access: Access, leaving: Leaving) {
        let mut wakes = Wakes::default();
        {
            let mut line = self.line.lock();
            let was_told = line.settle(waiter);
            line.waiters.remove(place);
            if access == Access::Write {
                line.writers -= 1;
            }
            let readers_first = line.waiters.front() == Some(&Access::Read);
            let passes_on = match leaving {
                // Invariant 4; a writer's unlock does the rest.
                Leaving::Locked => access == Access::Read && readers_first,
                // Invariant 3; and readers behind a writer that has gone may read beside those that do.
                Leaving::Cancelled => {
                    was_told && holds(Guard::CancelPassesWakeOn)
                        || access == Access::Write && readers_first && holds(Guard::WriterLetsReadersPass)
                }
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
    fn join(&mut self, waiter: &Arc<Waiter>, access: Access) -> Place {
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

    /// Tells the first waiter to try, or all readers up to the first writer. Not while somebody told has still to settle: it
    /// will find the lock, or wake the next.
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
        for waiter in told {
            wakes.grant(waiter, Grant::Given);
        }
    }
}
