//! Workers: every task gets a thread however the others block, threads are reused without a trace,
//! and the system may refuse one.

mod many;
mod refused;
#[path = "../support/mod.rs"]
mod support;

#[cfg(target_os = "linux")]
use std::sync::Barrier;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use support::{Gate, LONG, alone};
#[cfg(target_os = "linux")]
use taskgroup::TaskStatus;
use taskgroup::{GroupError, TaskGroup};

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
