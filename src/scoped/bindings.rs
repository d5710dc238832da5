//! The bindings of a thread: a list on the stacks of the calls that bind.

use std::cell::Cell as PlainCell;
use std::ptr::NonNull;

use crate::facade::{Cell, Framed, InChild, generation, local};

local! {
    static CURRENT: PlainCell<Bindings> = PlainCell::new(Bindings::NONE);
}

/// No value of the parent is bound in a child of `fork`: it may be on the stack of another thread,
/// which the child does not have.
static IN_CHILD: InChild = InChild::new(|| _ = Bindings::NONE.replace());

/// One value that is bound.
pub(super) struct Binding {
    /// The address of the key.
    key: usize,
    /// The value, of the type of the key.
    value: *const (),
    outer: Bindings,
    /// Written at the end of the binding and read with each use, so that a model finds a use that
    /// the end does not come after.
    alive: Cell<()>,
}

/// The bindings that a piece of code runs under: the innermost, which knows the others.
///
/// # Safety of the pointer
///
/// It points to a [`Binding`] on the stack of a call of [`bind`]. That call does not return, by
/// value or by panic, before the thread's pointer is restored. A copy that a group keeps is used by
/// the tasks of that group alone, and the group has ended when the closure of the call returns
/// (invariant 2 of [`scoped`](super)). So a pointer that code runs under is alive. The model
/// `broken_scoped_task_has_the_bindings_of_its_spawn` fails if tasks have other bindings than those
/// that held where their group was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bindings(Option<NonNull<Binding>>);

// SAFETY: a binding is never changed (invariant 3), and its value is `Sync`, which `bind` asks for.
unsafe impl Send for Bindings {}
// SAFETY: as above.
unsafe impl Sync for Bindings {}

impl Bindings {
    pub(crate) const NONE: Self = Bindings(None);

    /// Returns the bindings of this thread.
    #[inline]
    pub(crate) fn current() -> Self {
        // A thread of a model has none in its destructors.
        CURRENT.try_with(PlainCell::get).unwrap_or(Bindings::NONE)
    }

    /// Makes these the bindings of this thread. Returns the bindings before.
    #[inline]
    pub(crate) fn replace(self) -> Self {
        CURRENT
            .try_with(|current| current.replace(self))
            .unwrap_or(Bindings::NONE)
    }
}

/// While it lives, the thread has other bindings. Its drop restores the bindings before
/// (invariant 1 of [`scoped`](super)).
struct Bound {
    before: Bindings,
    /// The [`generation`] of the process that has `before`.
    process: u32,
}

impl Bound {
    fn begin(bindings: Bindings) -> Self {
        Bound {
            before: bindings.replace(),
            process: generation(),
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // A child of `fork` has none of the bindings of its parent.
        let is_here = self.process == generation();
        let before = if is_here { self.before } else { Bindings::NONE };
        before.replace();
    }
}

/// Returns the bindings that any thread made last, for a fault of the models.
#[cfg(taskgroup_models)]
#[allow(dead_code, reason = "only the wrong code of a fault calls it")]
pub(crate) fn last_made() -> Bindings {
    *LAST_MADE.lock()
}

#[cfg(taskgroup_models)]
static LAST_MADE: crate::facade::PlainMutex<Bindings> =
    crate::facade::PlainMutex::new(Bindings::NONE);

/// Runs `f` with no value bound.
#[inline]
pub(crate) fn unbound<T>(f: impl FnOnce() -> T) -> T {
    let _bound = Bound::begin(Bindings::NONE);
    f()
}

/// Runs `f` with `value` bound to the key at this address.
pub(super) fn bind<T: Sync, R>(key: usize, value: &T, f: impl FnOnce() -> R) -> R {
    struct UnbindOnDrop<'a>(&'a Binding);
    impl Drop for UnbindOnDrop<'_> {
        fn drop(&mut self) {
            self.0.alive.with_mut(|_| ());
        }
    }

    IN_CHILD.ensure();
    let binding = Framed::new(Binding {
        key,
        value: std::ptr::from_ref(value).cast(),
        outer: Bindings::current(),
        alive: Cell::new(()),
    });
    let binding = binding.get();

    // Dropped in the reverse order: no pointer of this thread is left when the binding ends.
    let _ends = UnbindOnDrop(binding);
    let bindings = Bindings(Some(NonNull::from(binding)));

    #[cfg(taskgroup_models)]
    {
        *LAST_MADE.lock() = bindings;
    }

    let _bound = Bound::begin(bindings);
    f()
}

/// Calls `f` with the value that is bound to the key at this address, if one is.
///
/// # Safety
///
/// All values that are bound to this key are of the type `T`.
pub(super) unsafe fn bound<T: Sync, R>(key: usize, f: impl FnOnce(Option<&T>) -> R) -> R {
    let mut next = Bindings::current();
    while let Bindings(Some(binding)) = next {
        // SAFETY: this thread runs under it (see the type).
        let binding = unsafe { binding.as_ref() };
        if binding.key == key {
            binding.alive.with(|_| ());
            // SAFETY: it was made from a `&T`, as the caller says, which lives as long as the
            // binding, and this thread runs under the binding until `f` returns.
            return f(Some(unsafe { &*binding.value.cast::<T>() }));
        }
        next = binding.outer;
    }

    f(None)
}
