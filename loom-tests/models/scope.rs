//! Models of a scope: how it closes, and how a cancel and a deadline reach its tasks.
//!
//! Most tasks here have threads of their own, so that the pool adds nothing to explore.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use loom::thread;

use super::Bound::{Exhaustive, Preemptions};
use super::support::{Drops, Gate, Note, apart, block, must_see, saw, with_pool};
use super::{Model, Watched};
use crate::{CancelCause, CancelToken, TaskGroup, TaskStatus, checkpoint, current_token, shield};

pub(super) const MODELS: &[Model] = &[
    holds!(
        scope_first_task_cancels_while_the_next_is_spawned,
        Preemptions(2),
        Preemptions(3),
        "a task that cancels the group as it starts also cancels the task that is being spawned"
    ),
    holds!(
        scope_last_task_ends_while_owner_parks,
        Exhaustive,
        Exhaustive,
        "the end of the last task, at any moment, lets the scope return, and happens before \
             the return"
    ),
    breaks!(
        broken_scope_owner_says_late_that_it_waits,
        "owner-waits-after-the-look" in scope_last_task_ends_while_owner_parks,
        Preemptions(3),
        "deadlock",
        "an owner that announces its wait after it checked for tasks sleeps for ever"
    ),
    holds!(
        scope_last_task_ends_beside_a_daemon,
        Preemptions(2),
        Preemptions(3),
        "the last task wakes the owner, which then ends the daemon"
    ),
    breaks!(
        broken_scope_daemon_keeps_the_owner_asleep,
        "last-task-waits-for-daemons" in scope_last_task_ends_beside_a_daemon,
        Preemptions(2),
        "deadlock",
        "a daemon ends when the owner cancels it, so an owner that waits for the daemon \
         sleeps for ever"
    ),
    holds!(
        scope_daemon_spawn_races_with_close,
        Preemptions(3),
        Preemptions(4),
        "a task that a daemon spawns is joined, or refused because the group is closed"
    ),
    breaks!(
        broken_scope_closes_after_it_looked,
        "group-closes-after-the-look" in scope_daemon_spawn_races_with_close,
        Preemptions(3),
        "a task outlives its scope",
        "a group that closes after it checked for tasks lets a task outlive its scope"
    ),
    holds!(
        scope_cancel_races_with_start,
        Preemptions(3),
        Preemptions(4),
        "a task that is cancelled as it starts runs to its first checkpoint or never, and \
             drops its captures once"
    ),
    holds!(
        scope_spawn_at_the_limit_races_with_cancel,
        Preemptions(2),
        Preemptions(3),
        "a task that queues for a permit while the group is cancelled never runs, although no \
             permit is freed"
    ),
    breaks!(
        broken_scope_spawn_looks_before_it_queues,
        "spawn-looks-before-it-queues" in scope_spawn_at_the_limit_races_with_cancel,
        Preemptions(2),
        "deadlock",
        "a task that is queued after the check for the cancel stays queued"
    ),
    breaks!(
        broken_scope_cancel_leaves_the_queue,
        "cancel-leaves-the-queue" in scope_spawn_at_the_limit_races_with_cancel,
        Preemptions(3),
        "deadlock",
        "a cancel that does not empty the queue leaves a task in it"
    ),
    holds!(
        scope_cancelled_task_waits_in_a_shield,
        Preemptions(3),
        Preemptions(4),
        "every blocking point of a cancelled task fails, and in a shield it parks as if there \
             were no cancel"
    ),
    holds!(
        scope_that_sees_a_deadline_above_runs_its_callbacks,
        Preemptions(3),
        Preemptions(4),
        "a scope that sees a deadline above, while another thread hands the cancel down, ends after \
             the callbacks of its own token"
    ),
    breaks!(
        broken_scope_waits_for_marks_ahead,
        "marks-ahead-are-left" in scope_that_sees_a_deadline_above_runs_its_callbacks,
        Preemptions(3),
        "deadlock",
        "a cancel that passes over a node that was marked ahead leaves its scope waiting"
    ),
    holds!(
        scope_deadline_fires_while_the_scope_closes,
        Preemptions(2),
        Preemptions(4),
        "a deadline that cancelled the scope has run its callbacks when the scope returns"
    ),
    breaks!(
        broken_scope_end_ignores_deliveries,
        "scope-ends-before-deliveries" in scope_deadline_fires_while_the_scope_closes,
        Preemptions(2),
        "Causality violation",
        "a scope that does not wait for the deliveries of its cancel returns while a callback \
         runs"
    ),
    holds!(
        scope_end_meets_the_drop_of_a_child,
        Exhaustive,
        Exhaustive,
        "a child of the group's token may lose its last handle while the end of the scope \
             visits the children"
    ),
    breaks!(
        broken_scope_end_drops_a_child_under_the_lock,
        "children-are-dropped-under-the-lock" in scope_end_meets_the_drop_of_a_child,
        Preemptions(3),
        "deadlock",
        "a child that is dropped while the lock of its parent is held waits for that lock for \
         ever"
    ),
    holds!(
        scope_end_awaits_the_callbacks_of_its_tasks,
        Preemptions(3),
        Preemptions(4),
        "a cancel that reached only one task of the scope has run its callbacks when the \
             scope returns"
    ),
    breaks!(
        broken_scope_end_ignores_deliveries_to_its_tasks,
        "scope-ends-before-deliveries" in scope_end_awaits_the_callbacks_of_its_tasks,
        Preemptions(3),
        "Causality violation",
        "a scope that does not wait for the deliveries to its tasks returns while a callback \
         of a task runs"
    ),
    holds!(
        scope_deadline_races_with_the_last_task,
        Preemptions(1),
        Preemptions(3),
        "a deadline at the end of the last task cuts it short or comes too late, and does not \
             leave its scope"
    ),
    holds!(
        scope_daemon_ends_with_its_group,
        Preemptions(3),
        Preemptions(4),
        "a daemon is cancelled when the tasks are done, and has ended when the scope returns"
    ),
];

fn scope_first_task_cancels_while_the_next_is_spawned() {
    must_see(["the next never ran", "the next was cut short"]);
    TaskGroup::scope(|g| {
        apart(g).spawn(|| {
            g.cancel();
            Ok(())
        });
        let next = apart(g).spawn(|| Ok(block()?));
        shield(|| next.wait())?;
        match next.status() {
            TaskStatus::NeverRan => saw("the next never ran"),
            TaskStatus::Cancelled => saw("the next was cut short"),
            other => panic!("a cancel was missed: {other:?}"),
        }
        Ok(())
    })
    .unwrap();
}

fn scope_last_task_ends_while_owner_parks() {
    let (before, during) = (Watched::new(), Watched::new());
    before.write();
    TaskGroup::scope(|g| {
        apart(g).spawn(|| {
            before.read();
            during.write();
            Ok(())
        });
        Ok(())
    })
    .unwrap();
    during.read();
}

fn scope_last_task_ends_beside_a_daemon() {
    let in_daemon = Watched::new();
    TaskGroup::scope(|g| {
        apart(g).spawn_daemon(|| {
            let cut = block().unwrap_err();
            in_daemon.write();
            Err(cut.into())
        });
        apart(g).spawn(|| Ok(()));
        Ok(())
    })
    .unwrap();
    in_daemon.read();
}

fn scope_daemon_spawn_races_with_close() {
    must_see(["the task ran", "the task was refused"]);
    let ran = Note::default();
    TaskGroup::scope(|g| {
        g.on_release(|| {
            let stats = g.stats();
            assert_eq!(stats.queued + stats.running, 0, "a task outlives its scope");
            Ok(())
        });
        apart(g).spawn_daemon(|| {
            apart(g).spawn(|| {
                ran.set();
                Ok(())
            });
            Ok(())
        });
        Ok(())
    })
    .unwrap();
    saw(if ran.is_set() {
        "the task ran"
    } else {
        "the task was refused"
    });
}

fn scope_cancel_races_with_start() {
    must_see(["it ran to its first checkpoint", "it never ran"]);
    let (drops, ran) = (Drops::default(), Note::default());
    TaskGroup::scope(|g| {
        let capture = drops.value();
        let ran = ran.clone();
        let task = apart(g).spawn(move || {
            let _capture = capture;
            ran.set();
            Ok(block()?)
        });
        g.cancel();
        shield(|| task.wait())?;
        assert_eq!(drops.count(), 1, "a capture outlives its task");
        saw(match task.status() {
            TaskStatus::NeverRan => "it never ran",
            TaskStatus::Cancelled => "it ran to its first checkpoint",
            other => panic!("a cancel was missed: {other:?}"),
        });
        Ok(())
    })
    .unwrap();
    assert_eq!(drops.count(), 1);
}

fn scope_spawn_at_the_limit_races_with_cancel() {
    must_see(["a cancel while the slot is taken"]);
    with_pool(1, || {
        let gate = Gate::new();
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                let first = g.spawn(|| Ok(shield(|| gate.wait())?));
                let token = g.token().clone();
                thread::spawn(move || token.cancel());
                let queued = g.spawn(|| Ok(()));
                assert_eq!(shield(|| queued.wait())?, TaskStatus::NeverRan);
                if first.status() == TaskStatus::Running {
                    saw("a cancel while the slot is taken");
                }
                gate.open();
                Ok(())
            })
            .unwrap();
    });
}

fn scope_cancelled_task_waits_in_a_shield() {
    let gate = Gate::new();
    TaskGroup::scope(|g| {
        apart(g).spawn(|| {
            assert!(
                block().is_err() && block().is_err() && checkpoint().is_err(),
                "a cancel was delivered only once"
            );
            shield(|| gate.wait())?;
            assert!(checkpoint().is_err(), "a cancel was forgotten");
            Ok(())
        });
        g.cancel();
        gate.open();
        Ok(())
    })
    .unwrap();
}

fn scope_that_sees_a_deadline_above_runs_its_callbacks() {
    must_see(["it was cut short", "it was not"]);
    let outer = CancelToken::new();
    let called = Arc::new(AtomicUsize::new(0));
    let clock = thread::spawn({
        let outer = outer.clone();
        move || outer.cancel_at(Instant::now())
    });

    let ended = outer.run(|| {
        TaskGroup::scope(|g| {
            let called = called.clone();
            let count = move || {
                called.fetch_add(1, Ordering::Relaxed);
            };
            g.token().on_cancel(count).forget();

            // So that loom orders the check between the marks of the two nodes.
            let _ = outer.is_cancelled();
            Ok(checkpoint()?)
        })
    });
    let calls = called.load(Ordering::Relaxed);
    saw(if ended.is_err() {
        assert_eq!(calls, 1, "a callback of a cancelled scope was not run");
        "it was cut short"
    } else {
        "it was not"
    });
    clock.join().unwrap();
}

fn scope_deadline_fires_while_the_scope_closes() {
    let fired = Arc::new(Watched::new());
    let error = TaskGroup::scope(|g| {
        let token = g.token().clone();
        let in_callback = fired.clone();
        token.on_cancel(move || in_callback.write()).forget();
        thread::spawn(move || token.cancel_at(Instant::now()));
        Ok(block()?)
    })
    .unwrap_err();
    fired.write();
    assert!(error.timed_out());
}

fn scope_end_meets_the_drop_of_a_child() {
    must_see(["dropped before the cancel", "dropped after the cancel"]);
    let dropper = TaskGroup::scope(|g| {
        let child = g.token().child();
        let dropper = thread::spawn(move || {
            // Loom does not see references come and go. It can order this check among the other
            // steps.
            let cancelled = child.is_cancelled();
            drop(child);
            cancelled
        });
        g.cancel();
        Ok(dropper)
    })
    .unwrap();
    saw(if dropper.join().unwrap() {
        "dropped after the cancel"
    } else {
        "dropped before the cancel"
    });
}

fn scope_end_awaits_the_callbacks_of_its_tasks() {
    let fired = Arc::new(Watched::new());
    TaskGroup::scope(|g| {
        apart(g).spawn(|| {
            let own = current_token().expect("a task has a token");
            let in_callback = fired.clone();
            own.on_cancel(move || in_callback.write()).forget();
            thread::spawn(move || own.cancel());
            Ok(block()?)
        });
        Ok(())
    })
    .unwrap();
    fired.write();
}

fn scope_deadline_races_with_the_last_task() {
    must_see(["in time", "too late"]);
    let result = TaskGroup::scope(|g| {
        let token = g.token().clone();
        thread::spawn(move || token.cancel_at(Instant::now()));
        apart(g).spawn(|| Ok(checkpoint()?));
        Ok(())
    });
    saw(if result.is_err() {
        "in time"
    } else {
        "too late"
    });
    assert!(result.err().is_none_or(|error| error.timed_out()));
    checkpoint().unwrap();
}

fn scope_daemon_ends_with_its_group() {
    must_see(["the daemon was cut short", "the daemon never ran"]);
    let (in_daemon, ran) = (Watched::new(), Note::default());
    TaskGroup::scope(|g| {
        apart(g).spawn_daemon(|| {
            ran.set();
            let cut = block().unwrap_err();
            assert!(matches!(cut.cause(), CancelCause::GroupFinished));
            in_daemon.write();
            Err(cut.into())
        });
        Ok(())
    })
    .unwrap();
    in_daemon.write();
    saw(if ran.is_set() {
        "the daemon was cut short"
    } else {
        "the daemon never ran"
    });
}
