//! Models of condition variables: notifications against cancels.

use std::sync::Arc;

use loom::thread;

use super::Bound::{Exhaustive, Preemptions};
use super::Model;
use super::support::{must_see, saw};
use crate::CancelToken;
use crate::sync::{Condvar, Mutex};

pub(super) const MODELS: &[Model] = &[
    holds!(
        sync_condvar_notify_between_predicate_and_wait,
        Exhaustive,
        Exhaustive,
        "a notification between the check of the condition and the wait is not lost"
    ),
    breaks!(
        broken_sync_condvar_enters_after_unlock,
        "condvar-enters-after-the-unlock" in sync_condvar_notify_between_predicate_and_wait,
        Preemptions(3),
        "deadlock",
        "a waiter that unlocks before it is in the queue misses the notification"
    ),
    holds!(
        sync_condvar_cancel_against_notify,
        Preemptions(2),
        Preemptions(3),
        "a notification for a cancelled waiter is received by it or by the next"
    ),
    breaks!(
        broken_sync_condvar_cancel_eats_notification,
        "cancel-beats-the-grant" in sync_condvar_cancel_against_notify,
        Preemptions(2),
        "deadlock",
        "a cancelled waiter that does not check for its notification loses it"
    ),
    holds!(
        sync_condvar_cancelled_waiter_is_not_notified,
        Preemptions(2),
        Preemptions(3),
        "a notification that comes after a waiter was cancelled is received by another waiter"
    ),
    breaks!(
        broken_sync_condvar_cancelled_waiter_stays,
        "cancelled-waiter-stays" in sync_condvar_cancelled_waiter_is_not_notified,
        Preemptions(2),
        "deadlock",
        "a cancelled waiter that stays in the queue takes a notification that no thread sees"
    ),
    holds!(
        sync_condvar_answer_against_cancel,
        Preemptions(3),
        Preemptions(4),
        "a notification that reports a woken thread was received, although that thread was \
             being cancelled"
    ),
    breaks!(
        broken_sync_condvar_answer_before_cancel,
        "cancel-beats-the-grant" in sync_condvar_answer_against_cancel,
        Preemptions(3),
        "the answer is wrong",
        "a cancelled waiter that does not check for its notification makes the answer of \
         notify wrong"
    ),
];

fn sync_condvar_notify_between_predicate_and_wait() {
    let shared = Arc::new((Mutex::new(false), Condvar::new()));
    let waiter = thread::spawn({
        let shared = shared.clone();
        move || {
            let mut open = shared.0.lock().unwrap();
            shared.1.wait_while(&mut open, |open| !*open).unwrap();
        }
    });
    *shared.0.lock().unwrap() = true;
    shared.1.notify_one();
    waiter.join().unwrap();
}

/// Sends one notification to two waiters, one of which is cancelled. The notified thread takes care
/// of the other.
fn sync_condvar_cancel_against_notify() {
    struct Jobs {
        open: bool,
    }
    fn take(shared: &(Mutex<Jobs>, Condvar)) -> Result<(), crate::Cancelled> {
        let mut jobs = shared.0.lock()?;
        while !jobs.open {
            shared.1.wait(&mut jobs)?;
        }
        drop(jobs);
        shared.1.notify_one();
        Ok(())
    }
    let shared = Arc::new((Mutex::new(Jobs { open: false }), Condvar::new()));
    let token = CancelToken::new();
    let cancelled = thread::spawn({
        let (shared, token) = (shared.clone(), token.clone());
        move || drop(token.run(|| take(&shared)))
    });
    let other = thread::spawn({
        let shared = shared.clone();
        move || take(&shared).unwrap()
    });
    shared.0.lock().unwrap().open = true;
    shared.1.notify_one();
    token.cancel();
    cancelled.join().unwrap();
    other.join().unwrap();
}

fn sync_condvar_cancelled_waiter_is_not_notified() {
    let shared = Arc::new((Mutex::new(false), Condvar::new()));
    let token = CancelToken::new();
    let wait = |shared: &(Mutex<bool>, Condvar)| {
        let mut open = shared.0.lock()?;
        shared.1.wait_while(&mut open, |open| !*open)
    };
    let cancelled = thread::spawn({
        let (shared, token) = (shared.clone(), token.clone());
        move || assert!(token.run(|| wait(&shared)).is_err(), "it was not opened")
    });
    let other = thread::spawn({
        let shared = shared.clone();
        move || wait(&shared).unwrap()
    });
    token.cancel();
    cancelled.join().unwrap();
    *shared.0.lock().unwrap() = true;
    shared.1.notify_one();
    other.join().unwrap();
}

fn sync_condvar_answer_against_cancel() {
    must_see(["a thread was woken", "no thread waited"]);
    let shared = Arc::new((Mutex::new(()), Condvar::new()));
    let token = CancelToken::new();
    let waiter = thread::spawn({
        let (shared, token) = (shared.clone(), token.clone());
        move || token.run(|| shared.1.wait(&mut shared.0.lock()?)).is_ok()
    });
    let canceller = thread::spawn(move || {
        token.cancel();
    });
    let woke = shared.1.notify_one();
    saw(if woke {
        "a thread was woken"
    } else {
        "no thread waited"
    });
    canceller.join().unwrap();
    assert_eq!(waiter.join().unwrap(), woke, "the answer is wrong");
}
