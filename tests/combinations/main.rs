//! Every blocking call of sockets, pipes, children, retries and rates, cut in every context.
//!
//! The tests of a call know the call, and the tests of a context know the context. Here each call
//! meets each context: it ends promptly, with the cancel of that context, and nothing is lost.
#![cfg(all(
    target_os = "linux",
    feature = "net",
    feature = "process",
    feature = "signal"
))]

#[path = "../support/blocked.rs"]
mod blocked;
mod calls;
#[path = "../support/children.rs"]
mod children;
mod contexts;
#[path = "../support/descriptors.rs"]
mod descriptors;
#[path = "../support/folder.rs"]
mod folder;
#[path = "../support/mod.rs"]
mod support;
mod together;

use std::panic::{AssertUnwindSafe, catch_unwind};

use calls::World;
use contexts::{BEFORE, Context, INSIDE};
use support::{alone, until, watch};

/// Returns the number of descriptors of this process but for the wakers of its threads.
fn descriptors() -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").expect("there is a /proc");
    let is_other = |path: &std::path::Path| {
        // The folder itself is closed by the time it is looked at.
        std::fs::read_link(path).is_ok_and(|file| !file.ends_with("anon_inode:[eventfd]"))
    };
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    paths.filter(|path| is_other(path)).count()
}

/// Runs a call in a context, with the steps that are to come before it or after it.
type Order = fn(World, Context);

/// The call is blocked, and is fed after its cancel.
fn cut_while_blocked(world: World, context: Context) {
    let World { mut block, feed } = world;
    context(&mut *block);
    drop(block);
    feed()();
}

/// The call need not block, and takes nothing in a scope that is cancelled.
fn cut_at_entry(world: World, context: Context) {
    let World { mut block, feed } = world;
    let is_whole = feed();
    context(&mut *block);
    drop(block);
    is_whole();
}

/// Combines all of `calls` with all of `contexts`.
fn combine(calls: &[calls::Named], order: Order, contexts: &[(&str, Context)]) {
    // What lasts as long as the process is made before descriptors are counted.
    drop(taskgroup::signal::termination().expect("it can be handled"));
    calls::mute();

    let mut faults = Vec::new();
    for (call, make) in calls {
        for (name, context) in contexts {
            let _watch = watch();
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let before = descriptors();
                order(make(), *context);
                until(|| descriptors() == before);
            }));
            if outcome.is_err() {
                faults.push(format!("{call} in {name}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_blocked_call_is_cut_in_every_context() {
    alone("every_blocked_call_is_cut_in_every_context", || {
        let contexts = [INSIDE, BEFORE].concat();
        combine(&calls::that_block(), cut_while_blocked, &contexts);
    });
}

#[test]
fn no_call_has_an_effect_in_a_scope_that_is_cancelled() {
    alone("no_call_has_an_effect_in_a_scope_that_is_cancelled", || {
        let calls = [calls::that_block(), calls::that_need_not_block()].concat();
        combine(&calls, cut_at_entry, BEFORE);
    });
}
