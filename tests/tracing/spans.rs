//! The spans of tasks, and where each is current.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use taskgroup::{GroupError, TaskGroup, abandon};
use tracing::dispatcher::{get_default, set_default, with_default};
use tracing::{Level, info, info_span};

use super::{Place, program, task};
use crate::recorder::{Call, Recorder, Recording, SpanSeen};
use crate::support::{Gate, alone, on_a_used_worker, until, with_busy_workers};

/// Sends an event with this message.
fn say(message: &str) -> anyhow::Result<()> {
    info!("{message}");
    Ok(())
}

fn span_of(recording: &Recording, message: &str) -> Option<usize> {
    let events = recording.events_of(message);
    assert_eq!(events.len(), 1, "{message}: {events:?}");
    events[0].parent
}

/// The path of the span that the only event with this message belongs to.
fn path_of(recording: &Recording, message: &str) -> Vec<String> {
    recording.path(span_of(recording, message))
}

#[test]
fn the_tree_of_spans_is_the_same_wherever_the_tasks_run() {
    alone(
        "the_tree_of_spans_is_the_same_wherever_the_tasks_run",
        || {
            let run = |place| {
                let (dispatch, recording) = Recorder::dispatch(Level::TRACE);
                with_default(&dispatch, || program(place)).unwrap();
                assert!(recording.spans().iter().all(SpanSeen::is_closed));
                recording
            };
            let on_worker = run(Place::Worker);
            assert_eq!(
                path_of(&on_worker, "in the inner task"),
                ["task", "group inner", "task", "request", "group outer"]
            );
            assert_eq!(
                path_of(&on_worker, "in the outer task"),
                ["task", "request", "group outer"]
            );
            let on_its_own = run(Place::OwnThread);
            let in_place = with_busy_workers(|| run(Place::Joiner));
            assert_eq!(on_worker.tree(), on_its_own.tree());
            assert_eq!(on_worker.tree(), in_place.tree());
        },
    );
}

#[test]
fn the_fields_of_a_span_name_the_task_and_its_group() {
    let (dispatch, recording) = Recorder::dispatch(Level::TRACE);
    let (line, spawned, group) = with_default(&dispatch, || {
        TaskGroup::builder()
            .name("pool")
            .scope(|g| {
                let task = g.task().name("reader");
                let (line, task) = (line!(), task.spawn(|| Ok(())));
                task.wait()?;
                let id = format!("{:?}", task.id());
                Ok((line, id, format!("{:?}", g.token().id())))
            })
            .unwrap()
    });
    let number = |id: &str| id.chars().filter(char::is_ascii_digit).collect::<String>();
    let groups = recording.ours("group");
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].fields["name"], "pool");
    assert_eq!(groups[0].fields["id"], number(&group));
    assert!(groups[0].fields["site"].starts_with(file!()));
    assert!(!groups[0].fields.contains_key("parent"));
    assert_eq!(groups[0].fields["outcome"], "finished");
    let tasks = recording.ours("task");
    let task = task(&tasks, "reader");
    assert_eq!(task.fields["id"], number(&spawned));
    assert_eq!(task.fields["parent"], number(&group));
    assert_eq!(task.fields["site"], format!("{}:{line}", file!()));
    assert_eq!(*task.metadata.level(), Level::DEBUG);
}

/// Runs a task in place that was spawned in the span `spawned` if there is one, and is joined in
/// another span. Returns the thread of the join, and the one of the task.
fn joined_elsewhere(recording: &Recording, spawned: Option<&tracing::Span>) -> [ThreadId; 2] {
    let ran_on = TaskGroup::scope(|g| {
        let spawn = || {
            g.spawn(|| {
                info!("in the task");
                Ok(thread::current().id())
            })
        };
        let task = match spawned {
            Some(span) => span.in_scope(spawn),
            None => spawn(),
        };
        let joiner = info_span!("joiner");
        let inside = joiner.enter();
        let before = recording.current();
        let ran_on = task.join()?;
        assert_eq!(recording.current(), before);
        drop(inside);
        Ok(ran_on)
    });
    [thread::current().id(), ran_on.unwrap()]
}

#[test]
fn a_task_does_not_see_the_span_of_the_thread_that_joins_it() {
    let (dispatch, recording) = Recorder::dispatch(Level::TRACE);
    with_default(&dispatch, || {
        joined_elsewhere(&recording, Some(&info_span!("spawner")))
    });
    assert_eq!(path_of(&recording, "in the task"), ["task", "spawner"]);
    // Not below it either, where a layer with a filter would see it.
    let stack = &recording.events_of("in the task")[0].stack;
    let spans = recording.spans();
    assert!(stack.iter().all(|&span| spans[span].name() != "joiner"));
}

#[test]
fn a_span_that_cannot_be_hidden_keeps_a_task_from_running_in_place() {
    // The spans of the crate are off, so there is nothing that would hide the one of the joiner.
    for spawner in [false, true] {
        let (dispatch, recording) = Recorder::dispatch(Level::INFO);
        let threads = with_default(&dispatch, || {
            let spawner = spawner.then(|| info_span!("spawner"));
            joined_elsewhere(&recording, spawner.as_ref())
        });
        assert_ne!(threads[0], threads[1]);
        let expected: &[&str] = if spawner { &["spawner"] } else { &[] };
        assert_eq!(path_of(&recording, "in the task"), expected);
    }
}

#[test]
fn the_owner_runs_only_tasks_that_see_its_spans_anyway() {
    alone(
        "the_owner_runs_only_tasks_that_see_its_spans_anyway",
        || {
            let (dispatch, recording) = Recorder::dispatch(Level::TRACE);
            let here = thread::current().id();
            let (same, other) = (Mutex::new(None), Mutex::new(None));
            with_default(&dispatch, || {
                with_busy_workers(|| {
                    TaskGroup::scope(|g| {
                        g.spawn(|| {
                            *same.lock().unwrap() = Some(thread::current().id());
                            info!("same");
                            Ok(())
                        });
                        Ok(())
                    })
                })
                .unwrap();
                TaskGroup::scope(|g| {
                    info_span!("spawner").in_scope(|| {
                        g.spawn(|| {
                            *other.lock().unwrap() = Some(thread::current().id());
                            info!("other");
                            Ok(())
                        })
                    });
                    Ok(())
                })
                .unwrap();
            });
            assert_eq!(same.into_inner().unwrap(), Some(here));
            assert_ne!(other.into_inner().unwrap(), Some(here));
            assert_eq!(path_of(&recording, "same"), ["task", "group"]);
            assert_eq!(path_of(&recording, "other"), ["task", "spawner", "group"]);
        },
    );
}

#[test]
fn without_a_span_of_its_own_a_task_is_in_the_nearest_one() {
    let (dispatch, recording) = Recorder::dispatch(Level::INFO);
    with_default(&dispatch, || {
        info_span!("request").in_scope(|| {
            TaskGroup::scope(|g| {
                g.spawn(|| say("on a worker")).wait()?;
                g.task().dedicated().spawn(|| say("on its own")).wait()?;
                g.spawn(|| say("perhaps in place")).join()?;
                Ok(())
            })
        })
    })
    .unwrap();
    for message in ["on a worker", "on its own", "perhaps in place"] {
        assert_eq!(path_of(&recording, message), ["request"]);
    }
    assert!(recording.ours("task").is_empty());
    assert!(recording.spans().iter().all(SpanSeen::is_closed));
}

#[test]
fn a_dispatcher_goes_along_with_its_task_and_with_no_other() {
    let (dispatch, recording) = Recorder::dispatch(Level::TRACE);
    on_a_used_worker(
        |spawn| with_default(&dispatch, spawn),
        || info!("with a dispatcher"),
        || info!("without"),
    );
    let events = recording.events_of("with a dispatcher");
    assert!(!events.is_empty());
    for event in events {
        assert_eq!(recording.path(event.parent), ["task first"]);
    }
    assert!(recording.events_of("without").is_empty());
}

#[test]
fn a_span_is_left_before_the_dispatcher_is_put_back() -> Result<(), GroupError> {
    let wrong = Arc::new(AtomicUsize::new(0));
    let counted = wrong.clone();
    let (dispatch, recording) = Recorder::calling(Level::TRACE, move |call, metadata| {
        let task = metadata.target() == "taskgroup" && metadata.name() == "task";
        if task && matches!(call, Call::Enter | Call::Exit | Call::Close) {
            let ours = get_default(|dispatch| dispatch.is::<Recorder>());
            counted.fetch_add(usize::from(!ours), SeqCst);
        }
    });
    TaskGroup::scope(|g| {
        let tasks = with_default(&dispatch, || {
            [
                g.spawn(|| Ok(())),
                g.task().dedicated().spawn(|| Ok(())),
                g.task().name("named").spawn(|| Ok(())),
            ]
        });
        tasks.iter().try_for_each(|task| task.wait().map(drop))?;
        Ok(())
    })?;
    assert_eq!(wrong.load(SeqCst), 0);
    let spans = recording.ours("task");
    assert_eq!(spans.len(), 3);
    assert!(spans.iter().all(SpanSeen::is_closed));
    Ok(())
}

#[test]
fn spans_that_a_task_leaves_entered_are_left_for_it() {
    for level in [Level::TRACE, Level::INFO] {
        let (dispatch, recording) = Recorder::dispatch(level);
        let _default = set_default(&dispatch);
        let leak = || {
            // A guard that is forgotten, and two that are dropped in the wrong order.
            std::mem::forget(info_span!("forgotten").entered());
            let outer = info_span!("outer").entered();
            let inner = info_span!("inner").entered();
            drop(outer);
            std::mem::forget(inner);
        };
        let current = {
            let recording = recording.clone();
            move || recording.path(recording.current())
        };
        let path = on_a_used_worker(|spawn| spawn(), leak, current);
        let expected: &[&str] = if level == Level::TRACE {
            &["task next", "group"]
        } else {
            &[]
        };
        assert_eq!(path, expected);
        assert_eq!(recording.current(), None);
    }
}

#[test]
fn a_task_outlives_the_span_that_it_was_spawned_in() -> Result<(), GroupError> {
    let (dispatch, recording) = Recorder::dispatch(Level::TRACE);
    let _default = set_default(&dispatch);
    let (begun, go_on) = (Gate::default(), Gate::default());
    TaskGroup::builder().limit(1).scope(|g| {
        g.spawn(|| {
            begun.open();
            go_on.wait();
            Ok(())
        });
        begun.wait();
        info_span!("short").in_scope(|| g.spawn(|| say("late")));
        let short = recording.spans();
        let short = short.iter().find(|span| span.name() == "short").unwrap();
        assert!(!short.is_closed(), "the task holds it");
        go_on.open();
        Ok(())
    })?;
    assert_eq!(path_of(&recording, "late"), ["task", "short", "group"]);
    assert!(recording.spans().iter().all(SpanSeen::is_closed));
    Ok(())
}

#[test]
fn a_thread_that_is_left_behind_follows_from_its_caller_and_does_not_keep_it_open() {
    let (dispatch, recording) = Recorder::dispatch(Level::TRACE);
    let _default = set_default(&dispatch);
    let (begun, leave) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
    let left = TaskGroup::scope(|g| {
        let (begun_there, leave_there) = (begun.clone(), leave.clone());
        let task = g.spawn(move || {
            let _request = info_span!("request").entered();
            abandon(move || {
                info!("in foreign code");
                begun_there.open();
                leave_there.wait();
                info!("after the caller");
            })?;
            Ok(())
        });
        begun.wait();
        task.cancel_and_wait()?;
        Ok(())
    });
    assert!(left.is_ok());

    let spans = recording.spans();
    let request = spans.iter().position(|span| span.name() == "request");
    let request = request.unwrap();
    assert!(spans[request].is_closed());
    let abandoned = &recording.ours("abandon")[0];
    assert_eq!(abandoned.parent, None);
    assert_eq!(abandoned.follows, [request]);
    assert!(!abandoned.is_closed());

    leave.open();
    until(|| recording.spans().iter().all(SpanSeen::is_closed));
    for message in ["in foreign code", "after the caller"] {
        assert_eq!(path_of(&recording, message), ["abandon"]);
    }
}

#[test]
fn tasks_of_maps_starts_and_daemons_are_below_the_span_of_their_spawn() -> Result<(), GroupError> {
    let (dispatch, recording) = Recorder::dispatch(Level::TRACE);
    let _default = set_default(&dispatch);
    let _request = info_span!("request").entered();
    TaskGroup::builder().name("all").scope(|g| {
        g.start(|ready| {
            info!("started");
            ready.send(());
            Ok(())
        })?;
        g.spawn_daemon(|| say("daemon")).wait()?;
        g.spawn_isolated(|| say("isolated")).join()??;
        g.map([1], |_| say("map")).try_for_each(|item| item)?;
        g.map_unordered([1], |_| say("unordered"))
            .try_for_each(|item| item)?;
        let task = g.spawn(|| say("completed"));
        for task in g.as_completed([task]) {
            task?.join()?;
        }
        Ok(())
    })?;
    for message in [
        "started",
        "daemon",
        "isolated",
        "map",
        "unordered",
        "completed",
    ] {
        assert_eq!(
            path_of(&recording, message),
            ["task", "group all", "request"],
            "{message}"
        );
    }
    Ok(())
}

#[test]
fn the_workers_of_a_map_are_siblings() -> Result<(), GroupError> {
    let (dispatch, recording) = Recorder::dispatch(Level::TRACE);
    let _default = set_default(&dispatch);
    // Each call waits for the others, so there are four map workers, which spawn each other.
    let barrier = taskgroup::sync::Barrier::new(4);
    taskgroup::map(0..4, 4, |n: u32| {
        info!("call");
        barrier.wait()?;
        anyhow::Ok(n)
    })?;
    let events = recording.events_of("call");
    assert_eq!(events.len(), 4);
    for event in events {
        assert_eq!(recording.path(event.parent), ["task", "group"]);
    }
    Ok(())
}
