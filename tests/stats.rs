//! The counts of a group, while tasks are claimed by the threads that join them and by workers at
//! the same time.

mod support;

use std::sync::Mutex;

use support::{Gate, alone, until, with_busy_workers};
use taskgroup::{GroupError, GroupStats, TaskGroup, snapshot};

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

#[test]
fn beside_tasks_that_run_in_place_others_count_as_running() {
    alone(
        "beside_tasks_that_run_in_place_others_count_as_running",
        || {
            let (begun, leave) = (Gate::default(), Gate::default());
            let outcome = TaskGroup::scope(|g| {
                g.spawn_daemon(|| {
                    begun.open();
                    until(|| leave.is_open());
                    Ok(())
                });
                begun.wait();
                with_busy_workers(|| {
                    for ended in 1..=3 {
                        g.spawn(|| Ok(())).join()?;
                        until(|| {
                            let stats = g.stats();
                            (stats.queued, stats.running, stats.finished) == (0, 1, ended)
                        });
                    }
                    leave.open();
                    Ok(())
                })
            });
            assert!(outcome.is_ok(), "{outcome:?}");
        },
    );
}

#[test]
fn tasks_that_ran_in_place_do_not_change_the_peak_of_later_ones() {
    alone(
        "tasks_that_ran_in_place_do_not_change_the_peak_of_later_ones",
        || {
            let leave = &Gate::default();
            let outcome = TaskGroup::scope(|g| {
                with_busy_workers(|| (0..8).try_for_each(|_| g.spawn(|| Ok(())).join()))?;
                let waits = move || {
                    leave.wait();
                    Ok(())
                };
                g.task().dedicated().spawn_daemon(waits);
                g.task().dedicated().spawn(move || {
                    // The end of the body reports the tasks that it has run.
                    let id = g.token().id();
                    until(|| {
                        let seen = snapshot();
                        let mut groups = seen.all_groups();
                        groups.any(|group| group.id() == id && group.is_ending())
                    });
                    g.task().dedicated().spawn(waits);
                    let peak = g.stats().peak_running;
                    leave.open();
                    // A worker that comes too late for a task counts it for a moment.
                    assert!((3..3 + 8).contains(&peak), "{peak}");
                    Ok(())
                });
                Ok(())
            });
            assert!(outcome.is_ok(), "{outcome:?}");
        },
    );
}

#[test]
fn a_daemon_counts_for_the_peak() {
    let (begun, leave) = (Gate::default(), Gate::default());
    let outcome = TaskGroup::scope(|g| {
        let daemon = g.spawn_daemon(|| {
            begun.open();
            leave.wait();
            Ok(())
        });
        begun.wait();
        let task = g.task().dedicated().spawn(|| {
            leave.wait();
            Ok(())
        });
        leave.open();
        task.join()?;
        daemon.wait()?;

        // While they run, the peak that is told is not below the tasks that run.
        assert_eq!(g.stats().peak_running, 2);
        Ok(())
    });
    assert!(outcome.is_ok(), "{outcome:?}");
}
