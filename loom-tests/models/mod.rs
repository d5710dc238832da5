//! The models: small programs on the crate's own parts, run by loom in every order its memory model
//! allows.
//!
//! A model is a function and an entry in the `MODELS` of its file, one file for each area. To add
//! an area, add its `mod` and its `MODELS` to [`all`]. `README.md` says step by step how to add a
//! model and its broken twin.
//!
//! loom runs a model once for each execution that it finds. So a model makes everything that it
//! uses itself: a std static or lock outlives the execution, and loom does not see it. A panic with
//! a text fails the model even if it is caught; a panic that a task throws on purpose carries
//! another payload (`panic_any`). A model has at most five threads, its main one included.

use std::fmt;
use std::sync::{Mutex, PoisonError};

pub mod report;

/// A model that must hold in every execution: `holds!(function, bound for each push, deeper bound,
/// "text of the table")`. The text says what the model shows.
macro_rules! holds {
    ($body:ident, $push:expr, $deep:expr, $shows:expr $(,)?) => {
        $crate::models::Model {
            name: stringify!($body),
            shows: $shows,
            push: $push,
            deep: $deep,
            body: $body,
            expect: $crate::models::Expect::Holds,
            fault: None,
        }
    };
}

/// A model that must fail in some execution: `breaks!(broken_name, "fault" in model, bound, "text
/// of the failure", "text of the table")`. In place of the first two, `broken_function` names a
/// body that is wrong by itself.
macro_rules! breaks {
    ($name:ident, $fault:literal in $body:ident, $($rest:tt)*) => {
        breaks!(@ $name, $body, Some($fault), $($rest)*)
    };
    (@ $name:ident, $body:ident, $fault:expr, $bound:expr, $reason:expr, $shows:expr $(,)?) => {
        $crate::models::Model {
            name: stringify!($name),
            shows: $shows,
            push: $bound,
            deep: $bound,
            body: $body,
            expect: $crate::models::Expect::Broken { reason: $reason },
            fault: $fault,
        }
    };
    ($body:ident, $($rest:tt)*) => {
        breaks!(@ $body, $body, None, $($rest)*)
    };
}

mod blocking;
mod callback;
mod cancel;
mod channel;
mod channel_clock;
mod channel_select;
mod completions;
mod failure;
mod graceful;
mod handle;
mod lanes;
mod limit;
mod map;
mod programs;
mod readiness;
mod runner;
mod scope;
mod scoped;
mod stall;
mod support;
mod sync;
mod sync_barrier;
mod sync_condvar;
mod sync_locks;
mod sync_permits;
mod wait;
mod worker;
mod worker_limit;

pub use support::never_seen;

/// Returns every model, in the order of the table.
pub fn all() -> Vec<Model> {
    let programs = programs::models();
    let areas: &[&[Model]] = &[
        runner::MODELS,
        lanes::MODELS,
        readiness::MODELS,
        wait::MODELS,
        cancel::MODELS,
        callback::MODELS,
        graceful::MODELS,
        blocking::MODELS,
        worker::MODELS,
        worker_limit::MODELS,
        scope::MODELS,
        scoped::MODELS,
        stall::MODELS,
        failure::MODELS,
        handle::MODELS,
        limit::MODELS,
        map::MODELS,
        completions::MODELS,
        sync::MODELS,
        sync_permits::MODELS,
        sync_locks::MODELS,
        sync_condvar::MODELS,
        sync_barrier::MODELS,
        channel::MODELS,
        channel_select::MODELS,
        &programs,
        channel_clock::MODELS,
    ];
    areas.concat()
}

/// Whether these sources were compiled for loom. Without loom each model would run once and show
/// nothing.
pub const UNDER_LOOM: bool = cfg!(loom);

/// A model, with its claim and its bounds.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// The name of its function, which begins with its area, or with `broken_` if it must fail.
    pub name: &'static str,
    /// The claim that holds once it has been explored, in one line.
    pub shows: &'static str,
    /// How far it is explored on each push.
    pub push: Bound,
    /// How far it is explored where there is time.
    pub deep: Bound,
    /// Runs one execution of it.
    pub body: fn(),
    /// How it must end.
    pub expect: Expect,
    /// The fault that is on while it runs.
    pub fault: Option<&'static str>,
}

/// How far a model is explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Every execution.
    Exhaustive,
    /// Every execution with at most so many preemptions.
    Preemptions(usize),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Exhaustive => f.pad("exhaustive"),
            Bound::Preemptions(most) => f.pad(&format!("preemptions<={most}")),
        }
    }
}

/// How a model must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// No execution fails.
    Holds,
    /// Some execution fails, with this text in its message. It shows that the models see the faults
    /// that they are there to see.
    Broken {
        /// A part of the message of loom or of an assertion, in single spaces.
        reason: &'static str,
    },
}

/// Memory with accesses that loom checks: a `write` and any other access fail the model unless one
/// happens before the other ("Causality violation"). Write before the edge that the docs promise,
/// and read after it.
///
/// The std mutex replaces an `unsafe impl Sync`. Loom does not see it and switches to no other
/// thread while it is held, so it neither orders the accesses nor blocks.
#[derive(Debug, Default)]
pub(crate) struct Watched(Mutex<loom::cell::UnsafeCell<()>>);

impl Watched {
    pub(crate) fn new() -> Watched {
        Watched::default()
    }

    #[track_caller]
    pub(crate) fn write(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .with_mut(|_| ());
    }

    #[track_caller]
    pub(crate) fn read(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .with(|_| ());
    }
}
