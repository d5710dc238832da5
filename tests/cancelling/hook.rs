//! Hooks that are called again until the code they stop has ended.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, mpsc};
use std::time::Duration;

use crate::support::{Gate, LONG, panic_messages};
use taskgroup::{CancelToken, GroupError, TaskGroup, with_cancel_hook, with_cancel_hook_repeating};

const PAUSE: Duration = Duration::from_millis(1);

/// Returns when a repeating hook has been called `times`, on whichever threads.
fn let_hooks_run(times: usize) {
    let token = CancelToken::new();
    token.cancel();
    let (called, calls) = mpsc::channel();
    token.run(|| {
        let hook = || called.send(()).expect("the test counts");
        with_cancel_hook_repeating(PAUSE, hook, || {
            for _ in 0..times {
                calls
                    .recv_timeout(LONG)
                    .expect("the hook was not called again");
            }
        });
    });
}

#[test]
fn a_hook_is_called_again_until_its_code_returns() {
    for before in [true, false] {
        let token = CancelToken::new();
        let (called, calls) = mpsc::channel();
        let count = AtomicUsize::new(0);
        let cancel = || assert!(token.cancel());
        if before {
            cancel();
        }
        let value = token.run(|| {
            let hook = || {
                count.fetch_add(1, Ordering::Relaxed);
                called.send(()).expect("the test counts");
            };
            with_cancel_hook_repeating(PAUSE, hook, || {
                if !before {
                    assert!(calls.try_recv().is_err());
                    cancel();
                }
                for _ in 0..4 {
                    calls
                        .recv_timeout(LONG)
                        .expect("the hook was not called again");
                }
                9
            })
        });
        assert_eq!(value, 9);
        let at_the_end = count.load(Ordering::Relaxed);
        let_hooks_run(3);
        assert_eq!(
            count.load(Ordering::Relaxed),
            at_the_end,
            "a hook ran after its region"
        );
    }
}

#[test]
fn code_that_blocks_after_the_first_call_is_stopped_by_a_later_call() -> Result<(), GroupError> {
    let (lock, changed) = (Mutex::new(false), Condvar::new());
    let first = Gate::default();
    TaskGroup::scope(|g| {
        g.spawn(|| {
            let hook = || {
                // It wakes only threads that wait already, and leaves nothing for later ones.
                let _told = lock.lock().unwrap();
                changed.notify_all();
                first.open();
            };
            with_cancel_hook_repeating(PAUSE, hook, || {
                g.cancel();
                first.wait();
                let told = lock.lock().unwrap();
                let (told, timed_out) = changed.wait_timeout(told, LONG).unwrap();
                drop(told);
                assert!(!timed_out.timed_out());
            });
            Ok(())
        });
        Ok(())
    })
}

#[test]
fn without_a_cancel_it_is_never_called() {
    let called = AtomicUsize::new(0);
    let count = || {
        called.fetch_add(1, Ordering::Relaxed);
    };
    assert_eq!(with_cancel_hook_repeating(PAUSE, count, || 1), 1);
    let token = CancelToken::new();
    token.run(|| with_cancel_hook_repeating(PAUSE, count, || let_hooks_run(2)));
    token.cancel();
    let_hooks_run(2);
    assert_eq!(called.into_inner(), 0);
}

#[test]
fn a_call_that_has_begun_ends_before_its_region() {
    for _ in 0..5 {
        let token = CancelToken::new();
        token.cancel();
        let (calls, second) = (AtomicUsize::new(0), Gate::default());
        let [over, early, ended] = [(); 3].map(|()| AtomicBool::new(false));
        token.run(|| {
            let hook = || {
                if calls.fetch_add(1, Ordering::Relaxed) == 1 {
                    second.open();
                    // A region that does not wait ends within this loop. A region that waits
                    // cannot, whatever the scheduler does.
                    for _ in 0..200 {
                        std::thread::yield_now();
                        early.fetch_or(over.load(Ordering::SeqCst), Ordering::SeqCst);
                    }
                    ended.store(true, Ordering::SeqCst);
                }
            };
            with_cancel_hook_repeating(PAUSE, hook, || second.wait());
            over.store(true, Ordering::SeqCst);
        });
        assert!(
            ended.into_inner() && !early.into_inner(),
            "the region ended while its hook ran"
        );
    }
}

#[test]
fn a_hook_that_panics_is_a_failure_of_the_group_and_is_not_called_again() {
    for nth in [0, 1, 2] {
        let (calls, panicking) = (AtomicUsize::new(0), Gate::default());
        let (inside, cancelled) = (Gate::default(), Gate::default());
        let error = TaskGroup::scope(|g| {
            // A task with a handle has a token of its own. Its group reports the panic all the
            // same.
            let task = g.spawn(|| {
                let hook = || {
                    if calls.fetch_add(1, Ordering::Relaxed) == nth {
                        panicking.open();
                        panic!("call {nth}");
                    }
                };
                with_cancel_hook_repeating(PAUSE, hook, || {
                    inside.open();
                    cancelled.wait();
                    panicking.wait();
                    let_hooks_run(4);
                });
                Ok(())
            });
            inside.wait();
            g.cancel();
            cancelled.open();
            taskgroup::shield(|| task.join())?;
            Ok(())
        })
        .unwrap_err();
        assert_eq!(calls.into_inner(), nth + 1);
        let messages: Vec<_> = error
            .panics()
            .map(|panic| panic.message().to_owned())
            .collect();
        assert_eq!(messages, [format!("call {nth}")]);
    }
}

#[test]
fn hooks_that_repeat_nest() {
    let token = CancelToken::new();
    let (outer, inner) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let count = |calls: &AtomicUsize| _ = calls.fetch_add(1, Ordering::Relaxed);
    token.run(|| {
        with_cancel_hook_repeating(
            PAUSE,
            || count(&outer),
            || {
                with_cancel_hook_repeating(
                    PAUSE,
                    || count(&inner),
                    || {
                        token.cancel();
                        crate::support::until(|| {
                            outer.load(Ordering::Relaxed) > 2 && inner.load(Ordering::Relaxed) > 2
                        });
                    },
                );
                let ended = inner.load(Ordering::Relaxed);
                let seen = outer.load(Ordering::Relaxed);
                crate::support::until(|| outer.load(Ordering::Relaxed) > seen);
                assert_eq!(inner.load(Ordering::Relaxed), ended);
            },
        );
    });
}

#[test]
fn regions_end_and_hooks_repeat_at_once() {
    let token = CancelToken::new();
    token.cancel();
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                token.run(|| {
                    for round in 0..50 {
                        let alive = AtomicBool::new(true);
                        let hook =
                            || assert!(alive.load(Ordering::SeqCst), "called after its region");
                        with_cancel_hook_repeating(PAUSE, hook, || {
                            std::thread::sleep(Duration::from_micros(900 + 4 * round));
                        });
                        alive.store(false, Ordering::SeqCst);
                    }
                });
            });
        }
    });
}

#[test]
fn a_sleeper_is_woken_before_a_hook_that_waits_for_it() -> Result<(), GroupError> {
    let (woken, wakes) = mpsc::sync_channel(1);
    let wakes = Mutex::new(wakes);
    let (hooked, sleeping) = (Gate::default(), Gate::default());
    let saw_it = AtomicBool::new(false);
    TaskGroup::scope(|g| {
        g.task().dedicated().spawn(|| {
            let hook = || {
                let wakes = wakes.lock().expect("no hook panicked");
                saw_it.store(wakes.recv_timeout(LONG).is_ok(), Ordering::Relaxed);
            };
            with_cancel_hook(hook, || {
                hooked.open();
                sleeping.wait();
                std::thread::park_timeout(PAUSE);
                while !taskgroup::is_cancelled() {
                    std::thread::yield_now();
                }
            });
            Ok(())
        });
        hooked.wait();
        g.task().dedicated().spawn(|| {
            taskgroup::checkpoint()?;
            sleeping.open();
            let slept = taskgroup::sleep(LONG);
            woken.send(()).expect("the test waits");
            Ok(slept?)
        });
        sleeping.wait();
        g.cancel();
        Ok(())
    })?;
    assert!(
        saw_it.load(Ordering::Relaxed),
        "the hook ran first, and waited in vain"
    );
    Ok(())
}

#[test]
fn a_plain_hook_that_panics_is_a_failure_of_the_group_it_is_in() {
    let (inside, panicking) = (Gate::default(), Gate::default());
    let error = TaskGroup::scope(|g| {
        let task = g.spawn(|| {
            let hook = || {
                panicking.open();
                panic!("the hook");
            };
            taskgroup::timeout(LONG, || {
                with_cancel_hook(hook, || {
                    inside.open();
                    panicking.wait();
                });
                anyhow::Ok(())
            })
        });
        inside.wait();
        task.cancel();
        taskgroup::shield(|| task.join())?;
        Ok(())
    })
    .unwrap_err();
    assert_eq!(panic_messages(&error), ["the hook"]);
}
