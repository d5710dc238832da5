//! Models of tokens: the tree, deadlines and the context of a thread, without a scope.

use std::sync::Arc;
use std::time::Instant;

use loom::thread;

use super::support::{block, must_see, saw, Note};
use super::Bound::{Exhaustive, Preemptions};
use super::{Model, Watched};
use crate::cancel::{context, Node};
use crate::facade::{take_out, Guard};
use crate::{checkpoint, CancelCause, CancelToken};

pub(super) fn models() -> Vec<Model> {
    vec![
        holds!(
            cancel_r2_cancel_races_with_new_child,
            Exhaustive,
            Exhaustive,
            "a child made while its parent is cancelled is cancelled too, and its child"
        ),
        breaks!(
            broken_cancel_adopt_outside_the_lock,
            Exhaustive,
            "a child missed the cancel",
            "a child that is listed after a look at its parent misses the cancel"
        ),
        holds!(
            cancel_r5_two_parents_cancel_at_once,
            Preemptions(3),
            Preemptions(4),
            "a token linked to two that are cancelled at once is cancelled once, by one of them"
        ),
        holds!(
            cancel_r7_cancel_races_with_wait,
            Exhaustive,
            Exhaustive,
            "a cancel at any moment ends a wait in its scope, with the cause"
        ),
        holds!(
            cancel_hb_cause_is_readable,
            Exhaustive,
            Exhaustive,
            "whoever sees a token cancelled has its cause, and sees what came before the cancel"
        ),
        holds!(cancel_hb_checkpoint, Exhaustive, Exhaustive, "whoever sees a cancel at a checkpoint sees what came before it"),
        holds!(
            cancel_hb_child_sees_parent,
            Exhaustive,
            Exhaustive,
            "whoever sees a child cancelled sees what came before the cancel of its parent"
        ),
        holds!(
            cancel_r10_linked_token_is_dropped_while_a_parent_cancels,
            Exhaustive,
            Exhaustive,
            "a token may be dropped while one of its parents is cancelled, and the other goes on"
        ),
        holds!(
            cancel_r11_late_wake_of_a_token_does_not_end_the_next_wait,
            Preemptions(3),
            Preemptions(5),
            "a wait for one token is not ended by the cancel of the token that was waited for before"
        ),
        holds!(
            cancel_mark_stays_out_of_the_next_scope,
            Exhaustive,
            Exhaustive,
            "the cancel of a scope that a thread leaves does not reach the scope it enters"
        ),
        breaks!(
            broken_cancel_mark_outside_the_lock,
            Exhaustive,
            "marked by a scope it has left",
            "a mark outside the lock reaches a thread that has left"
        ),
        holds!(
            cancel_nested_scopes_are_entered_and_left,
            Preemptions(3),
            Preemptions(4),
            "a thread that goes in and out of nested scopes sees the cancel of the one it is in, at each check"
        ),
        holds!(
            cancel_r21_deadline_races_with_wait,
            Preemptions(3),
            Preemptions(4),
            "a deadline that passes at any moment ends a wait in its scope"
        ),
        holds!(
            cancel_r21_deadline_races_with_cancel,
            Preemptions(3),
            Preemptions(5),
            "a deadline and a cancel at once cancel once, with one cause"
        ),
        holds!(
            cancel_shield_is_lifted_while_outer_is_cancelled,
            Exhaustive,
            Exhaustive,
            "when a shield's time is up the outer cancel reaches what it hid, whichever comes first"
        ),
    ]
}

pub(super) fn cancel_in_thread(token: &CancelToken) -> thread::JoinHandle<()> {
    let token = token.clone();
    thread::spawn(move || {
        token.cancel_because("stop");
    })
}

fn is_stop(cause: &CancelCause) -> bool {
    matches!(cause, CancelCause::Requested { reason: Some(reason) } if reason == "stop")
}

fn cancel_r2_cancel_races_with_new_child() {
    must_see(["a child that was born cancelled", "a child that was swept"]);
    let root = CancelToken::new();
    let canceller = cancel_in_thread(&root);
    let child = root.child();
    saw(if child.is_cancelled() { "a child that was born cancelled" } else { "a child that was swept" });
    let grandchild = child.child();
    canceller.join().unwrap();
    for token in [child, grandchild] {
        let cancelled = token.check().expect_err("a child missed the cancel");
        assert_eq!(cancelled.origin(), root.id());
        assert!(is_stop(cancelled.cause()));
    }
}

fn broken_cancel_adopt_outside_the_lock() {
    take_out(Guard::AdoptUnderLock);
    cancel_r2_cancel_races_with_new_child();
}

fn cancel_r5_two_parents_cancel_at_once() {
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
    saw(if origin == first.id() { "the first won" } else { "the second won" });
    assert_eq!(runs.times(), 1);
}

fn cancel_r7_cancel_races_with_wait() {
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

/// A thread writes and cancels; this one reads once `sees` says that it has seen the cancel.
fn cancel_after_write(sees: impl FnOnce(&CancelToken) -> bool) {
    must_see(["the cancel", "no cancel"]);
    let shared = Arc::new((CancelToken::new(), Watched::new()));
    let canceller = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.1.write();
            shared.0.cancel_because("stop");
        }
    });
    if sees(&shared.0) {
        shared.1.read();
        saw("the cancel");
    } else {
        saw("no cancel");
    }
    canceller.join().unwrap();
}

fn cancel_hb_cause_is_readable() {
    cancel_after_write(|token| {
        let is_cancelled = token.is_cancelled();
        if is_cancelled {
            assert!(token.cancelled().is_some_and(|cancelled| is_stop(cancelled.cause())), "a cancel without its cause");
        }
        is_cancelled
    });
}

fn cancel_hb_checkpoint() {
    // The first checkpoint attaches the thread; the second is a look at its own word.
    cancel_after_write(|token| token.run(|| checkpoint().and_then(|()| checkpoint()).is_err()));
}

fn cancel_hb_child_sees_parent() {
    cancel_after_write(|token| token.child().is_cancelled());
}

fn cancel_r10_linked_token_is_dropped_while_a_parent_cancels() {
    let (source, other) = (CancelToken::new(), CancelToken::new());
    let linked = CancelToken::linked([&source, &other]);
    let canceller = cancel_in_thread(&source);
    drop(linked);
    canceller.join().unwrap();
    assert!(!other.is_cancelled());
    let child = other.child();
    other.cancel();
    assert!(child.is_cancelled());
}

fn cancel_r11_late_wake_of_a_token_does_not_end_the_next_wait() {
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
    saw(if seen { "cancelled in time" } else { "left in time" });
    entered.run(|| {
        checkpoint().unwrap();
        canceller.join().unwrap();
        assert!(!context::slot().is_marked(), "marked by a scope it has left");
        checkpoint().unwrap();
    });
    checkpoint().unwrap();
}

fn broken_cancel_mark_outside_the_lock() {
    take_out(Guard::MarkUnderLock);
    cancel_mark_stays_out_of_the_next_scope();
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
            assert!(checkpoint().is_err() || !seen, "a cancel was delivered once only");
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
        assert!(checkpoint().is_err() && inner.run(checkpoint).is_err(), "a cancel was missed");
    });
    checkpoint().unwrap();
}

fn cancel_r21_deadline_races_with_wait() {
    let token = CancelToken::new();
    let clock = thread::spawn({
        let token = token.clone();
        move || token.cancel_at(Instant::now())
    });
    let cancelled = token.run(block).unwrap_err();
    assert!(matches!(cancelled.cause(), CancelCause::Deadline { .. }));
    clock.join().unwrap();
}

fn cancel_r21_deadline_races_with_cancel() {
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
    assert_eq!(!requested, matches!(token.check().unwrap_err().cause(), CancelCause::Deadline { .. }), "the cause changed");
    saw(if requested { "the cancel" } else { "the deadline" });
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
