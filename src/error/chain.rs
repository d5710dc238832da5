//! Walking along the sources of an error.

use std::error::Error;
use std::sync::Arc;
use std::{io, iter};

use crate::cancel::Cancelled;

/// How many errors of a chain are looked at. The chain of an error that is its own source has no
/// end.
const LONGEST: usize = 1024;

/// Returns the error and its sources, outermost first, up to [`LONGEST`] of them.
///
/// The payload of an `io::Error` is visited too: `io::Error::source()` steps over it to the source
/// of the payload.
pub(crate) fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // The payload comes first: a cancel passed on as an `io::Error` is that payload.
    iter::successors(Some(error), |&error| {
        let payload = || error.downcast_ref::<io::Error>()?.get_ref();
        match owned(error).or_else(|| Some(payload()?)) {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    })
    // A source may lead back to an error before it, and a chain without an end would hang the
    // report.
    .take(LONGEST)
}

/// Returns the error in a box or an `Arc`, which is an error of another type with the same sources.
/// The types of errors that a cancel is passed on in are known.
fn owned<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    fn io(error: &io::Error) -> &(dyn Error + 'static) {
        error
    }

    // Each wrapper hides the concrete error from `downcast_ref`, and its own `source` skips that
    // error.
    let boxed = || Some(io(error.downcast_ref::<Box<io::Error>>()?));
    let shared = || Some(io(error.downcast_ref::<Arc<io::Error>>()?));
    let any = || {
        let any = error.downcast_ref::<Arc<dyn Error + Send + Sync>>()?;
        Some(&**any as &(dyn Error + 'static))
    };

    boxed().or_else(shared).or_else(any)
}

impl Cancelled {
    /// Finds the cancel in an error of any type.
    ///
    /// Looks along the source chain, inside an [`io::Error`] too, which may be boxed or in an
    /// `Arc`. Returns `None` for a [`GroupError`](crate::GroupError) with failures, whatever they
    /// hold: it is a failure.
    ///
    /// Use it where you convert an error into one without sources, so that a cancel does not turn
    /// into a failure.
    ///
    /// ```
    /// use std::error::Error;
    /// use taskgroup::{CancelToken, Cancelled};
    ///
    /// fn load() -> Result<u32, Box<dyn Error>> {
    ///     taskgroup::checkpoint()?;
    ///     Ok("1".parse()?)
    /// }
    /// fn load_or_stop() -> anyhow::Result<u32> {
    ///     load().map_err(|error| match Cancelled::find(&*error) {
    ///         Some(cancelled) => cancelled.clone().into(),
    ///         None => anyhow::anyhow!("{error}"),
    ///     })
    /// }
    ///
    /// let token = CancelToken::new();
    /// token.cancel();
    /// assert!(token.run(load_or_stop).unwrap_err().is::<Cancelled>());
    /// ```
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Cancelled> {
        find_cancelled(error)
    }
}

/// Returns the first `Cancelled` along the chain.
///
/// A group with failures is a failure whatever lies below it, and the chain ends there: its source
/// is an [`Outline`](super::tree::Outline), which has no source. A group that was only cancelled
/// has its `Cancelled` as source.
pub(super) fn find_cancelled<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Cancelled> {
    chain(error).find_map(|error| error.downcast_ref())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::fmt;

    use super::super::TaskError;
    use super::super::testing::{drawn_failure, failed, failed_group};
    use super::*;

    /// It is its own source.
    #[derive(Debug)]
    struct Circular;

    impl fmt::Display for Circular {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("in a cycle")
        }
    }

    impl Error for Circular {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(self)
        }
    }

    #[test]
    fn an_error_that_is_its_own_source_is_walked_and_drawn() {
        assert_eq!(chain(&Circular).count(), LONGEST);

        // Both the search for a cancel and the drawing walk the chain.
        let error = anyhow::Error::new(Circular).context("outer");
        assert!(TaskError::cancelled(&error).is_none());
        assert_eq!(
            drawn_failure(&failed(1, error)),
            "outer\ncaused by: in a cycle"
        );

        assert!(
            format!("{:?}", failed_group(anyhow::Error::new(Circular))).ends_with("in a cycle")
        );
        assert!(TaskError::cancelled(&io::Error::other(Circular)).is_none());
    }
}
