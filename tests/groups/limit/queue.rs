//! The queue of a limited group.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

use taskgroup::{CancelToken, GroupError, SpawnErrorKind, TaskGroup, TaskStatus};

use crate::support::{Drops, Gate, LONG, Peak, alone, spawn_holder};

#[test]
fn queued_tasks_start_in_the_order_of_their_spawn() -> Result<(), GroupError> {
    let order = Mutex::new(Vec::new());
    let (running, leave) = (Gate::default(), Gate::default());
    TaskGroup::builder().limit(1).scope(|g| {
        spawn_holder(g, &running, &leave);
        for n in 0..50 {
            let order = &order;
            g.spawn(move || {
                order.lock().unwrap().push(n);
                Ok(())
            });
        }
        assert_eq!((g.stats().running, g.stats().queued), (1, 50));
        leave.open();
        Ok(())
    })?;
    assert_eq!(order.into_inner().unwrap(), (0..50).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn a_cancel_empties_the_queue() -> Result<(), GroupError> {
    let (ran, drops) = (AtomicUsize::new(0), Drops::default());
    let (running, leave) = (Gate::default(), Gate::default());
    TaskGroup::builder().limit(1).scope(|g| {
        let holder = g.spawn(|| {
            running.open();
            leave.wait();
            Ok(7)
        });
        running.wait();
        let queued: Vec<_> = (0..20)
            .map(|_| {
                let (own, ran) = (drops.counted(), &ran);
                g.spawn(move || {
                    let _own = &own;
                    ran.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                })
            })
            .collect();
        assert!(
            queued
                .iter()
                .all(|task| task.status() == TaskStatus::Queued)
        );
        g.cancel();
        for task in &queued {
            assert_eq!(taskgroup::shield(|| task.wait())?, TaskStatus::NeverRan);
        }
        assert_eq!(
            drops.count(),
            20,
            "captures in the queue wait for the running task"
        );
        leave.open();
        assert_eq!(taskgroup::shield(|| holder.join())?, 7);
        Ok(())
    })?;
    assert_eq!((ran.into_inner(), drops.count()), (0, 20));
    Ok(())
}

#[test]
fn a_queued_task_cancelled_by_its_handle_never_runs_and_the_next_does() -> Result<(), GroupError> {
    let (running, leave) = (Gate::default(), Gate::default());
    TaskGroup::builder().limit(1).scope(|g| {
        spawn_holder(g, &running, &leave);
        let (skipped, next) = (g.spawn(|| Ok(1)), g.spawn(|| Ok(2)));
        skipped.cancel();
        leave.open();
        assert_eq!(skipped.wait()?, TaskStatus::NeverRan);
        assert_eq!(next.join()?, 2);
        Ok(())
    })
}

#[test]
fn joining_a_queued_task_of_ones_own_group_does_not_deadlock() -> Result<(), GroupError> {
    fn descend<'scope>(
        g: &'scope TaskGroup<'scope, '_>,
        peak: &'scope Peak,
        depth: u32,
    ) -> anyhow::Result<u32> {
        peak.inside(std::thread::yield_now);
        if depth == 0 {
            return Ok(0);
        }
        let below = g.spawn(move || descend(g, peak, depth - 1));
        let value = below.join()? + 1;
        peak.inside(std::thread::yield_now);
        Ok(value)
    }
    for limit in [1, 2] {
        let peak = Peak::default();
        let depths = TaskGroup::builder().limit(limit).scope(|g| {
            let roots: Vec<_> = (0..3).map(|_| g.spawn(|| descend(g, &peak, 8))).collect();
            let mut depths = Vec::new();
            for root in roots {
                depths.push(root.join()?);
            }
            Ok(depths)
        })?;
        assert_eq!(depths, [8, 8, 8]);
        assert!(peak.most() <= limit, "{} of {limit}", peak.most());
    }
    Ok(())
}

#[test]
fn joining_across_a_queue_in_front_does_not_deadlock() -> Result<(), GroupError> {
    let peak = Peak::default();
    let (running, queued) = (Gate::default(), Gate::default());
    let value = TaskGroup::builder().limit(1).scope(|g| {
        let first = g.spawn(|| {
            running.open();
            queued.wait();
            let last = g.spawn(|| Ok(peak.inside(|| 5)));
            Ok(last.join()?)
        });
        running.wait();
        for _ in 0..5 {
            g.spawn(|| {
                peak.inside(std::thread::yield_now);
                Ok(())
            });
        }
        queued.open();
        Ok(first.join()?)
    })?;
    assert_eq!((value, peak.most()), (5, 1));
    Ok(())
}

#[test]
fn try_spawn_says_full_and_takes_tasks_again_when_it_is_not() -> Result<(), GroupError> {
    let drops = Drops::default();
    let (running, leave) = (Gate::default(), Gate::default());
    let values = TaskGroup::builder().limit(1).scope(|g| {
        let holder = spawn_holder(g, &running, &leave);
        let own = drops.counted();
        let task = move || {
            drop(own);
            Ok(6)
        };
        let refused = g.try_spawn(task).expect_err("the only permit is taken");
        assert!(matches!(refused.kind(), SpawnErrorKind::Full));
        assert_eq!((refused.to_string().is_empty(), drops.count()), (false, 0));
        let task = refused.into_task();
        leave.open();
        holder.join()?;
        let accepted = g
            .try_spawn(task)
            .map_err(|refused| anyhow::anyhow!("{refused}"))?;
        Ok(accepted.join()?)
    })?;
    assert_eq!((values, drops.count()), (6, 1));
    Ok(())
}

#[test]
fn a_task_that_was_run_in_place_leaves_no_trace_for_try_spawn() -> Result<(), GroupError> {
    for _ in 0..300 {
        TaskGroup::builder().limit(1).scope(|g| {
            g.spawn(|| Ok(())).join()?;
            assert!(
                g.try_spawn(|| Ok(())).is_ok(),
                "nothing runs and nothing is queued"
            );
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn the_entry_of_an_ended_task_is_dropped_without_the_lock_of_the_queue() {
    struct Cancels(CancelToken);
    impl Drop for Cancels {
        fn drop(&mut self) {
            self.0.cancel();
        }
    }

    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let outcome = TaskGroup::builder().limit(1).scope(|g| {
            g.spawn(|| {
                let token = g.token().clone();
                let task = g.spawn(move || {
                    let cancels = Cancels(token);
                    let own = taskgroup::current_token().expect("a task has a token");
                    own.on_cancel(move || drop(cancels)).forget();
                    Ok(())
                });
                // It gets the permit of this task past the queue, and leaves its entry there.
                assert_eq!(task.wait()?, TaskStatus::Finished);
                drop(task);
                Ok(())
            });
            Ok(())
        });
        done.send(outcome.is_ok())
    });
    assert_eq!(ended.recv_timeout(LONG), Ok(true));
}

#[test]
fn a_dedicated_task_does_not_overtake_the_queue() {
    alone("a_dedicated_task_does_not_overtake_the_queue", || {
        let (holds, order) = (Gate::default(), Mutex::new(Vec::new()));
        let outcome = crate::support::with_busy_workers(|| {
            TaskGroup::builder().limit(1).scope(|g| {
                g.task().dedicated().spawn(|| {
                    holds.wait();
                    Ok(())
                });
                g.spawn(|| {
                    order.lock().unwrap().push("queued");
                    Ok(())
                });
                holds.open();
                // That frees the only permit, and the next task in the queue waits for a worker.
                crate::support::until(|| g.stats().finished > 0);
                g.task().dedicated().spawn(|| {
                    order.lock().unwrap().push("dedicated");
                    Ok(())
                });
                Ok(())
            })
        });
        assert!(outcome.is_ok(), "{outcome:?}");
        assert_eq!(*order.lock().unwrap(), ["queued", "dedicated"]);
    });
}
