//! Threads that wait for each other, and waits that only look like a deadlock.

#[path = "../support/deadlocks.rs"]
mod deadlocks;
mod locks;
mod moving;
mod random;
mod still;
#[path = "../support/mod.rs"]
mod support;
mod tasks;

use std::collections::BTreeSet;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use taskgroup::deadlock::{self, Certainty, Deadlock, DeadlockPolicy};
use taskgroup::sync::Mutex;
use taskgroup::{CancelToken, GroupError, GroupSnapshot, TaskGroup, TaskState, snapshot};

use deadlocks::{cross, names, spawn_cross};
use support::{Gate, LONG, until, watch};

/// Deadlocks are planted here, so the thread that looks for them must not end the process.
fn quiet() -> support::Watch {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| deadlock::set_policy(DeadlockPolicy::Ignore));
    watch()
}

/// Searches until there is a deadlock of exactly the tasks with these names, beside bodies and
/// threads.
#[track_caller]
fn find(expected: &[&str]) -> Deadlock {
    find_with_tail(expected, 0)
}

/// Like [`find`], until at least so many others wait for them.
#[track_caller]
fn find_with_tail(expected: &[&str], tail: usize) -> Deadlock {
    let begun = Instant::now();
    loop {
        let all = deadlock::check();
        let expected: BTreeSet<_> = expected.iter().copied().collect();
        let is_it = |found: &Deadlock| names(found) == expected && found.tail().len() >= tail;
        let mut found = all.into_iter().filter(is_it);
        if let Some(one) = found.next() {
            assert!(found.next().is_none(), "one deadlock is reported twice");
            assert_eq!(one.certainty(), Certainty::Certain);
            return one;
        }
        assert!(begun.elapsed() < LONG, "{expected:?} in {}", snapshot());
    }
}

/// Fails if a deadlock has a task with one of these names.
#[track_caller]
fn find_none(of: &[&str]) {
    for found in deadlock::check() {
        let is_of = names(&found).into_iter().any(|name| of.contains(&name));
        assert!(!is_of, "{found}");
    }
}

/// Returns once each task with one of these names waits in a blocking point.
fn until_asleep(tasks: &[&str]) {
    until(|| {
        let seen = snapshot();
        let waiting = seen.tasks().filter(|task| {
            let is_one = task.name().is_some_and(|name| tasks.contains(&name));
            let sleeps = task.waits().is_some_and(|wait| !wait.since().is_zero());
            is_one && task.state() == TaskState::Waiting && sleeps
        });
        waiting.count() == tasks.len()
    });
}

/// Returns once the body of such a group sleeps until the end of its scope.
fn until_ending(is_it: impl Fn(&GroupSnapshot) -> bool) {
    until(|| {
        let seen = snapshot();
        seen.all_groups().any(|group| {
            let wait = group.body().waits();
            is_it(group) && wait.is_some_and(|wait| !wait.since().is_zero())
        })
    });
}

fn is_race(group: &GroupSnapshot) -> bool {
    group.policy() == "cancel siblings at a panic"
}

/// Races two tasks, neither of which runs in place of the call.
fn race_on_workers(tasks: [&(dyn Fn() -> anyhow::Result<()> + Sync); 2]) -> Result<(), GroupError> {
    let (caller, next) = (thread::current().id(), AtomicUsize::new(0));
    let begun = [Gate::default(), Gate::default()];
    let (next, begun) = (&next, &begun);
    // The caller may run one of three.
    taskgroup::race([0; 3].map(|_| {
        move || {
            if thread::current().id() == caller {
                begun.iter().for_each(Gate::wait);
                anyhow::bail!("in place");
            }
            match next.fetch_add(1, Ordering::SeqCst) {
                index @ 0..=1 => {
                    begun[index].open();
                    tasks[index]()
                }
                _ => anyhow::bail!("one too many"),
            }
        }
    }))
}

/// Locks in a task with this name, in a scope of its own.
fn lock_in_a_task(name: &'static str, lock: &Mutex<()>) -> anyhow::Result<()> {
    TaskGroup::scope(|g| {
        g.task().name(name).dedicated().spawn(|| {
            drop(lock.lock()?);
            Ok(())
        });
        Ok(())
    })?;
    Ok(())
}

/// Runs `plant` on a thread and under a token of its own until a deadlock of these tasks is found,
/// and cancels it.
#[track_caller]
fn planted<T: Send>(tasks: &[&str], plant: impl FnOnce() -> T + Send) -> Deadlock {
    planted_with_tail(tasks, 0, plant)
}

/// Like [`planted`], until at least so many others wait for them.
#[track_caller]
fn planted_with_tail<T: Send>(
    tasks: &[&str],
    tail: usize,
    plant: impl FnOnce() -> T + Send,
) -> Deadlock {
    let _watch = quiet();
    let token = CancelToken::new();
    thread::scope(|threads| {
        threads.spawn(|| token.run(plant));
        let _cancels = token.clone().drop_guard();
        find_with_tail(tasks, tail)
    })
}

/// Runs `plant` on a thread and under a token of its own until these tasks sleep, fails if any of
/// them is in a deadlock, and cancels it.
#[track_caller]
fn innocent<T: Send>(tasks: &[&str], plant: impl FnOnce() -> T + Send) {
    let _watch = quiet();
    let token = CancelToken::new();
    thread::scope(|threads| {
        threads.spawn(|| token.run(plant));
        let _cancels = token.clone().drop_guard();
        until_asleep(tasks);
        (0..3).for_each(|_| find_none(tasks));
    });
}

/// Searches all the time while `work` runs, and fails if a deadlock has one of these tasks.
fn searched<T>(tasks: &[&str], work: impl FnOnce() -> T) -> T {
    let _watch = quiet();
    let over = AtomicBool::new(false);
    thread::scope(|threads| {
        let searches = threads.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                find_none(tasks);
                thread::sleep(Duration::from_millis(1));
            }
        });
        let value = work();
        over.store(true, Ordering::SeqCst);
        searches.join().expect("no deadlock is found");
        value
    })
}
