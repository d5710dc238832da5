//! The error of a spawn that is refused.

use std::error::Error;
use std::{fmt, io};

use crate::cancel::Cancelled;

/// The error of [`try_spawn`](crate::TaskGroup::try_spawn): the task could not be started; it is
/// returned.
///
/// If the closure borrows, this error is not `'static`, and `?` cannot turn it into an
/// `anyhow::Error`. Pass [`into_kind`](Self::into_kind) up then.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// use taskgroup::{SpawnErrorKind, TaskGroup};
///
/// let n = TaskGroup::scope(|g| {
///     g.cancel();
///     match g.try_spawn(|| Ok(5)) {
///         Ok(handle) => Ok(handle.join()?),
///         Err(refused) => {
///             assert!(matches!(refused.kind(), SpawnErrorKind::Cancelled(_)));
///             refused.into_task()()
///         }
///     }
/// })?;
/// assert_eq!(n, 5);
/// # Ok(())
/// # }
/// ```
pub struct SpawnError<F> {
    kind: SpawnErrorKind,
    task: F,
}

/// Why a task could not be started.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// use taskgroup::{sync::Event, SpawnErrorKind, TaskGroup};
///
/// let done = Event::new();
/// TaskGroup::builder().limit(1).scope(|g| {
///     g.spawn(|| Ok(done.wait()?));
///     let refused = g.try_spawn(|| Ok(())).map(drop).map_err(|refused| refused.into_kind());
///     assert!(matches!(refused, Err(SpawnErrorKind::Full)));
///     done.set();
///     Ok(())
/// })
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnErrorKind {
    /// The group is cancelled.
    #[error("the group is cancelled")]
    Cancelled(#[source] Cancelled),
    /// The group runs as many tasks as its limit allows.
    #[error("the group runs as many tasks as its limit allows")]
    Full,
    /// The operating system refused a thread.
    #[error("the operating system refused a thread")]
    Os(#[source] io::Error),
}

impl<F> SpawnError<F> {
    pub(crate) fn new(kind: SpawnErrorKind, task: F) -> Self {
        SpawnError { kind, task }
    }

    /// Returns the same refusal, of what `f` makes of the task.
    pub(crate) fn map<G>(self, f: impl FnOnce(F) -> G) -> SpawnError<G> {
        SpawnError {
            kind: self.kind,
            task: f(self.task),
        }
    }

    /// Returns why the task was not started.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use taskgroup::{SpawnErrorKind, TaskGroup};
    ///
    /// TaskGroup::scope(|g| {
    ///     g.cancel();
    ///     let refused = g.try_spawn(|| Ok(5)).err().expect("the group is cancelled");
    ///     assert!(matches!(refused.kind(), SpawnErrorKind::Cancelled(_)));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn kind(&self) -> &SpawnErrorKind {
        &self.kind
    }

    /// Returns why the task was not started, by value. The task is dropped.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use taskgroup::TaskGroup;
    ///
    /// TaskGroup::scope(|g| {
    ///     g.cancel();
    ///     let refused = g.try_spawn(|| Ok(5)).err().expect("the group is cancelled");
    ///     println!("not spawned: {}", refused.into_kind());
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn into_kind(self) -> SpawnErrorKind {
        self.kind
    }

    /// Returns the task that was not started.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use taskgroup::TaskGroup;
    ///
    /// TaskGroup::scope(|g| {
    ///     g.cancel();
    ///     let refused = g.try_spawn(|| Ok(5)).err().expect("the group is cancelled");
    ///     assert_eq!(refused.into_task()()?, 5);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn into_task(self) -> F {
        self.task
    }
}

impl<F> fmt::Display for SpawnError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot spawn the task: {}", self.kind)
    }
}

impl<F> fmt::Debug for SpawnError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The task may be a closure, which nothing can print.
        f.debug_struct("SpawnError")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl<F> Error for SpawnError<F> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // Not the kind itself: its text is a part of this error's.
        self.kind.source()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::TaskError;
    use super::super::testing::cancelled;
    use super::*;

    #[test]
    fn errors_are_send_sync_and_static() {
        fn check<T: Error + Send + Sync + 'static>() {}
        check::<SpawnError<fn()>>();
        check::<SpawnErrorKind>();
    }

    #[test]
    fn a_refused_task_comes_back_unchanged_and_unprinted() {
        // The task borrows, like the tasks of a scope do.
        let secret = String::from("value");
        let refused = SpawnError::new(SpawnErrorKind::Full, || secret.len());
        assert_eq!(
            refused.to_string(),
            "cannot spawn the task: the group runs as many tasks as its limit allows"
        );

        assert!(format!("{refused:?}").contains("Full"));
        assert!(refused.source().is_none());

        // Still to be called.
        assert_eq!(refused.into_task()(), 5);
    }

    #[test]
    fn cancellation_is_the_source_so_that_a_group_recognises_it() {
        let refused = SpawnError::new(SpawnErrorKind::Cancelled(cancelled()), ());
        assert!(
            refused
                .source()
                .is_some_and(|source| source.is::<Cancelled>())
        );

        // A task that passes the refusal on with `?` has been cancelled, and has not failed.
        assert!(TaskError::cancelled(&anyhow::Error::from(refused)).is_some());
    }

    #[test]
    fn the_operating_systems_error_is_the_source() {
        let refused = SpawnError::new(SpawnErrorKind::Os(io::ErrorKind::WouldBlock.into()), ());
        assert!(
            refused
                .source()
                .is_some_and(|source| source.is::<io::Error>())
        );

        assert!(matches!(refused.into_kind(), SpawnErrorKind::Os(_)));
    }
}
