//! The kinds and states of a task, and the regions around its code.

use std::panic::Location;

/// The kind of code that a [`TaskSnapshot`](super::TaskSnapshot) describes.
///
/// ```
/// use taskgroup::{TaskGroup, TaskKind, snapshot};
///
/// TaskGroup::scope(|g| {
///     let seen = snapshot();
///     let group = seen.all_groups().find(|group| group.id() == g.token().id());
///     assert_eq!(group.map(|group| group.body().kind()), Some(TaskKind::Body));
///     Ok(())
/// })?;
/// # Ok::<(), taskgroup::GroupError>(())
/// ```
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

/// The state of a task at the time of the snapshot.
///
/// ```
/// use taskgroup::{TaskGroup, TaskState, snapshot};
///
/// TaskGroup::scope(|g| {
///     let task = g.spawn(|| Ok(()));
///     let seen = snapshot();
///     // It has ended already, or it is in one of these states.
///     if let Some(seen) = seen.tasks().find(|seen| seen.id() == task.id()) {
///         use TaskState::{Foreign, Queued, Running};
///         assert!(matches!(seen.state(), Queued | Running | Foreign));
///     }
///     Ok(())
/// })?;
/// # Ok::<(), taskgroup::GroupError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TaskState {
    /// It has not begun: it waits for a worker, or for a permit of its group.
    Queued,
    /// It runs, or waits for a processor.
    Running,
    /// It is in code that is not of this crate, and the system does not tell whether it runs there.
    Elsewhere,
    /// It is blocked in a blocking point of this crate.
    Waiting,
    /// It is blocked in a call of the system, in code that is not of this crate.
    Foreign,
    /// It runs the body of a group inside: see
    /// [`TaskSnapshot::groups`](super::TaskSnapshot::groups).
    InScope,
    /// It waits for a task that it runs itself, on its own thread.
    InPlace,
    /// It no longer runs its closure: values that it captured, or its result, are dropped.
    Dropping,
}

/// A region that a task was inside of.
///
/// ```
/// use taskgroup::{RegionKind, TaskGroup, shield, snapshot};
///
/// TaskGroup::scope(|g| {
///     shield(|| {
///         let seen = snapshot();
///         let group = seen.all_groups().find(|group| group.id() == g.token().id());
///         let inside = group.map(|group| group.body().inside().to_vec()).unwrap_or_default();
///         assert_eq!(inside[0].region, RegionKind::Shield);
///     });
///     Ok(())
/// })?;
/// # Ok::<(), taskgroup::GroupError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Inside {
    /// The kind of the region.
    pub region: RegionKind,
    /// The call that entered it; for a callback, the call that registered it.
    pub location: &'static Location<'static>,
    /// The number of the group that waits for a callback, or 0.
    pub(crate) group: u64,
}

/// A kind of region.
///
/// ```
/// use taskgroup::{CancelToken, RegionKind, snapshot};
///
/// CancelToken::new().run(|| {
///     let seen = snapshot();
///     let mut inside = seen.threads().iter().flat_map(|thread| thread.inside());
///     assert!(inside.any(|inside| inside.region == RegionKind::Run));
/// });
/// ```
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
///
/// ```
/// use taskgroup::{TaskGroup, snapshot};
///
/// TaskGroup::builder().limit(4).scope(|g| {
///     let seen = snapshot();
///     let group = seen.all_groups().find(|group| group.id() == g.token().id());
///     let limit = group.and_then(|group| group.limit()).expect("it is limited");
///     assert_eq!((limit.total, limit.held, limit.lent), (4, 0, 0));
///     Ok::<_, anyhow::Error>(())
/// })?;
/// # Ok::<(), taskgroup::GroupError>(())
/// ```
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
