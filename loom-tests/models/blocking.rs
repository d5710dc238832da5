//! Models of waits that block in foreign code.

use std::sync::Arc;

use super::Bound::{Exhaustive, Preemptions};
use super::cancel::cancel_in_thread;
use super::support::{must_see, saw};
use super::{Model, Watched};
use crate::facade::Track;
use crate::{CancelToken, abandon, park};

pub(super) const MODELS: &[Model] = &[
    holds!(
        blocking_park_ends_by_its_cancel,
        Exhaustive,
        Exhaustive,
        "a park that is ended only by a cancel reports the cancel, whenever it comes"
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
