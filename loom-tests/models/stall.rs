//! Models of the watch over scopes that do not end.

use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::Bound::Exhaustive;
use super::Model;
use super::support::{must_see, saw};
use crate::stall::Schedule;

pub(super) const MODELS: &[Model] = &[
    holds!(
        stall_look_sees_who_asked,
        Exhaustive,
        Exhaustive,
        "a scope that stalls is seen by the look that was asked for, or asks the timer itself"
    ),
    breaks!(
        broken_stall_look_sees_too_little,
        "look-does-not-see-the-scopes-of-those-that-asked" in stall_look_sees_who_asked,
        Exhaustive,
        "no look comes",
        "a look takes over what was asked for, and not what came before it"
    ),
];

/// A look is asked for already when a scope is cancelled, and begins at the same time.
fn stall_look_sees_who_asked() {
    must_see(["the look sees the scope", "the scope asks the timer"]);
    let schedule = Arc::new(Schedule::new());
    let is_cancelled = Arc::new(AtomicBool::new(false));
    assert!(schedule.ask(1), "nothing was asked for before");

    let (theirs, cancelled) = (schedule.clone(), is_cancelled.clone());
    let canceller = thread::spawn(move || {
        // Relaxed, like the flag of a node: the exchange publishes it.
        cancelled.store(true, Ordering::Relaxed);
        theirs.ask(2)
    });

    schedule.begin();
    let is_seen = is_cancelled.load(Ordering::Relaxed);
    let tells_the_timer = canceller.join().unwrap();
    assert!(is_seen || tells_the_timer, "no look comes");
    if is_seen {
        saw("the look sees the scope");
    }
    if tells_the_timer {
        saw("the scope asks the timer");
    }
}
