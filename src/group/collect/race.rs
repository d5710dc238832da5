//! The first of several closures to succeed.

use std::panic::Location;

use crate::cancel::{CancelCause, CancelToken};
use crate::error::{FailureKind, GroupError, TaskError};
use crate::facade::Mutex;
use crate::group::options::Options;
use crate::group::policy::Fatal;
use crate::group::run::{no_result, run};
use crate::group::task_end::Role;
use crate::panics::drop_contained;

/// Runs `tasks` in a scope of their own and returns the value of the first to succeed. The others
/// are then cancelled, and the call waits for their end.
///
/// A task that fails leaves the race to the others. Its failure is reported if no task wins. A
/// panic ends the race at once, unless a task has won. A panic after that, in the clean-up of a
/// task, is logged with `tracing`.
///
/// # Cancellation
///
/// Like [`TaskGroup::scope`](crate::TaskGroup::scope): a value that a task produces in spite of a
/// cancel from outside wins.
///
/// # Errors
///
/// Every error of the tasks, if none won; the panic that ended the race; the cancel from outside. A
/// race of no tasks is an error without failures.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// let mirrors = ["slow", "quick"];
/// let page = taskgroup::race(mirrors.map(|mirror| {
///     move || {
///         if mirror == "slow" {
///             taskgroup::sleep(std::time::Duration::from_secs(60))?;
///         }
///         anyhow::Ok(mirror)
///     }
/// }))?;
/// assert_eq!(page, "quick");
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn race<T, E, F>(tasks: impl IntoIterator<Item = F>) -> Result<T, GroupError<E>>
where
    E: TaskError,
    T: Send,
    F: FnOnce() -> Result<T, E> + Send,
{
    let location = Location::caller();
    let winner = Mutex::new(None);

    // Errors leave the race to the others, so only panics cancel.
    let mut token = None;
    let options = Options {
        fatal: Fatal::Panics,
        ..Options::new()
    };

    let outcome = run(options, |g| {
        let token = token.insert(g.token().clone());
        for task in tasks {
            // A task may win before all are spawned.
            if token.is_cancelled() {
                break;
            }
            let winner = &winner;
            g.task().launch(location, Role::Task, None, move || {
                let value = task()?;
                // One lock decides which task is first, and whether a panic was.
                let mut winner = winner.lock();
                if winner.is_none() && !ended_by_panic(g.token()) {
                    *winner = Some(value);
                    drop(winner);
                    g.cancel_because("another task won the race");
                }
                Ok(())
            });
        }
        Ok(())
    });

    match (winner.into_inner(), outcome) {
        (Some(value), Ok(())) => Ok(value),
        (Some(value), Err(error)) => {
            discard(error);
            Ok(value)
        }
        (None, Err(error)) => Err(error),
        (None, Ok(())) => Err(no_result(token, location)),
    }
}

/// Drops the failures of a race that a task has won. Logs the panics among them.
fn discard<E: TaskError>(error: GroupError<E>) {
    for failure in error.into_failures() {
        if matches!(failure.kind(), FailureKind::Panic(_)) {
            failure.log_hidden();
        }
        // A destructor that panics must not take the value of the winner along.
        drop_contained("failure of a task that lost a race", failure);
    }
}

/// Returns whether the group of `token` was cancelled by a panic of one of its tasks.
///
/// It does not look at the clock, because it is called with a lock held: an expired deadline would
/// run user code.
fn ended_by_panic(token: &CancelToken) -> bool {
    token.node().recorded().is_some_and(|cancelled| {
        cancelled.origin() == token.id()
            && matches!(cancelled.cause(), CancelCause::TaskPanicked { .. })
    })
}
