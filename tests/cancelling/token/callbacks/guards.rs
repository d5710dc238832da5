//! The guards of callbacks, which take these back when they are dropped.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use taskgroup::CancelToken;

use super::Record;
use crate::support::{Gate, LONG};

#[test]
fn dropping_the_guard_removes_a_callback_that_has_not_begun() {
    let record = Record::default();
    let token = CancelToken::new();
    let (kept, dropped) = (
        token.on_cancel(record.entry(1)),
        token.on_cancel(record.entry(2)),
    );
    drop(dropped);
    token.cancel();
    drop(kept);
    assert_eq!(record.entries(), [1]);
}

#[test]
fn dropping_the_guard_waits_for_the_running_callback() {
    let token = CancelToken::new();
    let [entered, dropping] = [(); 2].map(|()| Arc::new(Gate::default()));
    let (dropped, early) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let ended = Arc::new(AtomicBool::new(false));
    let guard = token.on_cancel({
        let (entered, dropping) = (entered.clone(), dropping.clone());
        let (dropped, early, ended) = (dropped.clone(), early.clone(), ended.clone());
        move || {
            entered.open();
            dropping.wait();
            // A drop that does not wait returns within this loop. A drop that waits cannot,
            // whatever the scheduler does.
            for _ in 0..1_000 {
                thread::yield_now();
                early.fetch_or(dropped.load(Ordering::SeqCst), Ordering::SeqCst);
            }
            ended.store(true, Ordering::SeqCst);
        }
    });
    let canceller = thread::spawn(move || token.cancel());
    entered.wait();
    dropping.open();
    drop(guard);
    dropped.store(true, Ordering::SeqCst);
    assert!(ended.load(Ordering::SeqCst) && !early.load(Ordering::SeqCst));
    assert!(canceller.join().expect("callbacks do not panic here"));
}

#[test]
fn a_guard_says_whether_its_callback_is_registered() {
    let token = CancelToken::new();
    let guard = token.on_cancel(|| ());
    let text = format!("{guard:?}");
    assert!(text.starts_with("CallbackGuard {"), "{text}");
    assert!(text.contains("registered: true"), "{text}");
    token.cancel();
    let late = format!("{:?}", token.on_cancel(|| ()));
    assert!(late.contains("registered: false"), "{late}");
}

#[test]
fn a_callback_may_drop_its_own_guard() {
    let token = CancelToken::new();
    let guard = Arc::new(Mutex::new(None));
    let ran = Arc::new(AtomicUsize::new(0));
    *guard.lock().unwrap() = Some(token.on_cancel({
        let (guard, ran) = (guard.clone(), ran.clone());
        move || {
            drop(guard.lock().unwrap().take());
            ran.fetch_add(1, Ordering::SeqCst);
        }
    }));
    token.cancel();
    assert!(guard.lock().unwrap().is_none());
    assert_eq!(ran.load(Ordering::SeqCst), 1);
}

#[test]
fn dropping_a_guard_does_not_wait_for_other_callbacks() {
    let token = CancelToken::new();
    let [entered, leave] = [(); 2].map(|()| Arc::new(Gate::default()));
    let record = Record::default();
    let waiting = token.on_cancel(record.entry(1));
    let blocking = token.on_cancel({
        let (entered, leave) = (entered.clone(), leave.clone());
        move || {
            entered.open();
            leave.wait();
        }
    });
    let canceller = thread::spawn({
        let token = token.clone();
        move || token.cancel()
    });
    entered.wait();
    drop(waiting);
    leave.open();
    canceller.join().expect("callbacks do not panic here");
    drop(blocking);
    assert_eq!(record.entries(), [], "the removed callback had not begun");
}

#[test]
fn dropping_the_guard_of_a_callback_that_has_ended_waits_for_no_other() {
    let token = CancelToken::new();
    let [entered, leave] = [(); 2].map(|()| Arc::new(Gate::default()));
    let record = Record::default();
    let blocking = token.on_cancel({
        let (entered, leave) = (entered.clone(), leave.clone());
        let blocked = record.entry(2);
        move || {
            entered.open();
            leave.wait();
            blocked();
        }
    });
    // Registered last, so it runs first.
    let ended = token.on_cancel(record.entry(1));
    let canceller = thread::spawn(move || token.cancel());
    entered.wait();
    drop(ended);
    assert_eq!(
        record.entries(),
        [1],
        "the drop waited for a callback of another guard"
    );
    leave.open();
    canceller.join().expect("callbacks do not panic here");
    drop(blocking);
    assert_eq!(record.entries(), [1, 2]);
}

#[test]
fn a_callback_may_drop_the_guard_of_another_that_has_not_begun() {
    let token = CancelToken::new();
    let record = Record::default();
    let first = token.on_cancel(record.entry(1));
    let _second = token.on_cancel(move || drop(first));
    token.cancel();
    assert_eq!(record.entries(), []);
}

#[test]
fn guards_dropped_in_any_order_take_back_their_own_callbacks() {
    const EACH: usize = 8;
    // Of eight callbacks, each of these orders takes the even ones back; a place that has become
    // free is used again.
    for order in [[0, 2, 4, 6], [6, 4, 2, 0], [4, 0, 6, 2], [2, 6, 0, 4]] {
        let (token, ran) = (CancelToken::new(), Arc::new(Mutex::new(Vec::new())));
        let register = |n: usize| {
            let ran = ran.clone();
            Some(token.on_cancel(move || ran.lock().unwrap().push(n)))
        };
        let mut guards: Vec<_> = (0..EACH).map(register).collect();
        for n in order {
            drop(guards[n].take());
        }
        guards.push(register(EACH));
        drop(guards.pop());
        guards.push(register(EACH + 1));
        token.cancel();
        assert_eq!(
            *ran.lock().unwrap(),
            [EACH + 1, 7, 5, 3, 1],
            "dropped in the order {order:?}"
        );
    }
}

#[test]
fn many_guards_are_dropped_quickly_in_the_order_of_their_registration() {
    const MANY: usize = 200_000;
    let token = CancelToken::new();
    let guards: Vec<_> = (0..MANY).map(|_| token.on_cancel(|| ())).collect();
    let begun = Instant::now();
    drop(guards);
    // A search for each takes minutes.
    assert!(begun.elapsed() < LONG / 4, "{:?}", begun.elapsed());
}
