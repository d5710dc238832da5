//! The stats of the process. Each test has a process of its own, since it counts all of it.

mod support;

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::bail;
use support::{Gate, alone, blocked, until};
use taskgroup::{ProcessStats, TaskGroup, TaskStatus, stats};

/// The counts that never fall, with their names.
fn counters(stats: &ProcessStats) -> Vec<(&'static str, u64)> {
    let mut counters = vec![
        ("spawned", stats.spawned()),
        ("started", stats.started()),
        ("permit_waits", stats.permit_waits),
        ("peak_threads", stats.peak_threads as u64),
        ("cancel latencies", stats.cancel_latency.count()),
    ];
    counters.extend(stats.outcomes().map(|(of, tasks)| (of.as_str(), tasks)));
    counters
}

fn ended(stats: &ProcessStats) -> u64 {
    stats.outcomes().iter().map(|(_, tasks)| tasks).sum()
}

/// Spawns tasks of every outcome, some of which are joined in place. Returns how many it spawned
/// that are counted.
fn all_outcomes() -> u64 {
    let spawned = Mutex::new(0);
    let _report = TaskGroup::builder()
        .limit(3)
        .on_failure(taskgroup::OnFailure::Collect)
        .scope(|g| {
            g.on_release(|| {
                *spawned.lock().unwrap() = g.stats().spawned() as u64;
                Ok(())
            });
            g.spawn(|| Ok(())).join()?;
            g.spawn::<(), _>(|| bail!("no data"));
            drop(g.spawn_isolated(|| -> anyhow::Result<()> { panic!("no place") }));
            for task in 0..20 {
                g.spawn(move || {
                    if task == 10 {
                        taskgroup::yield_now()?;
                    }
                    Ok(())
                });
            }
            // One permit is left for the task that the body waits for.
            for _ in 0..2 {
                g.spawn(|| Err::<(), _>(blocked().into()));
            }
            g.spawn_daemon(|| Err(blocked().into()));
            g.spawn(|| Ok(())).wait()?;
            g.cancel();
            Ok(())
        });
    spawned.into_inner().unwrap()
}

#[test]
fn counters_never_fall_and_outcomes_sum_to_started_once_all_have_ended() {
    alone(
        "counters_never_fall_and_outcomes_sum_to_started_once_all_have_ended",
        || {
            std::panic::set_hook(Box::new(|_| {}));
            assert_eq!(stats(), ProcessStats::default());

            let over = AtomicBool::new(false);
            let spawned: u64 = thread::scope(|s| {
                let monitor = s.spawn(|| {
                    let mut before = stats();
                    while !over.load(Ordering::SeqCst) {
                        let now = stats();
                        for ((name, before), (_, now)) in
                            counters(&before).into_iter().zip(counters(&now))
                        {
                            assert!(now >= before, "{name} fell from {before} to {now}");
                        }
                        assert!(now.permit_wait >= before.permit_wait);
                        assert!(now.started() + now.never_ran <= now.spawned());
                        assert!(ended(&now) + now.live() == now.spawned());
                        before = now;
                    }
                });
                let programs: Vec<_> = (0..3)
                    .map(|_| s.spawn(|| (0..60).map(|_| all_outcomes()).sum::<u64>()))
                    .collect();
                let programs = programs.into_iter().map(|program| program.join().unwrap());
                let spawned = programs.sum();
                over.store(true, Ordering::SeqCst);
                monitor.join().unwrap();
                spawned
            });

            // The scopes have returned, so every count is exact.
            let stats = stats();
            assert_eq!((stats.queued, stats.running), (0, 0));
            assert_eq!((stats.spawned(), ended(&stats)), (spawned, spawned));
            assert_eq!(stats.started(), spawned - stats.never_ran);
            // Each of these may have been found in the queue by a cancel, but not always.
            assert!(stats.panicked > 0 && stats.panicked <= 180);
            assert!(stats.finished > 0 && stats.failed > stats.panicked && stats.cancelled > 0);
            assert!(stats.permit_waits > 0);
            assert!(stats.idle_workers <= stats.workers && stats.workers <= stats.peak_threads);
        },
    );
}

#[test]
fn tasks_that_wait_and_run_are_live_whatever_thread_runs_them() {
    alone(
        "tasks_that_wait_and_run_are_live_whatever_thread_runs_them",
        || {
            let (begun, over) = (Barrier::new(3), Gate::default());
            let outcome = TaskGroup::builder().limit(2).scope(|g| {
                for _ in 0..2 {
                    g.spawn(|| {
                        begun.wait();
                        over.wait();
                        Ok(())
                    });
                }
                begun.wait();
                g.spawn(|| Ok(()));
                let during = stats();
                assert_eq!((during.running, during.queued), (2, 1));
                assert_eq!((during.started(), during.live()), (2, 3));
                over.open();
                Ok(())
            });
            assert!(outcome.is_ok(), "{outcome:?}");
            assert_eq!((stats().live(), stats().finished), (0, 3));
            assert_eq!(stats().permit_waits, 1);

            // In place, the task runs while it runs.
            let inside = TaskGroup::scope(|g| Ok(g.spawn(|| Ok(stats())).join()?)).unwrap();
            assert_eq!((inside.running, inside.queued), (1, 0));
        },
    );
}

#[test]
fn a_long_scope_that_joins_in_place_is_counted_as_it_goes() {
    alone(
        "a_long_scope_that_joins_in_place_is_counted_as_it_goes",
        || {
            let outcome = TaskGroup::scope(|g| {
                for finished in 1..=100 {
                    g.spawn(|| Ok(())).join()?;
                    // A worker that ran it reports the end a moment later.
                    until(|| stats().finished == finished && stats().live() == 0);
                }
                Ok(())
            });
            assert!(outcome.is_ok(), "{outcome:?}");
        },
    );
}

#[test]
fn threads_are_counted_from_their_first_task_to_their_end() {
    alone(
        "threads_are_counted_from_their_first_task_to_their_end",
        || {
            const TASKS: usize = 5;
            assert_eq!((stats().threads, stats().peak_threads), (0, 0));
            let meet = Barrier::new(TASKS + 1);
            let outcome = TaskGroup::scope(|g| {
                for _ in 0..TASKS {
                    g.task().dedicated().spawn(|| {
                        meet.wait();
                        meet.wait();
                        Ok(())
                    });
                }
                meet.wait();
                assert!(stats().threads >= TASKS && stats().peak_threads >= TASKS);
                meet.wait();
                Ok(())
            });
            assert!(outcome.is_ok(), "{outcome:?}");
            // Their threads end after them, and no worker was ever there.
            until(|| stats().threads == 0);
            assert_eq!(stats().workers, 0);
            assert_eq!(stats().peak_threads, TASKS);

            // A worker is cached when its tasks are done.
            let begun = Gate::default();
            let outcome = TaskGroup::scope(|g| {
                g.spawn(|| {
                    begun.open();
                    Ok(())
                });
                begun.wait();
                Ok(())
            });
            assert!(outcome.is_ok(), "{outcome:?}");
            until(|| stats().workers >= 1 && stats().idle_workers == stats().workers);
            assert_eq!(stats().peak_threads, TASKS, "fewer than before");
        },
    );
}

#[test]
fn a_refused_thread_and_a_late_spawn_do_not_upset_the_sums() {
    alone(
        "a_refused_thread_and_a_late_spawn_do_not_upset_the_sums",
        || {
            const REFUSED: usize = usize::MAX / 4 * 3;
            let report = TaskGroup::scope(|g| {
                g.task().stack_size(REFUSED).spawn(|| Ok(()));
                assert_eq!(g.spawn(|| Ok(())).status(), TaskStatus::NeverRan);
                Ok(())
            });
            assert_eq!(report.unwrap_err().failures().len(), 1);
            let stats = stats();
            assert_eq!((stats.spawned(), stats.started(), stats.failed), (1, 1, 1));
            assert_eq!((stats.live(), ended(&stats)), (0, 1));
        },
    );
}

#[test]
fn it_may_be_called_in_callbacks_destructors_hooks_and_last_destructors() {
    alone(
        "it_may_be_called_in_callbacks_destructors_hooks_and_last_destructors",
        || {
            /// Spawns and reads in its destructor.
            struct Reads(Arc<Mutex<Vec<u64>>>);
            impl Drop for Reads {
                fn drop(&mut self) {
                    let _report = TaskGroup::scope(|g| Ok(g.spawn(|| Ok(())).join()?));
                    self.0.lock().unwrap().push(stats().spawned());
                }
            }
            thread_local! {
                static BEFORE: RefCell<Option<Reads>> = const { RefCell::new(None) };
                static AFTER: RefCell<Option<Reads>> = const { RefCell::new(None) };
            }

            let seen = Arc::new(Mutex::new(Vec::new()));
            let hooked = seen.clone();
            std::panic::set_hook(Box::new(move |_| {
                hooked.lock().unwrap().push(stats().spawned());
            }));
            let reads = || Reads(seen.clone());
            let called = seen.clone();
            let report = TaskGroup::scope(|g| {
                g.token()
                    .on_cancel(move || called.lock().unwrap().push(stats().spawned()))
                    .forget();
                let captured = reads();
                let task = g.spawn(move || {
                    let _captured = captured;
                    if taskgroup::current_token().is_some() {
                        panic!("with a hook and a destructor");
                    }
                    Ok(())
                });
                drop(task);
                Ok(())
            });
            assert!(report.is_err());
            assert_eq!(seen.lock().unwrap().len(), 3);

            // Destructors of thread-locals, before and after those of the crate.
            thread::scope(|s| {
                s.spawn(|| {
                    BEFORE.with(|before| before.replace(Some(reads())));
                    stats();
                    AFTER.with(|after| after.replace(Some(reads())));
                });
            });
            until(|| seen.lock().unwrap().len() == 5);
            let last = stats();
            assert_eq!((last.spawned(), last.live(), ended(&last)), (4, 0, 4));
        },
    );
}

#[test]
fn the_waits_of_the_groups_are_those_of_the_process() {
    alone("the_waits_of_the_groups_are_those_of_the_process", || {
        let (begun, group) = (Gate::default(), Mutex::new(None));
        let outcome = TaskGroup::builder().limit(1).scope(|g| {
            g.on_release(|| {
                *group.lock().unwrap() = Some(g.stats());
                Ok(())
            });
            g.spawn(|| {
                begun.open();
                Err::<(), _>(blocked().into())
            });
            begun.wait();
            for _ in 0..3 {
                g.spawn(|| Ok(()));
            }
            taskgroup::sleep(Duration::from_millis(50))?;
            g.cancel();
            Ok(())
        });
        assert!(outcome.is_ok(), "{outcome:?}");
        let group = group.into_inner().unwrap().expect("the hook has run");
        let process = stats();
        assert_eq!((process.permit_waits, group.permit_waits), (3, 3));
        assert_eq!(process.permit_wait, group.permit_wait);
        assert!(!group.permit_wait.is_zero());
        assert_eq!(process.cancel_latency, group.cancel_latency);
        assert_eq!(group.cancel_latency.count(), 1);
    });
}
