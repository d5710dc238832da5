//! The stats of a group: ends, cancels and permits.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::Duration;

use anyhow::bail;
use support::{Gate, blocked};
use taskgroup::{
    CancelToken, GroupError, GroupStats, OnFailure, TaskGroup, TaskStatus, shield, sleep,
};

/// Longer than many steps of the coarse clock.
const PAUSE: Duration = Duration::from_millis(100);
/// The rest of the pause if the clock takes two steps less than it should.
const AT_LEAST: Duration = Duration::from_millis(50);

/// Runs `body` in a scope with `limit`, and returns the stats after the end of all tasks.
fn stats_of<'env>(
    limit: Option<usize>,
    body: impl for<'scope> FnOnce(&'scope TaskGroup<'scope, 'env>) -> anyhow::Result<()>,
) -> GroupStats {
    let builder = TaskGroup::builder().on_failure(OnFailure::Collect);
    support::stats_of(builder, limit, body)
}

fn outcome(stats: &GroupStats, of: TaskStatus) -> usize {
    let outcomes = stats.outcomes();
    let mut outcomes = outcomes.iter();
    let found = outcomes.find(|(outcome, _)| *outcome == of);
    found.expect("it is an outcome").1
}

#[test]
fn each_outcome_is_counted_once_and_they_sum_to_the_tasks_that_started() {
    let begun = Gate::default();
    let stats = stats_of(None, |g| {
        for _ in 0..3 {
            g.spawn(|| Ok(()));
        }
        g.spawn::<(), _>(|| bail!("no data"));
        // An isolated failure counts like any other.
        drop(g.spawn_isolated(|| -> anyhow::Result<()> { panic!("no place") }));
        g.spawn_daemon(|| Err(blocked().into()));

        let cut = g.spawn(|| {
            begun.open();
            Err::<(), _>(blocked().into())
        });
        begun.wait();
        assert_eq!(cut.cancel_and_wait()?, TaskStatus::Cancelled);
        Ok(())
    });
    // The daemon may have been cancelled before it began.
    let [cancelled, never_ran] =
        [TaskStatus::Cancelled, TaskStatus::NeverRan].map(|of| outcome(&stats, of));
    assert_eq!(cancelled + never_ran, 2, "{stats:?}");
    assert!(cancelled >= 1, "{stats:?}");
    assert_eq!(outcome(&stats, TaskStatus::Finished), 3);
    assert_eq!(outcome(&stats, TaskStatus::Failed), 1);
    assert_eq!(outcome(&stats, TaskStatus::Panicked), 1);

    assert_eq!((stats.failed, stats.cancelled), (2, 2));
    assert_eq!((stats.spawned(), stats.live()), (7, 0));
    let sum: usize = stats.outcomes().iter().map(|(_, tasks)| tasks).sum();
    assert_eq!(sum, stats.spawned());
    assert_eq!(sum - stats.never_ran, stats.started());
}

#[test]
fn tasks_that_a_cancel_finds_in_the_queue_never_ran_and_were_not_started() {
    let begun = Gate::default();
    let stats = stats_of(Some(1), |g| {
        g.spawn(|| {
            begun.open();
            Err::<(), _>(blocked().into())
        });
        begun.wait();
        for _ in 0..5 {
            g.spawn(|| Ok(()));
        }
        let during = g.stats();
        assert_eq!((during.running, during.queued), (1, 5));
        assert_eq!((during.started(), during.live()), (1, 6));
        g.cancel();
        // Too late, so it is not counted.
        let late = g.spawn(|| Ok(()));
        assert_eq!(late.status(), TaskStatus::NeverRan);
        Ok(())
    });
    assert_eq!((stats.cancelled, stats.never_ran), (6, 5));
    assert_eq!((stats.started(), stats.spawned()), (1, 6));
    // Tasks that never ran had no cancel to see.
    assert_eq!(stats.cancel_latency.count(), 1);
}

#[test]
fn a_task_whose_thread_is_refused_counts_as_started_and_failed() {
    let stats = stats_of(None, |g| {
        g.task()
            .dedicated()
            .stack_size(usize::MAX / 4 * 3)
            .spawn(|| Ok(()));
        Ok(())
    });
    assert_eq!((stats.failed, stats.started(), stats.spawned()), (1, 1, 1));
    assert_eq!(stats.panicked, 0);
}

#[test]
fn the_peak_is_the_most_tasks_at_once_and_no_more_than_the_limit() {
    const TASKS: usize = 4;
    let meet = Barrier::new(TASKS);
    let stats = stats_of(None, |g| {
        for _ in 0..TASKS {
            g.task().dedicated().spawn(|| {
                meet.wait();
                Ok(())
            });
        }
        Ok(())
    });
    assert_eq!(stats.peak_running, TASKS);

    let meet = Barrier::new(2);
    let stats = stats_of(Some(2), |g| {
        for _ in 0..20 {
            g.spawn(|| {
                meet.wait();
                Ok(())
            });
        }
        Ok(())
    });
    assert_eq!(stats.peak_running, 2);

    // A task that its joiner runs in place is one at a time.
    let stats = stats_of(None, |g| Ok(g.spawn(|| Ok(())).join()?));
    assert_eq!(stats.peak_running, 1);
    assert_eq!(stats_of(None, |_| Ok(())).peak_running, 0);
}

#[test]
fn the_latency_is_that_of_each_task_that_ran_at_the_cancel_whatever_its_outcome() {
    let (begun, go_on) = (Barrier::new(4), Gate::default());
    let stats = stats_of(None, |g| {
        // It has ended before the cancel, so it is not in the histogram.
        g.spawn(|| Ok(())).join()?;

        g.spawn(|| {
            begun.wait();
            Err::<(), _>(blocked().into())
        });
        g.spawn(|| {
            begun.wait();
            go_on.wait();
            Ok(()) // as if there had been no cancel
        });
        g.spawn::<(), _>(|| {
            begun.wait();
            go_on.wait();
            bail!("cannot clean up");
        });
        begun.wait();
        g.cancel();
        // These two end a pause after the cancel.
        shield(|| sleep(PAUSE))?;
        go_on.open();
        Ok(())
    });
    assert_eq!((stats.finished, stats.failed, stats.cancelled), (2, 1, 1));
    let latency = &stats.cancel_latency;
    assert_eq!(latency.count(), 3, "{latency:?}");
    assert!(latency.longest() >= PAUSE && latency.sum() >= 2 * PAUSE);
    assert!(latency.quantile(1.0) == Some(latency.longest()));
    assert!(latency.quantile(0.5) >= Some(PAUSE));
}

#[test]
fn a_task_that_is_cancelled_alone_has_its_latency_even_if_it_finishes() {
    let (begun, go_on) = (Barrier::new(2), Gate::default());
    let stats = stats_of(None, |g| {
        let task = g.spawn(|| {
            begun.wait();
            go_on.wait();
            Ok(())
        });
        begun.wait();
        task.cancel();
        go_on.open();
        Ok(())
    });
    assert_eq!((stats.finished, stats.cancel_latency.count()), (1, 1));
}

#[test]
fn a_cancel_from_far_above_reaches_the_histogram_of_the_group_inside() {
    let (token, begun) = (CancelToken::new(), Gate::default());
    let inner = Mutex::new(None);
    let outcome: Result<(), GroupError> = token.run(|| {
        TaskGroup::scope(|outer| {
            outer.spawn(|| {
                let stats = stats_of(None, |g| {
                    g.spawn(|| {
                        begun.open();
                        Err::<(), _>(blocked().into())
                    });
                    Ok(())
                });
                *inner.lock().unwrap() = Some(stats);
                Ok(())
            });
            begun.wait();
            token.cancel();
            Ok(())
        })
    });
    assert!(outcome.is_ok(), "every task had its value: {outcome:?}");
    let stats = inner.into_inner().unwrap().expect("the inner scope ended");
    assert_eq!((stats.cancelled, stats.cancel_latency.count()), (1, 1));
}

#[test]
fn waits_for_a_permit_count_while_they_go_on_and_stop_when_they_end() {
    let (begun, over) = (Gate::default(), AtomicBool::new(false));
    let stats = stats_of(Some(1), |g| {
        g.spawn(|| {
            begun.open();
            while !over.load(Ordering::SeqCst) {
                sleep(Duration::from_millis(1))?;
            }
            Ok(())
        });
        begun.wait();
        assert_eq!(g.stats().permit_waits, 0, "the first had a permit");
        for _ in 0..3 {
            g.spawn(|| Ok(()));
        }
        sleep(PAUSE)?;

        let during = g.stats();
        assert_eq!((during.permit_waits, during.queued), (3, 3));
        assert!(during.permit_wait >= 3 * AT_LEAST, "{during:?}");
        over.store(true, Ordering::SeqCst);
        Ok(())
    });
    assert_eq!((stats.permit_waits, stats.finished), (3, 4));
    assert!(stats.permit_wait >= 3 * AT_LEAST);
}

#[test]
fn a_join_that_finds_no_permit_does_not_end_the_wait_for_it() {
    let (begun, joins) = (Gate::default(), Gate::default());
    let stats = stats_of(Some(1), |g| {
        g.spawn(|| {
            begun.open();
            joins.wait();
            sleep(PAUSE)?;
            Ok(())
        });
        begun.wait();
        let queued = g.spawn(|| Ok(()));
        joins.open();
        queued.join()?;
        Ok(())
    });
    assert_eq!((stats.permit_waits, stats.finished), (1, 2));
    assert!(stats.permit_wait >= AT_LEAST, "{stats:?}");
}

#[test]
fn a_wait_for_a_permit_ends_when_a_cancel_drops_the_task() -> anyhow::Result<()> {
    let begun = Gate::default();
    TaskGroup::builder().limit(1).scope(|g| {
        g.spawn(|| {
            begun.open();
            Err::<(), _>(blocked().into())
        });
        begun.wait();
        let tasks: Vec<_> = (0..3).map(|_| g.spawn(|| Ok(()))).collect();
        for task in &tasks {
            task.cancel();
        }
        let before = g.stats();
        sleep(PAUSE)?;
        assert_eq!(g.stats().permit_wait, before.permit_wait);
        assert_eq!((before.permit_waits, before.never_ran), (3, 3));
        g.cancel();
        Ok(())
    })?;
    Ok(())
}

#[test]
fn a_task_that_could_begin_at_once_does_not_wait_for_a_permit() {
    let in_turn = stats_of(Some(2), |g| {
        for _ in 0..300 {
            g.spawn(|| Ok(())).join()?;
        }
        Ok(())
    });
    assert_eq!((in_turn.finished, in_turn.permit_waits), (300, 0));
    assert!(in_turn.permit_wait.is_zero());

    let unlimited = stats_of(None, |g| {
        for _ in 0..300 {
            g.spawn(|| Ok(()));
        }
        Ok(())
    });
    assert_eq!((unlimited.finished, unlimited.permit_waits), (300, 0));
}
