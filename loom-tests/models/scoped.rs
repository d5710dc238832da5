//! Models of scoped values: a binding outlives every read of it.

use super::Bound::{Exhaustive, Preemptions};
use super::Model;
use super::support::{apart, with_pool};
use crate::{ScopedValue, TaskGroup};

static NUMBER: ScopedValue<u32> = ScopedValue::new();

pub(super) const MODELS: &[Model] = &[
    holds!(
        scoped_task_reads_before_the_binding_ends,
        Exhaustive,
        Exhaustive,
        "a task on a thread of its own has read a scoped value before the code that bound it \
             goes on"
    ),
    holds!(
        scoped_spawn_in_a_binding_of_its_own,
        Exhaustive,
        Exhaustive,
        "a task has the bindings of its group, whatever was bound around its spawn"
    ),
    breaks!(
        broken_scoped_task_has_the_bindings_of_its_spawn,
        "task-has-the-bindings-of-its-spawn" in scoped_spawn_in_a_binding_of_its_own,
        Exhaustive,
        "Causality violation",
        "a task that inherits the bindings of its spawn reads a binding that has ended"
    ),
    holds!(
        scoped_worker_reads_before_the_binding_ends,
        Preemptions(2),
        Preemptions(3),
        "a worker has read a scoped value before the code that bound it goes on, and has put \
             it away before its next task"
    ),
];

fn scoped_task_reads_before_the_binding_ends() {
    NUMBER.with(&7, || {
        TaskGroup::scope(|g| {
            // The handle is dropped: only the end of the scope waits.
            drop(apart(g).spawn(|| {
                assert_eq!(NUMBER.cloned(), Some(7));
                Ok(())
            }));
            Ok(())
        })
        .unwrap();
    });
}

fn scoped_worker_reads_before_the_binding_ends() {
    with_pool(2, || {
        NUMBER.with(&7, || {
            TaskGroup::scope(|g| {
                drop(g.spawn(|| {
                    assert_eq!(NUMBER.cloned(), Some(7));
                    Ok(())
                }));
                Ok(())
            })
            .unwrap();
        });
        TaskGroup::scope(|g| {
            drop(g.spawn(|| {
                assert_eq!(NUMBER.cloned(), None);
                Ok(())
            }));
            Ok(())
        })
        .unwrap();
    });
}

fn scoped_spawn_in_a_binding_of_its_own() {
    TaskGroup::scope(|g| {
        NUMBER.with(&7, || {
            drop(apart(g).spawn(|| {
                // Read with no assertion on it, so that the time of the read alone can fail.
                let _ = NUMBER.cloned();
                Ok(())
            }));
        });
        Ok(())
    })
    .unwrap();
}
