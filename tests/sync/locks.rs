//! Mutex and RwLock: exclusion, cancellation, and locks that are never lost.

mod handed_over;
mod read_write;

use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use taskgroup::sync::{Condvar, Event, Mutex, RwLock};
use taskgroup::{CancelToken, TaskGroup};

use crate::support::{Gate, panic_of, until_waiting, watch};

#[test]
fn one_thread_at_a_time_holds_a_mutex() -> anyhow::Result<()> {
    let count = Mutex::new(0);
    TaskGroup::scope(|g| {
        for _ in 0..4 {
            g.spawn(|| {
                for _ in 0..2_000 {
                    *count.lock()? += 1;
                }
                Ok(())
            });
        }
        Ok(())
    })?;
    assert_eq!(count.into_inner(), 8_000);
    Ok(())
}

#[test]
fn a_panic_does_not_poison_a_lock() {
    let mutex = Mutex::new(1);
    let lock = RwLock::new(1);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _guards = (mutex.lock().unwrap(), lock.write().unwrap());
        std::panic::resume_unwind(Box::new("on purpose"));
    }));
    assert!(panicked.is_err());
    assert_eq!((*mutex.lock().unwrap(), *lock.read().unwrap()), (1, 1));
}

#[test]
fn locks_may_hold_unsized_values() {
    let mutex: Box<Mutex<[u8]>> = Box::new(Mutex::new([1, 2, 3]));
    mutex.lock().unwrap()[0] = 7;
    let lock: &RwLock<dyn std::fmt::Debug> = &RwLock::new(1);
    assert_eq!(
        format!("{:?} {:?}", &*mutex.lock().unwrap(), &*lock.read().unwrap()),
        "[7, 2, 3] 1"
    );
}

#[test]
fn a_cancelled_waiter_has_not_locked() -> anyhow::Result<()> {
    let mutex = Mutex::new(0);
    TaskGroup::scope(|g| {
        let held = mutex.lock()?;
        let waiting = g.spawn(|| Ok(*mutex.lock()?));
        let behind = g.spawn(|| Ok(*mutex.lock()?));
        until_waiting(&mutex, 2);
        waiting.cancel();
        assert!(waiting.join().is_err());
        drop(held);
        assert_eq!(behind.join()?, 0);
        Ok(())
    })?;
    assert!(mutex.try_lock().is_some());
    Ok(())
}

#[test]
fn a_cancelled_scope_locks_nothing_but_unlocks() {
    let mutex = Mutex::new(0);
    let lock = RwLock::new(0);
    let token = CancelToken::new();
    token.run(|| {
        let held = (mutex.lock().unwrap(), lock.read().unwrap());
        token.cancel();
        assert!(lock.read().is_err() && lock.write().is_err());
        drop(held);
        for _ in 0..2 {
            assert_eq!(mutex.lock().unwrap_err().origin(), token.id());
        }
        assert!(lock.read().is_err() && lock.write().is_err());
        assert!(mutex.try_lock().is_some() && lock.try_write().is_some());
        *mutex.lock_uncancellable() += 1;
        *lock.write_uncancellable() += *mutex.lock_uncancellable();
        assert_eq!(*lock.read_uncancellable(), 1);
        assert!(taskgroup::shield(|| mutex.lock().is_ok()));
    });
}

#[test]
fn an_uncancellable_lock_waits_in_a_cancelled_scope() -> anyhow::Result<()> {
    let mutex = Mutex::new(0);
    let cleaned = AtomicUsize::new(0);
    let begun = Gate::default();
    TaskGroup::scope(|g| {
        let held = mutex.lock()?;
        g.spawn(|| {
            begun.open();
            while taskgroup::checkpoint().is_ok() {
                std::thread::yield_now();
            }
            *mutex.lock_uncancellable() += 1;
            cleaned.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        begun.wait();
        g.cancel();
        until_waiting(&mutex, 1);
        assert_eq!(cleaned.load(Ordering::SeqCst), 0);
        drop(held);
        Ok(())
    })?;
    assert_eq!((mutex.into_inner(), cleaned.into_inner()), (1, 1));
    Ok(())
}

#[test]
fn locking_an_own_mutex_names_both_places() {
    let mutex = Mutex::new(0);
    let first = line!() + 1;
    let _held = mutex.lock().unwrap();
    let error = TaskGroup::scope(|_| -> anyhow::Result<()> { Ok(()) });
    assert!(error.is_ok(), "a scope in between changes nothing");
    let second =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(mutex.lock()))).unwrap_err();
    let message = second
        .downcast_ref::<String>()
        .expect("a panic with a text");
    assert!(
        message.contains(&format!("{}:{first}:", file!())),
        "{message}"
    );
    let second = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        drop(mutex.lock_uncancellable())
    }));
    assert!(second.is_err());
}

#[test]
fn a_task_in_place_waits_for_a_lock_of_the_owner() -> anyhow::Result<()> {
    let (mutex, lock) = (Mutex::new(0), RwLock::new(0));
    let _held = mutex.lock_uncancellable();
    let _reading = lock.read_uncancellable();
    let owner = std::thread::current().id();
    // The test cannot choose the thread that takes a task. With so many tasks the owner takes at
    // least one.
    let in_place = AtomicUsize::new(0);
    while in_place.load(Ordering::SeqCst) == 0 {
        TaskGroup::scope(|g| {
            g.spawn(|| {
                let soon = Duration::from_millis(1);
                let mutex_had = taskgroup::timeout(soon, || anyhow::Ok(*mutex.lock()?))?;
                let lock_had = taskgroup::timeout(soon, || anyhow::Ok(*lock.write()?))?;
                assert!(mutex_had.is_none() && lock_had.is_none());
                // Locks of its own are known.
                {
                    let own = Mutex::new(0);
                    let _own = own.lock()?;
                    assert!(panic_of(|| own.lock()).contains("holds the lock already"));
                }
                in_place.fetch_add(
                    usize::from(std::thread::current().id() == owner),
                    Ordering::SeqCst,
                );
                Ok(())
            });
            Ok(())
        })?;
    }
    // The task of the owner holds it again, as before.
    assert!(panic_of(|| mutex.lock_uncancellable()).contains("holds the lock already"));
    Ok(())
}

#[test]
fn a_guard_that_a_task_in_place_has_leaked_is_not_the_owners() -> anyhow::Result<()> {
    let _watch = watch();
    let owner = std::thread::current().id();
    let in_place = AtomicUsize::new(0);
    while in_place.load(Ordering::SeqCst) == 0 {
        let (mutex, lock) = (Mutex::new(0), RwLock::new(0));
        TaskGroup::scope(|g| {
            let task = g.spawn(|| {
                mem::forget((mutex.try_lock(), lock.try_read()));
                let is_in_place = std::thread::current().id() == owner;
                in_place.fetch_add(usize::from(is_in_place), Ordering::SeqCst);
                Ok(())
            });
            task.join()?;

            let soon = Duration::from_millis(1);
            let mutex_had = taskgroup::timeout(soon, || anyhow::Ok(*mutex.lock()?))?;
            let lock_had = taskgroup::timeout(soon, || anyhow::Ok(*lock.write()?))?;
            assert!(mutex_had.is_none() && lock_had.is_none());
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_lock_at_the_place_of_one_with_a_leaked_guard_is_another_lock() -> anyhow::Result<()> {
    let _watch = watch();
    let mut mutex = Some(Mutex::new(0));
    mem::forget(mutex.as_ref().map(Mutex::try_lock));
    mutex = Some(Mutex::new(1));

    let mut lock = Some(RwLock::new(0));
    (0..3).for_each(|_| mem::forget(lock.as_ref().map(RwLock::try_read)));
    lock = Some(RwLock::new(1));

    let (mutex, lock) = (mutex.as_ref().unwrap(), lock.as_ref().unwrap());
    let (locked, done) = (Gate::default(), Event::new());
    TaskGroup::scope(|g| {
        g.spawn(|| {
            let _held = (mutex.lock()?, lock.read()?);
            locked.open();
            Ok(done.wait()?)
        });
        locked.wait();

        // This thread waits, like any other.
        let soon = Duration::from_millis(1);
        let mutex_had = taskgroup::timeout(soon, || anyhow::Ok(*mutex.lock()?))?;
        let lock_had = taskgroup::timeout(soon, || anyhow::Ok(*lock.write()?))?;
        done.set();
        assert!(mutex_had.is_none() && lock_had.is_none());
        Ok(())
    })?;

    // The leaked guards do not count: a thread that holds a lock would leave this to a worker.
    let owner = std::thread::current().id();
    let runs_on =
        || TaskGroup::scope(|g| Ok(g.spawn(|| Ok(std::thread::current().id())).join()?));
    while runs_on()? != owner {}
    Ok(())
}

/// A join that a deadline of its own group cuts, by a thread that holds a lock; the task waits for
/// the lock in a shield.
fn a_cut_join_unlocks(hold: impl Fn(&mut dyn FnMut()) + Sync, wait: impl Fn() + Sync) {
    let _watch = watch();
    let error = TaskGroup::builder()
        .deadline(std::time::Instant::now() + Duration::from_millis(20))
        .scope(|g| {
            hold(&mut || {
                let task = g.spawn(|| {
                    wait();
                    Ok(())
                });
                assert!(
                    task.join().is_err(),
                    "the lock is held for as long as the join"
                );
            });
            Ok(())
        });
    // The task has ended, with a value or, if it had not begun by then, without.
    drop(error);
}

#[test]
fn a_task_that_waits_for_a_lock_of_its_joiner_is_not_run_in_place() {
    let (mutex, lock, changed) = (Mutex::new(0), RwLock::new(0), Condvar::new());
    for _ in 0..8 {
        a_cut_join_unlocks(
            |join| {
                let mut guard = mutex.lock_uncancellable();
                // The mutex is unlocked and locked again on the way.
                let notified = changed.wait_timeout(&mut guard, Duration::from_millis(1));
                assert!(!matches!(notified, Ok(true)));
                join();
            },
            || drop(mutex.lock_uncancellable()),
        );
        a_cut_join_unlocks(
            |join| {
                let _reading = lock.read_uncancellable();
                join();
            },
            || drop(lock.write_uncancellable()),
        );
        a_cut_join_unlocks(
            |join| {
                let _writing = lock.write_uncancellable();
                join();
            },
            || drop(taskgroup::shield(|| lock.read())),
        );
    }
    // A thread that no longer holds anything runs tasks in place again.
    let here = std::thread::current().id();
    let mut runs = 0;
    while runs == 0 {
        TaskGroup::scope(|g| {
            let task = g.spawn(|| Ok(std::thread::current().id()));
            runs += usize::from(task.join()? == here);
            Ok(())
        })
        .unwrap();
    }
}

#[test]
fn waiting_for_an_own_guard_names_both_places() -> anyhow::Result<()> {
    let _watch = watch();
    let lock = RwLock::new(0);
    let names = |message: String, first| {
        assert!(
            message.contains(&format!("{}:{first}:", file!())),
            "{message}"
        )
    };

    let first = line!() + 1;
    let writing = lock.write()?;
    names(panic_of(|| lock.write()), first);
    names(panic_of(|| lock.read()), first);
    names(panic_of(|| lock.write_uncancellable()), first);
    names(panic_of(|| lock.read_uncancellable()), first);
    drop(writing);

    let first = line!() + 1;
    let reading = lock.read()?;
    names(panic_of(|| lock.write()), first);
    drop(lock.read()?);
    names(panic_of(|| lock.write()), first);
    drop(reading);

    // Guards that were taken without a wait, or after one, are known too.
    let first = line!() + 1;
    let tried = lock.try_write().expect("it is free");
    names(panic_of(|| lock.read()), first);
    drop(tried);
    TaskGroup::scope(|g| {
        let held = lock.write()?;
        g.spawn(|| {
            let first = line!() + 1;
            let _reading = lock.read()?;
            names(panic_of(|| lock.write()), first);
            Ok(())
        });
        until_waiting(&lock, 1);
        drop(held);
        Ok(())
    })?;
    *lock.write()? += 1;
    assert_eq!(*lock.read()?, 1);
    Ok(())
}

#[test]
fn cancels_and_locks_that_cross_lose_nothing() -> anyhow::Result<()> {
    let mutex = Mutex::new(0);
    let lock = RwLock::new(0);
    let (locked, written) = (AtomicUsize::new(0), AtomicUsize::new(0));
    TaskGroup::scope(|g| {
        for worker in 0..4 {
            let (mutex, lock, locked, written) = (&mutex, &lock, &locked, &written);
            g.spawn(move || {
                for round in 0..200 {
                    let token = CancelToken::new();
                    let canceller = token.clone();
                    TaskGroup::scope(|inner| {
                        inner.spawn_daemon(move || {
                            if round % 3 == 0 {
                                canceller.cancel();
                            }
                            Ok(())
                        });
                        token.run(|| {
                            if let Ok(mut value) = mutex.lock() {
                                *value += 1;
                                locked.fetch_add(1, Ordering::Relaxed);
                                std::thread::yield_now();
                            }
                            if (worker + round) % 4 == 0 {
                                if let Ok(mut value) = lock.write() {
                                    *value += 1;
                                    written.fetch_add(1, Ordering::Relaxed);
                                    std::thread::yield_now();
                                }
                            } else if let Ok(value) = lock.read() {
                                std::thread::yield_now();
                                std::hint::black_box(*value);
                            }
                        });
                        Ok(())
                    })?;
                }
                Ok(())
            });
        }
        Ok(())
    })?;
    assert_eq!(
        (mutex.into_inner(), lock.into_inner()),
        (locked.into_inner(), written.into_inner())
    );
    Ok(())
}
