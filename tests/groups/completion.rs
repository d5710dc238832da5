//! `as_completed`: handles in the order in which their tasks end.

mod cancelled;
mod decided;
mod limited;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Drops, Gate, spawn_holder};
use taskgroup::{CancelToken, GroupError, OnFailure, TaskGroup, TaskStatus};

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
            let holder = spawn_holder(g, &running, &leave);
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
