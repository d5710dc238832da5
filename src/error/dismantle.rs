//! Dropping reports that hold reports, each after the one around it has gone: the stack that this takes does not grow with
//! the depth.

use std::any::Any;
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::panic::resume_unwind;
use std::thread;

use super::panic::discard;
use crate::facade::{catch, local};

/// What is still to be dropped; none while this thread is not dropping anything here.
type Pending = RefCell<Option<Vec<Box<dyn Any>>>>;

// It has no destructor, so that a destructor of a thread-local of the user's finds it too.
local! {
    static PENDING: ManuallyDrop<Pending> = ManuallyDrop::new(RefCell::new(None));
}

/// Drops `value`. Where the destructor of another value that was given to this function is running on this thread, it is
/// dropped when that has returned, before the outermost call returns.
///
/// # Panics
///
/// With the first panic of a destructor, after all have run. The others are logged.
pub(super) fn dismantle<T: 'static>(value: T) {
    let mut value = Some(value);
    let begins = PENDING.try_with(|pending| match &mut *pending.borrow_mut() {
        Some(pending) => {
            pending.extend(value.take().map(|value| Box::new(value) as Box<dyn Any>));
            false
        }
        none => {
            *none = Some(Vec::new());
            true
        }
    });
    // Nothing is left of a value that waits for its turn. A thread of a model whose locals are gone drops it here.
    let mut panicked = catch(|| drop(value)).err();
    if !begins.is_ok_and(|begins| begins) {
        return panicked.into_iter().for_each(raise);
    }
    let next = || PENDING.with(|pending| pending.borrow_mut().as_mut().and_then(Vec::pop));
    while let Some(value) = next() {
        if let Err(payload) = catch(|| drop(value)) {
            if panicked.is_some() {
                discard_logged(payload);
            } else {
                panicked = Some(payload);
            }
        }
    }
    PENDING.with(|pending| pending.take());
    panicked.into_iter().for_each(raise);
}

/// Goes on with a panic, unless one is unwinding the thread already: two end the process.
fn raise(payload: Box<dyn Any + Send>) {
    if thread::panicking() {
        discard_logged(payload);
    } else {
        resume_unwind(payload);
    }
}

fn discard_logged(payload: Box<dyn Any + Send>) {
    tracing::error!("the destructor of an error panicked, and another panic hides it");
    discard(payload);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;
    use std::panic::{catch_unwind, AssertUnwindSafe};
    use std::rc::Rc;

    use super::*;

    /// Counts its drops, gives what is below to `dismantle`, and may panic.
    struct Level {
        below: Option<Box<Level>>,
        dropped: Rc<Cell<u32>>,
        panics: bool,
    }

    impl Drop for Level {
        fn drop(&mut self) {
            if let Some(below) = self.below.take() {
                dismantle(below);
            }
            self.dropped.set(self.dropped.get() + 1);
            assert!(!self.panics, "level {}", self.dropped.get());
        }
    }

    fn levels(n: u32, panics: impl Fn(u32) -> bool) -> (Option<Box<Level>>, Rc<Cell<u32>>) {
        let dropped = Rc::new(Cell::new(0));
        let top = (1..=n)
            .rev()
            .fold(None, |below, level| Some(Box::new(Level { below, dropped: dropped.clone(), panics: panics(level) })));
        (top, dropped)
    }

    #[test]
    fn a_million_levels_are_dropped_before_it_returns() {
        let (top, dropped) = levels(1_000_000, |_| false);
        dismantle(top);
        assert_eq!(dropped.get(), 1_000_000);
    }

    #[test]
    fn a_destructor_that_panics_stops_no_other() {
        let (top, dropped) = levels(5, |level| level == 1 || level == 4);
        let panicked = catch_unwind(AssertUnwindSafe(|| dismantle(top))).unwrap_err();
        assert_eq!(dropped.get(), 5);
        assert_eq!(panicked.downcast_ref::<String>().map(String::as_str), Some("level 1"));
        let (top, dropped) = levels(3, |_| false);
        dismantle(top);
        assert_eq!(dropped.get(), 3, "what comes later is not kept");
    }
}
