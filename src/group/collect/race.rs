//! The first of many.

use std::panic::Location;

use crate::cancel::{CancelCause, CancelToken};
use crate::error::{FailureKind, GroupError, TaskError, drop_contained};
use crate::facade::Mutex;
use crate::group::options::Options;
use crate::group::policy::Fatal;
use crate::group::run::{no_result, run};
use crate::group::task_end::Role;

/// Runs `tasks` in a scope of their own and returns what the first to succeed returns; the others
/// are cancelled then, and waited for.
///
/// A task that fails leaves the race to the others; what it failed with is kept for the case that
/// nobody wins. A panic ends the race at once, unless somebody has won. What panics after that, in
/// its clean-up, is logged with `tracing`.
///
/// # Cancellation
///
/// As [`TaskGroup::scope`](crate::TaskGroup::scope): a value that a task produces in spite of a
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
    let mut token = None;
    let outcome = run(
        Options {
            fatal: Fatal::Panics,
            ..Options::new()
        },
        |g| {
            let token = token.insert(g.token().clone());
            for task in tasks {
                if token.is_cancelled() {
                    break;
                }
                let winner = &winner;
                g.task().launch(location, Role::Task, None, move || {
                    let value = task()?;
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
        },
    );
    match (winner.into_inner(), outcome) {
        (Some(value), outcome) => {
            let failures = outcome
                .err()
                .map(GroupError::into_failures)
                .unwrap_or_default();
            for failure in failures {
                if matches!(failure.kind(), FailureKind::Panic(_)) {
                    failure.log_hidden();
                }
                // A destructor that panics must not take the winner's value along.
                drop_contained("failure of a task that lost a race", failure);
            }
            Ok(value)
        }
        (None, Err(error)) => Err(error),
        (None, Ok(())) => Err(no_result(token, location)),
    }
}

/// Whether the group of `token` was cancelled by the panic of one of its tasks. Without a look at
/// the clock, which may call what is not ours: a lock is held.
fn ended_by_panic(token: &CancelToken) -> bool {
    token.node().recorded().is_some_and(|cancelled| {
        cancelled.origin() == token.id()
            && matches!(cancelled.cause(), CancelCause::TaskPanicked { .. })
    })
}
