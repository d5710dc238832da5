//! A flag that threads wait for.

use std::fmt;
use std::time::{Duration, Instant};

use super::wait_set::WaitSet;
use crate::cancel::Cancelled;
use crate::cancel::context::{self, Outcome};
use crate::facade::{AtomicU32, Ordering, const_fn};
use crate::waiting::WaitKind;

/// A flag that threads wait for. It can be raised and lowered any number of times.
///
/// ```
/// use taskgroup::sync::Event;
///
/// # fn main() -> anyhow::Result<()> {
/// let ready = Event::new();
/// taskgroup::TaskGroup::scope(|g| {
///     g.spawn(|| Ok(ready.wait()?));
///     ready.set();
///     Ok(())
/// })?;
/// assert!(ready.is_set());
/// # Ok(())
/// # }
/// ```
///
/// # Memory ordering
///
/// What happened before the `set` that raised the flag happens before every return of `is_set() ==
/// true`, and of a wait that was not cancelled, up to the next `reset`.
pub struct Event {
    /// 1 while the flag is up. Written only under the lock of the wait set.
    set: AtomicU32,
    waiters: WaitSet,
}

impl Event {
    const_fn! {
        /// Creates an event with the flag down.
        ///
        /// ```
        /// use taskgroup::sync::Event;
        ///
        /// static READY: Event = Event::new();
        /// assert!(!READY.is_set());
        /// ```
        pub const fn new() -> Self {
            Event { set: AtomicU32::new(0), waiters: WaitSet::new() }
        }
    }

    /// Raises the flag and wakes all waiting threads. They go on even if the flag is lowered at
    /// once.
    ///
    /// ```
    /// let event = taskgroup::sync::Event::new();
    /// event.set();
    /// assert!(event.is_set());
    /// ```
    pub fn set(&self) {
        // Release pairs with the acquire in `is_set`.
        self.waiters
            .release(|| self.set.store(1, Ordering::Release));
    }

    /// Lowers the flag.
    ///
    /// ```
    /// let event = taskgroup::sync::Event::new();
    /// event.set();
    /// event.reset();
    /// assert!(!event.is_set());
    /// ```
    pub fn reset(&self) {
        // Relaxed: a lowered flag promises nothing. Under the lock, so that it does not come
        // between the flag and the grants of a `set`.
        self.waiters.locked(|| self.set.store(0, Ordering::Relaxed));
    }

    /// Returns whether the flag is up.
    ///
    /// ```
    /// assert!(!taskgroup::sync::Event::new().is_set());
    /// ```
    #[inline]
    pub fn is_set(&self) -> bool {
        // Acquire pairs with the release in `set`.
        self.set.load(Ordering::Acquire) != 0
    }

    /// Blocks until the flag is up.
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
    /// let event = taskgroup::sync::Event::new();
    /// event.set();
    /// event.wait()
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn wait(&self) -> Result<(), Cancelled> {
        context::check()?;
        if self.is_set() {
            Ok(())
        } else {
            self.waiters
                .wait(WaitKind::Event, None, || self.is_set())
                .map(drop)
        }
    }

    /// Blocks until the flag is up, for at most `duration`. Returns whether it is up.
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
    /// assert!(!taskgroup::sync::Event::new().wait_timeout(Duration::from_millis(1))?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn wait_timeout(&self, duration: Duration) -> Result<bool, Cancelled> {
        context::check()?;
        if self.is_set() {
            // Without a wait the clock need not be read.
            return Ok(true);
        }

        let outcome = self.waiters.wait(
            WaitKind::Event,
            Instant::now().checked_add(duration),
            || self.is_set(),
        )?;
        Ok(outcome == Outcome::Ready)
    }
}

impl Default for Event {
    fn default() -> Self {
        Event::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("is_set", &self.is_set())
            .field("waiting", &self.waiters.len())
            .finish()
    }
}
