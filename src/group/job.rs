//! A job: a closure that runs at most once, and its result.
//!
//! # The word
//!
//! | bits | meaning | set by |
//! |---|---|---|
//! | `PHASE` 0..2 | `QUEUED` -> `RUNNING` -> `ENDED` | the claim; the end |
//! | `STATUS` 2..5 | the [`TaskStatus`] with which the job ended | the end |
//! | `TAKEN` | the result has an owner | the first call of `take` |
//! | `DETACHED` | the handle has been dropped | the drop of the handle |
//! | `WATCHED` | a thread waits for the end, or a callback is registered for it | the watcher, under the lock of the watch list |
//! | `TOKENED` | the task has a token of its own | the thread that makes the token |
//!
//! # Invariants
//!
//! 1. Only the holder of the [`Claim`] touches the closure. One thread gets the claim: the thread
//!    that moves the phase from `QUEUED` to `RUNNING`.
//! 2. The holder of the claim writes the result before the phase becomes `ENDED`. After that, only
//!    the thread that sets `TAKEN` first touches the result.

use std::fmt;

use super::status::TaskStatus;
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
/// Everything before the job was queued happens before the closure runs: through the lock of the
/// queue, or through the handle. The closure happens before every load that sees the phase `ENDED`.
///
/// # Safety
///
/// By the invariants of this module, one thread at a time has access to each cell. The word has one
/// modification order, so exactly one exchange moves the phase from `QUEUED`, and exactly one
/// `fetch_or` sets `TAKEN` first. The end is a release and the taker acquires it. The closure and
/// the result move to other threads, so both must be `Send`. Threads share neither by reference, so
/// neither has to be `Sync`.
pub(crate) struct Job<F, T> {
    word: AtomicU32,
    closure: Cell<Option<F>>,
    result: Cell<Option<T>>,
    _leaks: Track,
}

// SAFETY: see the type; the cells move from thread to thread and are never shared.
unsafe impl<F: Send, T: Send> Send for Job<F, T> {}
// SAFETY: like `Send`.
unsafe impl<F: Send, T: Send> Sync for Job<F, T> {}

/// Whether a job has been claimed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claimed {
    No,
    /// The job may still hold user values: it may only be dropped where user code may run.
    Yes,
    /// The job has ended and never had a token of its own. Callbacks of the user are registered
    /// with that token, and by the task itself. So only memory is left of the job.
    Spent,
}

/// The right to run one job, or to drop it unrun.
#[derive(Debug)]
#[must_use]
pub(crate) struct Claim(());

/// Whether a job still had a handle when it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HandleAtEnd {
    Kept,
    /// The thread that ended the job has to drop the result.
    Gone,
}

impl<F, T> Job<F, T> {
    pub(crate) fn new(closure: F) -> Self {
        Job {
            word: AtomicU32::new(QUEUED),
            closure: Cell::new(Some(closure)),
            result: Cell::new(None),
            _leaks: Track::new(),
        }
    }

    /// Takes the right to run the job, unless another thread has it.
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

    /// Takes the closure out.
    #[inline]
    pub(crate) fn closure(&self, _claim: &Claim) -> Option<F> {
        // SAFETY: the claim is the right to the closure (invariant 1).
        self.closure
            .with_mut(|closure| unsafe { (*closure).take() })
    }

    /// Stores the result.
    #[inline]
    pub(crate) fn store(&self, _claim: &Claim, value: T) {
        // SAFETY: until the end, the result belongs to the holder of the claim (invariant 2).
        self.result
            .with_mut(|result| unsafe { *result = Some(value) });
    }

    /// Ends the job with `status`, unless it is watched.
    ///
    /// # Errors
    ///
    /// Returns the claim of a watched job, so that the caller can first serve the watchers.
    #[inline]
    pub(crate) fn end_unwatched(
        &self,
        claim: Claim,
        status: TaskStatus,
    ) -> Result<HandleAtEnd, Claim> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & WATCHED != 0 {
                return Err(claim);
            }
            match self.exchange_for_end(word, status) {
                Ok(handle) => return Ok(handle),
                Err(now) => word = now,
            }
        }
    }

    /// Ends the job with `status`, watched or not.
    #[inline]
    pub(crate) fn end(&self, _claim: Claim, status: TaskStatus) -> HandleAtEnd {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            match self.exchange_for_end(word, status) {
                Ok(handle) => return handle,
                Err(now) => word = now,
            }
        }
    }

    /// Ends the job if its word is still `word`; otherwise returns the word as it is now.
    #[inline]
    fn exchange_for_end(&self, word: u32, status: TaskStatus) -> Result<HandleAtEnd, u32> {
        let ended = word & !PHASE | ENDED | u32::from(status.code()) << STATUS_SHIFT;
        // Release pairs with the acquires in `take`, `status` and `watch`: a thread that sees the
        // end sees the result. Of `DETACHED`, nothing but the bit is read.
        self.word
            .compare_exchange_weak(word, ended, Ordering::Release, Ordering::Relaxed)
            .map(|_| {
                if word & DETACHED == 0 {
                    HandleAtEnd::Kept
                } else {
                    HandleAtEnd::Gone
                }
            })
    }

    /// Ends a job that only this thread and the queue can still reach: `join` has consumed the
    /// handle and runs the job in place. So no bit of the word can change any more.
    ///
    /// # Errors
    ///
    /// Returns the claim if the job was watched before that.
    #[inline]
    pub(crate) fn end_unshared(&self, claim: Claim, status: TaskStatus) -> Result<(), Claim> {
        if self.word.load(Ordering::Relaxed) & WATCHED != 0 {
            return Err(claim);
        }

        // Relaxed: no other thread can ask for the result, and the `Arc` orders the drop of the
        // memory. No other thread writes the word of a claimed job without a handle, so the store
        // overwrites nothing.
        self.word.store(
            ENDED | TAKEN | u32::from(status.code()) << STATUS_SHIFT,
            Ordering::Relaxed,
        );
        Ok(())
    }

    /// Takes the result: the first call after the end gets it.
    pub(crate) fn take(&self) -> Option<T> {
        // Acquire pairs with the release of `exchange_for_end`.
        let word = self.word.fetch_or(TAKEN, Ordering::Acquire);
        if word & PHASE != ENDED || word & TAKEN != 0 {
            return None;
        }
        // SAFETY: the job has ended and this call set `TAKEN` first (invariant 2).
        self.result.with_mut(|result| unsafe { (*result).take() })
    }

    /// Returns the state of the job, or how it ended.
    #[inline]
    pub(crate) fn status(&self) -> TaskStatus {
        // Acquire pairs with the release of `exchange_for_end`.
        let word = self.word.load(Ordering::Acquire);
        match word & PHASE {
            QUEUED => TaskStatus::Queued,
            RUNNING => TaskStatus::Running,
            _ => TaskStatus::from_code(((word & STATUS) >> STATUS_SHIFT) as u8),
        }
    }

    /// Returns whether the job is unclaimed and its task has no token of its own.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.word.load(Ordering::Relaxed) & (PHASE | TOKENED) == QUEUED
    }

    /// Notes that the task has a token of its own.
    pub(crate) fn set_tokened(&self) {
        self.word.fetch_or(TOKENED, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_tokened(&self) -> bool {
        self.word.load(Ordering::Relaxed) & TOKENED != 0
    }

    /// Returns whether the job has been claimed, and how much is left of it then.
    #[inline]
    pub(crate) fn claimed(&self) -> Claimed {
        // Relaxed: the caller reads nothing but the word, and the `Arc` orders the drop of an
        // entry.
        match self.word.load(Ordering::Relaxed) & (PHASE | TOKENED) {
            ENDED => Claimed::Spent,
            word if word & PHASE == QUEUED => Claimed::No,
            _ => Claimed::Yes,
        }
    }

    /// Notes that the handle is gone. Returns true if the job has ended: then the caller may take
    /// the result.
    pub(crate) fn detach(&self) -> bool {
        // Relaxed: `take` acquires the result.
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

    /// Notes that the end is watched. Returns true if the job has ended already.
    pub(crate) fn watch(&self) -> bool {
        // Acquire pairs with the release of `exchange_for_end`. The watch list has a lock of its
        // own.
        self.word.fetch_or(WATCHED, Ordering::Acquire) & PHASE == ENDED
    }
}

impl<F, T> fmt::Debug for Job<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
