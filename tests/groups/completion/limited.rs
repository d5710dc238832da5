//! Iterations inside the tasks of a limited group, which give their permits up while they wait.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Gate, until, watch};
use taskgroup::{CancelToken, GroupError, TaskGroup};

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
