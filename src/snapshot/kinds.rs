//! What a task is, what it does, and what it is inside of.

use std::panic::Location;

/// What a [`TaskSnapshot`](super::TaskSnapshot) is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TaskKind {
    /// A task of a group.
    Task,
    /// The body of a scope, and the end of the scope.
    Body,
    /// A thread outside of any group that is inside of a region, or blocked in this crate.
    Thread,
    /// A call of [`abandon`](crate::abandon), on the thread that was started for it.
    Abandon,
}

/// What a task was doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TaskState {
    /// It has not begun: it waits for a worker, or for a permit of its group.
    Queued,
    /// It runs, or the system does not tell more.
    Running,
    /// It is blocked in a blocking point of this crate.
    Waiting,
    /// It is blocked in a call of the system, in code that is not of this crate.
    Foreign,
    /// It runs the body of a group inside: see [`TaskSnapshot::groups`](super::TaskSnapshot::groups).
    InScope,
    /// It waits for a task that it runs itself, on its own thread.
    InPlace,
    /// It does not run its closure any more: captured values are dropped.
    Dropping,
}

/// A region that a task was inside of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Inside {
    /// What the region is.
    pub region: RegionKind,
    /// The call that entered it; for a callback, the call that registered it.
    pub location: &'static Location<'static>,
    /// The number of the group that waits for a callback, or 0.
    pub(crate) group: u64,
}

/// A kind of region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RegionKind {
    /// [`CancelToken::run`](crate::CancelToken::run).
    Run,
    /// [`shield`](crate::shield) or [`shield_for`](crate::shield_for).
    Shield,
    /// [`winding_down`](crate::winding_down).
    WindingDown,
    /// [`with_cancel_hook`](crate::with_cancel_hook).
    CancelHook,
    /// A callback or hook that the thread runs because it cancels.
    Callback,
}

/// The permits of a group with a [limit](crate::Builder::limit).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LimitSnapshot {
    /// How many tasks may run at once.
    pub total: usize,
    /// The permits that tasks hold.
    pub held: usize,
    /// The permits that waiting tasks have given away and get back when their waits end.
    pub lent: usize,
}
