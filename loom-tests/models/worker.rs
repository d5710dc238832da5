//! Models of the pool: tasks that run on shared workers, and in place.

use loom::sync::mpsc;

use super::Bound::Preemptions;
use super::cancel::cancel_in_thread;
use super::support::{Drops, Gate, Note, block, must_see, saw, with_pool};
use super::{Model, Watched};
use crate::facade;
use crate::{CancelToken, TaskGroup, workers};

pub(super) const MODELS: &[Model] = &[
    holds!(
        worker_task_sees_its_spawn_and_is_seen_by_its_join,
        Preemptions(3),
        Preemptions(4),
        "a spawn happens before its task, and the task before its join, both on a worker and \
             in place"
    ),
    holds!(
        worker_scope_returns_after_its_tasks,
        Preemptions(3),
        Preemptions(4),
        "a task happens before the return of its scope, both on a worker and in place"
    ),
    holds!(
        worker_scope_returns_after_its_sole_tasks,
        Preemptions(2),
        Preemptions(3),
        "the same for a task that is found to have one reference, and ends by plain stores"
    ),
    holds!(
        worker_spawn_cancel_and_end_in_quick_succession,
        Preemptions(3),
        Preemptions(4),
        "a task runs once or never if its scope is cancelled and left right after the spawn, \
             and the workers end"
    ),
    holds!(
        worker_idle_exit_races_with_hand_off,
        Preemptions(2),
        Preemptions(3),
        "a task that is handed to a worker about to retire is run"
    ),
    breaks!(
        broken_worker_retire_by_load_and_store,
        "worker-retires-by-load-and-store" in worker_idle_exit_races_with_hand_off,
        Preemptions(2),
        "deadlock",
        "a worker that retires by a load and a store takes a wake with it"
    ),
    holds!(
        worker_idle_worker_is_woken,
        Preemptions(2),
        Preemptions(3),
        "a task that is queued while the last worker goes idle is run"
    ),
    holds!(
        worker_wake_is_passed_on,
        Preemptions(2),
        Preemptions(3),
        "a task that is queued behind one blocking in foreign code gets the other place"
    ),
    breaks!(
        broken_worker_keeps_the_wake,
        "worker-keeps-the-wake" in worker_wake_is_passed_on,
        Preemptions(2),
        "deadlock",
        "a worker that does not pass the wake on leaves a free place empty"
    ),
    holds!(
        worker_that_blocks_frees_its_place,
        Preemptions(2),
        Preemptions(3),
        "with one place, a task that waits for the next one lets it run"
    ),
    holds!(
        worker_batch_is_given_back,
        Preemptions(1),
        Preemptions(2),
        "a task that a worker took in a batch runs although the task before it waits for it"
    ),
    breaks!(
        broken_worker_blocks_with_its_batch,
        "blocking-worker-keeps-its-tasks" in worker_batch_is_given_back,
        Preemptions(1),
        "deadlock",
        "a worker that blocks with tasks in its local batch keeps them from all other workers"
    ),
    holds!(
        worker_batch_is_given_back_for_it,
        Preemptions(3),
        Preemptions(4),
        "the end of a task is noticed although another thread gives back the local batch of \
             its worker"
    ),
    holds!(
        worker_blocks_without_destructors_of_its_batch,
        Preemptions(1),
        Preemptions(2),
        "a worker that holds tasks of a cancelled group is woken from a wait, whatever their \
             destructors do"
    ),
    breaks!(
        broken_worker_blocks_and_drops_its_batch,
        "blocking-worker-drops-cancelled-tasks" in worker_blocks_without_destructors_of_its_batch,
        Preemptions(1),
        "deadlock",
        "a destructor that runs between the publish of a wait and its park takes the cancel \
         from the wait"
    ),
    holds!(
        worker_batch_is_flagged_for_the_monitor,
        Preemptions(1),
        Preemptions(2),
        "tasks in the local batch of a worker that blocks in foreign code are found, also \
             after an earlier batch was given back"
    ),
    breaks!(
        broken_worker_flags_its_batch_first,
        "batch-is-announced-before-it-is-there" in worker_batch_is_flagged_for_the_monitor,
        Preemptions(1),
        "deadlock",
        "a worker that announces a batch before it is filled is found with an empty one, and \
         then never again"
    ),
];

fn worker_task_sees_its_spawn_and_is_seen_by_its_join() {
    must_see(["in place", "on a worker"]);
    with_pool(1, || {
        let (before, during) = (Watched::new(), Watched::new());
        TaskGroup::scope(|g| {
            let owner = loom::thread::current().id();
            before.write();
            let task = g.spawn(|| {
                before.read();
                during.write();
                Ok(loom::thread::current().id())
            });
            let by = task.join()?;
            during.read();
            saw(if by == owner {
                "in place"
            } else {
                "on a worker"
            });
            Ok(())
        })
        .unwrap();
    });
}

fn worker_scope_returns_after_its_tasks() {
    must_see(["by the owner", "on a worker"]);
    with_pool(1, || {
        let (before, during) = (Watched::new(), Watched::new());
        let owner = loom::thread::current().id();
        before.write();
        TaskGroup::scope(|g| {
            g.spawn(|| {
                before.read();
                during.write();
                saw(if loom::thread::current().id() == owner {
                    "by the owner"
                } else {
                    "on a worker"
                });
                Ok(())
            });
            Ok(())
        })
        .unwrap();
        during.read();
    });
}

fn worker_spawn_cancel_and_end_in_quick_succession() {
    must_see(["it ran", "it never ran"]);
    with_pool(1, || {
        let (drops, ran) = (Drops::default(), Note::default());
        TaskGroup::scope(|g| {
            let capture = drops.value();
            let ran = ran.clone();
            g.spawn(move || {
                ran.set();
                drop(capture);
                Ok(())
            });
            g.cancel();
            Ok(())
        })
        .unwrap();
        assert_eq!(drops.count(), 1);
        saw(if ran.is_set() {
            "it ran"
        } else {
            "it never ran"
        });
    });
}

/// Spawns a task, and waits until a worker has run it.
fn run_on_a_worker(ran: &Note) {
    TaskGroup::scope(|g| {
        // Unlike a join, a wait does not run the task in place.
        g.spawn(|| {
            ran.set();
            Ok(())
        })
        .wait()?;
        Ok(())
    })
    .unwrap();
}

fn worker_idle_exit_races_with_hand_off() {
    facade::set_idle_expires(true);
    with_pool(1, || {
        let ran = Note::default();
        run_on_a_worker(&ran);
        run_on_a_worker(&ran);
        assert_eq!(ran.times(), 2);
    });
}

fn worker_idle_worker_is_woken() {
    with_pool(1, || {
        let ran = Note::default();
        run_on_a_worker(&ran);
        run_on_a_worker(&ran);
        assert_eq!(ran.times(), 2);
    });
}

fn worker_wake_is_passed_on() {
    with_pool(2, || {
        TaskGroup::scope(|g| {
            let (sender, receiver) = mpsc::channel();
            let first = g.spawn(move || Ok(receiver.recv()?));
            let second = g.spawn(move || Ok(sender.send(())?));
            first.wait()?;
            second.wait()?;
            Ok(())
        })
        .unwrap();
    });
}

fn worker_that_blocks_frees_its_place() {
    with_pool(1, || {
        let gate = Gate::new();
        TaskGroup::scope(|g| {
            let first = g.spawn(|| Ok(gate.wait()?));
            let second = g.spawn(|| {
                gate.open();
                Ok(())
            });
            first.wait()?;
            second.wait()?;
            Ok(())
        })
        .unwrap();
    });
}

fn worker_batch_is_given_back() {
    facade::set_largest_batch(2);
    with_pool(1, || {
        let gate = Gate::new();
        TaskGroup::scope(|g| {
            // The second batch is two tasks, if four more are queued behind its first task.
            g.spawn(|| Ok(()));
            let blocked = g.spawn(|| Ok(gate.wait()?));
            g.spawn(|| {
                gate.open();
                Ok(())
            });
            for _ in 0..3 {
                g.spawn(|| Ok(()));
            }
            blocked.wait()?;
            Ok(())
        })
        .unwrap();
    });
}

fn worker_batch_is_given_back_for_it() {
    with_pool(1, || {
        let ran = Note::default();
        let monitor = loom::thread::spawn(workers::give_back_batches);
        TaskGroup::scope(|g| {
            g.spawn(|| {
                ran.set();
                Ok(())
            });
            Ok(())
        })
        .unwrap();
        assert!(ran.is_set());
        monitor.join().unwrap();
    });
}

fn worker_blocks_without_destructors_of_its_batch() {
    /// Enters a scope when it is dropped, like a destructor that cleans up.
    struct CleansUp;
    impl Drop for CleansUp {
        fn drop(&mut self) {
            let _ = CancelToken::new().run(crate::checkpoint);
        }
    }

    facade::set_largest_batch(2);
    with_pool(1, || {
        let inner = CancelToken::new();
        let canceller = cancel_in_thread(&inner);
        TaskGroup::scope(|g| {
            // The second batch is two tasks, if four more are queued behind its first task.
            g.spawn(|| Ok(()));
            let waits = g.spawn(|| {
                g.cancel();
                let _ = crate::shield(|| inner.run(block));
                Ok(())
            });
            let cleans_up = CleansUp;
            g.spawn(move || {
                drop(cleans_up);
                Ok(())
            });
            for _ in 0..3 {
                g.spawn(|| Ok(()));
            }
            crate::shield(|| waits.wait())?;
            Ok(())
        })
        .unwrap();
        canceller.join().unwrap();
    });
}

fn worker_batch_is_flagged_for_the_monitor() {
    facade::set_largest_batch(2);
    with_pool(2, || {
        let (blocks, blocked) = mpsc::channel();
        let (sender, receiver) = mpsc::channel();
        // The monitor looks twice: once at any moment, and once when the worker is blocked.
        let monitor = loom::thread::spawn(move || {
            workers::give_back_flagged_batches();
            let _ = blocked.recv();
            workers::give_back_flagged_batches();
        });
        TaskGroup::scope(|g| {
            // The second batch is two tasks, if four more are queued behind its first task.
            g.spawn(|| Ok(()));
            let waits = g.spawn(move || {
                blocks.send(())?;
                Ok(receiver.recv()?)
            });
            g.spawn(move || Ok(sender.send(())?));
            for _ in 0..3 {
                g.spawn(|| Ok(()));
            }
            waits.wait()?;
            Ok(())
        })
        .unwrap();
        monitor.join().unwrap();
    });
}

fn worker_scope_returns_after_its_sole_tasks() {
    facade::set_sees_counts(true);
    worker_scope_returns_after_its_tasks();
}
