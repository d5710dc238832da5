//! Models of tokens: the tree, deadlines and the context of a thread, without a scope.

use std::sync::Arc;
use std::time::{Duration, Instant};

use loom::thread;

use super::Bound::{Exhaustive, Preemptions};
use super::support::{Note, block, must_see, saw};
use super::{Model, Watched};
use crate::cancel::{Node, context};
use crate::{CancelCause, CancelToken, checkpoint, current_token, deadline, is_cancelled};

pub(super) const MODELS: &[Model] = &[
    holds!(
        cancel_races_with_new_child,
        Exhaustive,
        Exhaustive,
        "a child made while its parent is cancelled is cancelled too, and so is its own child"
    ),
    breaks!(
        broken_cancel_adopt_outside_the_lock,
        "child-is-listed-after-the-look" in cancel_races_with_new_child,
        Exhaustive,
        "a child missed the cancel",
        "a child that is listed after it checked its parent misses the cancel"
    ),
    holds!(
        cancel_of_two_parents_at_once,
        Preemptions(3),
        Preemptions(4),
        "a token linked to two tokens that are cancelled at the same time is cancelled once, \
             by one of them"
    ),
    holds!(
        cancel_races_with_wait,
        Exhaustive,
        Exhaustive,
        "a cancel at any moment ends a wait in its scope, with the cause"
    ),
    holds!(
        cancel_seen_has_its_cause_and_what_came_before,
        Exhaustive,
        Exhaustive,
        "a thread that sees a token cancelled gets the cause, and sees the writes before the \
             cancel"
    ),
    holds!(
        cancel_seen_at_a_checkpoint_shows_what_came_before,
        Exhaustive,
        Exhaustive,
        "a thread that sees a cancel at a check sees the writes before the cancel"
    ),
    breaks!(
        broken_cancel_check_believes_the_mark,
        "check-believes-the-mark" in cancel_seen_at_a_checkpoint_shows_what_came_before,
        Exhaustive,
        "Causality violation",
        "a check that finds the thread marked and does not ask the token misses the writes \
         before the cancel"
    ),
    holds!(
        cancel_ends_a_wait_that_sees_what_came_before,
        Preemptions(3),
        Preemptions(4),
        "a wait for a token sees the writes before its cancel, also if it checks before it is \
             woken"
    ),
    holds!(
        cancel_deadline_passed_shows_what_came_before_its_move,
        Preemptions(3),
        Exhaustive,
        "a thread that finds a moved deadline passed sees the writes before the move"
    ),
    holds!(
        cancel_seen_in_a_child_shows_what_came_before,
        Exhaustive,
        Exhaustive,
        "a thread that sees a child cancelled sees the writes before the cancel of its parent"
    ),
    holds!(
        cancel_linked_token_is_dropped_while_parents_cancel,
        Preemptions(3),
        Preemptions(4),
        "a token may be dropped while two of its parents are cancelled, and the third parent \
             stays usable"
    ),
    breaks!(
        broken_cancel_children_under_the_lock,
        "children-are-marked-under-the-lock" in cancel_linked_token_is_dropped_while_parents_cancel,
        Preemptions(3),
        "deadlock",
        "a child cannot leave its parent if a cancel drops its last reference under the \
         parent's lock"
    ),
    holds!(
        cancel_late_wake_does_not_end_the_next_wait,
        Preemptions(3),
        Preemptions(5),
        "a wait for one token is not ended by the cancel of the previous token"
    ),
    holds!(
        cancel_mark_stays_out_of_the_next_scope,
        Exhaustive,
        Exhaustive,
        "the cancel of a scope that a thread leaves does not reach the next scope it enters"
    ),
    breaks!(
        broken_cancel_mark_outside_the_lock,
        "slots-are-marked-outside-the-lock" in cancel_mark_stays_out_of_the_next_scope,
        Exhaustive,
        "marked by a scope it has left",
        "a mark that is set outside the lock reaches a thread that has left the scope"
    ),
    holds!(
        cancel_nested_scopes_are_entered_and_left,
        Preemptions(3),
        Preemptions(4),
        "a thread that enters and leaves nested scopes sees the cancel of its current scope, \
             at each check"
    ),
    holds!(
        cancel_deadline_races_with_wait,
        Preemptions(3),
        Preemptions(4),
        "a deadline that passes at any moment ends a wait in its scope"
    ),
    holds!(
        cancel_deadline_races_with_cancel,
        Preemptions(3),
        Preemptions(5),
        "a deadline and a cancel at the same time cancel once, with one cause"
    ),
    holds!(
        cancel_deadline_passed_counts_below,
        Preemptions(3),
        Preemptions(4),
        "below a deadline that has passed every look says cancelled, also while another thread \
             hands the cancel down"
    ),
    breaks!(
        broken_cancel_deadline_passed_counts_where_it_has_come,
        "cancel-counts-where-it-has-come" in cancel_deadline_passed_counts_below,
        Preemptions(3),
        "the deadline had passed",
        "a look that finds the deadline taken care of above believes its own node"
    ),
    holds!(
        cancel_deadline_ends_a_grace_below,
        Preemptions(3),
        Preemptions(4),
        "below a deadline that has passed no grace spares a region, also while another thread \
             hands the end of the grace down"
    ),
    breaks!(
        broken_cancel_deadline_ends_a_grace_where_it_has_come,
        "cancel-counts-where-it-has-come" in cancel_deadline_ends_a_grace_below,
        Preemptions(3),
        "the grace was over",
        "a region believes its own node while the end of the grace is handed down"
    ),
    holds!(
        cancel_deadline_above_comes_before_a_limit,
        Preemptions(2),
        Preemptions(3),
        "of two limits that have passed, the outer, earlier one cancels, also while another thread \
             hands its cancel down"
    ),
    breaks!(
        broken_cancel_limit_overtakes_the_deadline_above,
        "deadline-overtakes-an-earlier-cancel" in cancel_deadline_above_comes_before_a_limit,
        Preemptions(2),
        "the outer deadline passed first",
        "a limit is acted on though an earlier cancel is on its way to it"
    ),
    holds!(
        cancel_deadline_ends_a_wait_beside_it,
        Preemptions(2),
        Preemptions(3),
        "a deadline above a token ends a wait for the token with success in each scope, also while \
             another thread hands the cancel down"
    ),
    breaks!(
        broken_cancel_wait_believes_the_flag,
        "wait-for-a-token-believes-its-flag" in cancel_deadline_ends_a_wait_beside_it,
        Preemptions(2),
        "the token was cancelled",
        "a wait that finds its scope cancelled does not look whether the deadline of the token has \
             passed"
    ),
    holds!(
        cancel_deadline_races_with_new_child,
        Exhaustive,
        Exhaustive,
        "a child made while its parent gets a deadline has it too"
    ),
    holds!(
        cancel_shield_is_lifted_while_outer_is_cancelled,
        Preemptions(4),
        Exhaustive,
        "at the end of a shield's time the outer cancel reaches the hidden code, whichever \
             comes first"
    ),
    holds!(
        cancel_shield_ends_for_each_thread,
        Preemptions(3),
        Preemptions(4),
        "after the time of a shield each thread sees the cancel around it, also while another \
             thread lifts the shield"
    ),
    breaks!(
        broken_cancel_shield_hides_while_it_is_lifted,
        "cancel-counts-where-it-has-come" in cancel_shield_ends_for_each_thread,
        Preemptions(3),
        "the time of the shield is up",
        "a thread believes a shield that another thread lifts"
    ),
];

/// Longer than a model runs.
const LONG: Duration = Duration::from_secs(1 << 30);

pub(super) fn cancel_in_thread(token: &CancelToken) -> thread::JoinHandle<()> {
    let token = token.clone();
    thread::spawn(move || {
        token.cancel_because("stop");
    })
}

fn is_stop(cause: &CancelCause) -> bool {
    matches!(cause, CancelCause::Requested { reason: Some(reason) } if reason == "stop")
}

fn cancel_races_with_new_child() {
    must_see([
        "a child that was made cancelled",
        "a child that the cancel reached",
    ]);
    let root = CancelToken::new();
    let canceller = cancel_in_thread(&root);
    let child = root.child();
    saw(if child.is_cancelled() {
        "a child that was made cancelled"
    } else {
        "a child that the cancel reached"
    });
    let grandchild = child.child();
    canceller.join().unwrap();
    for token in [child, grandchild] {
        let cancelled = token.check().expect_err("a child missed the cancel");
        assert_eq!(cancelled.origin(), root.id());
        assert!(is_stop(cancelled.cause()));
    }
}

fn cancel_of_two_parents_at_once() {
    must_see(["the first won", "the second won"]);
    let (first, second) = (CancelToken::new(), CancelToken::new());
    let linked = CancelToken::linked([&first, &second]);
    let runs = Note::default();
    linked
        .on_cancel({
            let runs = runs.clone();
            move || runs.set()
        })
        .forget();
    let canceller = cancel_in_thread(&first);
    second.cancel();
    canceller.join().unwrap();
    let origin = linked.check().unwrap_err().origin();
    assert!(origin == first.id() || origin == second.id());
    saw(if origin == first.id() {
        "the first won"
    } else {
        "the second won"
    });
    assert_eq!(runs.times(), 1);
}

fn cancel_races_with_wait() {
    let shared = Arc::new((CancelToken::new(), Watched::new()));
    let canceller = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.1.write();
            assert!(shared.0.cancel_because("stop"));
        }
    });
    let cancelled = shared.0.run(block).unwrap_err();
    shared.1.read();
    assert_eq!(cancelled.origin(), shared.0.id());
    assert!(is_stop(cancelled.cause()));
    canceller.join().unwrap();
}

/// A thread writes and cancels `token`; this one reads once `sees` says that it has seen the
/// cancel.
fn cancel_after_write(token: &CancelToken, sees: impl FnOnce(&Watched) -> bool) {
    must_see(["the cancel", "no cancel"]);
    let memory = Arc::new(Watched::new());
    let canceller = thread::spawn({
        let (token, memory) = (token.clone(), memory.clone());
        move || {
            memory.write();
            token.cancel_because("stop");
        }
    });
    if sees(&memory) {
        memory.read();
        saw("the cancel");
    } else {
        saw("no cancel");
    }
    canceller.join().unwrap();
}

fn cancel_seen_has_its_cause_and_what_came_before() {
    let token = CancelToken::new();
    cancel_after_write(&token, |memory| {
        let is_cancelled = token.is_cancelled();
        if is_cancelled {
            // Read before asking for the cause, because its lock would order the two threads.
            memory.read();
            assert!(
                token
                    .cancelled()
                    .is_some_and(|cancelled| is_stop(cancelled.cause())),
                "a cancel without its cause"
            );
        }
        is_cancelled
    });
}

fn cancel_seen_at_a_checkpoint_shows_what_came_before() {
    let token = CancelToken::new();
    cancel_after_write(&token, |memory| {
        token.run(|| {
            // The first check attaches the thread; the second reads the thread's own word.
            let seen = checkpoint().is_err() || is_cancelled();
            if seen {
                // Read inside of the scope, because leaving it takes a lock.
                memory.read();
            }
            seen
        })
    });
}

fn cancel_ends_a_wait_that_sees_what_came_before() {
    let shared = Arc::new((CancelToken::new(), Watched::new()));
    let canceller = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.1.write();
            shared.0.cancel();
        }
    });
    shared.0.wait().unwrap();
    shared.1.read();
    canceller.join().unwrap();
}

fn cancel_deadline_passed_shows_what_came_before_its_move() {
    must_see(["the deadline", "no deadline"]);
    let shared = Arc::new((CancelToken::new(), Watched::new()));
    shared.0.cancel_at(Instant::now() + LONG);
    let setter = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.1.write();
            shared.0.cancel_at(Instant::now());
        }
    });
    if shared.0.is_cancelled() {
        shared.1.read();
        saw("the deadline");
    } else {
        saw("no deadline");
    }
    setter.join().unwrap();
}

fn cancel_seen_in_a_child_shows_what_came_before() {
    let token = CancelToken::new();
    let child = token.child();
    cancel_after_write(&token, |_| child.is_cancelled());
}

fn cancel_linked_token_is_dropped_while_parents_cancel() {
    must_see(["dropped when cancelled", "dropped before"]);
    let [first, second, third] = [(); 3].map(|()| CancelToken::new());
    let linked = CancelToken::linked([&first, &second, &third]);
    let cancellers = [cancel_in_thread(&first), cancel_in_thread(&second)];
    // Loom does not see references come and go. It can order these checks between the cancels.
    let _ = (first.is_cancelled(), second.is_cancelled());
    saw(if linked.is_cancelled() {
        "dropped when cancelled"
    } else {
        "dropped before"
    });
    drop(linked);
    for canceller in cancellers {
        canceller.join().unwrap();
    }
    assert!(!third.is_cancelled());
    let child = third.child();
    third.cancel();
    assert!(child.is_cancelled());
}

fn cancel_late_wake_does_not_end_the_next_wait() {
    let tokens = (CancelToken::new(), CancelToken::new());
    let canceller = thread::spawn({
        let tokens = tokens.clone();
        move || {
            tokens.0.cancel();
            tokens.1.cancel();
        }
    });
    tokens.0.wait().unwrap();
    assert!(tokens.0.is_cancelled());
    tokens.1.wait().unwrap();
    assert!(tokens.1.is_cancelled(), "a wait ended without its cancel");
    canceller.join().unwrap();
}

fn cancel_mark_stays_out_of_the_next_scope() {
    must_see(["cancelled in time", "left in time"]);
    let (left, entered) = (CancelToken::new(), CancelToken::new());
    let canceller = cancel_in_thread(&left);
    let seen = left.run(|| checkpoint().is_err());
    saw(if seen {
        "cancelled in time"
    } else {
        "left in time"
    });
    entered.run(|| {
        checkpoint().unwrap();
        canceller.join().unwrap();
        assert!(
            !context::slot().is_marked(),
            "marked by a scope it has left"
        );
        checkpoint().unwrap();
    });
    checkpoint().unwrap();
}

fn cancel_nested_scopes_are_entered_and_left() {
    must_see(["seen inside", "seen outside"]);
    let outer = CancelToken::new();
    let inner = outer.child();
    let canceller = cancel_in_thread(&outer);
    outer.run(|| {
        let before = checkpoint().is_err();
        let inside = inner.run(|| {
            let seen = checkpoint().is_err();
            assert!(
                checkpoint().is_err() || !seen,
                "a cancel was delivered only once"
            );
            crate::shield(|| checkpoint().unwrap());
            seen
        });
        let after = checkpoint().is_err();
        assert!(after || !(before || inside), "a cancel was forgotten");
        if inside && !before {
            saw("seen inside");
        }
        if after && !inside {
            saw("seen outside");
        }
        canceller.join().unwrap();
        assert!(
            checkpoint().is_err() && inner.run(checkpoint).is_err(),
            "a cancel was missed"
        );
    });
    checkpoint().unwrap();
}

fn cancel_deadline_races_with_wait() {
    let token = CancelToken::new();
    let clock = thread::spawn({
        let token = token.clone();
        move || token.cancel_at(Instant::now())
    });
    let cancelled = token.run(block).unwrap_err();
    assert!(matches!(cancelled.cause(), CancelCause::Deadline { .. }));
    clock.join().unwrap();
}

fn cancel_deadline_races_with_cancel() {
    must_see(["the deadline", "the cancel"]);
    let token = CancelToken::new();
    let clock = thread::spawn({
        let token = token.clone();
        move || token.cancel_at(Instant::now())
    });
    let requested = token.cancel();
    let cause = token.check().unwrap_err().cause().clone();
    clock.join().unwrap();
    assert_eq!(requested, matches!(cause, CancelCause::Requested { .. }));
    assert_eq!(
        !requested,
        matches!(
            token.check().unwrap_err().cause(),
            CancelCause::Deadline { .. }
        ),
        "the cause changed"
    );
    saw(if requested {
        "the cancel"
    } else {
        "the deadline"
    });
}

fn cancel_deadline_passed_counts_below() {
    must_see(["after the deadline", "before"]);
    let token = CancelToken::new();
    let below = token.child().child();
    let clock = thread::spawn({
        let token = token.clone();
        move || token.cancel_at(Instant::now())
    });
    if token.is_cancelled() {
        assert!(below.is_cancelled(), "the deadline had passed");
        saw("after the deadline");
    } else {
        saw("before");
    }
    clock.join().unwrap();
    assert!(below.is_cancelled());
}

fn cancel_deadline_ends_a_grace_below() {
    let token = CancelToken::new();
    let between = token.child();
    let region = Node::winding_down(between.node());
    token.cancel_gracefully(LONG);
    let clock = thread::spawn({
        let token = token.clone();
        move || token.cancel_at(Instant::now())
    });
    token.cancel_at(Instant::now());
    assert!(region.is_cancelled(), "the grace was over");
    clock.join().unwrap();
}

fn cancel_deadline_above_comes_before_a_limit() {
    must_see(["after the outer deadline", "before"]);
    let token = CancelToken::new();
    let clock = thread::spawn({
        let (token, early) = (token.clone(), Instant::now());
        move || token.cancel_at(early)
    });

    let mut is_seen = false;
    let limited = token.run(|| {
        deadline(Instant::now(), || {
            current_token(); // the limit has a token of its own from here on
            is_seen = token.is_cancelled();
            checkpoint()
        })
    });
    saw(if is_seen {
        let cancelled = limited.expect_err("the outer deadline passed first");
        assert_eq!(cancelled.origin(), token.id());
        "after the outer deadline"
    } else {
        "before"
    });
    clock.join().unwrap();
}

fn cancel_deadline_ends_a_wait_beside_it() {
    let both = CancelToken::new();
    let (scope, token) = (both.child(), both.child());
    let clock = thread::spawn(move || both.cancel_at(Instant::now()));
    let waited = scope.run(|| token.wait());
    waited.expect("the token was cancelled");
    clock.join().unwrap();
}

fn cancel_deadline_races_with_new_child() {
    let root = CancelToken::new();
    let setter = thread::spawn({
        let root = root.clone();
        move || root.cancel_at(Instant::now() + LONG)
    });
    let child = root.child();
    setter.join().unwrap();
    assert!(child.deadline().is_some(), "a child missed the deadline");
}

fn cancel_shield_ends_for_each_thread() {
    let outer = CancelToken::new();
    outer.cancel_gracefully(LONG);
    let hidden = Node::shielded(outer.node().clone(), Instant::now());
    let look = move || assert!(hidden.is_cancelled(), "the time of the shield is up");
    let other = thread::spawn(look.clone());
    look();
    other.join().unwrap();
}

fn cancel_shield_is_lifted_while_outer_is_cancelled() {
    let outer = CancelToken::new();
    let canceller = cancel_in_thread(&outer);
    let cancelled = outer.run(|| {
        let shield = Node::shielded(outer.node().clone(), Instant::now());
        context::within(shield, block).unwrap_err()
    });
    assert_eq!(cancelled.origin(), outer.id());
    canceller.join().unwrap();
}
