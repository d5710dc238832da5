//! Values of a thread that outlive its thread-locals.
//!
//! The destructor of a thread-local of the user's may run after those of the crate's. It may block,
//! open scopes and spawn like any other code, but a thread-local whose own destructor has run is
//! out of reach. A [`Late`] has no destructor, so it stays in reach until the thread has gone. It
//! holds memory only while it is used:
//!
//! 1. The first use makes the value. Uses inside of that use find the same one.
//! 2. The end of the last use drops the value, unless it is not spent: a scope that is entered is
//!    left by another use.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::rc::Rc;

/// A value of a thread whose destructors of thread-locals run; see the module.
pub(crate) struct Late<T>(ManuallyDrop<RefCell<Option<Rc<T>>>>);

impl<T> Late<T> {
    pub(crate) const fn new() -> Self {
        Late(ManuallyDrop::new(RefCell::new(None)))
    }

    /// `f` with the value, which `make` makes if there is none, and which is dropped after it if it
    /// `is_spent`.
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
                // Rule 2. One count is this use's, the other that of the home. The value itself is
                // dropped after this, when its destructor finds the home empty.
                if Rc::strong_count(&self.value) == 2 && (self.is_spent)(&self.value) {
                    self.late.0.take();
                }
            }
        }

        let value = self
            .0
            .borrow_mut()
            .get_or_insert_with(|| Rc::new(make()))
            .clone();
        let used = Use {
            late: self,
            value,
            is_spent,
        };
        f(&used.value)
    }
}
