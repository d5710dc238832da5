//! Dropping nested reports without recursion.
//!
//! A report may hold reports, to any depth. Each is dropped after the one around it has gone, so
//! the stack that this takes does not grow with the depth.

use std::any::Any;
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::panic::resume_unwind;
use std::thread;

use crate::facade::{Payload, catch, error_event, local};
use crate::panics::{discard, log};

/// The values that are still to be dropped. `None` while this thread drops nothing here.
type Pending = RefCell<Option<Vec<Box<dyn Any>>>>;

// It has no destructor, so a destructor of a user's thread-local still finds it.
local! {
    static PENDING: ManuallyDrop<Pending> = ManuallyDrop::new(RefCell::new(None));
}

/// Drops each of `values`.
///
/// Inside of a destructor that this function runs, the values are only noted. They are dropped when
/// that destructor has returned, before the outermost call returns.
///
/// # Panics
///
/// Raises the first panic of a destructor, after all destructors have run. The others are logged.
pub(super) fn dismantle<T: 'static>(mut values: Vec<T>) {
    // Only the outermost call on this thread drops its argument. A call inside of a destructor
    // would take more stack for each level.
    let begins = PENDING.try_with(|pending| match &mut *pending.borrow_mut() {
        Some(pending) => {
            // Reversed, since `pop` takes from the end.
            pending.extend(
                values
                    .drain(..)
                    .rev()
                    .map(|value| Box::new(value) as Box<dyn Any>),
            );
            false
        }
        none => {
            // From here on, calls inside of the destructors find the list and add to it.
            *none = Some(Vec::new());
            true
        }
    });

    // One at a time: two panics of one drop end the process. Values that were noted are no longer
    // here. A thread of a model drops its values here once its thread-locals are gone.
    let mut panicked = None;
    for value in values {
        drop_one(value, &mut panicked);
    }

    // The outermost call drops what the destructors have noted.
    if begins.is_ok_and(|begins| begins) {
        // The borrow ends before a value is dropped: its destructor may borrow the list again.
        let next = || PENDING.with(|pending| pending.borrow_mut().as_mut().and_then(Vec::pop));
        while let Some(value) = next() {
            drop_one(value, &mut panicked);
        }

        PENDING.with(|pending| pending.take());
    }

    // Last, since a panic raised earlier would skip the destructors that are still to run.
    panicked.into_iter().for_each(raise);
}

/// Drops `value`, and keeps the panic of its destructor if that is the first.
fn drop_one(value: impl Sized, panicked: &mut Option<Payload>) {
    match catch(|| drop(value)) {
        Err(payload) if panicked.is_some() => discard_logged(payload),
        Err(payload) => *panicked = Some(payload),
        Ok(()) => {}
    }
}

/// Raises a panic again, unless one is unwinding the thread already: two end the process.
fn raise(payload: Payload) {
    if thread::panicking() {
        discard_logged(payload);
    } else {
        resume_unwind(payload);
    }
}

fn discard_logged(payload: Payload) {
    log(|| error_event!("the destructor of an error panicked, and another panic hides it"));
    discard(payload);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;

    use super::*;

    /// Counts its drops, gives the level below to `dismantle`, and may panic.
    struct Level {
        below: Option<Box<Level>>,
        dropped: Rc<Cell<u32>>,
        panics: bool,
    }

    impl Drop for Level {
        fn drop(&mut self) {
            if let Some(below) = self.below.take() {
                dismantle(vec![below]);
            }
            self.dropped.set(self.dropped.get() + 1);
            assert!(!self.panics, "level {}", self.dropped.get());
        }
    }

    fn levels(n: u32, panics: impl Fn(u32) -> bool) -> (Option<Box<Level>>, Rc<Cell<u32>>) {
        let dropped = Rc::new(Cell::new(0));

        // Made from the innermost outwards, since each holds the one below.
        let top = (1..=n).rev().fold(None, |below, level| {
            Some(Box::new(Level {
                below,
                dropped: dropped.clone(),
                panics: panics(level),
            }))
        });
        (top, dropped)
    }

    #[test]
    fn a_million_levels_are_dropped_before_it_returns() {
        let (top, dropped) = levels(1_000_000, |_| false);
        dismantle(Vec::from_iter(top));
        assert_eq!(dropped.get(), 1_000_000);
    }

    #[test]
    fn a_destructor_that_panics_stops_no_other() {
        let (top, dropped) = levels(5, |level| level == 1 || level == 4);
        let panicked =
            catch_unwind(AssertUnwindSafe(|| dismantle(Vec::from_iter(top)))).unwrap_err();

        assert_eq!(dropped.get(), 5);
        assert_eq!(
            panicked.downcast_ref::<String>().map(String::as_str),
            Some("level 1")
        );

        // The list is gone from the thread, so this call is an outermost one.
        let (top, dropped) = levels(3, |_| false);
        dismantle(Vec::from_iter(top));
        assert_eq!(dropped.get(), 3, "what comes later is not kept");
    }

    #[test]
    fn of_values_that_are_given_together_each_is_dropped() {
        let (tops, counts): (Vec<_>, Vec<_>) = (0..4).map(|_| levels(2, |_| true)).unzip();
        let panicked = catch_unwind(AssertUnwindSafe(|| dismantle(tops))).unwrap_err();

        assert!(
            counts.iter().all(|dropped| dropped.get() == 2),
            "{counts:?}"
        );
        assert_eq!(
            panicked.downcast_ref::<String>().map(String::as_str),
            Some("level 1")
        );
    }
}
