//! The errors of starting a task.

use std::error::Error;
use std::{fmt, io};

use super::{Failure, TaskError};
use crate::cancel::Cancelled;

/// The error of [`try_spawn`](crate::TaskGroup::try_spawn): the task was not started, and here it
/// is back.
///
/// A closure that borrows makes an error that is not `'static`, which `?` cannot turn into an
/// `anyhow::Error`. What can be passed up then is [`into_kind`](Self::into_kind).
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
    /// As many tasks as the group's limit allows are running.
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

    /// The same refusal of what `f` makes of the task.
    pub(crate) fn map<G>(self, f: impl FnOnce(F) -> G) -> SpawnError<G> {
        SpawnError {
            kind: self.kind,
            task: f(self.task),
        }
    }

    /// Why the task was not started.
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

    /// Why the task was not started, by value; the task is dropped.
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

    /// The task that was not started.
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
        f.debug_struct("SpawnError")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl<F> Error for SpawnError<F> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}

/// The error of [`start`](crate::TaskGroup::start): the task did not get as far as being ready.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// use taskgroup::{StartError, TaskGroup};
///
/// TaskGroup::scope(|g| {
///     let started = g.start(|ready| {
///         let port: u16 = "no port".parse()?;
///         ready.send(port);
///         Ok(())
///     });
///     match started {
///         Err(StartError::Failed(failure)) => println!("{failure}; going on without it"),
///         Err(other) => return Err(other.into()),
///         Ok(port) => println!("listens at {port}"),
///     }
///     Ok(())
/// })
/// # }
/// ```
#[non_exhaustive]
pub enum StartError<E> {
    /// The wait for the task was cancelled.
    Cancelled(Cancelled),
    /// The task failed before it was ready. The failure is the caller's, and does not fail the
    /// group.
    Failed(Failure<E>),
    /// The task ended without saying that it was ready.
    NotReady,
}

impl<E> fmt::Display for StartError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StartError::Cancelled(_) => "cancelled before the task was ready",
            StartError::Failed(_) => "the task failed before it was ready",
            StartError::NotReady => "the task ended without saying that it was ready",
        })
    }
}

impl<E: TaskError> fmt::Debug for StartError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Cancelled(cancelled) => {
                f.debug_tuple("Cancelled").field(cancelled).finish()
            }
            StartError::Failed(failure) => f.debug_tuple("Failed").field(failure).finish(),
            StartError::NotReady => f.write_str("NotReady"),
        }
    }
}

impl<E: TaskError> Error for StartError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StartError::Cancelled(cancelled) => Some(cancelled),
            StartError::Failed(failure) => Some(failure),
            StartError::NotReady => None,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::testing::{cancelled, failed};
    use super::*;

    #[test]
    fn errors_are_send_sync_and_static() {
        fn check<T: Error + Send + Sync + 'static>() {}
        check::<SpawnError<fn()>>();
        check::<SpawnErrorKind>();
        check::<StartError<anyhow::Error>>();
    }

    #[test]
    fn a_refused_task_comes_back_unchanged_and_unprinted() {
        let secret = String::from("value");
        let refused = SpawnError::new(SpawnErrorKind::Full, || secret.len());
        assert_eq!(
            refused.to_string(),
            "cannot spawn the task: the group runs as many tasks as its limit allows"
        );
        assert!(format!("{refused:?}").contains("Full"));
        assert!(refused.source().is_none());
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
        assert!(TaskError::cancelled(&anyhow::Error::from(refused)).is_some());
        let start = StartError::<anyhow::Error>::Cancelled(cancelled());
        assert!(TaskError::cancelled(&anyhow::Error::from(start)).is_some());
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

    #[test]
    fn a_task_that_failed_is_the_source_down_to_its_error() {
        let start = StartError::Failed(failed(1, anyhow::anyhow!("port in use")));
        let error = anyhow::Error::from(start);
        assert_eq!(error.root_cause().to_string(), "port in use");
        assert!(TaskError::cancelled(&error).is_none());
        assert!(StartError::<anyhow::Error>::NotReady.source().is_none());
    }
}
