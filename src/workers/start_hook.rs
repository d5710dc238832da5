//! The user's hook that runs on each thread for tasks, before its first task.

use crate::facade::{Leaked, catch, error_event};
use crate::panics::{PanicPayload, log};

type StartHookFn = Box<dyn Fn() + Send + Sync>;

/// Decided once: by the call that sets the hook, or by the first thread, which finds that there is
/// none.
static HOOK: Leaked<Option<StartHookFn>> = Leaked::new();

/// The error of [`on_worker_start`]: the hook was not set.
///
/// ```
/// use taskgroup::{on_worker_start, WorkerHookError};
///
/// let kind = |error: WorkerHookError| match error {
///     WorkerHookError::AlreadySet => "set",
///     _ => "late",
/// };
/// on_worker_start(|| {}).map_err(kind).unwrap();
/// assert_eq!(on_worker_start(|| {}).map_err(kind), Err("set"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerHookError {
    /// A hook has been set before.
    #[error("a hook for the start of workers has been set before")]
    AlreadySet,
    /// A thread for tasks has been started before.
    #[error("a thread for tasks has been started before the hook was set")]
    AlreadyStarted,
}

/// Sets a hook that runs on each thread that this crate starts for tasks, before the first task of
/// that thread.
///
/// A cached thread inherits the signal mask, the processor affinity and the niceness of the thread
/// that happened to start it, and then runs tasks of other threads too. Use the hook to set these
/// to what all tasks should have, or to attach the thread to a profiler or a foreign runtime.
///
/// The hook runs on the workers and on the threads of [`dedicated`](crate::TaskBuilder::dedicated)
/// tasks. It does not run on threads of your own, on which a task may run while they wait for it.
///
/// There is one hook for the process. Set it in `main`, before the first scope. A library should
/// leave it to the program.
///
/// A panic of the hook is logged as an error with `tracing`, and the thread goes on.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use taskgroup::{on_worker_start, TaskGroup};
///
/// static STARTED: AtomicUsize = AtomicUsize::new(0);
///
/// # fn main() -> anyhow::Result<()> {
/// on_worker_start(|| {
///     STARTED.fetch_add(1, Ordering::Relaxed);
/// })?;
/// TaskGroup::scope(|g| {
///     g.task().dedicated().spawn(|| Ok(()));
///     Ok(())
/// })?;
/// assert!(STARTED.load(Ordering::Relaxed) >= 1);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Fails if a hook has been set before, or if a thread for tasks has been started.
pub fn on_worker_start(hook: impl Fn() + Send + Sync + 'static) -> Result<(), WorkerHookError> {
    match HOOK.set(Some(Box::new(hook))) {
        Ok(_) => Ok(()),
        Err((Some(_), _)) => Err(WorkerHookError::AlreadySet),
        Err((None, _)) => Err(WorkerHookError::AlreadyStarted),
    }
}

/// Runs the hook. Called on a thread that has run no task yet.
pub(super) fn run() {
    // Without a hook this decides that there is none, for good.
    let Some(hook) = HOOK.get_or_make(|| None) else {
        return;
    };
    if let Err(payload) = catch(hook) {
        let panic = PanicPayload::new(payload);
        log(|| {
            error_event!(
                panic = panic.message(),
                "the hook for the start of workers panicked"
            )
        });
    }
}
