//! The key of a value that is bound for a piece of code.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::AtomicU8;

use super::bindings;

/// A value that a piece of code and all tasks below it can read, without passing it on.
///
/// A server has a request id that every log line should carry. As an argument, it goes through
/// every function in between. In a thread-local, it is lost at each spawn, and a reused
/// thread keeps the id of the previous request. A scoped value is bound for a closure. The tasks
/// of every group that is *opened inside* the closure see it too, at any depth and on whatever
/// thread they run.
///
/// A task sees the bindings that held where its *group* was opened, not where it was spawned. A
/// task can outlive the code that spawned it, but not the code that opened its group.
///
/// Code that no task runs sees no bindings: callbacks, cancel hooks, values that a cancel drops,
/// and what [`abandon`](crate::abandon) runs, whether it is left behind or not.
///
/// The idea is from Java ([JEP 506](https://openjdk.org/jeps/506)), where the tasks of a
/// `StructuredTaskScope` inherit scoped values.
///
/// # Cost
///
/// Binding writes four words to the stack. Reading looks through the bindings that are in force,
/// the innermost first: the cost grows with their number. A task costs the same with any number of
/// them.
///
/// # Examples
///
/// ```
/// use taskgroup::{ScopedValue, TaskGroup};
///
/// static REQUEST: ScopedValue<u64> = ScopedValue::new();
///
/// fn log(text: &str) -> String {
///     match REQUEST.cloned() {
///         Some(id) => format!("request {id}: {text}"),
///         None => text.to_owned(),
///     }
/// }
///
/// let line = REQUEST.with(&7, || {
///     TaskGroup::scope(|g| Ok(g.spawn(|| Ok(log("reads the disk"))).join()?))
/// })?;
/// assert_eq!(line, "request 7: reads the disk");
/// assert_eq!(log("starts"), "starts");
/// # Ok::<(), taskgroup::GroupError>(())
/// ```
///
/// The reference does not leave the closure of [`get`](Self::get), and the value must be [`Sync`],
/// since several tasks may read it at once.
pub struct ScopedValue<T: Sync + 'static> {
    /// The address of this field is the identity of the key. So a key is not zero-sized. The
    /// atomic keeps a `const` key from being promoted to a static that other keys may share.
    address: AtomicU8,
    /// Invariant in `T`. With a covariant key, a value could be bound at one type and be read at a
    /// type that lives longer.
    value: PhantomData<fn(T) -> T>,
}

impl<T: Sync + 'static> ScopedValue<T> {
    /// Makes a key to which nothing is bound. Keys are statics.
    ///
    /// ```
    /// static USER: taskgroup::ScopedValue<&str> = taskgroup::ScopedValue::new();
    ///
    /// assert_eq!(USER.cloned(), None);
    /// ```
    pub const fn new() -> Self {
        ScopedValue {
            address: AtomicU8::new(0),
            value: PhantomData,
        }
    }

    fn key(&'static self) -> usize {
        (&raw const self.address).addr()
    }

    /// Runs `f` with `value` bound, for `f` itself and for the tasks of all groups that are opened
    /// in it. An inner binding hides an outer one.
    ///
    /// # Panics
    ///
    /// Passes on a panic of `f`, after it has restored the previous binding.
    ///
    /// ```
    /// use taskgroup::ScopedValue;
    ///
    /// static LEVEL: ScopedValue<u8> = ScopedValue::new();
    ///
    /// LEVEL.with(&1, || {
    ///     LEVEL.with(&2, || assert_eq!(LEVEL.cloned(), Some(2)));
    ///     assert_eq!(LEVEL.cloned(), Some(1));
    /// });
    /// assert_eq!(LEVEL.cloned(), None);
    /// ```
    pub fn with<R>(&'static self, value: &T, f: impl FnOnce() -> R) -> R {
        bindings::bind(self.key(), value, f)
    }

    /// Calls `f` with the value that is bound, or with `None`.
    ///
    /// ```
    /// use taskgroup::ScopedValue;
    ///
    /// static USER: ScopedValue<String> = ScopedValue::new();
    ///
    /// let length = USER.with(&"ada".to_owned(), || USER.get(|user| user.map_or(0, String::len)));
    /// assert_eq!(length, 3);
    /// ```
    pub fn get<R>(&'static self, f: impl FnOnce(Option<&T>) -> R) -> R {
        // SAFETY: only `with` binds values to the address of this key, and its values are of the
        // type `T`. The key is a static of this very type, so no other key has its address.
        unsafe { bindings::bound(self.key(), f) }
    }

    /// Returns a clone of the value that is bound.
    ///
    /// ```
    /// use taskgroup::ScopedValue;
    ///
    /// static USER: ScopedValue<&str> = ScopedValue::new();
    ///
    /// assert_eq!(USER.cloned(), None);
    /// assert_eq!(USER.with(&"ada", || USER.cloned()), Some("ada"));
    /// ```
    pub fn cloned(&'static self) -> Option<T>
    where
        T: Clone,
    {
        self.get(|value| value.cloned())
    }
}

impl<T: Sync + 'static> Default for ScopedValue<T> {
    fn default() -> Self {
        ScopedValue::new()
    }
}

impl<T: Sync + 'static> fmt::Debug for ScopedValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedValue")
            .field("type", &std::any::type_name::<T>())
            .finish_non_exhaustive()
    }
}
