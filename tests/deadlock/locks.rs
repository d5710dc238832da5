//! Cycles of locks and of values that are made.

use std::sync::Barrier;

use taskgroup::sync::{Mutex, OnceCell, RwLock};
use taskgroup::{Cancelled, GroupError, TaskGroup};

use super::support::{self, Gate, LONG};
use super::{planted, planted_with_tail, spawn_cross};

#[test]
fn two_tasks_that_lock_crosswise() {
    let (a, b, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
    let found = planted_with_tail(&["cross-a", "cross-b"], 1, || {
        TaskGroup::scope(|g| {
            spawn_cross(g, "cross-a", [&a, &b], &both);
            spawn_cross(g, "cross-b", [&b, &a], &both);
            Ok(())
        })
    });
    assert_eq!(found.threads().len(), 2);
    assert!(found.is_cancellable() && found.group().is_some());
    for thread in found.threads() {
        assert_eq!(thread.what(), "Mutex::lock");
        // In `cross`.
        let file = thread.location().file();
        assert!(file.ends_with("deadlocks.rs"), "{found}");
        assert!(thread.object().is_some() && thread.is_cancellable());
        let [holder] = thread.waits_for() else {
            panic!("one thread holds it: {found}");
        };
        assert_ne!(holder.name.as_deref(), thread.task_name());
        let taken_at = holder.location.expect("the place is known");
        assert_eq!(taken_at.file(), thread.location().file());
        assert_ne!(taken_at.line(), thread.location().line());
    }
    let text = found.to_string();
    assert!(text.contains("2 threads wait for each other"), "{text}");
    assert!(
        text.contains("task `cross-a`") && text.contains("which took it at"),
        "{text}"
    );
    // The caller of the search decides about the response.
    assert!(text.ends_with(" ends this"), "{text}");
    // The scope waits for them, and is in no cycle.
    assert_eq!(found.tail().len(), 1, "{text}");
}

#[test]
fn three_tasks_that_lock_in_a_cycle_are_one_deadlock() {
    let (a, b, c, all) = (
        Mutex::new(()),
        Mutex::new(()),
        Mutex::new(()),
        Barrier::new(3),
    );
    let tasks = ["cycle-a", "cycle-b", "cycle-c"];
    let found = planted(&tasks, || {
        TaskGroup::scope(|g| {
            spawn_cross(g, tasks[0], [&a, &b], &all);
            spawn_cross(g, tasks[1], [&b, &c], &all);
            spawn_cross(g, tasks[2], [&c, &a], &all);
            Ok(())
        })
    });
    assert_eq!(found.threads().len(), 3);
}

#[cfg(all(unix, feature = "net"))]
#[test]
fn tasks_that_sleep_and_read_beside_it_hide_no_deadlock() {
    use std::io::Read;
    let (a, b, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
    planted(&["beside-a", "beside-b"], || {
        let (stream, _other) = taskgroup::net::UnixStream::pair()?;
        TaskGroup::scope(|g| {
            g.task().dedicated().spawn(|| Ok(taskgroup::sleep(LONG)?));
            g.task().dedicated().spawn(|| {
                (&stream).read_exact(&mut [0])?;
                Ok(())
            });
            spawn_cross(g, "beside-a", [&a, &b], &both);
            spawn_cross(g, "beside-b", [&b, &a], &both);
            Ok(())
        })?;
        anyhow::Ok(())
    });
}

#[test]
fn a_deadline_around_it_and_a_token_above_hide_no_deadlock() {
    let (a, b, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
    planted(&["timed-a", "timed-b"], || {
        taskgroup::timeout(LONG, || {
            TaskGroup::scope(|g| {
                spawn_cross(g, "timed-a", [&a, &b], &both);
                spawn_cross(g, "timed-b", [&b, &a], &both);
                Ok(())
            })?;
            anyhow::Ok(())
        })
    });
}

#[test]
fn a_task_that_locks_again_panics_in_every_build() {
    let lock = Mutex::new(());
    let again = TaskGroup::scope(|g| {
        g.spawn(|| {
            let _held = lock.lock()?;
            drop(lock.lock()?);
            Ok(())
        });
        Ok(())
    });
    let text = again.unwrap_err().to_string();
    assert!(
        text.contains("this thread holds the lock already"),
        "{text}"
    );
    assert!(text.contains(file!()), "{text}");

    // A reader that wants to write waits for itself, too.
    let lock = RwLock::new(());
    let again = TaskGroup::scope(|g| {
        g.spawn(|| {
            let _held = lock.read()?;
            drop(lock.write()?);
            Ok(())
        });
        Ok(())
    });
    assert!(
        again
            .unwrap_err()
            .to_string()
            .contains("holds the lock already")
    );
}

#[test]
fn a_writer_that_waits_for_a_reader_that_waits_for_it() {
    let (lock, other, both) = (RwLock::new(()), Mutex::new(()), Barrier::new(2));
    planted(&["reads", "writes"], || {
        TaskGroup::scope(|g| {
            g.task().name("reads").dedicated().spawn(|| {
                let _reading = lock.read()?;
                both.wait();
                drop(other.lock()?);
                Ok(())
            });
            g.task().name("writes").dedicated().spawn(|| {
                let _held = other.lock()?;
                both.wait();
                drop(lock.write()?);
                Ok(())
            });
            Ok(())
        })
    });
}

#[test]
fn a_reader_that_waits_for_a_writer_that_waits_for_it() {
    let (lock, other, both) = (RwLock::new(()), Mutex::new(()), Barrier::new(2));
    let found = planted(&["has-written", "wants-to-read"], || {
        TaskGroup::scope(|g| {
            g.task().name("has-written").dedicated().spawn(|| {
                let _writing = lock.write()?;
                both.wait();
                drop(other.lock()?);
                Ok(())
            });
            g.task().name("wants-to-read").dedicated().spawn(|| {
                let _held = other.lock()?;
                both.wait();
                drop(lock.read()?);
                Ok(())
            });
            Ok(())
        })
    });
    let mut threads = found.threads().iter();
    let reads = threads.find(|thread| thread.task_name() == Some("wants-to-read"));
    let waits_for = reads.expect("it is in the cycle").waits_for();
    assert_eq!(waits_for[0].name.as_deref(), Some("has-written"));
}

#[test]
fn readers_that_both_want_to_write_panic_at_once() {
    let (lock, both) = (RwLock::new(()), Barrier::new(2));
    let result = TaskGroup::builder()
        .on_failure(taskgroup::OnFailure::Collect)
        .scope(|g| {
            for _ in 0..2 {
                g.task().dedicated().spawn(|| {
                    let _reading = lock.read()?;
                    both.wait();
                    drop(lock.write()?);
                    Ok(())
                });
            }
            anyhow::Ok(())
        });
    let failed: GroupError = result.unwrap_err();
    let texts = failed.failures().iter().map(|failure| failure.to_string());
    let again = texts.filter(|text| text.contains("holds the lock already"));
    assert_eq!(again.count(), 2, "{failed}");
}

#[test]
fn a_reader_behind_a_queued_writer() {
    let (lock, reading, queued) = (RwLock::new(()), Gate::default(), Gate::default());
    let tasks = ["reads-first", "queued-writer", "reads-behind"];
    let found = planted(&tasks, || {
        TaskGroup::scope(|g| {
            let behind = g.task().name(tasks[2]).dedicated().spawn(|| {
                queued.wait();
                drop(lock.read()?);
                Ok(())
            });
            g.task().name(tasks[0]).dedicated().spawn(|| {
                let _reading = lock.read()?;
                reading.open();
                Ok(behind.join()?)
            });
            g.task().name(tasks[1]).dedicated().spawn(|| {
                reading.wait();
                drop(lock.write()?);
                Ok(())
            });
            support::until_waiting(&lock, 1);
            queued.open();
            Ok(())
        })
    });
    let behind = found
        .threads()
        .iter()
        .find(|thread| thread.task_name() == Some(tasks[2]));
    let behind = behind.expect("it is in the cycle");
    assert_eq!(behind.what(), "RwLock::read");
    assert_eq!(behind.waits_for()[0].name.as_deref(), Some(tasks[1]));
}

#[test]
fn a_value_that_is_made_from_itself() {
    let cell = OnceCell::new();
    let found = planted(&["from-itself"], || {
        TaskGroup::scope(|g| {
            g.task().name("from-itself").dedicated().spawn(|| {
                let made = cell.get_or_try_init(|| Ok::<i32, Cancelled>(*cell.get_or_init(|| 1)?));
                Ok(made.map(drop)?)
            });
            Ok(())
        })
    });
    assert_eq!(found.threads()[0].what(), "OnceCell::get_or_init");
}

#[test]
fn values_that_are_made_from_each_other() {
    let (a, b, both) = (OnceCell::new(), OnceCell::new(), Barrier::new(2));
    fn make(one: &OnceCell<i32>, other: &OnceCell<i32>, both: &Barrier) -> anyhow::Result<()> {
        let made = one.get_or_try_init(|| {
            both.wait();
            Ok::<_, Cancelled>(*other.get_or_init(|| 1)?)
        });
        Ok(made.map(drop)?)
    }
    planted(&["makes-a", "makes-b"], || {
        TaskGroup::scope(|g| {
            g.task()
                .name("makes-a")
                .dedicated()
                .spawn(|| make(&a, &b, &both));
            g.task()
                .name("makes-b")
                .dedicated()
                .spawn(|| make(&b, &a, &both));
            Ok(())
        })
    });
}
