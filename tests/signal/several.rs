//! Several tokens and handlers of one signal.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use rustix::process::Signal;
use signal_hook::consts::SIGINT;
use signal_hook::flag;
use signal_hook::low_level::raise;
use taskgroup::signal::{ctrl_c, termination};

use super::{Process, cause_of};
use crate::support::{blocked, is_child, until, watch};

#[test]
fn all_tokens_and_handlers_see_the_signal() {
    if is_child() {
        let _watch = watch();
        let (before, after) = (Arc::default(), Arc::default());
        flag::register(SIGINT, Arc::clone(&before)).unwrap();
        let tokens = [ctrl_c(), ctrl_c(), termination(), ctrl_c()].map(Result::unwrap);
        flag::register(SIGINT, Arc::clone(&after)).unwrap();
        assert_ne!(tokens[0], tokens[1]);

        raise(SIGINT).unwrap();
        for token in &tokens {
            assert_eq!(cause_of(token), "SIGINT");
            assert_eq!(token.cancelled().unwrap().origin(), token.id());
        }
        assert!(before.load(SeqCst) && after.load(SeqCst));
        println!("all");
        return;
    }
    let mut child = Process::start("all_tokens_and_handlers_see_the_signal");
    child.wait_for("all");
    child.end_well();
}

#[test]
fn threads_of_all_tokens_wake_before_the_callback_of_any_runs() {
    if is_child() {
        let _watch = watch();
        let tokens = [ctrl_c(), ctrl_c()].map(Result::unwrap);
        let woken = Arc::new(AtomicUsize::new(0));
        for token in &tokens {
            let woken = woken.clone();
            // Each blocks until the threads of both have woken.
            token
                .on_cancel(move || until(|| woken.load(SeqCst) == 2))
                .forget();
        }
        std::thread::scope(|threads| {
            for token in &tokens {
                threads.spawn(|| {
                    println!("ready");
                    token.run(blocked);
                    woken.fetch_add(1, SeqCst);
                });
            }
        });
        return;
    }
    let mut child = Process::start("threads_of_all_tokens_wake_before_the_callback_of_any_runs");
    child.wait_for("ready");
    child.wait_for("ready");
    child.send(Signal::INT);
    child.end_well();
}

#[test]
fn after_the_first_signal_a_new_token_is_cancelled_already() {
    if is_child() {
        let _watch = watch();
        let first = ctrl_c().unwrap();
        raise(SIGINT).unwrap();
        // The handler has run. The thread of the signals may not have come to it.
        let second = ctrl_c().unwrap();
        assert!(second.is_cancelled());
        assert_eq!(
            termination()
                .unwrap()
                .cancelled()
                .unwrap()
                .cause()
                .to_string(),
            "SIGINT"
        );
        assert_eq!(cause_of(&first), "SIGINT");

        drop((first, second));
        let line = line!() + 1;
        let third = ctrl_c().unwrap().cancelled().unwrap();
        assert_eq!(third.location().line(), line);
        println!("cancelled");
        raise(SIGINT).unwrap();
        unreachable!("the second signal was lost");
    }
    let mut child = Process::start("after_the_first_signal_a_new_token_is_cancelled_already");
    child.wait_for("cancelled");
    child.end_of(Signal::INT);
}

#[test]
fn the_drop_of_one_token_leaves_the_signal_to_another() {
    if is_child() {
        let _watch = watch();
        let (first, second) = (ctrl_c().unwrap(), termination().unwrap());
        drop(first);
        raise(SIGINT).unwrap();
        assert_eq!(cause_of(&second), "SIGINT");
        println!("cancelled");
        return;
    }
    Process::start("the_drop_of_one_token_leaves_the_signal_to_another").end_well();
}

/// The callback runs on the thread of the signals.
#[test]
fn a_callback_of_a_token_may_ask_for_another() {
    if is_child() {
        let _watch = watch();
        let (stop, asked) = (ctrl_c().unwrap(), Arc::new(AtomicBool::new(false)));
        let in_callback = asked.clone();
        stop.on_cancel(move || {
            assert!(ctrl_c().unwrap().is_cancelled());
            drop(termination().unwrap());
            in_callback.store(true, SeqCst);
        })
        .forget();
        raise(SIGINT).unwrap();
        until(|| asked.load(SeqCst));
        println!("asked");
        return;
    }
    Process::start("a_callback_of_a_token_may_ask_for_another").end_well();
}

#[test]
fn all_tokens_share_one_thread() {
    if is_child() {
        let _watch = watch();
        let threads = || fs::read_dir("/proc/self/task").unwrap().count();
        let first = ctrl_c().unwrap();
        let with_one = threads();
        let others = [ctrl_c().unwrap(), termination().unwrap()];
        assert_eq!(threads(), with_one);
        raise(SIGINT).unwrap();
        assert_eq!(cause_of(&first), "SIGINT");
        drop(others);
        return;
    }
    Process::start("all_tokens_share_one_thread").end_well();
}

#[test]
fn no_signal_is_lost_while_tokens_come_and_go() {
    if is_child() {
        let _watch = watch();
        println!("ready");
        // Either the process ends, or a token says why.
        until(|| ctrl_c().unwrap().is_cancelled());
        println!("cancelled");
        return;
    }
    for _ in 0..20 {
        let mut child = Process::start("no_signal_is_lost_while_tokens_come_and_go");
        child.wait_for("ready");
        child.send(Signal::INT);
        let status = child.end();
        assert!(
            status.success() || status.signal() == Some(SIGINT),
            "{status}"
        );
    }
}
