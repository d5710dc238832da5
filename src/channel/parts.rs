//! What [`select!`](super::select!) is made of.

use super::Receiver;
use super::case::Case;
pub use super::case::{CancelledCase, RecvCase, SendCase};
pub use super::choice::Patience;
use super::choice::{self, Cases};
use crate::cancel::Cancelled;

/// A case without its types.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "for the macro")]
pub struct Erased<'a>(pub(super) &'a mut dyn Case);

impl Cases for [Erased<'_>] {
    fn len(&self) -> usize {
        <[_]>::len(self)
    }

    fn case(&mut self, index: usize) -> Option<&mut dyn Case> {
        Some(&mut *self[index].0)
    }
}

/// What the operand of a `recv` may be, behind any number of references and smart pointers.
///
/// A method, since that looks behind them, and since its argument may be of two kinds.
#[doc(hidden)]
pub trait Receives<T> {
    /// The case that receives from it.
    fn __recv_case(&self) -> RecvCase<'_, T>;
}

impl<T> Receives<T> for Receiver<T> {
    fn __recv_case(&self) -> RecvCase<'_, T> {
        RecvCase::new(Some(self))
    }
}

impl<T> Receives<T> for Option<&Receiver<T>> {
    fn __recv_case(&self) -> RecvCase<'_, T> {
        RecvCase::new(*self)
    }
}

impl<T> Receives<T> for Option<Receiver<T>> {
    fn __recv_case(&self) -> RecvCase<'_, T> {
        RecvCase::new(self.as_ref())
    }
}

/// Does one of the cases, which then has its output; false if the time ran out.
#[doc(hidden)]
#[track_caller]
pub fn select(cases: &mut [Erased<'_>], patience: Patience) -> Result<bool, Cancelled> {
    choice::run(cases, patience).map(|done| done.is_some())
}
