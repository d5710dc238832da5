//! Threads that stay in their waits, and are no deadlock.

use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use taskgroup::sync::{Condvar, Event, Mutex, Promise, RwLock, Semaphore};
use taskgroup::{CancelToken, Ready, TaskGroup, snapshot};

use super::support::{self, Gate, LONG};
use super::{
    cross, find_none, innocent, is_race, lock_in_a_task, planted, quiet, race_on_workers,
    until_asleep, until_ending,
};

/// A task holds a lock in `wait`, and another waits for the lock.
fn holder_in(names: [&'static str; 2], wait: impl Fn() -> anyhow::Result<()> + Send + Sync) {
    let (lock, held) = (Mutex::new(()), Gate::default());
    innocent(&names[1..], || {
        TaskGroup::scope(|g| {
            g.task().name(names[0]).dedicated().spawn(|| {
                let _held = lock.lock()?;
                held.open();
                wait()
            });
            held.wait();
            g.task().name(names[1]).dedicated().spawn(|| {
                drop(lock.lock()?);
                Ok(())
            });
            Ok(())
        })
    });
}

#[test]
fn a_holder_that_sleeps_for_a_time_is_no_deadlock() {
    holder_in(["sleeps", "waits-1"], || Ok(taskgroup::sleep(LONG)?));
    holder_in(["receives", "waits-2"], || {
        let (_sender, receiver) = taskgroup::channel::bounded::<()>(1);
        assert!(receiver.recv_timeout(LONG).is_err());
        Ok(())
    });
    holder_in(["joins-for-a-time", "waits-3"], || {
        Ok(Event::new().wait_timeout(LONG).map(drop)?)
    });
    holder_in(["condvar", "waits-4"], || {
        let (lock, condvar) = (Mutex::new(()), Condvar::new());
        let mut guard = lock.lock()?;
        Ok(condvar.wait_timeout(&mut guard, LONG).map(drop)?)
    });
}

/// The join is for a thread that is known, and ends by itself all the same.
#[test]
fn a_holder_that_joins_for_a_time_is_no_deadlock() {
    let (lock, held) = (Mutex::new(()), Gate::default());
    innocent(&["joins-until", "joined-until"], || {
        let (lock, held) = (&lock, &held);
        TaskGroup::scope(|g| {
            let joined = g.task().name("joined-until").dedicated().spawn(|| {
                held.wait();
                drop(lock.lock()?);
                Ok(())
            });
            g.task().name("joins-until").dedicated().spawn(move || {
                let _held = lock.lock()?;
                held.open();
                Ok(joined.wait_timeout(LONG).map(drop)?)
            });
            Ok(())
        })
    });
}

#[cfg(all(unix, feature = "net"))]
#[test]
fn a_holder_that_reads_a_socket_is_no_deadlock() {
    use std::io::Read;
    holder_in(["reads-a-socket", "waits-5"], || {
        let (mut stream, _other) = taskgroup::net::UnixStream::pair()?;
        stream.read_exact(&mut [0])?;
        Ok(())
    });
}

#[cfg(all(unix, feature = "io"))]
#[test]
fn a_holder_that_reads_a_pipe_and_will_send_is_no_deadlock() {
    use std::io::Read;
    let sent = Event::new();
    holder_in(["reads-a-pipe", "waits-14"], || {
        let (mut reader, _writer) = taskgroup::io::pipe()?;
        reader.read_exact(&mut [0])?;
        sent.set();
        Ok(())
    });
}

#[cfg(all(unix, feature = "io"))]
#[test]
fn a_holder_that_reads_stdin_and_will_send_is_no_deadlock() {
    use std::io::Read;
    use std::process::{Command, Stdio};
    const NAME: &str = "a_holder_that_reads_stdin_and_will_send_is_no_deadlock";

    if support::is_child() {
        let sent = Event::new();
        return holder_in(["reads-stdin", "waits-15"], || {
            taskgroup::io::stdin().read_exact(&mut [0])?;
            sent.set();
            Ok(())
        });
    }
    // Standard input is open, and nothing comes from it.
    let mut child = Command::new(std::env::current_exe().expect("a test binary knows its path"))
        .args(["--exact", &support::path_of(NAME), "--test-threads=1"])
        .env(support::CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the test binary starts");
    let input = child.stdin.take();
    let status = child.wait().expect("it is a child of this process");
    drop(input);
    assert!(status.success());
}

#[cfg(all(unix, feature = "process"))]
#[test]
fn a_holder_that_waits_for_a_child_and_will_send_is_no_deadlock() {
    use taskgroup::process::{Command, Stdio};
    let sent = Event::new();
    holder_in(["waits-for-a-child", "waits-16"], || {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        child.wait()?;
        drop(input);
        sent.set();
        Ok(())
    });
}

#[test]
fn a_holder_that_waits_for_what_an_abandoned_thread_will_send_is_no_deadlock() {
    let (sender, receiver) = taskgroup::channel::bounded::<()>(1);
    let (begun, over) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
    let (begins, goes_on) = (begun.clone(), over.clone());
    let token = CancelToken::new();
    thread::scope(|threads| {
        let leaves = threads.spawn(|| {
            token.run(|| {
                taskgroup::abandon(move || {
                    begins.open();
                    goes_on.wait();
                    sender.send(())
                })
            })
        });
        begun.wait();
        token.cancel();
        let left = leaves.join().expect("it leaves the thread behind");
        assert!(left.is_err());
    });
    holder_in(["receives-from-abandoned", "waits-17"], || {
        Ok(receiver.recv()?)
    });
    // It could have sent at any time.
    over.open();
    assert!(receiver.recv().is_ok());
}

#[test]
fn a_holder_that_a_kept_handle_can_unpark_is_no_deadlock() {
    let (send, parked) = std::sync::mpsc::channel::<thread::Thread>();
    let over = Gate::default();
    thread::scope(|threads| {
        let over = &over;
        threads.spawn(move || {
            let parked = parked.recv().expect("the task sends it");
            over.wait();
            parked.unpark();
        });
        let send = std::sync::Mutex::new(send);
        holder_in(["parked-with-a-handle", "waits-18"], || {
            send.lock().unwrap().send(thread::current())?;
            Ok(taskgroup::park()?)
        });
        over.open();
    });
}

/// The thread of the cancel runs the hook, and the wait is not over before the hook is.
#[test]
fn a_hook_of_a_cancel_that_runs_is_no_deadlock() {
    let (lock, token) = (Mutex::new(()), CancelToken::new());
    let (inside, fired, over) = (Gate::default(), Gate::default(), Gate::default());
    let _watch = quiet();
    TaskGroup::scope(|g| {
        g.task().name("in-the-hook").dedicated().spawn(|| {
            let _held = lock.lock()?;
            token.run(|| {
                let hook = || {
                    fired.open();
                    over.wait();
                };
                // It returns once the hook has.
                taskgroup::with_cancel_hook(hook, || {
                    inside.open();
                    fired.wait();
                });
            });
            Ok(())
        });
        inside.wait();
        g.task().name("cancels-it").dedicated().spawn(|| {
            token.cancel();
            Ok(())
        });
        fired.wait();
        g.task().name("waits-for-the-hook").dedicated().spawn(|| {
            drop(lock.lock()?);
            Ok(())
        });
        support::until_waiting(&lock, 1);
        let tasks = ["in-the-hook", "cancels-it", "waits-for-the-hook"];
        (0..3).for_each(|_| find_none(&tasks));
        over.open();
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_deadline_that_has_passed_ends_the_deadlock_though_its_timer_is_late() {
    support::alone(
        "a_deadline_that_has_passed_ends_the_deadlock_though_its_timer_is_late",
        || {
            let _watch = quiet();
            let (rings, over) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
            let (rung, kept) = (rings.clone(), over.clone());
            let token = CancelToken::new();
            // Keeps the thread of the timer.
            let _guard = token.on_cancel(move || {
                rung.open();
                kept.wait();
            });
            // Later, since a deadline that has passed already cancels here.
            token.cancel_after(Duration::from_millis(20));
            rings.wait();

            let (a, b, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
            let deadline = Instant::now() + Duration::from_millis(200);
            thread::scope(|threads| {
                let cut = threads.spawn(|| {
                    TaskGroup::builder().deadline(deadline).scope(|g| {
                        let one = g.task().name("late-a").dedicated();
                        one.spawn(|| cross(&a, &b, &both));
                        let other = g.task().name("late-b").dedicated();
                        other.spawn(|| cross(&b, &a, &both));
                        anyhow::Ok(())
                    })
                });
                thread::sleep(deadline.saturating_duration_since(Instant::now()));
                (0..3).for_each(|_| find_none(&["late-a", "late-b"]));
                let cut = cut.join().expect("it returns the cancel");
                assert!(cut.unwrap_err().cancelled().is_some());
                assert!(!over.is_open());
                over.open();
            });
        },
    );
}

#[test]
fn a_holder_that_waits_for_a_signal_of_another_thread_is_no_certain_deadlock() {
    holder_in(["event", "waits-6"], || Ok(Event::new().wait()?));
    holder_in(["channel", "waits-7"], || {
        let (_sender, receiver) = taskgroup::channel::bounded::<()>(1);
        Ok(receiver.recv()?)
    });
    holder_in(["parks", "waits-8"], || Ok(taskgroup::park()?));
    holder_in(["token", "waits-9"], || Ok(CancelToken::new().wait()?));
}

#[test]
fn a_thread_outside_of_any_scope_that_holds_a_lock_and_computes_is_no_deadlock() {
    let lock = Mutex::new(());
    let held = lock.lock_uncancellable();
    innocent(&["waits-for-a-thread"], || {
        TaskGroup::scope(|g| {
            g.task().name("waits-for-a-thread").dedicated().spawn(|| {
                drop(lock.lock()?);
                Ok(())
            });
            Ok(())
        })
    });
    drop(held);
}

#[test]
fn a_holder_that_tries_the_other_lock_is_no_deadlock() {
    let (a, b, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
    innocent(&["waits-for-one-that-tries"], || {
        TaskGroup::scope(|g| {
            g.task()
                .name("waits-for-one-that-tries")
                .dedicated()
                .spawn(|| cross(&a, &b, &both));
            g.task().dedicated().spawn(|| {
                let _held = b.lock()?;
                both.wait();
                while a.try_lock().is_none() {
                    taskgroup::yield_now()?;
                }
                Ok(())
            });
            Ok(())
        })
    });
}

#[test]
fn many_that_want_a_lock_are_no_deadlock_while_its_holder_runs() {
    let (lock, over) = (Mutex::new(()), Gate::default());
    let _watch = quiet();
    TaskGroup::scope(|g| {
        let held = lock.lock()?;
        for _ in 0..64 {
            g.task().name("one-of-many").dedicated().spawn(|| {
                drop(lock.lock()?);
                Ok(())
            });
        }
        support::until_waiting(&lock, 64);
        (0..3).for_each(|_| find_none(&["one-of-many"]));
        drop(held);
        over.open();
        Ok(())
    })
    .unwrap();
}

#[test]
fn readers_that_run_are_no_deadlock_for_a_writer() {
    let (lock, reading, over) = (RwLock::new(()), Barrier::new(3), Gate::default());
    let _watch = quiet();
    TaskGroup::scope(|g| {
        for _ in 0..2 {
            g.task().dedicated().spawn(|| {
                // A second guard, with no writer in the queue.
                let _first = lock.read()?;
                let _second = lock.read()?;
                reading.wait();
                over.wait();
                Ok(())
            });
        }
        reading.wait();
        g.task().name("writes-later").dedicated().spawn(|| {
            drop(lock.write()?);
            Ok(())
        });
        g.task().name("reads-later").dedicated().spawn(|| {
            support::until_waiting(&lock, 1);
            drop(lock.read()?);
            Ok(())
        });
        support::until_waiting(&lock, 2);
        (0..3).for_each(|_| find_none(&["writes-later", "reads-later"]));
        over.open();
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_holder_that_a_task_of_another_runtime_lets_go_is_no_deadlock() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .expect("a runtime starts");
    let (promise, over) = (
        Arc::new(Promise::new()),
        Arc::new(tokio::sync::Notify::new()),
    );
    let (theirs, ends) = (promise.clone(), over.clone());
    let completes = runtime.spawn(async move {
        ends.notified().await;
        theirs.set(7).is_ok()
    });
    holder_in(["promise", "waits-10"], || Ok(promise.wait().map(drop)?));
    over.notify_one();
    assert!(runtime.block_on(completes).expect("it sets the promise"));
}

#[test]
fn a_holder_that_a_running_callback_lets_go_is_no_deadlock() {
    let (event, over) = (Arc::new(Event::new()), Arc::new(Gate::default()));
    let token = CancelToken::new();
    let (sets, waits) = (event.clone(), over.clone());
    let _guard = token.on_cancel(move || {
        waits.wait();
        sets.set();
    });
    thread::scope(|threads| {
        threads.spawn(|| token.cancel());
        holder_in(["set-by-a-callback", "waits-11"], || Ok(event.wait()?));
        over.open();
    });
    assert!(event.is_set());
}

/// What another thread holds by reference may still be used.
#[test]
fn a_holder_of_which_a_thread_outside_has_a_reference_is_no_deadlock() {
    static PERMITS: Semaphore = Semaphore::new(0);
    static BARRIER: taskgroup::sync::Barrier = taskgroup::sync::Barrier::new(2);

    holder_in(["permit", "waits-12"], || {
        Ok(PERMITS.acquire().map(drop)?)
    });
    holder_in(["barrier", "waits-13"], || Ok(BARRIER.wait().map(drop)?));
    PERMITS.add_permits(1);
    assert!(PERMITS.try_acquire().is_some());
}

#[test]
fn a_reader_in_foreign_code_is_no_deadlock_for_a_writer() {
    let (lock, over) = (RwLock::new(()), Gate::default());
    let _watch = quiet();
    TaskGroup::scope(|g| {
        let reading = Gate::default();
        thread::scope(|threads| {
            threads.spawn(|| {
                let _reading = lock.read_uncancellable();
                reading.open();
                over.wait();
            });
            reading.wait();
            g.task()
                .name("writes-behind-foreign")
                .dedicated()
                .spawn(|| {
                    drop(lock.write()?);
                    Ok(())
                });
            support::until_waiting(&lock, 1);
            (0..3).for_each(|_| find_none(&["writes-behind-foreign"]));
            over.open();
        });
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_search_under_a_lock_takes_no_lock_of_the_user() {
    let (lock, data) = (Mutex::new(()), RwLock::new(()));
    let _watch = quiet();
    TaskGroup::scope(|g| {
        let held = (lock.lock()?, data.write()?);
        g.task()
            .name("waits-for-the-searcher")
            .dedicated()
            .spawn(|| {
                drop(lock.lock()?);
                Ok(())
            });
        support::until_waiting(&lock, 1);
        (0..3).for_each(|_| find_none(&["waits-for-the-searcher"]));
        drop(held);
        Ok(())
    })
    .unwrap();
}

/// Two programs in one process: what one waits for is no reason for the other.
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
