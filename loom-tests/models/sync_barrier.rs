//! Models of barriers: the last thread against cancels and resets.

use std::sync::Arc;

use loom::thread;

use super::Bound::Preemptions;
use super::support::until_waiting;
use super::{Model, Watched};
use crate::CancelToken;
use crate::sync::{Barrier, BarrierError};

pub(super) const MODELS: &[Model] = &[
    holds!(
        sync_barrier_breaks_while_it_completes,
        Preemptions(3),
        Preemptions(4),
        "all threads pass a barrier or none does"
    ),
    breaks!(
        broken_sync_barrier_cancel_beats_grant,
        "cancel-beats-the-grant" in sync_barrier_breaks_while_it_completes,
        Preemptions(3),
        "one passed alone",
        "a cancelled waiter that does not check for its grant fails while the others pass"
    ),
    holds!(
        sync_barrier_cancel_lets_the_others_go,
        Preemptions(3),
        Preemptions(4),
        "a thread that waits at a barrier continues if another is cancelled there"
    ),
    holds!(
        sync_barrier_break_reaches_a_late_thread,
        Preemptions(3),
        Preemptions(4),
        "a thread that comes to a barrier while it breaks is refused or woken, and does not \
             wait for a thread that has left"
    ),
    breaks!(
        broken_sync_barrier_forgets_its_break,
        "barrier-forgets-its-break" in sync_barrier_break_reaches_a_late_thread,
        Preemptions(3),
        "deadlock",
        "a barrier that does not stay broken makes later threads wait for ever"
    ),
    holds!(
        sync_barrier_last_wakes_the_others,
        Preemptions(3),
        Preemptions(4),
        "all threads come to a barrier before one continues, and the work of each happens \
             before that"
    ),
    holds!(
        sync_barrier_reset_lets_go,
        Preemptions(3),
        Preemptions(4),
        "a thread that waits at a barrier continues when the barrier is reset"
    ),
];

fn sync_barrier_breaks_while_it_completes() {
    let barrier = Arc::new(Barrier::new(2));
    let (token, alone) = (CancelToken::new(), CancelToken::new());
    let cancelled = thread::spawn({
        let (barrier, token, alone) = (barrier.clone(), token.clone(), alone.clone());
        move || {
            let passed = token.run(|| barrier.wait());
            if passed.is_err() && !barrier.is_broken() {
                // It never waited, so no thread may wait for it.
                alone.cancel();
            }
            passed
        }
    });
    let canceller = thread::spawn(move || {
        token.cancel();
    });
    let other = alone.run(|| barrier.wait());
    canceller.join().unwrap();
    match (cancelled.join().unwrap(), other) {
        (Ok(a), Ok(b)) => assert!(a != b, "exactly one thread came last"),
        (Err(BarrierError::Cancelled(_)), Err(_)) => {}
        ends => panic!("one passed alone: {ends:?}"),
    }
}

fn sync_barrier_cancel_lets_the_others_go() {
    let barrier = Arc::new(Barrier::new(3));
    let (token, alone) = (CancelToken::new(), CancelToken::new());
    let cancelled = thread::spawn({
        let (barrier, token, alone) = (barrier.clone(), token.clone(), alone.clone());
        move || {
            assert!(
                token.run(|| barrier.wait()).is_err(),
                "the third never comes"
            );
            if !barrier.is_broken() {
                // It never waited, so no thread may wait for it.
                alone.cancel();
            }
        }
    });
    let canceller = thread::spawn(move || {
        token.cancel();
    });
    assert!(
        alone.run(|| barrier.wait()).is_err(),
        "the third never comes"
    );
    canceller.join().unwrap();
    cancelled.join().unwrap();
}

fn sync_barrier_break_reaches_a_late_thread() {
    let barrier = Arc::new(Barrier::new(3));
    let token = CancelToken::new();
    let cancelled = thread::spawn({
        let (barrier, token) = (barrier.clone(), token.clone());
        move || token.run(|| barrier.wait())
    });
    until_waiting(&*barrier, 1);
    let late = thread::spawn({
        let barrier = barrier.clone();
        move || barrier.wait()
    });
    token.cancel();
    assert!(matches!(
        cancelled.join().unwrap(),
        Err(BarrierError::Cancelled(_))
    ));
    assert!(matches!(late.join().unwrap(), Err(BarrierError::Broken(_))));
}

fn sync_barrier_last_wakes_the_others() {
    let shared = Arc::new((Barrier::new(2), Watched::new(), Watched::new()));
    let other = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.1.write();
            let last = shared.0.wait().unwrap();
            shared.2.read();
            last
        }
    });
    shared.2.write();
    let last = shared.0.wait().unwrap();
    shared.1.read();
    assert!(
        other.join().unwrap() != last,
        "exactly one thread came last"
    );
}

fn sync_barrier_reset_lets_go() {
    let barrier = Arc::new(Barrier::new(2));
    let waiter = thread::spawn({
        let barrier = barrier.clone();
        move || barrier.wait()
    });
    until_waiting(&*barrier, 1);
    barrier.reset();
    assert!(matches!(
        waiter.join().unwrap(),
        Err(BarrierError::Broken(_))
    ));
}
