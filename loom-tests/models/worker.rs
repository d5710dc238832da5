//! Models of the pool: tasks that run on shared workers, and in place.

use std::time::Duration;

use loom::sync::mpsc;

use super::Bound::Preemptions;
use super::cancel::cancel_in_thread;
use super::support::{Drops, Gate, Note, block, must_see, saw, with_pool};
use super::{Model, Watched};
use crate::facade;
use crate::{CancelToken, TaskGroup, TaskStatus, workers};

pub(super) fn models() -> Vec<Model> {
    vec![
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
        holds!(
            worker_join_in_a_task_gives_its_permit_up,
            Preemptions(2),
            Preemptions(3),
            "a task that joins a task of its own group at the limit gives up its permit"
        ),
        holds!(
            worker_wait_in_a_task_gives_its_permit_up,
            Preemptions(1),
            Preemptions(3),
            "a task that waits for a task of its own group at the limit gives up its permit"
        ),
        breaks!(
            broken_worker_keeps_its_permit,
            "waiting-task-keeps-its-permit" in worker_wait_in_a_task_gives_its_permit_up,
            Preemptions(1),
            "deadlock",
            "a task that keeps its permit while it waits for a queued one waits for ever"
        ),
        breaks!(
            broken_worker_end_keeps_the_permit_of_its_waiter,
            "end-keeps-the-permit" in worker_wait_in_a_task_gives_its_permit_up,
            Preemptions(1),
            "attempt to subtract with overflow",
            "a waiter that gets no permit at the end of its task gives up a permit that it does \
             not hold"
        ),
        holds!(
            worker_limit_waits_of_both_kinds_in_one_another,
            Preemptions(1),
            Preemptions(2),
            "a task that joins a running task, which waits for the first of several, leaves its \
             permit to those"
        ),
        holds!(
            worker_limit_try_spawn_at_the_end_takes_no_permit,
            Preemptions(1),
            Preemptions(3),
            "at the end of a task that another task waits for, try_spawn takes no task beside the \
             waiter"
        ),
        breaks!(
            broken_worker_end_owes_nothing,
            "end-owes-no-permit" in worker_limit_try_spawn_at_the_end_takes_no_permit,
            Preemptions(1),
            "taken beside the waiter",
            "if the permit of an ending task counts as free although a waiter takes it over, \
             try_spawn takes a task"
        ),
        holds!(
            worker_limit_wait_that_is_cut_short_takes_a_permit,
            Preemptions(2),
            Preemptions(3),
            "a wait that ends before its task takes a permit, and then the waiter and the task \
             give up one each"
        ),
        breaks!(
            broken_worker_goes_on_without_a_permit,
            "cut-wait-takes-no-permit" in worker_limit_wait_that_is_cut_short_takes_a_permit,
            Preemptions(2),
            "attempt to subtract with overflow",
            "a task that takes no permit after a wait that is cut short gives up a permit that it \
             does not hold"
        ),
        holds!(
            worker_limit_permits_come_back_from_late_threads,
            Preemptions(1),
            Preemptions(3),
            "if a joiner and a worker both come for a task, each with a permit, the later one \
             gives up its permit"
        ),
        holds!(
            worker_limit_freed_permit_lets_a_task_begin,
            Preemptions(1),
            Preemptions(2),
            "a permit that a joining thread took for a task which a worker has begun goes to the \
             next queued task"
        ),
        breaks!(
            broken_worker_limit_freed_permit_is_not_offered,
            "freed-permit-is-not-offered" in worker_limit_freed_permit_lets_a_task_begin,
            Preemptions(1),
            "deadlock",
            "a permit that comes back from a late thread and is not offered leaves a queued task \
             waiting"
        ),
        holds!(
            worker_limit_has_room_after_a_wait,
            Preemptions(1),
            Preemptions(2),
            "once a task that has waited for another one has ended, there is room for a new task"
        ),
        breaks!(
            broken_worker_limit_owes_a_permit_for_ever,
            "owed-permit-stays-owed" in worker_limit_has_room_after_a_wait,
            Preemptions(1),
            "there is no room",
            "a permit that was taken back and still counts as owed takes the room of a new task"
        ),
        holds!(
            worker_limit_awaited_task_comes_first,
            Preemptions(1),
            Preemptions(2),
            "a queued task that another task waits for begins before one that was queued earlier"
        ),
        breaks!(
            broken_worker_limit_awaited_task_is_not_first,
            "awaited-task-is-not-first" in worker_limit_awaited_task_comes_first,
            Preemptions(1),
            "deadlock",
            "a task that needs the effect of an awaited one, and begins before it, takes its permit"
        ),
        holds!(
            worker_limit_awaited_task_comes_before_one_in_place,
            Preemptions(1),
            Preemptions(2),
            "a queued task that another task waits for begins before one that its joiner could run"
        ),
        breaks!(
            broken_worker_limit_task_in_place_overtakes,
            "task-in-place-overtakes-an-awaited-one"
                in worker_limit_awaited_task_comes_before_one_in_place,
            Preemptions(1),
            "deadlock",
            "a task that runs in place before an awaited one takes its permit"
        ),
        holds!(
            worker_limit_is_kept_by_joining_threads,
            Preemptions(2),
            Preemptions(3),
            "a task that the body runs in place takes a permit, like on a worker"
        ),
        holds!(
            worker_limit_is_kept,
            Preemptions(2),
            Preemptions(3),
            "two tasks of a group with a limit of one never run at once, whichever thread runs them"
        ),
        holds!(
            worker_limit_is_kept_by_sole_tasks,
            Preemptions(1),
            Preemptions(2),
            "the same for tasks that are found to have one reference"
        ),
        breaks!(
            broken_worker_ignores_the_limit,
            "limit-is-ignored" in worker_limit_is_kept,
            Preemptions(2),
            "Causality violation",
            "a worker that begins a task without a free permit runs two at once"
        ),
    ]
}

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

/// Runs a task of a group with a limit of one, which waits for a second task by `wait`.
fn nested(wait: impl Fn(crate::TaskHandle<'_, u8>) -> anyhow::Result<()> + Send + Sync) {
    with_pool(2, || {
        let (wait, ran) = (&wait, Note::default());
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                g.spawn(|| {
                    wait(g.spawn(|| {
                        ran.set();
                        Ok(7)
                    }))
                });
                Ok(())
            })
            .unwrap();
        assert_eq!(ran.times(), 1);
    });
}

fn worker_join_in_a_task_gives_its_permit_up() {
    nested(|task| {
        assert_eq!(task.join()?, 7);
        Ok(())
    });
}

fn worker_wait_in_a_task_gives_its_permit_up() {
    nested(|task| {
        assert_eq!(task.wait()?, TaskStatus::Finished);
        Ok(())
    });
}

fn worker_limit_waits_of_both_kinds_in_one_another() {
    must_see(["it had begun", "it had not"]);
    with_pool(2, || {
        let running = Watched::new();
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                g.spawn(|| {
                    let middle = g.spawn(|| {
                        let inner = g.spawn(|| {
                            running.write();
                            Ok(())
                        });
                        for task in g.as_completed([inner]) {
                            task?.join()?;
                        }
                        running.write();
                        Ok(())
                    });
                    middle.wait_timeout(Duration::ZERO)?;
                    saw(if middle.status() == TaskStatus::Running {
                        "it had begun"
                    } else {
                        "it had not"
                    });
                    middle.wait()?;
                    Ok(())
                });
                Ok(())
            })
            .unwrap();
    });
}

fn worker_limit_try_spawn_at_the_end_takes_no_permit() {
    with_pool(2, || {
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                g.spawn(|| {
                    // The task begins when this one waits for it.
                    let task = g.spawn(|| Ok(()));
                    task.on_finished(|_| {
                        assert!(
                            g.try_spawn(|| Ok(())).is_err(),
                            "a task was taken beside the waiter"
                        )
                    });
                    task.wait()?;
                    Ok(())
                });
                Ok(())
            })
            .unwrap();
    });
}

fn worker_limit_wait_that_is_cut_short_takes_a_permit() {
    must_see(["it had ended", "it had not"]);
    with_pool(2, || {
        let ran = Note::default();
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                g.spawn(|| {
                    let task = g.spawn(|| {
                        ran.set();
                        Ok(())
                    });
                    saw(match task.wait_timeout(Duration::ZERO)? {
                        Some(_) => "it had ended",
                        None => "it had not",
                    });
                    Ok(())
                });
                Ok(())
            })
            .unwrap();
        assert_eq!(ran.times(), 1);
    });
}

fn worker_limit_permits_come_back_from_late_threads() {
    must_see(["in place", "on a worker"]);
    with_pool(1, || {
        let gate = Gate::new();
        TaskGroup::builder()
            .limit(2)
            .scope(|g| {
                let body = loom::thread::current().id();
                let by = g.spawn(|| Ok(loom::thread::current().id())).join()?;
                saw(if by == body {
                    "in place"
                } else {
                    "on a worker"
                });
                // The next two tasks need both permits.
                let waits = g.spawn(|| Ok(gate.wait()?));
                g.spawn(|| {
                    gate.open();
                    Ok(())
                });
                waits.wait()?;
                Ok(())
            })
            .unwrap();
    });
}

fn worker_scope_returns_after_its_sole_tasks() {
    facade::set_sees_counts(true);
    worker_scope_returns_after_its_tasks();
}

fn worker_limit_is_kept_by_sole_tasks() {
    facade::set_sees_counts(true);
    worker_limit_is_kept();
}

fn worker_limit_freed_permit_lets_a_task_begin() {
    with_pool(1, || {
        let gate = Gate::new();
        TaskGroup::builder()
            .limit(2)
            .scope(|g| {
                // Its joiner takes a permit for it, and may find that a worker has begun it.
                let waits = g.spawn(|| Ok(gate.wait()?));
                g.spawn(|| {
                    gate.open();
                    Ok(())
                });
                waits.join()?;
                Ok(())
            })
            .unwrap();
    });
}

fn worker_limit_has_room_after_a_wait() {
    with_pool(2, || {
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                let waits = g.spawn(|| {
                    g.spawn(|| Ok(())).wait()?;
                    Ok(())
                });
                waits.wait()?;
                assert!(g.try_spawn(|| Ok(())).is_ok(), "there is no room");
                Ok(())
            })
            .unwrap();
    });
}

fn worker_limit_awaited_task_comes_first() {
    with_pool(2, || {
        let gate = Gate::new();
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                g.spawn(|| {
                    g.spawn(|| Ok(gate.wait()?));
                    let opens = g.spawn(|| {
                        gate.open();
                        Ok(())
                    });
                    opens.wait()?;
                    Ok(())
                });
                Ok(())
            })
            .unwrap();
    });
}

fn worker_limit_awaited_task_comes_before_one_in_place() {
    with_pool(2, || {
        let (begun, gate) = (Gate::new(), Gate::new());
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                g.spawn(|| {
                    begun.open();
                    let opens = g.spawn(|| {
                        gate.open();
                        Ok(())
                    });
                    opens.wait()?;
                    Ok(())
                });
                let waits = g.spawn(|| Ok(gate.wait()?));
                // The first task has the permit now, until it waits.
                begun.wait()?;
                waits.join()?;
                Ok(())
            })
            .unwrap();
    });
}

fn worker_limit_is_kept_by_joining_threads() {
    with_pool(1, || {
        let running = Watched::new();
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                let task = || {
                    running.write();
                    Ok(())
                };
                let (first, second) = (g.spawn(task), g.spawn(task));
                second.join()?;
                first.join()?;
                Ok(())
            })
            .unwrap();
    });
}

fn worker_limit_is_kept() {
    with_pool(2, || {
        let running = Watched::new();
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                for _ in 0..2 {
                    // Loom reports two concurrent writes, and also two writes of which neither
                    // happens before the other.
                    g.spawn(|| {
                        running.write();
                        Ok(())
                    });
                }
                Ok(())
            })
            .unwrap();
    });
}
