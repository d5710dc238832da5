//! The trait of the error types of tasks.

use std::error::Error;
use std::{fmt, io};

use super::chain::find_cancelled;
use crate::cancel::Cancelled;

/// The error type of a group's tasks: a type that can hold a [`Cancelled`] and say that it does.
///
/// Tasks return errors of this type. If a task is cancelled, its blocking points fail with
/// [`Cancelled`], and `?` turns that into this type. When the task returns the error, the group
/// asks [`cancelled`](Self::cancelled) whether it is the group's own cancellation coming back. If
/// so, it is not reported. Otherwise it is a failure.
///
/// It is implemented for [`anyhow::Error`] (the default), [`std::io::Error`], [`Cancelled`],
/// [`GroupError`](crate::GroupError) and, with the feature `eyre`, `eyre::Report`. For an enum of
/// your own, add a variant that holds a `Cancelled`:
///
/// ```
/// use taskgroup::{Cancelled, GroupError, TaskError, TaskGroup};
///
/// #[derive(Debug, thiserror::Error)]
/// enum FetchError {
///     #[error("stopped")]
///     Cancelled(#[from] Cancelled),
///     #[error("not a number")]
///     Parse(#[from] std::num::ParseIntError),
/// }
///
/// impl TaskError for FetchError {
///     fn cancelled(&self) -> Option<&Cancelled> {
///         match self {
///             FetchError::Cancelled(cancelled) => Some(cancelled),
///             FetchError::Parse(_) => None,
///         }
///     }
///
///     fn as_error(&self) -> Option<&(dyn std::error::Error + 'static)> {
///         Some(self)
///     }
/// }
///
/// # fn main() -> Result<(), GroupError<FetchError>> {
/// let sum = TaskGroup::builder().error_type::<FetchError>().scope(|g| {
///     let a = g.spawn(|| Ok("20".parse::<u64>()?));
///     let b = g.spawn(|| {
///         taskgroup::checkpoint()?;
///         Ok("22".parse::<u64>()?)
///     });
///     Ok(a.join()? + b.join()?)
/// })?;
/// assert_eq!(sum, 42);
/// # Ok(())
/// # }
/// ```
///
/// Let the `Cancelled` be the variant's `source()`, like `#[from]` does. A variant marked
/// `#[error(transparent)]` hides it from code that walks the chain. Inside an `anyhow::Error` such
/// an enum no longer counts as a cancellation.
///
/// Boxed errors are not task errors: with a `dyn Trait` in the error type the compiler rejects
/// closures that borrow.
///
/// ```compile_fail,E0277
/// fn group_of<E: taskgroup::TaskError>() {}
/// group_of::<Box<dyn std::error::Error + Send + Sync>>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a task group",
    label = "does not implement `TaskError`",
    note = "tasks must be able to end with `Cancelled`, and the group must be able to tell that \
            they did",
    note = "instead of `Box<dyn Error>`, `&str` or `String` use `anyhow::Error`, the default \
            (`anyhow::anyhow!` makes one of a text)",
    note = "or use an enum of your own with a `#[from] Cancelled` variant, and implement \
            `TaskError` for it"
)]
pub trait TaskError: From<Cancelled> + fmt::Display + fmt::Debug + Send + 'static {
    /// Returns the cancellation that this error passes on. `None` if it is a failure.
    ///
    /// An error that holds both a cancellation and a failure is a failure: return `None`, or it may
    /// go unreported.
    fn cancelled(&self) -> Option<&Cancelled>;

    /// Returns this error as a [`std::error::Error`]. The report then draws its sources.
    ///
    /// The default is `None`: the report prints only the `Display` of the error, and cannot tell
    /// whether the failure is an [echo](crate::Failure::echo_of). Types that implement
    /// `std::error::Error` return `Some(self)`.
    fn as_error(&self) -> Option<&(dyn Error + 'static)> {
        None
    }

    /// Returns the error that this one holds, which its sources may leave out. Implemented by
    /// [`task_error!`](crate::task_error).
    #[doc(hidden)]
    fn held(&self) -> Option<&(dyn Error + 'static)> {
        None
    }
}

/// Looks for a cancellation along the source chain, inside an [`io::Error`] too. A nested
/// [`GroupError`](crate::GroupError) with failures ends the search: it is not a cancellation,
/// whatever lies below it.
impl TaskError for anyhow::Error {
    fn cancelled(&self) -> Option<&Cancelled> {
        // Not by `anyhow::Error::chain`, which steps over the payload of an `io::Error`.
        find_cancelled(self.as_ref())
    }

    fn as_error(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.as_ref())
    }
}

/// Looks for a cancellation along the source chain, like for [`anyhow::Error`].
#[cfg(feature = "eyre")]
#[cfg_attr(docsrs, doc(cfg(feature = "eyre")))]
impl TaskError for eyre::Report {
    fn cancelled(&self) -> Option<&Cancelled> {
        find_cancelled(self.as_ref())
    }

    fn as_error(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.as_ref())
    }
}

/// The error of cancelled I/O: its kind is [`io::ErrorKind::Other`], and
/// [`get_ref`](io::Error::get_ref) gives the `Cancelled`.
///
/// Existing code retries errors of some kinds. This kind is none of them.
impl From<Cancelled> for io::Error {
    fn from(cancelled: Cancelled) -> Self {
        io::Error::other(cancelled)
    }
}

/// Looks for a cancellation in the error's payload and along the payload's source chain.
impl TaskError for io::Error {
    fn cancelled(&self) -> Option<&Cancelled> {
        // The payload is not a source of the error, but the walk visits it.
        find_cancelled(self)
    }

    fn as_error(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

/// For tasks that can only be cancelled.
impl TaskError for Cancelled {
    fn cancelled(&self) -> Option<&Cancelled> {
        Some(self)
    }

    fn as_error(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::Location;

    use anyhow::Context;

    use super::super::GroupError;
    use super::super::testing::{Plain, cancelled, failed, failed_group};
    use super::*;

    fn counts_as_cancelled(error: impl TaskError) -> bool {
        error.cancelled().is_some()
    }

    #[derive(Debug, thiserror::Error)]
    #[error("wrapped")]
    struct Wrapped(#[source] Box<dyn Error + Send + Sync>);

    fn stopped_group<E>() -> GroupError<E> {
        GroupError::from(cancelled())
    }

    #[test]
    fn a_cancelled_is_found_under_context_and_inside_io_errors() {
        let direct = anyhow::Error::from(cancelled());
        assert!(counts_as_cancelled(
            direct.context("reading").context("serving")
        ));

        // No kind that existing code retries.
        let io = io::Error::from(cancelled());
        assert_eq!(io.kind(), io::ErrorKind::Other);
        assert!(counts_as_cancelled(
            anyhow::Error::from(io).context("reading")
        ));

        // Two of them, with an error of the user in between.
        assert!(counts_as_cancelled(io::Error::other(Wrapped(Box::new(
            io::Error::from(cancelled())
        )))));

        assert!(counts_as_cancelled(cancelled()));
    }

    #[test]
    fn other_errors_are_not_cancellations() {
        // The type decides, never the text.
        assert!(!counts_as_cancelled(anyhow::anyhow!("cancelled: no")));
        assert!(!counts_as_cancelled(io::Error::from(
            io::ErrorKind::NotFound
        )));
        assert!(!counts_as_cancelled(io::Error::other("disk full")));
    }

    #[test]
    fn the_cancelled_found_is_the_one_put_in() {
        let put_in = cancelled();
        let error = Err::<(), _>(put_in.clone()).context("reading").unwrap_err();

        // A group compares origins, to tell its own cancel from a foreign one.
        assert_eq!(
            TaskError::cancelled(&error).map(Cancelled::origin),
            Some(put_in.origin())
        );
    }

    #[test]
    fn a_group_with_failures_ends_the_search_whatever_its_error_type() {
        // Below each of these groups there is a cancel to be found.
        assert!(!counts_as_cancelled(anyhow::Error::from(failed_group::<
            anyhow::Error,
        >(
            anyhow::Error::from(cancelled())
        ))));
        assert!(!counts_as_cancelled(
            anyhow::Error::from(failed_group::<io::Error>(cancelled().into())).context("outer")
        ));
        assert!(!counts_as_cancelled(anyhow::Error::from(failed_group(
            cancelled()
        ))));
        assert!(!counts_as_cancelled(anyhow::Error::from(failed_group(
            Plain::from(cancelled())
        ))));

        // A wrapper around the group does not hide that it failed either.
        assert!(!counts_as_cancelled(anyhow::Error::from(Box::new(
            failed_group(Plain::from(cancelled()))
        ))));
        assert!(!counts_as_cancelled(io::Error::other(failed_group(
            Plain::from(cancelled())
        ))));
        assert!(!counts_as_cancelled(failed_group(Plain::from(cancelled()))));
    }

    #[test]
    fn a_group_that_failed_and_was_cancelled_is_a_failure() {
        let both = || {
            GroupError::new(
                None,
                Location::caller(),
                vec![failed(1, cancelled())],
                None,
                Some(cancelled()),
            )
        };

        assert!(!counts_as_cancelled(both()));
        assert!(!counts_as_cancelled(anyhow::Error::from(both())));
    }

    #[test]
    fn a_group_that_was_only_cancelled_counts_whatever_its_error_type() {
        assert!(counts_as_cancelled(
            anyhow::Error::from(stopped_group::<anyhow::Error>()).context("outer")
        ));

        // The errors of the inner group need not be errors of the outer.
        assert!(counts_as_cancelled(anyhow::Error::from(stopped_group::<
            Plain,
        >())));
        assert!(counts_as_cancelled(io::Error::other(
            stopped_group::<Plain>()
        )));
        assert!(counts_as_cancelled(stopped_group::<Plain>()));
    }

    #[cfg(feature = "eyre")]
    #[test]
    fn eyre_reports_are_searched_like_anyhow_errors() {
        assert!(counts_as_cancelled(
            eyre::Report::from(io::Error::from(cancelled())).wrap_err("reading")
        ));
        assert!(!counts_as_cancelled(eyre::Report::from(failed_group(
            Plain::from(cancelled())
        ))));
        assert!(!counts_as_cancelled(eyre::eyre!("disk full")));
    }
}
