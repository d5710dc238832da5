//! Cycles that go over tasks, scopes and callbacks.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex as StdMutex, mpsc};
use std::thread;
use std::time::Duration;

use taskgroup::deadlock::{self, DeadlockPolicy};
use taskgroup::sync::{Mutex, RwLock};
use taskgroup::{CancelToken, Ready, TaskGroup, TaskHandle};

use super::support::{Gate, alone};
use super::{
    cross, find, find_none, find_with_tail, lock_in_a_task, planted, planted_with_tail, quiet,
    race_on_workers, spawn_cross, until_asleep,
};

#[test]
fn a_task_that_joins_a_task_that_waits_for_its_lock() {
    let (lock, locked) = (Mutex::new(()), Gate::default());
    let found = planted(&["joins", "joined"], || {
        TaskGroup::scope(|g| {
            let joined = g.task().name("joined").dedicated().spawn(|| {
                locked.wait();
                drop(lock.lock()?);
                Ok(())
            });
            g.task().name("joins").dedicated().spawn(|| {
                let _held = lock.lock()?;
                locked.open();
                Ok(joined.join()?)
            });
            Ok(())
        })
    });
    let whats: BTreeSet<_> = found.threads().iter().map(|thread| thread.what()).collect();
    assert_eq!(whats, BTreeSet::from(["Mutex::lock", "TaskHandle::join"]));
}

#[test]
fn a_task_in_place_that_waits_for_the_lock_below_it() {
    let lock = RwLock::new(());
    // Held where no task is: the task runs on the thread of the scope and waits for that thread.
    let found = planted(&["in-place"], || {
        let held = lock.read_uncancellable();
        let _ = TaskGroup::scope(|g| {
            g.task().name("in-place").spawn(|| {
                drop(lock.write()?);
                Ok(())
            });
            Ok(())
        });
        drop(held);
    });
    let writes = found
        .threads()
        .iter()
        .find(|thread| thread.task_name() == Some("in-place"));
    let writes = writes.expect("it is in the cycle");
    assert_eq!(writes.what(), "RwLock::write");
    assert_eq!(writes.waits_for().len(), 1);
}

#[test]
fn tasks_that_join_each_other_or_themselves() {
    type Shared<'scope> = Arc<StdMutex<Option<TaskHandle<'scope, ()>>>>;
    fn join_shared(handle: &Shared<'_>, there: &Gate) -> anyhow::Result<()> {
        there.wait();
        let handle = handle.lock().unwrap().take().expect("it is there");
        Ok(handle.wait().map(drop)?)
    }

    let there = Gate::default();
    let found = planted(&["joins-b", "joins-a"], || {
        TaskGroup::scope(|g| {
            let (a, b): (Shared<'_>, Shared<'_>) = Default::default();
            let (theirs, there) = (b.clone(), &there);
            let joins_b = g.task().name("joins-b").dedicated();
            *a.lock().unwrap() = Some(joins_b.spawn(move || join_shared(&theirs, there)));
            let theirs = a.clone();
            let joins_a = g.task().name("joins-a").dedicated();
            *b.lock().unwrap() = Some(joins_a.spawn(move || join_shared(&theirs, there)));
            there.open();
            Ok(())
        })
    });
    assert!(
        found
            .threads()
            .iter()
            .all(|thread| thread.what() == "TaskHandle::join")
    );

    let there = Gate::default();
    let found = planted(&["joins-itself"], || {
        TaskGroup::scope(|g| {
            let own = Shared::default();
            let (theirs, there) = (own.clone(), &there);
            let task = g.task().name("joins-itself").dedicated();
            *own.lock().unwrap() = Some(task.spawn(move || join_shared(&theirs, there)));
            there.open();
            Ok(())
        })
    });
    assert_eq!(found.threads().len(), 1);
    assert!(
        found.to_string().contains("a thread waits for itself"),
        "{found}"
    );
}

#[test]
fn a_body_that_keeps_a_guard_to_the_end_of_its_scope() {
    let lock = Mutex::new(());
    let found = planted(&["wants"], || {
        let held = lock.lock_uncancellable();
        let _ = TaskGroup::scope(|g| {
            g.task().name("wants").dedicated().spawn(|| {
                drop(lock.lock()?);
                Ok(())
            });
            Ok(())
        });
        drop(held);
    });
    let text = found.to_string();
    assert!(text.contains("the body of a scope"), "{text}");
    assert!(text.contains("the end of the scope"), "{text}");
    assert_eq!(found.threads().len(), 2, "{text}");
}

/// Without its `Ready`, only the end of the task lets the call of `start` go on.
#[test]
fn a_task_that_is_started_under_a_lock_that_it_wants() {
    let lock = Mutex::new(());
    let found = planted(&["started"], || {
        TaskGroup::scope(|g| {
            let _held = lock.lock()?;
            let started = g.task().name("started").dedicated().start(|ready| {
                drop::<Ready<()>>(ready);
                drop(lock.lock()?);
                Ok(())
            });
            Ok(started?)
        })
    });
    assert_eq!(found.threads().len(), 2, "{found}");
}

/// The call was cancelled, so it waits for the end of the task, with or without a `Ready`.
#[test]
fn a_cancelled_start_under_a_lock_that_its_task_wants() {
    alone("a_cancelled_start_under_a_lock_that_its_task_wants", || {
        deadlock::set_policy(DeadlockPolicy::Ignore);
        thread::spawn(|| {
            let (lock, token) = (Mutex::new(()), CancelToken::new());
            TaskGroup::scope(|g| {
                let _held = lock.lock()?;
                let started = token.run(|| {
                    g.task().name("outlasts").dedicated().start(|ready| {
                        token.cancel();
                        drop(lock.lock_uncancellable());
                        ready.send(());
                        Ok(())
                    })
                });
                Ok(started?)
            })
        });
        let found = find(&["outlasts"]);
        assert!(!found.is_cancellable(), "{found}");
        // The threads stay, and end with the process.
    });
}

/// Asserts that it is a deadlock if `waits`, in the body of a group with a limit of one, waits for
/// a queued task: `first`, the task that has the permit, wants a lock of the body. The name is the
/// test's own: others look for deadlocks meanwhile.
fn assert_queued_behind_the_limit(
    first: &'static str,
    waits: impl for<'scope> Fn(&'scope TaskGroup<'scope, '_>) -> anyhow::Result<()> + Sync,
) {
    let (lock, held) = (Mutex::new(()), Gate::default());
    let found = planted(&[first], || {
        TaskGroup::builder().limit(1).scope(|g| {
            let locked = lock.lock()?;
            g.task().name(first).dedicated().spawn(|| {
                held.open();
                drop(lock.lock()?);
                Ok(())
            });
            held.wait();
            waits(g)?;
            drop(locked);
            anyhow::Ok(())
        })
    });
    let text = found.to_string();
    let limit = "queued behind the limit of 1: 1 of 1 permits are held";
    assert!(text.contains(limit), "{text}");
    assert_eq!(found.threads().len(), 2, "{text}");
}

/// A task that has not begun has its `Ready`.
#[test]
fn a_start_of_a_task_that_is_queued_behind_a_limit() {
    assert_queued_behind_the_limit("before-the-start", |g| {
        g.start(|ready| {
            ready.send(());
            Ok(())
        })?;
        Ok(())
    });
}

#[test]
fn a_guard_of_a_running_callback_that_is_dropped_under_a_lock_that_it_wants() {
    let lock = Arc::new(Mutex::new(()));
    let (runs, held) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
    let inner = CancelToken::new();
    let found = planted(&["drops-the-guard"], || {
        let test = taskgroup::current_token().expect("the test runs under one");
        let (theirs, begun, go_on) = (lock.clone(), runs.clone(), held.clone());
        let guard = inner.on_cancel(move || {
            begun.open();
            go_on.wait();
            // Ends with the test.
            let _ = test.run(|| theirs.lock().map(drop));
        });
        thread::scope(|threads| {
            threads.spawn(|| inner.cancel());
            let _ = TaskGroup::scope(|g| {
                g.task().name("drops-the-guard").dedicated().spawn(|| {
                    let _held = lock.lock()?;
                    runs.wait();
                    held.open();
                    drop(guard);
                    Ok(())
                });
                Ok(())
            });
        });
    });
    let drops = found
        .threads()
        .iter()
        .find(|thread| thread.task().is_some());
    let drops = drops.expect("a task is in the cycle");
    assert_eq!(drops.what(), "the drop of the CallbackGuard of on_cancel");
    assert_eq!(found.threads().len(), 2, "{found}");
}

#[test]
fn a_task_that_is_queued_behind_a_limit() {
    assert_queued_behind_the_limit("before-the-join", |g| {
        let queued = g.task().name("queued").spawn(|| Ok(()));
        Ok(queued.join()?)
    });
}

/// A snapshot lists no more of a queue than its first tasks, but the search knows all of it.
#[test]
fn the_last_task_of_a_long_queue_behind_a_limit() {
    join_behind(600, "before-the-last", |tasks| tasks.len() - 1);
}

#[test]
fn a_task_of_a_long_queue_that_has_tasks_that_were_cancelled() {
    join_behind(600, "before-the-cancelled", |tasks| {
        tasks.iter().skip(1).step_by(2).for_each(TaskHandle::cancel);
        0
    });
}

/// Plants a join of one of so many tasks, each of which waits for the permit of the task `first`,
/// which waits for the joiner. The name is the test's own: others look for deadlocks meanwhile.
#[track_caller]
fn join_behind(
    queued: usize,
    first: &'static str,
    chosen: impl Fn(&[TaskHandle<'_, ()>]) -> usize + Sync,
) {
    let (lock, held) = (Mutex::new(()), Gate::default());
    let found = planted(&[first], || {
        TaskGroup::builder().limit(1).scope(|g| {
            let locked = lock.lock()?;
            g.task().name(first).dedicated().spawn(|| {
                held.open();
                drop(lock.lock()?);
                Ok(())
            });
            held.wait();
            let mut queued: Vec<_> = (0..queued).map(|_| g.spawn(|| Ok(()))).collect();
            let chosen = chosen(&queued);
            queued.swap_remove(chosen).join()?;
            drop(locked);
            anyhow::Ok(())
        })
    });
    let text = found.to_string();
    assert!(text.contains("queued behind the limit of 1"), "{text}");
    assert_eq!(found.threads().len(), 2, "{text}");
}

/// A daemon needs no permit, so it can let no queued task begin.
#[test]
fn a_task_that_is_queued_behind_a_limit_beside_a_daemon_that_sleeps() {
    assert_queued_behind_the_limit("beside-the-daemon", |g| {
        g.spawn_daemon(|| Ok(taskgroup::sleep(Duration::MAX)?));
        Ok(g.spawn(|| Ok(())).join()?)
    });
}

#[test]
fn a_wait_over_an_inner_group_for_a_queued_task_gives_the_permit_away() {
    let _watch = quiet();
    // It would be a deadlock if the permit was kept. Searches come in between.
    let over = AtomicBool::new(false);
    thread::scope(|threads| {
        threads.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                find_none(&["slot", "inner", "behind"]);
            }
        });
        for _ in 0..20 {
            TaskGroup::builder()
                .limit(1)
                .scope(|g| {
                    let (send, receive) = mpsc::channel();
                    let (ask, asked) = mpsc::channel::<()>();
                    g.task().name("slot").spawn(move || {
                        ask.send(())?;
                        let behind: TaskHandle<'_, ()> = receive.recv()?;
                        TaskGroup::scope(|h| {
                            h.task().name("inner").spawn(move || Ok(behind.join()?));
                            Ok(())
                        })?;
                        Ok(())
                    });
                    asked.recv()?;
                    let behind = g.task().name("behind").spawn(|| Ok(()));
                    assert!(send.send(behind).is_ok());
                    anyhow::Ok(())
                })
                .unwrap();
        }
        over.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_daemon_in_a_wait_that_cannot_be_cancelled() {
    alone("a_daemon_in_a_wait_that_cannot_be_cancelled", || {
        deadlock::set_policy(DeadlockPolicy::Ignore);
        thread::spawn(|| {
            let (lock, begun) = (Mutex::new(()), Gate::default());
            let held = lock.lock_uncancellable();
            let ended = TaskGroup::scope(|g| {
                g.task().name("daemon").dedicated().spawn_daemon(|| {
                    begun.open();
                    drop(lock.lock_uncancellable());
                    Ok(())
                });
                begun.wait();
                Ok(())
            });
            drop(held);
            ended
        });
        let found = find(&["daemon"]);
        assert!(!found.is_cancellable());
        let text = found.to_string();
        assert!(text.contains("a cancel cannot end this"), "{text}");
        // The threads stay, and end with the process.
    });
}

/// The cancel of the daemons ends the wait of the one task, and not of the other.
#[test]
fn a_task_inside_of_a_daemon_in_a_wait_that_cannot_be_cancelled() {
    const NAME: &str = "a_task_inside_of_a_daemon_in_a_wait_that_cannot_be_cancelled";
    alone(NAME, || {
        deadlock::set_policy(DeadlockPolicy::Ignore);
        thread::spawn(|| {
            let (lock, begun) = (Mutex::new(()), Barrier::new(3));
            let held = lock.lock_uncancellable();
            let ended = TaskGroup::scope(|g| {
                g.task().name("with-a-scope").dedicated().spawn_daemon(|| {
                    TaskGroup::scope(|inner| {
                        inner.task().name("goes-on").dedicated().spawn(|| {
                            begun.wait();
                            drop(lock.lock()?);
                            Ok(())
                        });
                        inner.task().name("stays").dedicated().spawn(|| {
                            begun.wait();
                            drop(lock.lock_uncancellable());
                            Ok(())
                        });
                        anyhow::Ok(())
                    })?;
                    Ok(())
                });
                begun.wait();
                Ok(())
            });
            drop(held);
            ended
        });
        let found = find(&["stays"]);
        assert!(!found.is_cancellable(), "{found}");
        // The threads stay, and end with the process.
    });
}

#[test]
fn a_race_of_tasks_that_all_want_a_lock_of_the_caller() {
    let lock = Mutex::new(());
    planted(&["wants-1", "wants-2"], || {
        let _held = lock.lock_uncancellable();
        race_on_workers([&|| lock_in_a_task("wants-1", &lock), &|| {
            lock_in_a_task("wants-2", &lock)
        }])
    });
}

#[test]
fn groups_of_two_foreign_threads() {
    let (a, b, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
    let found = planted_with_tail(&["foreign-a", "foreign-b"], 2, || {
        let token = taskgroup::current_token().expect("the test");
        thread::scope(|threads| {
            for (name, one, other) in [("foreign-a", &a, &b), ("foreign-b", &b, &a)] {
                let (token, both) = (&token, &both);
                threads.spawn(move || {
                    token.run(|| {
                        TaskGroup::scope(|g| {
                            let task = g.task().name(name).dedicated();
                            task.spawn(move || cross(one, other, both));
                            Ok(())
                        })
                    })
                });
            }
        });
    });
    assert_eq!(found.group(), None);
    let text = found.to_string();
    assert!(text.contains("no group in common"), "{text}");
    assert_eq!(
        (found.threads().len(), found.tail().len()),
        (2, 2),
        "{text}"
    );
}

#[test]
fn threads_that_wait_for_a_deadlock_are_listed_apart() {
    let (a, b, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
    let _watch = quiet();
    let token = CancelToken::new();
    thread::scope(|threads| {
        threads.spawn(|| {
            token.run(|| {
                TaskGroup::scope(|g| {
                    let first = g.task().name("head-a").dedicated();
                    let first = first.spawn(|| cross(&a, &b, &both));
                    spawn_cross(g, "head-b", [&b, &a], &both);
                    until_asleep(&["head-a", "head-b"]);
                    for _ in 0..20 {
                        g.task().name("tail-lock").dedicated().spawn(|| {
                            drop(a.lock()?);
                            Ok(())
                        });
                    }
                    g.task()
                        .name("tail-join")
                        .dedicated()
                        .spawn(move || Ok(first.join()?));
                    Ok(())
                })
            })
        });
        let _cancels = token.clone().drop_guard();
        let found = find_with_tail(&["head-a", "head-b"], 22);
        let text = found.to_string();
        assert!(text.contains("22 more wait for them"), "{text}");
        assert!(text.contains("and 12 others"), "{text}");
    });
}
