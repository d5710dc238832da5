//! Dropping reports that hold reports, each after the one around it has gone: the stack that this
//! takes does not grow with the depth.

use std::any::Any;
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::panic::resume_unwind;
use std::thread;

use crate::facade::{Payload, catch, local};
use crate::panics::{discard, log};

/// What is still to be dropped; none while this thread is not dropping anything here.
type Pending = RefCell<Option<Vec<Box<dyn Any>>>>;

// It has no destructor, so that a destructor of a thread-local of the user's finds it too.
local! {
    static PENDING: ManuallyDrop<Pending> = ManuallyDrop::new(RefCell::new(None));
}

/// Drops each of `values`. Where the destructor of another value that was given to this function is
/// running on this thread, they are dropped when that has returned, before the outermost call
/// returns.
///
/// # Panics
///
/// With the first panic of a destructor, after all have run. The others are logged.
pub(super) fn dismantle<T: 'static>(mut values: Vec<T>) {
    let begins = PENDING.try_with(|pending| match &mut *pending.borrow_mut() {
        Some(pending) => {
            // The first is taken out first.
            pending.extend(
                values
                    .drain(..)
                    .rev()
                    .map(|value| Box::new(value) as Box<dyn Any>),
            );
            false
        }
        none => {
            *none = Some(Vec::new());
            true
        }
    });
    let mut panicked = None;
    // Each by itself: two panics of one drop end the process. Nothing is left of values that wait
    // for their turn. A thread of a model whose locals are gone drops them here.
    for value in values {
        drop_one(value, &mut panicked);
    }
    if begins.is_ok_and(|begins| begins) {
        let next = || PENDING.with(|pending| pending.borrow_mut().as_mut().and_then(Vec::pop));
        while let Some(value) = next() {
            drop_one(value, &mut panicked);
        }
        PENDING.with(|pending| pending.take());
    }
    panicked.into_iter().for_each(raise);
}

/// Drops `value`, and keeps the panic of its destructor if it is the first.
fn drop_one(value: impl Sized, panicked: &mut Option<Payload>) {
    match catch(|| drop(value)) {
        Err(payload) if panicked.is_some() => discard_logged(payload),
        Err(payload) => *panicked = Some(payload),
        Ok(()) => {}
    }
}

/// Goes on with a panic, unless one is unwinding the thread already: two end the process.
fn raise(payload: Payload) {
    if thread::panicking() {
        discard_logged(payload);
    } else {
        resume_unwind(payload);
    }
}

fn discard_logged(payload: Payload) {
    log(|| tracing::error!("the destructor of an error panicked, and another panic hides it"));
    discard(payload);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};
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
                dismantle(vec![below]);
            }
            self.dropped.set(self.dropped.get() + 1);
            assert!(!self.panics, "level {}", self.dropped.get());
        }
    }

    fn levels(n: u32, panics: impl Fn(u32) -> bool) -> (Option<Box<Level>>, Rc<Cell<u32>>) {
        let dropped = Rc::new(Cell::new(0));
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
