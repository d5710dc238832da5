//! Every way to look inside, from every place, at scopes in every state.
//!
//! The tests of a look know what it shows, and the tests of a state know the state. Here each look
//! meets each place and each state: none hangs, panics or misses a task, and the counts add up.
#![cfg(all(target_os = "linux", feature = "signal"))]

mod looks;
mod places;
mod states;
#[path = "../support/mod.rs"]
mod support;

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use taskgroup::{TaskId, TokenId};

use looks::{LOOKS, Look, catch_dumps};
use places::{PLACES, Place, set_hook};
use states::{STATES, State};
use support::{alone, watch};

/// The state that every look has to find.
#[derive(Clone, Debug)]
struct Scene {
    group: TokenId,
    /// The tasks that run.
    run: Vec<TaskId>,
    /// The tasks in the queue.
    wait: Vec<TaskId>,
    abandoned: usize,
}

type Checked = Result<(), String>;

/// Returns an error with a text if the values differ.
fn same<T: PartialEq + Debug>(what: &str, is: T, should: T) -> Checked {
    if is == should {
        return Ok(());
    }
    Err(format!("{what}: {is:?} in place of {should:?}"))
}

/// Runs one combination. Returns the faults that it shows.
fn combine(state: State, place: Place, look: Look) -> Vec<String> {
    let looked = Arc::new(AtomicUsize::new(0));
    let faults = Arc::new(Mutex::new(Vec::new()));
    let ended = catch_unwind(AssertUnwindSafe(|| {
        state(&|scene| {
            let (looked, faults) = (looked.clone(), faults.clone());
            place(Arc::new(move || {
                let checked = look(&scene);
                faults.lock().unwrap().extend(checked.err());
                looked.fetch_add(1, SeqCst);
            }));
        });
    }));

    let mut faults = std::mem::take(&mut *faults.lock().unwrap());
    if let Err(payload) = ended {
        let text = payload.downcast_ref::<String>();
        faults.push(format!("a panic: {text:?}"));
    }
    faults.extend(same("looks", looked.load(SeqCst), 1).err());

    // All scopes have ended.
    faults.extend(same("live tasks", taskgroup::stats().live(), 0).err());
    faults
}

#[test]
fn every_look_from_every_place_at_every_state() {
    alone("every_look_from_every_place_at_every_state", || {
        let _watch = watch();
        set_hook();
        catch_dumps();
        let mut faults = Vec::new();
        for (state, enter) in STATES {
            for (place, run) in PLACES {
                for (look, see) in LOOKS {
                    let found = combine(*enter, *run, *see);
                    let named = |fault| format!("{look} in {place} of {state}: {fault}");
                    faults.extend(found.into_iter().map(named));
                }
            }
        }
        // Standard error has been replaced.
        let text = faults.join("\n");
        println!("{text}");
        assert!(faults.is_empty(), "{text}");
    });
}
