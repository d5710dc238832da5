//! Callbacks that panic, and captures of callbacks that panic as they are dropped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

use taskgroup::{CancelToken, FailureKind, GroupError, TaskGroup};

use super::Record;
use crate::support::{Bomb, LONG, panic_messages, traced_errors};

#[test]
fn a_panicking_callback_stops_no_other_and_is_traced() {
    let record = Record::default();
    let token = CancelToken::new();
    let (cancelled, traced) = traced_errors(|| {
        let _guards = (
            token.on_cancel(record.entry(1)),
            token.on_cancel(|| panic!("callback two")),
            token.on_cancel(record.entry(3)),
            token.on_cancel(|| panic!("callback four")),
        );
        catch_unwind(|| token.cancel())
    });
    assert!(cancelled.expect("a panic of a callback does not come out of cancel"));
    assert_eq!(record.entries(), [3, 1]);
    for message in ["callback two", "callback four"] {
        assert!(
            traced.iter().any(|event| event.contains(message)),
            "{message}: {traced:?}"
        );
    }
}

#[test]
fn panics_of_several_callbacks_are_failures_of_the_group_with_the_token() {
    let error = TaskGroup::scope(|g| {
        let _one = g.token().on_cancel(|| panic!("callback one"));
        let _two = g.token().on_cancel(|| panic!("callback two"));
        g.cancel();
        Ok(())
    })
    .unwrap_err();
    let panics = panic_messages(&error);
    assert_eq!(panics, ["callback two", "callback one"]);
    assert!(
        error
            .failures()
            .iter()
            .all(|failure| matches!(failure.kind(), FailureKind::Panic(_)))
    );
}

#[test]
fn a_callback_registered_late_that_panics_does_not_harm_the_registering_thread() {
    let (registered, traced) = traced_errors(|| {
        let token = CancelToken::new();
        token.cancel();
        catch_unwind(AssertUnwindSafe(|| {
            drop(token.on_cancel(|| panic!("inline callback")))
        }))
    });
    assert!(registered.is_ok());
    assert!(
        traced.iter().any(|event| event.contains("inline callback")),
        "{traced:?}"
    );
}

#[test]
fn a_callback_of_a_task_that_panics_is_a_failure_of_its_group() {
    for (kept, daemon) in [(true, false), (false, false), (true, true), (false, true)] {
        let error = TaskGroup::scope(|g| {
            let (registered, is_registered) = mpsc::channel();
            let task = move || {
                let token = taskgroup::current_token().expect("a task has a token");
                token.on_cancel(|| panic!("in a callback")).forget();
                registered.send(())?;
                taskgroup::sleep(LONG)?;
                Ok(())
            };
            let handle = if daemon {
                g.spawn_daemon(task)
            } else {
                g.spawn(task)
            };
            let handle = kept.then_some(handle);
            is_registered.recv()?;
            g.cancel();
            drop(handle);
            Ok(())
        })
        .expect_err("the callback panics");
        let panics = panic_messages(&error);
        assert_eq!(panics, ["in a callback"], "kept: {kept}, daemon: {daemon}");
    }
}

#[test]
fn destructors_of_forgotten_callbacks_that_panic_are_logged_each() {
    let ((), logged) = traced_errors(|| {
        let token = CancelToken::new();
        for text in ["first", "second"] {
            let bomb = Bomb(text);
            token.on_cancel(move || drop(bomb)).forget();
        }
    });
    assert_eq!(logged.len(), 2, "{logged:?}");
    assert!(
        logged[0].contains("second") && logged[1].contains("first"),
        "{logged:?}"
    );
}

#[test]
fn a_callback_with_a_capture_that_panics_as_its_token_goes_harms_no_task() -> Result<(), GroupError>
{
    for dedicated in [false, true] {
        let value = TaskGroup::scope(|g| {
            let task = || {
                let bomb = Bomb("the token is dropped");
                let token = taskgroup::current_token().expect("a task has one");
                token.on_cancel(move || drop(bomb)).forget();
                Ok(1)
            };
            let handle = if dedicated {
                g.task().dedicated().spawn(task)
            } else {
                g.spawn(task)
            };
            handle.wait()?;
            Ok(handle.join()?)
        })?;
        assert_eq!(value, 1);
    }
    Ok(())
}
