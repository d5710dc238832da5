//! What a child that `fork` makes has of the state of this crate.
//!
//! The child has a copy of the memory, and of all threads only the one that called `fork`. A lock
//! that another thread held at that moment stays locked in the child, and a thread that the state
//! counts on is not there. So the child makes the state of the process anew:
//!
//! - A [`PerProcess`] is one pointer to a value that is never freed. In the child the pointer is
//!   taken away, and the first use makes another value. The value of the parent stays where it is.
//!   No code of the child waits for its locks.
//! - An [`InChild`] is a function that the child runs before `fork` returns, on the thread that
//!   called it. It takes the state out of thread-locals that belongs to the parent.
//! - A [`Leaked`] is made once and kept by the child. It holds what has no locks: an instant, a
//!   key.
//!
//! # Invariants
//!
//! 1. No thread waits for the initialization of a value by another thread, which may not exist in
//!    the child. Threads that come at the same time each make a value, and one of them is kept.
//! 2. The handler of the child is installed, and the function is listed, before there is anything
//!    for that function to take away. So a `fork` at any moment of an initialization leaves the
//!    child either without the value, or with a function that takes it away. An exception of glibc:
//!    a handler that is installed while the C library runs the handler of another library before a
//!    `fork` does not run after that `fork`.
//! 3. The handler allocates nothing, frees nothing and waits for no lock. It exchanges pointers,
//!    and what the thread-locals owned is forgotten: its destructor would take locks.
//!
//! A list entry may be there twice, if two threads made it at the same time. That does no harm.

use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32};

/// A value that the first use makes and that is never freed. A child of `fork` keeps it.
///
/// # Safety of the pointer
///
/// It is null, or comes from `Box::into_raw` in `set`. The value is never freed, and from then on
/// only shared references to it are made.
pub(crate) struct Leaked<T: 'static> {
    value: AtomicPtr<T>,
    /// It is shared between threads only if a `T` may be.
    _value: PhantomData<T>,
}

impl<T: 'static> Leaked<T> {
    pub(crate) const fn new() -> Self {
        Leaked {
            value: AtomicPtr::new(ptr::null_mut()),
            _value: PhantomData,
        }
    }

    /// Returns the value, if it has been made. One load.
    #[inline(always)]
    pub(crate) fn get(&self) -> Option<&'static T> {
        // Acquire pairs with the release in `set`.
        let value = self.value.load(Acquire);
        // SAFETY: see the type.
        unsafe { value.as_ref() }
    }

    /// Sets the value, and returns it.
    ///
    /// # Errors
    ///
    /// The value that was there before, and the one that was given.
    pub(crate) fn set(&self, value: T) -> Result<&'static T, (&'static T, T)> {
        let made = Box::into_raw(Box::new(value));

        // Release: a thread that sees the pointer sees the value.
        match self
            .value
            .compare_exchange(ptr::null_mut(), made, Release, Acquire)
        {
            // SAFETY: see the type.
            Ok(_) => Ok(unsafe { &*made }),
            Err(there) => {
                // SAFETY: `made` was not shared, and is a box that nothing else owns. The other
                // pointer: see the type.
                Err(unsafe { (&*there, *Box::from_raw(made)) })
            }
        }
    }

    /// Returns the value, which this call makes if there is none.
    #[inline]
    pub(crate) fn get_or_make(&self, make: impl FnOnce() -> T) -> &'static T {
        match self.get() {
            Some(value) => value,
            None => self.set_made(make()),
        }
    }

    #[cold]
    fn set_made(&self, value: T) -> &'static T {
        // Invariant 1: the value of a thread that comes second is dropped.
        self.set(value).unwrap_or_else(|(there, _)| there)
    }
}

/// A value of the process, which the first use makes. A child of `fork` makes its own.
///
/// [`per_process`] declares one.
pub(crate) struct PerProcess<T: 'static> {
    value: Leaked<T>,
    /// The copy of the value of the parent, if this process is a child.
    before: Leaked<T>,
    /// Another thread was about to change that value at the `fork`.
    is_torn: AtomicBool,
    make: fn(Before<T>) -> T,
    in_child: InChild,
}

/// The value that the parent of a process had at the `fork`.
#[allow(dead_code, reason = "no model has use for the value")]
pub(crate) enum Before<T: 'static> {
    /// It had none, or there is no parent.
    None,
    /// It had this one. No other thread held its lock, so the child may take it.
    Whole(&'static T),
    /// Another thread was about to change it.
    Torn,
}

impl<T: Send + Sync + 'static> PerProcess<T> {
    /// `take_away` calls [`take_away`](Self::take_away) of this value. Threads that come at the same
    /// time may each call `make`, which therefore changes nothing.
    pub(crate) const fn new(make: fn(Before<T>) -> T, take_away: fn()) -> Self {
        PerProcess {
            value: Leaked::new(),
            before: Leaked::new(),
            is_torn: AtomicBool::new(false),
            make,
            in_child: InChild::new(take_away),
        }
    }

    /// Returns the value, if this process has made it. Allocates nothing.
    #[inline]
    #[allow(dead_code, reason = "a model has no registry of lanes")]
    pub(crate) fn made(&self) -> Option<&'static T> {
        self.value.get()
    }

    #[cold]
    fn make(&self) -> &'static T {
        // Invariant 2.
        self.in_child.ensure();
        let before = match self.before.get() {
            None => Before::None,
            Some(_) if self.is_torn.load(Relaxed) => Before::Torn,
            Some(before) => Before::Whole(before),
        };
        self.value.set_made((self.make)(before))
    }

    /// Takes the value of the parent away. For the handler of the child, on its only thread.
    pub(crate) fn take_away(&self, is_whole: fn(&T) -> bool) {
        if let Some(value) = self.value.get() {
            self.is_torn.store(!is_whole(value), Relaxed);
            let value = self.value.value.swap(ptr::null_mut(), Relaxed);
            self.before.value.store(value, Relaxed);
        } else if let Some(before) = self.before.get() {
            // A child that has made no value passes on the one before. Another thread may be about
            // to make its value from that, and hold the lock.
            if !is_whole(before) {
                self.is_torn.store(true, Relaxed);
            }
        }
    }
}

impl<T: Send + Sync + 'static> Deref for PerProcess<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        match self.value.get() {
            Some(value) => value,
            None => self.make(),
        }
    }
}

/// Declares a value of the process, which its first use makes, and the first use in a child of
/// `fork` makes again. A lock may have an initializer that is given the lock of the parent.
macro_rules! per_process {
    ($(#[$doc:meta])* $(pub($($path:tt)+))? static $name:ident: $type:ty = |$before:ident| $init:expr;) => {
        $(#[$doc])*
        $(pub($($path)+))? static $name: $crate::facade::PerProcess<$type> =
            $crate::facade::PerProcess::new(|$before| $init, || $name.take_away(|lock| lock.try_lock().is_some()));
    };
    ($(#[$doc:meta])* $(pub($($path:tt)+))? static $name:ident: $type:ty = $init:expr;) => {
        $(#[$doc])*
        $(pub($($path)+))? static $name: $crate::facade::PerProcess<$type> =
            $crate::facade::PerProcess::new(|_| $init, || $name.take_away(|_| true));
    };
}
pub(crate) use per_process;

/// A function that a child of `fork` runs at once, on its only thread, from [`ensure`](Self::ensure)
/// on. It keeps invariant 3, and does not panic.
pub(crate) struct InChild {
    act: fn(),
    is_listed: AtomicBool,
}

impl InChild {
    pub(crate) const fn new(act: fn()) -> Self {
        InChild {
            act,
            is_listed: AtomicBool::new(false),
        }
    }

    /// Makes sure that children run the function. Called before there is anything for it to do
    /// (invariant 2). One load, but for the first call.
    #[inline(always)]
    pub(crate) fn ensure(&self) {
        // Relaxed: the handler has a fence.
        if !self.is_listed.load(Relaxed) {
            self.list();
        }
    }

    #[cold]
    fn list(&self) {
        if list(self.act) {
            self.is_listed.store(true, Release);
        }
    }
}

/// An entry of the list of functions, which is never freed.
///
/// `next` is null or an older entry. So is the head of the list.
#[cfg(all(unix, not(loom)))]
struct Entry {
    act: fn(),
    next: *const Entry,
}

/// The functions that a child runs.
#[cfg(all(unix, not(loom)))]
static ENTRIES: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());

/// How many forks lie between this process and the one in which the crate was first used.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Returns a number that a process and its children of `fork` do not have in common.
#[inline]
#[allow(dead_code, reason = "which features need it differs")]
pub(crate) fn generation() -> u32 {
    // Relaxed: only the handler of a child writes it, before the child goes on.
    GENERATION.load(Relaxed)
}

/// Has children run `act`. Returns false if the system has no memory for that.
#[cfg(all(unix, not(loom)))]
fn list(act: fn()) -> bool {
    // Invariant 2.
    if !install() {
        return false;
    }

    let entry = Box::into_raw(Box::new(Entry {
        act,
        next: ptr::null(),
    }));
    let mut head = ENTRIES.load(Relaxed);
    loop {
        // SAFETY: the entry is not in the list yet, so no other thread has it.
        unsafe { (*entry).next = head };

        // Release: a thread that sees the head sees the entry.
        match ENTRIES.compare_exchange_weak(head, entry, Release, Relaxed) {
            Ok(_) => return true,
            Err(now) => head = now,
        }
    }
}

/// The handler of the child. It runs on the thread that called `fork`, before `fork` returns.
#[cfg(all(unix, not(loom)))]
extern "C" fn in_child() {
    // Pairs with `list`, which this thread may have seen by an `is_listed` alone.
    std::sync::atomic::fence(Acquire);
    GENERATION.fetch_add(1, Relaxed);

    let mut next = ENTRIES.load(Acquire).cast_const();
    // SAFETY: null, or an entry that was listed: it is never freed, and never written again.
    while let Some(entry) = unsafe { next.as_ref() } {
        (entry.act)();
        next = entry.next;
    }
}

/// Has the handler run in children. Returns false if the system has no memory for that.
#[cfg(all(unix, not(loom)))]
fn install() -> bool {
    static IS_INSTALLED: AtomicBool = AtomicBool::new(false);
    if IS_INSTALLED.load(Acquire) {
        return true;
    }

    // Two threads may both install it, and it then runs twice: the second run finds nothing.
    //
    // SAFETY: the handler may run at any fork until the end of the process. It is a function of
    // this crate, uses statics and thread-locals only, and keeps to what a child of a process with
    // threads may do (invariant 3).
    let is_installed = unsafe { libc::pthread_atfork(None, None, Some(in_child)) } == 0;
    if is_installed {
        IS_INSTALLED.store(true, Release);
    }
    is_installed
}

/// There is no fork.
#[cfg(not(all(unix, not(loom))))]
fn list(_act: fn()) -> bool {
    true
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::facade::PlainMutex;

    static MADE: AtomicUsize = AtomicUsize::new(0);

    per_process! {
        static COUNTED: PlainMutex<(usize, &'static str)> = |before| {
            let before = match before {
                Before::None => "none",
                Before::Whole(_) => "whole",
                Before::Torn => "torn",
            };
            PlainMutex::new((MADE.fetch_add(1, Relaxed), before))
        };
    }

    fn fork_here() {
        COUNTED.take_away(|lock| lock.try_lock().is_some());
    }

    #[test]
    fn a_value_is_made_once_and_again_after_it_was_taken_away() {
        assert_eq!(*COUNTED.lock(), (0, "none"));
        assert_eq!(*COUNTED.lock(), (0, "none"));

        fork_here();
        assert!(COUNTED.made().is_none());
        // A child that forks without a use.
        fork_here();
        assert_eq!(*COUNTED.lock(), (1, "whole"));

        let held = COUNTED.lock();
        fork_here();
        fork_here();
        assert_eq!(*COUNTED.lock(), (2, "torn"));
        drop(held);

        // While another thread of the child makes its value from the one of the parent.
        let parents: &PlainMutex<_> = &COUNTED;
        fork_here();
        let held = parents.lock();
        fork_here();
        assert_eq!(*COUNTED.lock(), (3, "torn"));
        drop(held);
    }

    #[test]
    fn the_first_value_is_kept() {
        let leaked = Leaked::new();
        assert_eq!(leaked.get(), None);
        assert_eq!(leaked.set(1), Ok(&1));
        assert_eq!(leaked.set(2), Err((&1, 2)));
        assert_eq!(leaked.get_or_make(|| 3), &1);
    }
}
