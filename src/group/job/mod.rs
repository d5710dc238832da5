//! A job: a closure that runs at most once, and its result.
//!
//! # Invariants
//!
//! 1. Until the end, only the holder of the [`Claim`] touches the content: it takes the closure out
//!    and puts the result in. One thread gets the claim: the thread that moves the phase from
//!    `QUEUED` to `RUNNING`.
//! 2. The holder of the claim writes the result before the phase becomes `ENDED`. After that, only
//!    the thread that sets `TAKEN` first touches the content.

mod word;

use std::fmt;
use std::mem;

use crate::facade::{Cell, Track};

pub(crate) use word::{Claim, Claimed, HandleAtEnd, JobWord};

/// A closure to run once, and its result.
///
/// # Memory ordering
///
/// Everything before the job was queued happens before the closure runs: through the lock of the
/// queue, or through the handle. The closure happens before every load that sees the phase `ENDED`.
///
/// # Safety
///
/// By the invariants of this module, one thread at a time has access to the cell. The word has one
/// modification order, so exactly one exchange moves the phase from `QUEUED`, and exactly one
/// `fetch_or` sets `TAKEN` first. The end is a release and the taker acquires it. The closure and
/// the result move to other threads, so both must be `Send`. Threads share neither by reference, so
/// neither has to be `Sync`.
pub(crate) struct Job<F, T> {
    word: JobWord,
    content: Cell<Content<F, T>>,
    _leaks: Track,
}

/// The closure or the result, which are never there at once: a job is as small as the larger of the
/// two.
enum Content<F, T> {
    Closure(F),
    Result(T),
    Neither,
}

impl<F, T> Content<F, T> {
    #[inline]
    fn take(&mut self) -> Self {
        mem::replace(self, Content::Neither)
    }
}

// SAFETY: see the type; the cell moves from thread to thread and is never shared.
unsafe impl<F: Send, T: Send> Send for Job<F, T> {}
// SAFETY: like `Send`.
unsafe impl<F: Send, T: Send> Sync for Job<F, T> {}

impl<F, T> Job<F, T> {
    pub(crate) fn new(closure: F) -> Self {
        Job {
            word: JobWord::new(),
            content: Cell::new(Content::Closure(closure)),
            _leaks: Track::new(),
        }
    }

    /// Returns the part of the job that depends on neither the closure nor the result.
    #[inline]
    pub(crate) fn word(&self) -> &JobWord {
        &self.word
    }

    /// Takes the closure out.
    #[inline]
    pub(crate) fn closure(&self, _claim: &Claim) -> Option<F> {
        // SAFETY: the claim is the right to the content (invariant 1).
        let content = self
            .content
            .with_mut(|content| unsafe { (*content).take() });

        match content {
            Content::Closure(closure) => Some(closure),
            Content::Result(_) | Content::Neither => None,
        }
    }

    /// Stores the result.
    #[inline]
    pub(crate) fn store(&self, _claim: &Claim, value: T) {
        // SAFETY: until the end, the content belongs to the holder of the claim (invariant 1).
        self.content
            .with_mut(|content| unsafe { *content = Content::Result(value) });
    }

    /// Takes the result: the first call after the end gets it.
    pub(crate) fn take(&self) -> Option<T> {
        if !self.word.take_result() {
            return None;
        }

        // SAFETY: the job has ended and this call set `TAKEN` first (invariant 2).
        let content = self
            .content
            .with_mut(|content| unsafe { (*content).take() });
        match content {
            Content::Result(value) => Some(value),
            Content::Closure(_) | Content::Neither => None,
        }
    }
}

impl<F, T> fmt::Debug for Job<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("status", &self.word.status())
            .finish_non_exhaustive()
    }
}
