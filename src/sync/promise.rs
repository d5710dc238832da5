//! A value that one thread gives and others wait for.

use std::fmt;
use std::time::{Duration, Instant};

use super::wait_set::WaitSet;
use crate::cancel::Cancelled;
use crate::cancel::context;
use crate::facade::{Once, const_fn};
use crate::waiting::WaitKind;

/// A value that one thread gives, once, and any number of threads wait for.
///
/// ```
/// use taskgroup::sync::Promise;
///
/// # fn main() -> anyhow::Result<()> {
/// let port = Promise::new();
/// let port = taskgroup::TaskGroup::scope(|g| {
///     g.spawn(|| {
///         port.set(8080).ok();
///         Ok(())
///     });
///     Ok(*port.wait()?)
/// })?;
/// assert_eq!(port, 8080);
/// # Ok(())
/// # }
/// ```
///
/// # Memory ordering
///
/// What happened before the `set` that gave the value happens before every read of the value.
pub struct Promise<T> {
    value: Once<T>,
    waiters: WaitSet,
}

impl<T> Promise<T> {
    const_fn! {
        /// Creates a promise without a value.
        ///
        /// ```
        /// use taskgroup::sync::Promise;
        ///
        /// static PORT: Promise<u16> = Promise::new();
        /// assert!(PORT.set(8080).is_ok());
        /// ```
        pub const fn new() -> Self {
            Promise { value: Once::new(), waiters: WaitSet::new() }
        }
    }

    /// Gives the value and wakes all waiting threads.
    ///
    /// # Errors
    ///
    /// If there is a value already. The error is the new value.
    ///
    /// ```
    /// let promise = taskgroup::sync::Promise::new();
    /// assert_eq!(promise.set(1), Ok(()));
    /// assert_eq!(promise.set(2), Err(2));
    /// ```
    pub fn set(&self, value: T) -> Result<(), T> {
        self.waiters.release(|| self.value.set(value))
    }

    /// Returns the value, if it has been given.
    ///
    /// ```
    /// assert_eq!(taskgroup::sync::Promise::<u8>::new().get(), None);
    /// ```
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// Returns whether the value has been given.
    ///
    /// ```
    /// assert!(!taskgroup::sync::Promise::<u8>::new().is_set());
    /// ```
    #[inline]
    pub fn is_set(&self) -> bool {
        self.get().is_some()
    }

    /// Blocks until the value has been given, and returns it.
    ///
    /// # Cancellation
    ///
    /// A blocking point. In a cancelled scope it fails even if there is a value, which
    /// [`get`](Self::get) returns.
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let promise = taskgroup::sync::Promise::new();
    /// promise.set("kept").ok();
    /// assert_eq!(*promise.wait()?, "kept");
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn wait(&self) -> Result<&T, Cancelled> {
        // Fails in a cancelled scope even if there is a value, like every blocking point.
        context::check()?;
        loop {
            if let Some(value) = self.get() {
                return Ok(value);
            }
            self.waiters
                .wait(WaitKind::Promise, None, || self.is_set())?;
        }
    }

    /// Like [`wait`](Self::wait), but blocks for at most `duration`. Returns `None` if there is no
    /// value by then.
    ///
    /// # Cancellation
    ///
    /// Like [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// use std::time::Duration;
    /// let promise = taskgroup::sync::Promise::<u8>::new();
    /// assert_eq!(promise.wait_timeout(Duration::from_millis(1))?, None);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn wait_timeout(&self, duration: Duration) -> Result<Option<&T>, Cancelled> {
        context::check()?;
        if !self.is_set() {
            self.waiters.wait(
                WaitKind::Promise,
                Instant::now().checked_add(duration),
                || self.is_set(),
            )?;
        }

        // Also after the limit: the value may have come in the last moment.
        Ok(self.get())
    }

    /// Returns the value, if it was given.
    ///
    /// ```
    /// let promise = taskgroup::sync::Promise::new();
    /// promise.set(String::from("kept")).ok();
    /// assert_eq!(promise.into_inner().as_deref(), Some("kept"));
    /// ```
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }
}

impl<T> Default for Promise<T> {
    fn default() -> Self {
        Promise::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise")
            .field("value", &self.get())
            .field("waiting", &self.waiters.len())
            .finish()
    }
}
