//! A subscriber that panics: nothing is lost by that but the event that it was told.

mod support;

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use support::{Bomb, Drops, Gate, Listener, until};
use taskgroup::{CancelToken, GroupError, OnFailure, TaskGroup, TaskStatus, abandon, channel};
use tracing::Level;

/// The events that the subscriber has seen.
static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Gives the process a subscriber that keeps all that it is told, and panics with a payload that
/// panics again when it is dropped.
fn hostile() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hostile = Listener {
            level: Level::TRACE,
            hears: |event| {
                TOLD.lock().unwrap().push(event);
                panic_any(Bomb("the payload of the subscriber"));
            },
        };
        tracing::subscriber::set_global_default(hostile).expect("no other test sets one")
    });
}

/// Whether the subscriber has been told something that has all of `texts` in it.
fn told(texts: &[&str]) -> bool {
    TOLD.lock()
        .unwrap()
        .iter()
        .any(|event| texts.iter().all(|text| event.contains(text)))
}

fn message_of<T>(f: impl FnOnce() -> T) -> String {
    let payload = catch_unwind(AssertUnwindSafe(|| drop(f()))).expect_err("it panics");
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or(payload.downcast_ref().cloned())
        .expect("it has a text")
}

/// A process says by which signal it has ended.
#[cfg(unix)]
mod abort {
    use std::fmt;
    use std::os::unix::process::ExitStatusExt as _;

    use super::hostile;
    use super::support::{self, Bomb};
    use taskgroup::{Cancelled, OnPanic, TaskError, TaskGroup};

    /// The cancel of a scope, in an error with a destructor that panics.
    #[derive(Debug)]
    struct Fragile(
        Cancelled,
        #[allow(dead_code, reason = "kept for its drop")] Bomb,
    );

    impl From<Cancelled> for Fragile {
        fn from(cancelled: Cancelled) -> Self {
            Fragile(cancelled, Bomb("the destructor of the error"))
        }
    }

    impl fmt::Display for Fragile {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.fmt(f)
        }
    }

    impl TaskError for Fragile {
        fn cancelled(&self) -> Option<&Cancelled> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_panic_that_is_to_end_the_process_does() {
        if support::is_child() {
            hostile();
            let _ = TaskGroup::builder()
                .error_type::<Fragile>()
                .on_panic(OnPanic::Abort)
                .scope(|g| {
                    g.cancel();
                    taskgroup::checkpoint().map_err(Fragile::from)
                });
            return;
        }
        let output = support::run_in_child("abort::a_panic_that_is_to_end_the_process_does");
        assert_eq!(output.status.signal(), Some(6), "{}", output.status);
    }
}

#[test]
fn every_message_of_a_channel_is_dropped_and_the_first_panic_is_raised() {
    hostile();
    let drops = Drops::default();
    let (sender, receiver) = channel::unbounded();
    for text in ["first message", "second message", "third message"] {
        sender
            .send((drops.counted(), Bomb(text)))
            .map_err(|_| "refused")
            .expect("there is a receiver");
    }
    assert_eq!(message_of(|| drop(receiver)), "first message");
    assert_eq!(drops.count(), 3);
    assert!(told(&["the drop of a message panicked", "second message"]));
    assert!(told(&["the drop of a message panicked", "third message"]));
}

#[derive(Debug)]
struct Nested {
    #[allow(dead_code, reason = "kept for its drop")]
    bomb: Bomb,
    below: Option<GroupError>,
}

impl fmt::Display for Nested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nested")
    }
}

impl Error for Nested {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.below
            .as_ref()
            .map(|below| below as &(dyn Error + 'static))
    }
}

fn failed_with(text: &'static str, below: Option<GroupError>) -> GroupError {
    let error = Nested {
        bomb: Bomb(text),
        below,
    };
    TaskGroup::scope(|_| -> anyhow::Result<()> { Err(error.into()) }).expect_err("the body fails")
}

#[test]
fn every_error_of_a_report_is_dropped_and_the_first_panic_is_raised() {
    hostile();
    let mut report = None;
    for bomb in ["third error", "second error", "first error"] {
        report = Some(failed_with(bomb, report.take()));
    }
    assert_eq!(message_of(|| drop(report)), "first error");
    assert!(told(&[
        "the destructor of an error panicked, and another panic hides it"
    ]));
    // The next report is not held back.
    assert_eq!(
        message_of(|| drop(failed_with("fourth error", None))),
        "fourth error"
    );
}

#[derive(Debug)]
struct Unprintable;

impl fmt::Display for Unprintable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no text")
    }
}

impl Error for Unprintable {}

#[test]
fn a_panic_of_the_body_is_raised_whatever_it_hides() {
    hostile();
    let raised = message_of(|| {
        TaskGroup::builder()
            .on_failure(OnFailure::Collect)
            .scope(|g| -> anyhow::Result<()> {
                g.spawn(|| -> anyhow::Result<()> { Err(Unprintable.into()) })
                    .wait()?;
                g.spawn(|| -> anyhow::Result<()> {
                    Err(Nested {
                        bomb: Bomb("a hidden error"),
                        below: None,
                    }
                    .into())
                })
                .wait()?;
                panic!("the body")
            })
    });
    assert_eq!(raised, "the body");
    assert!(told(&[
        "hides this failure",
        "the text of its error is not available",
        "no text"
    ]));
    assert!(told(&[
        "the drop of a failure that a panic hides panicked",
        "a hidden error"
    ]));
}

#[test]
fn an_isolated_failure_that_is_never_taken_is_logged_and_harms_no_worker() -> Result<(), GroupError>
{
    hostile();
    for kept in [false, true] {
        TaskGroup::scope(|g| {
            let task = g
                .task()
                .name("unprintable")
                .spawn_isolated(|| -> anyhow::Result<()> { Err(Unprintable.into()) });
            if kept {
                assert_eq!(task.wait()?, TaskStatus::Failed);
            }
            drop(task);
            Ok(())
        })?;
    }
    let text = "the failure of an isolated task was never taken out of its handle";
    let events = TOLD
        .lock()
        .unwrap()
        .iter()
        .filter(|event| event.contains(text) && event.contains("unprintable"))
        .count();
    assert_eq!(events, 2);
    Ok(())
}

#[test]
fn a_timer_thread_lives_on_after_a_callback_that_panics() {
    hostile();
    let fired = Arc::new(Gate::default());
    let [first, second] = [(); 2].map(|()| CancelToken::new());
    first
        .on_cancel(|| panic!("a callback on the timer thread"))
        .forget();
    first.cancel_after(Duration::from_millis(1));
    until(|| {
        told(&[
            "a cancel callback panicked",
            "a callback on the timer thread",
        ])
    });
    let theirs = fired.clone();
    second.on_cancel(move || theirs.open()).forget();
    second.cancel_after(Duration::from_millis(1));
    fired.wait();
}

#[test]
fn a_token_that_is_freed_on_a_worker_harms_no_worker() -> Result<(), GroupError> {
    hostile();
    TaskGroup::scope(|g| {
        for _ in 0..8 {
            g.spawn(|| {
                let own = taskgroup::current_token().expect("a task is in a scope");
                let bomb = Bomb("the capture of a callback");
                own.on_cancel(move || drop(bomb)).forget();
                Ok(())
            });
        }
        Ok(())
    })?;
    until(|| {
        told(&[
            "the drop of a cancel callback panicked",
            "the capture of a callback",
        ])
    });
    TaskGroup::scope(|g| Ok(g.spawn(|| Ok(())).join()?))
}

#[test]
fn a_thread_that_was_left_behind_is_counted_out() {
    hostile();
    let (begun, leave) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
    let outcome = TaskGroup::scope(|g| {
        let (begun_there, leave_there) = (begun.clone(), leave.clone());
        let task = g.spawn(move || {
            let outcome = abandon(move || {
                begun_there.open();
                leave_there.wait();
                panic!("left behind")
            });
            Ok(outcome?)
        });
        begun.wait();
        task.cancel_and_wait()?;
        Ok(())
    });
    assert!(outcome.is_ok());
    assert_eq!(taskgroup::abandoned().len(), 1);
    leave.open();
    until(|| taskgroup::abandoned().is_empty());
    assert!(told(&["an abandoned thread panicked", "left behind"]));
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_abandoned_runs_all_the_same() {
    const TEST: &str = "what_cannot_be_abandoned_runs_all_the_same";
    if support::is_child() {
        hostile();
        let leave = Arc::new(Gate::default());
        let wait = || {
            let leave = leave.clone();
            std::thread::Builder::new().spawn(move || leave.wait())
        };
        while wait().is_ok() {}
        assert_eq!(abandon(|| 3).expect("outside of any scope"), 3);
        assert!(told(&["no thread for `abandon`"]));
        leave.open();
        return;
    }
    let output = support::run_in_small_child_with_stacks(TEST, 1 << 20, 340 << 20);
    support::assert_passed(&output);
}
