//! The parts that [`select!`](super::select!) expands to.

use super::Receiver;
use super::case::Case;
pub use super::case::{CancelledCase, Erased, RecvCase, SendCase};
pub use super::choice::SelectPatience;
use super::choice::{self, Cases};
use crate::cancel::Cancelled;

impl Cases for [Erased<'_>] {
    fn len(&self) -> usize {
        <[_]>::len(self)
    }

    fn case(&mut self, index: usize) -> Option<&mut dyn Case> {
        Some(&mut *self[index].0)
    }
}

/// A type that can be the operand of a `recv`, behind any number of references and smart pointers.
///
/// A trait with a method, since a method call dereferences its receiver, and since a receiver and
/// an `Option` of one are different types.
#[doc(hidden)]
pub trait Receives<T> {
    /// Returns the case that receives from it.
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

/// Does one of the cases, which then has its output. Returns `false` if the time is over.
#[doc(hidden)]
#[track_caller]
pub fn select(cases: &mut [Erased<'_>], patience: SelectPatience) -> Result<bool, Cancelled> {
    choice::run(cases, patience).map(|done| done.is_some())
}
