//! Semaphores: order, cancellation, permits that are never lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::{until, until_waiting};
use taskgroup::sync::{OwnedPermit, Semaphore};
use taskgroup::{CancelCause, CancelToken, Cancelled, TaskGroup};

#[test]
fn a_dropped_permit_is_returned() {
    let semaphore = Semaphore::new(3);
    let two = semaphore.acquire_many(2).unwrap();
    assert_eq!((two.count(), semaphore.available()), (2, 1));
    assert!(semaphore.try_acquire_many(2).is_none());
    drop(two);
    assert_eq!(semaphore.available(), 3);
}

#[test]
fn a_request_for_no_permits_succeeds_at_once() {
    let semaphore = Semaphore::new(0);
    assert_eq!(semaphore.acquire_many(0).unwrap().count(), 0);
    assert_eq!(semaphore.available(), 0);
}

#[test]
fn a_semaphore_limits_the_running_tasks() -> anyhow::Result<()> {
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
fn no_call_overtakes_a_large_request() -> anyhow::Result<()> {
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
        assert!(
            semaphore.try_acquire().is_none(),
            "a free permit is kept for the waiting thread"
        );
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
        assert!(
            semaphore.try_acquire().is_some(),
            "a call that does not block does not fail"
        );
        assert!(taskgroup::shield(|| semaphore.acquire()).is_ok());
        drop(held);
    });
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn a_timeout_ends_a_wait() -> anyhow::Result<()> {
    let semaphore = Semaphore::new(0);
    let cut = taskgroup::timeout(std::time::Duration::from_millis(1), || {
        anyhow::Ok(semaphore.acquire()?.count())
    })?;
    assert_eq!(cut, None);
    semaphore.add_permits(1);
    assert!(
        semaphore.try_acquire().is_some(),
        "no permit is kept for a waiter that gave up"
    );
    Ok(())
}

#[test]
#[should_panic(
    expected = "4 permits can never be free: the semaphore was made with 3, and none were added"
)]
fn more_than_there_are_is_a_panic_and_not_a_hang() {
    let _ = Semaphore::new(3).acquire_many(4);
}

#[test]
#[should_panic(expected = "4 permits can never be free")]
fn more_than_there_are_is_a_panic_of_a_closed_semaphore_too() {
    let semaphore = Semaphore::new(3);
    semaphore.close();
    let _ = semaphore.acquire_many(4);
}

#[test]
#[should_panic(expected = "4 permits can never be free")]
fn more_than_there_are_is_a_panic_in_a_cancelled_scope_too() {
    let token = CancelToken::new();
    token.cancel();
    let _ = token.run(|| Semaphore::new(3).acquire_many(4).map(drop));
}

#[test]
#[should_panic(expected = "can never be free: a semaphore has at most")]
fn a_request_beyond_the_maximum_panics() {
    let _ = Semaphore::new(0).acquire_many(Semaphore::MAX_PERMITS + 1);
}

#[test]
#[should_panic(expected = "more than a semaphore can have")]
fn permits_do_not_overflow() {
    Semaphore::new(1).add_permits(Semaphore::MAX_PERMITS);
}

#[test]
fn permits_can_be_added_repeatedly() -> anyhow::Result<()> {
    let semaphore = Semaphore::new(1);
    semaphore.add_permits(2);
    semaphore.add_permits(3);
    assert_eq!(semaphore.available(), 6);
    // They count against the most that there can be, each time.
    semaphore.add_permits(Semaphore::MAX_PERMITS - 7);
    semaphore.add_permits(1);
    let too_many =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| semaphore.add_permits(1)));
    assert!(too_many.is_err());
    assert_eq!(semaphore.available(), Semaphore::MAX_PERMITS);

    // A semaphore that has grown, any number of times, may grow again: so it is waited for.
    let semaphore = Semaphore::new(1);
    TaskGroup::scope(|g| {
        semaphore.add_permits(1);
        semaphore.add_permits(1);
        let many = g.spawn(|| Ok(semaphore.acquire_many(5)?.count()));
        until_waiting(&semaphore, 1);
        semaphore.add_permits(1);
        semaphore.add_permits(1);
        assert_eq!(many.join()?, 5);
        Ok(())
    })?;
    Ok(())
}

#[test]
fn permits_that_come_together_serve_all_waiters() -> anyhow::Result<()> {
    let _watch = crate::support::watch();
    let semaphore = Semaphore::new(0);
    TaskGroup::scope(|g| {
        let waiting = [1, 2].map(|waiting| {
            let task = g.spawn(|| {
                semaphore.acquire()?.forget();
                Ok(())
            });
            until_waiting(&semaphore, waiting);
            task
        });
        semaphore.add_permits(2);
        for task in waiting {
            task.join()?;
        }
        Ok(())
    })?;
    assert_eq!(semaphore.available(), 0);
    Ok(())
}

#[test]
fn acquired_permits_count_until_they_are_forgotten() -> anyhow::Result<()> {
    let semaphore = Semaphore::new(Semaphore::MAX_PERMITS);
    let out = semaphore.acquire_many(Semaphore::MAX_PERMITS)?;
    let too_many =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| semaphore.add_permits(1)));
    assert!(too_many.is_err() && semaphore.available() == 0);
    out.forget();
    semaphore.add_permits(Semaphore::MAX_PERMITS);
    assert_eq!(semaphore.available(), Semaphore::MAX_PERMITS);
    Ok(())
}

#[test]
fn a_request_waits_for_added_permits() -> anyhow::Result<()> {
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
    assert!(
        got.into_inner() >= 900,
        "all waiters that were not cancelled got their permits"
    );
    assert_eq!(semaphore.available(), 3);
    assert!(semaphore.try_acquire_many(3).is_some());
    Ok(())
}

fn is_closed(error: &Cancelled) -> bool {
    matches!(error.cause(), CancelCause::SemaphoreClosed)
}

#[test]
fn a_close_ends_the_waits_and_refuses_later_calls() -> anyhow::Result<()> {
    let semaphore = Semaphore::new(3);
    let mut line = 0;
    TaskGroup::scope(|g| {
        let held = semaphore.acquire()?;
        let waiting = [3, 1].map(|count| {
            let semaphore = &semaphore;
            let task = g.spawn(move || Ok(semaphore.acquire_many(count).map(drop)));
            until_waiting(semaphore, if count == 3 { 1 } else { 2 });
            task
        });
        assert!(!semaphore.is_closed());
        line = line!() + 1;
        semaphore.close();
        semaphore.close();
        assert!(semaphore.is_closed());
        let [first, second] = waiting.map(|task| task.join().map(|got| got.unwrap_err()));
        let (first, second) = (first?, second?);
        assert!(is_closed(&first) && first == second);
        assert_eq!(
            (first.location().file(), first.location().line()),
            (file!(), line)
        );

        // Free permits are not given out, not even none of them.
        assert_eq!(semaphore.available(), 2);
        assert!(semaphore.try_acquire().is_none() && semaphore.try_acquire_many(0).is_none());
        assert!(is_closed(&semaphore.acquire().unwrap_err()));
        assert!(is_closed(&semaphore.acquire_many(0).unwrap_err()));
        // Permits go back and are added as before.
        drop(held);
        semaphore.add_permits(2);
        assert_eq!(semaphore.available(), 5);
        assert!(semaphore.acquire().is_err());
        Ok(())
    })?;
    // Outside of any scope too.
    assert_eq!(
        semaphore.acquire().unwrap_err().to_string(),
        format!(
            "cancelled: the semaphore was closed (at {}:{line})",
            file!()
        )
    );
    Ok(())
}

#[test]
fn a_task_that_returns_a_close_has_failed() {
    let semaphore = Semaphore::new(0);
    let error = TaskGroup::scope(|g| {
        let task = g.spawn(|| Ok(semaphore.acquire()?.count()));
        until_waiting(&semaphore, 1);
        semaphore.close();
        Ok(task.join()?)
    })
    .unwrap_err();
    // The close is the failure. The body was cancelled because of it.
    assert_eq!(error.failures().len(), 1, "{error:#}");
    assert!(
        error
            .errors()
            .all(|error| error.downcast_ref().is_some_and(is_closed))
    );
    assert!(
        format!("{error:#}").contains("the semaphore was closed"),
        "{error:#}"
    );
    // Nor is it the time limit of a `timeout`.
    let timed = taskgroup::timeout(crate::support::LONG, || {
        anyhow::Ok(semaphore.acquire()?.count())
    });
    assert!(timed.unwrap_err().downcast_ref().is_some_and(is_closed));
}

#[test]
fn a_cancelled_scope_sees_its_cancel_and_not_the_close() -> anyhow::Result<()> {
    let semaphore = Semaphore::new(0);
    let token = CancelToken::new();
    thread::scope(|threads| {
        let waiter = threads.spawn(|| token.run(|| semaphore.acquire().map(drop)));
        until_waiting(&semaphore, 1);
        token.cancel();
        semaphore.close();
        assert_eq!(waiter.join().unwrap().unwrap_err().origin(), token.id());
    });
    assert_eq!(
        token
            .run(|| semaphore.acquire().map(drop))
            .unwrap_err()
            .origin(),
        token.id()
    );
    assert!(token.run(|| taskgroup::shield(|| is_closed(&semaphore.acquire().unwrap_err()))));
    Ok(())
}

#[test]
fn owned_permits_outlive_their_scope() -> anyhow::Result<()> {
    let semaphore = Arc::new(Semaphore::new(3));
    let kept: Vec<OwnedPermit> = TaskGroup::scope(|g| {
        let one = g.spawn(|| Ok(semaphore.acquire_owned()?));
        Ok(vec![one.join()?, semaphore.acquire_many_owned(2)?])
    })?;
    assert_eq!(kept.iter().map(OwnedPermit::count).sum::<usize>(), 3);
    assert!(
        semaphore.try_acquire_owned().is_none() && semaphore.try_acquire_many_owned(1).is_none()
    );
    let other = semaphore.clone();
    thread::spawn(move || drop(kept)).join().unwrap();
    assert_eq!(other.available(), 3);

    // They keep the semaphore alive, and wait as others do.
    let held = semaphore.try_acquire_many_owned(3).unwrap();
    TaskGroup::scope(|g| {
        let cancelled = g.spawn(|| Ok(semaphore.acquire_owned()?.count()));
        until_waiting(&semaphore, 1);
        cancelled.cancel();
        assert!(cancelled.join().is_err());
        let granted = g.spawn(|| Ok(semaphore.acquire_owned()?.count()));
        until_waiting(&semaphore, 1);
        drop(held);
        assert_eq!(granted.join()?, 1);
        Ok(())
    })?;
    let last = semaphore.acquire_owned()?;
    drop((semaphore, other));
    last.forget();
    Ok(())
}

#[test]
#[should_panic(expected = "4 permits can never be free")]
fn a_request_for_too_many_owned_permits_panics() {
    let _ = Arc::new(Semaphore::new(3)).acquire_many_owned(4);
}

#[test]
fn permits_are_merged_and_split() -> anyhow::Result<()> {
    let semaphore = Arc::new(Semaphore::new(6));
    let mut permit = semaphore.acquire()?;
    permit.merge(semaphore.acquire_many(3)?);
    assert_eq!((permit.count(), semaphore.available()), (4, 2));
    let two = permit.split(2).expect("it has four");
    assert!(permit.split(3).is_none());
    assert_eq!(
        (two.count(), permit.count(), semaphore.available()),
        (2, 2, 2)
    );
    drop(two);
    assert_eq!(semaphore.available(), 4);
    let all = permit.split(2).expect("it has two");
    assert_eq!((permit.count(), all.count()), (0, 2));
    all.forget();
    drop(permit);
    assert_eq!(semaphore.available(), 4);

    let mut owned = semaphore.acquire_owned()?;
    owned.merge(semaphore.acquire_many_owned(2)?);
    assert_eq!(owned.split(1).map(|one| one.count()), Some(1));
    assert_eq!((owned.count(), semaphore.available()), (2, 2));
    Ok(())
}

#[test]
fn permits_of_two_semaphores_are_not_merged() {
    let semaphores = [Semaphore::new(1), Semaphore::new(1)];
    let mut permit = semaphores[0].acquire().unwrap();
    let other = semaphores[1].acquire().unwrap();
    assert!(
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| permit.merge(other))).is_err()
    );
    assert_eq!((permit.count(), semaphores[1].available()), (1, 1));
}
