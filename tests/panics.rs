//! Panics: of tasks, of the body, and of the destructors of captures, results and payloads.

mod support;

use std::any::Any;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::Barrier;

use support::{Bomb, Drops, Gate, blocked, spawn_holder, traced_errors};
use taskgroup::{
    CancelCause, FailureKind, GroupError, OnFailure, OnPanic, PanicPayload, TaskGroup, TaskStatus,
};

fn caught<T>(f: impl FnOnce() -> T) -> Box<dyn Any + Send> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(_) => panic!("the scope returned instead of resuming a panic"),
        Err(payload) => payload,
    }
}

fn messages(error: &GroupError) -> Vec<&str> {
    error.panics().map(PanicPayload::message).collect()
}

fn payload_of(f: impl FnOnce() + Send) -> PanicPayload {
    let error = TaskGroup::scope(|g| {
        g.spawn(|| {
            f();
            Ok(())
        });
        Ok(())
    })
    .unwrap_err();
    match error
        .into_failures()
        .pop()
        .expect("the task panicked")
        .into_kind()
    {
        FailureKind::Panic(payload) => payload,
        other => panic!("not a panic: {other:?}"),
    }
}

#[test]
fn literal_and_formatted_messages_are_kept() {
    let literal = payload_of(|| panic!("literal"));
    assert_eq!(literal.message(), "literal");
    assert_eq!(
        literal.into_inner().downcast_ref::<&str>(),
        Some(&"literal")
    );
    let index = std::hint::black_box(3);
    let formatted = payload_of(|| panic!("{index} of 2"));
    assert_eq!(formatted.message(), "3 of 2");
    assert_eq!(
        formatted
            .into_inner()
            .downcast_ref::<String>()
            .map(String::as_str),
        Some("3 of 2")
    );
}

#[test]
fn an_error_as_payload_is_kept_and_shown() {
    let payload = payload_of(|| panic_any(Box::<dyn Error + Send + Sync>::from("disk on fire")));
    assert!(
        payload.message().contains("disk on fire"),
        "{}",
        payload.message()
    );
    let error = payload
        .into_inner()
        .downcast::<Box<dyn Error + Send + Sync>>()
        .expect("the payload is the box");
    assert_eq!(error.to_string(), "disk on fire");
}

#[test]
fn a_payload_of_any_type_is_kept_and_shown_somehow() {
    let payload = payload_of(|| panic_any(17_u64));
    assert!(!payload.message().is_empty());
    assert_eq!(payload.into_inner().downcast_ref::<u64>(), Some(&17));
}

#[test]
fn resuming_a_collected_payload_gives_the_same_value() {
    let payload = payload_of(|| panic_any(17_u64));
    assert_eq!(caught(|| payload.resume()).downcast_ref::<u64>(), Some(&17));
    let error = TaskGroup::scope(|g| {
        g.spawn(|| -> anyhow::Result<()> { panic_any(18_u64) });
        Ok(())
    })
    .unwrap_err();
    assert_eq!(
        caught(|| error.resume_panic()).downcast_ref::<u64>(),
        Some(&18)
    );
}

#[test]
fn a_panic_cancels_siblings_at_once_and_not_at_join() {
    let started = Barrier::new(3);
    let mut seen = None;
    let error = TaskGroup::scope(|g| {
        let sibling = g.spawn(|| -> anyhow::Result<()> {
            started.wait();
            Err(blocked().into())
        });
        g.task().name("thrower").spawn(|| -> anyhow::Result<()> {
            started.wait();
            panic!("thrown")
        });
        started.wait();
        seen = Some(blocked());
        assert_eq!(taskgroup::shield(|| sibling.wait())?, TaskStatus::Cancelled);
        Ok(())
    })
    .unwrap_err();
    assert_eq!(
        (messages(&error), error.failures().len()),
        (vec!["thrown"], 1)
    );
    match seen.expect("the body was woken").cause() {
        CancelCause::TaskPanicked { task, message, .. } => {
            assert_eq!(
                (task.name.as_deref(), message.as_str()),
                (Some("thrower"), "thrown")
            );
        }
        other => panic!("not the panic of the task: {other:?}"),
    }
}

#[test]
fn every_panic_is_collected() {
    let started = Barrier::new(6);
    let error = TaskGroup::scope(|g| {
        for n in 0..6 {
            let started = &started;
            g.spawn(move || -> anyhow::Result<()> {
                started.wait();
                panic!("{n}")
            });
        }
        Ok(())
    })
    .unwrap_err();
    let mut all = messages(&error);
    all.sort_unstable();
    assert_eq!(all, ["0", "1", "2", "3", "4", "5"]);
}

#[test]
fn resume_resumes_the_first_payload_and_traces_the_other_failures() {
    let ended = Drops::default();
    let started = Barrier::new(3);
    let (payload, traced) = traced_errors(|| {
        caught(|| {
            TaskGroup::builder().on_panic(OnPanic::Resume).scope(|g| {
                let last = ended.counted();
                g.spawn(|| -> anyhow::Result<()> {
                    started.wait();
                    panic_any(1_u32)
                });
                g.spawn(|| -> anyhow::Result<()> {
                    let _last = last;
                    started.wait();
                    blocked();
                    panic!("the second panic")
                });
                started.wait();
                Ok(())
            })
        })
    });
    assert_eq!(payload.downcast_ref::<u32>(), Some(&1));
    assert_eq!(
        ended.count(),
        1,
        "the scope resumed before its tasks had ended"
    );
    assert!(
        traced
            .iter()
            .any(|event| event.contains("the second panic")),
        "{traced:?}"
    );
}

#[test]
fn resume_returns_errors_where_nothing_panicked() {
    let error = TaskGroup::builder()
        .on_panic(OnPanic::Resume)
        .scope(|g| {
            g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("an error is not a panic") });
            Ok(())
        })
        .unwrap_err();
    assert_eq!(
        error.errors().map(ToString::to_string).collect::<Vec<_>>(),
        ["an error is not a panic"]
    );
}

#[test]
fn a_panic_of_the_body_resumes_after_all_tasks_ended() {
    let ended = Drops::default();
    let started = Barrier::new(2);
    let mut cause = None;
    let payload = caught(|| {
        TaskGroup::scope(|g| -> anyhow::Result<()> {
            let last = ended.counted();
            let (started, cause) = (&started, &mut cause);
            g.spawn(move || {
                let _last = last;
                started.wait();
                let cancelled = blocked();
                *cause = Some(cancelled.cause().clone());
                Err::<(), _>(cancelled.into())
            });
            started.wait();
            panic_any("the body")
        })
    });
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"the body"));
    assert_eq!(ended.count(), 1);
    assert!(
        matches!(cause, Some(CancelCause::BodyPanicked)),
        "{cause:?}"
    );
}

#[test]
fn failures_hidden_by_a_panic_of_the_body_are_traced() {
    struct CleanUp;
    impl Drop for CleanUp {
        fn drop(&mut self) {
            panic!("clean-up of the body");
        }
    }
    let (payload, traced) = traced_errors(|| {
        caught(|| {
            TaskGroup::scope(|g| -> anyhow::Result<()> {
                let _clean_up = CleanUp;
                g.task()
                    .name("uploader")
                    .spawn(|| -> anyhow::Result<()> { anyhow::bail!("quota exceeded") });
                Err(blocked().into())
            })
        })
    });
    assert_eq!(
        payload.downcast_ref::<&str>(),
        Some(&"clean-up of the body")
    );
    assert!(
        traced.iter().any(|event| event.contains("quota exceeded")),
        "{traced:?}"
    );
}

#[test]
fn a_tasks_panicking_clean_up_stands_beside_the_first_failure() {
    let started = Barrier::new(2);
    let error = TaskGroup::scope(|g| {
        g.spawn(|| -> anyhow::Result<()> {
            started.wait();
            blocked();
            panic!("clean-up of the task")
        });
        started.wait();
        Err::<(), _>(anyhow::anyhow!("the first failure"))
    })
    .unwrap_err();
    assert_eq!(error.failures().len(), 2);
    assert!(
        error
            .primary()
            .is_some_and(|failure| failure.task().is_none() && !failure.after_cancel())
    );
    let second = &error.failures()[1];
    assert!(second.after_cancel());
    assert!(matches!(
        second.kind(),
        FailureKind::Panic(panic) if panic.message() == "clean-up of the task"
    ));
}

#[test]
fn collecting_panics_keeps_siblings_running() {
    let mut after = None;
    let error = TaskGroup::builder()
        .on_failure(OnFailure::Collect)
        .scope(|g| {
            let panicking = g.spawn(|| -> anyhow::Result<()> { panic!("one") });
            assert_eq!(panicking.wait()?, TaskStatus::Panicked);
            after = Some(g.spawn(|| Ok(taskgroup::checkpoint().is_ok())).join()?);
            Ok(())
        })
        .unwrap_err();
    assert_eq!((messages(&error), after), (vec!["one"], Some(true)));
}

#[test]
fn a_panicking_destructor_of_a_capture_is_reported() {
    let error = TaskGroup::scope(|g| {
        let bomb = Bomb("capture of a task that ran");
        g.spawn(move || {
            let _own = &bomb;
            Ok(())
        });
        Ok(())
    })
    .unwrap_err();
    assert_eq!(messages(&error), ["capture of a task that ran"]);
}

#[test]
fn a_panicking_destructor_of_a_capture_that_never_ran_is_reported() {
    let error = TaskGroup::scope(|g| {
        g.cancel();
        let bomb = Bomb("capture of a task that never ran");
        let task = g.spawn(move || {
            let _own = &bomb;
            Ok(())
        });
        assert_eq!(task.status(), TaskStatus::NeverRan);
        Ok(())
    })
    .unwrap_err();
    assert_eq!(messages(&error), ["capture of a task that never ran"]);
}

#[test]
fn a_panicking_destructor_of_a_queued_capture_is_reported_when_cancel_empties_the_queue() {
    let (running, leave) = (Gate::default(), Gate::default());
    let error = TaskGroup::builder()
        .limit(1)
        .scope(|g| {
            spawn_holder(g, &running, &leave);
            let bomb = Bomb("capture in the queue");
            g.spawn(move || {
                let _own = &bomb;
                Ok(())
            });
            g.cancel();
            leave.open();
            Ok(())
        })
        .unwrap_err();
    assert_eq!(messages(&error), ["capture in the queue"]);
}

#[test]
fn a_panicking_destructor_of_an_unwanted_result_is_reported() {
    let go = Gate::default();
    let error = TaskGroup::scope(|g| {
        drop(g.spawn(|| {
            go.wait();
            Ok(Bomb("result"))
        }));
        go.open();
        Ok(())
    })
    .unwrap_err();
    assert_eq!(messages(&error), ["result"]);
}

#[test]
fn a_panicking_destructor_of_an_unwanted_payload_goes_to_the_log_and_no_further()
-> Result<(), GroupError> {
    let go = Gate::default();
    TaskGroup::scope(|g| {
        drop(g.spawn_isolated(|| -> anyhow::Result<()> {
            go.wait();
            resume_unwind(Box::new(Bomb("payload")))
        }));
        go.open();
        Ok(())
    })
}

#[test]
fn a_payload_with_a_panicking_destructor_does_not_hide_the_bodys_panic() {
    let payload = caught(|| {
        TaskGroup::scope(|g| -> anyhow::Result<()> {
            g.spawn(|| -> anyhow::Result<()> { resume_unwind(Box::new(Bomb("payload"))) });
            blocked();
            panic_any("the body")
        })
    });
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"the body"));
}

#[cfg(unix)]
#[test]
fn abort_ends_the_process() {
    use std::os::unix::process::ExitStatusExt as _;

    if support::is_child() {
        let _ = TaskGroup::builder().on_panic(OnPanic::Abort).scope(|g| {
            g.spawn(|| -> anyhow::Result<()> { panic!("fatal in a task") });
            Ok(())
        });
        return;
    }
    let output = support::run_in_child("abort_ends_the_process");
    assert_eq!(output.status.signal(), Some(6), "{}", output.status);
    assert!(String::from_utf8_lossy(&output.stderr).contains("fatal in a task"));
}

#[test]
fn a_panicking_destructor_of_the_bodys_lost_value_stands_beside_the_failure() {
    let error = TaskGroup::scope(|g| {
        g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("crash") });
        Ok(Bomb("value of the body"))
    })
    .map(drop)
    .unwrap_err();
    assert_eq!(
        error.errors().map(ToString::to_string).collect::<Vec<_>>(),
        ["crash"]
    );
    assert_eq!(messages(&error), ["value of the body"]);
    assert!(error.body().is_some_and(taskgroup::Failure::after_cancel));
}

#[test]
fn a_panicking_destructor_of_a_result_that_came_before_its_handle_went_is_reported() {
    let error = TaskGroup::scope(|g| {
        let task = g.spawn(|| Ok(Bomb("result")));
        assert_eq!(task.wait()?, TaskStatus::Finished);
        drop(task);
        Ok(())
    })
    .unwrap_err();
    assert_eq!(messages(&error), ["result"]);
    assert!(error.failures()[0].task().is_some());
}

#[test]
fn a_panicking_destructor_of_an_error_that_only_says_cancelled_is_the_bodys() {
    /// An error that carries a cancel and has a destructor that panics.
    #[derive(Debug)]
    struct Explosive(
        taskgroup::Cancelled,
        #[allow(dead_code, reason = "held for its drop")] Bomb,
    );
    impl std::fmt::Display for Explosive {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.0.fmt(f)
        }
    }
    impl From<taskgroup::Cancelled> for Explosive {
        fn from(cancelled: taskgroup::Cancelled) -> Self {
            Explosive(cancelled, Bomb("error of the body"))
        }
    }
    impl taskgroup::TaskError for Explosive {
        fn cancelled(&self) -> Option<&taskgroup::Cancelled> {
            Some(&self.0)
        }
    }
    let error = TaskGroup::builder()
        .error_type::<Explosive>()
        .scope(|g| {
            g.cancel();
            Ok(taskgroup::checkpoint()?)
        })
        .unwrap_err();
    assert_eq!(
        error
            .panics()
            .map(PanicPayload::message)
            .collect::<Vec<_>>(),
        ["error of the body"]
    );
    assert!(error.body().is_some(), "{error:#}");
}

/// A value whose destructor panics during an unwinding as well.
struct Blast;

impl Drop for Blast {
    fn drop(&mut self) {
        panic!("a destructor");
    }
}

/// Maps eight items over a function that turns each into a result. Every destructor panics, and so
/// does or fails, at item 3, what `fails` names.
fn map_of_bombs(fails: &'static str) -> Result<Vec<Blast>, GroupError> {
    let items = (0..8).map(|n| {
        assert!(n < 3 || fails != "input", "the input");
        (n, Blast)
    });
    taskgroup::map(items, 1, |(n, item)| {
        std::mem::forget(item);
        match fails {
            "call" if n == 3 => panic!("the call"),
            "result" if n == 3 => Err(anyhow::anyhow!("the result")),
            _ => Ok(Blast),
        }
    })
}

#[test]
fn panicking_destructors_of_a_whole_maps_values_are_contained() {
    let error = map_of_bombs("result").map(std::mem::forget).unwrap_err();
    let texts: Vec<_> = error.errors().map(ToString::to_string).collect();
    assert_eq!(
        (texts, error.failures().len()),
        (vec!["the result".to_owned()], 1)
    );

    let error = map_of_bombs("call").map(std::mem::forget).unwrap_err();
    assert_eq!(messages(&error), ["the call"]);

    let payload = caught(|| map_of_bombs("input").map(std::mem::forget));
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"the input"));
}
