//! The state that the clones of a stream share: how their calls ended, and how they wait.

use std::io;

use super::first_look::FirstLook;
use crate::cancel::Cancelled;
use crate::error::{TaskError, broken_stream};
use crate::facade::{AtomicU32, Once, Ordering};
use crate::waiting::KnownPatience;

/// The state that all clones of a stream share.
//
// 1. `broken` is set when a cancel has cut a write after its first byte, and never taken back. From
//    then on no byte is sent: each attempt to send looks first. A write of another thread that is
//    in the middle ends there as well.
// 2. `kept` is the number of an error that ended a write after its first byte; 0 is none. The write
//    returned the number of its bytes, so the error belongs to the next call that meets the end of
//    the connection. The system gives such an error only once. It is returned once here too: it is
//    taken by a swap.
#[derive(Debug, Default)]
pub(super) struct StreamState {
    broken: Once<Cancelled>,
    kept: AtomicU32,
    known: KnownPatience,
    first_look: FirstLook,
}

impl StreamState {
    #[inline]
    pub(super) fn known(&self) -> &KnownPatience {
        &self.known
    }

    #[inline]
    pub(super) fn first_look(&self) -> &FirstLook {
        &self.first_look
    }

    /// Breaks the stream, if `error` is the cancel that cut a write.
    pub(super) fn break_if_cancel(&self, error: &io::Error) {
        if let Some(cancelled) = error.cancelled() {
            // A second one changes nothing: the first has cut the stream.
            let _ = self.broken.set(cancelled.clone());
        }
    }

    /// Fails if nothing may be sent because the stream is broken.
    #[inline]
    pub(super) fn check_sending(&self) -> io::Result<()> {
        // Two loads, since each send begins here. Relaxed: see `keep`.
        if self.broken.get().is_none() && self.kept.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }

        self.refuse_sending()
    }

    #[cold]
    fn refuse_sending(&self) -> io::Result<()> {
        // Invariant 1: each time, unlike an error that is kept.
        if let Some(cancelled) = self.broken.get() {
            return Err(broken_stream(cancelled));
        }

        match self.take_kept() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Keeps the error that ended a write after its first byte for the next call.
    pub(super) fn keep(&self, error: &io::Error) {
        if let Some(number) = error.raw_os_error() {
            // Relaxed: it is only a number, and no data depends on it.
            self.kept.store(number as u32, Ordering::Relaxed);
        }
    }

    /// Takes the error that an earlier write has left.
    pub(super) fn take_kept(&self) -> Option<io::Error> {
        // Invariant 2: of several threads, the swap gives the error to one, once.
        match self.kept.swap(0, Ordering::Relaxed) {
            0 => None,
            number => Some(io::Error::from_raw_os_error(number as i32)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CancelToken;

    fn a_cancel() -> io::Error {
        let token = CancelToken::new();
        token.cancel_because("enough");
        token.cancelled().expect("it is cancelled").into()
    }

    #[test]
    fn a_broken_stream_says_why_and_is_no_cancel() {
        let state = StreamState::default();
        assert!(state.check_sending().is_ok());

        state.break_if_cancel(&io::ErrorKind::WouldBlock.into());
        assert!(state.check_sending().is_ok(), "only a cancel breaks it");

        state.break_if_cancel(&a_cancel());
        for _ in 0..2 {
            let error = state.check_sending().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            assert!(error.to_string().contains("enough"), "{error}");
            assert!(error.cancelled().is_none());
        }
    }

    #[test]
    fn a_kept_error_is_returned_once() {
        let state = StreamState::default();
        let reset = || io::Error::from(rustix::io::Errno::CONNRESET);

        state.keep(&reset());
        let error = state.check_sending().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(state.check_sending().is_ok());

        state.keep(&reset());
        assert!(state.take_kept().is_some());
        assert!(state.take_kept().is_none());
    }
}
