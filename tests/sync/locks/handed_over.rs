//! Which thread gets a lock: those that wait, and those that come.

use std::sync::atomic::{AtomicBool, Ordering};

use taskgroup::sync::{Mutex, RwLock};
use taskgroup::{CancelToken, TaskGroup};

use crate::support::until_waiting;

#[test]
fn a_mutex_may_be_locked_by_one_thread_after_another() {
    let mutex = Mutex::new(0);
    drop(mutex.lock().unwrap());
    std::thread::scope(|s| {
        s.spawn(|| *mutex.lock().unwrap() += 1);
    });
    *mutex.lock().unwrap() += 1;
    assert_eq!(mutex.into_inner(), 2);
}

/// A lock that one thread holds and another waits for; the first unlocks it and locks it again at
/// once, up to so many times. True if the other has had it by then.
macro_rules! is_had_beside {
    ($lock:expr, $again:ident, $waits:ident, $times:expr) => {{
        let lock = &$lock;
        let had = AtomicBool::new(false);
        TaskGroup::scope(|g| {
            let mut held = lock.$again()?;
            g.spawn(|| {
                let _held = lock.$waits()?;
                had.store(true, Ordering::SeqCst);
                Ok(())
            });
            until_waiting(lock, 1);
            for _ in 0..$times {
                drop(held);
                held = lock.$again()?;
                if had.load(Ordering::SeqCst) {
                    break;
                }
            }
            drop(held);
            Ok(had.load(Ordering::SeqCst))
        })?
    }};
}

#[test]
fn the_first_unlock_hands_the_lock_over() -> anyhow::Result<()> {
    for _ in 0..50 {
        assert!(is_had_beside!(Mutex::new(()), lock, lock, 1));
        assert!(is_had_beside!(RwLock::new(()), write, write, 1));
        assert!(is_had_beside!(RwLock::new(()), write, read, 1));
        assert!(is_had_beside!(RwLock::new(()), read, write, 1));
    }
    Ok(())
}

#[test]
fn a_thread_that_locks_again_at_once_starves_no_other() -> anyhow::Result<()> {
    let mutex = Mutex::new(());
    let lock = RwLock::new(());
    for _ in 0..10 {
        assert!(is_had_beside!(mutex, lock, lock, 10_000_000));
        assert!(is_had_beside!(lock, write, write, 10_000_000));
        assert!(is_had_beside!(lock, write, read, 10_000_000));
        assert!(is_had_beside!(lock, read, write, 10_000_000));
    }
    Ok(())
}

#[test]
fn a_lock_that_was_handed_over_to_a_cancelled_waiter_is_free() -> anyhow::Result<()> {
    let mutex = Mutex::new(());
    let lock = RwLock::new(());
    // No waiter is left that they would be kept for.
    for _ in 0..50 {
        let token = CancelToken::new();
        TaskGroup::scope(|g| {
            let held = (mutex.lock()?, lock.write()?);
            g.spawn(|| {
                token.run(|| drop(mutex.lock()));
                Ok(())
            });
            g.spawn(|| {
                token.run(|| drop(lock.write()));
                Ok(())
            });
            until_waiting(&mutex, 1);
            until_waiting(&lock, 1);
            drop(held);
            token.cancel();
            Ok(())
        })?;
        assert!(
            mutex.try_lock().is_some() && lock.try_read().is_some() && lock.try_write().is_some()
        );
    }
    Ok(())
}
