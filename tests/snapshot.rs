//! The picture of what the process is doing.

#[path = "support/snapshots.rs"]
mod snapshots;
mod support;

use std::panic::Location;
use std::sync::Barrier;

use snapshots::{task_in, until};
use support::LONG;
use taskgroup::sync::{Event, Mutex};
use taskgroup::{
    RegionKind, Snapshot, TaskGroup, TaskKind, TaskSnapshot, TaskState, Wait, shield, snapshot,
};

/// Returns a snapshot in which no part was busy.
#[track_caller]
fn whole() -> Snapshot {
    until(|seen| (seen.incomplete() == 0).then(|| seen.clone()))
}

#[test]
fn a_wait_for_a_lock_names_the_place_the_object_and_the_task_that_holds_it() {
    let (lock, event, locked) = (Mutex::new(()), Event::new(), Barrier::new(2));
    TaskGroup::scope(|g| {
        let line = line!() + 2;
        let holder = g.task().name("holder").spawn(|| {
            let _guard = lock.lock()?;
            locked.wait();
            Ok(event.wait()?)
        });
        locked.wait();
        let waits = g.spawn(|| {
            drop(lock.lock()?);
            Ok(())
        });

        let seen = task_in(TaskState::Waiting, waits.id());
        let wait = seen.waits().expect("a waiting task waits for something");
        assert_eq!(wait.what(), "Mutex::lock");
        assert_eq!(wait.location().map(Location::file), Some(file!()));
        assert!(wait.object().is_some() && wait.is_cancellable() && !wait.has_seen_cancel());
        assert_eq!(wait.holders(), [holder.id()]);
        let held_by = &wait.held_by()[0];
        assert_eq!(held_by.name.as_deref(), Some("holder"));
        assert_eq!(held_by.location.map(Location::line), Some(line));
        event.set();
        Ok(())
    })
    .unwrap();
}

#[test]
fn groups_stand_in_the_tasks_and_bodies_that_opened_them() {
    let event = Event::new();
    TaskGroup::builder()
        .name("outer")
        .scope(|g| {
            let opens = g.spawn(|| {
                TaskGroup::builder()
                    .name("inner")
                    .limit(3)
                    .scope(|h| {
                        h.task().name("leaf").spawn(|| Ok(event.wait()?));
                        Ok::<_, anyhow::Error>(())
                    })
                    .map_err(Into::into)
            });
            let leaf = until(|seen| {
                // The body of the inner scope may be behind its task.
                let mut groups = seen.all_groups();
                groups.find(|group| group.name() == Some("inner") && group.is_ending())?;
                let leaf = seen.tasks().find(|task| task.name() == Some("leaf"))?;
                (leaf.state() == TaskState::Waiting).then(|| leaf.id())
            });

            let seen = whole();
            let outer = seen
                .groups()
                .iter()
                .find(|group| group.name() == Some("outer"));
            let outer = outer.expect("it stands in no other group");
            let opener = outer.tasks().iter().find(|task| task.id() == opens.id());
            let opener = opener.expect("its group is open");
            assert_eq!(opener.state(), TaskState::InScope);
            let inner = &opener.groups()[0];
            assert_eq!(inner.name(), Some("inner"));
            assert_eq!(
                inner.limit().map(|limit| (limit.total, limit.held)),
                Some((3, 1))
            );
            assert!(inner.is_ending(), "{seen}");
            assert!(inner.tasks().iter().any(|task| task.id() == leaf));
            assert_eq!(inner.body().kind(), TaskKind::Body);
            event.set();
            Ok::<_, anyhow::Error>(())
        })
        .unwrap();
}

#[test]
fn queued_tasks_are_listed_and_counted() {
    let event = Event::new();
    TaskGroup::builder()
        .name("narrow")
        .limit(1)
        .scope(|g| {
            let first = g.spawn(|| Ok(event.wait()?));
            task_in(TaskState::Waiting, first.id());
            let queued: Vec<_> = (0..5).map(|_| g.spawn(|| Ok(()))).collect();

            let seen = whole();
            let group = seen
                .all_groups()
                .find(|group| group.name() == Some("narrow"));
            let group = group.expect("it is open");
            assert_eq!(group.queued(), 5);
            for task in &queued {
                let found = group.tasks().iter().filter(|seen| seen.id() == task.id());
                assert_eq!(
                    found.map(TaskSnapshot::state).collect::<Vec<_>>(),
                    [TaskState::Queued]
                );
            }
            event.set();
            Ok::<_, anyhow::Error>(())
        })
        .unwrap();
}

#[test]
fn a_permit_is_shown_as_lent_while_its_task_waits() {
    let lent = || {
        until(|seen| {
            let mut groups = seen.all_groups();
            let group = groups.find(|group| group.name() == Some("lends"))?;
            group.limit().map(|limit| limit.lent)
        })
    };
    TaskGroup::builder()
        .name("lends")
        .limit(1)
        .scope(|g| {
            g.spawn(move || {
                // Each begins with the permit that the wait gives away.
                let asks = || g.task().dedicated().spawn(move || Ok(lent()));
                assert_eq!((asks().join()?, lent()), (1, 0));

                let mut ended = g.as_completed([asks()]);
                let task = ended.next().expect("one is left")?;
                assert_eq!((task.join()?, lent()), (1, 0));

                let asked = asks();
                let seen = TaskGroup::scope(|i| {
                    let waits = i.task().dedicated().spawn(|| Ok(asked.join()?));
                    Ok(waits.join()?)
                })?;
                assert_eq!((seen, lent()), (1, 0));
                Ok::<_, anyhow::Error>(())
            });
            Ok(())
        })
        .unwrap();
}

/// The lock of a queue is held while it is listed.
#[test]
fn of_very_many_queued_tasks_all_are_counted_and_some_are_listed() {
    const TASKS: usize = 10_000;
    let event = Event::new();
    TaskGroup::builder()
        .name("crowded")
        .limit(1)
        .scope(|g| {
            let first = g.spawn(|| Ok(event.wait()?));
            task_in(TaskState::Waiting, first.id());
            (0..TASKS).for_each(|_| drop(g.spawn(|| Ok(()))));

            let seen = whole();
            let mut groups = seen.all_groups();
            let group = groups.find(|group| group.name() == Some("crowded"));
            let group = group.expect("it is open");
            assert_eq!(group.queued(), TASKS);
            let listed = group.tasks().iter();
            let listed = listed.filter(|task| task.state() == TaskState::Queued);
            assert!((1..=1_000).contains(&listed.count()), "{seen}");
            assert!(seen.to_string().lines().count() < 2_000);
            event.set();
            Ok::<_, anyhow::Error>(())
        })
        .unwrap();
}

/// A task that is cancelled by its handle leaves its entry in the queue for a while.
#[test]
fn of_a_long_queue_the_tasks_that_were_claimed_are_neither_counted_nor_listed() {
    const TASKS: usize = 10_000;
    let event = Event::new();
    TaskGroup::builder()
        .name("half claimed")
        .limit(1)
        .scope(|g| {
            let first = g.spawn(|| Ok(event.wait()?));
            task_in(TaskState::Waiting, first.id());
            let queued: Vec<_> = (0..TASKS).map(|_| g.spawn(|| Ok(()))).collect();

            // More than are read at once, and then each third.
            let is_cancelled = |at: &usize| *at < 3_000 || at % 3 == 0;
            let cancelled = (0..TASKS).filter(is_cancelled);
            let cancelled = cancelled.map(|at| queued[at].cancel()).count();

            let seen = whole();
            let mut groups = seen.all_groups();
            let group = groups.find(|group| group.name() == Some("half claimed"));
            let group = group.expect("it is open");
            assert_eq!(group.queued(), TASKS - cancelled);
            let listed = group.tasks().iter();
            let listed = listed.filter(|task| task.state() == TaskState::Queued);
            assert_eq!(listed.count(), 256);
            event.set();
            Ok::<_, anyhow::Error>(())
        })
        .unwrap();
}

#[test]
fn a_cancel_is_shown_with_its_cause_and_a_task_that_ignores_it_with_the_place() {
    let event = Event::new();
    TaskGroup::builder()
        .name("stubborn")
        .scope(|g| {
            let line = line!() + 2;
            let swallows = g.spawn(|| {
                while taskgroup::sleep(LONG).is_ok() {}
                taskgroup::shield(|| event.wait())?;
                Ok(())
            });
            task_in(TaskState::Waiting, swallows.id());
            g.cancel_because("enough");

            let seen = until(|seen| {
                let group = seen
                    .all_groups()
                    .find(|group| group.name() == Some("stubborn"))?;
                let cancelled = group.cancelled()?;
                assert!(cancelled.to_string().contains("enough"));
                let task = seen.tasks().find(|task| task.id() == swallows.id())?;
                let is_shielded = task
                    .waits()
                    .is_some_and(|wait| wait.what() == "Event::wait");
                is_shielded.then(|| task.clone())
            });
            let (times, place) = seen.cancels_seen();
            assert_eq!((times, place.map(Location::line)), (1, Some(line)));
            assert!(
                seen.waits()
                    .is_some_and(|wait| wait.has_seen_cancel() && !wait.is_cancellable())
            );
            assert_eq!(seen.inside().len(), 1);
            event.set();
            Ok::<_, anyhow::Error>(())
        })
        .unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_task_in_a_call_of_the_system_is_shown_with_the_call_and_its_descriptor() {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    let (mut reader, writer) = UnixStream::pair().unwrap();
    TaskGroup::scope(|g| {
        let reads = g.spawn(move || {
            // The end of the stream comes as an error.
            let _ = reader.read_exact(&mut [0]);
            Ok(())
        });
        // A thread on its way there may be seen in another call.
        let seen = until(|seen| {
            let task = seen.tasks().find(|task| task.id() == reads.id())?;
            let is_there = task.waits()?.what().starts_with("recvfrom ");
            is_there.then(|| task.clone())
        });
        assert_eq!(seen.state(), TaskState::Foreign);
        let target = seen.waits().and_then(Wait::target).unwrap_or_default();
        assert!(target.contains("socket"), "{target}");
        drop(writer);
        Ok(())
    })
    .unwrap();
}

#[test]
fn names_cannot_forge_lines_and_long_names_are_cut() {
    let name = format!("a\n\u{1b}[2J\u{202e}{}", "long".repeat(2_500));
    let event = Event::new();
    TaskGroup::scope(|g| {
        let task = g.task().name(name.clone()).spawn(|| Ok(event.wait()?));
        let seen = task_in(TaskState::Waiting, task.id());
        assert_eq!(seen.name(), Some(name.as_str()));
        let drawn = seen.to_string();
        assert_eq!(drawn.lines().count(), 1, "{drawn}");
        assert!(!drawn.contains(['\u{1b}', '\u{202e}']) && drawn.chars().count() < 400);
        event.set();
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_snapshot_owns_what_it_has() {
    fn is_owned<T: Send + Sync + 'static>(_: &T) {}

    let alive = std::sync::Arc::new(());
    let seen = TaskGroup::scope(|g| {
        let (captured, event) = (alive.clone(), std::sync::Arc::new(Event::new()));
        let theirs = event.clone();
        let task = g.spawn(move || {
            let _captured = captured;
            Ok(theirs.wait()?)
        });
        task_in(TaskState::Waiting, task.id());
        let seen = snapshot();
        event.set();
        Ok(seen)
    })
    .unwrap();
    is_owned(&seen);
    assert_eq!(std::sync::Arc::strong_count(&alive), 1);
}

#[test]
fn a_task_is_shown_while_its_callbacks_run() {
    let (go_on, called_back) = (Event::new(), Event::new());
    TaskGroup::scope(|g| {
        let task = g.task().name("ends").spawn(|| Ok(go_on.wait()?));
        task.on_finished(|_| shield(|| called_back.wait()).expect("no cancel comes through"));
        go_on.set();

        let seen = until(|seen| {
            let task = seen.tasks().find(|seen| seen.id() == task.id())?;
            let what = task.waits()?.object();
            (task.inside().first()?.region == RegionKind::Shield && what.is_some())
                .then(|| task.clone())
        });
        assert_eq!(seen.name(), Some("ends"));
        called_back.set();
        Ok::<_, anyhow::Error>(task.join()?)
    })
    .unwrap();
}

#[test]
fn a_task_is_shown_while_its_result_is_dropped() {
    struct Waits<'a>(&'a Event);
    impl Drop for Waits<'_> {
        fn drop(&mut self) {
            shield(|| self.0.wait()).expect("no cancel comes through");
        }
    }

    let (go_on, dropped) = (Event::new(), Event::new());
    TaskGroup::scope(|g| {
        let task = g.spawn(|| {
            go_on.wait()?;
            Ok(Waits(&dropped))
        });
        let id = task.id();
        drop(task);
        go_on.set();

        let seen = until(|seen| {
            let task = seen.tasks().find(|seen| seen.id() == id)?;
            let is_dropping = task.inside().first()?.region == RegionKind::Shield;
            (is_dropping && task.state() == TaskState::Waiting).then(|| task.clone())
        });
        assert_eq!(seen.waits().map(Wait::what), Some("Event::wait"));
        dropped.set();
        Ok::<_, anyhow::Error>(())
    })
    .unwrap();
}
