//! `as_completed`: handles in the order in which their tasks end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, mpsc};

use crate::support::{Drops, Gate, blocked, until, watch};
use taskgroup::{CancelToken, FailureKind, GroupError, OnFailure, TaskGroup, TaskStatus};

#[test]
fn handles_come_in_the_order_in_which_their_tasks_end() -> Result<(), GroupError> {
    let gates = [Gate::default(), Gate::default(), Gate::default()];
    TaskGroup::scope(|g| {
        let tasks: Vec<_> = gates
            .iter()
            .enumerate()
            .map(|(n, gate)| {
                g.spawn(move || {
                    gate.wait();
                    Ok(n)
                })
            })
            .collect();
        let mut finished = g.as_completed(tasks);
        for n in [2, 0, 1] {
            gates[n].open();
            let task = finished.next().expect("tasks are left")?;
            assert!(task.is_finished());
            assert_eq!(task.join()?, n);
        }
        assert!(finished.next().is_none());
        Ok(())
    })
}

#[test]
fn what_ended_before_the_call_is_given_out_too() -> Result<(), GroupError> {
    let last = Gate::default();
    TaskGroup::scope(|g| {
        let early: Vec<_> = (0..5).map(|n| g.spawn(move || Ok(n))).collect();
        for task in &early {
            task.wait()?;
        }
        let late = g.spawn(|| {
            last.wait();
            Ok(5)
        });
        let mut finished = g.as_completed(std::iter::once(late).chain(early));
        assert_eq!(finished.len(), 6);
        let mut seen = Vec::new();
        for task in finished.by_ref().take(5) {
            seen.push(task?.join()?);
        }
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        assert_eq!(finished.len(), 1);
        last.open();
        assert_eq!(finished.next().expect("one is left")?.join()?, 5);
        Ok(())
    })
}

#[test]
fn a_handle_that_is_given_out_has_its_result_also_for_a_cancelled_scope() -> Result<(), GroupError>
{
    let (registered, in_callback, leave) = (Gate::default(), Gate::default(), Gate::default());
    let token = CancelToken::new();
    TaskGroup::scope(|g| {
        let task = g.spawn(|| {
            registered.wait();
            Ok(7)
        });
        task.on_finished(|_| {
            in_callback.open();
            leave.wait();
        });
        registered.open();
        let mut finished = g.as_completed([task]);
        g.spawn_daemon(|| {
            in_callback.wait();
            leave.open();
            Ok(())
        });
        let task = finished.next().expect("one is left")?;
        assert!(
            leave.is_open(),
            "the task has not ended before its callbacks have"
        );
        assert_eq!(task.status(), TaskStatus::Finished);
        token.cancel();
        assert_eq!(token.run(|| task.join())?, 7);
        Ok(())
    })
}

#[test]
fn tasks_that_fail_panic_or_never_run_are_given_out_as_well() {
    let (running, leave) = (Gate::default(), Gate::default());
    let error = TaskGroup::builder()
        .on_failure(OnFailure::Collect)
        .limit(1)
        .scope(|g| {
            let holder = g.spawn(|| {
                running.open();
                leave.wait();
                Ok(())
            });
            running.wait();
            let failed = g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("disk full") });
            let panicked = g.spawn(|| -> anyhow::Result<()> { panic!("index 3 of 2") });
            let never = g.spawn(|| Ok(()));
            never.cancel();
            let mut finished = g.as_completed([holder, failed, panicked, never]);
            let mut seen = vec![finished.next().expect("one has ended")?.status()];
            leave.open();
            for task in finished {
                seen.push(task?.status());
            }
            assert_eq!(
                seen,
                [
                    TaskStatus::NeverRan,
                    TaskStatus::Finished,
                    TaskStatus::Failed,
                    TaskStatus::Panicked
                ]
            );
            Ok(())
        })
        .unwrap_err();
    assert_eq!(error.failures().len(), 2);
}

#[test]
fn in_a_cancelled_scope_it_gives_the_cancel_then_the_end_and_keeps_the_handles()
-> Result<(), GroupError> {
    let token = CancelToken::new();
    TaskGroup::scope(|g| {
        let tasks: Vec<_> = (0..3).map(|n| g.spawn(move || Ok(n))).collect();
        for task in &tasks {
            task.wait()?;
        }
        let mut finished = g.as_completed(tasks);
        token.run(|| -> anyhow::Result<()> {
            finished.next().expect("three are left")?;
            token.cancel();
            for _ in 0..3 {
                let cancelled = finished
                    .next()
                    .expect("it does not look finished")
                    .expect_err("the scope is cancelled");
                assert_eq!(cancelled.origin(), token.id());
                assert_eq!(finished.len(), 2);
                assert!(
                    finished.next().is_none(),
                    "a loop that does not stop at errors stops all the same"
                );
            }
            let outcomes: Vec<_> = finished.by_ref().map(|task| task.is_ok()).collect();
            assert_eq!(outcomes, [false]);
            let task = taskgroup::shield(|| finished.next()).expect("two are left")?;
            assert!(task.is_finished());
            assert!(matches!(finished.next(), Some(Err(_))));
            Ok(())
        })?;
        let rest: Result<Vec<_>, _> = finished.collect();
        assert_eq!(rest?.len(), 1);
        Ok(())
    })
}

#[test]
fn it_is_finished_in_a_cancelled_scope_when_no_handle_is_left() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        let mut none = g.as_completed(Vec::<taskgroup::TaskHandle<'_, ()>>::new());
        let task = g.spawn(|| Ok(()));
        let mut one = g.as_completed([task]);
        one.next().expect("one is left")?;
        g.cancel();
        assert!(none.next().is_none());
        assert!(one.next().is_none());
        Ok(())
    })
}

#[test]
fn a_cancel_wakes_the_wait_and_loses_no_handle() -> Result<(), GroupError> {
    let leave = Gate::default();
    let token = CancelToken::new();
    TaskGroup::scope(|g| {
        let task = g.spawn(|| {
            leave.wait();
            Ok(7)
        });
        let mut finished = g.as_completed([task]);
        g.spawn(|| {
            token.cancel();
            Ok(())
        });
        let cancelled = token
            .run(|| finished.next())
            .expect("one is left")
            .expect_err("the task has not ended");
        assert_eq!(cancelled.origin(), token.id());
        leave.open();
        assert_eq!(finished.next().expect("one is left")?.join()?, 7);
        Ok(())
    })
}

#[test]
fn an_end_and_a_cancel_at_once_lose_nothing() -> Result<(), GroupError> {
    for _ in 0..200 {
        let token = CancelToken::new();
        let both = Barrier::new(2);
        TaskGroup::scope(|g| {
            let task = g.spawn(|| {
                both.wait();
                Ok(7)
            });
            let mut finished = g.as_completed([task]);
            g.task().dedicated().spawn(|| {
                both.wait();
                token.cancel();
                Ok(())
            });
            let value = match token.run(|| finished.next()).expect("one is left") {
                Ok(task) => task.join()?,
                Err(_) => finished.next().expect("it was not lost")?.join()?,
            };
            assert_eq!(value, 7);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_task_of_a_limited_group_may_wait_for_tasks_queued_behind_it() -> Result<(), GroupError> {
    for limit in [1, 2, 3] {
        let sum = TaskGroup::builder().limit(limit).scope(|g| {
            let outer = g.task().dedicated().spawn(move || {
                let tasks: Vec<_> = (1..=6).map(|n| g.spawn(move || Ok(n))).collect();
                let mut sum = 0;
                for task in g.as_completed(tasks) {
                    sum += task?.join()?;
                }
                Ok(sum)
            });
            outer.wait()?;
            Ok(outer.join()?)
        })?;
        assert_eq!(sum, 21);
    }
    Ok(())
}

#[test]
fn the_limit_holds_while_tasks_of_the_group_wait_for_completions() -> Result<(), GroupError> {
    for limit in [1, 2, 3] {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (enter, leave) = (
            || {
                let running = now.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(running, Ordering::SeqCst);
            },
            || {
                now.fetch_sub(1, Ordering::SeqCst);
            },
        );
        TaskGroup::builder().limit(limit).scope(|g| {
            for _ in 0..4 {
                g.spawn(|| {
                    enter();
                    let inner = || {
                        enter();
                        std::thread::yield_now();
                        leave();
                        Ok(())
                    };
                    let tasks: Vec<_> = (0..8).map(|_| g.spawn(inner)).collect();
                    let finished = g.as_completed(tasks);
                    leave();
                    for task in finished {
                        enter();
                        task?.join()?;
                        std::thread::yield_now();
                        leave();
                    }
                    Ok(())
                });
            }
            Ok(())
        })?;
        assert!(
            most.load(Ordering::SeqCst) <= limit,
            "{} of {limit}",
            most.load(Ordering::SeqCst)
        );
    }
    Ok(())
}

#[test]
fn the_permit_is_free_during_each_of_several_waits() -> Result<(), GroupError> {
    let _watch = watch();
    let (go, leave) = (&Gate::default(), &Gate::default());
    TaskGroup::builder().limit(3).scope(|g| {
        g.spawn(move || {
            let [beside, last] = [go, leave].map(|gate| {
                g.spawn(|| {
                    gate.wait();
                    Ok(())
                })
            });
            let first = g.spawn(|| Ok(()));
            let mut finished = g.as_completed([first, last]);
            finished.next().expect("two are left")?;

            // It begins with the permit that the next wait gives away, so that wait has begun.
            let asks = g.spawn(move || {
                go.open();
                until(|| beside.is_finished());
                let has_room = g.try_spawn(|| Ok(())).is_ok();
                leave.open();
                Ok(has_room)
            });
            finished.next().expect("one is left")?;
            assert!(asks.join()?, "the waiter was not owed a permit");
            Ok(())
        });
        Ok(())
    })
}

#[test]
fn a_wait_that_begins_while_its_task_ends_takes_that_permit_over() -> Result<(), GroupError> {
    let _watch = watch();
    let (registered, ends, leave) = (Gate::default(), Gate::default(), Gate::default());
    TaskGroup::builder().limit(2).scope(|g| {
        g.spawn(|| {
            let ending = g.spawn(|| {
                registered.wait();
                Ok(())
            });
            ending.on_finished(|_| {
                ends.open();
                leave.wait();
            });
            let mut finished = g.as_completed([ending]);
            registered.open();
            ends.wait();

            // It begins with the permit that the wait gives away, so the wait has begun.
            let asks = g.spawn(|| {
                let is_full = g.try_spawn(|| Ok(())).is_err();
                leave.open();
                Ok(is_full)
            });
            finished.next().expect("one is left")?;
            assert!(
                asks.join()?,
                "the permit of the task that ends is the waiter's"
            );
            Ok(())
        });
        Ok(())
    })
}

#[test]
fn a_waiter_gives_its_permit_back_at_its_end_after_a_cancelled_wait() -> Result<(), GroupError> {
    let (running, leave) = (Gate::default(), Gate::default());
    TaskGroup::builder().limit(1).scope(|g| {
        g.spawn(|| {
            let token = CancelToken::new();
            let queued = g.spawn(|| {
                running.open();
                leave.wait();
                Ok(())
            });
            let canceller = std::thread::spawn({
                let token = token.clone();
                move || token.cancel()
            });
            let mut finished = g.as_completed([queued]);
            assert!(token.run(|| finished.next()).expect("one is left").is_err());
            assert!(canceller.join().is_ok_and(|first| first));
            leave.open();
            Ok(())
        });
        Ok(())
    })?;
    assert!(running.is_open());
    Ok(())
}

#[test]
fn dropping_it_leaves_the_tasks_running_and_drops_their_results() -> Result<(), GroupError> {
    let (leave, drops, ran) = (Gate::default(), Drops::default(), AtomicUsize::new(0));
    TaskGroup::scope(|g| {
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                g.spawn(|| {
                    leave.wait();
                    ran.fetch_add(1, Ordering::SeqCst);
                    Ok(drops.counted())
                })
            })
            .collect();
        drop(g.as_completed(tasks));
        leave.open();
        Ok(())
    })?;
    assert_eq!((ran.into_inner(), drops.count()), (3, 3));
    Ok(())
}

#[test]
fn it_may_be_iterated_by_one_thread_after_another() -> Result<(), GroupError> {
    let (gate, sums) = (Gate::default(), Mutex::new(Vec::new()));
    TaskGroup::scope(|g| {
        let first = g.spawn(|| Ok(1));
        let second = g.spawn(|| {
            gate.wait();
            Ok(2)
        });
        let mut finished = g.as_completed([first, second]);
        sums.lock()
            .unwrap()
            .push(finished.next().expect("two are left")?.join()?);
        g.spawn(|| {
            let mut finished = finished;
            gate.open();
            sums.lock()
                .unwrap()
                .push(finished.next().expect("one is left")?.join()?);
            Ok(())
        });
        Ok(())
    })?;
    assert_eq!(sums.into_inner().unwrap(), [1, 2]);
    Ok(())
}

#[test]
fn the_first_to_end_may_decide_over_the_others() -> Result<(), GroupError> {
    TaskGroup::builder().limit(2).scope(|g| {
        let slow: Vec<_> = (0..3)
            .map(|_| {
                g.spawn(|| {
                    blocked();
                    taskgroup::checkpoint()?;
                    Ok(0)
                })
            })
            .collect();
        let others = slow.len();
        let quick = g.spawn_daemon(|| Ok(()));
        quick.wait()?;
        for task in &slow {
            task.cancel();
        }
        let ended = g
            .as_completed(slow)
            .filter(|task| task.as_ref().is_ok_and(|task| task.is_finished()))
            .count();
        assert_eq!(ended, others);
        Ok(())
    })
}

#[test]
fn a_predicate_may_cancel_after_two_failures_and_outcomes_are_in_spawn_order() {
    let failures = AtomicUsize::new(0);
    let error = TaskGroup::builder()
        .on_failure(OnFailure::Collect)
        .limit(1)
        .scope(|g| {
            let (register, registered) = mpsc::channel::<()>();
            let holder = g.spawn(move || {
                let _ = registered.recv();
                Ok(())
            });
            let tasks: Vec<_> = (0..5)
                .map(|n| g.spawn(move || -> anyhow::Result<()> { anyhow::bail!("{n}") }))
                .collect();
            for task in &tasks {
                task.on_finished(|status| {
                    if status == TaskStatus::Failed && failures.fetch_add(1, Ordering::SeqCst) == 1
                    {
                        g.cancel();
                    }
                });
            }
            drop(register);
            let statuses: Result<Vec<_>, _> =
                taskgroup::shield(|| tasks.iter().map(|task| task.wait()).collect());
            assert_eq!(
                statuses?,
                [
                    TaskStatus::Failed,
                    TaskStatus::Failed,
                    TaskStatus::NeverRan,
                    TaskStatus::NeverRan,
                    TaskStatus::NeverRan
                ]
            );
            taskgroup::shield(|| holder.join())?;
            Ok(())
        })
        .unwrap_err();
    let texts: Vec<_> = error.errors().map(ToString::to_string).collect();
    assert_eq!(texts, ["0", "1"]);
}

#[test]
fn a_predicate_may_cancel_after_the_first_completion() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        let quick = g.spawn(|| Ok(1));
        let slow: Vec<_> = (0..3)
            .map(|_| {
                g.spawn(|| {
                    Err(blocked())?;
                    Ok(0)
                })
            })
            .collect();
        let mut finished = g.as_completed(std::iter::once(quick).chain(slow));
        let first = finished.next().expect("four are left")?;
        g.cancel();
        assert_eq!(taskgroup::shield(|| first.join())?, 1);
        for task in taskgroup::shield(|| finished.collect::<Vec<_>>()) {
            assert!(matches!(
                task?.status(),
                TaskStatus::Cancelled | TaskStatus::NeverRan
            ));
        }
        Ok(())
    })
}

#[test]
fn a_group_that_waits_for_all_fails_with_its_first_error() {
    let error = TaskGroup::scope(|g| -> anyhow::Result<()> {
        let tasks: Vec<_> = (0..3)
            .map(|n| {
                g.spawn(move || {
                    anyhow::ensure!(n != 1, "task {n}");
                    Err(blocked())?;
                    Ok(())
                })
            })
            .collect();
        for task in g.as_completed(tasks) {
            task?;
        }
        Ok(())
    })
    .unwrap_err();
    assert_eq!(error.failures().len(), 1);
    assert!(matches!(
        error.failures()[0].kind(),
        FailureKind::Error(error) if error.to_string() == "task 1"
    ));
}
