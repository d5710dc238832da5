//! A reference-counted value whose last reference costs nothing to give up.
//!
//! The last reference to an `Arc` takes two read-modify-writes to drop, since an `Arc` cannot know
//! that it is the last, and has weak references besides. A task is owned by two threads at most for
//! most of its life, and at its end by one. So its reference first looks at the count: a thread
//! that finds 1, and has that reference itself, owns the value alone.

use std::marker::PhantomData;
use std::mem;
use std::ops::Deref;
use std::process;
use std::ptr::{self, NonNull};

use super::{Count, Ordering};

/// With more references than this, the count could overflow before the process ends.
const MOST: usize = isize::MAX as usize;

/// A reference to a value that is dropped with its last reference.
///
/// # Memory ordering
///
/// Everything that a thread did with the value before it dropped a reference happens before the
/// drop of the value, and before the return of an [`is_sole`](Self::is_sole) that is true.
///
/// # Safety
///
/// The count is the number of references that exist: 1 for [`new`](Self::new), 2 for
/// [`pair`](Self::pair), and it changes by one with each clone and each drop. So:
///
/// 1. While a reference exists, its allocation does: it is freed by the drop that takes the count
///    to 0, or finds it at 1.
/// 2. A thread that finds the count at 1 through its own reference has the only one. A second one
///    can only be cloned from that, so the count stays 1 until this thread clones or drops it.
/// 3. A drop releases, and the load that finds 1 acquires, like the drop to 0. So no access to the
///    value is concurrent with its drop.
///
/// A reference can be sent, and can drop the value on any thread, so the value must be `Send`. Two
/// threads can use the value at once, so it must be `Sync`.
pub(crate) struct CountedRef<T: ?Sized> {
    inner: NonNull<CountedValue<T>>,
    _owns: PhantomData<CountedValue<T>>,
}

/// The allocation of a counted value.
pub(crate) struct CountedValue<T: ?Sized> {
    count: Count,
    value: T,
}

// SAFETY: see the type.
unsafe impl<T: ?Sized + Send + Sync> Send for CountedRef<T> {}
// SAFETY: like `Send`.
unsafe impl<T: ?Sized + Send + Sync> Sync for CountedRef<T> {}

// Like an `Arc`: to move a reference does not move the value.
impl<T: ?Sized> Unpin for CountedRef<T> {}

impl<T> CountedRef<T> {
    /// Returns the only reference to `value`.
    pub(crate) fn new(value: T) -> Self {
        let inner = Box::leak(Box::new(CountedValue {
            count: Count::new(1),
            value,
        }));
        Self::counted(NonNull::from(inner))
    }

    /// Returns two references to `value`, for less than a clone costs.
    #[inline]
    pub(crate) fn pair(value: T) -> (Self, Self) {
        let inner = Box::leak(Box::new(CountedValue {
            count: Count::new(2),
            value,
        }));
        let inner = NonNull::from(inner);
        (Self::counted(inner), Self::counted(inner))
    }

    /// Returns the same reference with the type that `coerce` gives it.
    ///
    /// # Safety
    ///
    /// `coerce` returns its argument, with no change but a coercion.
    #[inline]
    pub(crate) unsafe fn coerce<U: ?Sized>(
        self,
        coerce: impl FnOnce(*mut CountedValue<T>) -> *mut CountedValue<U>,
    ) -> CountedRef<U> {
        let inner = coerce(self.forget().as_ptr());
        // SAFETY: the pointer was not null, and a coercion does not change its address.
        CountedRef::counted(unsafe { NonNull::new_unchecked(inner) })
    }
}

/// Returns a reference with the type that it can be coerced to: `coerced!(task => dyn Runnable)`.
macro_rules! coerced {
    ($reference:expr => $to:ty) => {{
        let reference = $reference;
        // SAFETY: the pointer is coerced, and nothing else.
        unsafe { reference.coerce(|value| value as *mut $crate::facade::CountedValue<$to>) }
    }};
}
pub(crate) use coerced;

impl<T: ?Sized> CountedRef<T> {
    /// A reference that has been counted.
    #[inline]
    fn counted(inner: NonNull<CountedValue<T>>) -> Self {
        CountedRef {
            inner,
            _owns: PhantomData,
        }
    }

    #[inline]
    fn inner(&self) -> &CountedValue<T> {
        // SAFETY: the allocation exists (1 of the type), and references to it are only shared.
        unsafe { self.inner.as_ref() }
    }

    /// Returns whether this is the only reference, and stays it until this thread makes another.
    #[inline]
    pub(crate) fn is_sole(&self) -> bool {
        // Acquire pairs with the release of a drop.
        //
        // fault: sole-owner-does-not-acquire
        self.inner().count.load(Ordering::Acquire) == 1
    }

    /// Returns whether both refer to one value.
    pub(crate) fn is(&self, other: &Self) -> bool {
        ptr::addr_eq(self.inner.as_ptr(), other.inner.as_ptr())
    }

    /// Returns a new reference of the type that the value has.
    ///
    /// # Safety
    ///
    /// The value is a `U`.
    #[inline]
    pub(crate) unsafe fn downcast<U>(&self) -> CountedRef<U> {
        // The metadata goes, and the address stays.
        CountedRef::counted(self.clone().forget().cast())
    }

    #[inline]
    fn forget(self) -> NonNull<CountedValue<T>> {
        let inner = self.inner;
        mem::forget(self);
        inner
    }

    #[inline(never)]
    fn free(&mut self) {
        // SAFETY: this is the last reference (1 of the type), and the allocation was
        // made with a box. Every access through another reference happens before (3).
        drop(unsafe { Box::from_raw(self.inner.as_ptr()) });
    }
}

impl<T: ?Sized> Deref for CountedRef<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner().value
    }
}

impl<T: ?Sized> Clone for CountedRef<T> {
    #[inline]
    fn clone(&self) -> Self {
        // Relaxed: a new reference is made from one that exists, and is handed on with whatever
        // orders its use.
        if self.inner().count.fetch_add(1, Ordering::Relaxed) > MOST {
            process::abort();
        }
        Self::counted(self.inner)
    }
}

impl<T: ?Sized> Drop for CountedRef<T> {
    #[inline]
    fn drop(&mut self) {
        // The release of the other drops pairs with the acquire of the last.
        //
        // fault: last-reference-does-not-acquire
        if self.is_sole() || self.inner().count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.free();
        }
    }
}
