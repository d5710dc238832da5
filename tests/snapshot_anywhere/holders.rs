//! The holders of locks that a snapshot names.

use std::cell::RefCell;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{OnceLock, mpsc};
use std::thread;

use taskgroup::sync::{Event, Mutex, MutexGuard};
use taskgroup::{TaskGroup, TaskId, snapshot};

use super::support;
use crate::snapshots::until;
use crate::support::{Gate, watch};

#[test]
fn a_lock_that_outlives_the_scope_that_took_it_is_no_later_scopes() {
    let _watch = watch();
    let (lock, event) = (Mutex::new(()), Event::new());
    thread::scope(|threads| {
        let (sender, ids) = mpsc::channel();
        let (lock, event) = (&lock, &event);
        threads.spawn(move || {
            // The body gives its guard out, and another scope is opened after that.
            let guard: MutexGuard<'_, ()> = TaskGroup::scope(|_| Ok(lock.lock()?)).unwrap();
            TaskGroup::builder()
                .name("later")
                .scope(|g| {
                    sender.send(g.token().id())?;
                    Ok::<_, anyhow::Error>(event.wait()?)
                })
                .expect("nothing fails");
            drop(guard);
        });
        let later = ids.recv().expect("the scope is opened");
        let waits_at = line!() + 1;
        threads.spawn(move || drop(lock.lock_uncancellable()));

        let wait = until(|seen| {
            let mut waits = seen.threads().iter().filter_map(|thread| thread.waits());
            let ours = |at: &Location<'_>| at.file() == file!() && at.line() == waits_at;
            let wait = waits.find(|wait| {
                wait.what() == "Mutex::lock"
                    && wait.location().is_some_and(ours)
                    && !wait.held_by().is_empty()
                    && seen.all_groups().any(|group| group.name() == Some("later"))
            })?;
            Some(wait.clone())
        });
        let holder = &wait.held_by()[0];
        assert_eq!(holder.task, None, "{holder:?} of {later:?}");
        assert!(wait.holders().is_empty());
        event.set();
    });
}

/// A lock that tasks hold by turns. It protects the tasks in the order in which they had it.
#[derive(Default)]
struct Turns {
    lock: Mutex<Vec<TaskId>>,
    /// How many have had it.
    taken: AtomicUsize,
    /// The task that has it keeps it.
    is_kept: AtomicBool,
    is_over: AtomicBool,
}

impl Turns {
    /// Lets tasks of new scopes hold the lock, one after the other, until it is over.
    fn take(&self) -> anyhow::Result<()> {
        while !self.is_over.load(SeqCst) {
            let id = OnceLock::new();
            TaskGroup::scope(|h| {
                let task = h.task().name("holds").spawn(|| self.hold(&id));
                let _ = id.set(task.id());
                Ok(task.join()?)
            })?;
        }
        Ok(())
    }

    /// Holds the lock once, by the task with this number.
    fn hold(&self, id: &OnceLock<TaskId>) -> anyhow::Result<()> {
        let me = loop {
            match id.get() {
                Some(id) => break *id,
                None => thread::yield_now(),
            }
        };
        let mut holders = self.lock.lock()?;
        holders.push(me);
        self.taken.store(holders.len(), SeqCst);
        thread::yield_now();
        while self.is_kept.load(SeqCst) {
            thread::yield_now();
        }
        Ok(())
    }

    /// Takes a snapshot. Adds the holders that it names for waiting tasks, with how many tasks had
    /// had the lock before and after it. Returns whether it names any.
    fn look(&self, named: &mut Vec<(usize, usize, Option<TaskId>)>) -> bool {
        let before = self.taken.load(SeqCst);
        let seen = snapshot();
        let after = self.taken.load(SeqCst);
        let known = named.len();
        for task in seen.tasks().filter(|task| task.name() == Some("holds")) {
            let Some(wait) = task.waits().filter(|wait| wait.what() == "Mutex::lock") else {
                continue;
            };
            assert!(!wait.holders().contains(&task.id()), "{seen}");
            let holders = wait.held_by().iter();
            named.extend(holders.map(|holder| (before, after, holder.task)));
        }
        named.len() > known
    }
}

#[test]
fn a_holder_is_never_another_task_than_the_one_that_holds() {
    let _watch = watch();
    let turns = Turns::default();
    let mut named = Vec::new();
    TaskGroup::scope(|g| {
        for _ in 0..4 {
            g.spawn(|| turns.take());
        }
        for _ in 0..50 {
            // While the lock changes hands, and while it does not: then a holder is named.
            for _ in 0..10 {
                turns.look(&mut named);
            }
            turns.is_kept.store(true, SeqCst);
            support::until(|| turns.look(&mut named));
            turns.is_kept.store(false, SeqCst);
        }
        turns.is_over.store(true, SeqCst);
        Ok(())
    })
    .expect("no task fails");

    // The holder before the snapshot, those meanwhile, and one that had not counted itself yet.
    let holders = turns.lock.try_lock().expect("all tasks have ended");
    for (before, after, task) in named {
        let range = before.saturating_sub(1)..holders.len().min(after + 1);
        let task = task.expect("only tasks take the lock");
        assert!(holders[range].contains(&task), "{task:?}");
    }
}

thread_local! {
    static KEPT: RefCell<Option<MutexGuard<'static, ()>>> = const { RefCell::new(None) };
}

#[test]
fn a_guard_in_a_thread_local_is_given_back_after_the_thread_has_left() {
    let _watch = watch();
    let lock: &'static Mutex<()> = Box::leak(Box::new(Mutex::new(())));
    for _ in 0..50 {
        // The thread-local is made before the thread uses the crate, so it is destroyed after.
        thread::spawn(move || {
            KEPT.with(|kept| {
                *kept.borrow_mut() = Some(lock.lock_uncancellable());
            });
        })
        .join()
        .expect("no panic");
        // The thread that comes next, which may have the same lane, holds nothing. So the one that
        // locks is the only holder: of two, none would be named.
        let (locked, leave) = (Gate::default(), Gate::default());
        thread::scope(|threads| {
            let next = threads.spawn(|| drop(snapshot()));
            next.join().expect("no panic");
            let locks_at = line!() + 2;
            threads.spawn(|| {
                let _guard = lock.lock_uncancellable();
                locked.open();
                leave.wait();
            });
            locked.wait();
            let waits_at = line!() + 1;
            threads.spawn(|| drop(lock.lock_uncancellable()));
            let place = until(|seen| {
                let mut waits = seen.threads().iter().filter_map(|thread| thread.waits());
                let ours = |at: &Location<'_>| at.file() == file!() && at.line() == waits_at;
                let wait = waits.find(|wait| wait.location().is_some_and(ours))?;
                wait.held_by().first()?.location
            });
            assert_eq!(place.line(), locks_at);
            leave.open();
        });
    }
    let guard = lock.try_lock();
    assert!(guard.is_some());
}
