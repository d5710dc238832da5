//! Processes that are in a deadlock: no thread is left that could wake another.

use std::thread;
use std::time::Duration;

use taskgroup::channel::{Receiver, bounded, select};
use taskgroup::sync::{Barrier, Condvar, Event, Latch, Mutex, Promise, Semaphore};
use taskgroup::{CancelToken, GroupError, TaskGroup};

use super::cases::{Case, planted};

fn has_monitor() -> bool {
    let threads = std::fs::read_dir("/proc/self/task").expect("there is a /proc");
    threads.into_iter().any(|thread| {
        let name = thread.and_then(|thread| std::fs::read_to_string(thread.path().join("comm")));
        // A thread may end while they are listed.
        name.is_ok_and(|name| name.starts_with("taskgroup-monit"))
    })
}

/// Two tasks each wait for a message by `receive`, and hold the sender that the other waits for.
fn receivers_that_wait_for_each_other(
    receive: fn(&Receiver<()>) -> anyhow::Result<()>,
) -> Result<(), GroupError> {
    let (to_a, from_a) = bounded::<()>(1);
    let (to_b, from_b) = bounded::<()>(1);
    TaskGroup::scope(|g| {
        planted();
        for (sender, receiver) in [(to_a, from_b), (to_b, from_a)] {
            g.spawn(move || {
                receive(&receiver)?;
                Ok(sender.send(())?)
            });
        }
        Ok(())
    })
}

pub(crate) const FOUND: &[Case] = &[
    ("ready_with_a_task_that_waits_for_the_starter", || {
        let go_on = Event::new();
        TaskGroup::scope(|g| {
            planted();
            let go_on = &go_on;
            g.start(move |ready| {
                let sends = g.spawn(move || {
                    go_on.wait()?;
                    ready.send(());
                    Ok(())
                });
                Ok(sends.join()?)
            })?;
            go_on.set();
            Ok(())
        })
    }),
    ("ready_of_a_task_that_wants_a_lock_of_the_starter", || {
        let lock = Mutex::new(());
        TaskGroup::scope(|g| {
            planted();
            let _held = lock.lock()?;
            g.start(|ready| {
                drop(lock.lock()?);
                ready.send(());
                Ok(())
            })?;
            Ok(())
        })
    }),
    ("an_event_that_a_queued_task_would_set", || {
        let event = Event::new();
        TaskGroup::builder().limit(1).scope(|g| {
            planted();
            g.spawn(|| Ok(event.wait()?));
            g.spawn(|| {
                event.set();
                Ok(())
            });
            anyhow::Ok(())
        })
    }),
    ("full_channels_crosswise", || {
        let (to_a, from_a) = bounded(1);
        let (to_b, from_b) = bounded(1);
        TaskGroup::scope(|g| {
            planted();
            for (sender, receiver) in [(to_a, from_b), (to_b, from_a)] {
                g.spawn(move || {
                    sender.send(1)?;
                    sender.send(2)?;
                    receiver.recv()?;
                    Ok(())
                });
            }
            Ok(())
        })
    }),
    ("receivers_that_hold_each_others_senders", || {
        receivers_that_wait_for_each_other(|receiver| Ok(receiver.recv()?))
    }),
    ("selections_that_hold_each_others_senders", || {
        receivers_that_wait_for_each_other(|receiver| {
            select! { recv(receiver) -> _message => () }?;
            Ok(())
        })
    }),
    ("a_barrier_that_lacks_one", || {
        let barrier = Barrier::new(3);
        TaskGroup::scope(|g| {
            planted();
            for _ in 0..2 {
                g.spawn(|| Ok(barrier.wait().map(drop)?));
            }
            g.spawn(|| Ok(()));
            Ok(())
        })
    }),
    ("a_notification_before_the_wait", || {
        let (lock, condvar) = (Mutex::new(()), Condvar::new());
        TaskGroup::scope(|g| {
            condvar.notify_one();
            planted();
            g.spawn(|| {
                let mut guard = lock.lock()?;
                Ok(condvar.wait(&mut guard)?)
            });
            Ok(())
        })
    }),
    ("permits_that_are_held_one_by_one", || {
        let (semaphore, both) = (Semaphore::new(2), std::sync::Barrier::new(2));
        TaskGroup::scope(|g| {
            planted();
            for _ in 0..2 {
                g.task().dedicated().spawn(|| {
                    let _one = semaphore.acquire()?;
                    both.wait();
                    drop(semaphore.acquire()?);
                    Ok(())
                });
            }
            Ok(())
        })
    }),
    // The thread of the timer ends after a while, and the search waits for that.
    ("an_event_beside_a_timer_that_has_nothing_to_do", || {
        let (event, past) = (Event::new(), CancelToken::new());
        let (rung, rings) = std::sync::mpsc::channel();
        let _guard = past.on_cancel(move || rung.send(()).expect("the body listens"));
        // Later, since a deadline that has passed already cancels here.
        past.cancel_after(Duration::from_millis(20));
        rings.recv().expect("the timer calls back");
        TaskGroup::scope(|g| {
            planted();
            g.spawn(|| Ok(event.wait()?));
            Ok(())
        })
    }),
    ("an_event_beside_a_monitor_that_has_nothing_to_do", || {
        // The thread that looks after blocked workers comes with the first of them, and stays.
        while !has_monitor() {
            TaskGroup::scope(|g| {
                for _ in 0..64 {
                    g.spawn(|| {
                        thread::sleep(Duration::from_millis(5));
                        Ok(())
                    });
                }
                Ok(())
            })?;
        }
        let event = Event::new();
        TaskGroup::scope(|g| {
            planted();
            g.spawn(|| Ok(event.wait()?));
            Ok(())
        })
    }),
    ("a_latch_that_lacks_one", || {
        let latch = Latch::new(2);
        TaskGroup::scope(|g| {
            planted();
            latch.count_down();
            g.spawn(|| Ok(latch.wait()?));
            Ok(())
        })
    }),
    ("a_park_without_an_unpark", || {
        TaskGroup::scope(|g| {
            planted();
            // One park may return early.
            g.spawn(|| -> anyhow::Result<()> {
                loop {
                    taskgroup::park()?;
                }
            });
            Ok(())
        })
    }),
    ("a_promise_that_its_waiter_keeps", || {
        let promise = Promise::<u8>::new();
        TaskGroup::scope(|g| {
            planted();
            g.spawn(|| {
                promise.wait()?;
                promise.set(1).expect("no other task sets it");
                Ok(())
            });
            Ok(())
        })
    }),
];
