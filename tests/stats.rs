//! The counts of a group, while tasks are claimed by the threads that join them and by workers at
//! the same time.

mod support;

use std::sync::Mutex;

use support::{alone, until, with_busy_workers};
use taskgroup::{GroupError, GroupStats, TaskGroup};

const ROUNDS: usize = 300;
const TASKS: usize = 40;

fn total(stats: &GroupStats) -> usize {
    stats.queued + stats.running + stats.finished + stats.failed + stats.cancelled
}

/// Joins in the order of the spawns, in reverse, and alternating: the joining thread and the
/// workers meet at either end of the queue, so workers take tasks that have been claimed, and
/// report that they did not begin them.
fn spawn_and_join<'scope>(g: &'scope TaskGroup<'scope, '_>, round: usize) -> anyhow::Result<()> {
    let mut handles: Vec<_> = (0..round % TASKS + 1).map(|_| g.spawn(|| Ok(()))).collect();
    if round % 2 == 0 {
        handles.reverse();
    }
    handles
        .into_iter()
        .try_for_each(|handle| Ok(handle.join()?))
}

#[test]
fn a_task_that_its_joiner_claims_before_the_worker_is_counted_once() {
    for round in 0..ROUNDS * 10 {
        let seen = Mutex::new(None);
        let outcome = TaskGroup::scope(|g| {
            g.on_release(|| {
                *seen.lock().unwrap() = Some(g.stats());
                Ok(())
            });
            spawn_and_join(g, round)
        });
        assert!(outcome.is_ok(), "{outcome:?}");
        let stats = seen.into_inner().unwrap().expect("the hook has run");
        assert_eq!(
            (stats.queued, stats.running, stats.finished),
            (0, 0, round % TASKS + 1)
        );
    }
}

#[test]
fn the_counts_always_add_up_to_the_tasks_that_were_spawned() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        let mut spawned = 0;
        for round in 0..ROUNDS {
            spawn_and_join(g, round)?;
            spawned += round % TASKS + 1;
            assert_eq!(total(&g.stats()), spawned, "{:?}", g.stats());
        }
        until(|| g.stats().finished == spawned);
        assert_eq!((g.stats().queued, g.stats().running), (0, 0));
        Ok(())
    })
}

#[test]
fn tasks_that_are_claimed_twice_do_not_hide_tasks_that_are_queued() {
    alone(
        "tasks_that_are_claimed_twice_do_not_hide_tasks_that_are_queued",
        || {
            let outcome = TaskGroup::scope(|g| {
                for round in 0..ROUNDS * 10 {
                    spawn_and_join(g, round)?;
                }
                with_busy_workers(|| {
                    for _ in 0..TASKS {
                        g.spawn(|| Ok(()));
                    }
                    // A correction of the counts may still be on its way.
                    until(|| g.stats().queued == TASKS);
                });
                Ok(())
            });
            assert!(outcome.is_ok(), "{outcome:?}");
        },
    );
}

#[test]
fn a_task_that_its_joiner_runs_counts_as_queued_until_it_has_ended() {
    alone(
        "a_task_that_its_joiner_runs_counts_as_queued_until_it_has_ended",
        || {
            let outcome = TaskGroup::scope(|g| {
                with_busy_workers(|| {
                    let during = g.spawn(|| Ok(g.stats())).join()?;
                    assert_eq!((during.queued, during.running), (1, 0));
                    assert_eq!((g.stats().queued, g.stats().finished), (0, 1));
                    Ok(())
                })
            });
            assert!(outcome.is_ok(), "{outcome:?}");
        },
    );
}
