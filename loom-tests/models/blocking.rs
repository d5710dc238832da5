//! Models of waits that block in foreign code.

use std::sync::Arc;
use std::time::Duration;

use super::Bound::{Exhaustive, Preemptions};
use super::cancel::cancel_in_thread;
use super::support::{block, must_see, saw};
use super::{Model, Watched};
use crate::facade::Track;
use crate::{CancelToken, abandon, current_token, park, timeout};

pub(super) const MODELS: &[Model] = &[
    holds!(
        blocking_park_ends_by_its_cancel,
        Exhaustive,
        Exhaustive,
        "a park that is ended only by a cancel reports the cancel, whenever it comes"
    ),
    holds!(
        blocking_a_time_limit_lets_cancels_in,
        Exhaustive,
        Exhaustive,
        "a cancel from around a time limit ends a wait in it, whenever it comes, and whether \
             or not the limit has made its node"
    ),
    breaks!(
        broken_blocking_time_limit_hides_the_scope,
        "bare-scope-hides-the-scopes-around" in blocking_a_time_limit_lets_cancels_in,
        Exhaustive,
        "deadlock",
        "a thread in a time limit without a node, if it is not attached to the scope around the \
         limit, misses the cancel"
    ),
    holds!(
        blocking_abandoned_code_gives_its_result,
        Exhaustive,
        Exhaustive,
        "a result that comes while its caller begins to wait is returned, and the writes \
             before it are visible"
    ),
    holds!(
        blocking_abandon_races_with_result,
        Preemptions(3),
        Preemptions(4),
        "a result that comes while its caller is cancelled is returned or dropped, and does \
             not stay behind"
    ),
];

fn blocking_park_ends_by_its_cancel() {
    let token = CancelToken::new();
    let canceller = cancel_in_thread(&token);
    assert!(token.run(park).is_err(), "a cancel was taken for an unpark");
    canceller.join().unwrap();
}

/// Returns code to abandon, which writes `memory` and returns a value.
fn write(memory: &Arc<Watched>) -> impl FnOnce() -> Track + Send + 'static {
    let memory = memory.clone();
    move || {
        memory.write();
        Track::new()
    }
}

fn blocking_abandoned_code_gives_its_result() {
    let memory = Arc::new(Watched::new());
    drop(abandon(write(&memory)).unwrap());
    memory.write();
}

fn blocking_abandon_races_with_result() {
    must_see(["the result", "the cancel"]);
    let memory = Arc::new(Watched::new());
    let token = CancelToken::new();
    let canceller = cancel_in_thread(&token);
    if token.run(|| abandon(write(&memory))).is_ok() {
        memory.write();
        saw("the result");
    } else {
        saw("the cancel");
    }
    canceller.join().unwrap();
}

fn blocking_a_time_limit_lets_cancels_in() {
    must_see(["the cancel came first", "the limit was entered first"]);
    let token = CancelToken::new();
    let canceller = cancel_in_thread(&token);
    let cut = token.run(|| {
        saw(if token.is_cancelled() {
            "the cancel came first"
        } else {
            "the limit was entered first"
        });
        timeout(Duration::from_secs(3600), || {
            // Without a node, and then with one.
            let bare = block().unwrap_err();
            assert_eq!(bare.origin(), token.id());
            current_token().expect("a scope is around").check()
        })
    });
    assert_eq!(cut.unwrap_err().origin(), token.id());
    canceller.join().unwrap();
}
