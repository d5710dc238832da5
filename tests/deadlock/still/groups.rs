//! Waits of groups and their tasks that are no deadlock.

use std::sync::{Barrier, Once, mpsc};
use std::thread;

use taskgroup::sync::{Event, Mutex};
use taskgroup::{CancelToken, Ready, TaskGroup, deadlock, snapshot};

use super::super::support::{self, Gate, LONG, until};
use super::super::{
    cross, find_none, innocent, is_race, lock_in_a_task, planted, quiet, race_on_workers,
    until_asleep, until_ending,
};

/// Two programs in one process: the waits of one are not a reason for the other.
#[test]
fn groups_that_have_nothing_in_common_are_no_evidence() {
    let (lock, event, held) = (Mutex::new(()), Event::new(), Gate::default());
    thread::scope(|threads| {
        let other = threads.spawn(|| {
            planted(&["theirs-a", "theirs-b"], || {
                let (a, b, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
                TaskGroup::scope(|g| {
                    let first = g.task().name("theirs-a").dedicated();
                    first.spawn(|| cross(&a, &b, &both));
                    let second = g.task().name("theirs-b").dedicated();
                    second.spawn(|| cross(&b, &a, &both));
                    Ok(())
                })
            })
        });
        innocent(&["ours-waits"], || {
            TaskGroup::scope(|g| {
                g.task().name("ours-holds").dedicated().spawn(|| {
                    let _held = lock.lock()?;
                    held.open();
                    Ok(event.wait()?)
                });
                held.wait();
                g.task().name("ours-waits").dedicated().spawn(|| {
                    drop(lock.lock()?);
                    Ok(())
                });
                Ok(())
            })
        });
        let found = other.join().expect("it finds its own");
        assert_eq!(found.threads().len(), 2, "{found}");
    });
}

/// When the last task has ended, the scope cancels its daemons, and that ends the wait.
#[test]
fn a_daemon_that_the_end_of_its_scope_cancels_is_no_deadlock() {
    let lock = Mutex::new(());
    innocent(&["daemon-waits"], || {
        let _held = lock.lock_uncancellable();
        TaskGroup::scope(|g| {
            g.task().name("daemon-waits").dedicated().spawn_daemon(|| {
                drop(lock.lock()?);
                Ok(())
            });
            g.task().dedicated().spawn(|| Ok(taskgroup::sleep(LONG)?));
            Ok(())
        })
    });
}

/// Returns whether the body of a scope with this name, inside of a task, sleeps at its end.
fn sleeps_at_its_end(scope: &str) -> bool {
    let seen = snapshot();
    let mut groups = seen.tasks().flat_map(|task| task.groups());
    groups.any(|group| {
        let wait = group.body().waits();
        group.name() == Some(scope) && wait.is_some_and(|wait| !wait.since().is_zero())
    })
}

#[test]
fn a_task_inside_of_a_daemon_that_the_end_of_its_scope_cancels_is_no_deadlock() {
    let lock = Mutex::new(());
    innocent(&["inside-a-daemon"], || {
        let _held = lock.lock_uncancellable();
        TaskGroup::scope(|g| {
            g.task().dedicated().spawn_daemon(|| {
                // No cancel ends the daemon's own wait, at the end of this scope.
                let inner = TaskGroup::builder().name("inside-of-a-daemon");
                inner.scope(|inner| {
                    inner.task().name("inside-a-daemon").dedicated().spawn(|| {
                        support::until(|| sleeps_at_its_end("inside-of-a-daemon"));
                        drop(lock.lock()?);
                        Ok(())
                    });
                    anyhow::Ok(())
                })?;
                Ok(())
            });
            g.task().dedicated().spawn(|| Ok(taskgroup::sleep(LONG)?));
            Ok(())
        })
    });
}

/// The cancel ends the wait of the one daemon, which lets the other go on.
#[test]
fn a_daemon_that_waits_for_a_daemon_that_the_end_of_its_scope_cancels_is_no_deadlock() {
    let (lock, other, held_by_daemon) = (Mutex::new(()), Mutex::new(()), Gate::default());
    let names = ["holds-for-a-daemon", "waits-for-a-daemon"];
    innocent(&names, || {
        let _held = lock.lock_uncancellable();
        TaskGroup::scope(|g| {
            g.task().name(names[0]).dedicated().spawn_daemon(|| {
                let _other = other.lock()?;
                held_by_daemon.open();
                drop(lock.lock()?);
                Ok(())
            });
            g.task().name(names[1]).dedicated().spawn_daemon(|| {
                held_by_daemon.wait();
                drop(other.lock_uncancellable());
                Ok(())
            });
            g.task().dedicated().spawn(|| Ok(taskgroup::sleep(LONG)?));
            Ok(())
        })
    });
}

/// The first result of a race cancels the others.
#[test]
fn a_race_that_another_task_may_win_is_no_deadlock() {
    let _watch = quiet();
    let lock = Mutex::new(());
    let token = CancelToken::new();
    thread::scope(|threads| {
        threads.spawn(|| {
            token.run(|| {
                let _held = lock.lock_uncancellable();
                race_on_workers([&|| Ok(taskgroup::sleep(LONG)?), &|| {
                    lock_in_a_task("may-lose", &lock)
                }])
            })
        });

        let _cancels = token.clone().drop_guard();
        until_asleep(&["may-lose"]);
        until_ending(is_race);
        (0..3).for_each(|_| find_none(&["may-lose"]));
    });
}

/// A task of a race that runs in place wants a lock of the caller, or waits for a task that does.
#[test]
fn a_race_in_place_that_another_task_may_win_is_no_deadlock() {
    support::alone(
        "a_race_in_place_that_another_task_may_win_is_no_deadlock",
        || {
            let _watch = quiet();
            let line = line!() + 2;
            let wants = |lock: &Mutex<()>| -> anyhow::Result<()> {
                drop(lock.lock()?);
                Ok(())
            };
            let sleeps = || {
                snapshot().tasks().any(|task| {
                    let wait = task.waits().filter(|wait| !wait.since().is_zero());
                    let place = wait.and_then(|wait| wait.location());
                    place.is_some_and(|place| place.line() == line)
                })
            };

            support::with_busy_workers(|| {
                for in_a_scope in [false, true] {
                    let (lock, token, begun) = (Mutex::new(()), CancelToken::new(), Once::new());
                    let (lock, begun, wants) = (&lock, &begun, &wants);
                    thread::scope(|threads| {
                        let _cancels = token.clone().drop_guard();
                        threads.spawn(|| {
                            token.run(|| {
                                let _held = lock.lock_uncancellable();
                                // The first to begin is in place, as no worker has time.
                                taskgroup::race([0; 2].map(|_| {
                                    move || {
                                        let mut is_first = false;
                                        begun.call_once(|| is_first = true);
                                        match is_first {
                                            false => Ok(taskgroup::sleep(LONG)?),
                                            true if !in_a_scope => wants(lock),
                                            true => Ok(TaskGroup::scope(|g| {
                                                g.task().dedicated().spawn(|| wants(lock));
                                                Ok(())
                                            })?),
                                        }
                                    }
                                }))
                            })
                        });

                        until(sleeps);
                        for _ in 0..20 {
                            let found = deadlock::check();
                            let mut threads = found.iter().flat_map(|found| found.threads());
                            assert!(
                                threads.all(|thread| thread.location().line() != line),
                                "{found:?}"
                            );
                        }
                    });
                }
            });
        },
    );
}

/// A body that holds a lock waits for a task in the queue, beside a task that wants the lock.
#[test]
fn a_queued_task_that_no_limit_keeps_is_no_deadlock() {
    support::alone("a_queued_task_that_no_limit_keeps_is_no_deadlock", || {
        let _watch = quiet();
        support::with_busy_workers(|| {
            for joins in [true, false] {
                let lock = Mutex::new(());
                let lock = &lock;
                thread::scope(|threads| {
                    TaskGroup::scope(|g| {
                        let token = g.token().clone();
                        threads.spawn(move || {
                            let _cancels = token.drop_guard();
                            until_asleep(&["wants-the-lock"]);
                            (0..20).for_each(|_| find_none(&["wants-the-lock"]));
                        });

                        let held = lock.lock()?;
                        let wants = g.task().name("wants-the-lock").dedicated();
                        let wants = wants.spawn(|| {
                            drop(lock.lock()?);
                            Ok(())
                        });
                        // A worker may begin it after all. Then it waits for the cancel, as the
                        // body does.
                        let queued = g.spawn(|| Ok(g.token().wait()?));
                        if joins {
                            let _ = queued.join();
                        } else {
                            let _ = g.as_completed([queued, wants]).next();
                        }
                        drop(held);
                        Ok(())
                    })
                    .unwrap();
                });
            }
        });
    });
}

/// A task starts another under a lock. The other does `pass` with its `Ready`, under which it wants
/// the lock.
fn starts_under_a_lock(
    names: [&'static str; 2],
    lock: &Mutex<()>,
    pass: impl FnOnce(Ready<()>) -> anyhow::Result<()> + Send,
) {
    innocent(&names, || {
        TaskGroup::scope(|g| {
            g.task().name(names[0]).dedicated().spawn(move || {
                let _held = lock.lock()?;
                Ok(g.task().name(names[1]).dedicated().start(pass)?)
            });
            Ok(())
        })
    });
}

#[test]
fn a_started_task_with_its_ready_on_another_thread_is_no_deadlock() {
    let (lock, (give, given)) = (Mutex::new(()), mpsc::channel());
    starts_under_a_lock(["starter-1", "passes-it-on"], &lock, |ready| {
        give.send(ready)?;
        drop(lock.lock()?);
        Ok(())
    });
    // This thread could have sent, and the starter would have gone on.
    given.recv().expect("it was passed on").send(());
}

#[test]
fn a_started_task_with_its_ready_in_a_group_inside_is_no_deadlock() {
    let lock = &Mutex::new(());
    innocent(&["starter-2", "waits-inside"], || {
        let start = |ready: Ready<()>| {
            TaskGroup::scope(|inner| {
                inner.task().name("has-the-ready").dedicated().spawn(|| {
                    taskgroup::sleep(LONG)?;
                    ready.send(());
                    Ok(())
                });
                inner.task().name("waits-inside").dedicated().spawn(|| {
                    drop(lock.lock()?);
                    Ok(())
                });
                Ok(())
            })?;
            Ok(())
        };
        TaskGroup::scope(|g| {
            g.task().name("starter-2").dedicated().spawn(move || {
                let _held = lock.lock()?;
                Ok(g.task().dedicated().start(start)?)
            });
            Ok(())
        })
    });
}

/// The task has its `Ready`, but that is not known: it could be anywhere.
#[test]
fn a_started_task_that_has_its_ready_is_no_certain_deadlock() {
    let lock = Mutex::new(());
    starts_under_a_lock(["starter-3", "keeps-it"], &lock, |ready| {
        drop(lock.lock()?);
        ready.send(());
        Ok(())
    });
}
