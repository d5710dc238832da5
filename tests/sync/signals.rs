//! Event, Latch, Promise, OnceCell and Barrier: what they signal, and what a cancel does to waiting
//! threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Gate, LONG, until_waiting};
use taskgroup::sync::{Barrier, BarrierError, Event, Latch, OnceCell, Promise};
use taskgroup::{CancelToken, Cancelled, TaskError, TaskGroup};

const SHORT: Duration = Duration::from_millis(1);

#[test]
fn an_event_is_set_and_reset() -> anyhow::Result<()> {
    let event = Event::new();
    assert!(!event.wait_timeout(SHORT)?);
    event.set();
    event.wait()?;
    assert!(event.wait_timeout(LONG)?);
    event.reset();
    assert!(!event.is_set() && !event.wait_timeout(SHORT)?);
    Ok(())
}

#[test]
fn waiting_threads_go_on_though_the_event_is_lowered_at_once() -> anyhow::Result<()> {
    let event = Event::new();
    TaskGroup::scope(|g| {
        for _ in 0..3 {
            g.spawn(|| Ok(event.wait()?));
        }
        until_waiting(&event, 3);
        event.set();
        event.reset();
        Ok(())
    })?;
    Ok(())
}

#[test]
fn a_latch_opens_at_zero_and_stays_open() -> anyhow::Result<()> {
    let latch = Latch::new(2);
    TaskGroup::scope(|g| {
        let waiting = g.spawn(|| Ok(latch.wait()?));
        until_waiting(&latch, 1);
        latch.count_down();
        assert!(!latch.wait_timeout(SHORT)?);
        latch.count_down();
        waiting.join()?;
        latch.count_down();
        assert_eq!(latch.count(), 0);
        Ok(latch.wait()?)
    })?;
    Ok(())
}

#[test]
fn a_promise_is_kept_once() -> anyhow::Result<()> {
    let promise = Promise::new();
    TaskGroup::scope(|g| {
        let waiting: Vec<_> = (0..3).map(|_| g.spawn(|| Ok(*promise.wait()?))).collect();
        until_waiting(&promise, 3);
        assert_eq!(promise.wait_timeout(SHORT)?, None);
        assert_eq!(promise.set(1), Ok(()));
        assert_eq!(promise.set(2), Err(2));
        for task in waiting {
            assert_eq!(task.join()?, 1);
        }
        assert_eq!(promise.wait_timeout(LONG)?, Some(&1));
        Ok(())
    })?;
    assert_eq!(promise.into_inner(), Some(1));
    Ok(())
}

#[test]
fn a_cancelled_scope_fails_at_each_entry_without_effect() {
    let (event, latch, barrier) = (Event::new(), Latch::new(0), Barrier::new(2));
    let (promise, cell) = (Promise::new(), OnceCell::new());
    event.set();
    promise.set(1).unwrap();
    let token = CancelToken::new();
    token.cancel();
    token.run(|| {
        for _ in 0..2 {
            assert_eq!(event.wait().unwrap_err().origin(), token.id());
            assert!(event.wait_timeout(LONG).is_err());
            assert!(latch.wait().is_err() && latch.wait_timeout(LONG).is_err());
            assert!(promise.wait().is_err() && promise.wait_timeout(LONG).is_err());
            assert!(matches!(barrier.wait(), Err(BarrierError::Cancelled(_))));
            assert!(
                cell.get_or_init(|| unreachable!("nothing is made in a cancelled scope"))
                    .is_err()
            );
        }
        assert_eq!(promise.get(), Some(&1));
    });
    assert!(
        !barrier.is_broken(),
        "a thread that never waited breaks nothing"
    );
    assert_eq!(cell.set(7), Ok(()));
    assert_eq!(cell.get(), Some(&7));
}

#[test]
fn a_cancel_wakes_all_waiting_threads() -> anyhow::Result<()> {
    let (event, latch, promise) = (Event::new(), Latch::new(1), Promise::<u8>::new());
    TaskGroup::scope(|g| {
        g.spawn(|| Ok(event.wait()?));
        g.spawn(|| Ok(latch.wait()?));
        g.spawn(|| Ok(promise.wait().map(drop)?));
        g.spawn(|| Ok(event.wait_timeout(LONG).map(drop)?));
        until_waiting(&event, 2);
        until_waiting(&latch, 1);
        until_waiting(&promise, 1);
        g.cancel();
        Ok(())
    })?;
    for primitive in [&event as &dyn std::fmt::Debug, &latch, &promise] {
        assert!(
            format!("{primitive:?}").contains("waiting: 0"),
            "{primitive:?}"
        );
    }
    Ok(())
}

#[test]
fn one_thread_makes_the_value() -> anyhow::Result<()> {
    let (cell, made, begun, go) = (
        OnceCell::new(),
        AtomicUsize::new(0),
        Gate::default(),
        Gate::default(),
    );
    let make = || {
        begun.open();
        go.wait();
        made.fetch_add(1, Ordering::SeqCst) + 7
    };
    TaskGroup::scope(|g| {
        for _ in 0..3 {
            g.spawn(|| {
                assert_eq!(*cell.get_or_init(make)?, 7);
                Ok(())
            });
        }
        begun.wait();
        until_waiting(&cell, 2);
        assert_eq!(cell.set(1), Err(1), "another thread makes it already");
        go.open();
        Ok(())
    })?;
    assert_eq!(made.into_inner(), 1);
    Ok(())
}

#[test]
fn an_initialiser_that_fails_hands_over() -> anyhow::Result<()> {
    let panics: fn() -> anyhow::Result<u8> = || std::panic::resume_unwind(Box::new("on purpose"));
    let fails: fn() -> anyhow::Result<u8> = || anyhow::bail!("not today");
    let sleeps: fn() -> anyhow::Result<u8> = || {
        taskgroup::sleep(LONG)?;
        Ok(1)
    };
    for (first, cancel) in [(panics, false), (fails, false), (sleeps, true)] {
        let (cell, begun, go) = (OnceCell::new(), Gate::default(), Gate::default());
        let make = || {
            begun.open();
            go.wait();
            first()
        };
        TaskGroup::scope(|g| {
            let bad = g.spawn_isolated(|| Ok(*cell.get_or_try_init(make)?));
            begun.wait();
            let good: Vec<_> = (0..2)
                .map(|_| g.spawn(|| Ok(*cell.get_or_init(|| 7)?)))
                .collect();
            until_waiting(&cell, 2);
            go.open();
            if cancel {
                bad.cancel();
            }
            for good in good {
                assert_eq!(good.join()?, 7);
            }
            assert!(!matches!(bad.join(), Ok(Ok(_))));
            Ok(())
        })?;
        assert_eq!(cell.get(), Some(&7));
    }
    Ok(())
}

#[test]
fn a_cancelled_waiter_is_not_handed_the_turn() -> anyhow::Result<()> {
    for _ in 0..100 {
        let (cell, begun) = (OnceCell::new(), Gate::default());
        TaskGroup::scope(|g| {
            let bad = g.spawn(|| {
                let _ = cell.get_or_try_init(|| {
                    begun.open();
                    taskgroup::sleep(LONG)?;
                    Ok::<_, Cancelled>(1)
                });
                Ok(())
            });
            begun.wait();
            let next = g.spawn(|| Ok(*cell.get_or_init(|| 2)?));
            until_waiting(&cell, 1);
            let last = g.spawn(|| Ok(*cell.get_or_init(|| 3)?));
            until_waiting(&cell, 2);
            g.spawn(move || {
                next.cancel();
                Ok(())
            });
            bad.cancel();
            assert!([2, 3].contains(&last.join()?));
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_barrier_can_be_used_again_and_again() -> anyhow::Result<()> {
    let barrier = Barrier::new(3);
    let (arrived, last) = (AtomicUsize::new(0), AtomicUsize::new(0));
    TaskGroup::scope(|g| {
        for _ in 0..3 {
            g.spawn(|| {
                for round in 1..=50 {
                    arrived.fetch_add(1, Ordering::SeqCst);
                    last.fetch_add(usize::from(barrier.wait()?), Ordering::SeqCst);
                    assert!(arrived.load(Ordering::SeqCst) >= 3 * round);
                }
                Ok(())
            });
        }
        Ok(())
    })?;
    assert_eq!(
        last.into_inner(),
        50,
        "exactly one thread of each round came last"
    );
    Ok(())
}

#[test]
fn a_cancelled_waiter_breaks_the_barrier_for_the_others() -> anyhow::Result<()> {
    let barrier = Barrier::new(3);
    TaskGroup::scope(|g| {
        let cancelled = g.spawn(|| Ok(barrier.wait()?));
        until_waiting(&barrier, 1);
        let other = g.spawn(|| Ok(barrier.wait()));
        until_waiting(&barrier, 2);
        cancelled.cancel();
        assert!(matches!(other.join()?, Err(BarrierError::Broken(_))));
        assert!(cancelled.join().is_err());
        assert!(
            matches!(barrier.wait(), Err(BarrierError::Broken(_))),
            "a late thread would wait for ever"
        );
        barrier.reset();
        for _ in 0..2 {
            g.spawn(|| Ok(barrier.wait().map(drop)?));
        }
        barrier.wait()?;
        Ok(())
    })?;
    assert!(!barrier.is_broken());
    Ok(())
}

#[test]
fn a_barrier_of_a_cancelled_group_reports_no_broken_barrier() -> anyhow::Result<()> {
    for _ in 0..100 {
        let barrier = Barrier::new(4);
        let stopped = TaskGroup::scope(|g| {
            for _ in 0..3 {
                g.spawn(|| Ok(barrier.wait().map(drop)?));
            }
            until_waiting(&barrier, 3);
            g.cancel();
            Ok(())
        });
        stopped?;
    }
    Ok(())
}

#[test]
fn anyhow_knows_the_cancel_inside_of_a_barrier_error() {
    let token = CancelToken::new();
    token.cancel();
    let error = anyhow::Error::from(token.run(|| Barrier::new(2).wait()).unwrap_err());
    assert_eq!(error.cancelled().map(Cancelled::origin), Some(token.id()));
    let barrier = Barrier::new(2);
    while !barrier.is_broken() {
        let cut =
            taskgroup::timeout(Duration::from_millis(1), || anyhow::Ok(barrier.wait()?)).unwrap();
        assert_eq!(cut, None);
    }
    assert!(
        anyhow::Error::from(barrier.wait().unwrap_err())
            .cancelled()
            .is_none()
    );
}

#[test]
fn an_owned_cell_is_changed_taken_and_cloned() {
    let mut cell = OnceCell::new();
    assert_eq!(cell.get_mut(), None);
    assert_eq!(cell.clone(), OnceCell::new());
    cell.set(String::from("a")).unwrap();
    let before = cell.clone();
    cell.get_mut().unwrap().push('b');
    assert_eq!(
        (before.get().unwrap().as_str(), cell.get().unwrap().as_str()),
        ("a", "ab")
    );
    assert!(before != cell && cell == OnceCell::from(String::from("ab")));
    assert_eq!(cell.take().as_deref(), Some("ab"));
    // The value can be made again.
    assert_eq!(cell.get_or_init(|| String::from("c")).unwrap(), "c");
    // A cell is empty while its value is being made.
    let made = OnceCell::new();
    let clone = made.get_or_try_init(|| {
        Ok::<_, taskgroup::Cancelled>(made.clone().get().copied().unwrap_or(7))
    });
    assert_eq!(clone.ok(), Some(&7));
}
