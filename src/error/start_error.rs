//! The error of starting a task and waiting until it is ready.

use std::error::Error;
use std::fmt;

use super::failure::Failure;
use super::task_error::TaskError;
use crate::cancel::Cancelled;

/// The error of [`start`](crate::TaskGroup::start): the task did not become ready.
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
pub enum StartError<E = anyhow::Error> {
    /// The wait for the task was cancelled.
    Cancelled(Cancelled),
    /// The task failed before it was ready. The failure belongs to the caller and does not fail the
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
            // The group of the caller looks for its own cancel among the sources.
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
    fn the_error_is_send_sync_and_static() {
        fn check<T: Error + Send + Sync + 'static>() {}
        check::<StartError<anyhow::Error>>();
    }

    #[test]
    fn cancellation_is_the_source_so_that_a_group_recognises_it() {
        let start = StartError::<anyhow::Error>::Cancelled(cancelled());
        assert!(TaskError::cancelled(&anyhow::Error::from(start)).is_some());
    }

    #[test]
    fn a_task_that_failed_is_the_source_down_to_its_error() {
        let start = StartError::Failed(failed(1, anyhow::anyhow!("port in use")));
        let error = anyhow::Error::from(start);
        assert_eq!(error.root_cause().to_string(), "port in use");

        // The failure of another task is not a cancel of the caller.
        assert!(TaskError::cancelled(&error).is_none());
        assert!(StartError::<anyhow::Error>::NotReady.source().is_none());
    }
}
