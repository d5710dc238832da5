//! Values of a thread that outlive its thread-locals.
//!
//! The destructor of a user's thread-local may run after the destructors of the crate's
//! thread-locals. It may block, open scopes and spawn like any other code, but a thread-local is
//! out of reach once its own destructor has run. A [`Late`] has no destructor, so it stays in reach
//! until the thread has gone. It holds memory only while it is used:
//!
//! 1. The first use makes the value. Uses inside of that use find the same value.
//! 2. The end of the outermost use drops the value if it is spent. It is not spent while a scope is
//!    entered, since a later use leaves that scope.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::rc::Rc;

/// A value of a thread that destroys its thread-locals. See the module.
pub(crate) struct Late<T>(ManuallyDrop<RefCell<Option<Rc<T>>>>);

impl<T> Late<T> {
    pub(crate) const fn new() -> Self {
        Late(ManuallyDrop::new(RefCell::new(None)))
    }

    /// Calls `f` with the value. `make` makes the value if there is none. It is dropped after the
    /// call if it `is_spent`.
    #[cold]
    pub(crate) fn with<R>(
        &self,
        make: fn() -> T,
        is_spent: fn(&T) -> bool,
        f: impl FnOnce(&T) -> R,
    ) -> R {
        struct Use<'a, T> {
            late: &'a Late<T>,
            value: Rc<T>,
            is_spent: fn(&T) -> bool,
        }
        impl<T> Drop for Use<'_, T> {
            fn drop(&mut self) {
                // Rule 2: with two references, this use's and the home's, it is the outermost. The
                // value is dropped after this function, so its destructor finds the home empty.
                if Rc::strong_count(&self.value) == 2 && (self.is_spent)(&self.value) {
                    self.late.0.take();
                }
            }
        }

        // Rule 1. The borrow ends before `f` runs, which may come back here.
        let value = self
            .0
            .borrow_mut()
            .get_or_insert_with(|| Rc::new(make()))
            .clone();

        // Its drop keeps rule 2, even where `f` panics.
        let used = Use {
            late: self,
            value,
            is_spent,
        };

        f(&used.value)
    }
}
