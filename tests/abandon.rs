//! `abandon`: on a cancel the caller continues and leaves code behind that cannot be woken.

mod support;

use std::panic::catch_unwind;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::ThreadId;
use std::time::Instant;

use support::{Bomb, Drops, Gate, Listener, alone, until};
use taskgroup::{CancelToken, GroupError, TaskGroup, abandon, abandon_named, abandoned};

/// Until `n` abandoned threads are left.
fn until_abandoned(n: usize) {
    while abandoned().len() != n {
        std::thread::yield_now();
    }
}

#[test]
fn abandon_returns_the_value_of_a_closure_on_its_own_thread() -> anyhow::Result<()> {
    alone(
        "abandon_returns_the_value_of_a_closure_on_its_own_thread",
        || {
            let caller = std::thread::current().id();
            let (name, other, token) = TaskGroup::scope(|_| {
                let run = || {
                    let thread = std::thread::current();
                    (
                        thread.name().map(str::to_owned),
                        thread.id(),
                        taskgroup::current_token(),
                    )
                };
                Ok(abandon(run)?)
            })
            .expect("nothing is cancelled");
            assert_eq!(name.as_deref(), Some("taskgroup-abandoned"));
            assert_ne!(other, caller);
            assert_eq!(token, None);
            assert_eq!(
                abandoned().len(),
                0,
                "a thread that is waited for is not left behind"
            );
        },
    );
    Ok(())
}

#[test]
fn a_panic_resumes_in_the_caller_that_waits() {
    let panic = catch_unwind(|| drop(abandon(|| panic!("no such host")))).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"no such host"));
}

#[test]
fn in_a_cancelled_scope_the_closure_does_not_begin() {
    let token = CancelToken::new();
    token.cancel();
    let drops = Drops::default();
    let own = drops.counted();
    let begun = Arc::new(Gate::default());
    let outcome = token.run(|| {
        let begun = begun.clone();
        abandon(move || {
            begun.open();
            drop(own);
        })
    });
    assert!(outcome.is_err());
    assert_eq!(drops.count(), 1);
    assert_eq!(Arc::strong_count(&begun), 1, "no thread has it");
    assert!(!begun.is_open());
}

#[test]
fn a_cancel_leaves_the_thread_behind_until_it_ends_by_itself() {
    alone(
        "a_cancel_leaves_the_thread_behind_until_it_ends_by_itself",
        || {
            let (begun, leave) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
            let drops = Drops::default();
            TaskGroup::scope(|g| {
                for _ in 0..3 {
                    let (begun, leave, value) = (begun.clone(), leave.clone(), drops.counted());
                    g.spawn(move || {
                        let outcome = abandon(move || {
                            begun.open();
                            leave.wait();
                            value
                        });
                        assert!(outcome.is_err());
                        drop(outcome?);
                        Ok(())
                    });
                }
                begun.wait();
                g.cancel();
                Ok(())
            })
            .expect("a group that cancels itself is not an error");
            // Calls that had not begun before the cancel have no thread.
            assert!((1..=3).contains(&abandoned().len()));
            let dropped_unrun = 3 - abandoned().len();
            assert_eq!(drops.count(), dropped_unrun);
            leave.open();
            until_abandoned(0);
            assert_eq!(drops.count(), 3);
        },
    );
}

#[test]
fn an_abandoned_thread_that_panics_is_counted_out() {
    alone("an_abandoned_thread_that_panics_is_counted_out", || {
        for destructor in [false, true] {
            let (begun, leave) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
            let token = CancelToken::new();
            std::thread::scope(|s| {
                s.spawn(|| {
                    begun.wait();
                    token.cancel();
                });
                let (begun, leave) = (begun.clone(), leave.clone());
                let outcome = token.run(|| {
                    abandon(move || {
                        begun.open();
                        leave.wait();
                        assert!(destructor, "the closure panics");
                        Bomb("the destructor panics")
                    })
                });
                assert!(outcome.is_err());
            });
            assert_eq!(abandoned().len(), 1);
            leave.open();
            until_abandoned(0);
        }
    });
}

#[test]
fn the_panics_of_an_abandoned_thread_are_traced() {
    alone("the_panics_of_an_abandoned_thread_are_traced", || {
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = events.clone();
        let listener = Listener {
            level: tracing::Level::ERROR,
            hears: move |event| heard.lock().unwrap().push(event),
        };
        tracing::subscriber::set_global_default(listener).expect("it is the first");

        for panic in ["the closure panics", "the destructor panics"] {
            let (token, leave) = (CancelToken::new(), Arc::new(Gate::default()));
            let (theirs, opens) = (token.clone(), leave.clone());
            let outcome = token.run(|| {
                abandon(move || {
                    theirs.cancel();
                    opens.wait();
                    assert_ne!(panic, "the closure panics", "the closure panics");
                    Bomb(panic)
                })
            });
            assert!(outcome.is_err());
            leave.open();
            let is_told = |event: &String| {
                event.contains("an abandoned thread panicked") && event.contains(panic)
            };
            until(|| events.lock().unwrap().iter().any(is_told));
            until_abandoned(0);
        }
    });
}

/// A value that notes the thread that drops it.
struct Noted(mpsc::Sender<ThreadId>);

impl Drop for Noted {
    fn drop(&mut self) {
        let here = std::thread::current().id();
        self.0.send(here).expect("the test waits");
    }
}

/// The closure cancels its caller and returns at once. The caller finds a value beside its cancel
/// then, nearly always, and drops none that it does not return.
#[test]
fn a_value_that_is_there_is_returned_in_spite_of_a_cancel() {
    for _ in 0..200 {
        let (token, (drops, dropped)) = (CancelToken::new(), mpsc::channel());
        let theirs = token.clone();
        let outcome = token.run(|| {
            abandon(move || {
                theirs.cancel();
                Noted(drops)
            })
        });
        if outcome.is_ok() {
            continue;
        }

        let by = dropped.recv().expect("the value is dropped");
        assert_ne!(by, std::thread::current().id(), "its caller had it");
    }
}

/// Either the thread has begun and is listed, or the closure is gone with the call.
#[test]
fn a_closure_that_has_not_begun_is_dropped_with_the_call() {
    alone(
        "a_closure_that_has_not_begun_is_dropped_with_the_call",
        || {
            for round in 0..200 {
                let (token, drops) = (CancelToken::new(), Drops::default());
                let leave = Arc::new(Gate::default());
                let (held, gate) = (drops.counted(), leave.clone());
                let outcome = std::thread::scope(|threads| {
                    threads.spawn(|| {
                        (0..round % 20 * 100).for_each(|_| std::hint::spin_loop());
                        token.cancel();
                    });
                    token.run(|| {
                        abandon(move || {
                            gate.wait();
                            drop(held);
                        })
                    })
                });
                assert!(outcome.is_err());
                assert_eq!(abandoned().len() + drops.count(), 1);
                leave.open();
                until_abandoned(0);
                assert_eq!(drops.count(), 1);
            }
        },
    );
}

#[test]
fn a_value_and_a_cancel_at_once_lose_nothing_and_leak_no_count() {
    alone(
        "a_value_and_a_cancel_at_once_lose_nothing_and_leak_no_count",
        || {
            let drops = Drops::default();
            for _ in 0..200 {
                let token = CancelToken::new();
                let (send, receive) = mpsc::channel();
                std::thread::scope(|s| {
                    let cancelled = token.clone();
                    s.spawn(move || {
                        let _ = receive.recv();
                        cancelled.cancel();
                    });
                    let value = drops.counted();
                    drop(token.run(|| {
                        abandon(move || {
                            let _ = send.send(());
                            value
                        })
                    }));
                });
            }
            until_abandoned(0);
            assert_eq!(drops.count(), 200);
        },
    );
}

#[test]
fn the_task_that_abandons_ends_at_once() -> Result<(), GroupError> {
    let leave = Arc::new(Gate::default());
    TaskGroup::scope(|g| {
        let begun = Arc::new(Gate::default());
        let task = g.spawn({
            let (begun, leave) = (begun.clone(), leave.clone());
            move || {
                Ok(abandon(move || {
                    begun.open();
                    leave.wait();
                })?)
            }
        });
        begun.wait();
        task.cancel_and_wait()?;
        assert!(!leave.is_open());
        Ok(())
    })?;
    leave.open();
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn the_closure_runs_in_place_if_no_thread_can_be_started() {
    const TEST: &str = "the_closure_runs_in_place_if_no_thread_can_be_started";
    if support::is_child() {
        let caller = std::thread::current().id();
        assert!(
            std::thread::Builder::new().spawn(|| {}).is_err(),
            "the test needs a system that refuses"
        );
        let thread = abandon(|| std::thread::current().id());
        assert!(thread.is_ok_and(|thread| thread == caller));

        let token = CancelToken::new();
        token.cancel();
        let outcome = token.run(|| abandon(|| panic!("it begins in a cancelled scope")));
        assert!(outcome.is_err());
        assert_eq!(abandoned().len(), 0);
        return;
    }
    let output = support::run_in_child_without_threads(TEST);
    support::assert_passed(&output);
}

#[test]
fn a_thread_left_behind_is_listed_with_its_name_place_thread_and_time() {
    alone(
        "a_thread_left_behind_is_listed_with_its_name_place_thread_and_time",
        || {
            let before = Instant::now();
            let mut threads = Vec::new();
            let leave = Arc::new(Gate::default());
            let mut lines = Vec::new();
            for name in [Some("resolver"), None] {
                let token = CancelToken::new();
                let (send, begun) = mpsc::channel();
                std::thread::scope(|s| {
                    let (threads, lines, token) = (&mut threads, &lines, &token);
                    s.spawn(move || {
                        threads.push(begun.recv().expect("the closure begins"));
                        assert_eq!(abandoned().len(), lines.len(), "its caller waits still");
                        token.cancel();
                    });
                    let leave = leave.clone();
                    let f = move || {
                        send.send(std::thread::current().id())
                            .expect("the test waits");
                        leave.wait();
                    };
                    let outcome = token.run(|| match name {
                        Some(name) => abandon_named(name, f),
                        None => abandon(f),
                    });
                    assert!(outcome.is_err());
                });
                lines.push(line!() - 5);
            }
            let list = abandoned();
            let found: Vec<_> = list
                .iter()
                .map(|entry| (entry.name.as_deref(), entry.thread))
                .collect();
            assert_eq!(found, [(Some("resolver"), threads[0]), (None, threads[1])]);
            for entry in &list {
                assert!(
                    entry.location.file().ends_with("abandon.rs")
                        && lines[0].abs_diff(entry.location.line()) < 3
                );
                assert!(before <= entry.since && entry.since <= Instant::now());
            }
            let place = format!("({}:{})", list[0].location.file(), list[0].location.line());
            assert_eq!(list[0].to_string(), format!("abandoned `resolver` {place}"));
            assert!(list[1].to_string().starts_with("abandoned ("));
            leave.open();
            until_abandoned(0);
        },
    );
}

#[test]
fn a_named_thread_has_its_name() -> anyhow::Result<()> {
    let name = || std::thread::current().name().map(str::to_owned);
    assert_eq!(
        abandon_named("resolver", name)?.as_deref(),
        Some("resolver")
    );
    let with_nul = abandon_named("re\0solver".to_owned(), name)?;
    assert_eq!(
        with_nul.as_deref(),
        Some("resolver"),
        "the part that a thread name cannot hold is left out"
    );
    Ok(())
}
