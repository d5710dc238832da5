//! What is known of how long the calls on a descriptor may wait.

use std::io;

use crate::facade::{AtomicU32, Ordering};

/// Reads are known to wait without a limit.
pub(crate) const READS_WAIT: u32 = 1;
/// Writes are known to wait without a limit.
pub(crate) const WRITES_WAIT: u32 = 1 << 1;
/// Handles that this crate does not know of may change the options.
const SHARED: u32 = 1 << 2;
/// One change of the options. The bits from here on count them.
const CHANGE: u32 = 1 << 3;

/// Which calls on a descriptor are known to wait as long as it takes.
///
/// The options of a socket, which can make it nonblocking or limit its waits, belong to the system.
/// To ask for them at each wait costs two system calls. While only handles of this crate can change
/// them, the answer that there is no limit can be kept. A child of `fork` has a copy of its own, so
/// its parent does not see what it changes afterwards.
//
// Invariants:
//
// 1. `READS_WAIT` and `WRITES_WAIT` say what the system has answered, in the word that was there
//    before it was asked: the bit comes by a compare-exchange with that word, so it comes only if
//    no option was changed meanwhile. (The count of changes would have to come round, by 2^29
//    changes, during one question.)
// 2. A change of an option is counted after the system has made it, and takes both bits away. So an
//    answer from before the change is either taken away by it or refused by invariant 1.
// 3. `SHARED` is set before another handle can be made, and never taken away. No bit counts beside
//    it.
#[derive(Debug)]
pub(crate) struct KnownPatience(AtomicU32);

impl Default for KnownPatience {
    /// Nothing is known, and only handles of this crate change the options.
    fn default() -> Self {
        KnownPatience(AtomicU32::new(0))
    }
}

impl KnownPatience {
    /// Notes that a handle of this crate has changed an option.
    pub(crate) fn note_change(&self) {
        // Release pairs with the acquire in `waits_for_ever`: a thread that sees the count asks the
        // system after the change.
        //
        // fault: change-is-not-counted
        self.0.fetch_add(CHANGE, Ordering::Release);
        self.0
            .fetch_and(!(READS_WAIT | WRITES_WAIT), Ordering::Relaxed);
    }

    /// Notes that others may change the options from now on.
    #[inline]
    pub(crate) fn share(&self) {
        // Relaxed: the handle that others get carries it to them.
        if self.0.load(Ordering::Relaxed) & SHARED == 0 {
            self.0.fetch_or(SHARED, Ordering::Relaxed);
        }
    }

    /// Whether the calls that `bit` stands for are known to wait as long as it takes.
    #[inline]
    pub(crate) fn is_known(&self, bit: u32) -> bool {
        // Invariant 3. Relaxed: what a thread changed before is seen by itself, and by all that it
        // has told.
        self.0.load(Ordering::Relaxed) & (bit | SHARED) == bit
    }

    /// Whether the calls that `bit` stands for wait as long as it takes. Asks the system by `ask`
    /// if that is not known.
    pub(crate) fn waits_for_ever(
        &self,
        bit: u32,
        ask: impl FnOnce() -> io::Result<bool>,
    ) -> io::Result<bool> {
        // Before the system is asked. Acquire: see `note_change`.
        let before = self.0.load(Ordering::Acquire);
        if before & (bit | SHARED) == bit {
            return Ok(true);
        }

        let waits = ask()?;
        if waits && before & SHARED == 0 {
            // fault: answer-is-kept-after-a-change
            self.keep(before, bit);
        }
        Ok(waits)
    }

    /// Keeps an answer to a question that was asked when the word was `before`.
    fn keep(&self, before: u32, bit: u32) {
        // Invariant 1. A failure means a change, or the answer of another thread.
        let _ = self
            .0
            .compare_exchange(before, before | bit, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn asks(known: &KnownPatience, bit: u32, waits: bool) -> u32 {
        let mut asked = 0;
        for _ in 0..3 {
            let answer = known.waits_for_ever(bit, || {
                asked += 1;
                Ok(waits)
            });
            assert_eq!(answer.unwrap(), waits);
        }
        asked
    }

    #[test]
    fn the_system_is_asked_once_until_something_changes() {
        let known = KnownPatience::default();
        assert_eq!(asks(&known, READS_WAIT, true), 1);
        assert!(known.is_known(READS_WAIT) && !known.is_known(WRITES_WAIT));
        assert_eq!(asks(&known, WRITES_WAIT, true), 1);

        known.note_change();
        assert!(!known.is_known(READS_WAIT) && !known.is_known(WRITES_WAIT));
        assert_eq!(asks(&known, READS_WAIT, false), 3, "a limit is not kept");
        assert_eq!(asks(&known, READS_WAIT, true), 1);
    }

    #[test]
    fn of_a_shared_descriptor_nothing_is_known() {
        let known = KnownPatience::default();
        assert_eq!(asks(&known, READS_WAIT, true), 1);
        known.share();
        for _ in 0..2 {
            assert!(!known.is_known(READS_WAIT));
            assert_eq!(asks(&known, READS_WAIT, true), 3);
            known.note_change();
        }
    }

    #[test]
    fn an_error_of_the_question_is_returned_and_not_kept() {
        let known = KnownPatience::default();
        let failed = known.waits_for_ever(READS_WAIT, || Err(io::ErrorKind::Other.into()));
        assert!(failed.is_err());
        assert_eq!(asks(&known, READS_WAIT, true), 1);
    }
}
