//! Models of a task's handle: its join, its cancel, its callbacks, and the drop of its result.

use std::sync::Arc;

use loom::thread;

use super::Bound::{Exhaustive, Preemptions};
use super::support::{Counted, Drops, Note, apart, block, must_see, saw};
use super::{Model, Watched};
use crate::facade::{CountedRef, set_sees_counts};
use crate::{TaskGroup, TaskStatus, checkpoint, shield};

pub(super) const MODELS: &[Model] = &[
    holds!(
        handle_sole_reference_has_seen_the_others,
        Exhaustive,
        Exhaustive,
        "a thread that finds that it has the only reference to a task has seen what the other \
             threads did with it"
    ),
    breaks!(
        broken_handle_sole_reference_unseeing,
        "sole-owner-does-not-acquire" in handle_sole_reference_has_seen_the_others,
        Exhaustive,
        "Causality violation",
        "a sole owner writes while another thread may still read"
    ),
    holds!(
        handle_last_reference_drops_the_task,
        Exhaustive,
        Exhaustive,
        "the last of three references to a task drops it, once, after the last use by each \
             thread"
    ),
    breaks!(
        broken_handle_last_reference_unseeing,
        "last-reference-does-not-acquire" in handle_last_reference_drops_the_task,
        Exhaustive,
        "Causality violation",
        "a task is freed while another thread may still read it"
    ),
    holds!(
        handle_sole_task_has_callbacks,
        Preemptions(2),
        Preemptions(3),
        "a task to which only its own thread refers at its end runs the callbacks that its handle registered"
    ),
    holds!(
        handle_sole_task_drops_its_result,
        Preemptions(3),
        Preemptions(4),
        "a task to which only its own thread refers drops its result once, before the scope returns"
    ),
    holds!(
        handle_sole_watched_task_drops_its_result,
        Preemptions(3),
        Preemptions(4),
        "the same for a task with a callback"
    ),
    holds!(
        handle_sole_task_was_cancelled,
        Preemptions(2),
        Preemptions(3),
        "a task to which only its own thread refers has seen the cancel through its handle"
    ),
    holds!(
        handle_sole_task_or_cancel,
        Preemptions(2),
        Preemptions(3),
        "the cancel of one task reaches that task, begun or not, while references come and go"
    ),
    breaks!(
        broken_handle_shared_task_taken_for_sole,
        "shared-task-counts-as-sole" in handle_join_sees_what_its_task_did,
        Preemptions(3),
        "deadlock",
        "a task that ends by a plain store overwrites the wish of a thread to be woken"
    ),
    holds!(
        handle_join_sees_what_its_task_did,
        Preemptions(3),
        Exhaustive,
        "the writes of a task, and its result, happen before the return of its join"
    ),
    holds!(
        handle_callback_ends_before_a_wait_returns,
        Preemptions(3),
        Preemptions(4),
        "a callback of a task's end sees the task's writes, and has run when a wait for the \
             task returns"
    ),
    holds!(
        handle_callback_is_registered_while_others_run,
        Preemptions(3),
        Preemptions(4),
        "a callback that is registered while the end of its task runs the earlier ones is run \
             too"
    ),
    holds!(
        handle_ended_before_the_cancel,
        Preemptions(1),
        Preemptions(2),
        "a wait for a task that ended before the cancel of the scope succeeds"
    ),
    holds!(
        handle_is_dropped_while_another_waits,
        Preemptions(2),
        Preemptions(3),
        "a handle stays valid if one thread drops it while another waits with it"
    ),
    holds!(
        handle_result_is_dropped_before_the_end,
        Preemptions(3),
        Preemptions(4),
        "the result of a task without a handle is dropped once, before the scope returns"
    ),
    breaks!(
        broken_scope_result_dropped_after_end,
        "result-outlives-the-end" in handle_result_is_dropped_before_the_end,
        Preemptions(3),
        "Causality violation",
        "a result that is dropped after the end of its task was signalled outlives its scope"
    ),
    holds!(
        handle_result_of_a_watched_task_is_dropped_before_the_end,
        Preemptions(3),
        Preemptions(4),
        "the result of a task with a callback and without a handle is dropped once, before \
             the scope returns"
    ),
    breaks!(
        broken_scope_watched_result_dropped_after_end,
        "result-outlives-a-watched-end"
            in handle_result_of_a_watched_task_is_dropped_before_the_end,
        Preemptions(3),
        "Causality violation",
        "a result of a watched task that is dropped after the end was signalled outlives its \
         scope"
    ),
    holds!(
        handle_cancel_races_with_start,
        Preemptions(3),
        Preemptions(4),
        "the cancel of one task reaches that task, begun or not, and no other"
    ),
    holds!(
        handle_cancel_outlives_the_handle,
        Preemptions(3),
        Preemptions(4),
        "the cancel of one task reaches it even if its handle is dropped before the task \
             enters its frame"
    ),
    breaks!(
        broken_handle_takes_its_cancel_along,
        "handle-takes-its-cancel-along" in handle_cancel_outlives_the_handle,
        Preemptions(3),
        "deadlock",
        "a task that checks only for its handle, and not for its token, never learns of its \
         cancel"
    ),
    holds!(
        handle_cancel_races_with_end,
        Preemptions(3),
        Preemptions(4),
        "a task that is cancelled as it ends keeps its value or is cut short, and the join \
             says which"
    ),
    holds!(
        handle_try_spawn_races_with_cancel,
        Preemptions(3),
        Preemptions(4),
        "a closure that is submitted while the group is cancelled is run, dropped or given \
             back, exactly once"
    ),
];

fn handle_sole_reference_has_seen_the_others() {
    set_sees_counts(true);
    must_see(["it is the only one", "it is not"]);
    let (mine, other) = CountedRef::pair(Watched::new());
    let reads = thread::spawn(move || other.read());
    saw(if mine.is_sole() {
        mine.write();
        "it is the only one"
    } else {
        "it is not"
    });
    reads.join().unwrap();
}

fn handle_last_reference_drops_the_task() {
    /// The drop is a use, too.
    struct Used(
        Watched,
        #[allow(dead_code, reason = "its drop is counted")] Counted,
    );

    impl Drop for Used {
        fn drop(&mut self) {
            self.0.write();
        }
    }

    set_sees_counts(true);
    let drops = Drops::default();
    let used = Used(Watched::new(), drops.value());
    let (mine, second) = CountedRef::pair(used);
    let third = mine.clone();
    let threads = [second, third].map(|reference| thread::spawn(move || reference.0.read()));
    mine.0.read();
    drop(mine);
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(drops.count(), 1);
}

fn handle_sole_task_has_callbacks() {
    set_sees_counts(true);
    handle_callback_is_registered_while_others_run();
}

fn handle_sole_task_drops_its_result() {
    set_sees_counts(true);
    handle_result_is_dropped_before_the_end();
}

fn handle_sole_watched_task_drops_its_result() {
    set_sees_counts(true);
    handle_result_of_a_watched_task_is_dropped_before_the_end();
}

fn handle_sole_task_was_cancelled() {
    set_sees_counts(true);
    handle_cancel_outlives_the_handle();
}

fn handle_sole_task_or_cancel() {
    set_sees_counts(true);
    handle_cancel_races_with_start();
}

fn handle_join_sees_what_its_task_did() {
    let (before, during) = (Watched::new(), Watched::new());
    let drops = Drops::default();
    TaskGroup::scope(|g| {
        before.write();
        let task = apart(g).spawn(|| {
            before.read();
            during.write();
            Ok(drops.value())
        });
        let value = task.join()?;
        during.read();
        assert_eq!(drops.count(), 0);
        drop(value);
        Ok(())
    })
    .unwrap();
    assert_eq!(drops.count(), 1);
}

fn handle_callback_ends_before_a_wait_returns() {
    must_see([
        "it ran on the thread of the task",
        "it ran where it was registered",
    ]);
    let (in_task, in_callback) = (Watched::new(), Watched::new());
    TaskGroup::scope(|g| {
        let task = apart(g).spawn(|| {
            in_task.write();
            Ok(())
        });
        let runs = Note::default();
        task.on_finished({
            let (in_task, in_callback, runs) = (&in_task, &in_callback, runs.clone());
            move |status| {
                assert_eq!(status, TaskStatus::Finished);
                in_task.read();
                in_callback.write();
                runs.set();
            }
        });
        // If the task has ended, the callback has run already.
        saw(if runs.is_set() {
            "it ran where it was registered"
        } else {
            "it ran on the thread of the task"
        });
        task.wait()?;
        in_callback.read();
        assert_eq!(runs.times(), 1);
        Ok(())
    })
    .unwrap();
}

fn handle_callback_is_registered_while_others_run() {
    must_see([
        "it ran on the thread of the task",
        "it ran where it was registered",
    ]);
    let (first, second) = (Note::default(), Note::default());
    TaskGroup::scope(|g| {
        let task = apart(g).spawn(|| Ok(()));
        // Because of this callback, the ending task takes the callbacks before it has ended.
        let runs = first.clone();
        task.on_finished(move |_| runs.set());
        let runs = second.clone();
        task.on_finished(move |_| runs.set());
        saw(if second.is_set() {
            "it ran where it was registered"
        } else {
            "it ran on the thread of the task"
        });
        Ok(())
    })
    .unwrap();
    assert_eq!(
        (first.times(), second.times()),
        (1, 1),
        "a callback was not run"
    );
}

fn handle_ended_before_the_cancel() {
    TaskGroup::scope(|g| {
        let task = Arc::new(apart(g).spawn(|| Ok(())));
        let ended = task.clone();
        apart(g).spawn(move || {
            ended.wait()?;
            g.cancel();
            Ok(())
        });
        let waited = task.wait();
        assert!(waited.is_ok(), "the task ended before the cancel");
        Ok(())
    })
    .unwrap();
}

fn handle_is_dropped_while_another_waits() {
    let drops = Drops::default();
    TaskGroup::scope(|g| {
        let task = Arc::new(apart(g).spawn(|| Ok(drops.value())));
        let other = task.clone();
        apart(g).spawn(move || {
            assert_eq!(other.wait()?, TaskStatus::Finished);
            Ok(())
        });
        drop(task);
        Ok(())
    })
    .unwrap();
    assert_eq!(drops.count(), 1);
}

/// A result with a destructor that uses the scope's borrows.
struct Borrows<'a>(
    &'a Watched,
    #[expect(dead_code, reason = "held for its drop")] Counted,
);

impl Drop for Borrows<'_> {
    fn drop(&mut self) {
        self.0.write();
    }
}

fn handle_result_is_dropped_before_the_end() {
    let (in_drop, drops) = (Watched::new(), Drops::default());
    TaskGroup::scope(|g| {
        drop(apart(g).spawn(|| Ok(Borrows(&in_drop, drops.value()))));
        Ok(())
    })
    .unwrap();
    in_drop.write();
    assert_eq!(drops.count(), 1);
}

fn handle_result_of_a_watched_task_is_dropped_before_the_end() {
    let (in_drop, drops) = (Watched::new(), Drops::default());
    TaskGroup::scope(|g| {
        let task = apart(g).spawn(|| Ok(Borrows(&in_drop, drops.value())));
        task.on_finished(|_| ());
        drop(task);
        Ok(())
    })
    .unwrap();
    in_drop.write();
    assert_eq!(drops.count(), 1);
}

fn handle_cancel_races_with_start() {
    must_see(["it was cut short", "it never ran"]);
    TaskGroup::scope(|g| {
        let task = apart(g).spawn(|| Ok(block()?));
        match task.cancel_and_wait()? {
            TaskStatus::NeverRan => saw("it never ran"),
            TaskStatus::Cancelled => saw("it was cut short"),
            other => panic!("a cancel was missed: {other:?}"),
        }
        assert!(task.join().is_err());
        Ok(checkpoint()?)
    })
    .unwrap();
}

fn handle_cancel_outlives_the_handle() {
    must_see(["it was cut short", "it never ran"]);
    let begun = Note::default();
    TaskGroup::scope(|g| {
        let task = apart(g).spawn(|| {
            begun.set();
            Ok(block()?)
        });
        task.cancel();
        drop(task);
        Ok(())
    })
    .unwrap();
    saw(if begun.is_set() {
        "it was cut short"
    } else {
        "it never ran"
    });
}

fn handle_cancel_races_with_end() {
    must_see(["its value", "its cancel"]);
    TaskGroup::scope(|g| {
        let task = apart(g).spawn(|| {
            checkpoint()?;
            Ok(7)
        });
        task.cancel();
        let status = task.wait()?;
        match task.join() {
            Ok(value) => {
                assert_eq!((value, status), (7, TaskStatus::Finished));
                saw("its value");
            }
            Err(_) => {
                assert!(matches!(
                    status,
                    TaskStatus::Cancelled | TaskStatus::NeverRan
                ));
                saw("its cancel");
            }
        }
        Ok(())
    })
    .unwrap();
}

fn handle_try_spawn_races_with_cancel() {
    must_see(["it ran", "it never ran", "it was given back"]);
    let drops = Drops::default();
    TaskGroup::scope(|g| {
        let token = g.token().clone();
        thread::spawn(move || token.cancel());
        let capture = drops.value();
        match apart(g).try_spawn(move || {
            drop(capture);
            Ok(())
        }) {
            Ok(task) => match shield(|| task.wait())? {
                TaskStatus::Finished => saw("it ran"),
                TaskStatus::NeverRan => saw("it never ran"),
                other => panic!("{other:?}"),
            },
            Err(error) => {
                assert_eq!(drops.count(), 0);
                drop(error.into_task());
                saw("it was given back");
            }
        }
        assert_eq!(drops.count(), 1);
        Ok(())
    })
    .unwrap();
}
