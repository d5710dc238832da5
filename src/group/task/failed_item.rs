//! Which item of a map a task was at when it failed.

use std::cell::Cell;

use crate::facade::local;

local! {
    static FAILED_AT: Cell<Option<usize>> = Cell::new(None);
}

/// Calls `f`, which writes down the index of each item before it begins that; if it fails,
/// [`take`] has the last.
///
/// The index is passed on when `f` and all that it held have been dropped: no code of the user's,
/// which might fail in a task of its own, comes between that and the task's look at it.
pub(crate) fn noted<T, E>(f: impl FnOnce(&Cell<Option<usize>>) -> Result<T, E>) -> Result<T, E> {
    struct Note(Cell<Option<usize>>);
    impl Drop for Note {
        fn drop(&mut self) {
            FAILED_AT.with(|failed_at| failed_at.set(self.0.get()));
        }
    }
    let note = Note(Cell::new(None));
    let value = f(&note.0)?;
    std::mem::forget(note);
    Ok(value)
}

/// The item at which the task that has just failed on this thread did so, for the first who asks.
pub(crate) fn take() -> Option<usize> {
    FAILED_AT.with(Cell::take)
}
