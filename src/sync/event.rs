//! A flag that threads wait for.

use std::fmt;
use std::time::{Duration, Instant};

use super::gate::Gate;
use crate::cancel::Cancelled;
use crate::cancel::context::{self, Outcome};
use crate::facade::{AtomicU32, Ordering, const_fn};
use crate::waiting::WaitKind;

/// A flag that threads wait for, and that can be put down again.
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
    /// 1 if it is set; changed only with the gate closed to others.
    set: AtomicU32,
    gate: Gate,
}

impl Event {
    const_fn! {
        /// An event that is not set.
        ///
        /// ```
        /// use taskgroup::sync::Event;
        ///
        /// static READY: Event = Event::new();
        /// assert!(!READY.is_set());
        /// ```
        pub const fn new() -> Self {
            Event { set: AtomicU32::new(0), gate: Gate::new() }
        }
    }

    /// Raises the flag and wakes all who wait. Those that wait now go on even if the flag is put
    /// down at once.
    ///
    /// ```
    /// let event = taskgroup::sync::Event::new();
    /// event.set();
    /// assert!(event.is_set());
    /// ```
    pub fn set(&self) {
        // Release pairs with the acquire in `is_set`.
        self.gate.open(|| self.set.store(1, Ordering::Release));
    }

    /// Puts the flag down.
    ///
    /// ```
    /// let event = taskgroup::sync::Event::new();
    /// event.set();
    /// event.reset();
    /// assert!(!event.is_set());
    /// ```
    pub fn reset(&self) {
        self.gate.with(|| self.set.store(0, Ordering::Relaxed));
    }

    /// Whether the flag is up.
    ///
    /// ```
    /// assert!(!taskgroup::sync::Event::new().is_set());
    /// ```
    #[inline]
    pub fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire) != 0
    }

    /// Waits until the flag is up.
    ///
    /// # Cancellation
    ///
    /// A blocking point.
    ///
    /// # Errors
    ///
    /// The cancel of the scope.
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
            self.gate
                .wait(WaitKind::Event, None, || self.is_set())
                .map(drop)
        }
    }

    /// Waits until the flag is up, for at most `duration`: false if it is not by then.
    ///
    /// # Cancellation
    ///
    /// A blocking point.
    ///
    /// # Errors
    ///
    /// The cancel of the scope.
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
            // The clock need not be read.
            return Ok(true);
        }
        let outcome = self.gate.wait(
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
            .field("waiting", &self.gate.len())
            .finish()
    }
}
