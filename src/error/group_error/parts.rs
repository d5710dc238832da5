//! Taking a report apart.

use super::{Failures, GroupError, Report};
use crate::error::failure::{Failure, FailureKind};
use crate::error::task_error::TaskError;
use crate::panics::drop_contained;

impl<E> GroupError<E> {
    /// Divides the report into the failures for which `pred` is true and the rest.
    ///
    /// Every failure is on one side, in the order it had; a side that holds nothing is `None`. What
    /// [`cancelled`](Self::cancelled) gives goes to the rest, which then is `Some` even without
    /// failures: to deal with a failure does not undo a cancel.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// use taskgroup::{FailureKind, TaskGroup};
    ///
    /// let error = TaskGroup::scope(|g| -> anyhow::Result<()> {
    ///     g.spawn(|| Ok(std::fs::read("no such file")?));
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// let (missing, rest) =
    ///     error.split(|failure| matches!(failure.kind(), FailureKind::Error(e) if e.is::<std::io::Error>()));
    /// assert_eq!(missing.map(|error| error.failures().len()), Some(1));
    /// assert!(rest.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn split(self, mut pred: impl FnMut(&Failure<E>) -> bool) -> (Option<Self>, Option<Self>) {
        let Report {
            name,
            location,
            mut failures,
            canceller,
            primary,
            cancelled,
            ..
        } = *self.0;
        let drop = failures.drop;
        let side = |name, cancelled| {
            Report::new(
                name,
                location,
                Failures {
                    list: Vec::new(),
                    drop,
                },
                cancelled,
            )
        };
        let mut matching = side(name.clone(), None);
        let mut rest = side(name, cancelled);
        for (i, failure) in failures.take().into_iter().enumerate() {
            let side = if pred(&failure) {
                &mut matching
            } else {
                &mut rest
            };
            let place = Some(side.failures.list.len());
            if canceller == Some(i) {
                side.canceller = place;
            }
            if primary == Some(i) {
                side.primary = place;
            }
            side.failures.list.push(failure);
        }
        let unless_empty = |side: Report<E>| {
            (!side.failures.list.is_empty() || side.cancelled.is_some()).then(|| Self::of(side))
        };
        (unless_empty(matching), unless_empty(rest))
    }

    /// The error, if a single error is all that happened; a panic, or more than one failure, gives
    /// the report back.
    ///
    /// A cancel beside the error is let go: whoever is above knows of it.
    ///
    /// # Errors
    ///
    /// The report, unchanged, if it holds anything but exactly one failure that is an error.
    ///
    /// ```
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::scope(|g| {
    ///     g.spawn(|| Ok("x".parse::<u32>()?));
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// let error: anyhow::Error = error.into_single().unwrap_or_else(anyhow::Error::from);
    /// assert!(error.is::<std::num::ParseIntError>());
    /// ```
    pub fn into_single(mut self) -> Result<E, Self> {
        if self.failures().len() != 1 || self.errors().next().is_none() {
            return Err(self);
        }
        match self.0.failures.list.pop().map(Failure::into_kind) {
            Some(FailureKind::Error(error)) => Ok(error),
            _ => unreachable!("the only failure is an error"),
        }
    }
}

impl<E: TaskError> GroupError<E> {
    /// Goes on with the first panic, if there is one; gives the report back if not.
    ///
    /// The other failures are not lost: they are logged with `tracing` at error level first.
    ///
    /// # Panics
    ///
    /// If the report holds a panic; that is what it is for.
    ///
    /// ```
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::scope(|g| {
    ///     g.spawn(|| Ok("x".parse::<u32>()?));
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// // No task panicked, so this returns.
    /// assert_eq!(error.resume_panic().failures().len(), 1);
    /// ```
    pub fn resume_panic(self) -> Self {
        let Some(first) = self
            .failures()
            .iter()
            .position(|failure| matches!(failure.kind(), FailureKind::Panic(_)))
        else {
            return self;
        };
        let mut failures = self.into_failures();
        let panicked = failures.remove(first);
        for failure in failures {
            failure.log_hidden();
            // Dropped here, not by the unwinding, in which a destructor that panics would abort the
            // process.
            drop_contained("failure that a panic hides", failure);
        }
        match panicked.into_kind() {
            FailureKind::Panic(panic) => panic.resume(),
            _ => unreachable!("the failure is a panic"),
        }
    }
}
