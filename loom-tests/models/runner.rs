//! Models of nothing but loom itself: what the runner must count, and the failures it must see.

use std::sync::Arc;

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::Bound::Exhaustive;
use super::{Model, Watched};

pub(super) const MODELS: &[Model] = &[
    holds!(
        runner_counts_executions,
        Exhaustive,
        Exhaustive,
        "a store beside a load is explored in more than one execution"
    ),
    holds!(
        runner_sees_order,
        Exhaustive,
        Exhaustive,
        "memory written before a release is read after the acquire that sees it"
    ),
    breaks!(
        broken_runner_deadlock_is_found,
        Exhaustive,
        "deadlock",
        "two locks taken in opposite orders are found"
    ),
    breaks!(
        broken_runner_race_is_found,
        Exhaustive,
        "Causality violation",
        "memory handed over without an edge is found"
    ),
    breaks!(
        broken_runner_assertion_is_found,
        Exhaustive,
        "an increment was lost",
        "an update that is not atomic is found"
    ),
    breaks!(
        broken_runner_swallowed_panic_is_found,
        Exhaustive,
        "a panic was swallowed",
        "a failure that the model catches is found"
    ),
];

fn runner_counts_executions() {
    let word = Arc::new(AtomicUsize::new(0));
    let other = thread::spawn({
        let word = word.clone();
        move || word.store(1, Ordering::Relaxed)
    });
    assert!(word.load(Ordering::Relaxed) <= 1);
    other.join().unwrap();
}

/// One thread writes and raises a flag with `raise`; the other reads once it has seen the flag.
fn hand_over(raise: Ordering) {
    let shared = Arc::new((Watched::new(), AtomicUsize::new(0)));
    let writer = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.0.write();
            shared.1.store(1, raise);
        }
    });
    if shared.1.load(Ordering::Acquire) == 1 {
        shared.0.read();
    }
    writer.join().unwrap();
}

fn runner_sees_order() {
    hand_over(Ordering::Release);
}

fn broken_runner_race_is_found() {
    hand_over(Ordering::Relaxed);
}

fn broken_runner_deadlock_is_found() {
    let locks = Arc::new((Mutex::new(()), Mutex::new(())));
    let other = thread::spawn({
        let locks = locks.clone();
        move || {
            let _first = locks.0.lock().unwrap();
            let _second = locks.1.lock().unwrap();
        }
    });
    {
        let _second = locks.1.lock().unwrap();
        let _first = locks.0.lock().unwrap();
    }
    other.join().unwrap();
}

fn broken_runner_assertion_is_found() {
    let word = Arc::new(AtomicUsize::new(0));
    let increment =
        |word: &AtomicUsize| word.store(word.load(Ordering::Acquire) + 1, Ordering::Release);
    let other = thread::spawn({
        let word = word.clone();
        move || increment(&word)
    });
    increment(&word);
    other.join().unwrap();
    assert_eq!(word.load(Ordering::Acquire), 2, "an increment was lost");
}

fn broken_runner_swallowed_panic_is_found() {
    let failure = std::panic::catch_unwind(|| panic!("no lock is free"));
    assert!(failure.is_err());
}
