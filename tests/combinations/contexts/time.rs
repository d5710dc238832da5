//! Deadlines, shields and graces that cut a call.

use std::io;
use std::time::Instant;

use taskgroup::{CancelToken, shield, shield_for, timeout, winding_down};

use super::{Call, SOON, blocked_on_a_thread, expect, expect_deadline, the_cancel};
use crate::support::LONG;

pub(super) fn the_deadline_of_a_timeout(call: Call<'_>) {
    let mut cut = None;
    let outcome = timeout(SOON, || {
        call().inspect_err(|error| cut = Some(the_cancel(error)))
    });
    assert!(outcome.expect("its own deadline is not an error").is_none());
    expect_deadline(&cut.expect("the call failed"));
}

pub(super) fn a_timeout_in_a_cancelled_scope(call: Call<'_>) {
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

pub(super) fn the_inner_of_two_deadlines(call: Call<'_>) {
    let outer = timeout(LONG, || {
        let inner = timeout(SOON, call)?;
        assert!(inner.is_none());
        Ok::<_, io::Error>(7)
    });
    assert_eq!(outer.expect("the inner deadline is not an error"), Some(7));
}

pub(super) fn the_outer_of_two_deadlines(call: Call<'_>) {
    let outer = timeout(SOON, || {
        let inner = timeout(LONG, call);
        expect_deadline(&the_cancel(
            inner.as_ref().expect_err("the deadline is not its own"),
        ));
        inner
    });
    assert!(outer.expect("its own deadline is not an error").is_none());
}

pub(super) fn a_deadline_that_is_moved(call: Call<'_>) {
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

pub(super) fn a_token_inside_a_shield(call: Call<'_>) {
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

pub(super) fn a_deadline_inside_a_shield(call: Call<'_>) {
    let hidden = CancelToken::new();
    hidden.cancel();
    let outcome = hidden.run(|| shield(|| timeout(SOON, call)));
    assert!(outcome.expect("its own deadline is not an error").is_none());
}

pub(super) fn a_shield_that_ends(call: Call<'_>) {
    let hidden = CancelToken::new();
    hidden.cancel_because("hidden");
    let begun = Instant::now();
    let error = hidden.run(|| shield_for(SOON, call));
    assert!(begun.elapsed() >= SOON, "the shield came down early");
    let cancelled = the_cancel(&error.expect_err("the shield is down"));
    expect(&cancelled, hidden.id(), "hidden");
}

pub(super) fn a_region_that_winds_down(call: Call<'_>) {
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

pub(super) fn a_grace_that_ends(call: Call<'_>) {
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

pub(super) fn a_graceful_cancel(call: Call<'_>) {
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
