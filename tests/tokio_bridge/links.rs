//! Links between tokens of tokio and of this crate.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use taskgroup::tokio_bridge::{token_from, token_into};
use taskgroup::{CancelToken, ScopedValue, TaskGroup};
use tokio_util::sync::CancellationToken;

use super::one_thread;
use crate::support::{
    Drops, LONG, assert_passed, blocked, is_child, run_in_child_without_threads, until, watch,
};

#[test]
fn a_cancel_of_tokio_reaches_a_scope_outside_any_runtime() {
    let _watch = watch();
    let theirs = CancellationToken::new();
    let line = line!() + 1;
    let (ours, link) = token_from(&theirs);
    assert!(!ours.is_cancelled());
    let cancelled = thread::scope(|threads| {
        let sleeper = threads.spawn(|| ours.run(blocked));
        theirs.cancel();
        sleeper.join().unwrap()
    });
    assert_eq!(cancelled.origin(), ours.id());
    assert_eq!(
        (cancelled.location().file(), cancelled.location().line()),
        (file!(), line)
    );
    assert!(
        cancelled.to_string().contains("CancellationToken"),
        "{cancelled}"
    );
    drop(link);
}

#[test]
fn a_cancel_of_a_parent_on_the_side_of_tokio_counts() {
    let _watch = watch();
    let parent = CancellationToken::new();
    let (ours, _link) = token_from(&parent.child_token());
    parent.cancel();
    ours.wait().unwrap();
}

#[test]
fn a_token_that_is_cancelled_already_cancels_at_once() {
    let theirs = CancellationToken::new();
    theirs.cancel();
    let (ours, link) = token_from(&theirs);
    assert!(ours.is_cancelled());
    assert_eq!(ours.cancelled().unwrap().location().file(), file!());
    drop(link);

    let (back, link) = token_into(&ours);
    assert!(back.is_cancelled());
    drop(link);
}

#[test]
fn a_cancel_wakes_futures() {
    let _watch = watch();
    let ours = CancelToken::new();
    let (theirs, _link) = token_into(&ours);
    let waiting = theirs.clone();
    let future = thread::spawn(move || one_thread().block_on(waiting.cancelled()));
    let child = theirs.child_token();
    ours.cancel();
    assert!(child.is_cancelled());
    future.join().unwrap();
}

#[test]
fn a_deadline_wakes_futures() {
    let _watch = watch();
    let ours = CancelToken::new();
    let (theirs, _link) = token_into(&ours);
    ours.cancel_after(Duration::from_millis(1));
    one_thread().block_on(theirs.cancelled());
}

#[test]
fn a_failed_group_wakes_futures() {
    let _watch = watch();
    let runtime = one_thread();
    let outcome = TaskGroup::scope(|g| {
        let (theirs, link) = token_into(g.token());
        g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("the disk is full") });
        runtime.block_on(theirs.cancelled());
        drop(link);
        Ok(())
    });
    assert!(
        outcome
            .unwrap_err()
            .to_string()
            .contains("the disk is full")
    );
}

/// On the thread that delivers the cancel and, without threads, on the one that cancels.
#[test]
fn a_callback_sees_no_scoped_value_of_the_thread_that_cancels() {
    const TEST: &str = "a_callback_sees_no_scoped_value_of_the_thread_that_cancels";
    static NAME: ScopedValue<&str> = ScopedValue::new();
    let theirs = CancellationToken::new();
    let (ours, _link) = token_from(&theirs);
    let (calls, called) = mpsc::channel();
    let call = move || calls.send((NAME.cloned(), thread::current().id())).unwrap();
    ours.on_cancel(call).forget();
    NAME.with(&"caller", || theirs.cancel());
    let is_here = |thread| thread == thread::current().id();
    let (seen, thread) = called.recv_timeout(LONG).unwrap();
    assert_eq!((seen, is_here(thread)), (None, is_child()));
    if !is_child() {
        assert_passed(&run_in_child_without_threads(TEST));
    }
}

#[test]
fn a_dropped_link_has_no_effect() {
    let _watch = watch();
    let theirs = CancellationToken::new();
    let (ours, link) = token_from(&theirs);
    drop(link);
    let (control, _link) = token_from(&theirs);
    theirs.cancel();
    control.wait().unwrap();
    assert!(!ours.is_cancelled());

    let (back, link) = token_into(&ours);
    drop(link);
    ours.cancel();
    assert!(!back.is_cancelled());
}

#[test]
fn a_link_that_is_dropped_after_the_cancel_has_passed_it_on() {
    let _watch = watch();
    for _ in 0..100 {
        let theirs = CancellationToken::new();
        let (ours, link) = token_from(&theirs);
        theirs.cancel();
        drop(link);
        ours.wait().unwrap();
    }
}

#[test]
fn a_link_acts_in_one_direction() {
    let theirs = CancellationToken::new();
    let (ours, _link) = token_from(&theirs);
    ours.cancel();
    assert!(!theirs.is_cancelled());

    let ours = CancelToken::new();
    let (theirs, _link) = token_into(&ours);
    theirs.cancel();
    assert!(!ours.is_cancelled());
}

#[test]
fn from_a_to_b_to_a_there_is_no_loop() {
    let _watch = watch();
    let a = CancellationToken::new();
    let (b, _a_to_b) = token_from(&a);
    let (c, _b_to_c) = token_into(&b);
    let (d, _c_to_d) = token_from(&c);
    let calls = Arc::new(AtomicUsize::new(0));
    let called = calls.clone();
    d.on_cancel(move || _ = called.fetch_add(1, SeqCst))
        .forget();

    a.cancel();
    d.wait().unwrap();
    assert!(b.is_cancelled() && c.is_cancelled());
    until(|| calls.load(SeqCst) == 1);

    // A real cycle, built by hand: each cancels the other, once.
    let (x, y) = (CancellationToken::new(), CancelToken::new());
    let (from_x, _from_x) = token_from(&x);
    let (of_y, _of_y) = token_into(&y);
    let also = y.clone();
    from_x.on_cancel(move || _ = also.cancel()).forget();
    let there = x.clone();
    let cycle = thread::spawn(move || {
        one_thread().block_on(of_y.cancelled());
        there.cancel();
    });
    y.cancel();
    cycle.join().unwrap();
    from_x.wait().unwrap();
    assert!(x.is_cancelled() && y.is_cancelled());
}

#[test]
fn a_link_does_not_keep_a_token_of_ours_from_tokio() {
    let drops = Drops::default();
    let theirs = CancellationToken::new();
    let (ours, link) = token_from(&theirs);
    let captured = drops.counted();
    ours.on_cancel(move || drop(captured)).forget();
    drop(ours);
    assert_eq!(drops.count(), 1);
    theirs.cancel();
    drop(link);
}
