//! Tasks that are dropped only after a lock has been released.

use crate::group::erased::ErasedTask;
use crate::group::job::Claimed;

/// Claimed tasks that have been taken out of a list under a lock.
///
/// The last reference to a task can run user code, and no user code runs under a lock of the crate.
/// A value that is declared before the guard of the lock is dropped after it.
#[derive(Default)]
pub(crate) struct DeferredDrops(Vec<ErasedTask>);

impl DeferredDrops {
    /// Drops a claimed task: at once if nothing but memory is left of it, as of most tasks,
    /// otherwise later.
    #[inline]
    pub(super) fn defer(&mut self, task: ErasedTask, claimed: Claimed) {
        if claimed != Claimed::Spent {
            self.0.push(task);
        }
    }

    /// Returns whether `task` is unclaimed, for the `retain` of a list. The list may drop its entry
    /// of a claimed task under the lock after this.
    pub(super) fn keep_unclaimed(&mut self, task: &ErasedTask) -> bool {
        let claimed = task.claimed();
        if claimed != Claimed::No {
            self.defer(task.clone(), claimed);
        }
        claimed == Claimed::No
    }
}
