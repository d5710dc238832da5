//! Limits: how many tasks of a group run at once, and what becomes of the others.

mod queue;

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use taskgroup::{CancelToken, GroupError, OnFailure, TaskGroup, TaskStatus};

use crate::support::{Gate, LONG, MOMENT, Peak, panic_of, until};

#[test]
fn a_limit_of_zero_panics_and_says_why() {
    // No task could ever run.
    let message = panic_of(|| TaskGroup::builder().limit(0));
    assert!(
        message.contains("limit") && message.contains('0'),
        "{message}"
    );
}

#[test]
fn the_limit_is_reached_and_never_exceeded() -> Result<(), GroupError> {
    let (peak, three) = (Peak::default(), Barrier::new(3));
    TaskGroup::builder().limit(3).scope(|g| {
        for _ in 0..60 {
            g.spawn(|| {
                peak.inside(|| three.wait());
                Ok(())
            });
        }
        Ok(())
    })?;
    assert_eq!(peak.most(), 3);
    Ok(())
}

#[test]
fn the_limit_holds_while_the_body_joins() -> Result<(), GroupError> {
    for limit in [1, 2] {
        let peak = Peak::default();
        TaskGroup::builder().limit(limit).scope(|g| {
            let task = || {
                peak.inside(std::thread::yield_now);
                Ok(())
            };
            let tasks: Vec<_> = (0..50).map(|_| g.spawn(task)).collect();
            for task in tasks.into_iter().rev() {
                task.join()?;
            }
            Ok(())
        })?;
        assert!(peak.most() <= limit, "{} of {limit}", peak.most());
    }
    Ok(())
}

#[test]
fn a_limit_counts_the_tasks_of_its_own_group_only() -> Result<(), GroupError> {
    let both = Barrier::new(2);
    TaskGroup::builder().limit(1).scope(|outer| {
        outer.spawn(|| {
            both.wait();
            Ok(())
        });
        TaskGroup::builder().limit(1).scope(|inner| {
            inner.spawn(|| {
                both.wait();
                Ok(())
            });
            Ok(())
        })?;
        Ok(())
    })
}

#[test]
fn panicking_tasks_give_their_permits_back() {
    let mut after = None;
    let error = TaskGroup::builder()
        .limit(2)
        .on_failure(OnFailure::Collect)
        .scope(|g| {
            for _ in 0..50 {
                g.spawn(|| -> anyhow::Result<()> { panic!("one of many") });
            }
            after = Some(g.spawn(|| Ok("a permit was left")).join()?);
            Ok(())
        })
        .unwrap_err();
    assert_eq!(
        (error.panics().count(), after),
        (50, Some("a permit was left"))
    );
}

#[test]
fn at_the_end_of_a_task_its_permit_is_free() -> Result<(), GroupError> {
    let leave = Gate::default();
    TaskGroup::builder().limit(1).scope(|g| {
        let task = g.spawn(|| {
            leave.wait();
            Ok(())
        });
        task.on_finished(|_| {
            assert!(
                g.try_spawn(|| Ok(())).is_ok(),
                "the task has ended, and no other waits"
            )
        });
        leave.open();
        task.wait()?;
        Ok(())
    })
}

#[test]
fn at_the_end_of_a_task_its_permit_is_that_of_its_waiter() -> Result<(), GroupError> {
    TaskGroup::builder().limit(1).scope(|g| {
        g.spawn(|| {
            // They begin with the permit that the wait gives away.
            let awaited = [(); 2].map(|()| g.spawn(|| Ok(())));
            for task in &awaited {
                task.on_finished(|_| {
                    assert!(
                        g.try_spawn(|| Ok(())).is_err(),
                        "the waiter takes the permit over"
                    )
                });
            }
            let [first, second] = awaited;
            first.wait()?;
            g.as_completed([second])
                .try_for_each(|task| task.map(drop))?;
            Ok(())
        });
        Ok(())
    })
}

#[test]
fn a_blocked_limit_is_freed_by_a_cancel_while_the_body_waits_for_the_queue()
-> Result<(), GroupError> {
    let running = Gate::default();
    TaskGroup::builder().limit(1).scope(|g| {
        let holder = g.spawn(|| {
            running.open();
            Ok(taskgroup::sleep(LONG)?)
        });
        running.wait();
        let queued = g.spawn(|| Ok(3));
        holder.cancel();
        assert_eq!(queued.join()?, 3);
        assert_eq!(holder.wait()?, TaskStatus::Cancelled);
        Ok(())
    })
}

#[test]
fn waits_that_time_out_exceed_the_limit_by_no_more_than_one() -> Result<(), GroupError> {
    let (peak, begun, leave) = (Peak::default(), AtomicUsize::new(0), Gate::default());
    TaskGroup::builder().limit(1).scope(|g| {
        g.spawn(|| {
            let task = || {
                peak.inside(|| {
                    begun.fetch_add(1, Ordering::SeqCst);
                    leave.wait();
                });
                Ok(())
            };
            let tasks: Vec<_> = (0..6).map(|_| g.spawn(task)).collect();
            while begun.load(Ordering::SeqCst) == 0 {
                tasks[0].wait_timeout(MOMENT)?;
            }
            peak.inside(|| {
                for _ in 0..10 {
                    for task in &tasks {
                        task.wait_timeout(MOMENT)?;
                    }
                }
                anyhow::Ok(())
            })?;
            leave.open();
            Ok(())
        });
        Ok(())
    })?;
    assert_eq!((peak.most(), begun.into_inner()), (2, 6));
    Ok(())
}

#[test]
fn a_task_with_a_cut_iteration_has_its_permit_back() -> Result<(), GroupError> {
    let (stop, leave) = (CancelToken::new(), Gate::default());
    TaskGroup::builder().limit(1).scope(|g| {
        g.spawn(|| {
            // It begins with the permit that the wait gives away, so the wait has begun.
            let child = g.spawn(|| {
                stop.cancel();
                leave.wait();
                Ok(())
            });
            let cut = stop.run(|| g.as_completed([child]).next().expect("one task is left"));
            assert!(cut.is_err());
            assert_eq!(
                g.stats().running,
                2,
                "the task that the iteration waited for still runs"
            );
            leave.open();
            until(|| g.stats().finished == 1);
            assert!(
                g.try_spawn(|| Ok(())).is_err(),
                "this task holds the only permit"
            );
            Ok(())
        });
        Ok(())
    })
}

#[test]
fn a_task_that_was_lent_a_permit_and_leaves_it_leaves_its_own() -> Result<(), GroupError> {
    for _ in 0..50 {
        let (running, stop) = (Gate::default(), CancelToken::new());
        TaskGroup::builder().limit(1).scope(|g| {
            let lender = g.spawn(|| {
                let borrower = g.spawn(|| {
                    let daemon = g.spawn_daemon(|| Ok(stop.wait()?));
                    running.open();
                    for ended in g.as_completed([daemon]) {
                        ended?.wait()?;
                    }
                    Ok(())
                });
                while !running.is_open() {
                    borrower.wait_timeout(MOMENT)?;
                }
                Ok(())
            });
            lender.wait()?;
            // The borrower waits for a daemon, so the only permit is free.
            let ran = g.spawn(|| Ok(3)).wait_timeout(LONG)?;
            stop.cancel();
            assert_eq!(ran, Some(TaskStatus::Finished));
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_callback_at_the_end_of_a_task_waits_within_the_limit() -> Result<(), GroupError> {
    for lends in [false, true] {
        let (peak, registered, refused) = (Peak::default(), Gate::default(), AtomicUsize::new(0));
        TaskGroup::builder().limit(1).scope(|g| {
            let (peak, refused) = (&peak, &refused);
            let task = g.spawn(|| {
                registered.wait();
                Ok(())
            });
            task.on_finished(move |_| {
                let next = g.spawn(move || {
                    peak.inside(|| {
                        refused.fetch_add(
                            usize::from(g.try_spawn(|| Ok(())).is_err()),
                            Ordering::SeqCst,
                        )
                    });
                    Ok(())
                });
                if lends {
                    assert!(next.wait().is_ok());
                } else {
                    assert_eq!(g.as_completed([next]).flatten().count(), 1);
                }
            });
            registered.open();
            assert_eq!(task.wait()?, TaskStatus::Finished);
            Ok(())
        })?;
        assert_eq!(
            (peak.most(), refused.into_inner()),
            (1, 1),
            "a task more was taken beside the only one"
        );
    }
    Ok(())
}
