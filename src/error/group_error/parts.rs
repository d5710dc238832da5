//! Taking a report apart.

use super::{Failures, GroupError, Report};
use crate::error::failure::{Failure, FailureKind};
use crate::error::task_error::TaskError;

impl<E> GroupError<E> {
    /// Divides the report into the failures for which `pred` is true and the rest.
    ///
    /// Every failure is on one side, in its old order. A side that holds nothing is `None`. The
    /// cancel that [`cancelled`](Self::cancelled) returns goes to the rest, which then is `Some`
    /// even without failures: dealing with a failure does not undo a cancel.
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
    ///     error.split(|failure| match failure.kind() {
    ///         FailureKind::Error(error) => error.is::<std::io::Error>(),
    ///         _ => false,
    ///     });
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
            worst_latencies,
            ..
        } = *self.0;

        // `dismantle` cannot be named here, where `E` need not be `'static`. So both sides take
        // over the pointer to it.
        let drop = failures.drop;
        let side = |name, cancelled| {
            Report {
                // Both sides are reports of one group.
                worst_latencies: worst_latencies.clone(),
                ..Report::new(
                    name,
                    location,
                    Failures {
                        list: Vec::new(),
                        drop,
                    },
                    cancelled,
                )
            }
        };

        // The cancel goes to the rest, since dealing with a failure does not undo it.
        let mut matching = side(name.clone(), None);
        let mut rest = side(name, cancelled);

        for (i, failure) in failures.take().into_iter().enumerate() {
            let side = if pred(&failure) {
                &mut matching
            } else {
                &mut rest
            };

            // The two that a report knows by their index are followed to their new places.
            let place = Some(side.failures.list.len());
            if canceller == Some(i) {
                side.canceller = place;
            }
            if primary == Some(i) {
                side.primary = place;
            }

            side.failures.list.push(failure);
        }

        // A side without failures still reports the cancel.
        let unless_empty = |side: Report<E>| {
            (!side.failures.list.is_empty() || side.cancelled.is_some()).then(|| Self::of(side))
        };
        (unless_empty(matching), unless_empty(rest))
    }

    /// Returns the error, if the report holds a single failure that is an error.
    ///
    /// A cancel beside the error is dropped: the scope that it came from knows of it.
    ///
    /// # Errors
    ///
    /// Returns the report unchanged if it does not hold exactly one failure, or if that is no
    /// error.
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

        // Taken out of the list, so that the drop of the report leaves it alone.
        match self.0.failures.list.pop().map(Failure::into_kind) {
            Some(FailureKind::Error(error)) => Ok(error),
            _ => unreachable!("the only failure is an error"),
        }
    }
}

impl<E: TaskError> GroupError<E> {
    /// Raises the first panic again. Returns the report if it holds none.
    ///
    /// The other failures are not lost: they are logged with `tracing` at error level first.
    ///
    /// # Panics
    ///
    /// If the report holds a panic: that is its purpose.
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

        // The panic is raised below, so it needs no log.
        let mut failures = self.into_failures();
        let panicked = failures.remove(first);
        failures.into_iter().for_each(Failure::drop_hidden);

        // Last, since it does not return: what the panic hides has been logged and dropped.
        match panicked.into_kind() {
            FailureKind::Panic(panic) => panic.resume(),
            _ => unreachable!("the failure is a panic"),
        }
    }
}
