//! The number and the time of an attempt, for the closure of a retry.

use std::time::{Duration, Instant};

use crate::facade;

/// One call of the closure of a [`retry`](fn@crate::retry).
///
/// ```
/// use std::time::Duration;
/// use taskgroup::Backoff;
///
/// # fn main() -> anyhow::Result<()> {
/// let policy = Backoff::exponential(Duration::from_millis(1)).attempts(3);
/// taskgroup::retry(policy, |attempt| {
///     println!("attempt {} after {:?}", attempt.number(), attempt.elapsed());
///     anyhow::ensure!(attempt.is_last(), "one more");
///     Ok(())
/// })
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempt {
    number: u32,
    most: u32,
    begun: Instant,
}

impl Attempt {
    pub(super) fn first(most: u32, begun: Instant) -> Self {
        Attempt {
            number: 1,
            most,
            begun,
        }
    }

    /// Returns the attempt after this one, which is not the last.
    pub(super) fn next(self) -> Self {
        Attempt {
            // It is below `most`, so it does not overflow.
            number: self.number + 1,
            ..self
        }
    }

    /// Returns the number of the attempt. The first is 1.
    ///
    /// ```
    /// # use taskgroup::{Backoff, Cancelled};
    /// let policy = Backoff::<Cancelled>::exponential(std::time::Duration::from_millis(1));
    /// assert_eq!(taskgroup::retry(policy, |attempt| Ok(attempt.number())), Ok(1));
    /// ```
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Returns whether no attempt follows if this one fails.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use taskgroup::{Backoff, Cancelled};
    /// let once = Backoff::<Cancelled>::exponential(Duration::from_millis(1)).attempts(1);
    /// assert_eq!(taskgroup::retry(once, |attempt| Ok(attempt.is_last())), Ok(true));
    /// ```
    pub fn is_last(&self) -> bool {
        self.number >= self.most
    }

    /// Returns the time since the first attempt began, with the pauses.
    ///
    /// ```
    /// # use taskgroup::{Backoff, Cancelled};
    /// # use std::time::Duration;
    /// let policy = Backoff::<Cancelled>::exponential(Duration::from_millis(1));
    /// let elapsed = taskgroup::retry(policy, |attempt| Ok(attempt.elapsed()))?;
    /// assert!(elapsed < Duration::from_secs(60));
    /// # Ok::<(), Cancelled>(())
    /// ```
    pub fn elapsed(&self) -> Duration {
        facade::now().saturating_duration_since(self.begun)
    }
}
