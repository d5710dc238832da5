//! Threads that stay in their waits, and are no deadlock.

mod groups;

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use taskgroup::sync::{Condvar, Event, Mutex, Promise, RwLock, Semaphore};
use taskgroup::{CancelToken, TaskGroup};

use super::support::{self, Gate, LONG};
use super::{cross, find_none, innocent, quiet, spawn_cross};

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
    use std::process::Stdio;
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
    let mut child = support::test_in_child(NAME)
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
    // One park may return early.
    holder_in(["parks", "waits-8"], || {
        loop {
            taskgroup::park()?;
        }
    });
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
            spawn_cross(g, "waits-for-one-that-tries", [&a, &b], &both);
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

/// An object to which another thread has a reference may still be used.
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
