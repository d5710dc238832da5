//! Spans and events: the tree of spans is the one of the spawns, wherever tasks run, and the
//! subscriber can neither change what happens nor be called at a wrong time.

#[path = "support/recorder.rs"]
mod recorder;
mod support;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use recorder::{Call, Recorder, Recording, SpanSeen};
use support::{Gate, alone, blocked, on_a_used_worker, until, watch, with_busy_workers};
use taskgroup::{
    CancelToken, GroupError, OnFailure, TaskGroup, TaskSnapshot, TaskStatus, abandon, channel,
    snapshot,
};
use tracing::dispatcher::{get_default, set_default, with_default};
use tracing::{Dispatch, Level, info, info_span};

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

fn task<'a>(spans: &'a [SpanSeen], name: &str) -> &'a SpanSeen {
    let mut found = spans
        .iter()
        .filter(|span| span.fields.get("name").is_some_and(|own| own == name));
    found.next().unwrap_or_else(|| panic!("no task {name}"))
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    Worker,
    OwnThread,
    Joiner,
}

/// A task in a span, with a task in it, each with an event.
fn program(place: Place) -> Result<(), GroupError> {
    let here = thread::current().id();
    let is_in_its_place = move || (thread::current().id() == here) == (place == Place::Joiner);
    TaskGroup::builder().name("outer").scope(|g| {
        let _request = info_span!("request").entered();
        let task = || match place {
            Place::OwnThread => g.task().dedicated(),
            _ => g.task(),
        };
        let task = task().spawn(move || {
            assert!(is_in_its_place());
            info!("in the outer task");
            let here = thread::current().id();
            TaskGroup::builder().name("inner").scope(|g| {
                let task = g.spawn(move || {
                    if place == Place::Joiner {
                        assert_eq!(thread::current().id(), here);
                    }
                    info!("in the inner task");
                    Ok(())
                });
                if place != Place::Joiner {
                    task.wait()?;
                }
                Ok(task.join()?)
            })?;
            Ok(())
        });
        if place != Place::Joiner {
            task.wait()?;
        }
        Ok(task.join()?)
    })
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

/// Runs a program that has every kind of end, and returns all that its caller can see.
fn every_kind_of_end() -> String {
    let stats = Mutex::new(None);
    let error = TaskGroup::builder()
        .on_failure(OnFailure::Collect)
        .limit(2)
        .scope(|g| {
            g.on_release(|| {
                // Not what the group measures: that differs from run to run.
                let seen = g.stats();
                *stats.lock().unwrap() = Some((seen.outcomes(), seen.queued, seen.running));
                Ok(())
            });
            let fine = g.spawn(|| Ok(1));
            assert_eq!(fine.wait()?, TaskStatus::Finished);
            let failed = g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("no input") });
            assert_eq!(failed.wait()?, TaskStatus::Failed);
            let panicked = g.spawn(|| -> anyhow::Result<()> { panic!("a bug") });
            assert_eq!(panicked.wait()?, TaskStatus::Panicked);
            let isolated = g.spawn_isolated(|| -> anyhow::Result<()> { anyhow::bail!("alone") });
            assert!(isolated.join()?.is_err());
            let [dropped, ended] = [(); 2].map(|()| Arc::new(Gate::default()));
            let (theirs, end) = (dropped.clone(), ended.clone());
            let untaken = g.spawn_isolated(move || -> anyhow::Result<()> {
                theirs.wait();
                anyhow::bail!("untaken")
            });
            untaken.on_finished(move |_| end.open());
            drop(untaken);
            dropped.open();
            ended.wait();
            assert_eq!(
                g.task().dedicated().spawn(|| Ok(())).wait()?,
                TaskStatus::Finished
            );

            let begun = Gate::default();
            let begun = Arc::new(begun);
            let there = begun.clone();
            let cancelled = g.spawn(move || {
                there.open();
                Err::<(), _>(blocked().into())
            });
            begun.wait();
            g.cancel();
            let (cancelled, unrun) =
                taskgroup::shield(|| (cancelled.wait(), g.spawn(|| Ok(())).wait()));
            assert_eq!(cancelled?, TaskStatus::Cancelled);
            assert_eq!(unrun?, TaskStatus::NeverRan);
            assert!(g.try_spawn(|| Ok(())).is_err());
            Ok(fine.join()?)
        })
        .unwrap_err();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _ = TaskGroup::scope(|g| -> anyhow::Result<()> {
            g.spawn(|| Err::<(), _>(blocked().into()));
            panic!("the body")
        });
    }));
    let failures: Vec<_> = error
        .failures()
        .iter()
        .map(|failure| failure.kind().to_string_for_test())
        .collect();
    format!(
        "{failures:?} {:?} {:?}",
        stats.into_inner().unwrap(),
        panic.unwrap_err().downcast_ref::<&str>()
    )
}

trait ForTest {
    fn to_string_for_test(&self) -> String;
}

impl ForTest for taskgroup::FailureKind<anyhow::Error> {
    fn to_string_for_test(&self) -> String {
        match self {
            taskgroup::FailureKind::Error(error) => format!("error {error}"),
            taskgroup::FailureKind::Panic(panic) => format!("panic {}", panic.message()),
            other => format!("{other:?}"),
        }
    }
}

#[test]
fn a_subscriber_that_panics_changes_nothing() {
    let expected = with_default(&Dispatch::none(), every_kind_of_end);
    assert!(
        expected.contains("no input") && expected.contains("a bug"),
        "{expected}"
    );
    for hostile in [
        Call::New,
        Call::Enter,
        Call::Exit,
        Call::Record,
        Call::Close,
        Call::Event,
    ] {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let (dispatch, _) = Recorder::calling(Level::TRACE, move |call, _| {
            if call == hostile {
                counted.fetch_add(1, SeqCst);
                panic!("the subscriber panics at {call:?}");
            }
        });
        let seen = with_default(&dispatch, every_kind_of_end);
        assert_eq!(seen, expected, "{hostile:?}");
        assert!(calls.load(SeqCst) > 0, "{hostile:?} is never called");
    }
}

#[test]
fn a_subscriber_may_use_the_crate() {
    thread_local! {
        static DEPTH: Cell<usize> = const { Cell::new(0) };
    }
    let (deepest, calls) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (sender, receiver) = channel::unbounded();
    let (counted, reached) = (calls.clone(), deepest.clone());
    let (dispatch, recording) = Recorder::calling(Level::TRACE, move |call, _| {
        DEPTH.set(DEPTH.get() + 1);
        reached.fetch_max(DEPTH.get(), SeqCst);
        counted.fetch_add(1, SeqCst);
        // In a cancelled scope these fail, and nothing is sent.
        let _ = sender.send(call);
        let sum = TaskGroup::builder()
            .on_failure(OnFailure::Collect)
            .scope(|g| {
                // A group in a task of the subscriber is not told to it either.
                let task = g.spawn(|| Ok(TaskGroup::scope(|g| Ok(g.spawn(|| Ok(2)).join()?))?));
                g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("a failure inside") });
                Ok(task.join()?)
            });
        drop(sum);
        DEPTH.set(DEPTH.get() - 1);
    });
    let seen = with_default(&dispatch, every_kind_of_end);
    assert_eq!(seen, with_default(&Dispatch::none(), every_kind_of_end));
    assert_eq!(deepest.load(SeqCst), 1);
    let groups = recording.ours("group");
    assert_eq!(groups.len(), 2, "only those of the program");
    assert!(recording.events().iter().all(|event| {
        !event
            .fields
            .values()
            .any(|value| value.contains("a failure inside"))
    }));
    let received = std::iter::from_fn(|| receiver.try_recv().ok()).count();
    assert!(received > 0 && received <= calls.load(SeqCst));
}

#[test]
fn a_subscriber_may_take_a_snapshot() {
    let _watch = watch();
    let (calls, faults) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(Mutex::new(Vec::new())),
    );
    let (counted, found) = (calls.clone(), faults.clone());
    let (dispatch, recording) = Recorder::calling(Level::TRACE, move |call, _| {
        counted.fetch_add(1, SeqCst);
        // A lock of the crate that this thread held would be busy in each of them.
        let whole = (0..1000).find_map(|_| {
            let seen = snapshot();
            thread::yield_now();
            (seen.incomplete() == 0).then_some(seen)
        });
        let Some(seen) = whole else {
            found.lock().unwrap().push(format!("busy in {call:?}"));
            return;
        };
        let ids: Vec<_> = seen.tasks().map(TaskSnapshot::id).collect();
        let distinct: HashSet<_> = ids.iter().copied().collect();
        if distinct.len() != ids.len() || seen.to_string().is_empty() {
            found.lock().unwrap().push(format!("in {call:?}: {seen}"));
        }
    });
    let seen = with_default(&dispatch, every_kind_of_end);
    assert_eq!(seen, with_default(&Dispatch::none(), every_kind_of_end));
    assert!(calls.load(SeqCst) > 0);
    assert_eq!(*faults.lock().unwrap(), Vec::<String>::new());
    assert_eq!(recording.ours("group").len(), 2);
}

/// Opens a group in the destructor of a thread-local.
struct OpensAGroup(Arc<Gate>);

impl Drop for OpensAGroup {
    fn drop(&mut self) {
        let done = TaskGroup::builder()
            .name("in a destructor")
            .scope(|g| Ok(g.task().name("late").spawn(|| Ok(())).wait()?));
        assert!(done.is_ok());
        self.0.open();
    }
}

#[test]
fn nothing_is_sent_where_a_thread_ends() -> Result<(), GroupError> {
    thread_local! {
        static LATE: RefCell<Option<OpensAGroup>> = const { RefCell::new(None) };
    }
    let calls = Arc::new(Mutex::new(Vec::new()));
    let counted = calls.clone();
    let (dispatch, recording) = Recorder::calling(Level::TRACE, move |call, metadata| {
        let thread = thread::current().id();
        counted
            .lock()
            .unwrap()
            .push((thread, call, metadata.name()));
    });
    let _default = set_default(&dispatch);
    for early in [false, true] {
        let ended = Arc::new(Gate::default());
        let theirs = ended.clone();
        let thread = TaskGroup::scope(|g| {
            let task = g.task().dedicated().spawn(move || {
                // Before or after the crate has made its thread-locals.
                if early {
                    LATE.set(Some(OpensAGroup(theirs.clone())));
                    info!("said");
                } else {
                    info!("said");
                    LATE.set(Some(OpensAGroup(theirs.clone())));
                }
                Ok(thread::current().id())
            });
            Ok(task.join()?)
        })?;
        let before = calls.lock().unwrap().len();
        ended.wait();
        let after = calls.lock().unwrap().split_off(before);
        assert!(after.iter().all(|call| call.0 != thread), "{after:?}");
    }
    assert!(
        recording
            .ours("group")
            .iter()
            .all(|group| !group.fields.contains_key("name"))
    );
    assert_eq!(recording.events_of("said").len(), 2);
    Ok(())
}

/// A subscriber for all threads is there in the last destructors of a thread, too.
#[test]
fn a_subscriber_of_the_process_hears_nothing_where_a_thread_of_the_crate_ends() {
    thread_local! {
        static LATE: RefCell<Option<OpensAGroup>> = const { RefCell::new(None) };
    }
    alone(
        "a_subscriber_of_the_process_hears_nothing_where_a_thread_of_the_crate_ends",
        || {
            let (dispatch, recording) = Recorder::dispatch(Level::TRACE);
            tracing::dispatcher::set_global_default(dispatch).expect("it is the first");
            let ended = [(); 2].map(|()| Arc::new(Gate::default()));
            let set = |ended: &Arc<Gate>| {
                let theirs = ended.clone();
                move || {
                    LATE.set(Some(OpensAGroup(theirs)));
                    Ok(())
                }
            };
            let begun = Arc::new(Gate::default());
            TaskGroup::scope(|g| {
                g.task()
                    .name("on its own")
                    .dedicated()
                    .spawn(set(&ended[0]));
                let (sets, begins) = (set(&ended[1]), begun.clone());
                g.task().name("on a worker").spawn(move || {
                    begins.open();
                    sets()
                });
                // So that no thread joins it, and runs it in place.
                begun.wait();
                Ok(())
            })
            .unwrap();
            // A worker ends after ten seconds without a task.
            ended.iter().for_each(|ended| ended.wait());
            let tasks = recording.ours("task");
            let names: Vec<_> = tasks.iter().map(|task| task.fields.get("name")).collect();
            assert_eq!(names.len(), 2, "{names:?}");
            let groups = recording.ours("group");
            assert!(
                groups
                    .iter()
                    .all(|group| !group.fields.contains_key("name"))
            );
        },
    );
}

#[test]
fn the_fields_of_the_end_are_recorded_once_and_before_the_close() {
    let (dispatch, recording) = Recorder::dispatch(Level::TRACE);
    let begun = Gate::default();
    let outcome = with_default(&dispatch, || {
        TaskGroup::builder()
            .on_failure(OnFailure::Collect)
            .scope(|g| {
                let named = |name: &'static str| g.task().name(name);
                named("finished").spawn(|| Ok(())).wait()?;
                named("failed")
                    .spawn(|| -> anyhow::Result<()> { anyhow::bail!("no input") })
                    .wait()?;
                named("panicked")
                    .spawn(|| -> anyhow::Result<()> { panic!("a bug") })
                    .wait()?;
                let cancelled = named("cancelled").spawn(|| {
                    begun.open();
                    Err::<(), _>(blocked().into())
                });
                begun.wait();
                g.cancel_because("enough");
                taskgroup::shield(|| cancelled.wait())?;
                named("never_ran").spawn(|| Ok(()));
                assert!(named("refused").try_spawn(|| Ok(())).is_err());
                Ok(())
            })
    });
    assert!(outcome.is_err());

    let spans = recording.ours("task");
    assert_eq!(spans.len(), 6);
    for name in [
        "finished",
        "failed",
        "panicked",
        "cancelled",
        "never_ran",
        "refused",
    ] {
        let span = task(&spans, name);
        assert_eq!(span.fields["outcome"], name);
        assert!(span.is_closed(), "{name}");
        let mut once = span.recorded.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), span.recorded.len(), "{name}: {once:?}");

        let ran = !["never_ran", "refused"].contains(&name);
        let cancelled = !["finished", "failed", "panicked"].contains(&name);
        assert!(span.fields["queued"].parse::<f64>().unwrap() >= 0.0);
        assert_eq!(span.fields.contains_key("ran"), ran, "{name}");
        let saw_it = span.fields.contains_key("cancel_to_sight");
        assert_eq!(saw_it, name == "cancelled", "{name}");
        assert_eq!(
            span.fields.contains_key("cancel_to_end"),
            cancelled,
            "{name}"
        );
    }
    let groups = recording.ours("group");
    assert_eq!(groups[0].fields["outcome"], "failed");
    assert!(groups[0].fields.contains_key("ran"));
    assert!(groups[0].fields.contains_key("cancel_to_end"));
    assert!(groups[0].is_closed());
}

#[test]
fn ten_thousand_queued_tasks_that_are_cancelled_are_one_event() -> Result<(), GroupError> {
    let (dispatch, recording) = Recorder::dispatch(Level::TRACE);
    let _default = set_default(&dispatch);
    let begun = Gate::default();
    TaskGroup::builder().limit(1).scope(|g| {
        g.spawn(|| {
            begun.open();
            Err::<(), _>(blocked().into())
        });
        begun.wait();
        for _ in 0..10_000 {
            g.spawn(|| Ok(()));
        }
        g.cancel_because("enough");
        Ok(())
    })?;
    let events = recording.events();
    let messages: Vec<_> = events.iter().map(|event| &*event.message).collect();
    assert_eq!(messages, ["cancelled", "tasks never ran"]);
    assert_eq!(events[0].fields["cause"], "enough");
    assert_eq!(events[1].fields["count"], "10000");
    assert_eq!(recording.path(events[0].parent), ["group"]);
    assert_eq!(recording.path(events[1].parent), ["group"]);
    let spans = recording.ours("task");
    let unrun = spans
        .iter()
        .filter(|span| span.fields["outcome"] == "never_ran");
    assert_eq!(unrun.count(), 10_000);
    assert!(spans.iter().all(SpanSeen::is_closed));
    Ok(())
}

#[test]
fn a_cancel_is_an_event_of_each_group_that_it_reaches_whatever_thread_it_comes_from() {
    let (dispatch, recording) = Recorder::dispatch(Level::TRACE);
    let token = CancelToken::new();
    let begun = Gate::default();
    with_default(&dispatch, || {
        let by_token = TaskGroup::builder()
            .name("outer")
            .parent(&token)
            .scope(|g| {
                g.spawn(|| {
                    TaskGroup::builder().name("inner").scope(|g| {
                        g.spawn(|| {
                            begun.open();
                            Err::<(), _>(blocked().into())
                        });
                        Ok(())
                    })?;
                    Ok(())
                });
                begun.wait();
                // A thread without a dispatcher.
                thread::scope(|threads| {
                    threads.spawn(|| token.cancel_because("from outside"));
                });
                Ok(())
            });
        assert!(by_token.unwrap_err().cancelled().is_some());
        let by_deadline = TaskGroup::builder()
            .name("timed")
            .timeout(Duration::from_millis(1))
            .scope(|_| Err::<(), _>(blocked().into()));
        assert!(by_deadline.is_err());
        let by_failure = TaskGroup::builder().name("failing").scope(|g| {
            g.task()
                .name("parser")
                .spawn(|| -> anyhow::Result<()> { anyhow::bail!("no input") });
            Err::<(), _>(blocked().into())
        });
        assert!(by_failure.is_err());
    });
    let events = recording.events_of("cancelled");
    let mut seen: Vec<_> = events
        .iter()
        .map(|event| {
            let cause = event.fields["cause"].split(" (").next().unwrap().to_owned();
            (recording.path(event.parent)[0].clone(), cause)
        })
        .collect();
    seen.sort();
    let expected = [
        ("group failing", "task `parser`"),
        ("group inner", "from outside"),
        ("group outer", "from outside"),
        ("group timed", "the deadline passed"),
    ];
    let expected = expected.map(|(group, cause)| (group.to_owned(), cause.to_owned()));
    assert_eq!(seen, expected);
}

#[test]
fn a_stall_is_an_event_in_the_span_of_the_group_that_stalls() -> Result<(), GroupError> {
    const STALLED: &str = "a cancelled scope does not end";
    let (dispatch, recording) = Recorder::dispatch(Level::TRACE);
    let dispatch = &dispatch;
    with_default(dispatch, || {
        let late = TaskGroup::builder()
            .name("late")
            .stall_after(Duration::from_millis(20));
        late.scope(|g| {
            g.cancel();
            // Another thread reports, which has neither the dispatcher nor the span.
            until(|| !recording.events_of(STALLED).is_empty());
            Ok(())
        })
    })?;
    for event in recording.events_of(STALLED) {
        assert_eq!(recording.path(event.parent), ["group late"]);
    }
    // An event that is being sent holds the span.
    until(|| recording.ours("group").iter().all(SpanSeen::is_closed));
    Ok(())
}

#[test]
fn failures_panics_and_refused_spawns_are_events_in_the_span_of_their_task() {
    let (dispatch, recording) = Recorder::dispatch(Level::TRACE);
    with_default(&dispatch, every_kind_of_end);
    let causes = |message| {
        let events = recording.events_of(message);
        let mut causes: Vec<_> = events
            .into_iter()
            .map(|event| {
                let path = recording.path(event.parent);
                let isolated = event.fields.contains_key("isolated");
                (event.fields["cause"].clone(), path, event.level, isolated)
            })
            .collect();
        causes.sort();
        causes
    };
    let failed = causes("failed");
    let expected = [("alone", true), ("untaken", true), ("no input", false)];
    assert_eq!(failed.len(), expected.len(), "{failed:?}");
    for (text, isolated) in expected {
        let found = failed.iter().find(|failed| failed.0.contains(text));
        let (_, path, level, is_isolated) = found.expect(text);
        assert_eq!(path, &["task", "group"]);
        assert_eq!((*level, *is_isolated), (Level::DEBUG, isolated));
    }
    let panicked = causes("panicked");
    assert!(panicked[0].0.contains("a bug") || panicked[1].0.contains("a bug"));
    assert_eq!(panicked.len(), 2);
    for (text, path, level, _) in panicked {
        let expected: &[&str] = if text.contains("a bug") {
            &["task", "group"]
        } else {
            &["group"]
        };
        assert_eq!(path, expected);
        assert_eq!(level, Level::WARN);
    }
    let refused = causes("spawn refused");
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].1, ["group"]);
    let untaken = recording.events();
    let untaken = untaken
        .iter()
        .find(|event| event.message.contains("never taken"));
    let untaken = untaken.expect("it is logged");
    assert_eq!(untaken.level, Level::WARN);
    assert_eq!(recording.path(untaken.parent), ["group"]);
}

#[test]
fn what_a_destructor_of_the_crate_would_say_is_said_at_the_end_of_the_group() {
    thread_local! {
        static DROPPING: Cell<bool> = const { Cell::new(false) };
    }
    let wrong = Arc::new(AtomicBool::new(false));
    let noted = wrong.clone();
    let (dispatch, recording) = Recorder::calling(Level::TRACE, move |_, _| {
        noted.fetch_or(DROPPING.get(), SeqCst);
    });
    let dropped = |value: &mut dyn FnMut()| {
        DROPPING.set(true);
        value();
        DROPPING.set(false);
    };
    let begun = Gate::default();
    with_default(&dispatch, || {
        TaskGroup::builder().limit(1).scope(|g| {
            let isolated = g.spawn_isolated(|| -> anyhow::Result<()> { anyhow::bail!("untaken") });
            isolated.wait()?;
            let mut isolated = Some(isolated);
            dropped(&mut || drop(isolated.take()));

            g.spawn(|| {
                begun.open();
                Err::<(), _>(blocked().into())
            });
            begun.wait();
            g.task().name("queued").spawn(|| Ok(()));
            let mut guard = Some(g.token().clone().drop_guard());
            dropped(&mut || drop(guard.take()));
            Ok(())
        })
    })
    .unwrap();
    assert!(
        !wrong.load(SeqCst),
        "the subscriber was called in a destructor"
    );
    assert_eq!(recording.events_of("cancelled").len(), 1);
    let spans = recording.ours("task");
    assert_eq!(task(&spans, "queued").fields["outcome"], "never_ran");
    assert!(spans.iter().all(SpanSeen::is_closed));
    let events = recording.events();
    assert!(
        events
            .iter()
            .any(|event| event.message.contains("never taken"))
    );
}

#[test]
fn a_group_names_the_task_that_it_was_opened_in() -> Result<(), GroupError> {
    let (dispatch, recording) = Recorder::dispatch(Level::TRACE);
    let _default = set_default(&dispatch);
    let id = TaskGroup::builder().name("outer").scope(|g| {
        let task = g.spawn(|| Ok(TaskGroup::builder().name("inner").scope(|_| Ok(()))?));
        let id = format!("{:?}", task.id());
        task.join()?;
        Ok(id)
    })?;
    let groups = recording.ours("group");
    let inner = task(&groups, "inner");
    assert_eq!(format!("TaskId({})", inner.fields["parent"]), id);
    Ok(())
}
