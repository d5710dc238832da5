//! How late tasks see their cancel and end after it: the worst of a group, with its task.

use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use crate::support::{self, Gate, blocked, until};
use taskgroup::{
    CancelToken, Cancelled, GroupStats, OnFailure, TaskGroup, TaskLatency, WorstLatencies,
    checkpoint, shield, timeout,
};

/// Runs `body` in a scope, and returns the stats after the end of all tasks.
fn stats_of<'env>(
    limit: Option<usize>,
    body: impl for<'scope> FnOnce(&'scope TaskGroup<'scope, 'env>) -> anyhow::Result<()>,
) -> GroupStats {
    let stats = support::stats_of(TaskGroup::builder(), limit, body);
    // Both are taken from the same ends.
    let longest = stats.worst_latencies.to_end().map(TaskLatency::latency);
    assert_eq!(longest.unwrap_or_default(), stats.cancel_latency.longest());
    stats
}

/// Lets time pass, so that a wrong beginning of a latency shows.
fn a_while() -> Duration {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(3) {
        std::thread::yield_now();
    }
    begun.elapsed()
}

/// Sees the cancel of a time limit of its own.
fn passed() {
    let limited = timeout(Duration::ZERO, || -> Result<(), Cancelled> {
        taskgroup::park()
    });
    assert_eq!(limited, Ok(None));
}

fn name(latency: Option<&TaskLatency>) -> Option<&str> {
    latency?.task().name.as_deref()
}

fn names(worst: &WorstLatencies) -> (Option<&str>, Option<&str>) {
    (name(worst.to_sight()), name(worst.to_end()))
}

#[test]
fn without_a_cancel_there_are_none() {
    let stats = stats_of(None, |g| {
        g.spawn(|| Ok(()));
        g.spawn(|| Ok(checkpoint()?));
        // A time limit of the task's own is not a cancel of the task.
        g.spawn(|| {
            passed();
            Ok(())
        });
        Ok(())
    });
    assert_eq!(stats.worst_latencies, WorstLatencies::default());
    assert_eq!(stats.finished, 3);

    let builder = TaskGroup::builder().on_failure(OnFailure::Collect);
    let error = builder.scope(|g| {
        g.spawn(|| Ok("x".parse::<u32>()?));
        Ok(())
    });
    let worst = error.unwrap_err().worst_latencies().clone();
    assert_eq!((worst.to_sight(), worst.to_end()), (None, None));
}

#[test]
fn the_task_whose_failure_cancels_the_group_has_none() {
    let stats = stats_of(None, |g| {
        g.spawn(|| Ok("x".parse::<u32>()?));
        Ok(())
    });
    assert_eq!((stats.failed, stats.cancel_latency.count()), (1, 0));
    let stats = stats_of(None, |g| {
        g.spawn(|| -> anyhow::Result<()> { panic!("no place") });
        Ok(())
    });
    assert_eq!((stats.panicked, stats.cancel_latency.count()), (1, 0));
}

#[test]
fn the_report_has_the_worst_of_each_with_the_task() {
    let (begun, let_go) = (Barrier::new(4), Gate::default());
    let (seen, others_ended) = (Gate::default(), Gate::default());
    let mut ids = Vec::new();
    let error = TaskGroup::scope(|g| {
        // Sees the cancel before the others, and ends last.
        let last = g.task().name("last").spawn(|| {
            begun.wait();
            let cancelled = blocked();
            seen.open();
            others_ended.wait();
            a_while();
            Err::<(), _>(cancelled.into())
        });
        // Sees it late.
        let blind = g.task().name("blind").spawn(|| {
            begun.wait();
            let_go.wait();
            Ok(checkpoint()?)
        });
        // Never looks.
        let deaf = g.task().name("deaf").spawn(|| {
            begun.wait();
            Ok(())
        });
        begun.wait();
        ids.push(last.id());
        g.spawn(|| Ok("x".parse::<u32>()?));
        blocked(); // until the failure
        seen.wait();
        a_while();
        let_go.open();
        until(|| blind.is_finished() && deaf.is_finished());
        others_ended.open();
        Ok(())
    })
    .unwrap_err();

    let worst = error.worst_latencies();
    assert_eq!(name(worst.to_end()), Some("last"));
    assert_eq!(
        worst.to_end().map(|last| last.task().id),
        ids.first().copied()
    );
    assert_eq!(worst.to_end().unwrap().task().location.file(), file!());
    assert_eq!(name(worst.to_sight()), Some("blind"));
    assert!(worst.to_sight().unwrap().latency() <= worst.to_end().unwrap().latency());

    // The line is for cancels that took long.
    assert!(!format!("{error:#}").contains("after its cancel"));
    let all = worst.clone();
    let (failed, rest) = error.split(|_| true);
    assert!(rest.is_none());
    assert_eq!(failed.unwrap().worst_latencies(), &all);
}

#[test]
fn tasks_that_never_ran_do_not_count() {
    let begun = Gate::default();
    let stats = stats_of(Some(1), |g| {
        g.task().name("ran").spawn(|| {
            begun.open();
            Err::<(), _>(blocked().into())
        });
        begun.wait();
        for _ in 0..5 {
            g.task().name("queued").spawn(|| Ok(()));
        }
        g.cancel();
        Ok(())
    });
    assert_eq!((stats.never_ran, stats.cancel_latency.count()), (5, 1));
    assert_eq!(names(&stats.worst_latencies), (Some("ran"), Some("ran")));
}

#[test]
fn a_shield_hides_the_cancel_until_it_ends() {
    for looks in [false, true] {
        let (begun, let_go) = (Gate::default(), Gate::default());
        let mut hidden = Duration::ZERO;
        let stats = stats_of(None, |g| {
            g.task().name("shielded").spawn(|| {
                shield(|| {
                    begun.open();
                    let_go.wait();
                    checkpoint()
                })?;
                if looks {
                    checkpoint()?;
                }
                Ok(())
            });
            begun.wait();
            g.cancel();
            hidden = a_while();
            let_go.open();
            Ok(())
        });
        let worst = &stats.worst_latencies;
        assert!(worst.to_end().unwrap().latency() >= hidden);
        let seen = worst.to_sight().map(TaskLatency::latency);
        assert_eq!(seen.is_some(), looks);
        assert!(seen.is_none_or(|seen| seen >= hidden));
    }
}

#[test]
fn only_the_first_sight_of_the_own_cancel_counts() {
    let (begun, cancelled, other) = (Gate::default(), Gate::default(), CancelToken::new());
    let mut late = Duration::ZERO;
    other.cancel();
    let stats = stats_of(None, |g| {
        g.spawn(|| {
            // Cancels that are not those of the task, before its own and after it.
            other.run(checkpoint).unwrap_err();
            passed();
            begun.open();
            cancelled.wait();
            other.run(|| shield(checkpoint))?;
            checkpoint().unwrap_err();
            let seen = Instant::now();
            a_while();
            for _ in 0..100 {
                shield(|| other.run(checkpoint)).unwrap_err();
                checkpoint().unwrap_err();
            }
            late = seen.elapsed();
            Ok(())
        });
        begun.wait();
        g.cancel();
        cancelled.open();
        Ok(())
    });
    let worst = &stats.worst_latencies;
    let (seen, ended) = (worst.to_sight().unwrap(), worst.to_end().unwrap());
    assert!(
        seen.latency() + late <= ended.latency(),
        "{worst:?}, {late:?}"
    );
}

#[test]
fn a_task_counts_from_the_first_cancel_that_reaches_it() {
    // The inner group is cancelled from above: from that cancel.
    let (begun, let_go) = (Gate::default(), Gate::default());
    let (inner, mut hidden) = (Mutex::new(None), Duration::ZERO);
    let outer = stats_of(None, |g| {
        g.task().name("outer").spawn(|| {
            let stats = stats_of(None, |g| {
                g.task().name("inner").spawn(|| {
                    begun.open();
                    let_go.wait();
                    Ok(checkpoint()?)
                });
                Ok(())
            });
            *inner.lock().unwrap() = Some(stats);
            Ok(checkpoint()?)
        });
        begun.wait();
        g.cancel();
        hidden = a_while();
        let_go.open();
        Ok(())
    });
    let stats = inner.lock().unwrap().take().unwrap();
    assert_eq!(
        names(&stats.worst_latencies),
        (Some("inner"), Some("inner"))
    );
    assert!(stats.worst_latencies.to_sight().unwrap().latency() >= hidden);
    assert_eq!(
        names(&outer.worst_latencies),
        (Some("outer"), Some("outer"))
    );
    assert_eq!(outer.cancel_latency.count(), 1);
}

#[test]
fn the_cancel_of_an_inner_group_is_none_of_the_task_around_it() {
    let outer = stats_of(None, |g| {
        g.spawn(|| {
            let begun = Gate::default();
            let mut inner = Duration::ZERO;
            let stats = stats_of(None, |g| {
                g.task().name("inner").spawn(|| {
                    begun.open();
                    Err::<(), _>(blocked().into())
                });
                begun.wait();
                g.cancel();
                checkpoint().unwrap_err();
                inner = a_while();
                Ok(())
            });
            assert_eq!(
                names(&stats.worst_latencies),
                (Some("inner"), Some("inner"))
            );
            Ok(())
        });
        Ok(())
    });
    assert_eq!(
        (outer.finished, outer.worst_latencies),
        (1, WorstLatencies::default())
    );
}

#[test]
fn a_task_sees_its_cancel_in_the_body_of_a_scope_that_it_opens() {
    let (begun, let_go) = (Gate::default(), Gate::default());
    let stats = stats_of(None, |g| {
        g.task().name("opens").spawn(|| {
            let inner = TaskGroup::scope(|_| {
                begun.open();
                let_go.wait();
                checkpoint().unwrap_err();
                Ok(())
            });
            Ok(inner?)
        });
        begun.wait();
        g.cancel();
        let_go.open();
        Ok(())
    });
    assert_eq!(
        names(&stats.worst_latencies),
        (Some("opens"), Some("opens"))
    );
    assert_eq!(stats.finished, 1);
}

#[test]
fn a_task_that_is_cancelled_alone_has_its_latencies() {
    let begun = Gate::default();
    let stats = stats_of(None, |g| {
        let task = g.task().name("alone").spawn(|| {
            begun.open();
            Err::<(), _>(blocked().into())
        });
        begun.wait();
        task.cancel();
        task.wait()?;
        Ok(())
    });
    assert_eq!(
        names(&stats.worst_latencies),
        (Some("alone"), Some("alone"))
    );
}

#[test]
fn a_daemon_counts_from_the_end_of_the_tasks() {
    let begun = Gate::default();
    let stats = stats_of(None, |g| {
        g.task().name("daemon").spawn_daemon(|| {
            begun.open();
            Err(blocked().into())
        });
        begun.wait();
        Ok(())
    });
    assert_eq!(
        names(&stats.worst_latencies),
        (Some("daemon"), Some("daemon"))
    );
}

#[test]
fn a_task_that_waits_for_another_has_a_sight_of_its_own() {
    let (begun, cancelled, ended) = (Gate::default(), Gate::default(), Gate::default());
    let stats = stats_of(None, |g| {
        g.task().name("outer").spawn(|| {
            // In place, or on a worker.
            let inner = g.spawn(|| {
                begun.open();
                cancelled.wait();
                Err::<(), _>(blocked().into())
            });
            inner.on_finished(|_| ended.open());
            let joined = inner.join();
            ended.wait();
            a_while();
            checkpoint().unwrap_err();
            Ok(joined?)
        });
        begun.wait();
        g.cancel();
        a_while();
        cancelled.open();
        Ok(())
    });
    // The inner task ends first, and has seen the cancel before that.
    assert_eq!(name(stats.worst_latencies.to_end()), Some("outer"));
    assert_eq!(stats.cancel_latency.count(), 2);
}

#[test]
fn the_last_of_a_thousand_tasks_is_named() {
    const TASKS: usize = 1000;

    let (begun, let_go) = (Barrier::new(TASKS + 1), Gate::default());
    let stats = stats_of(None, |g| {
        let tasks: Vec<_> = (0..TASKS)
            .map(|n| {
                let (begun, let_go) = (&begun, &let_go);
                let task = g.task().name(format!("task {n}"));
                task.dedicated().stack_size(64 * 1024).spawn(move || {
                    begun.wait();
                    let cancelled = blocked();
                    if n == 700 {
                        let_go.wait();
                    }
                    Err::<(), _>(cancelled.into())
                })
            })
            .collect();
        begun.wait();
        g.cancel();
        shield(|| {
            for (n, task) in tasks.into_iter().enumerate() {
                if n == 700 {
                    continue;
                }
                drop(task.join());
            }
        });
        let_go.open();
        Ok(())
    });
    assert_eq!(stats.cancel_latency.count(), TASKS as u64);
    assert_eq!(name(stats.worst_latencies.to_end()), Some("task 700"));
    assert!(stats.worst_latencies.to_sight().is_some());
}
