//! The contexts that a call is cut in, and what each says of the cancel.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use taskgroup::{
    CancelCause, CancelToken, Cancelled, FailureKind, GroupError, TaskGroup, TaskStatus, TokenId,
    race, shield, shield_for, timeout, winding_down, with_cancel_hook,
};

use crate::blocked::Seen;
use crate::support::{LONG, Peak};

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

    /// Whether the call has not ended, as far as can be seen.
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

fn the_deadline_of_a_timeout(call: Call<'_>) {
    let mut cut = None;
    let outcome = timeout(SOON, || {
        call().inspect_err(|error| cut = Some(the_cancel(error)))
    });
    assert!(outcome.expect("its own deadline is no error").is_none());
    expect_deadline(&cut.expect("the call failed"));
}

fn a_timeout_in_a_cancelled_scope(call: Call<'_>) {
    let token = CancelToken::new();
    blocked_on_a_thread(
        call,
        |call| {
            let outcome = token.run(|| timeout(LONG, call));
            assert!(outcome.is_err(), "the deadline has not passed");
        },
        |outside, _| {
            token.cancel_because("stop");
            expect(&outside.cancel(), token.id(), "stop");
        },
    );
}

fn the_inner_of_two_deadlines(call: Call<'_>) {
    let outer = timeout(LONG, || {
        let inner = timeout(SOON, call)?;
        assert!(inner.is_none());
        Ok::<_, io::Error>(7)
    });
    assert_eq!(outer.expect("the inner deadline is no error"), Some(7));
}

fn the_outer_of_two_deadlines(call: Call<'_>) {
    let outer = timeout(SOON, || {
        let inner = timeout(LONG, call);
        expect_deadline(&the_cancel(
            inner.as_ref().expect_err("the deadline is not its own"),
        ));
        inner
    });
    assert!(outer.expect("its own deadline is no error").is_none());
}

fn a_deadline_that_is_moved(call: Call<'_>) {
    let token = CancelToken::new();
    token.cancel_at(Instant::now() + LONG);
    blocked_on_a_thread(
        call,
        |call| drop(token.run(call)),
        |outside, _| {
            token.cancel_at(Instant::now() + SOON);
            let cancelled = outside.cancel();
            expect_deadline(&cancelled);
            assert_eq!(cancelled.origin(), token.id());
        },
    );
}

fn a_token_inside_a_shield(call: Call<'_>) {
    let (hidden, token) = (CancelToken::new(), CancelToken::new());
    blocked_on_a_thread(
        call,
        |call| drop(hidden.run(|| shield(|| token.run(call)))),
        |outside, _| {
            hidden.cancel_because("hidden");
            assert!(outside.is_blocked(), "the shield hides the cancel");
            token.cancel_because("inside");
            expect(&outside.cancel(), token.id(), "inside");
        },
    );
}

fn a_deadline_inside_a_shield(call: Call<'_>) {
    let hidden = CancelToken::new();
    hidden.cancel();
    let outcome = hidden.run(|| shield(|| timeout(SOON, call)));
    assert!(outcome.expect("its own deadline is no error").is_none());
}

fn a_shield_that_ends(call: Call<'_>) {
    let hidden = CancelToken::new();
    hidden.cancel_because("hidden");
    let begun = Instant::now();
    let error = hidden.run(|| shield_for(SOON, call));
    assert!(begun.elapsed() >= SOON, "the shield came down early");
    let cancelled = the_cancel(&error.expect_err("the shield is down"));
    expect(&cancelled, hidden.id(), "hidden");
}

fn a_region_that_winds_down(call: Call<'_>) {
    let token = CancelToken::new();
    blocked_on_a_thread(
        call,
        |call| drop(token.run(|| winding_down(call))),
        |outside, _| {
            token.cancel_gracefully_because(LONG, "gently");
            assert!(outside.is_blocked(), "the region is spared");
            token.cancel();
            // The second call ends the grace, and the cause stays.
            expect(&outside.cancel(), token.id(), "gently");
        },
    );
}

fn a_grace_that_ends(call: Call<'_>) {
    let token = CancelToken::new();
    blocked_on_a_thread(
        call,
        |call| drop(token.run(|| winding_down(call))),
        |outside, _| {
            token.cancel_gracefully_because(SOON, "gently");
            expect(&outside.cancel(), token.id(), "gently");
        },
    );
}

fn a_graceful_cancel(call: Call<'_>) {
    let token = CancelToken::new();
    blocked_on_a_thread(
        call,
        |call| drop(token.run(call)),
        |outside, _| {
            token.cancel_gracefully_because(LONG, "gently");
            expect(&outside.cancel(), token.id(), "gently");
        },
    );
}

fn a_sibling_that_fails(call: Call<'_>) {
    let (inside, outside) = sides();
    let outcome = TaskGroup::scope(|g| {
        g.spawn(move || Ok(inside.call(call)?));
        outside.until_blocked();
        let failed = g.spawn(|| Err::<(), _>(anyhow::anyhow!("the sibling")));
        let cancelled = outside.cancel();
        assert_eq!(cancelled.origin(), g.token().id());
        let CancelCause::TaskFailed { task, error, .. } = cancelled.cause() else {
            panic!("{cancelled}");
        };
        assert_eq!((task.id, error.as_str()), (failed.id(), "the sibling"));
        Ok(())
    });
    expect_only(outcome, "the sibling");
}

fn a_sibling_that_panics(call: Call<'_>) {
    let (inside, outside) = sides();
    let outcome = TaskGroup::scope(|g| {
        g.spawn(move || Ok(inside.call(call)?));
        outside.until_blocked();
        g.spawn(|| -> anyhow::Result<()> { panic!("the sibling") });
        let cancelled = outside.cancel();
        let is_it = matches!(cancelled.cause(), CancelCause::TaskPanicked { .. });
        assert!(is_it, "{cancelled}");
        Ok(())
    });
    expect_only(outcome, "the sibling");
}

fn a_body_that_fails(call: Call<'_>) {
    let (inside, outside) = sides();
    let outcome = TaskGroup::scope(|g| {
        g.spawn(move || Ok(inside.call(call)?));
        outside.until_blocked();
        Err::<(), _>(anyhow::anyhow!("the body"))
    });
    let cancelled = outside.cancel();
    let is_it = matches!(cancelled.cause(), CancelCause::BodyFailed { .. });
    assert!(is_it, "{cancelled}");
    expect_only(outcome, "the body");
}

fn the_body_of_a_task_that_fails(call: Call<'_>) {
    let (inside, outside) = sides();
    let outside = Mutex::new(outside);
    let outcome = TaskGroup::scope(|g| {
        g.spawn(|| {
            outside.lock().expect("it is free").until_blocked();
            Err::<(), _>(anyhow::anyhow!("the task"))
        });
        Ok(inside.call(call)?)
    });
    let cancelled = outside.into_inner().expect("it is free").cancel();
    let is_it = matches!(cancelled.cause(), CancelCause::TaskFailed { .. });
    assert!(is_it, "{cancelled}");
    expect_only(outcome, "the task");
}

fn a_destructor_during_unwinding(call: Call<'_>) {
    struct CleanUp<'c>(Option<(Inside, Call<'c>)>);
    impl Drop for CleanUp<'_> {
        fn drop(&mut self) {
            assert!(thread::panicking());
            let (inside, call) = self.0.take().expect("it is dropped once");
            inside.call(call).expect_err("the cancel ends it");
        }
    }

    let (inside, outside) = sides();
    let outcome = TaskGroup::scope(|g| {
        g.spawn(move || -> anyhow::Result<()> {
            let _clean_up = CleanUp(Some((inside, call)));
            panic!("the task unwinds");
        });
        outside.until_blocked();
        g.cancel_because("no more clean-up");
        expect(&outside.cancel(), g.token().id(), "no more clean-up");
        Ok(())
    });
    expect_only(outcome, "the task unwinds");
}

fn a_task_alone_in_a_limited_group(call: Call<'_>) {
    let (inside, outside) = sides();
    let (peak, runs) = (Peak::default(), AtomicUsize::new(0));
    let outcome = TaskGroup::builder().limit(1).scope(|g| {
        let first = g.spawn(move || Ok(inside.call(call)?));
        outside.until_blocked();
        let queued: Vec<_> = (0..3)
            .map(|_| {
                g.spawn(|| {
                    peak.inside(|| runs.fetch_add(1, Ordering::SeqCst));
                    Ok(())
                })
            })
            .collect();
        assert_eq!(
            runs.load(Ordering::SeqCst),
            0,
            "the blocked task has the permit"
        );

        first.cancel();
        outside.cancel();
        assert_eq!(first.wait()?, TaskStatus::Cancelled);
        for task in queued {
            task.join()?;
        }
        // The permit of the task that was cut is there for others.
        g.spawn(|| Ok(())).join()?;
        Ok(g.stats())
    });
    outcome.expect("a task that was cancelled alone is no failure");
    assert_eq!((peak.most(), runs.into_inner()), (1, 3));
}

fn a_limited_group_that_is_cancelled(call: Call<'_>) {
    let (inside, outside) = sides();
    let outcome = TaskGroup::builder().limit(1).scope(|g| {
        let first = g.spawn(move || Ok(inside.call(call)?));
        outside.until_blocked();
        let queued = [0, 1].map(|_| g.spawn(|| Ok(())));
        g.cancel_because("enough");
        expect(&outside.cancel(), g.token().id(), "enough");
        shield(|| {
            assert_eq!(first.wait()?, TaskStatus::Cancelled);
            for task in queued {
                assert_eq!(task.wait()?, TaskStatus::NeverRan);
            }
            Ok(())
        })
    });
    outcome.expect("the group was cancelled by its body");
}

fn an_unordered_map(call: Call<'_>) {
    let (inside, outside) = sides();
    let outside = Mutex::new(outside);
    let outcome = TaskGroup::builder().limit(2).scope(|g| {
        let items = [Some((inside, call)), None];
        let results = g.map_unordered(items, |item| match item {
            Some((inside, call)) => Ok(inside.call(call)?),
            None => {
                outside.lock().expect("it is free").until_blocked();
                Err(anyhow::anyhow!("an item"))
            }
        });
        for result in results {
            result?;
        }
        Ok(())
    });
    outside.into_inner().expect("it is free").cancel();
    expect_only(outcome, "an item");
}

fn a_map_that_is_dropped(call: Call<'_>) {
    let (inside, outside) = sides();
    let outside = Mutex::new(outside);
    let outcome = TaskGroup::builder().limit(2).scope(|g| {
        let items = [Some((inside, call)), None];
        let mut results = g.map_unordered(items, |item| match item {
            Some((inside, call)) => Ok(inside.call(call)?),
            None => {
                outside.lock().expect("it is free").until_blocked();
                Ok(())
            }
        });
        results.next().expect("there are two items")?;
        drop(results);
        // The call goes on: a dropped iterator cancels nothing by itself.
        g.cancel_because("enough");
        let outside = outside.lock().expect("it is free");
        expect(&outside.cancel(), g.token().id(), "enough");
        Ok(())
    });
    outcome.expect("the group was cancelled by its body");
}

fn a_dedicated_task(call: Call<'_>) {
    let (inside, outside) = sides();
    let outcome = TaskGroup::scope(|g| {
        let task = g.task().dedicated().spawn(move || Ok(inside.call(call)?));
        outside.until_blocked();
        task.cancel();
        outside.cancel();
        assert_eq!(task.wait()?, TaskStatus::Cancelled);
        Ok(())
    });
    outcome.expect("a task that was cancelled alone is no failure");
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

fn a_daemon(call: Call<'_>) {
    let (inside, outside) = sides();
    let outcome = TaskGroup::scope(|g| {
        g.spawn_daemon(move || Ok(inside.call(call)?));
        outside.until_blocked();
        Ok(())
    });
    outcome.expect("the daemon ends with its group");
    let cancelled = outside.cancel();
    let is_it = matches!(cancelled.cause(), CancelCause::GroupFinished);
    assert!(is_it, "{cancelled}");
}

fn a_group_inside_a_group(call: Call<'_>) {
    let (inside, outside) = sides();
    let outcome = TaskGroup::scope(|outer| {
        outer.spawn(move || {
            TaskGroup::scope(|inner| {
                inner.spawn(move || Ok(inside.call(call)?));
                Ok(())
            })?;
            Ok(())
        });
        outside.until_blocked();
        outer.cancel_because("from above");
        expect(&outside.cancel(), outer.token().id(), "from above");
        Ok(())
    });
    outcome.expect("the group was cancelled by its body");
}

fn a_race_that_is_lost(call: Call<'_>) {
    type Runner<'r> = Box<dyn FnOnce() -> anyhow::Result<u32> + Send + 'r>;

    let (inside, outside) = sides();
    let outside = Mutex::new(outside);
    let loser: Runner<'_> = Box::new(move || {
        inside.call(call)?;
        Ok(0)
    });
    let winner: Runner<'_> = Box::new(|| {
        outside.lock().expect("it is free").until_blocked();
        Ok(1)
    });
    assert_eq!(race([loser, winner]).expect("one has won"), 1);
    outside.into_inner().expect("it is free").cancel();
}

/// Calls in the scope of a token, which is cancelled.
#[track_caller]
fn expect_cut(token: &CancelToken, call: impl FnOnce() -> io::Result<()>) {
    token.cancel_because("before");
    let error = token.run(call).expect_err("the scope is cancelled");
    expect(&the_cancel(&error), token.id(), "before");
}

fn a_token_that_was_cancelled(call: Call<'_>) {
    expect_cut(&CancelToken::new(), call);
}

fn a_deadline_that_has_passed(call: Call<'_>) {
    let outcome = timeout(Duration::ZERO, call);
    assert!(outcome.expect("its own deadline is no error").is_none());
}

fn the_body_of_a_cancelled_group(call: Call<'_>) {
    let outcome = TaskGroup::scope(|g| {
        expect_cut(g.token(), call);
        Ok(())
    });
    outcome.expect("the group was cancelled by its body");
}

fn a_cancelled_scope_in_a_shield(call: Call<'_>) {
    let hidden = CancelToken::new();
    hidden.cancel();
    hidden.run(|| shield(|| expect_cut(&CancelToken::new(), call)));
}

fn a_grace_that_is_over(call: Call<'_>) {
    let token = CancelToken::new();
    token.cancel_gracefully(Duration::ZERO);
    let error = token.run(|| winding_down(call));
    let cancelled = the_cancel(&error.expect_err("the grace is over"));
    assert_eq!(cancelled.origin(), token.id());
}

fn a_destructor_in_a_cancelled_scope(call: Call<'_>) {
    struct CleanUp<'c>(Call<'c>);
    impl Drop for CleanUp<'_> {
        fn drop(&mut self) {
            assert!(thread::panicking());
            expect_cut(&CancelToken::new(), &mut *self.0);
        }
    }

    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _clean_up = CleanUp(call);
        std::panic::resume_unwind(Box::new("unwinds without a message"));
    }));
    assert!(outcome.is_err());
}
