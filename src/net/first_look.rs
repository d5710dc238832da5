//! Whether a read looks for data before it waits.

use std::io;

use crate::facade::{AtomicU32, Ordering};

/// After so many reads in a row that found nothing, a read waits without a look.
const IN_A_ROW: u32 = 2;
/// Every so many reads one looks again.
const PERIOD: u32 = 16;

/// Guesses whether the first look of a read will find nothing.
///
/// A read that looks and finds nothing has cost a system call. On a connection that waits for each
/// request this happens at each read. On one that is behind with reading it never happens, and a
/// wait would be the call too many.
///
/// Only a guess: threads that read the same stream may overwrite each other's counts, and a wrong
/// one costs a system call.
#[derive(Debug, Default)]
pub(super) struct FirstLook(
    /// The number of reads in a row that found nothing at their first look, up to `IN_A_ROW`; from
    /// there on also those that did not look.
    AtomicU32,
);

impl FirstLook {
    /// Whether the next read is to wait without a look. The caller calls this once for each read.
    #[inline]
    pub(super) fn is_left_out(&self) -> bool {
        let count = self.0.load(Ordering::Relaxed);
        if count < IN_A_ROW {
            return false;
        }

        let looks = count + 1 == IN_A_ROW + PERIOD;
        let next = if looks { IN_A_ROW - 1 } else { count + 1 };
        self.0.store(next, Ordering::Relaxed);
        !looks
    }

    /// Notes what a read found at its first look.
    #[inline]
    pub(super) fn note(&self, found: &io::Result<usize>) {
        let count = self.0.load(Ordering::Relaxed);
        let next = match found {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (count + 1).min(IN_A_ROW),
            _ => 0,
        };

        // No store where nothing changes: the reads of a stream that is behind stay cheap.
        if next != count {
            self.0.store(next, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(history: &FirstLook, found: io::Result<usize>) -> bool {
        if history.is_left_out() {
            return false;
        }
        history.note(&found);
        true
    }

    fn nothing() -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    #[test]
    fn a_stream_that_waits_for_each_request_is_looked_at_now_and_then() {
        let history = FirstLook::default();
        let looked: Vec<_> = (0..40).map(|_| looks(&history, nothing())).collect();
        let at: Vec<_> = (0..40).filter(|read| looked[*read]).collect();
        assert_eq!(at, [0, 1, 17, 33]);
    }

    #[test]
    fn a_stream_that_has_data_is_looked_at_each_time_again() {
        let history = FirstLook::default();
        for _ in 0..2 {
            assert!(looks(&history, nothing()));
        }
        let left_out = (0..40).take_while(|_| !looks(&history, Ok(1))).count();
        assert_eq!(left_out, PERIOD as usize - 1);
        assert!((0..40).all(|_| looks(&history, Ok(1))));
    }

    #[test]
    fn a_stream_of_two_reads_for_each_request_is_looked_at_each_time() {
        let history = FirstLook::default();
        assert!((0..40).all(|_| looks(&history, nothing()) && looks(&history, Ok(1))));
    }
}
