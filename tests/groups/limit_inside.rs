//! Tasks of inner groups wait for tasks of a limited group around them. The permit of the task that
//! waits for the inner group counts as given away for exactly that long.

#![allow(clippy::unit_arg, reason = "a task of one call is shorter so")]

use std::sync::Barrier;

mod daemons;
mod in_place;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use Way::{AsCompleted, Join, Map, MapUnordered, Start, Wait, WaitTimeout};
use taskgroup::{TaskGroup, TaskHandle};

use crate::support::{Gate, LONG, MOMENT, Peak, until, watch};

/// How a thread waits for one task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Join,
    Wait,
    WaitTimeout,
    AsCompleted,
    Map,
    MapUnordered,
    Start,
}

const WAYS: [Way; 7] = [
    Join,
    Wait,
    WaitTimeout,
    AsCompleted,
    Map,
    MapUnordered,
    Start,
];

/// Runs `work` as a task of `g`, on another thread where the way allows that, and waits for it.
fn run_as_task<'scope>(
    g: &'scope TaskGroup<'scope, '_>,
    way: Way,
    work: impl Fn() -> anyhow::Result<()> + Send + Sync + 'scope,
) -> anyhow::Result<()> {
    let spawn = |work| g.task().dedicated().spawn(work);
    match way {
        Join => Ok(spawn(work).join()?),
        Wait => Ok(spawn(work).wait().map(drop)?),
        WaitTimeout => {
            let task = spawn(work);
            while task.wait_timeout(Duration::from_micros(100))?.is_none() {}
            Ok(())
        }
        AsCompleted => {
            for task in g.as_completed([spawn(work)]) {
                task?.join()?;
            }
            Ok(())
        }
        Map => Ok(g.map([()], move |()| work()).try_for_each(|done| done)?),
        MapUnordered => Ok(g
            .map_unordered([()], move |()| work())
            .try_for_each(|done| done)?),
        Start => Ok(g.start(move |ready| {
            work()?;
            ready.send(());
            Ok(())
        })?),
    }
}

/// Runs `work` in a task of a group with that limit.
fn in_a_task<'env>(
    limit: usize,
    work: impl for<'scope> FnOnce(&'scope TaskGroup<'scope, 'env>) -> anyhow::Result<()> + Send + 'env,
) -> anyhow::Result<()> {
    TaskGroup::builder().limit(limit).scope(|g| {
        g.spawn(move || work(g));
        Ok(())
    })?;
    Ok(())
}

/// Runs `innermost` in so many groups inside of each other. Each waits for the task in the next.
fn nested(
    depth: usize,
    way: Way,
    innermost: &(dyn Fn() -> anyhow::Result<()> + Sync),
) -> anyhow::Result<()> {
    if depth == 0 {
        return innermost();
    }
    Ok(TaskGroup::scope(|i| {
        run_as_task(i, way, move || nested(depth - 1, way, innermost))
    })?)
}

#[test]
fn every_way_to_wait_inside_ends() {
    let _watch = watch();
    for depth in 1..=3 {
        for (outer, inner) in WAYS
            .into_iter()
            .flat_map(|outer| WAYS.map(|inner| (outer, inner)))
        {
            let limit = 1 + depth % 2;
            let ran = AtomicUsize::new(0);
            let result = TaskGroup::builder().limit(limit).scope(|g| {
                for _ in 0..limit {
                    let ran = &ran;
                    g.spawn(move || {
                        nested(depth, outer, &|| {
                            run_as_task(g, inner, || {
                                ran.fetch_add(1, SeqCst);
                                Ok(())
                            })
                        })
                    });
                }
                Ok(())
            });
            result
                .unwrap_or_else(|error| panic!("{outer:?} for {inner:?}, {depth} deep: {error:#}"));
            assert_eq!(ran.into_inner(), limit);
        }
    }
}

#[test]
fn the_end_of_an_inner_scope_waits_for_its_tasks_too() -> anyhow::Result<()> {
    let _watch = watch();
    in_a_task(1, |g| {
        let queued = g.spawn(|| Ok(5));
        TaskGroup::scope(|i| {
            i.task().dedicated().spawn(|| Ok(queued.wait().map(drop)?));
            Ok(())
        })?;
        assert_eq!(queued.join()?, 5);
        Ok(())
    })
}

#[test]
fn limited_groups_inside_of_each_other_give_all_their_permits_away() -> anyhow::Result<()> {
    let _watch = watch();
    let sum = TaskGroup::builder().limit(1).scope(|a| {
        let outer = a.spawn(move || {
            let of_a = a.spawn(|| Ok(1));
            let inside = TaskGroup::builder().limit(1).scope(|b| {
                let (of_a, of_b) = (&of_a, b.spawn(|| Ok(2)));
                let middle = b.spawn(move || {
                    let inside = TaskGroup::builder().limit(1).scope(|c| {
                        let inner = c.spawn(move || {
                            // A task that the innermost group has queued, and that waits for the
                            // outermost.
                            let of_c =
                                c.spawn(move || Ok(a.task().dedicated().spawn(|| Ok(4)).join()?));
                            of_a.wait()?;
                            Ok(of_b.join()? + of_c.join()?)
                        });
                        Ok(inner.join()?)
                    })?;
                    Ok(inside)
                });
                Ok(middle.join()?)
            })?;
            Ok(inside + of_a.join()?)
        });
        Ok(outer.join()?)
    })?;
    assert_eq!(sum, 7);
    Ok(())
}

#[test]
fn a_permit_is_kept_while_no_task_inside_waits_for_the_group() -> anyhow::Result<()> {
    let _watch = watch();
    in_a_task(1, |g| {
        TaskGroup::scope(|i| {
            let asks = i.task().dedicated().spawn(|| {
                let asks = || g.try_spawn(|| Ok(())).is_err();
                Ok((0..100).all(|_| asks()))
            });
            assert!(asks.join()?, "the outer task had given its permit away");
            Ok(())
        })?;
        Ok(())
    })
}

#[test]
fn a_permit_is_given_away_while_its_task_and_one_inside_wait() -> anyhow::Result<()> {
    let _watch = watch();
    let (leave, waits) = (&Gate::default(), &Gate::default());
    TaskGroup::builder().limit(2).scope(|g| {
        let is_full = || g.try_spawn(|| Ok(())).is_err();
        g.spawn(move || {
            let runs = g.spawn(|| Ok(leave.wait()));
            until(|| g.stats().running == 2);
            TaskGroup::scope(|i| {
                let inside = i.task().dedicated().spawn(|| {
                    waits.open();
                    Ok(runs.wait().map(drop)?)
                });
                waits.wait();
                assert!(
                    (0..100).all(|_| is_full()),
                    "the outer task runs, and has its permit"
                );
                let asks = i.task().dedicated().spawn(move || {
                    until(|| g.try_spawn(|| Ok(())).is_ok());
                    Ok(leave.open())
                });
                // Now both wait, until the end of the task has brought the permit back.
                asks.wait()?;
                inside.wait()?;
                until(|| !is_full());
                Ok(())
            })?;
            Ok(())
        });
        Ok(())
    })?;
    Ok(())
}

#[test]
fn the_end_that_wakes_a_task_inside_brings_the_permit_back() -> anyhow::Result<()> {
    let _watch = watch();
    let began = AtomicBool::new(false);
    in_a_task(1, |g| {
        let awaited = g.spawn(|| Ok(()));
        TaskGroup::scope(|i| {
            let inside = i.task().dedicated().spawn(|| {
                awaited.wait()?;
                // In the queue, where it finds no permit.
                let next = g.spawn(|| Ok(began.store(true, SeqCst)));
                next.on_finished(|_| ());
                assert!((0..100).all(|_| g.try_spawn(|| Ok(())).is_err()));
                Ok(began.load(SeqCst))
            });
            assert!(
                !inside.join()?,
                "the permit of the ended task had gone to the next in the queue"
            );
            Ok(())
        })?;
        Ok(())
    })?;
    assert!(began.into_inner());
    Ok(())
}

#[test]
fn at_the_end_that_wakes_a_task_inside_nothing_is_free() -> anyhow::Result<()> {
    let _watch = watch();
    in_a_task(1, |g| {
        let awaited = g.spawn(|| Ok(()));
        awaited.on_finished(|_| {
            assert!(
                g.try_spawn(|| Ok(())).is_err(),
                "the permit belongs to the outer task"
            )
        });
        TaskGroup::scope(|i| {
            Ok(i.task()
                .dedicated()
                .spawn(|| Ok(awaited.wait().map(drop)?))
                .join()?)
        })?;
        assert!(
            g.try_spawn(|| Ok(())).is_err(),
            "the outer task has the only permit"
        );
        Ok(())
    })
}

#[test]
fn the_permit_comes_back_after_each_of_several_waits_inside() -> anyhow::Result<()> {
    let _watch = watch();
    in_a_task(1, |g| {
        let is_full = move || g.try_spawn(|| Ok(())).is_err();
        TaskGroup::scope(|i| {
            for _ in 0..3 {
                // It begins only once the outer task and the one inside wait.
                let awaited = g.spawn(|| Ok(()));
                awaited
                    .on_finished(move |_| assert!(is_full(), "the outer task is owed the permit"));
                let inside = i.task().dedicated().spawn(move || {
                    awaited.wait()?;
                    Ok(is_full())
                });
                assert!(inside.join()?, "no task inside waits any more");
            }
            Ok(())
        })?;
        Ok(())
    })
}

#[test]
fn a_permit_is_held_again_when_its_task_goes_on_before_the_one_inside() -> anyhow::Result<()> {
    let _watch = watch();
    let leave = &Gate::default();
    in_a_task(2, |g| {
        let is_full = move || g.try_spawn(|| Ok(())).is_err();
        let runs = g.spawn(|| Ok(leave.wait()));
        until(|| g.stats().running == 2);
        TaskGroup::scope(|i| {
            let inside = i.task().dedicated().spawn(|| Ok(runs.wait().map(drop)?));
            let asks = i.task().dedicated().spawn(move || {
                // It begins once the outer task and the one inside wait.
                let mut begun = None;
                until(|| {
                    begun = g.try_spawn(|| Ok(())).ok();
                    begun.is_some()
                });
                Ok(until(|| {
                    begun.as_ref().is_some_and(TaskHandle::is_finished)
                }))
            });
            asks.wait()?;
            let was_full = (0..100).all(|_| is_full());
            leave.open();
            assert!(was_full, "the outer task goes on");
            inside.wait()?;
            Ok(())
        })?;
        Ok(())
    })
}

#[test]
fn a_wait_inside_that_was_cut_gives_no_permit_away() -> anyhow::Result<()> {
    let _watch = watch();
    let leave = &Gate::default();
    in_a_task(2, |g| {
        let is_full = move || g.try_spawn(|| Ok(())).is_err();
        let runs = g.spawn(|| Ok(leave.wait()));
        until(|| g.stats().running == 2);
        TaskGroup::scope(|i| {
            let asks = i.task().dedicated().spawn(|| {
                assert_eq!(runs.wait_timeout(MOMENT)?, None);
                Ok((0..100).all(|_| is_full()))
            });
            let was_full = asks.join()?;
            leave.open();
            assert!(was_full, "no task inside waits any more");
            Ok(())
        })?;
        Ok(())
    })
}

#[test]
fn a_wait_inside_that_is_cut_brings_the_permit_back() -> anyhow::Result<()> {
    let _watch = watch();
    let (leave, begun, peak) = (&Gate::default(), &Gate::default(), &Peak::default());
    in_a_task(1, |g| {
        // It begins with the permit of this task, and keeps it.
        let runs = g.spawn(|| {
            begun.open();
            Ok(leave.wait())
        });
        TaskGroup::scope(|i| {
            let by_cancel = i.task().dedicated().spawn(|| Ok(runs.wait().map(drop)?));
            let by_time = i.task().dedicated().spawn(|| {
                begun.wait();
                Ok(runs.wait_timeout(MOMENT)?)
            });
            assert_eq!(by_time.join()?, None);
            by_cancel.cancel_and_wait()?;
            Ok(())
        })?;
        // Two tasks run now, and nothing begins until both have ended.
        let next = g.spawn(move || Ok(peak.inside(|| ())));
        assert!((0..100).all(|_| g.try_spawn(|| Ok(())).is_err()));
        leave.open();
        until(|| g.stats().finished == 1);
        assert!((0..100).all(|_| g.try_spawn(|| Ok(())).is_err()));
        assert_eq!(peak.most(), 0, "this task has the only permit");
        next.join()?;
        Ok(())
    })?;
    assert_eq!(peak.most(), 1);
    Ok(())
}

#[test]
fn a_cancel_ends_the_waits_inside_and_no_permit_is_lost() -> anyhow::Result<()> {
    let _watch = watch();
    for _ in 0..20 {
        let (both, peak) = (&Barrier::new(2), &Peak::default());
        TaskGroup::builder().limit(2).scope(|g| {
            let waits = |queued: TaskHandle<'_, ()>| {
                // The inner group alone is cancelled, in the midst of the wait.
                TaskGroup::scope(|i| {
                    i.task().dedicated().spawn(move || Ok(queued.join()?));
                    i.task().dedicated().spawn(|| {
                        i.cancel();
                        Ok(())
                    });
                    Ok(())
                })
            };
            for _ in 0..2 {
                g.spawn(move || {
                    let queued = g.spawn(|| Ok(()));
                    Ok(waits(queued)?)
                });
            }
            until(|| g.stats().finished == 4);
            // Two permits: these two wait for each other.
            for _ in 0..2 {
                g.spawn(move || {
                    peak.inside(|| both.wait());
                    Ok(())
                });
            }
            until(|| g.stats().finished == 6);
            assert!(peak.most() <= 2);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_cancel_of_everything_ends_a_wait_inside() {
    let _watch = watch();
    let error = TaskGroup::builder()
        .limit(1)
        .timeout(10 * MOMENT)
        .scope(|g| {
            g.spawn(|| {
                let sleeps = g.spawn(|| Ok(taskgroup::sleep(LONG)?));
                TaskGroup::scope(|i| {
                    Ok(i.task()
                        .dedicated()
                        .spawn(|| Ok(sleeps.wait().map(drop)?))
                        .join()?)
                })?;
                Ok(())
            });
            Ok(())
        });
    assert!(error.is_err_and(|error| error.timed_out()));
}
