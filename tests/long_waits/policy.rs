//! The policies for a deadlock.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex as StdMutex, mpsc};
use std::thread;
use std::time::Duration;

use taskgroup::deadlock::{self, DeadlockPolicy};
use taskgroup::sync::{Event, Mutex};
use taskgroup::{CancelCause, CancelToken, TaskGroup, snapshot};

use crate::deadlocks::{cross, names, spawn_cross};
use crate::support::{self, Bomb, Gate, LONG, alone, until};

trials![
    a_deadlock_in_which_nothing_moves_any_more_is_reported_once,
    the_default_report_is_one_block_on_stderr,
    with_a_hook_there_is_no_other_report,
    the_policy_cancels_the_innermost_group_and_no_other,
    a_hook_that_panics_or_uses_the_crate_ends_no_search,
    a_panic_in_the_destructor_of_a_hook_that_was_taken_back_ends_no_search,
    a_deadlock_of_a_thread_that_holds_stderr_is_cancelled,
    a_deadlock_of_a_thread_that_a_hook_or_the_subscriber_waits_for_is_cancelled,
    #[cfg(unix)]
    a_deadlock_is_cancelled_although_nothing_reads_stderr,
    #[cfg(unix)]
    a_hook_that_waits_for_a_thread_of_the_deadlock_keeps_no_abort,
    #[cfg(unix)]
    a_variable_of_the_environment_makes_a_deadlock_end_the_process,
    a_deadlock_that_no_cancel_can_end_cancels_no_group,
];

fn a_deadlock_in_which_nothing_moves_any_more_is_reported_once() {
    alone(
        "a_deadlock_in_which_nothing_moves_any_more_is_reported_once",
        || {
            let (report, reports) = mpsc::channel();
            let report = StdMutex::new(report);
            let _hook = deadlock::on_found(move |found| {
                // Threads that have slept for less most often go on by themselves.
                let mut threads = found.threads().iter();
                let is_early = threads.any(|thread| thread.since() < Duration::from_secs(1));
                let names = names(found).into_iter().map(str::to_owned);
                let names: Vec<_> = names.chain(is_early.then(|| "early".to_owned())).collect();
                report
                    .lock()
                    .unwrap()
                    .send(names)
                    .expect("the test listens");
            });
            deadlock::set_policy(DeadlockPolicy::Report);

            let (a, b, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
            let (c, d, later) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
            TaskGroup::scope(|g| {
                spawn_cross(g, "once-a", [&a, &b], &both);
                spawn_cross(g, "once-b", [&b, &a], &both);
                assert_eq!(reports.recv_timeout(LONG).unwrap(), ["once-a", "once-b"]);
                // Found again by each search until the next is found, and not reported again.
                spawn_cross(g, "later-a", [&c, &d], &later);
                spawn_cross(g, "later-b", [&d, &c], &later);
                assert_eq!(reports.recv_timeout(LONG).unwrap(), ["later-a", "later-b"]);
                assert_eq!(reports.try_recv(), Err(mpsc::TryRecvError::Empty));
                g.cancel();
                Ok(())
            })
            .unwrap();
        },
    );
}

fn the_default_report_is_one_block_on_stderr() {
    const NAME: &str = "the_default_report_is_one_block_on_stderr";
    if support::is_child() {
        deadlock::set_policy(DeadlockPolicy::Report);
        let (a, b, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
        let reported = Arc::new(Gate::default());
        let heard = reported.clone();
        let listener = support::Listener {
            level: tracing::Level::ERROR,
            hears: move |event: String| {
                if event.contains("deadlock: 2 threads") {
                    heard.open();
                }
            },
        };
        tracing::subscriber::set_global_default(listener).expect("it is the first");
        TaskGroup::scope(|g| {
            spawn_cross(g, "shown", [&a, &b], &both);
            g.task().dedicated().spawn(|| cross(&b, &a, &both));
            reported.wait();
            g.cancel();
            Ok(())
        })
        .unwrap();
        return;
    }
    let output = support::run_in_child(NAME);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches("taskgroup: deadlock:").count(), 1, "{text}");
    assert!(text.contains("task `shown`"), "{text}");
    assert!(
        text.contains("ends this; nothing was done but this report"),
        "{text}"
    );
    // With the number of its thread.
    if cfg!(target_os = "linux") {
        assert!(text.contains(" on `shown` ("), "{text}");
    }
}

fn with_a_hook_there_is_no_other_report() {
    const NAME: &str = "with_a_hook_there_is_no_other_report";
    if support::is_child() {
        let found = Arc::new(Gate::default());
        let opens = found.clone();
        let _hook = deadlock::on_found(move |_| opens.open());
        deadlock::set_policy(DeadlockPolicy::Cancel);
        let (a, b, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
        // The cancel comes after the report.
        let cut = TaskGroup::scope(|g| {
            g.task().dedicated().spawn(|| cross(&a, &b, &both));
            g.task().dedicated().spawn(|| cross(&b, &a, &both));
            Ok(())
        });
        assert!(cut.unwrap_err().cancelled().is_some());
        assert!(found.is_open());
        return;
    }
    let output = support::run_in_child(NAME);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(!text.contains("taskgroup: deadlock"), "{text}");
}

fn the_policy_cancels_the_innermost_group_and_no_other() {
    alone(
        "the_policy_cancels_the_innermost_group_and_no_other",
        || {
            deadlock::set_policy(DeadlockPolicy::Cancel);
            let (report, reported) = mpsc::channel();
            let report = StdMutex::new(report);
            let _hook = deadlock::on_found(move |found| {
                let report = report.lock().unwrap();
                report.send(found.to_string()).expect("the test listens");
            });
            let (a, b, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
            let over = Event::new();
            TaskGroup::scope(|outer| {
                let sibling = outer.task().dedicated().spawn(|| Ok(over.wait()?));
                let inner = TaskGroup::scope(|g| {
                    spawn_cross(g, "cut-a", [&a, &b], &both);
                    spawn_cross(g, "cut-b", [&b, &a], &both);
                    Ok(g.token().wait()?)
                });
                let inner = inner.unwrap_err();
                let cancelled = inner.cancelled().expect("the group was cancelled");
                let CancelCause::Deadlock { cycle, .. } = cancelled.cause() else {
                    panic!("{cancelled}");
                };
                assert!(cycle.contains("task `cut-a` in Mutex::lock"), "{cycle}");
                assert!(
                    cancelled.to_string().starts_with("cancelled: a deadlock: "),
                    "{cancelled}"
                );
                let text = reported.recv_timeout(LONG)?;
                assert!(text.ends_with(" ends this; it is cancelled now"), "{text}");
                assert!(!outer.token().is_cancelled());
                over.set();
                sibling.join()?;
                Ok(())
            })
            .unwrap();
        },
    );
}

fn a_hook_that_panics_or_uses_the_crate_ends_no_search() {
    alone(
        "a_hook_that_panics_or_uses_the_crate_ends_no_search",
        || {
            deadlock::set_policy(DeadlockPolicy::Report);
            let count = Arc::new(AtomicUsize::new(0));
            let theirs = count.clone();
            let _hook = deadlock::on_found(move |_| {
                let opened = TaskGroup::scope(|g| Ok(g.spawn(|| Ok(snapshot())).join()?));
                opened.expect("it runs outside of any scope");
                theirs.fetch_add(1, Ordering::SeqCst);
                panic!("a hook");
            });
            for round in 1..=2 {
                let (a, b, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
                TaskGroup::scope(|g| {
                    g.task().dedicated().spawn(|| cross(&a, &b, &both));
                    g.task().dedicated().spawn(|| cross(&b, &a, &both));
                    until(|| count.load(Ordering::SeqCst) == round);
                    g.cancel();
                    Ok(())
                })
                .unwrap();
            }
        },
    );
}

/// Plants a deadlock of two tasks on a thread of its own, with `hold` in one of them, and returns
/// once it has ended by a cancel. A deadlock that stays ends the process.
fn ends_by_a_cancel<T>(hold: impl FnOnce() -> T + Send) {
    let (a, b, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
    let (end, ended) = mpsc::channel::<()>();
    thread::spawn(move || {
        // Without a word: stderr may be what the deadlock is about.
        if ended.recv_timeout(LONG) == Err(mpsc::RecvTimeoutError::Timeout) {
            std::process::abort();
        }
    });
    let outcome = TaskGroup::scope(|g| {
        g.task().dedicated().spawn(|| {
            let _held = hold();
            cross(&a, &b, &both)
        });
        g.task().dedicated().spawn(|| cross(&b, &a, &both));
        Ok(())
    });
    drop(end);
    let error = outcome.expect_err("it was cancelled");
    let cancelled = error.cancelled().expect("it was cancelled");
    assert!(
        matches!(cancelled.cause(), CancelCause::Deadlock { .. }),
        "{cancelled}"
    );
}

fn a_panic_in_the_destructor_of_a_hook_that_was_taken_back_ends_no_search() {
    const NAME: &str = "a_panic_in_the_destructor_of_a_hook_that_was_taken_back_ends_no_search";
    alone(NAME, || {
        deadlock::set_policy(DeadlockPolicy::Cancel);
        let (called, go_on) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
        let (calls, waits, bomb) = (called.clone(), go_on.clone(), Bomb("in a destructor"));
        let hook = deadlock::on_found(move |_| {
            let _captured = &bomb;
            calls.open();
            waits.wait();
            // A payload that panics when it is dropped, on top.
            std::panic::panic_any(Bomb("a payload"));
        });
        thread::scope(|threads| {
            threads.spawn(|| {
                called.wait();
                // The search has the last of it now.
                drop(hook);
                go_on.open();
            });
            ends_by_a_cancel(|| ());
        });
        // The search goes on.
        ends_by_a_cancel(|| ());
    });
}

fn a_deadlock_of_a_thread_that_holds_stderr_is_cancelled() {
    alone(
        "a_deadlock_of_a_thread_that_holds_stderr_is_cancelled",
        || {
            deadlock::set_policy(DeadlockPolicy::Cancel);
            ends_by_a_cancel(|| std::io::stderr().lock());
        },
    );
}

fn a_deadlock_of_a_thread_that_a_hook_or_the_subscriber_waits_for_is_cancelled() {
    const NAME: &str =
        "a_deadlock_of_a_thread_that_a_hook_or_the_subscriber_waits_for_is_cancelled";
    // One for each: a hook that the first deadlock has let go on may still be about to lock.
    static FOR_THE_HOOK: StdMutex<()> = StdMutex::new(());
    static FOR_THE_SUBSCRIBER: StdMutex<()> = StdMutex::new(());

    fn held(lock: &StdMutex<()>) -> std::sync::MutexGuard<'_, ()> {
        lock.lock().expect("no holder panics")
    }

    alone(NAME, || {
        deadlock::set_policy(DeadlockPolicy::Cancel);
        let hook = deadlock::on_found(|_| drop(held(&FOR_THE_HOOK)));
        ends_by_a_cancel(|| held(&FOR_THE_HOOK));
        drop(hook);

        let listener = support::Listener {
            level: tracing::Level::ERROR,
            hears: |_| drop(held(&FOR_THE_SUBSCRIBER)),
        };
        tracing::subscriber::set_global_default(listener).expect("it is the first");
        ends_by_a_cancel(|| held(&FOR_THE_SUBSCRIBER));
    });
}

#[cfg(unix)]
fn a_deadlock_is_cancelled_although_nothing_reads_stderr() {
    const NAME: &str = "a_deadlock_is_cancelled_although_nothing_reads_stderr";
    if support::is_child() {
        deadlock::set_policy(DeadlockPolicy::Cancel);
        return ends_by_a_cancel(|| ());
    }
    let (_unread, full) = support::unread_stderr();
    support::run_in_child_with_stderr(NAME, full);
}

/// A hook that never returns.
#[cfg(unix)]
fn a_hook_that_waits_for_a_thread_of_the_deadlock_keeps_no_abort() {
    use std::os::unix::process::ExitStatusExt;
    const NAME: &str = "a_hook_that_waits_for_a_thread_of_the_deadlock_keeps_no_abort";
    static HELD: StdMutex<()> = StdMutex::new(());

    if support::is_child() {
        deadlock::set_policy(DeadlockPolicy::Abort);
        let _hook = deadlock::on_found(|_| {
            println!("the hook waits");
            drop(HELD.lock());
        });
        let (a, b, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
        thread::spawn(|| {
            thread::sleep(LONG);
            std::process::exit(1);
        });
        let ended = TaskGroup::scope(|g| {
            g.task().dedicated().spawn(|| {
                let _held = HELD.lock();
                cross(&a, &b, &both)
            });
            g.task().dedicated().spawn(|| cross(&b, &a, &both));
            Ok(())
        });
        panic!("it is not over: {ended:?}");
    }
    let output = support::run_in_child(NAME);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.signal(), Some(6), "not by SIGABRT: {text}");
    assert!(text.contains("the hook waits"), "{text}");
}

/// The variable is read where the first thread waits: no other call starts the search.
#[cfg(unix)]
fn a_variable_of_the_environment_makes_a_deadlock_end_the_process() {
    use std::os::unix::process::ExitStatusExt;
    const NAME: &str = "a_variable_of_the_environment_makes_a_deadlock_end_the_process";

    if support::is_child() {
        let (a, b, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
        let ended = TaskGroup::scope(|g| {
            g.task().dedicated().spawn(|| cross(&a, &b, &both));
            g.task().dedicated().spawn(|| cross(&b, &a, &both));
            Ok(())
        });
        panic!("it is not over: {ended:?}");
    }
    let output = support::run_in_child_by(&["env", "TASKGROUP_DEADLOCKS=abort"], NAME);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(6), "not by SIGABRT: {text}");
    assert!(text.contains("taskgroup: deadlock: 2 threads"), "{text}");
    assert!(text.contains("; the process aborts now"), "{text}");
}

fn a_deadlock_that_no_cancel_can_end_cancels_no_group() {
    alone("a_deadlock_that_no_cancel_can_end_cancels_no_group", || {
        let (report, reports) = mpsc::channel();
        let report = StdMutex::new(report);
        let _hook = deadlock::on_found(move |found| {
            let report = report.lock().unwrap();
            report
                .send(found.is_cancellable())
                .expect("the test listens");
        });
        deadlock::set_policy(DeadlockPolicy::Cancel);

        let (send, token) = mpsc::channel();
        thread::spawn(move || {
            let lock = Mutex::new(());
            let _held = lock.lock_uncancellable();
            let ended = TaskGroup::scope(|g| {
                send.send(g.token().clone()).expect("the test listens");
                g.task().dedicated().spawn(|| {
                    drop(lock.lock_uncancellable());
                    Ok(())
                });
                Ok(())
            });
            panic!("it is not over: {ended:?}");
        });
        let token: CancelToken = token.recv_timeout(LONG).unwrap();
        assert_eq!(reports.recv_timeout(LONG), Ok(false));

        // By the time that a later one was cancelled, the first would have been.
        let (a, b, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
        let later = TaskGroup::scope(|g| {
            g.task().dedicated().spawn(|| cross(&a, &b, &both));
            g.task().dedicated().spawn(|| cross(&b, &a, &both));
            Ok(())
        });
        assert!(later.unwrap_err().cancelled().is_some());
        assert!(!token.is_cancelled());
        // The threads of the first stay, and end with the process.
    });
}
