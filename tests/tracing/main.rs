//! Spans and events: the tree of spans is the one of the spawns, wherever tasks run, and the
//! subscriber can neither change what happens nor be called at a wrong time.

mod events;
#[path = "../support/recorder.rs"]
mod recorder;
mod spans;
#[path = "../support/mod.rs"]
mod support;

use std::cell::Cell;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use recorder::{Call, Query, Recorder, SpanSeen};
use support::{Gate, alone, blocked, watch};
use taskgroup::{GroupError, OnFailure, TaskGroup, TaskSnapshot, TaskStatus, channel, snapshot};
use tracing::dispatcher::{set_default, with_default};
use tracing::{Dispatch, Level, info, info_span};

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
            ends_by_themselves(g)?;
            ends_by_a_cancel(g)?;
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

/// Tasks that fail, that panic, that keep their failure for their handle, and one of its own
/// thread.
fn ends_by_themselves<'scope>(g: &'scope TaskGroup<'scope, '_>) -> anyhow::Result<()> {
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

    let dedicated = g.task().dedicated().spawn(|| Ok(()));
    assert_eq!(dedicated.wait()?, TaskStatus::Finished);
    Ok(())
}

/// Cancels the group: a task is cut short, one never runs, and one is refused.
fn ends_by_a_cancel<'scope>(g: &'scope TaskGroup<'scope, '_>) -> anyhow::Result<()> {
    let begun = Arc::new(Gate::default());
    let there = begun.clone();
    let cancelled = g.spawn(move || {
        there.open();
        Err::<(), _>(blocked().into())
    });
    begun.wait();
    g.cancel();
    let (cancelled, unrun) = taskgroup::shield(|| (cancelled.wait(), g.spawn(|| Ok(())).wait()));
    assert_eq!(cancelled?, TaskStatus::Cancelled);
    assert_eq!(unrun?, TaskStatus::NeverRan);
    assert!(g.try_spawn(|| Ok(())).is_err());
    Ok(())
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
fn a_subscriber_that_panics_at_a_query_changes_nothing() {
    const NAME: &str = "a_subscriber_that_panics_at_a_query_changes_nothing";
    // Of each new place of a span or event, all subscribers of the process are asked.
    alone(NAME, || {
        let ends = || (every_kind_of_end(), taskgroup::abandon(|| 1).ok());
        let expected = with_default(&Dispatch::none(), ends);
        for hostile in [
            Query::Register,
            Query::Enabled,
            Query::EventEnabled,
            Query::Current,
            Query::Clone,
            Query::Follows,
        ] {
            let state = Arc::new((AtomicBool::new(false), AtomicUsize::new(0)));
            let theirs = state.clone();
            let (dispatch, _) = Recorder::querying(Level::TRACE, move |query| {
                let (is_on, calls) = &*theirs;
                if query == hostile && is_on.load(SeqCst) {
                    calls.fetch_add(1, SeqCst);
                    panic!("the subscriber panics at {query:?}");
                }
            });
            let (is_on, calls) = &*state;
            let seen = with_default(&dispatch, || {
                let _callers = info_span!("caller").entered();
                is_on.store(true, SeqCst);
                ends()
            });
            // A thread that ends may keep the subscriber, which is then asked for the next one too.
            is_on.store(false, SeqCst);
            assert_eq!(seen, expected, "{hostile:?}");
            assert!(calls.load(SeqCst) > 0, "{hostile:?} is never called");
        }
    });
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
