//! The contexts that a call is cut in, and what each says of the cancel.

mod before;
mod tasks;
mod time;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use taskgroup::{
    CancelCause, CancelToken, Cancelled, FailureKind, GroupError, TaskGroup, TokenId,
    with_cancel_hook,
};

use before::{
    a_cancelled_scope_in_a_shield, a_deadline_that_has_passed, a_destructor_in_a_cancelled_scope,
    a_grace_that_is_over, a_token_that_was_cancelled, the_body_of_a_cancelled_group,
};
use tasks::{
    a_body_that_fails, a_daemon, a_dedicated_task, a_destructor_during_unwinding,
    a_group_inside_a_group, a_limited_group_that_is_cancelled, a_map_that_is_dropped,
    a_race_that_is_lost, a_sibling_that_fails, a_sibling_that_panics,
    a_task_alone_in_a_limited_group, an_unordered_map, the_body_of_a_task_that_fails,
};
use time::{
    a_deadline_inside_a_shield, a_deadline_that_is_moved, a_grace_that_ends, a_graceful_cancel,
    a_region_that_winds_down, a_shield_that_ends, a_timeout_in_a_cancelled_scope,
    a_token_inside_a_shield, the_deadline_of_a_timeout, the_inner_of_two_deadlines,
    the_outer_of_two_deadlines,
};

use crate::blocked::Seen;

/// A call that no event but a cancel ends.
pub(crate) type Call<'c> = &'c mut (dyn FnMut() -> io::Result<()> + Send);

/// Runs a call where something cancels it, and fails unless the call returns that cancel.
pub(crate) type Context = fn(Call<'_>);

/// Longer than a call needs to end after its cancel, on a machine with much else to do.
const PROMPT: Duration = Duration::from_secs(20);

/// A deadline that passes while the call is blocked, or before it is on a slow machine.
const SOON: Duration = Duration::from_millis(2);

/// Contexts with a cancel that comes while the call is blocked.
pub(crate) const INSIDE: &[(&str, Context)] = &[
    ("a cancelled token", a_cancelled_token),
    ("the deadline of a timeout", the_deadline_of_a_timeout),
    (
        "a timeout in a cancelled scope",
        a_timeout_in_a_cancelled_scope,
    ),
    ("the inner of two deadlines", the_inner_of_two_deadlines),
    ("the outer of two deadlines", the_outer_of_two_deadlines),
    ("a deadline that is moved", a_deadline_that_is_moved),
    ("a token inside a shield", a_token_inside_a_shield),
    ("a deadline inside a shield", a_deadline_inside_a_shield),
    ("a shield that ends", a_shield_that_ends),
    ("a region that winds down", a_region_that_winds_down),
    ("a grace that ends", a_grace_that_ends),
    ("a graceful cancel", a_graceful_cancel),
    ("a sibling that fails", a_sibling_that_fails),
    ("a sibling that panics", a_sibling_that_panics),
    ("a body that fails", a_body_that_fails),
    (
        "the body of a task that fails",
        the_body_of_a_task_that_fails,
    ),
    (
        "a destructor during unwinding",
        a_destructor_during_unwinding,
    ),
    (
        "a task cancelled alone in a limited group",
        a_task_alone_in_a_limited_group,
    ),
    (
        "a limited group that is cancelled",
        a_limited_group_that_is_cancelled,
    ),
    ("an unordered map", an_unordered_map),
    ("a map that is dropped", a_map_that_is_dropped),
    ("a dedicated task", a_dedicated_task),
    (
        "a token of others inside a task",
        a_token_of_others_inside_a_task,
    ),
    (
        "a group around a token of others",
        a_group_around_a_token_of_others,
    ),
    ("a cancel hook", a_cancel_hook),
    ("a daemon", a_daemon),
    ("a group inside a group", a_group_inside_a_group),
    ("a race that is lost", a_race_that_is_lost),
];

/// Contexts that are cancelled before the call.
pub(crate) const BEFORE: &[(&str, Context)] = &[
    ("a token that was cancelled", a_token_that_was_cancelled),
    ("a deadline that has passed", a_deadline_that_has_passed),
    (
        "the body of a cancelled group",
        the_body_of_a_cancelled_group,
    ),
    (
        "a cancelled scope in a shield",
        a_cancelled_scope_in_a_shield,
    ),
    ("a grace that is over", a_grace_that_is_over),
    (
        "a destructor in a cancelled scope",
        a_destructor_in_a_cancelled_scope,
    ),
];

/// The side of the thread that blocks.
struct Inside {
    begins: mpsc::Sender<Seen>,
    ends: mpsc::Sender<Cancelled>,
}

/// The side of the thread that cancels. No cancel reaches its waits.
struct Outside {
    begun: mpsc::Receiver<Seen>,
    ended: mpsc::Receiver<Cancelled>,
}

fn sides() -> (Inside, Outside) {
    let (begins, begun) = mpsc::channel();
    let (ends, ended) = mpsc::channel();
    (Inside { begins, ends }, Outside { begun, ended })
}

impl Inside {
    /// Calls, tells the other side of the cancel, and returns the error.
    fn call(self, call: Call<'_>) -> io::Result<()> {
        self.begins.send(Seen::here()).expect("the test waits");
        let error = call().expect_err("nothing comes that the call waits for");
        let cancelled = the_cancel(&error);
        self.ends.send(cancelled).expect("the test waits");
        Err(error)
    }
}

impl Outside {
    /// Waits until the call is blocked, and returns its thread.
    fn until_blocked(&self) -> Seen {
        let seen = self.begun.recv_timeout(PROMPT).expect("the call begins");
        seen.until_asleep();
        seen
    }

    /// Returns the cancel that has ended the call. It comes promptly.
    fn cancel(&self) -> Cancelled {
        let cancelled = self.ended.recv_timeout(PROMPT);
        cancelled.expect("the cancel ends the call")
    }

    /// Returns whether the call is still blocked, as far as a short wait can tell.
    fn is_blocked(&self) -> bool {
        self.ended.recv_timeout(SOON).is_err()
    }
}

/// Returns the cancel in an error, which has to be in the place where all errors of the crate's
/// I/O have it.
#[track_caller]
fn the_cancel(error: &io::Error) -> Cancelled {
    assert_eq!(error.kind(), io::ErrorKind::Other, "{error:?}");
    match Cancelled::find(error) {
        Some(cancelled) => cancelled.clone(),
        None => panic!("no cancel: {error:?}"),
    }
}

#[track_caller]
fn expect(cancelled: &Cancelled, origin: TokenId, cause: &str) {
    assert_eq!(cancelled.cause().to_string(), cause);
    assert_eq!(cancelled.origin(), origin, "{cancelled}");
}

#[track_caller]
fn expect_deadline(cancelled: &Cancelled) {
    let cause = cancelled.cause();
    assert!(matches!(cause, CancelCause::Deadline { .. }), "{cause:?}");
}

/// Fails unless a group reports this failure and no other.
#[track_caller]
fn expect_only<T>(outcome: Result<T, GroupError>, failure: &str) {
    let report = outcome.err().expect("the group has failed");
    let failures: Vec<_> = report.failures().iter().map(ToString::to_string).collect();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(failures[0].contains(failure), "{failures:?}");
}

/// Runs `around` on a thread, with the call, and `cancel` on this one once the call is blocked.
fn blocked_on_a_thread(
    call: Call<'_>,
    around: impl FnOnce(&mut dyn FnMut() -> io::Result<()>) + Send,
    cancel: impl FnOnce(&Outside, Seen),
) {
    let (inside, outside) = sides();
    thread::scope(|threads| {
        threads.spawn(|| {
            let mut inside = Some(inside);
            around(&mut || inside.take().expect("it is called once").call(call));
        });
        let seen = outside.until_blocked();
        cancel(&outside, seen);
    });
}

fn a_cancelled_token(call: Call<'_>) {
    let token = CancelToken::new();
    blocked_on_a_thread(
        call,
        |call| drop(token.run(call)),
        |outside, _| {
            token.cancel_because("stop");
            expect(&outside.cancel(), token.id(), "stop");
        },
    );
}

fn a_token_of_others_inside_a_task(call: Call<'_>) {
    let (inside, outside) = sides();
    let token = CancelToken::new();
    let outcome = TaskGroup::scope(|g| {
        g.spawn(|| Ok(token.run(|| inside.call(call))?));
        outside.until_blocked();
        token.cancel_because("by others");
        expect(&outside.cancel(), token.id(), "by others");
        Ok(())
    });
    // The cancel is not the group's, so the task has failed.
    let report = outcome.expect_err("the task has failed");
    let [failure] = report.failures() else {
        panic!("{report:?}");
    };
    let FailureKind::Error(error) = failure.kind() else {
        panic!("{failure:?}");
    };
    let cancelled = Cancelled::find(error.as_ref()).expect("it is the cause");
    assert_eq!(cancelled.origin(), token.id());
}

fn a_group_around_a_token_of_others(call: Call<'_>) {
    let (inside, outside) = sides();
    let token = CancelToken::new();
    let outcome = TaskGroup::scope(|g| {
        g.spawn(|| Ok(token.run(|| inside.call(call))?));
        outside.until_blocked();
        g.cancel_because("the group");
        expect(&outside.cancel(), g.token().id(), "the group");
        Ok(())
    });
    outcome.expect("the group was cancelled by its body");
}

fn a_cancel_hook(call: Call<'_>) {
    let (token, runs) = (CancelToken::new(), AtomicUsize::new(0));
    blocked_on_a_thread(
        call,
        |call| {
            let hook = || _ = runs.fetch_add(1, Ordering::SeqCst);
            drop(token.run(|| with_cancel_hook(hook, call)));
        },
        |outside, _| {
            token.cancel_because("stop");
            expect(&outside.cancel(), token.id(), "stop");
        },
    );
    assert_eq!(runs.into_inner(), 1);
}
