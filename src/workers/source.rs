//! The interface of the groups from which workers take tasks.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::worker::Worker;

/// A queue of tasks that workers can take from.
pub(crate) trait Source: Send + Sync {
    /// Runs tasks on this worker until there is none that it may run, or other sources have waited
    /// for their turn.
    fn work(self: Arc<Self>, worker: &Worker);

    /// Starts the threads of the tasks that may begin, where each task has a thread of its own.
    fn start_apart(self: Arc<Self>);

    /// Fails one task with `error`, because the system refused the thread that it needed.
    fn refuse(self: Arc<Self>, error: io::Error);
}

/// A task has to fail: the system refused a thread, and no worker is at work that could come for
/// the queued tasks.
///
/// To fail a task runs user code. So it is left to a thread that may do so: the thread that spawns
/// does it at once, a thread that blocks does it outside of its wait, and the monitor does it when
/// it has handed its duty over (invariant 5 of the pool).
#[must_use = "a queued task waits for ever"]
pub(crate) struct Refusal {
    source: Arc<dyn Source>,
    error: io::Error,
}

impl Refusal {
    pub(super) fn new(source: Arc<dyn Source>, error: io::Error) -> Self {
        Refusal { source, error }
    }

    /// Fails a task of the source.
    pub(crate) fn fail(self) {
        self.source.refuse(self.error);
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}
