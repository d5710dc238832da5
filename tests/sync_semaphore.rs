//! Semaphores: order, cancellation, permits that are never lost.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use support::{until, until_waiting};
use taskgroup::sync::Semaphore;
use taskgroup::{CancelToken, TaskGroup};

#[test]
fn a_permit_goes_back_when_it_is_dropped() {
    let semaphore = Semaphore::new(3);
    let two = semaphore.acquire_many(2).unwrap();
    assert_eq!((two.count(), semaphore.available()), (2, 1));
    assert!(semaphore.try_acquire_many(2).is_none());
    drop(two);
    assert_eq!(semaphore.available(), 3);
}

#[test]
fn no_permits_are_had_at_once() {
    let semaphore = Semaphore::new(0);
    assert_eq!(semaphore.acquire_many(0).unwrap().count(), 0);
    assert_eq!(semaphore.available(), 0);
}

#[test]
fn limits_how_many_run() -> anyhow::Result<()> {
    let semaphore = Semaphore::new(2);
    let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    TaskGroup::scope(|g| {
        for _ in 0..16 {
            g.spawn(|| {
                let _permit = semaphore.acquire()?;
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                taskgroup::yield_now()?;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            });
        }
        Ok(())
    })?;
    assert!((1..=2).contains(&most.into_inner()));
    assert_eq!(semaphore.available(), 2);
    Ok(())
}

#[test]
fn nobody_overtakes_a_large_request() -> anyhow::Result<()> {
    let semaphore = Semaphore::new(3);
    let order = Mutex::new(Vec::new());
    TaskGroup::scope(|g| {
        let held = semaphore.acquire_many(2)?;
        g.spawn(|| {
            let permit = semaphore.acquire_many(3)?;
            order.lock().unwrap().push(3);
            drop(permit);
            Ok(())
        });
        until_waiting(&semaphore, 1);
        assert_eq!(semaphore.available(), 1);
        assert!(semaphore.try_acquire().is_none(), "a free permit is kept for the one who waits");
        g.spawn(|| {
            let permit = semaphore.acquire()?;
            order.lock().unwrap().push(1);
            drop(permit);
            Ok(())
        });
        until_waiting(&semaphore, 2);
        drop(held);
        Ok(())
    })?;
    assert_eq!(order.into_inner()?, [3, 1]);
    Ok(())
}

#[test]
fn permits_are_given_in_order() -> anyhow::Result<()> {
    let semaphore = Semaphore::new(0);
    let order = Mutex::new(Vec::new());
    TaskGroup::scope(|g| {
        for n in 0..4 {
            let (semaphore, order) = (&semaphore, &order);
            g.spawn(move || {
                semaphore.acquire()?.forget();
                order.lock().unwrap().push(n);
                Ok(())
            });
            until_waiting(semaphore, n + 1);
        }
        for n in 1..=4 {
            semaphore.add_permits(1);
            until(|| order.lock().unwrap().len() == n);
        }
        Ok(())
    })?;
    assert_eq!(order.into_inner()?, [0, 1, 2, 3]);
    assert_eq!(semaphore.available(), 0);
    Ok(())
}

#[test]
fn a_cancelled_request_lets_smaller_ones_pass() -> anyhow::Result<()> {
    let semaphore = Semaphore::new(2);
    TaskGroup::scope(|g| {
        let held = semaphore.acquire()?;
        let large = g.spawn(|| Ok(semaphore.acquire_many(2)?.count()));
        until_waiting(&semaphore, 1);
        let small = g.spawn(|| Ok(semaphore.acquire()?.count()));
        until_waiting(&semaphore, 2);
        large.cancel();
        assert_eq!(small.join()?, 1);
        assert!(large.join().is_err());
        drop(held);
        Ok(())
    })?;
    assert_eq!(semaphore.available(), 2);
    Ok(())
}

#[test]
fn a_cancelled_scope_gets_none_and_gives_back() {
    let semaphore = Semaphore::new(2);
    let token = CancelToken::new();
    token.run(|| {
        let held = semaphore.acquire().unwrap();
        token.cancel();
        for _ in 0..2 {
            assert_eq!(semaphore.acquire().unwrap_err().origin(), token.id());
        }
        assert_eq!(semaphore.available(), 1);
        assert!(semaphore.try_acquire().is_some(), "what does not block does not fail");
        assert!(taskgroup::shield(|| semaphore.acquire()).is_ok());
        drop(held);
    });
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn a_timeout_ends_a_wait() -> anyhow::Result<()> {
    let semaphore = Semaphore::new(0);
    let cut = taskgroup::timeout(std::time::Duration::from_millis(1), || anyhow::Ok(semaphore.acquire()?.count()))?;
    assert_eq!(cut, None);
    semaphore.add_permits(1);
    assert!(semaphore.try_acquire().is_some(), "whoever gave up waiting is not waited for");
    Ok(())
}

#[test]
#[should_panic(expected = "4 permits can never be free: the semaphore was made with 3, and none were added")]
fn more_than_there_are_is_a_panic_and_not_a_hang() {
    let _ = Semaphore::new(3).acquire_many(4);
}

#[test]
#[should_panic(expected = "can never be free: a semaphore has at most")]
fn more_than_there_can_be_is_a_panic() {
    let _ = Semaphore::new(0).acquire_many(Semaphore::MAX_PERMITS + 1);
}

#[test]
#[should_panic(expected = "more than a semaphore can have")]
fn permits_do_not_overflow() {
    Semaphore::new(1).add_permits(Semaphore::MAX_PERMITS);
}

#[test]
fn permits_that_are_out_count_until_they_are_forgotten() -> anyhow::Result<()> {
    let semaphore = Semaphore::new(Semaphore::MAX_PERMITS);
    let out = semaphore.acquire_many(Semaphore::MAX_PERMITS)?;
    let too_many = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| semaphore.add_permits(1)));
    assert!(too_many.is_err() && semaphore.available() == 0);
    out.forget();
    semaphore.add_permits(Semaphore::MAX_PERMITS);
    assert_eq!(semaphore.available(), Semaphore::MAX_PERMITS);
    Ok(())
}

#[test]
fn one_that_grows_is_waited_for() -> anyhow::Result<()> {
    let semaphore = Semaphore::new(1);
    semaphore.add_permits(1);
    TaskGroup::scope(|g| {
        let many = g.spawn(|| Ok(semaphore.acquire_many(3)?.count()));
        until_waiting(&semaphore, 1);
        semaphore.add_permits(1);
        assert_eq!(many.join()?, 3);
        Ok(())
    })?;
    Ok(())
}

#[test]
fn cancels_and_grants_that_cross_lose_nothing() -> anyhow::Result<()> {
    let semaphore = Semaphore::new(3);
    let got = AtomicUsize::new(0);
    TaskGroup::scope(|g| {
        for worker in 0..4 {
            let (semaphore, got) = (&semaphore, &got);
            g.spawn(move || {
                for round in 0..300 {
                    let count = 1 + (worker + round) % 3;
                    let token = CancelToken::new();
                    let canceller = token.clone();
                    TaskGroup::scope(|inner| {
                        inner.spawn_daemon(move || {
                            if round % 4 == 0 {
                                canceller.cancel();
                            }
                            Ok(())
                        });
                        if let Ok(permit) = token.run(|| semaphore.acquire_many(count)) {
                            assert_eq!(permit.count(), count);
                            got.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(())
                    })?;
                }
                Ok(())
            });
        }
        Ok(())
    })?;
    assert!(got.into_inner() >= 900, "those that nobody cancelled all got theirs");
    assert_eq!(semaphore.available(), 3);
    assert!(semaphore.try_acquire_many(3).is_some());
    Ok(())
}
