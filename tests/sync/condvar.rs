//! Condition variables: notifications, cancellation, and the mutex that is locked again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::{LONG, until, until_waiting};
use taskgroup::sync::{Condvar, Mutex};
use taskgroup::{CancelToken, TaskGroup};

#[test]
fn notify_one_wakes_the_longest_waiter() -> anyhow::Result<()> {
    let (order, turn) = (Mutex::new(Vec::new()), Condvar::new());
    TaskGroup::scope(|g| {
        for n in 0..3 {
            let (order, turn) = (&order, &turn);
            g.spawn(move || {
                let mut order = order.lock()?;
                turn.wait(&mut order)?;
                order.push(n);
                Ok(())
            });
            until_waiting(turn, n + 1);
        }
        for n in 1..=3 {
            turn.notify_one();
            until(|| order.lock_uncancellable().len() == n);
        }
        Ok(())
    })?;
    assert_eq!(order.into_inner(), [0, 1, 2]);
    Ok(())
}

#[test]
fn notify_all_wakes_all() -> anyhow::Result<()> {
    let (open, changed) = (Mutex::new(false), Condvar::new());
    let through = AtomicUsize::new(0);
    TaskGroup::scope(|g| {
        for _ in 0..4 {
            g.spawn(|| {
                changed.wait_while(&mut open.lock()?, |open| !*open)?;
                through.fetch_add(1, Ordering::SeqCst);
                Ok(())
            });
        }
        until_waiting(&changed, 4);
        *open.lock()? = true;
        changed.notify_all();
        Ok(())
    })?;
    assert_eq!(through.into_inner(), 4);
    Ok(())
}

#[test]
fn a_cancelled_wait_returns_with_the_mutex_locked() -> anyhow::Result<()> {
    let (value, changed) = (Mutex::new(0), Condvar::new());
    TaskGroup::scope(|g| {
        let waiting = g.spawn(|| {
            let mut guard = value.lock()?;
            let waited = changed.wait(&mut guard);
            assert!(value.try_lock().is_none());
            *guard += 1;
            Ok(waited?)
        });
        until_waiting(&changed, 1);
        let held = value.lock()?;
        waiting.cancel();
        until_waiting(&changed, 0);
        assert!(
            !waiting.is_finished(),
            "it locks the mutex again before it returns"
        );
        drop(held);
        assert!(waiting.join().is_err());
        Ok(())
    })?;
    assert_eq!(value.into_inner(), 1);
    Ok(())
}

#[test]
fn a_cancelled_scope_does_not_unlock() {
    let (value, changed) = (Mutex::new(0), Condvar::new());
    let token = CancelToken::new();
    token.run(|| {
        let mut guard = value.lock().unwrap();
        token.cancel();
        for _ in 0..2 {
            assert_eq!(changed.wait(&mut guard).unwrap_err().origin(), token.id());
        }
        assert!(changed.wait_while(&mut guard, |_| false).is_err());
        assert!(changed.wait_timeout(&mut guard, LONG).is_err());
        assert!(value.try_lock().is_none());
        *guard += 1;
    });
    assert_eq!(value.into_inner(), 1);
}

#[test]
fn a_notification_goes_to_a_waiter_that_is_not_cancelled() -> anyhow::Result<()> {
    for _ in 0..200 {
        let (items, added) = (Mutex::new(0), Condvar::new());
        let taken = AtomicUsize::new(0);
        let take = || {
            let mut items = items.lock()?;
            added.wait_while(&mut items, |items| *items == 0)?;
            *items -= 1;
            taken.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        TaskGroup::scope(|g| {
            let first = g.spawn(take);
            until_waiting(&added, 1);
            let second = g.spawn(take);
            until_waiting(&added, 2);
            g.spawn(move || {
                first.cancel();
                Ok(())
            });
            *items.lock()? += 1;
            added.notify_one();
            until(|| taken.load(Ordering::SeqCst) == 1);
            second.cancel();
            Ok(())
        })?;
        assert_eq!((items.into_inner(), taken.into_inner()), (0, 1));
    }
    Ok(())
}

#[test]
fn a_limit_ends_a_wait() -> anyhow::Result<()> {
    let (value, changed) = (Mutex::new(0), Condvar::new());
    let mut guard = value.lock()?;
    assert!(!changed.wait_timeout(&mut guard, Duration::from_millis(1))?);
    assert!(!changed.wait_while_timeout(
        &mut guard,
        |value| *value == 0,
        Duration::from_millis(1)
    )?);
    assert!(changed.wait_while_timeout(&mut guard, |value| *value == 1, LONG)?);
    *guard += 1;
    drop(guard);
    assert_eq!(value.into_inner(), 1);
    Ok(())
}

#[test]
fn a_notification_without_a_waiter_is_not_kept() -> anyhow::Result<()> {
    let (value, changed) = (Mutex::new(()), Condvar::new());
    changed.notify_one();
    changed.notify_all();
    assert!(!changed.wait_timeout(&mut value.lock()?, Duration::from_millis(1))?);
    Ok(())
}

#[test]
fn a_notification_says_how_many_it_woke() -> anyhow::Result<()> {
    let (state, changed) = (Mutex::new(()), Condvar::new());
    assert!(!changed.notify_one());
    assert_eq!(changed.notify_all(), 0);
    TaskGroup::scope(|g| {
        for _ in 0..4 {
            g.spawn(|| Ok(changed.wait(&mut state.lock()?)?));
        }
        until_waiting(&changed, 4);
        assert!(changed.notify_one());
        assert_eq!(changed.notify_all(), 3);
        assert!(!changed.notify_one());
        // A waiter that was cancelled is not woken by a notification.
        let cancelled = g.spawn(|| Ok(changed.wait(&mut state.lock()?)?));
        until_waiting(&changed, 1);
        cancelled.cancel();
        assert!(cancelled.join().is_err());
        assert!(!changed.notify_one());
        Ok(())
    })?;
    Ok(())
}

#[test]
fn a_deadline_ends_a_wait() -> anyhow::Result<()> {
    let (state, changed) = (Mutex::new(false), Condvar::new());
    let mut guard = state.lock()?;
    let now = Instant::now();
    assert!(!changed.wait_until(&mut guard, now)?);
    assert!(!changed.wait_while_until(&mut guard, |open| !*open, now)?);
    assert!(changed.wait_while_until(&mut guard, |open| *open, now)?);
    // The condition is looked at once more when the time is up.
    let mut looks = 0;
    let ended = changed.wait_while_until(
        &mut guard,
        |_| {
            looks += 1;
            looks == 1
        },
        now,
    )?;
    assert!(ended && looks == 2);
    // The mutex was locked again.
    assert!(state.try_lock().is_none());
    drop(guard);
    TaskGroup::scope(|g| {
        let waiter = g.spawn(|| Ok(changed.wait_until(&mut state.lock()?, now + LONG)?));
        until_waiting(&changed, 1);
        changed.notify_one();
        assert!(waiter.join()?);
        Ok(())
    })?;
    // Neither a cancel nor an outer time limit is a timeout of the wait.
    let token = CancelToken::new();
    token.cancel();
    assert!(
        token
            .run(|| changed.wait_until(&mut state.lock_uncancellable(), now))
            .is_err()
    );
    assert!(
        token
            .run(|| changed.wait_while_until(&mut state.lock_uncancellable(), |_| false, now))
            .is_err()
    );
    let outer = taskgroup::timeout(Duration::from_millis(1), || -> anyhow::Result<_> {
        Ok(changed.wait_until(&mut state.lock()?, now + LONG)?)
    })?;
    assert_eq!(outer, None);
    assert!(state.try_lock().is_some());
    Ok(())
}
