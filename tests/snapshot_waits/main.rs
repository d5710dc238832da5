//! The text of a snapshot for each kind of wait: in the crate by name and place, in other code as
//! the call of the system.

mod hooks;
#[path = "../support/snapshots.rs"]
mod snapshots;
mod start;
#[path = "../support/mod.rs"]
mod support;

use std::num::NonZeroU32;
use std::panic::Location;
use std::time::Instant;

use taskgroup::channel::{bounded, select, unbounded};
use taskgroup::sync::{
    Barrier, Condvar, Event, Latch, Mutex, OnceCell, Promise, RateLimiter, RwLock, Semaphore,
    WaitGroup,
};
use taskgroup::{CancelToken, Cancelled, TaskGroup, TaskId, TaskKind, TaskSnapshot, TaskState};

use snapshots::until;
use support::{Gate, LONG, alone, blocked, watch, with_busy_workers};

/// Blocks until it is cancelled.
fn stays() -> anyhow::Result<()> {
    Err(blocked().into())
}

/// Runs `block` in a task, and fails unless a snapshot names a wait at `what`, called at most six
/// lines below `line`. Then the task is cancelled. Returns the picture of the task, or of the body
/// of a group that it has opened.
#[track_caller]
fn waits<T>(what: &str, line: u32, block: impl FnOnce() -> T + Send) -> TaskSnapshot {
    let here = Location::caller().file();
    let is_there = |seen: &TaskSnapshot| {
        let wait = seen.waits().filter(|wait| wait.what() == what);
        let place = wait.and_then(|wait| wait.location());
        place.is_some_and(|place| place.file() == here && (line..line + 7).contains(&place.line()))
    };
    TaskGroup::scope(|g| {
        g.spawn(move || {
            drop(block());
            Ok(())
        });
        let seen = until(|seen| {
            let task = seen.tasks().find(|task| is_there(task))?;
            // A group that opens between the look at the groups and the look at the wait is there
            // without what it says of itself.
            let group = task.waits()?.group();
            let mut groups = seen.all_groups().filter(|seen| !seen.policy().is_empty());
            let mut is_read = |group| groups.any(|read| read.id() == group);
            group.is_none_or(&mut is_read).then(|| task.clone())
        });
        assert_eq!(seen.state(), TaskState::Waiting);
        assert!(seen.to_string().contains(what), "{seen}");
        g.cancel();
        Ok(seen)
    })
    .expect("no task fails")
}

#[test]
fn pauses_and_tokens() {
    let _watch = watch();
    waits("sleep", line!(), || taskgroup::sleep(LONG));
    waits("sleep", line!(), || {
        taskgroup::sleep_until(Instant::now() + LONG)
    });
    // One park may return early.
    waits("park", line!(), || -> Result<(), Cancelled> {
        loop {
            taskgroup::park()?;
        }
    });
    waits("CancelToken::wait", line!(), || CancelToken::new().wait());
    let seen = waits("CancelToken::wait", line!(), || {
        CancelToken::new().wait_timeout(LONG)
    });
    assert!(seen.waits().is_some_and(|wait| wait.is_cancellable()));
}

#[test]
fn a_call_that_is_abandoned_stands_apart_with_its_thread() {
    let _watch = watch();
    let gates = std::sync::Arc::new((Gate::default(), Gate::default()));
    let (begun, leave) = &*gates;
    let (theirs, token) = (gates.clone(), CancelToken::new());
    std::thread::scope(|threads| {
        let line = line!() + 3;
        threads.spawn(|| {
            let call = || {
                taskgroup::abandon(move || {
                    theirs.0.open();
                    theirs.1.wait();
                })
            };
            assert!(token.run(call).is_err());
        });
        // A cancel that comes before the call has begun leaves nothing behind.
        begun.wait();
        let place = until(|seen| {
            let mut waits = seen.threads().iter().filter_map(|thread| thread.waits());
            waits.find(|wait| wait.what() == "abandon")?.location()
        });
        assert_eq!((place.file(), place.line()), (file!(), line));
        token.cancel();
    });

    let left = until(|seen| (seen.incomplete() == 0).then(|| seen.clone()));
    let ours = left.abandoned().iter();
    assert_eq!(
        ours.filter(|left| left.location.file() == file!()).count(),
        1
    );
    let calls = left.threads().iter();
    let calls = calls.filter(|thread| thread.kind() == TaskKind::Abandon);
    assert_eq!(calls.count(), 1);
    leave.open();
}

#[test]
fn locks_and_their_kin() {
    let _watch = watch();
    let mutex = Mutex::new(());
    let held = mutex.lock_uncancellable();
    let seen = waits("Mutex::lock", line!(), || mutex.lock().map(drop));
    let wait = seen.waits().expect("it waits");
    assert!(wait.object().is_some());
    assert_eq!(wait.held_by().len(), 1, "{seen}");
    drop(held);

    let lock = RwLock::new(());
    let held = lock.write().expect("nothing is cancelled here");
    let seen = waits("RwLock::read", line!(), || lock.read().map(drop));
    assert_eq!(seen.waits().map(|wait| wait.held_by().len()), Some(1));
    drop(held);
    let held = lock.read().expect("nothing is cancelled here");
    let seen = waits("RwLock::write", line!(), || lock.write().map(drop));
    assert_eq!(seen.waits().map(|wait| wait.held_by().len()), Some(1));
    drop(held);

    let condvar = Condvar::new();
    waits("Condvar::wait", line!(), || {
        mutex.lock().map(|mut guard| condvar.wait(&mut guard))
    });
    waits("Semaphore::acquire", line!(), || {
        Semaphore::new(0).acquire().map(drop)
    });
    let limiter = RateLimiter::new(LONG, NonZeroU32::MIN);
    assert!(limiter.try_acquire());
    waits("RateLimiter::acquire", line!(), || limiter.acquire());

    let cell = OnceCell::new();
    let made = cell.get_or_try_init(|| {
        let seen = waits("OnceCell::get_or_init", line!(), || {
            cell.get_or_try_init(|| Ok::<_, anyhow::Error>(1)).map(drop)
        });
        assert_eq!(seen.waits().map(|wait| wait.held_by().len()), Some(1));
        Ok::<_, anyhow::Error>(2)
    });
    assert_eq!(made.ok(), Some(&2));
}

#[test]
fn signals_between_threads() {
    let _watch = watch();
    waits("Barrier::wait", line!(), || {
        Barrier::new(2).wait().map(drop)
    });
    waits("Event::wait", line!(), || Event::new().wait());
    waits("Event::wait", line!(), || Event::new().wait_timeout(LONG));
    waits("Latch::wait", line!(), || Latch::new(1).wait());
    let group = WaitGroup::new();
    let _other = group.clone();
    waits("WaitGroup::wait", line!(), || group.wait());
    waits("Promise::wait", line!(), || {
        Promise::<u8>::new().wait().map(drop)
    });

    let (sender, receiver) = bounded(1);
    waits("Receiver::recv", line!(), || receiver.recv());
    sender.send(1).expect("there is room");
    waits("Sender::send", line!(), || sender.send(2));
    let (_kept, empty) = unbounded::<u8>();
    waits("select!", line!(), || {
        select! { recv(empty) -> _ => () }
    });
}

/// Waits in a scope with a task that sleeps.
fn beside_a_sleeper(wait: impl Fn(taskgroup::TaskHandle<'_, ()>) + Send + Sync) {
    // It is cancelled.
    let _ = TaskGroup::scope(|g| {
        wait(g.task().dedicated().name("sleeper").spawn(stays));
        Ok(())
    });
}

#[test]
fn waits_for_tasks_name_the_tasks() {
    let _watch = watch();
    let expected = std::sync::Mutex::new(None);
    let seen = waits("TaskHandle::join", line!(), || {
        beside_a_sleeper(|task| {
            *expected.lock().unwrap() = Some(task.id());
            drop(task.join());
        });
    });
    let holders = seen.waits().map(|wait| wait.holders().to_vec());
    assert_eq!(
        holders.unwrap_or_default().first(),
        expected.lock().unwrap().as_ref()
    );

    let seen = waits("the end of the scope", line!(), || {
        TaskGroup::scope(|g| {
            g.task().dedicated().spawn(stays);
            Ok(())
        })
    });
    assert_eq!(seen.kind(), TaskKind::Body);
    let group = seen.waits().and_then(|wait| wait.group());
    assert!(group.is_some_and(|group| format!("{group:?}").contains(&number(&seen))));

    let seen = waits("AsCompleted::next", line!(), || {
        TaskGroup::builder().name("many").scope(|g| {
            let task = g.task().dedicated().spawn(stays);
            drop::<Option<Result<taskgroup::TaskHandle<'_, ()>, _>>>(g.as_completed([task]).next());
            Ok::<_, anyhow::Error>(())
        })
    });
    let wait = seen.waits().expect("it waits");
    assert!(wait.group().is_some());
    assert!(
        wait.target()
            .is_some_and(|target| target.contains("`many`")),
        "{seen}"
    );

    let seen = waits("MapUnordered::next", line!(), || {
        TaskGroup::scope(|g| {
            let mut lengths = g.map_unordered([1], |_| stays());
            drop(lengths.next());
            Ok(())
        })
    });
    assert!(seen.waits().is_some_and(|wait| wait.group().is_some()));

    waits("map", line!(), || taskgroup::map(0.., 1, |_| stays()));
}

fn number(task: &TaskSnapshot) -> String {
    let text = format!("{:?}", task.id());
    text.chars().filter(char::is_ascii_digit).collect()
}

#[test]
fn a_thread_that_runs_the_awaited_task_in_place_names_it() {
    const NAME: &str = "a_thread_that_runs_the_awaited_task_in_place_names_it";
    alone(NAME, || {
        with_busy_workers(|| {
            let id = &std::sync::Mutex::new(None);
            TaskGroup::scope(|g| {
                // Without a name, since only then any thread may run it.
                let inner = g.spawn(move || {
                    let me: TaskId = id.lock().unwrap().expect("the joiner runs this task");
                    let seen = taskgroup::snapshot();
                    let mut waiting = seen.tasks().filter(|task| {
                        let wait = task.waits();
                        wait.is_some_and(|wait| wait.holders().contains(&me))
                    });
                    let joiner = waiting.next().expect("a thread runs this task in place");
                    assert_eq!(joiner.state(), TaskState::InPlace);
                    Ok(())
                });
                *id.lock().unwrap() = Some(inner.id());
                Ok(inner.join()?)
            })
            .expect("no task fails");
        });
    });
}
