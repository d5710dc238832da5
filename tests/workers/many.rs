//! Thousands of tasks at once.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use taskgroup::{GroupError, TaskGroup, TaskStatus};

use super::support;
use crate::support::{Drops, Gate, LONG, alone, blocked, spawn_holder};

#[test]
fn thousands_of_tasks_that_block_in_foreign_code_all_get_threads() {
    alone(
        "thousands_of_tasks_that_block_in_foreign_code_all_get_threads",
        || {
            let all = Barrier::new(2_000);
            let met = AtomicUsize::new(0);
            let outcome = TaskGroup::scope(|g| {
                for _ in 0..2_000 {
                    g.spawn(|| {
                        met.fetch_add(usize::from(all.wait().is_leader()), Ordering::Relaxed);
                        Ok(())
                    });
                }
                Ok(())
            });
            assert!(outcome.is_ok(), "{outcome:?}");
            assert_eq!(met.into_inner(), 1);
        },
    );
}

#[test]
fn tasks_that_block_in_foreign_code_get_threads_also_after_a_quiet_time() {
    alone(
        "tasks_that_block_in_foreign_code_get_threads_also_after_a_quiet_time",
        || {
            let tasks = 4 * thread::available_parallelism().map_or(1, usize::from);
            for _ in 0..3 {
                let (arrived, all) = (AtomicUsize::new(0), Gate::default());
                let outcome = TaskGroup::scope(|g| {
                    for _ in 0..tasks {
                        g.spawn(|| {
                            if arrived.fetch_add(1, Ordering::Relaxed) + 1 == tasks {
                                all.open();
                            }
                            all.wait();
                            Ok(())
                        });
                    }
                    Ok(())
                });
                assert!(outcome.is_ok(), "{outcome:?}");
                // Long enough for the thread that looks for blocked workers to go to sleep;
                // shorter, and nothing is tested.
                thread::sleep(std::time::Duration::from_millis(500));
            }
        },
    );
}

/// Without a descriptor the state of a thread cannot be read.
#[cfg(target_os = "linux")]
#[test]
fn tasks_that_block_in_foreign_code_get_threads_also_where_no_descriptor_is_left() {
    const TEST: &str =
        "tasks_that_block_in_foreign_code_get_threads_also_where_no_descriptor_is_left";
    if !support::is_child() {
        let output = support::run_in_child_with_descriptors(TEST, 64);
        support::assert_passed(&output);
        return;
    }
    let open: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    assert!(
        !open.is_empty() && std::fs::read("/proc/self/stat").is_err(),
        "no descriptor is left"
    );
    let all = Barrier::new(128);
    let start = std::time::Instant::now();
    let outcome = TaskGroup::scope(|g| {
        for _ in 0..128 {
            g.spawn(|| {
                all.wait();
                Ok(())
            });
        }
        Ok(())
    });
    let elapsed = start.elapsed();
    drop(open);
    assert!(outcome.is_ok(), "{outcome:?}");
    assert!(
        elapsed < std::time::Duration::from_secs(10),
        "the last of 128 tasks began after {elapsed:?}"
    );
}

#[test]
fn thousands_of_tasks_blocked_in_the_crate_all_run_and_wake() {
    alone(
        "thousands_of_tasks_blocked_in_the_crate_all_run_and_wake",
        || {
            let (running, woken) = (Barrier::new(1_001), AtomicUsize::new(0));
            let outcome = TaskGroup::scope(|g| {
                for _ in 0..1_000 {
                    g.spawn(|| {
                        running.wait();
                        let cancelled = blocked();
                        woken.fetch_add(1, Ordering::Relaxed);
                        Err::<(), _>(cancelled.into())
                    });
                }
                running.wait();
                g.cancel();
                Ok(())
            });
            assert!(outcome.is_ok(), "{outcome:?}");
            assert_eq!(woken.into_inner(), 1_000);
        },
    );
}

#[test]
fn a_hundred_thousand_tasks_spawned_at_once_queue_and_run() {
    alone(
        "a_hundred_thousand_tasks_spawned_at_once_queue_and_run",
        || {
            for limit in [None, Some(2)] {
                let (ran, drops) = (AtomicUsize::new(0), Drops::default());
                let builder = match limit {
                    None => TaskGroup::builder(),
                    Some(limit) => TaskGroup::builder().limit(limit),
                };
                let (held, before) = (Gate::default(), resident());
                let outcome = builder.scope(|g| {
                    for _ in 0..100_000 {
                        let (own, ran, held) = (drops.counted(), &ran, &held);
                        g.spawn(move || {
                            let _own = &own;
                            // With a limit, all but the first wait in the queue.
                            if limit.is_some() {
                                held.wait();
                            }
                            ran.fetch_add(1, Ordering::Relaxed);
                            Ok(())
                        });
                    }
                    if limit.is_some() {
                        assert!(g.stats().queued >= 99_998, "{:?}", g.stats());
                    }
                    let more = resident().saturating_sub(before);
                    assert!(more < 128 * 1024, "{more} KiB for 100 000 tasks");
                    held.open();
                    Ok(())
                });
                assert!(outcome.is_ok(), "{outcome:?}");
                assert_eq!((ran.into_inner(), drops.count()), (100_000, 100_000));
            }
        },
    );
}

/// The memory of this process, in KiB; nothing where the system does not say.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok())
        .unwrap_or(0)
        * 4
}

/// The names of the threads of this process, as the system has them.
#[cfg(target_os = "linux")]
fn thread_names() -> Vec<String> {
    let threads = std::fs::read_dir("/proc/self/task")
        .expect("the system has it")
        .flatten();
    threads
        .filter_map(|thread| {
            Some(
                std::fs::read_to_string(thread.path().join("comm"))
                    .ok()?
                    .trim_end()
                    .to_owned(),
            )
        })
        .collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_flood_of_tasks_that_compute_stays_near_the_number_of_cores() {
    alone(
        "a_flood_of_tasks_that_compute_stays_near_the_number_of_cores",
        || {
            let most = AtomicUsize::new(0);
            let outcome = TaskGroup::scope(|g| {
                for n in 0..4_000 {
                    let most = &most;
                    g.spawn(move || {
                        let begun = std::time::Instant::now();
                        while begun.elapsed() < std::time::Duration::from_micros(50) {
                            std::hint::spin_loop();
                        }
                        if n % 100 == 0 {
                            let workers = thread_names()
                                .iter()
                                .filter(|name| *name == "taskgroup")
                                .count();
                            most.fetch_max(workers, Ordering::Relaxed);
                        }
                        Ok(())
                    });
                }
                Ok(())
            });
            assert!(outcome.is_ok(), "{outcome:?}");
            let (most, cores) = (
                most.into_inner(),
                thread::available_parallelism().map_or(1, usize::from),
            );
            assert!(
                (1..=8 * cores).contains(&most),
                "{most} threads on {cores} cores"
            );
        },
    );
}

#[test]
fn a_flood_of_cancelled_tasks_leaves_nothing_behind() -> Result<(), GroupError> {
    let (ran, drops) = (AtomicUsize::new(0), Drops::default());
    let (running, leave) = (Gate::default(), Gate::default());
    TaskGroup::builder().limit(1).scope(|g| {
        spawn_holder(g, &running, &leave);
        for _ in 0..100_000 {
            let (own, ran) = (drops.counted(), &ran);
            g.spawn(move || {
                let _own = &own;
                ran.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
        }
        g.cancel();
        leave.open();
        Ok(())
    })?;
    assert_eq!((ran.into_inner(), drops.count()), (0, 100_000));
    Ok(())
}

#[test]
fn a_group_that_never_runs_dry_does_not_starve_another() {
    alone(
        "a_group_that_never_runs_dry_does_not_starve_another",
        || {
            /// A task that takes a moment and spawns its successor.
            fn go_on<'scope>(
                g: &'scope TaskGroup<'scope, '_>,
                ran: &'scope AtomicUsize,
                over: &'scope Gate,
            ) {
                g.spawn(move || {
                    ran.fetch_add(1, Ordering::Relaxed);
                    let begun = std::time::Instant::now();
                    while begun.elapsed() < std::time::Duration::from_micros(20) {
                        std::hint::spin_loop();
                    }
                    if !over.is_open() {
                        go_on(g, ran, over);
                    }
                    Ok(())
                });
            }

            let (ran, over) = (AtomicUsize::new(0), Gate::default());
            thread::scope(|threads| {
                let busy = threads.spawn(|| {
                    TaskGroup::scope(|g| {
                        for _ in 0..20 {
                            go_on(g, &ran, &over);
                        }
                        over.wait();
                        Ok(())
                    })
                });
                support::until(|| ran.load(Ordering::Relaxed) > 1_000);
                for _ in 0..20 {
                    let before = ran.load(Ordering::Relaxed);
                    let outcome =
                        TaskGroup::scope(|g| Ok(g.spawn(|| Ok(())).wait_timeout(LONG)?));
                    let meanwhile = ran.load(Ordering::Relaxed) - before;
                    assert!(outcome.is_ok_and(|status| status == Some(TaskStatus::Finished)));
                    // Seconds of tasks.
                    assert!(
                        meanwhile < 100_000,
                        "{meanwhile} tasks of the busy group ran before one of the other"
                    );
                }
                over.open();
                assert!(busy.join().unwrap().is_ok());
            });
        },
    );
}
