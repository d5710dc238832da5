//! The threads that `abandon` has left behind.

use std::fmt;
use std::panic::Location;
use std::thread::ThreadId;
use std::time::Instant;

use slab::Slab;

use crate::cancel::Name;
use crate::facade::{PlainMutex, per_process};
use crate::trace::Site;

per_process! {
    /// The threads that have not ended.
    static LEFT_BEHIND: PlainMutex<Slab<Abandoned>> = PlainMutex::new(Slab::new());
}

/// A thread that [`abandon`](crate::abandon) has left behind and that still runs. See
/// [`abandoned`].
///
/// Its `Display` is ``abandoned `resolver` (src/main.rs:12)``, without the name if none was given.
///
/// ```
/// use std::time::Duration;
///
/// let stuck = |thread: &taskgroup::Abandoned| thread.since.elapsed() > Duration::from_secs(600);
/// assert!(!taskgroup::abandoned().iter().any(stuck));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Abandoned {
    /// The name given with [`abandon_named`](crate::abandon_named).
    pub name: Option<String>,
    /// The call of `abandon`.
    pub location: &'static Location<'static>,
    /// When the thread was left behind.
    pub since: Instant,
    /// The thread.
    pub thread: ThreadId,
}

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("abandoned")?;
        if let Some(name) = &self.name {
            write!(f, " `{}`", Name(name))?;
        }
        write!(f, " ({})", Site(self.location))
    }
}

/// A place in the list, for as long as the thread runs.
#[derive(Debug)]
pub(super) struct ListedThread(usize);

impl ListedThread {
    pub(super) fn of(abandoned: Abandoned) -> Self {
        ListedThread(LEFT_BEHIND.lock().insert(abandoned))
    }
}

impl Drop for ListedThread {
    fn drop(&mut self) {
        // The lock is released at the end of this line, before the entry is dropped.
        let gone = LEFT_BEHIND.lock().try_remove(self.0);
        drop(gone);
    }
}

/// Returns the threads that [`abandon`](crate::abandon) has left behind and that have not ended
/// yet, in the order in which they were left behind.
///
/// ```
/// for thread in taskgroup::abandoned() {
///     println!("{thread} for {:?}", thread.since.elapsed());
/// }
/// assert_eq!(taskgroup::abandoned().len(), 0);
/// ```
pub fn abandoned() -> Vec<Abandoned> {
    list(&LEFT_BEHIND.lock())
}

/// Like [`abandoned`], but never waits: returns `None` if another thread holds the lock.
#[cfg(not(loom))]
pub(crate) fn try_abandoned() -> Option<Vec<Abandoned>> {
    LEFT_BEHIND.try_lock().map(|left| list(&left))
}

fn list(left_behind: &Slab<Abandoned>) -> Vec<Abandoned> {
    let mut all: Vec<_> = left_behind
        .iter()
        .map(|(_, abandoned)| abandoned.clone())
        .collect();

    all.sort_by_key(|abandoned| abandoned.since);
    all
}
