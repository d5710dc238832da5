//! The events, and the fields that are recorded at the end.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use taskgroup::{CancelToken, GroupError, OnFailure, TaskGroup};
use tracing::Level;
use tracing::dispatcher::{set_default, with_default};

use super::{every_kind_of_end, task};
use crate::recorder::{Recorder, SpanSeen};
use crate::support::{Gate, blocked, until};

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
        assert_end_is_recorded(task(&spans, name), name);
    }
    let groups = recording.ours("group");
    assert_eq!(groups[0].fields["outcome"], "failed");
    assert!(groups[0].fields.contains_key("ran"));
    assert!(groups[0].fields.contains_key("cancel_to_end"));
    assert!(groups[0].is_closed());
}

/// The span of a task with this outcome is closed, and has the fields of the outcome, each recorded
/// once.
fn assert_end_is_recorded(span: &SpanSeen, outcome: &str) {
    assert_eq!(span.fields["outcome"], outcome);
    assert!(span.is_closed(), "{outcome}");
    let mut once = span.recorded.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), span.recorded.len(), "{outcome}: {once:?}");

    let ran = !["never_ran", "refused"].contains(&outcome);
    let cancelled = !["finished", "failed", "panicked"].contains(&outcome);
    assert!(span.fields["queued"].parse::<f64>().unwrap() >= 0.0);
    assert_eq!(span.fields.contains_key("ran"), ran, "{outcome}");
    let saw_it = span.fields.contains_key("cancel_to_sight");
    assert_eq!(saw_it, outcome == "cancelled", "{outcome}");
    assert_eq!(
        span.fields.contains_key("cancel_to_end"),
        cancelled,
        "{outcome}"
    );
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
