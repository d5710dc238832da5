//! A count that goes down to zero, once.

use std::fmt;
use std::time::{Duration, Instant};

use super::wait_set::WaitSet;
use crate::cancel::Cancelled;
use crate::cancel::context::{self, Outcome};
use crate::facade::{AtomicUsize, Ordering, const_fn};
use crate::waiting::WaitKind;

/// Lets threads wait until a number of events have happened. It opens once and stays open.
///
/// ```
/// use taskgroup::sync::Latch;
///
/// # fn main() -> anyhow::Result<()> {
/// let warm = Latch::new(3);
/// taskgroup::TaskGroup::scope(|g| {
///     for _ in 0..3 {
///         g.spawn(|| {
///             warm.count_down();
///             Ok(())
///         });
///     }
///     Ok(warm.wait()?)
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// # Memory ordering
///
/// What happened before each `count_down` happens before the return of every wait that was not
/// cancelled.
pub struct Latch {
    left: AtomicUsize,
    waiters: WaitSet,
}

impl Latch {
    const_fn! {
        /// Creates a latch that opens after `count` calls of [`count_down`](Self::count_down). With
        /// a count of zero it is open.
        ///
        /// ```
        /// # fn main() -> Result<(), taskgroup::Cancelled> {
        /// use taskgroup::sync::Latch;
        ///
        /// static OPEN: Latch = Latch::new(0);
        /// OPEN.wait()?;
        /// # Ok(())
        /// # }
        /// ```
        pub const fn new(count: usize) -> Self {
            Latch { left: AtomicUsize::new(count), waiters: WaitSet::new() }
        }
    }

    /// Counts one down. The call that reaches zero wakes all waiting threads. An open latch stays
    /// as it is.
    ///
    /// ```
    /// let latch = taskgroup::sync::Latch::new(1);
    /// latch.count_down();
    /// latch.count_down();
    /// assert_eq!(latch.count(), 0);
    /// ```
    pub fn count_down(&self) {
        let mut left = self.left.load(Ordering::Relaxed);
        while left != 0 {
            // AcqRel: the counts form one chain, and the acquire in `count` reads its end.
            match self.left.compare_exchange_weak(
                left,
                left - 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                // The count is zero by now, so there are only threads to let go.
                Ok(1) => return self.waiters.release(|| ()),
                Ok(_) => return,
                Err(now) => left = now,
            }
        }
    }

    /// Returns how many more calls of [`count_down`](Self::count_down) open the latch.
    ///
    /// ```
    /// assert_eq!(taskgroup::sync::Latch::new(2).count(), 2);
    /// ```
    #[inline]
    pub fn count(&self) -> usize {
        // Acquire pairs with the releases in `count_down`.
        self.left.load(Ordering::Acquire)
    }

    /// Blocks until the latch is open.
    ///
    /// # Cancellation
    ///
    /// A blocking point.
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// taskgroup::sync::Latch::new(0).wait()
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn wait(&self) -> Result<(), Cancelled> {
        context::check()?;
        if self.count() == 0 {
            Ok(())
        } else {
            self.waiters
                .wait(WaitKind::Latch, None, || self.count() == 0)
                .map(drop)
        }
    }

    /// Blocks until the latch is open, for at most `duration`. Returns whether it is open.
    ///
    /// # Cancellation
    ///
    /// A blocking point.
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// use std::time::Duration;
    /// assert!(!taskgroup::sync::Latch::new(1).wait_timeout(Duration::from_millis(1))?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn wait_timeout(&self, duration: Duration) -> Result<bool, Cancelled> {
        context::check()?;
        if self.count() == 0 {
            // Without a wait the clock need not be read.
            return Ok(true);
        }

        let outcome = self.waiters.wait(
            WaitKind::Latch,
            Instant::now().checked_add(duration),
            || self.count() == 0,
        )?;
        Ok(outcome == Outcome::Ready)
    }
}

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latch")
            .field("count", &self.count())
            .field("waiting", &self.waiters.len())
            .finish()
    }
}
