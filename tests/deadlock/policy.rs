//! What is done about a deadlock.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex as StdMutex, mpsc};

use taskgroup::deadlock::{self, DeadlockPolicy};
use taskgroup::sync::{Event, Mutex};
use taskgroup::{CancelCause, TaskGroup, snapshot};

use super::support::{self, Gate, LONG, alone, until};
use super::{cross, names};

#[test]
fn a_deadlock_in_which_nothing_moves_any_more_is_reported_once() {
    alone(
        "policy::a_deadlock_in_which_nothing_moves_any_more_is_reported_once",
        || {
            let (report, reports) = mpsc::channel();
            let report = StdMutex::new(report);
            let _hook = deadlock::on_found(move |found| {
                let names = names(found).into_iter().map(str::to_owned);
                let names: Vec<_> = names.collect();
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
                g.task()
                    .name("once-a")
                    .dedicated()
                    .spawn(|| cross(&a, &b, &both));
                g.task()
                    .name("once-b")
                    .dedicated()
                    .spawn(|| cross(&b, &a, &both));
                assert_eq!(reports.recv_timeout(LONG).unwrap(), ["once-a", "once-b"]);
                // Found again by each search until the next is found, and not reported again.
                g.task()
                    .name("later-a")
                    .dedicated()
                    .spawn(|| cross(&c, &d, &later));
                g.task()
                    .name("later-b")
                    .dedicated()
                    .spawn(|| cross(&d, &c, &later));
                assert_eq!(reports.recv_timeout(LONG).unwrap(), ["later-a", "later-b"]);
                assert_eq!(reports.try_recv(), Err(mpsc::TryRecvError::Empty));
                g.cancel();
                Ok(())
            })
            .unwrap();
        },
    );
}

#[test]
fn the_default_report_is_one_block_on_stderr() {
    const NAME: &str = "policy::the_default_report_is_one_block_on_stderr";
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
            g.task()
                .name("shown")
                .dedicated()
                .spawn(|| cross(&a, &b, &both));
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
}

#[test]
fn the_policy_cancels_the_innermost_group_and_no_other() {
    alone(
        "policy::the_policy_cancels_the_innermost_group_and_no_other",
        || {
            deadlock::set_policy(DeadlockPolicy::Cancel);
            let _hook = deadlock::on_found(|_| ());
            let (a, b, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
            let over = Event::new();
            TaskGroup::scope(|outer| {
                let sibling = outer.task().dedicated().spawn(|| Ok(over.wait()?));
                let inner = TaskGroup::scope(|g| {
                    g.task()
                        .name("cut-a")
                        .dedicated()
                        .spawn(|| cross(&a, &b, &both));
                    g.task()
                        .name("cut-b")
                        .dedicated()
                        .spawn(|| cross(&b, &a, &both));
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
                assert!(!outer.token().is_cancelled());
                over.set();
                sibling.join()?;
                Ok(())
            })
            .unwrap();
        },
    );
}

#[test]
fn a_hook_that_panics_or_uses_the_crate_ends_no_search() {
    alone(
        "policy::a_hook_that_panics_or_uses_the_crate_ends_no_search",
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
