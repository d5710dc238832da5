//! The policy of a retry: how often, how long between, and after which errors.
//!
//! Full jitter is from the post "Exponential Backoff And Jitter" of the AWS Architecture Blog
//! (2015): of the ways that it compares, it needs the fewest calls until many clients that fail at
//! the same time have all succeeded.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

type When<E> = Arc<dyn Fn(&E) -> bool + Send + Sync>;
type After<E> = Arc<dyn Fn(&E) -> Option<Duration> + Send + Sync>;

/// How a [`retry`](fn@crate::retry) goes on after a failure.
///
/// The pause after a failure is drawn between zero and a bound. The bound is the first pause, and
/// doubles with each failure up to the longest pause. So many threads that fail together do not
/// come back together.
///
/// A policy can be cloned, stored and shared by threads. `E` is the error of the attempts, which
/// the compiler finds out.
///
/// | | default |
/// |---|---|
/// | [`exponential`](Self::exponential): the bound of the first pause | none, it is the constructor |
/// | [`max`](Self::max): the bound of all pauses | 30 seconds |
/// | [`attempts`](Self::attempts): the number of attempts, with the first | 5 |
/// | [`jitter`](Self::jitter): how a pause is drawn | [`Jitter::Full`] |
/// | [`when`](Self::when): the errors that are retried | all but cancels |
/// | [`after`](Self::after): the pause that an error asks for | none |
///
/// ```
/// use std::io::{Error, ErrorKind};
/// use std::time::Duration;
/// use taskgroup::Backoff;
///
/// let policy = Backoff::exponential(Duration::from_millis(100))
///     .max(Duration::from_secs(10))
///     .attempts(8)
///     .when(|error: &Error| error.kind() == ErrorKind::ConnectionRefused);
/// let error = taskgroup::retry(policy, |_| Err::<(), _>(Error::from(ErrorKind::NotFound)));
/// assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound); // at the first attempt
/// ```
#[must_use = "a policy does nothing until it is given to `retry`"]
pub struct Backoff<E = anyhow::Error> {
    first: Duration,
    max: Duration,
    attempts: u32,
    jitter: Jitter,
    when: Option<When<E>>,
    after: Option<After<E>>,
}

/// How the pause of a [`Backoff`] is chosen below its bound.
///
/// ```
/// use std::time::Duration;
/// use taskgroup::{Backoff, Jitter};
///
/// let always_100_then_200 = Backoff::<anyhow::Error>::exponential(Duration::from_millis(100))
///     .attempts(3)
///     .jitter(Jitter::None);
/// # drop(always_100_then_200);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Jitter {
    /// Each pause from zero to the bound is equally likely.
    Full,
    /// The pause is the bound.
    None,
}

impl<E> Backoff<E> {
    /// Returns a policy with a first pause of at most `first`. The bound doubles after each
    /// failure.
    ///
    /// ```
    /// use std::time::Duration;
    /// use taskgroup::Backoff;
    ///
    /// let policy = Backoff::exponential(Duration::from_millis(100));
    /// assert_eq!(taskgroup::retry(policy, |_| anyhow::Ok(1))?, 1);
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    pub const fn exponential(first: Duration) -> Self {
        Backoff {
            first,
            max: Duration::from_secs(30),
            attempts: 5,
            jitter: Jitter::Full,
            when: None,
            after: None,
        }
    }

    /// Lets no pause be longer than `max`. Default: 30 seconds. If it is shorter than the first
    /// pause, it bounds that one too.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use taskgroup::Backoff;
    /// let policy = Backoff::<anyhow::Error>::exponential(Duration::from_millis(100))
    ///     .max(Duration::from_secs(5));
    /// # drop(policy);
    /// ```
    pub fn max(mut self, max: Duration) -> Self {
        self.max = max;
        self
    }

    /// Makes at most `attempts` attempts, with the first. Default: 5. [`u32::MAX`] leaves it to the
    /// deadline of the scope, or to a cancel, to end the retry.
    ///
    /// # Panics
    ///
    /// If `attempts` is 0: a retry that calls nothing has no result.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use taskgroup::Backoff;
    /// let policy = Backoff::exponential(Duration::from_millis(1)).attempts(2);
    /// let error = taskgroup::retry(policy, |attempt| {
    ///     Err::<(), _>(anyhow::anyhow!("attempt {}", attempt.number()))
    /// });
    /// assert_eq!(error.unwrap_err().to_string(), "attempt 2");
    /// ```
    #[track_caller]
    pub fn attempts(mut self, attempts: u32) -> Self {
        assert!(
            // At the call, where the mistake is. `retry` would have no error to return.
            attempts > 0,
            "a retry with `attempts(0)` could call nothing: there must be at least 1 attempt"
        );
        self.attempts = attempts;
        self
    }

    /// Chooses the pauses in this way. Default: [`Jitter::Full`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use taskgroup::{Backoff, Jitter};
    /// let policy = Backoff::<anyhow::Error>::exponential(Duration::from_millis(100))
    ///     .jitter(Jitter::None);
    /// # drop(policy);
    /// ```
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Retries only errors for which `when` returns true. Any other error ends the retry at once.
    /// Default: all errors. Cancels are never retried, and `when` is not asked about them.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use taskgroup::Backoff;
    /// use std::io::{Error, ErrorKind};
    ///
    /// let busy = Backoff::exponential(Duration::from_millis(1))
    ///     .when(|error: &Error| error.kind() == ErrorKind::ResourceBusy);
    /// let mut attempts = 0;
    /// let error = taskgroup::retry(busy, |_| {
    ///     attempts += 1;
    ///     Err::<(), _>(Error::from(ErrorKind::PermissionDenied))
    /// });
    /// assert_eq!((error.unwrap_err().kind(), attempts), (ErrorKind::PermissionDenied, 1));
    /// ```
    pub fn when(mut self, when: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        self.when = Some(Arc::new(when));
        self
    }

    /// Pauses for as long as the error asks for, where `after` returns a duration: for example the
    /// `Retry-After` of an HTTP response. Neither [`max`](Self::max) nor the jitter changes that
    /// pause, since an earlier attempt would only be refused again. The deadline of the scope
    /// bounds it like any other pause. Default: no error asks.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use taskgroup::{Backoff, Cancelled, TaskError};
    /// #[derive(Debug, thiserror::Error)]
    /// enum Refused {
    ///     #[error("come back in {0:?}")]
    ///     Busy(Duration),
    ///     #[error("stopped")]
    ///     Cancelled(#[from] Cancelled),
    /// }
    /// # impl TaskError for Refused {
    /// #     fn cancelled(&self) -> Option<&Cancelled> {
    /// #         match self {
    /// #             Refused::Cancelled(cancelled) => Some(cancelled),
    /// #             Refused::Busy(_) => None,
    /// #         }
    /// #     }
    /// # }
    ///
    /// let policy = Backoff::exponential(Duration::from_secs(60)).after(|error| match error {
    ///     Refused::Busy(pause) => Some(*pause),
    ///     Refused::Cancelled(_) => None,
    /// });
    /// let number = taskgroup::retry(policy, |attempt| match attempt.number() {
    ///     1 => Err(Refused::Busy(Duration::from_millis(1))),
    ///     number => Ok(number),
    /// });
    /// assert_eq!(number.unwrap(), 2);
    /// ```
    pub fn after(mut self, after: impl Fn(&E) -> Option<Duration> + Send + Sync + 'static) -> Self {
        self.after = Some(Arc::new(after));
        self
    }

    pub(super) fn most_attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns whether the error is worth another attempt.
    pub(super) fn retries(&self, error: &E) -> bool {
        self.when.as_ref().is_none_or(|when| when(error))
    }

    /// Returns how long to pause after this many failures, the last with this `error`. `draw`
    /// returns a number up to its argument.
    pub(super) fn pause(
        &self,
        failures: u32,
        error: &E,
        draw: impl FnOnce(u64) -> u64,
    ) -> Duration {
        // The server knows better: neither the bound nor the jitter changes what it asked for.
        if let Some(asked_for) = self.after.as_ref().and_then(|after| after(error)) {
            return asked_for;
        }

        let bound = self.bound(failures);
        match self.jitter {
            Jitter::None => bound,
            Jitter::Full => {
                // 584 years fit. A draw from a longer bound is not longer.
                let most = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
                Duration::from_nanos(draw(most))
            }
        }
    }

    /// Returns the bound of the pause after this many failures, at least 1: the first pause,
    /// doubled after each failure but the first.
    fn bound(&self, failures: u32) -> Duration {
        // Twice nothing is nothing, however often.
        if self.first.is_zero() {
            return Duration::ZERO;
        }

        // In nanoseconds a duration has at most 94 bits, so a product that does not fit is beyond
        // every `max`.
        let doubled = 1_u128
            .checked_shl(failures - 1)
            .and_then(|factor| self.first.as_nanos().checked_mul(factor))
            .filter(|&nanos| nanos < self.max.as_nanos());

        match doubled {
            None => self.max,
            Some(nanos) => {
                const SECOND: u128 = 1_000_000_000;
                Duration::new((nanos / SECOND) as u64, (nanos % SECOND) as u32)
            }
        }
    }
}

// Not derived: `E` need not be `Clone`.
impl<E> Clone for Backoff<E> {
    fn clone(&self) -> Self {
        Backoff {
            first: self.first,
            max: self.max,
            attempts: self.attempts,
            jitter: self.jitter,
            when: self.when.clone(),
            after: self.after.clone(),
        }
    }
}

impl<E> fmt::Debug for Backoff<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backoff")
            .field("first", &self.first)
            .field("max", &self.max)
            .field("attempts", &self.attempts)
            .field("jitter", &self.jitter)
            .field("when", &self.when.is_some())
            .field("after", &self.after.is_some())
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(first: Duration) -> Backoff<()> {
        Backoff::exponential(first).jitter(Jitter::None)
    }

    fn pauses(policy: &Backoff<()>, failures: impl Iterator<Item = u32>) -> Vec<Duration> {
        let draw = |_| panic!("nothing is drawn without jitter");
        failures.map(|n| policy.pause(n, &(), draw)).collect()
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let policy = policy(Duration::from_secs(3)).max(Duration::from_secs(20));
        let seconds = pauses(&policy, 1..=5)
            .into_iter()
            .map(|pause| pause.as_secs());
        assert_eq!(seconds.collect::<Vec<_>>(), [3, 6, 12, 20, 20]);
    }

    #[test]
    fn two_hundred_failures_overflow_nothing() {
        for first in [
            Duration::from_nanos(1),
            Duration::from_secs(1),
            Duration::MAX,
        ] {
            for max in [Duration::from_secs(60), Duration::MAX] {
                let policy = policy(first).max(max).attempts(200);
                let pauses = pauses(&policy, (1..=200).chain([u32::MAX]));
                assert!(pauses.is_sorted(), "{pauses:?}");
                assert_eq!(pauses[199..], [max, max]);
            }
        }
        let none = policy(Duration::ZERO).max(Duration::MAX);
        for failures in [1, 128, 129, 200, u32::MAX] {
            let pauses = pauses(&none, failures..=failures);
            assert_eq!(pauses, [Duration::ZERO], "after {failures} failures");
        }
    }

    #[test]
    fn a_draw_from_a_bound_that_does_not_fit_is_from_what_fits() {
        let bound = Duration::from_secs(1 << 40);
        let policy = Backoff::<()>::exponential(bound).max(bound);
        let pause = policy.pause(1, &(), |most| {
            assert_eq!(most, u64::MAX);
            most
        });
        assert_eq!(pause, Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn the_longest_pause_bounds_the_first_too() {
        let policy = policy(Duration::from_secs(3)).max(Duration::from_secs(2));
        assert_eq!(pauses(&policy, 1..=1), [Duration::from_secs(2)]);
    }

    #[test]
    fn a_pause_that_is_asked_for_is_neither_drawn_nor_bounded() {
        let policy = Backoff::exponential(Duration::from_secs(1))
            .max(Duration::from_secs(2))
            .after(|asked: &Option<Duration>| *asked);
        let asked = policy.pause(1, &Some(Duration::from_secs(9)), |_| panic!("it is given"));
        assert_eq!(asked, Duration::from_secs(9));
        let drawn = policy.pause(1, &None, |most| most / 4);
        assert_eq!(drawn, Duration::from_millis(250));
    }

    proptest! {
        /// The bound by definition, in floating point where an integer may overflow.
        #[test]
        fn pauses_are_drawn_from_zero_to_the_bound(
            first in 0..u64::MAX,
            max in 0..u64::MAX,
            failures in 1..300_u32,
            part in 0.0..=1.0_f64,
        ) {
            let (first, max) = (Duration::from_nanos(first), Duration::from_nanos(max));
            let policy = Backoff::<()>::exponential(first).max(max);
            let mut draws = Vec::new();
            let pause = policy.pause(failures, &(), |most| {
                draws.push((most, ((most as f64 * part) as u64).min(most)));
                draws[0].1
            });

            let [(most, drawn)] = draws[..] else {
                panic!("one draw for a pause, not {draws:?}")
            };
            let doubled = first.as_nanos() as f64 * 2_f64.powi(failures as i32 - 1);
            let bound = doubled.min(max.as_nanos() as f64);
            // A float of 53 bits tells no more.
            prop_assert!((most as f64 - bound).abs() <= bound * 1e-15);
            prop_assert!(most <= max.as_nanos() as u64);
            prop_assert_eq!(pause, Duration::from_nanos(drawn));
        }
    }
}
