//! What holds in every order of events: `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=2 cargo test`.
#![cfg(loom)]

use std::time::Duration;

use in_flight::InFlight;
use loom::sync::atomic::{AtomicUsize, Ordering};
use taskgroup::{GroupError, TaskGroup};

#[test]
fn wait_sees_the_last_end() {
    loom::model(|| {
        let requests = InFlight::new(1);
        TaskGroup::scope(|g| {
            g.spawn(|| {
                requests.end();
                Ok(())
            });
            requests.wait_for_none()?;
            Ok(())
        })
        .unwrap();
    });
}

#[test]
fn wait_ends_when_a_request_fails() {
    loom::model(|| {
        let requests = InFlight::new(1);
        let stopped: Result<(), GroupError> = TaskGroup::scope(|g| {
            g.spawn(|| Err::<(), _>(std::fmt::Error.into()));
            requests.wait_for_none()?;
            Ok(())
        });
        assert_eq!(stopped.unwrap_err().failures().len(), 1);
    });
}

#[test]
fn tasks_of_a_limited_group_run_one_after_the_other() {
    loom::model(|| {
        let running = AtomicUsize::new(0);
        let sum = TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                let tasks = [1, 2].map(|n| {
                    let running = &running;
                    g.spawn(move || {
                        assert_eq!(running.fetch_add(1, Ordering::Relaxed), 0);
                        running.fetch_sub(1, Ordering::Relaxed);
                        Ok(n)
                    })
                });
                let mut sum = 0;
                for task in tasks {
                    sum += task.join()?;
                }
                Ok(sum)
            })
            .unwrap();
        assert_eq!(sum, 3);
    });
}

#[test]
fn daemon_ends_with_the_scope() {
    loom::model(|| {
        TaskGroup::scope(|g| {
            // Time stands still in a model: the sleep ends with the cancel only.
            g.spawn_daemon(|| loop {
                taskgroup::sleep(Duration::from_secs(1))?;
            });
            Ok(())
        })
        .unwrap();
    });
}

#[test]
fn scopes_follow_each_other() {
    loom::model(|| {
        let one = TaskGroup::scope(|g| Ok(g.spawn(|| Ok(1)).join()?)).unwrap();
        let other = taskgroup::map([20, 22], 1, |n| Ok::<_, taskgroup::Cancelled>(n)).unwrap();
        assert_eq!((one, other), (1, vec![20, 22]));
    });
}

#[test]
fn scopes_are_beside_each_other() {
    loom::model(|| {
        let other = loom::thread::spawn(|| TaskGroup::scope(|g| Ok(g.spawn(|| Ok(1)).join()?)).unwrap());
        let one = TaskGroup::scope(|g| Ok(g.spawn(|| Ok(1)).join()?)).unwrap();
        assert_eq!(one + other.join().unwrap(), 2);
    });
}
