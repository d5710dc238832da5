//! The item of a map that a task was at when it failed.

use std::cell::Cell;

use crate::facade::local;

local! {
    static FAILED_AT: Cell<Option<usize>> = Cell::new(None);
}

/// Calls `f`, which writes the index of each item to the cell before it begins with the item. If
/// `f` fails, [`take`] returns the last index.
///
/// The index is stored for `take` only after `f` and everything that it held have been dropped. So
/// no user code runs between that and the call of `take`: it could run a task of its own, which
/// could fail.
pub(crate) fn noted<T, E>(f: impl FnOnce(&Cell<Option<usize>>) -> Result<T, E>) -> Result<T, E> {
    struct Note(Cell<Option<usize>>);
    impl Drop for Note {
        fn drop(&mut self) {
            FAILED_AT.with(|failed_at| failed_at.set(self.0.get()));
        }
    }

    let note = Note(Cell::new(None));
    let value = f(&note.0)?;

    // No failure, so the index is not stored.
    std::mem::forget(note);
    Ok(value)
}

/// Takes the index of the item at which the task that has just failed on this thread failed.
pub(crate) fn take() -> Option<usize> {
    FAILED_AT.with(Cell::take)
}
