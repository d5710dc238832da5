//! Waits that end while they are looked at, and are no deadlock.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use taskgroup::sync::{Mutex, RwLock};
use taskgroup::{CancelToken, TaskGroup};

use super::{find_none, quiet, searched, spawn_cross, until_asleep};

#[test]
fn locks_that_are_handed_on_are_no_phantom() {
    let tasks = ["hands-on-0", "hands-on-1", "hands-on-2", "hands-on-3"];
    let (a, b) = (Mutex::new(0), RwLock::new(0));
    searched(&tasks, || {
        TaskGroup::scope(|g| {
            for name in tasks {
                let (a, b) = (&a, &b);
                g.task().name(name).dedicated().spawn(move || {
                    for round in 0..500 {
                        let mut a = a.lock()?;
                        *a += 1;
                        if round % 3 == 0 {
                            *b.write()? += 1;
                        } else {
                            let _ = *b.read()?;
                        }
                        // Asleep with both edges there, for as long as another takes.
                        if round % 50 == 0 {
                            taskgroup::sleep(Duration::from_micros(100))?;
                        }
                    }
                    Ok(())
                });
            }
            Ok(())
        })
        .unwrap();
    });
    assert_eq!(a.into_inner(), 2000);
}

#[test]
fn locks_in_both_orders_but_never_at_once_are_no_deadlock() {
    let (a, b, turn) = (Mutex::new(()), Mutex::new(()), Mutex::new(()));
    let tasks = ["order-ab", "order-ba"];
    searched(&tasks, || {
        TaskGroup::scope(|g| {
            for (name, one, other) in [(tasks[0], &a, &b), (tasks[1], &b, &a)] {
                let turn = &turn;
                g.task().name(name).dedicated().spawn(move || {
                    for _ in 0..200 {
                        let _turn = turn.lock()?;
                        let _one = one.lock()?;
                        let _other = other.lock()?;
                    }
                    Ok(())
                });
            }
            Ok(())
        })
        .unwrap();
    });
}

#[test]
fn locks_at_one_address_one_after_the_other_are_told_apart() {
    let tasks = ["same-place"];
    searched(&tasks, || {
        for _ in 0..100 {
            let (first, second, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
            TaskGroup::scope(|g| {
                g.task().name("same-place").spawn(|| {
                    let _first = first.lock()?;
                    both.wait();
                    drop(second.lock()?);
                    Ok(())
                });
                both.wait();
                drop(first.lock()?);
                Ok(())
            })
            .unwrap();
        }
    });
}

#[test]
fn a_cancel_that_is_on_its_way_ends_the_deadlock() {
    let _watch = quiet();
    for _ in 0..30 {
        let (a, b, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
        let token = CancelToken::new();
        thread::scope(|threads| {
            threads.spawn(|| {
                token.run(|| {
                    TaskGroup::scope(|g| {
                        spawn_cross(g, "on-its-way", [&a, &b], &both);
                        spawn_cross(g, "on-its-way", [&b, &a], &both);
                        Ok(())
                    })
                })
            });
            until_asleep(&["on-its-way", "on-its-way"]);
            token.cancel();
            find_none(&["on-its-way"]);
        });
    }
}

#[test]
fn tasks_that_begin_in_place_are_given_and_have_ended_are_no_deadlock() {
    let tasks = ["brief", "waits-for-brief"];
    searched(&tasks, || {
        for round in 0..300 {
            let limit = 1 + round % 2;
            TaskGroup::builder()
                .limit(limit)
                .scope(|g| {
                    let brief: Vec<_> = (0..4)
                        .map(|_| g.task().name("brief").spawn(|| Ok(())))
                        .collect();
                    let waits = g.task().name("waits-for-brief").spawn(move || {
                        brief.into_iter().try_for_each(|task| task.join())?;
                        Ok(())
                    });
                    waits.join()?;
                    let more = (0..3).map(|_| g.task().name("brief").spawn(|| Ok(())));
                    let more: Vec<_> = more.collect();
                    g.as_completed(more).try_for_each(|end| end.map(drop))?;
                    anyhow::Ok(())
                })
                .unwrap();
        }
    });
}
