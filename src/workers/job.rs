//! A job: a closure that is run at most once, its result, and the proof that neither outlives what
//! it borrows.
//!
//! # The word
//!
//! | bits | meaning | set by |
//! |---|---|---|
//! | `PHASE` 0..2 | `QUEUED` -> `RUNNING` -> `ENDED` | the claim; the end |
//! | `STATUS` 2..5 | how it ended | the end |
//! | `TAKEN` | the result has an owner | whoever takes it |
//! | `DETACHED` | there is no handle any more | the handle's drop |
//! | `TOKENED` | the task has a token of its own | whoever makes it |
//! | `WATCHED` | somebody waits for the end, or has a callback for it | the watcher, under the lock of the watch list |
//!
//! # Invariants
//!
//! 1. The closure is touched by whoever moved the phase from `QUEUED` to `RUNNING`, once: the
//!    holder of the [`Claim`].
//! 2. The result is written by the holder of the claim before the phase becomes `ENDED`, and
//!    touched after that by whoever set `TAKEN` first.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::facade::{AtomicU32, Cell, Ordering, Track};

const PHASE: u32 = 0b11;
const QUEUED: u32 = 0;
const RUNNING: u32 = 1;
const ENDED: u32 = 2;
const STATUS_SHIFT: u32 = 2;
const STATUS: u32 = 0b111 << STATUS_SHIFT;
const TAKEN: u32 = 1 << 5;
const DETACHED: u32 = 1 << 6;
const WATCHED: u32 = 1 << 7;
const TOKENED: u32 = 1 << 8;

/// A closure to run once, and its result.
///
/// # Memory ordering
///
/// What happened before the job was queued happens before the closure, through the lock of the
/// queue or through the handle. The closure happens before whoever sees the phase `ENDED`.
///
/// # Safety
///
/// The cells are exclusive by the invariants of this module: the word has one modification order,
/// so exactly one exchange moves the phase from `QUEUED`, and exactly one `fetch_or` sets `TAKEN`.
/// The end is released and the taker acquires it. The closure and the result move to other threads,
/// so both must be `Send`; nothing is shared by reference, so neither need be `Sync`.
pub(crate) struct Job<F, T> {
    word: AtomicU32,
    closure: Cell<Option<F>>,
    result: Cell<Option<T>>,
    _leaks: Track,
}

// SAFETY: see the type; the cells are handed from thread to thread, never shared.
unsafe impl<F: Send, T: Send> Send for Job<F, T> {}
// SAFETY: as above.
unsafe impl<F: Send, T: Send> Sync for Job<F, T> {}

/// Where a job is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Queued,
    Running,
    /// With the status given to `end`.
    Ended(u8),
}

/// Whether a job has been claimed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claimed {
    No,
    /// It may hold something of the user's: it is to be dropped only where the user's code may run.
    Yes,
    /// It has ended and never had a token of its own, which is where callbacks of the user's are,
    /// put there by the task itself: nothing is left of it but memory.
    Spent,
}

/// The right to run one job, or to drop it unrun.
#[derive(Debug)]
#[must_use]
pub(crate) struct Claim(());

impl<F, T> Job<F, T> {
    pub(crate) fn new(closure: F) -> Self {
        Job {
            word: AtomicU32::new(QUEUED),
            closure: Cell::new(Some(closure)),
            result: Cell::new(None),
            _leaks: Track::new(),
        }
    }

    /// Takes the right to run the job, if nobody has it.
    #[inline]
    pub(crate) fn claim(&self) -> Option<Claim> {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & PHASE == QUEUED {
            // Relaxed: the closure came with the job, through the lock of the queue or with the
            // handle.
            match self.word.compare_exchange_weak(
                word,
                word | RUNNING,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(Claim(())),
                Err(now) => word = now,
            }
        }
        None
    }

    /// The closure.
    #[inline]
    pub(crate) fn closure(&self, _claim: &Claim) -> Option<F> {
        // SAFETY: the claim is the right to it (invariant 1).
        self.closure
            .with_mut(|closure| unsafe { (*closure).take() })
    }

    /// Stores the result.
    #[inline]
    pub(crate) fn store(&self, _claim: &Claim, value: T) {
        // SAFETY: until the end the result is the claim's (invariant 2).
        self.result
            .with_mut(|result| unsafe { *result = Some(value) });
    }

    /// Ends the job with `status`. A job that is watched is not ended without `even_if_watched`:
    /// the claim comes back, so that the caller first does what the watchers wait for.
    #[inline]
    pub(crate) fn end(
        &self,
        claim: Claim,
        status: u8,
        even_if_watched: bool,
    ) -> Result<Ended, Claim> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & WATCHED != 0 && !even_if_watched {
                return Err(claim);
            }
            let ended = word & !PHASE | ENDED | u32::from(status) << STATUS_SHIFT;
            // Release pairs with the acquires in `take`, `phase` and `watch`: a thread that sees
            // the end sees the result. Of a handle that has gone nothing but the bit is read.
            match self
                .word
                .compare_exchange_weak(word, ended, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => {
                    return Ok(Ended {
                        detached: word & DETACHED != 0,
                    });
                }
                Err(now) => word = now,
            }
        }
    }

    /// Ends a job that the holder of the claim has run for itself, as the last who can still reach
    /// it but the queue: the handle has been consumed, so no bit of the word can change any more.
    /// Somebody may have watched it before that.
    #[inline]
    pub(crate) fn end_unshared(&self, claim: Claim, status: u8) -> Result<(), Claim> {
        if self.word.load(Ordering::Relaxed) & WATCHED != 0 {
            return Err(claim);
        }
        // Relaxed: nobody can ask for the result, and the memory is freed by its `Arc`, which
        // orders that. No other thread writes the word of a claimed job that has no handle, so
        // nothing is overwritten.
        self.word.store(
            ENDED | TAKEN | u32::from(status) << STATUS_SHIFT,
            Ordering::Relaxed,
        );
        Ok(())
    }

    /// The result, for the first who asks after the end.
    pub(crate) fn take(&self) -> Option<T> {
        // Acquire pairs with the release of `end`.
        let word = self.word.fetch_or(TAKEN, Ordering::Acquire);
        if word & PHASE != ENDED || word & TAKEN != 0 {
            return None;
        }
        // SAFETY: the job has ended and this call set TAKEN (invariant 2).
        self.result.with_mut(|result| unsafe { (*result).take() })
    }

    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        // Acquire pairs with the release of `end`.
        let word = self.word.load(Ordering::Acquire);
        match word & PHASE {
            QUEUED => Phase::Queued,
            RUNNING => Phase::Running,
            _ => Phase::Ended(((word & STATUS) >> STATUS_SHIFT) as u8),
        }
    }

    /// Nobody has claimed it, and it has no token of its own.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.word.load(Ordering::Relaxed) & (PHASE | TOKENED) == QUEUED
    }

    /// Says that the task has a token of its own.
    pub(crate) fn set_tokened(&self) {
        self.word.fetch_or(TOKENED, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_tokened(&self) -> bool {
        self.word.load(Ordering::Relaxed) & TOKENED != 0
    }

    /// Whether somebody has claimed the job, and what is left of it then.
    #[inline]
    pub(crate) fn claimed(&self) -> Claimed {
        // Relaxed: it asks for nothing but the word, and to drop the entry is ordered by its `Arc`.
        match self.word.load(Ordering::Relaxed) & (PHASE | TOKENED) {
            ENDED => Claimed::Spent,
            word if word & PHASE == QUEUED => Claimed::No,
            _ => Claimed::Yes,
        }
    }

    /// Says that there is no handle any more; true if the job has ended, and the result is the
    /// caller's to take.
    pub(crate) fn detach(&self) -> bool {
        // Relaxed: whoever takes the result acquires it.
        self.word.fetch_or(DETACHED, Ordering::Relaxed) & PHASE == ENDED
    }

    #[inline]
    pub(crate) fn is_detached(&self) -> bool {
        self.word.load(Ordering::Relaxed) & DETACHED != 0
    }

    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        self.word.load(Ordering::Relaxed) & WATCHED != 0
    }

    /// Says that somebody watches for the end; true if it has ended.
    pub(crate) fn watch(&self) -> bool {
        // Acquire pairs with the release of `end`. The list of those who watch has a lock.
        self.word.fetch_or(WATCHED, Ordering::Acquire) & PHASE == ENDED
    }
}

/// What the end of a job saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    /// No handle was left: the result is for whoever ended the job to drop.
    pub(crate) detached: bool,
}

impl<F, T> fmt::Debug for Job<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("phase", &self.phase())
            .finish_non_exhaustive()
    }
}

/// What an ended task leaves for the counts of its group.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Departure {
    /// The role and the status of the task, as its group numbers them.
    pub(crate) role: u8,
    pub(crate) status: u8,
}

/// What a queue holds of a task whose tokens are of type `N`.
pub(crate) trait Runnable<N>: Send + Sync {
    /// Runs the task, timed precisely or not; none if somebody else had claimed it. `this` is the
    /// task itself; `before_end` is called when nothing of the task will run any more, before
    /// anybody can see that it has ended.
    fn run(
        &self,
        this: &Erased<N>,
        precisely: bool,
        before_end: Option<&dyn Fn()>,
    ) -> Option<Departure>;
    /// Drops the task unrun; none if somebody else had claimed it.
    fn discard(&self) -> Option<Departure>;
    /// Fails the task, for which the system refused a thread; none if somebody else had claimed it.
    fn refuse(&self, error: io::Error) -> Option<Departure>;
    /// Whether somebody has claimed it, and what is left of it then.
    fn claimed(&self) -> Claimed;
    /// Whether any thread will do.
    fn runs_anywhere(&self) -> bool;
    /// The name and the stack size of the thread of its own that it asks for.
    fn own_thread(&self) -> Option<(&str, Option<usize>)>;
    /// The task's own token, made when it is first asked for.
    fn own_token(&self) -> N;
}

/// A task whose lifetime has been erased, so that a queue of the process can hold it.
///
/// # Safety
///
/// The task borrows from `'scope`, which ends when the scope that made it returns. Whoever erases
/// promises that until the scope returns, the task either has been run or dropped unrun through its
/// claim, and that all that is done with it after that is to drop the `Arc`. The memory of a task
/// belongs to its `Arc`, and with closure and result moved out, nothing of `'scope` is left in it
/// that has a destructor: its callbacks and waiters are taken at its end (see `group::task`). The
/// group keeps the promise by counting: a task is counted before it is queued and uncounted after
/// its end, and the scope does not return while the count is not zero, whatever panics. Taking
/// `DropBeforeEnd` out, so that a result is dropped after the end was signalled, makes the model
/// `broken_scope_result_dropped_after_end` fail.
pub(crate) struct Erased<N>(Arc<dyn Runnable<N>>);

impl<N: 'static> Erased<N> {
    /// # Safety
    ///
    /// See the type: `task` is run or dropped unrun before `'scope` ends.
    pub(crate) unsafe fn new<'scope>(task: Arc<dyn Runnable<N> + 'scope>) -> Self {
        // SAFETY: only the lifetime of the trait object changes; the caller promises what the type
        // asks.
        Erased(unsafe {
            std::mem::transmute::<Arc<dyn Runnable<N> + 'scope>, Arc<dyn Runnable<N>>>(task)
        })
    }

    pub(crate) fn is_claimed(&self) -> bool {
        self.0.claimed() != Claimed::No
    }

    /// Runs the task, if nobody has claimed it.
    pub(crate) fn run(&self, precisely: bool, before_end: Option<&dyn Fn()>) -> Option<Departure> {
        self.0.run(self, precisely, before_end)
    }
}

impl<N> Clone for Erased<N> {
    fn clone(&self) -> Self {
        Erased(self.0.clone())
    }
}

impl<N> std::ops::Deref for Erased<N> {
    type Target = dyn Runnable<N>;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl<N> fmt::Debug for Erased<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Erased")
            .field("claimed", &self.0.claimed())
            .finish()
    }
}
