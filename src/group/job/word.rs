//! The word of a job.
//!
//! | bits | meaning | set by |
//! |---|---|---|
//! | `PHASE` 0..2 | `QUEUED` -> `RUNNING` -> `ENDED` | the claim; the end |
//! | `STATUS` 2..5 | the [`TaskStatus`] with which the job ended | the end |
//! | `TAKEN` | the result has an owner | the first call of `take` |
//! | `DETACHED` | the handle has been dropped | the drop of the handle |
//! | `WATCHED` | a thread waits for the end, or a callback is registered for it | the watcher, under the lock of the watch list |
//! | `TOKENED` | the task has a token of its own | the thread that makes the token |
//! | `DEALT` | a thread has taken the task from the list of awaited tasks, and is about to claim it (not in models, which have no snapshots) | that thread, under the lock of the queue |

use super::super::status::TaskStatus;
use crate::facade::{AtomicU32, Ordering};

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
#[cfg(not(loom))]
const DEALT: u32 = 1 << 9;

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

/// Returns the word of a job that ends with `status`.
#[inline]
fn word_at_end(word: u32, status: TaskStatus) -> u32 {
    word & !PHASE | ENDED | u32::from(status.code()) << STATUS_SHIFT
}

/// The phase of a job, and the bits about its handle and its watchers. It knows neither the closure
/// nor the result.
///
/// # Memory ordering
///
/// The closure happens before every load that sees the phase `ENDED`.
pub(crate) struct JobWord(AtomicU32);

impl JobWord {
    pub(super) fn new() -> Self {
        JobWord(AtomicU32::new(QUEUED))
    }

    /// Takes the right to run the job, unless another thread has it.
    #[inline]
    pub(crate) fn claim(&self) -> Option<Claim> {
        let mut word = self.0.load(Ordering::Relaxed);

        while word & PHASE == QUEUED {
            // Relaxed: the closure came with the job, through the lock of the queue or with the
            // handle.
            match self.0.compare_exchange_weak(
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

    /// Takes the right to run a job that no other thread can reach, unless it has been claimed.
    #[inline]
    pub(crate) fn claim_unshared(&self) -> Option<Claim> {
        let word = self.0.load(Ordering::Relaxed);
        if word & PHASE != QUEUED {
            return None;
        }

        // A store, since no other thread can change the word.
        self.0.store(word | RUNNING, Ordering::Relaxed);
        Some(Claim(()))
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
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & WATCHED != 0 {
                return Err(claim);
            }

            // The exchange fails if the job is watched meanwhile, and the loop finds that.
            match self.exchange_for_end(word, status) {
                Ok(handle) => return Ok(handle),
                Err(now) => word = now,
            }
        }
    }

    /// Ends the job with `status`, watched or not.
    #[inline]
    pub(crate) fn end(&self, _claim: Claim, status: TaskStatus) -> HandleAtEnd {
        let mut word = self.0.load(Ordering::Relaxed);
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
        let ended = word_at_end(word, status);

        // Release pairs with the acquires in `take_result`, `status` and `watch`: a thread that
        // sees the end sees the result. Of `DETACHED`, nothing but the bit is read.
        self.0
            .compare_exchange_weak(word, ended, Ordering::Release, Ordering::Relaxed)
            .map(|_| {
                if word & DETACHED == 0 {
                    HandleAtEnd::Kept
                } else {
                    HandleAtEnd::Gone
                }
            })
    }

    /// Ends a job that only this thread and the queue can still reach: its handle is gone, or
    /// `join` has consumed the handle and runs the job in place. So no bit of the word can still
    /// change.
    ///
    /// # Errors
    ///
    /// Returns the claim if the job was watched before that.
    #[inline]
    pub(crate) fn end_unshared(&self, claim: Claim, status: TaskStatus) -> Result<(), Claim> {
        let word = self.0.load(Ordering::Relaxed);
        if word & WATCHED != 0 {
            return Err(claim);
        }

        // Relaxed: no other thread can ask for the result, and the count of the references orders
        // the drop of the memory. No other thread writes the word of a claimed job without a
        // handle, but for `DEALT`, which says nothing of a claimed job.
        self.0.store(word_at_end(word, status), Ordering::Relaxed);
        Ok(())
    }

    /// Returns the state of the job, or how it ended.
    #[inline]
    pub(crate) fn status(&self) -> TaskStatus {
        // Acquire pairs with the release of `exchange_for_end`.
        let word = self.0.load(Ordering::Acquire);

        match word & PHASE {
            QUEUED => TaskStatus::Queued,
            RUNNING => TaskStatus::Running,
            _ => TaskStatus::from_code(((word & STATUS) >> STATUS_SHIFT) as u8),
        }
    }

    /// Returns whether the job is unclaimed and its task has no token of its own.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.0.load(Ordering::Relaxed) & (PHASE | TOKENED) == QUEUED
    }

    /// Notes that the task has a token of its own.
    pub(crate) fn set_tokened(&self) {
        self.0.fetch_or(TOKENED, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_tokened(&self) -> bool {
        self.0.load(Ordering::Relaxed) & TOKENED != 0
    }

    /// Returns whether the job has been claimed, and how much is left of it then.
    #[inline]
    pub(crate) fn claimed(&self) -> Claimed {
        // Relaxed: the caller reads nothing but the word, and the count of the references orders
        // the drop of an entry.
        match self.0.load(Ordering::Relaxed) & (PHASE | TOKENED) {
            ENDED => Claimed::Spent,
            word if word & PHASE == QUEUED => Claimed::No,
            _ => Claimed::Yes,
        }
    }

    /// Returns whether the job is unclaimed, and no thread is about to claim it for a worker.
    #[cfg(not(loom))]
    pub(crate) fn is_queued(&self) -> bool {
        // Relaxed: the lock of the queue orders `DEALT`.
        self.0.load(Ordering::Relaxed) & (PHASE | DEALT) == QUEUED
    }

    /// Notes that a thread is about to claim the job.
    #[cfg(not(loom))]
    pub(crate) fn mark_dealt(&self) {
        self.0.fetch_or(DEALT, Ordering::Relaxed);
    }

    /// Notes that the handle is gone. Returns true if the job has ended: then the caller may take
    /// the result.
    pub(crate) fn detach(&self) -> bool {
        // Relaxed: `take` acquires the result.
        self.0.fetch_or(DETACHED, Ordering::Relaxed) & PHASE == ENDED
    }

    #[inline]
    pub(crate) fn is_detached(&self) -> bool {
        self.0.load(Ordering::Relaxed) & DETACHED != 0
    }

    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        self.0.load(Ordering::Relaxed) & WATCHED != 0
    }

    /// Notes that the end is watched. Returns true if the job has ended already.
    pub(crate) fn watch(&self) -> bool {
        // Acquire pairs with the release of `exchange_for_end`. The watch list has a lock of its
        // own.
        self.0.fetch_or(WATCHED, Ordering::Acquire) & PHASE == ENDED
    }

    /// Makes the caller the owner of the result. Returns false if the job has not ended, or if the
    /// result has an owner.
    pub(super) fn take_result(&self) -> bool {
        // Acquire pairs with the release of `exchange_for_end`.
        let word = self.0.fetch_or(TAKEN, Ordering::Acquire);
        word & PHASE == ENDED && word & TAKEN == 0
    }
}
