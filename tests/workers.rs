//! Workers: every task gets a thread however the others block, threads are reused without a trace,
//! and the system may refuse one.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;

use support::{Drops, Gate, LONG, alone, blocked};
use taskgroup::{FailureKind, GroupError, OnFailure, SpawnErrorKind, TaskGroup, TaskStatus};

/// Three quarters of the address space, which no system grants a thread for its stack.
const REFUSED: usize = 3 << (usize::BITS - 2);

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
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
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
        g.spawn(|| {
            running.open();
            leave.wait();
            Ok(())
        });
        running.wait();
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

#[cfg(target_os = "linux")]
fn os_thread_name() -> String {
    std::fs::read_to_string("/proc/thread-self/comm")
        .map(|name| name.trim_end().to_owned())
        .unwrap_or_default()
}

#[cfg(target_os = "linux")]
#[test]
fn a_named_task_names_its_thread_and_the_next_task_on_it_finds_the_old_name() {
    alone(
        "a_named_task_names_its_thread_and_the_next_task_on_it_finds_the_old_name",
        || {
            let (named, later) = (
                Mutex::new(None),
                Mutex::new(Vec::<(thread::ThreadId, String)>::new()),
            );
            let (started, all) = (Barrier::new(2), Barrier::new(8));
            let outcome = TaskGroup::scope(|g| {
                let task = g
                    .task()
                    .name("a-name-longer-than-the-system-keeps")
                    .spawn(|| {
                        started.wait();
                        *named.lock().unwrap() = Some((thread::current().id(), os_thread_name()));
                        Ok(())
                    });
                assert_eq!(task.name(), Some("a-name-longer-than-the-system-keeps"));
                started.wait();
                assert_eq!(task.wait()?, TaskStatus::Finished);
                // More at once than there can be idle workers, so that the named worker takes
                // part.
                TaskGroup::scope(|inner| {
                    for _ in 0..8 {
                        inner.spawn(|| {
                            all.wait();
                            later
                                .lock()
                                .unwrap()
                                .push((thread::current().id(), os_thread_name()));
                            Ok(())
                        });
                    }
                    Ok(())
                })?;
                Ok(())
            });
            assert!(outcome.is_ok(), "{outcome:?}");
            let (worker, name) = named.into_inner().unwrap().expect("the named task ran");
            assert_eq!(name, "a-name-longer-t");
            let later = later.into_inner().unwrap();
            assert!(
                later.iter().any(|(thread, _)| *thread == worker),
                "the idle worker was not reused"
            );
            assert!(
                later.iter().all(|(_, name)| *name != "a-name-longer-t"),
                "{later:?}"
            );
        },
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_named_task_run_by_the_thread_that_waits_leaves_that_threads_name_alone()
-> Result<(), GroupError> {
    let before = os_thread_name();
    for _ in 0..200 {
        TaskGroup::scope(|g| Ok(g.task().name("in place").spawn(|| Ok(())).join()?))?;
        assert_eq!(os_thread_name(), before);
    }
    Ok(())
}

#[test]
fn a_dedicated_task_has_a_thread_to_itself() -> Result<(), GroupError> {
    thread_local!(static USED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });
    for _ in 0..20 {
        TaskGroup::scope(|g| {
            let body = thread::current().id();
            let mut tasks = vec![g.spawn(|| Ok((thread::current().id(), false)))];
            tasks.extend((0..4).map(|_| {
                g.task()
                    .dedicated()
                    .spawn(|| Ok((thread::current().id(), USED.replace(true))))
            }));
            let mut seen = vec![body];
            for task in tasks.into_iter().skip(1) {
                let (thread, used) = task.join()?;
                assert!(!used && !seen.contains(&thread), "the thread was shared");
                seen.push(thread);
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_stack_size_asked_for_is_given() -> Result<(), GroupError> {
    /// Holds about a kilobyte on the stack for each level.
    fn deep(level: usize) -> usize {
        let frame = std::hint::black_box([level as u8; 1_024]);
        if level == 0 {
            usize::from(frame[0])
        } else {
            deep(level - 1) + usize::from(frame[1_023] == level as u8)
        }
    }
    const LEVELS: usize = 48 * 1_024;
    TaskGroup::scope(|g| {
        let by_task = g.task().stack_size(256 << 20).spawn(|| Ok(deep(LEVELS)));
        assert_eq!(by_task.join()?, LEVELS);
        Ok(())
    })?;
    TaskGroup::builder().stack_size(256 << 20).scope(|g| {
        let by_group = g.spawn(|| Ok(deep(LEVELS)));
        assert_eq!(by_group.join()?, LEVELS);
        Ok(())
    })
}

#[test]
fn a_thread_the_system_refuses_is_a_failure_of_its_task() {
    let drops = Drops::default();
    let mut status = None;
    let error = TaskGroup::builder()
        .on_failure(OnFailure::Collect)
        .scope(|g| {
            let own = drops.counted();
            let task = g
                .task()
                .name("greedy")
                .dedicated()
                .stack_size(REFUSED)
                .spawn(move || {
                    let _own = &own;
                    Ok(())
                });
            status = Some(task.wait()?);
            assert_eq!(drops.count(), 1);
            Ok(g.spawn(|| Ok(())).join()?)
        })
        .unwrap_err();
    assert_eq!(error.failures().len(), 1);
    let failure = error.primary().expect("the refusal is the first failure");
    assert_eq!(
        failure.task().and_then(|task| task.name.as_deref()),
        Some("greedy")
    );
    assert!(
        matches!(failure.kind(), FailureKind::Spawn(_)),
        "{failure:?}"
    );
    assert_eq!(status, Some(TaskStatus::Failed));
}

#[test]
fn a_refused_thread_cancels_the_group_like_any_failure() {
    let running = Gate::default();
    let error = TaskGroup::scope(|g| {
        g.spawn(|| {
            running.open();
            Ok(taskgroup::sleep(LONG)?)
        });
        running.wait();
        g.task().dedicated().stack_size(REFUSED).spawn(|| Ok(()));
        Err::<(), _>(blocked().into())
    })
    .unwrap_err();
    assert_eq!(error.failures().len(), 1);
    assert!(matches!(error.failures()[0].kind(), FailureKind::Spawn(_)));
}

#[test]
fn a_refused_thread_gives_the_closure_of_try_spawn_back() -> Result<(), GroupError> {
    let drops = Drops::default();
    let value = TaskGroup::scope(|g| {
        let own = drops.counted();
        let refused = g
            .task()
            .dedicated()
            .stack_size(REFUSED)
            .try_spawn(move || {
                let _own = &own;
                Ok(4)
            })
            .expect_err("no address space is that large");
        assert!(matches!(refused.kind(), SpawnErrorKind::Os(_)), "{refused}");
        assert_eq!(drops.count(), 0);
        refused.into_task()()
    })?;
    assert_eq!((value, drops.count()), (4, 1));
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn a_system_out_of_threads_is_reported_and_the_scope_still_joins() {
    const TEST: &str = "a_system_out_of_threads_is_reported_and_the_scope_still_joins";
    if support::is_child() {
        let drops = Drops::default();
        // Stacks this large leave room for the heap when the next one no longer fits.
        let error = TaskGroup::builder()
            .stack_size(64 << 20)
            .scope(|g| {
                for _ in 0..200 {
                    let own = drops.counted();
                    g.spawn(move || {
                        let _own = &own;
                        Ok(taskgroup::sleep(LONG)?)
                    });
                }
                Ok(taskgroup::sleep(LONG)?)
            })
            .expect_err("two hundred such threads do not fit");
        assert!(
            error
                .failures()
                .iter()
                .any(|failure| matches!(failure.kind(), FailureKind::Spawn(_))),
            "{error:#}"
        );
        assert!(
            error
                .failures()
                .iter()
                .all(|failure| matches!(failure.kind(), FailureKind::Spawn(_))),
            "{error:#}"
        );
        assert_eq!(drops.count(), 200);
        let after = TaskGroup::scope(|g| Ok(g.spawn(|| Ok(5)).join()?));
        assert!(
            after.is_ok_and(|value| value == 5),
            "the workers are of use again"
        );
        return;
    }
    passes_in_a_small_child(TEST);
}

#[cfg(target_os = "linux")]
#[test]
fn a_cache_that_can_grow_no_more_is_reported_and_the_scope_still_joins() {
    const TEST: &str = "a_cache_that_can_grow_no_more_is_reported_and_the_scope_still_joins";
    if support::is_child() {
        let drops = Drops::default();
        let error = TaskGroup::scope(|g| {
            for _ in 0..2_000 {
                let own = drops.counted();
                g.spawn(move || {
                    let _own = &own;
                    Ok(taskgroup::sleep(LONG)?)
                });
            }
            Ok(taskgroup::sleep(LONG)?)
        })
        .expect_err("two thousand threads do not fit");
        assert!(
            error
                .failures()
                .iter()
                .any(|failure| matches!(failure.kind(), FailureKind::Spawn(_))),
            "{error:#}"
        );
        assert_eq!(drops.count(), 2_000);
        let after = TaskGroup::scope(|g| Ok(g.spawn(|| Ok(5)).join()?));
        assert!(
            after.is_ok_and(|value| value == 5),
            "the workers are of use again"
        );
        return;
    }
    passes_in_a_small_child(TEST);
}

#[cfg(target_os = "linux")]
fn passes_in_a_small_child(test: &str) {
    let run = |kib| {
        let output = support::run_in_small_child(test, kib);
        let text = [output.stdout, output.stderr]
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .concat();
        (output.status, text)
    };
    // Where the stack of the last thread fits and what std needs for its signals does not, std
    // aborts. At another size neither fits, or both do.
    let sizes = [
        1 << 20,
        (1 << 20) + (1 << 10),
        (1 << 20) - 600,
        (1 << 20) - 1_200,
    ];
    let mut outcomes = sizes.into_iter().map(run);
    let aborted = |text: &str| text.contains("failed to allocate an alternative stack");
    let (status, text) = outcomes
        .find(|(_, text)| !aborted(text))
        .expect("std aborts at none of the sizes");
    assert!(
        status.success() && text.contains("1 passed"),
        "{status}: {text}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn every_task_fails_for_which_there_is_no_thread_and_not_only_the_first() {
    const TEST: &str = "every_task_fails_for_which_there_is_no_thread_and_not_only_the_first";
    if support::is_child() {
        let running = Gate::default();
        let mut statuses = None;
        let error = TaskGroup::builder()
            .on_failure(OnFailure::Collect)
            .scope(|g| {
                let only = g.spawn(|| {
                    running.open();
                    let tasks = [g.spawn(|| Ok(())), g.spawn(|| Ok(())), g.spawn(|| Ok(()))];
                    let mut statuses = Vec::new();
                    for task in tasks.iter().rev() {
                        statuses.push(task.wait()?);
                    }
                    Ok(statuses)
                });
                running.wait();
                statuses = Some(only.join()?);
                Ok(())
            })
            .expect_err("a second thread does not fit");
        assert_eq!(statuses, Some(vec![TaskStatus::Failed; 3]));
        assert_eq!(error.failures().len(), 3);
        return;
    }
    // The thread of the test and one worker fit, and no third thread does.
    let output = support::run_in_small_child_with_stacks(TEST, 1 << 20, 340 << 20);
    let text = [output.stdout, output.stderr]
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .concat();
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{}: {text}",
        output.status
    );
}

thread_local!(static WAITS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });

/// Records the thread that drops it, and blocks there for a moment if that is in the midst of a
/// wait.
struct Recorded<'a>(&'a Mutex<Vec<Option<String>>>);

impl Drop for Recorded<'_> {
    fn drop(&mut self) {
        let thread = if WAITS.get() {
            let _ = taskgroup::shield(|| taskgroup::sleep(std::time::Duration::from_millis(1)));
            Some("a thread that waits".to_owned())
        } else {
            thread::current().name().map(str::to_owned)
        };
        self.0.lock().unwrap().push(thread);
    }
}

/// Spawns many tasks. One of them runs `busy` in a cancelled group, once only the tasks in the
/// local batch of its worker are left. Returns the names of the threads that dropped the captures.
fn dropped_by(busy: impl Fn(&(dyn Fn() -> bool + Sync)) + Sync) -> Vec<Option<String>> {
    const TASKS: usize = 400;
    let (dropped, begun, running) = (Mutex::new(Vec::new()), AtomicUsize::new(0), Gate::default());
    let outcome = TaskGroup::scope(|g| {
        for _ in 0..TASKS {
            let own = Recorded(&dropped);
            let (begun, running, busy, dropped) = (&begun, &running, &busy, &dropped);
            g.spawn(move || {
                let _own = own;
                if begun.fetch_add(1, Ordering::SeqCst) == 25 {
                    running.open();
                    support::until(|| g.token().is_cancelled());
                    busy(&|| dropped.lock().unwrap().len() == TASKS - 1);
                }
                Ok(())
            });
        }
        running.wait();
        g.cancel();
        Ok(())
    });
    assert!(outcome.is_ok(), "{outcome:?}");
    dropped.into_inner().unwrap()
}

#[test]
fn the_monitor_drops_nothing_of_the_users() {
    alone("the_monitor_drops_nothing_of_the_users", || {
        for _ in 0..50 {
            // Behind a task that spins, only the monitor finds the tasks that its worker has taken.
            let dropped = dropped_by(|all_dropped| support::until(all_dropped));
            assert!(
                dropped
                    .iter()
                    .all(|thread| thread.as_deref() != Some("taskgroup-monitor")),
                "{dropped:?}"
            );
        }
    });
}

#[test]
fn a_wait_runs_no_destructor_of_a_task_behind_it() {
    alone("a_wait_runs_no_destructor_of_a_task_behind_it", || {
        for _ in 0..50 {
            let dropped = dropped_by(|all_dropped| {
                let inner = taskgroup::CancelToken::new();
                thread::scope(|threads| {
                    threads.spawn(|| {
                        support::until(all_dropped);
                        inner.cancel();
                    });
                    WAITS.set(true);
                    let woken = taskgroup::shield(|| inner.run(|| taskgroup::sleep(LONG)));
                    WAITS.set(false);
                    assert!(woken.is_err(), "the cancel was lost");
                });
            });
            assert!(
                dropped
                    .iter()
                    .all(|thread| thread.as_deref() != Some("a thread that waits")),
                "{dropped:?}"
            );
        }
    });
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

#[test]
fn a_stack_of_any_size_that_cannot_be_had_is_a_failure() {
    for size in [usize::MAX, usize::MAX - 4095, REFUSED] {
        for limit in [usize::MAX, 1] {
            let error = TaskGroup::builder()
                .limit(limit)
                .scope(|g| {
                    let first = (limit == 1).then(|| g.spawn(|| Ok(())));
                    g.task().name("a\0b").stack_size(size).spawn(|| Ok(()));
                    drop(first);
                    Ok(())
                })
                .expect_err("no system has such a stack");
            assert!(
                matches!(error.failures()[0].kind(), FailureKind::Spawn(_)),
                "{error}"
            );
        }
    }
}

#[test]
fn a_task_without_a_thread_in_a_group_that_is_cancelled_never_ran() {
    let status = Mutex::new(None);
    let error = TaskGroup::builder()
        .limit(1)
        .timeout(std::time::Duration::from_millis(20))
        .scope(|g| {
            let deadline = g.token().deadline().expect("it has one");
            let holder = g.spawn(move || {
                // The deadline passes before any thread has looked.
                support::until(|| std::time::Instant::now() > deadline);
                Ok(())
            });
            support::until(|| holder.status() != TaskStatus::Queued);
            let refused = g.task().stack_size(REFUSED).spawn(|| Ok(()));
            support::until(|| refused.is_finished());
            *status.lock().unwrap() = Some(refused.status());
            Ok(())
        })
        .expect_err("the deadline has passed");
    assert_eq!(status.into_inner().unwrap(), Some(TaskStatus::NeverRan));
    assert!(error.timed_out() && error.failures().is_empty(), "{error}");
}
