//! Models of the blocking primitives: grants against cancels, wakes that must not be lost, and the
//! happens-before edges that the docs promise.

use std::sync::Arc;

use loom::thread;

use super::Bound::{Exhaustive, Preemptions};
use super::support::{Note, apart, must_see, saw};
use super::{Model, Watched};
use crate::sync::{Event, Latch, OnceCell, Promise, WaitGroup};
use crate::{CancelToken, TaskGroup};

pub(super) const MODELS: &[Model] = &[
    holds!(
        sync_wait_group_last_drop_against_wait,
        Preemptions(3),
        Preemptions(4),
        "the last drop wakes a waiter, and the work before each drop happens before its return"
    ),
    breaks!(
        broken_sync_wait_group_enters_late,
        "wait-group-enters-after-it-leaves" in sync_wait_group_last_drop_against_wait,
        Preemptions(3),
        "deadlock",
        "a waiter that gives up its reference before it is in the queue misses the last drop"
    ),
    holds!(
        sync_wait_group_waits_meet,
        Preemptions(3),
        Preemptions(4),
        "two references that wait for each other both continue, and the work of each before \
             its wait happens before that"
    ),
    breaks!(
        broken_sync_wait_group_waits_miss,
        "wait-group-enters-after-it-leaves" in sync_wait_group_waits_meet,
        Preemptions(3),
        "deadlock",
        "of two waits for each other, the one not in the queue when the other continues waits \
         for ever"
    ),
    holds!(
        sync_wait_group_is_not_done_by_a_failure,
        Preemptions(2),
        Preemptions(3),
        "a wait for a task that fails, and was given its reference, returns the cancel"
    ),
    breaks!(
        broken_sync_wait_group_is_done_by_a_failure,
        "wait-group-believes-the-drops" in sync_wait_group_is_not_done_by_a_failure,
        Preemptions(2),
        "the work was taken for done",
        "a wait that looks only at the references takes the drop by a failed task for its end"
    ),
    holds!(
        sync_wait_group_last_drop_against_cancel,
        Preemptions(2),
        Preemptions(4),
        "a wait that is cancelled while the last reference is dropped has no effect, or \
             succeeds"
    ),
    breaks!(
        broken_sync_wait_group_cancel_beats_grant,
        "cancel-beats-the-grant" in sync_wait_group_last_drop_against_cancel,
        Preemptions(2),
        "the wait had an effect",
        "a cancelled waiter that does not look for its grant does not count again"
    ),
    holds!(
        sync_event_set_against_wait,
        Exhaustive,
        Exhaustive,
        "an event that is set while a thread begins to wait lets it through, and the work \
             before the set happens before that"
    ),
    breaks!(
        broken_sync_event_unlocked_look,
        "wait-set-enters-unseeing" in sync_event_set_against_wait,
        Exhaustive,
        "deadlock",
        "a waiter that does not check again under the lock sleeps through the event"
    ),
    holds!(
        sync_event_reset_lets_through,
        Preemptions(3),
        Preemptions(4),
        "a thread that waits when the event is set continues, even if the event is reset at \
             once"
    ),
    breaks!(
        broken_sync_event_cancel_stays_in_queue,
        "cancelled-waiter-stays" in sync_event_reset_lets_through,
        Preemptions(3),
        "a waiter is still in the queue",
        "a cancelled waiter that does not leave the queue stays in it"
    ),
    holds!(
        sync_latch_counts_happen_before,
        Preemptions(3),
        Preemptions(4),
        "all work before the counts happens before the return of the wait"
    ),
    breaks!(
        broken_sync_latch_unlocked_look,
        "wait-set-enters-unseeing" in sync_latch_counts_happen_before,
        Preemptions(3),
        "deadlock",
        "a waiter that does not check again under the lock sleeps through the last count"
    ),
    holds!(
        sync_promise_set_against_wait,
        Exhaustive,
        Exhaustive,
        "a promise that is kept while a thread begins to wait is seen, and the work before it \
             happens before the return"
    ),
    breaks!(
        broken_sync_promise_unlocked_look,
        "wait-set-enters-unseeing" in sync_promise_set_against_wait,
        Exhaustive,
        "deadlock",
        "a waiter that does not check again under the lock sleeps through the promise"
    ),
    holds!(
        sync_promise_set_against_cancel,
        Preemptions(3),
        Preemptions(4),
        "a wait that is cancelled while the promise is kept returns the value or the cancel, \
             and leaves nothing in the queue"
    ),
    breaks!(
        broken_sync_promise_looks_before_it_leaves,
        "wait-settles-after-the-look" in sync_promise_set_against_cancel,
        Preemptions(3),
        "invalid key",
        "a cancelled waiter that looks in one critical section and leaves in another is not \
         in the queue any more"
    ),
    holds!(
        sync_once_cell_failure_hands_over,
        Exhaustive,
        Exhaustive,
        "when an initialiser fails, one of the waiters runs its own"
    ),
    breaks!(
        broken_sync_once_cell_failure_keeps_turn,
        "failure-keeps-the-turn" in sync_once_cell_failure_hands_over,
        Preemptions(3),
        "deadlock",
        "an initialiser that fails and wakes no waiter leaves the others waiting"
    ),
    holds!(
        sync_once_cell_is_made_once,
        Exhaustive,
        Exhaustive,
        "of two threads that find no value, one makes it and the other gets the same value"
    ),
    breaks!(
        broken_sync_once_cell_is_made_twice,
        "turn-misses-the-value" in sync_once_cell_is_made_once,
        Preemptions(3),
        "made twice",
        "a thread that has found no value and does not check again makes another"
    ),
    holds!(
        sync_once_cell_cancelled_waiter_makes_nothing,
        Preemptions(3),
        Preemptions(4),
        "a waiter that gets the turn after it was cancelled makes no value"
    ),
    breaks!(
        broken_sync_once_cell_cancelled_waiter_makes,
        "turn-is-not-checked" in sync_once_cell_cancelled_waiter_makes_nothing,
        Preemptions(3),
        "made in a cancelled scope",
        "a waiter that finds its turn first and does not check for the cancel makes the value"
    ),
    holds!(
        sync_once_cell_cancelled_waiter_hands_on,
        Preemptions(3),
        Preemptions(4),
        "a turn that was handed to a waiter while it was cancelled goes to the next"
    ),
    breaks!(
        broken_sync_once_cell_cancel_keeps_turn,
        "cancelled-waiter-keeps-the-turn" in sync_once_cell_cancelled_waiter_hands_on,
        Preemptions(3),
        "deadlock",
        "a cancelled waiter that keeps the turn leaves the others waiting"
    ),
];

fn sync_wait_group_last_drop_against_wait() {
    let group = WaitGroup::new();
    let done = Arc::new([Watched::new(), Watched::new()]);
    let pieces = [0, 1].map(|at| {
        let (piece, done) = (group.clone(), done.clone());
        thread::spawn(move || {
            done[at].write();
            drop(piece);
        })
    });
    group.wait().unwrap();
    done.iter().for_each(Watched::read);
    for piece in pieces {
        piece.join().unwrap();
    }
    assert_eq!(group.count(), 1);
}

fn sync_wait_group_waits_meet() {
    let (group, done) = (WaitGroup::new(), Arc::new([Watched::new(), Watched::new()]));
    let other = thread::spawn({
        let (group, done) = (group.clone(), done.clone());
        move || {
            done[0].write();
            group.wait().unwrap();
            done[1].read();
            group
        }
    });
    done[1].write();
    group.wait().unwrap();
    done[0].read();
    // This wait continues although the other reference counts again.
    let other = other.join().unwrap();
    assert_eq!(group.count(), 2);
    drop(other);
    group.wait().unwrap();
}

fn sync_wait_group_is_not_done_by_a_failure() {
    let error = TaskGroup::scope(|g| {
        let group = WaitGroup::new();
        let task = apart(g).with(group.clone());
        task.spawn(|_: &mut WaitGroup| -> anyhow::Result<()> { anyhow::bail!("it fails") });
        let waited = group.wait();
        assert!(waited.is_err(), "the work was taken for done");
        Ok(waited?)
    });
    assert_eq!(error.unwrap_err().failures().len(), 1);
}

fn sync_wait_group_last_drop_against_cancel() {
    must_see(["it ended well", "it was cancelled"]);
    let (group, token) = (WaitGroup::new(), CancelToken::new());
    let piece = group.clone();
    let last = thread::spawn(move || drop(piece));
    let canceller = thread::spawn({
        let token = token.clone();
        move || {
            token.cancel();
        }
    });
    let waited = token.run(|| group.wait());
    saw(if waited.is_ok() {
        "it ended well"
    } else {
        "it was cancelled"
    });
    last.join().unwrap();
    canceller.join().unwrap();
    assert_eq!(group.count(), 1, "the wait had an effect");
    group.wait().unwrap();
}

fn sync_event_set_against_wait() {
    let shared = Arc::new((Event::new(), Watched::new()));
    let waiter = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.0.wait().unwrap();
            shared.1.read();
        }
    });
    shared.1.write();
    shared.0.set();
    waiter.join().unwrap();
}

fn sync_event_reset_lets_through() {
    let event = Arc::new(Event::new());
    let token = CancelToken::new();
    let waiter = thread::spawn({
        let (event, token) = (event.clone(), token.clone());
        move || token.run(|| event.wait()).is_ok()
    });
    event.set();
    event.reset();
    // Lets a thread go that came after the reset.
    token.cancel();
    waiter.join().unwrap();
    assert!(
        format!("{event:?}").contains("waiting: 0"),
        "a waiter is still in the queue"
    );
}

fn sync_latch_counts_happen_before() {
    let shared = Arc::new((Latch::new(2), Watched::new(), Watched::new()));
    let counter = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.1.write();
            shared.0.count_down();
        }
    });
    let waiter = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.0.wait().unwrap();
            shared.1.read();
            shared.2.read();
        }
    });
    shared.2.write();
    shared.0.count_down();
    counter.join().unwrap();
    waiter.join().unwrap();
}

fn sync_promise_set_against_wait() {
    let shared = Arc::new((Promise::new(), Watched::new()));
    let waiter = thread::spawn({
        let shared = shared.clone();
        move || {
            assert_eq!(*shared.0.wait().unwrap(), 7);
            shared.1.read();
        }
    });
    shared.1.write();
    shared.0.set(7).unwrap();
    waiter.join().unwrap();
}

fn sync_promise_set_against_cancel() {
    let promise = Arc::new(Promise::new());
    let token = CancelToken::new();
    let waiter = thread::spawn({
        let (promise, token) = (promise.clone(), token.clone());
        move || token.run(|| promise.wait().copied().ok())
    });
    let canceller = thread::spawn(move || {
        token.cancel();
    });
    promise.set(7).unwrap();
    assert!([None, Some(7)].contains(&waiter.join().unwrap()));
    canceller.join().unwrap();
    assert!(
        format!("{promise:?}").contains("waiting: 0"),
        "a waiter is still in the queue"
    );
}

fn sync_once_cell_failure_hands_over() {
    let cell = Arc::new(OnceCell::new());
    let fails = thread::spawn({
        let cell = cell.clone();
        move || {
            drop(cell.get_or_try_init(|| Err::<u8, Box<dyn std::error::Error>>("not today".into())))
        }
    });
    assert_eq!(*cell.get_or_init(|| 7).unwrap(), 7);
    fails.join().unwrap();
}

fn sync_once_cell_is_made_once() {
    let (cell, made) = (Arc::new(OnceCell::new()), Note::default());
    let make = {
        let made = made.clone();
        move || made.set()
    };
    let other = thread::spawn({
        let (cell, make) = (cell.clone(), make.clone());
        move || assert!(cell.get_or_init(make).is_ok())
    });
    cell.get_or_init(make).unwrap();
    other.join().unwrap();
    assert!(made.times() == 1, "made twice");
}

fn sync_once_cell_cancelled_waiter_makes_nothing() {
    let (cell, token) = (Arc::new(OnceCell::new()), CancelToken::new());
    let mut waiter = None;
    let failed = cell.get_or_try_init(|| {
        waiter = Some(thread::spawn({
            let (cell, token) = (cell.clone(), token.clone());
            move || {
                let made = token.run(|| {
                    cell.get_or_init(|| panic!("made in a cancelled scope"))
                        .map(drop)
                });
                assert!(made.is_err());
            }
        }));
        token.cancel();
        Err::<u8, Box<dyn std::error::Error>>("not today".into())
    });
    assert!(failed.is_err());
    waiter.unwrap().join().unwrap();
}

fn sync_once_cell_cancelled_waiter_hands_on() {
    let cell = Arc::new(OnceCell::new());
    let token = CancelToken::new();
    let fails = thread::spawn({
        let cell = cell.clone();
        move || {
            drop(cell.get_or_try_init(|| Err::<u8, Box<dyn std::error::Error>>("not today".into())))
        }
    });
    let cancelled = thread::spawn({
        let (cell, token) = (cell.clone(), token.clone());
        move || drop(token.run(|| cell.get_or_init(|| 7)))
    });
    token.cancel();
    assert_eq!(*cell.get_or_init(|| 7).unwrap(), 7);
    fails.join().unwrap();
    cancelled.join().unwrap();
}
