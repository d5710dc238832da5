//! Two closures at once.

use std::panic::Location;

use crate::error::{GroupError, TaskError};
use crate::group::options::Options;
use crate::group::run::{no_result, run};
use crate::group::task_end::Role;

/// Runs `a` and `b` at once, in a scope of their own, and returns what both return.
///
/// If one fails, the other is cancelled. One of them may run on the calling thread.
///
/// # Cancellation
///
/// Like [`TaskGroup::scope`](crate::TaskGroup::scope).
///
/// # Errors
///
/// The errors and panics of both, or the cancel from outside that cut one of them short.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// let (n, text) = taskgroup::join(|| Ok::<_, anyhow::Error>("7".parse::<u32>()?), || Ok("text"))?;
/// assert_eq!((n, text), (7, "text"));
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn join<A: Send, B: Send, E: TaskError>(
    a: impl FnOnce() -> Result<A, E> + Send,
    b: impl FnOnce() -> Result<B, E> + Send,
) -> Result<(A, B), GroupError<E>> {
    let location = Location::caller();
    let (mut first, mut second) = (None, None);

    // Both are spawned, so that the thread can run either, or wait for both.
    let mut token = None;
    run(Options::new(), |g| {
        token = Some(g.token().clone());
        g.task().launch(location, Role::Task, None, || {
            first = Some(a()?);
            Ok(())
        });
        g.task().launch(location, Role::Task, None, || {
            second = Some(b()?);
            Ok(())
        });
        Ok(())
    })?;

    match (first, second) {
        (Some(first), Some(second)) => Ok((first, second)),
        // A task cancelled the scope through the token. The scope absorbs that, so it is not an
        // error of the scope, but there is no result either.
        _ => Err(no_result(token, location)),
    }
}
