//! Models of regions that wind down: when a cancel that spares such a region reaches it after all.
//!
//! Time does not pass here. A grace that is over by the time it is given represents a grace that
//! ends. The models then show how the region learns of the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use loom::thread;

use super::Bound::Preemptions;
use super::support::{block, here, must_see, saw};
use super::{Model, Watched};
use crate::cancel::{Grace, Node, context};
use crate::{CancelCause, CancelToken, checkpoint, current_token, deadline, winding_down};

pub(super) const MODELS: &[Model] = &[
    holds!(
        cancel_graceful_end_reaches_a_region,
        Preemptions(3),
        Preemptions(4),
        "the end of a grace ends a wait with that cancel, in a region entered before the \
             cancel or after it"
    ),
    breaks!(
        broken_cancel_graceful_adopts_outside_the_lock,
        "child-is-listed-after-the-look" in cancel_graceful_end_reaches_a_region,
        Preemptions(3),
        "deadlock",
        "a region that is listed after it checked its scope never learns of the grace"
    ),
    breaks!(
        broken_cancel_graceful_tells_no_waiter,
        "grace-wakes-nothing" in cancel_graceful_end_reaches_a_region,
        Preemptions(3),
        "deadlock",
        "a waiter in a region that is not woken at the end of the grace sleeps through it"
    ),
    holds!(
        cancel_graceful_second_cancel_reaches_a_region,
        Preemptions(3),
        Preemptions(4),
        "a cancel without grace after one with grace ends a wait in a region, whenever the \
             region is entered"
    ),
    breaks!(
        broken_cancel_graceful_late_region_is_not_listed,
        "late-region-is-not-listed" in cancel_graceful_second_cancel_reaches_a_region,
        Preemptions(3),
        "deadlock",
        "a region that is entered during the grace and not listed misses the cancel that ends \
         the grace"
    ),
    breaks!(
        broken_cancel_graceful_second_cancel_changes_nothing,
        "end-of-grace-stays-above" in cancel_graceful_second_cancel_reaches_a_region,
        Preemptions(3),
        "deadlock",
        "a second cancel that stops at the already cancelled scope leaves the region asleep"
    ),
    breaks!(
        broken_cancel_graceful_bare_region_hides_the_scope,
        "bare-scope-hides-the-scopes-around" in cancel_graceful_second_cancel_reaches_a_region,
        Preemptions(3),
        "deadlock",
        "a thread in a region without a node, if it is not attached to the scope around the \
         region, misses both cancels"
    ),
    holds!(
        cancel_graceful_races_with_cancel,
        Preemptions(2),
        Preemptions(3),
        "if a cancel with grace and one without come in either order, one is the cause and no \
             region is spared afterwards"
    ),
    breaks!(
        broken_cancel_graceful_grace_grows,
        "grace-grows" in cancel_graceful_races_with_cancel,
        Preemptions(2),
        "a grace outlived the cancel that ended it",
        "a grace that may grow again spares regions after a cancel without it"
    ),
    holds!(
        cancel_graceful_mark_stays_in_the_region,
        Preemptions(3),
        Preemptions(5),
        "a cancel that ends the grace of a region which a thread leaves does not reach the \
             next scope it enters"
    ),
    breaks!(
        broken_cancel_graceful_mark_outside_the_lock,
        "slots-are-marked-outside-the-lock" in cancel_graceful_mark_stays_in_the_region,
        Preemptions(3),
        "marked by a region it has left",
        "a mark that is set outside the lock reaches a thread that has left the region"
    ),
    holds!(
        cancel_graceful_wakes_a_wait_outside_of_regions,
        Preemptions(2),
        Preemptions(3),
        "a cancel with grace wakes a thread that waits outside of a region, and a thread that \
             waits in a region waits until a second cancel"
    ),
    breaks!(
        broken_cancel_graceful_unchecked_publish,
        "publish-is-unchecked" in cancel_graceful_wakes_a_wait_outside_of_regions,
        Preemptions(2),
        "deadlock",
        "a wait outside of a region that ignores the mark sleeps through a cancel with grace"
    ),
    breaks!(
        broken_cancel_graceful_bare_region_spares_nothing,
        "bare-region-spares-nothing" in cancel_graceful_wakes_a_wait_outside_of_regions,
        Preemptions(2),
        "a cancel with grace cut a region short",
        "a region without a node that takes the cancel of the scope around it is cut short by \
         a cancel with grace"
    ),
    holds!(
        cancel_graceful_comes_before_a_limit,
        Preemptions(2),
        Preemptions(3),
        "a limit that passes after a cancel with grace does not become the cause, also while \
             another thread hands the cancel down"
    ),
    breaks!(
        broken_cancel_graceful_limit_overtakes_it,
        "deadline-overtakes-an-earlier-cancel" in cancel_graceful_comes_before_a_limit,
        Preemptions(2),
        "the cancel came first",
        "a limit is acted on though an earlier cancel with grace is on its way to it"
    ),
    holds!(
        cancel_graceful_shortest_grace_comes_down,
        Preemptions(3),
        Preemptions(4),
        "of two cancels with grace that come to a node which a thread has marked ahead, the \
             shorter grace comes to the regions below"
    ),
    breaks!(
        broken_cancel_graceful_rest_with_another_grace,
        "rest-is-done-with-another-grace" in cancel_graceful_shortest_grace_comes_down,
        Preemptions(3),
        "the shorter grace bounds the region",
        "the cancel with the longer grace goes on with it below a node that was marked ahead with \
         the shorter one"
    ),
];

/// Longer than a model runs.
const LONG: Duration = Duration::from_secs(1 << 30);

fn cancel(token: &CancelToken, reason: &str, grace: Grace) -> bool {
    token.node().cancel_sparing(
        CancelCause::Requested {
            reason: Some(reason.into()),
        },
        here(),
        grace,
    )
}

fn cancel_graceful_end_reaches_a_region() {
    must_see(["entered before the cancel", "entered after the cancel"]);
    let shared = Arc::new((CancelToken::new(), Watched::new()));
    let canceller = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.1.write();
            assert!(cancel(&shared.0, "stop", Grace::Until(Instant::now())));
        }
    });
    let cancelled = shared.0.run(|| {
        winding_down(|| {
            // The region makes its node here, so that the cancel comes down to it.
            assert!(current_token().is_some());
            saw(if shared.0.is_cancelled() {
                "entered after the cancel"
            } else {
                "entered before the cancel"
            });
            let cancelled = block().unwrap_err();
            assert!(checkpoint().is_err(), "a cancel was delivered only once");
            cancelled
        })
    });
    shared.1.read();
    assert_eq!(cancelled.origin(), shared.0.id());
    canceller.join().unwrap();
}

fn cancel_graceful_second_cancel_reaches_a_region() {
    must_see([
        "entered before the cancels",
        "entered between the cancels or later",
    ]);
    let token = CancelToken::new();
    let canceller = thread::spawn({
        let token = token.clone();
        move || {
            assert!(cancel(&token, "first", Grace::Endless));
            assert!(!cancel(&token, "second", Grace::Over));
        }
    });
    let cancelled = token.run(|| {
        winding_down(|| {
            let is_late = token.is_cancelled();
            saw(if is_late {
                "entered between the cancels or later"
            } else {
                "entered before the cancels"
            });
            block().unwrap_err()
        })
    });
    assert!(
        cancelled.to_string().contains("first"),
        "the cause is not the first cancel"
    );
    canceller.join().unwrap();
}

fn cancel_graceful_races_with_cancel() {
    must_see([
        "the cancel with grace was first",
        "the cancel without grace was first",
    ]);
    let token = CancelToken::new();
    let gracefully = thread::spawn({
        let token = token.clone();
        move || cancel(&token, "with grace", Grace::Endless)
    });
    let at_once = thread::spawn({
        let token = token.clone();
        move || cancel(&token, "without", Grace::Over)
    });
    let cut = token.run(|| winding_down(block)).unwrap_err();
    let firsts = (gracefully.join().unwrap(), at_once.join().unwrap());
    assert!(firsts.0 != firsts.1, "exactly one cancel is the first");
    saw(if firsts.0 {
        "the cancel with grace was first"
    } else {
        "the cancel without grace was first"
    });
    assert_eq!(
        cut.to_string().contains("with grace"),
        firsts.0,
        "the cause is not the first cancel"
    );
    assert!(
        token.run(|| winding_down(checkpoint)).is_err(),
        "a grace outlived the cancel that ended it"
    );
}

fn cancel_graceful_mark_stays_in_the_region() {
    must_see(["cut in the region", "left in time"]);
    let (left, entered) = (CancelToken::new(), CancelToken::new());
    let canceller = thread::spawn({
        let left = left.clone();
        move || {
            cancel(&left, "first", Grace::Endless);
            cancel(&left, "second", Grace::Over);
        }
    });
    // The node is kept alive, because loom does not see whether a node that was left still exists
    // for the cancel to find.
    let region = Node::winding_down(left.node());
    let cut = left.run(|| context::within(region.clone(), checkpoint).is_err());
    saw(if cut {
        "cut in the region"
    } else {
        "left in time"
    });
    entered.run(|| {
        winding_down(|| {
            checkpoint().unwrap();
            canceller.join().unwrap();
            assert!(
                !context::slot().is_marked(),
                "marked by a region it has left"
            );
            checkpoint().unwrap();
        });
    });
    drop(region);
}

fn cancel_graceful_wakes_a_wait_outside_of_regions() {
    let token = CancelToken::new();
    let outside = thread::spawn({
        let token = token.clone();
        move || token.run(block).unwrap_err()
    });
    let is_cut = Arc::new(AtomicBool::new(false));
    let canceller = thread::spawn({
        let (token, is_cut) = (token.clone(), is_cut.clone());
        move || {
            cancel(&token, "first", Grace::Endless);
            outside.join().unwrap();
            is_cut.store(true, Relaxed);
            cancel(&token, "second", Grace::Over);
        }
    });
    let cancelled = token.run(|| winding_down(block)).unwrap_err();
    assert!(
        is_cut.load(Relaxed),
        "a cancel with grace cut a region short"
    );
    assert!(
        cancelled.to_string().contains("first"),
        "the cause is not the first cancel"
    );
    canceller.join().unwrap();
}

fn cancel_graceful_comes_before_a_limit() {
    must_see(["after the cancel", "before"]);
    let token = CancelToken::new();
    let between = token.child();
    let canceller = thread::spawn({
        let token = token.clone();
        move || cancel(&token, "stop", Grace::Endless)
    });

    let mut is_seen = false;
    let limited = between.run(|| {
        is_seen = token.is_cancelled();
        deadline(Instant::now(), || {
            current_token(); // the limit has a token of its own from here on
            checkpoint()
        })
    });
    saw(if is_seen {
        let cancelled = limited.expect_err("the cancel came first");
        assert_eq!(cancelled.origin(), token.id(), "the cancel came first");
        "after the cancel"
    } else {
        "before"
    });
    canceller.join().unwrap();
}

fn cancel_graceful_shortest_grace_comes_down() {
    let (left, right) = (CancelToken::new(), CancelToken::new());
    let both = CancelToken::linked([&left, &right]);
    let region = Node::winding_down(both.node());
    let shorter = Instant::now() + LONG;
    both.cancel_at(shorter + LONG);

    let cancellers = [(left, Grace::Until(shorter)), (right, Grace::Endless)]
        .map(|(token, grace)| thread::spawn(move || cancel(&token, "stop", grace)));
    both.is_cancelled();
    for canceller in cancellers {
        canceller.join().unwrap();
    }
    let end = region.effective_deadline();
    assert_eq!(end, Some(shorter), "the shorter grace bounds the region");
}
