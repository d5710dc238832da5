//! Scopes that are cancelled before the call.

use std::io;
use std::thread;
use std::time::Duration;

use taskgroup::{CancelToken, TaskGroup, shield, timeout, winding_down};

use super::{Call, expect, the_cancel};

/// Calls in the scope of a token, which is cancelled.
#[track_caller]
fn expect_cut(token: &CancelToken, call: impl FnOnce() -> io::Result<()>) {
    token.cancel_because("before");
    let error = token.run(call).expect_err("the scope is cancelled");
    expect(&the_cancel(&error), token.id(), "before");
}

pub(super) fn a_token_that_was_cancelled(call: Call<'_>) {
    expect_cut(&CancelToken::new(), call);
}

pub(super) fn a_deadline_that_has_passed(call: Call<'_>) {
    let outcome = timeout(Duration::ZERO, call);
    assert!(outcome.expect("its own deadline is not an error").is_none());
}

pub(super) fn the_body_of_a_cancelled_group(call: Call<'_>) {
    let outcome = TaskGroup::scope(|g| {
        expect_cut(g.token(), call);
        Ok(())
    });
    outcome.expect("the group was cancelled by its body");
}

pub(super) fn a_cancelled_scope_in_a_shield(call: Call<'_>) {
    let hidden = CancelToken::new();
    hidden.cancel();
    hidden.run(|| shield(|| expect_cut(&CancelToken::new(), call)));
}

pub(super) fn a_grace_that_is_over(call: Call<'_>) {
    let token = CancelToken::new();
    token.cancel_gracefully(Duration::ZERO);
    let error = token.run(|| winding_down(call));
    let cancelled = the_cancel(&error.expect_err("the grace is over"));
    assert_eq!(cancelled.origin(), token.id());
}

pub(super) fn a_destructor_in_a_cancelled_scope(call: Call<'_>) {
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
