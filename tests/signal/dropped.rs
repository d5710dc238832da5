//! How long a token keeps its signals, and what they do after its drop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT};
use signal_hook::flag;
use signal_hook::low_level::raise;
use taskgroup::TaskGroup;
use taskgroup::signal::{ctrl_c, termination};

use super::{Process, cause_of};
use crate::support::{blocked, is_child, watch};

#[test]
fn a_child_of_the_token_keeps_the_signal() {
    if is_child() {
        let _watch = watch();
        let stop = termination().unwrap();
        let (clone, child) = (stop.clone(), stop.child());
        drop((stop, clone));
        println!("a child is left");
        raise(SIGHUP).unwrap();
        assert_eq!(cause_of(&child), "SIGHUP");
        println!("cancelled");
        return;
    }
    Process::start("a_child_of_the_token_keeps_the_signal").end_well();
}

/// Makes tokens in every way, and drops them.
fn drop_all() {
    let _watch = watch();
    for _ in 0..3 {
        let (stop, other) = (termination().unwrap(), ctrl_c().unwrap());
        drop(stop.clone());
        // Without a task: the thread of one may hold the scope for a moment after its end.
        let group = TaskGroup::builder().parent(&stop).scope(|_| {
            other.run(|| drop(ctrl_c().unwrap()));
            Ok(())
        });
        group.unwrap();
        // A cancel by hand does not count as a signal.
        stop.cancel();
    }
    println!("dropped");
    blocked();
}

/// Asserts that `signal` ends the child that runs `test` and has dropped all tokens.
fn after_the_last_drop(test: &str, signal: Signal) {
    if is_child() {
        return drop_all();
    }
    let mut child = Process::start(test);
    child.wait_for("dropped");
    child.send(signal);
    child.end_of(signal);
}

#[test]
fn after_the_last_drop_ctrl_c_ends_the_process() {
    after_the_last_drop("after_the_last_drop_ctrl_c_ends_the_process", Signal::INT);
}

#[test]
fn after_the_last_drop_sigterm_ends_the_process() {
    after_the_last_drop("after_the_last_drop_sigterm_ends_the_process", Signal::TERM);
}

#[test]
fn a_scope_under_the_token_keeps_the_signal() {
    if is_child() {
        let _watch = watch();
        let stop = ctrl_c().unwrap();
        let builder = TaskGroup::builder().parent(&stop);
        drop(stop);
        let outcome = builder.scope(|_| {
            println!("ready");
            Err::<(), _>(blocked().into())
        });
        let error = outcome.unwrap_err();
        println!("cause: {}", error.cancelled().unwrap().cause());
        return;
    }
    let mut child = Process::start("a_scope_under_the_token_keeps_the_signal");
    child.wait_for("ready");
    child.send(Signal::INT);
    assert_eq!(child.wait_for("cause: "), "SIGINT");
    child.end_well();
}

#[test]
fn a_token_that_was_cancelled_by_hand_still_takes_the_first_signal() {
    if is_child() {
        let _watch = watch();
        let stop = ctrl_c().unwrap();
        stop.cancel();
        raise(SIGINT).unwrap();
        // Another one, with a cancel that is seen.
        assert!(ctrl_c().unwrap().is_cancelled());
        assert_eq!(cause_of(&stop), "cancel was requested");
        println!("alive");
        raise(SIGINT).unwrap();
        unreachable!("the second signal was lost");
    }
    let mut child =
        Process::start("a_token_that_was_cancelled_by_hand_still_takes_the_first_signal");
    child.wait_for("alive");
    child.end_of(Signal::INT);
}

#[test]
fn a_handler_that_was_there_before_has_the_signal_after_the_last_drop() {
    if is_child() {
        let _watch = watch();
        let count = Arc::new(AtomicBool::new(false));
        flag::register(SIGINT, count.clone()).unwrap();
        for _ in 0..3 {
            drop(ctrl_c().unwrap());
            for _ in 0..3 {
                raise(SIGINT).unwrap();
                assert!(count.swap(false, SeqCst));
            }
        }
        // None of these signals has cancelled a token.
        let stop = ctrl_c().unwrap();
        assert!(!stop.is_cancelled());
        raise(SIGINT).unwrap();
        assert_eq!(cause_of(&stop), "SIGINT");
        assert!(count.load(SeqCst));
        println!("cancelled");
        raise(SIGINT).unwrap();
        unreachable!("the second signal was lost");
    }
    let mut child =
        Process::start("a_handler_that_was_there_before_has_the_signal_after_the_last_drop");
    child.wait_for("cancelled");
    child.end_of(Signal::INT);
}
