//! The identities of tokens and tasks.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU64 as PlainU64, Ordering::Relaxed};

use super::text::Name;
use crate::trace::Site;

/// The identity of a [`CancelToken`](crate::CancelToken), unique in the process.
///
/// Its `Display` is the number that snapshots, spans and dumps show for the token's group.
///
/// ```
/// let token = taskgroup::CancelToken::new();
/// assert_ne!(token.id(), token.child().id());
/// assert!(token.id().to_string().parse::<u64>().is_ok());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TokenId(pub(crate) u64);

/// The identity of a task, unique in the process.
///
/// Its `Display` is the number that snapshots, spans and dumps show for the task.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// taskgroup::TaskGroup::scope(|g| {
///     let (a, b) = (g.spawn(|| Ok(1)), g.spawn(|| Ok(2)));
///     assert_ne!(a.id(), b.id());
///     Ok(())
/// })
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TaskId(pub(crate) u64);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TokenId {
    pub(crate) fn next() -> Self {
        TokenId(next_number())
    }
}

impl TaskId {
    pub(crate) fn next() -> Self {
        TaskId(next_number())
    }
}

/// Returns a number that is unique in the process. The numbers are not dense: a thread takes a
/// block of them at a time.
fn next_number() -> u64 {
    const BLOCK: u64 = 256;
    static NEXT: PlainU64 = PlainU64::new(1);
    thread_local! {
        static FREE: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    }

    // A block for each thread: all spawns of the process would share the cache line of one
    // counter.
    FREE.with(|free| {
        let (mut next, mut end) = free.get();
        if next == end {
            // Relaxed: the numbers only have to be unique.
            next = NEXT.fetch_add(BLOCK, Relaxed);
            end = next + BLOCK;
        }
        free.set((next + 1, end));
        next
    })
}

/// Identifies a task by its id, its name if it has one, and the place that spawned it.
///
/// Its `Display` is ``task `name` (src/main.rs:12)``, or `task 7 (src/main.rs:12)` for a task
/// without a name. Control characters in the name are escaped, and a long name is cut.
///
/// ```
/// use taskgroup::TaskGroup;
///
/// let error = TaskGroup::scope(|g| {
///     g.task().name("parser").spawn(|| Ok("x".parse::<u32>()?));
///     Ok(())
/// })
/// .unwrap_err();
/// let task = error.failures()[0].task().expect("it is not the body that failed");
/// assert_eq!(task.name.as_deref(), Some("parser"));
/// assert!(task.to_string().starts_with("task `parser` ("));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskInfo {
    /// The identity of the task.
    pub id: TaskId,
    /// The name given with [`TaskBuilder::name`](crate::TaskBuilder::name).
    pub name: Option<String>,
    /// The call that spawned the task.
    pub location: &'static Location<'static>,
}

impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "task `{}`", Name(name))?,
            None => write!(f, "task {}", self.id.0)?,
        }
        write!(f, " ({})", Site(self.location))
    }
}
