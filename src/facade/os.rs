//! The facade on the operating system: std and parking_lot.

use std::any::Any;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{PoisonError, TryLockError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crossbeam_utils::Backoff;

use super::error_event;

pub(crate) use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// The number of references to a [`CountedRef`](super::CountedRef).
pub(crate) use std::sync::atomic::AtomicUsize as Count;

#[cfg(debug_assertions)]
use super::held;
#[cfg(debug_assertions)]
pub(crate) use super::held::MutexGuard;
#[cfg(not(debug_assertions))]
pub(crate) use std::sync::MutexGuard;

/// Locks that are only ever tried. They hold the data of the locks of `sync`, which do the waiting.
/// An unlock is at least one read-modify-write.
pub(crate) use parking_lot::{
    MappedMutexGuard as DataPart, MappedRwLockReadGuard as DataReadPart,
    MappedRwLockWriteGuard as DataWritePart, Mutex as DataMutex, MutexGuard as DataGuard,
    RwLock as DataRwLock, RwLockReadGuard as DataReadGuard, RwLockWriteGuard as DataWriteGuard,
};

/// A lock that is held for a short time. No user code runs under it, so a panic of such code never
/// poisons it.
///
/// It wraps std's lock and not parking_lot's. That keeps a record of each thread that has ever
/// waited for a lock, in a table that grows with their number. When 12 000 threads were released at
/// once, each with two or three of these locks to pass, that took three times as long.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Mutex(std::sync::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let guard = match self.0.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => self.lock_contended(),
        };

        // Debug builds count the locks that a thread holds (see `held`).
        #[cfg(debug_assertions)]
        let guard = MutexGuard::new(guard);
        guard
    }

    /// Locks, unless another thread holds the lock for longer than a few microseconds.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        // A holder that runs is done soon. One that lost its processor is not waited for.
        let backoff = Backoff::new();
        let guard = loop {
            match self.0.try_lock() {
                Ok(guard) => break guard,
                Err(TryLockError::Poisoned(poisoned)) => break poisoned.into_inner(),
                Err(TryLockError::WouldBlock) if backoff.is_completed() => return None,
                Err(TryLockError::WouldBlock) => backoff.snooze(),
            }
        };

        #[cfg(debug_assertions)]
        let guard = MutexGuard::new(guard);
        Some(guard)
    }

    /// Tries for a while, and then waits.
    ///
    /// A thread that waits in std's lock makes the next unlock a system call, and std waits after a
    /// few dozen nanoseconds. Under four senders and four receivers of one channel almost every
    /// unlock was one. The critical sections here are short, so the lock is free again soon.
    #[cold]
    fn lock_contended(&self) -> std::sync::MutexGuard<'_, T> {
        let backoff = Backoff::new();

        while !backoff.is_completed() {
            backoff.snooze();
            match self.0.try_lock() {
                Ok(guard) => return guard,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }

        // The lock has not come free soon. To go on trying could keep a core from its owner.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a deadline can pass by itself.
pub(crate) const TIME_PASSES: bool = true;

/// Whether each task gets a thread of its own, so that the pool has nothing to do.
pub(crate) const THREAD_FOR_EACH_TASK: bool = false;

/// Returns how many tasks a worker takes at once at most.
pub(crate) fn largest_batch() -> usize {
    32
}

/// How many items the first batch of a map has.
pub(crate) const FIRST_BATCH: usize = 1;

/// Returns how many batches of a map wait for a task that takes them, at most.
pub(crate) fn batches_ahead() -> usize {
    4 * parallelism()
}

/// The payload of a panic.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Asserts in debug builds that this thread holds no lock of the crate. Called where user code is
/// about to run or to be dropped.
#[inline(always)]
#[cfg_attr(debug_assertions, track_caller)]
pub(crate) fn assert_unlocked() {
    #[cfg(debug_assertions)]
    held::assert_none();
}

/// Runs `f` and returns its panic as a value.
#[inline]
#[cfg_attr(debug_assertions, track_caller)]
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, Payload> {
    assert_unlocked();
    panic::catch_unwind(AssertUnwindSafe(f))
}

/// Aborts the process if a panic unwinds past it. What comes after it must not be skipped.
#[must_use = "only what comes before its end is contained"]
pub(crate) struct Contained(());

impl Contained {
    #[inline]
    pub(crate) fn begin() -> Self {
        Contained(())
    }

    #[inline]
    pub(crate) fn end(self) {
        std::mem::forget(self);
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        // A panic of the user subscriber must not come out of here. The process then ends without a
        // message.
        std::mem::forget(catch(|| {
            error_event!("a panic where none can be contained: the process aborts")
        }));
        std::process::abort();
    }
}

/// Data that its user proves to access exclusively. The models check that proof.
#[derive(Debug)]
pub(crate) struct Cell<T>(std::cell::UnsafeCell<T>);

impl<T> Cell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Cell(std::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// A value in the frame of a call, which other threads may read while the call lasts.
#[derive(Debug)]
pub(crate) struct Framed<T>(T);

impl<T> Framed<T> {
    #[inline(always)]
    pub(crate) fn new(value: T) -> Self {
        Framed(value)
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> &T {
        &self.0
    }
}

/// Marks an allocation, so that a model finds its leak.
#[derive(Debug, Default)]
pub(crate) struct Track;

impl Track {
    pub(crate) const fn new() -> Self {
        Track
    }
}

/// Returns a seed for the random numbers of a thread. It differs from thread to thread, and from a
/// child of `fork` to its parent and to its siblings, which have the same keys of `RandomState`.
pub(crate) fn seed() -> u32 {
    RandomState::new().hash_one((std::process::id(), Instant::now())) as u32
}

/// A value that is set once.
pub(crate) use std::sync::OnceLock as Once;

/// A full fence. If two threads each write, pass a full fence, and then read what the other wrote,
/// at least one sees the other's write.
#[inline]
pub(crate) fn fence() {
    std::sync::atomic::fence(Ordering::SeqCst);
}

/// Keeps the writes behind it behind the writes before it.
#[inline(always)]
pub(crate) fn release_fence() {
    std::sync::atomic::fence(Ordering::Release);
}

/// Keeps the reads behind it behind the reads before it.
#[inline(always)]
pub(crate) fn acquire_fence() {
    std::sync::atomic::fence(Ordering::Acquire);
}

/// Like [`fence`], directly after a read-modify-write. On x86 every read-modify-write is a full
/// fence by itself, so only the compiler has to be held back.
#[inline(always)]
pub(crate) fn fence_after_rmw() {
    if cfg!(any(target_arch = "x86", target_arch = "x86_64")) {
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
    } else {
        fence();
    }
}

/// Wakes one thread. One wake that comes before the park is remembered.
#[derive(Debug, Clone)]
pub(crate) struct Unparker(Thread);

impl Unparker {
    /// Returns the unparker of this thread.
    pub(crate) fn current() -> Self {
        Unparker(thread::current())
    }

    #[inline]
    pub(crate) fn unpark(&self) {
        self.0.unpark();
    }

    /// Whether both unpark the same thread.
    pub(crate) fn is_of_thread_of(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

/// Blocks until this thread is unparked. May return early.
#[inline]
pub(crate) fn park() {
    thread::park();
}

/// Returns the current instant.
#[inline]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Blocks until this thread is unparked or `limit` has passed. May return early.
#[inline]
pub(crate) fn park_timeout(limit: Duration) {
    thread::park_timeout(limit);
}

/// Parks an idle thread. Returns `true` if `limit` passed.
pub(crate) fn park_idle(limit: Duration) -> bool {
    let start = Instant::now();
    thread::park_timeout(limit);

    // A wake, too, ends the park, so only the time tells.
    start.elapsed() >= limit
}

/// Lets another thread run.
pub(crate) fn yield_now() {
    thread::yield_now();
}

/// How long a thread sleeps between two tries, once it has tried for a while.
const PAUSE: Duration = Duration::from_micros(50);

/// Calls `get` until it returns a value, which another thread is about to make possible.
pub(crate) fn wait_until<T>(mut get: impl FnMut() -> Option<T>) -> T {
    let backoff = Backoff::new();
    loop {
        // A thread that only goes on to try can keep the other one from its core, if that has a
        // lower priority.
        if backoff.is_completed() {
            thread::sleep(PAUSE);
        } else {
            backoff.snooze();
        }
        if let Some(value) = get() {
            return value;
        }
    }
}

/// Limits how often something is done.
#[derive(Debug)]
pub(crate) struct Pace {
    every: Duration,
    next: Option<Instant>,
}

impl Pace {
    /// It is due at most once in `every`.
    pub(crate) const fn new(every: Duration) -> Self {
        Pace { every, next: None }
    }

    /// Whether it is due now. If so, the next time begins.
    pub(crate) fn is_due(&mut self) -> bool {
        let now = Instant::now();

        let is_due = self.next.is_none_or(|next| next <= now);
        if is_due {
            self.next = now.checked_add(self.every);
        }
        is_due
    }
}

/// Returns how many threads the machine runs at once.
pub(crate) fn parallelism() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Returns the identity of this thread.
pub(crate) fn this_thread() -> thread::ThreadId {
    thread::current().id()
}

/// Starts a detached thread. Never panics: its callers have counted the work to run there.
pub(crate) fn start_thread(
    name: &str,
    stack_size: Option<usize>,
    f: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    // std panics at a NUL in the name, and at a size that overflows when it is rounded to pages.
    let mut builder = thread::Builder::new().name(name.replace('\0', ""));
    if let Some(size) = stack_size {
        builder = builder.stack_size(size.min(LARGEST_STACK));
    }

    // Any other panic inside becomes an error: the caller has counted `f` already.
    match catch(|| builder.spawn(f)) {
        Ok(started) => started.map(drop),
        Err(_) => Err(io::Error::other("the thread could not be set up")),
    }
}

/// More than any system grants, and a whole number of pages.
const LARGEST_STACK: usize = isize::MAX as usize & !0xffff;

/// Declares a function that is `const` where the constructors of the primitives are.
macro_rules! const_fn {
    ($(#[$attribute:meta])* $vis:vis const fn $($rest:tt)*) => {
        $(#[$attribute])* $vis const fn $($rest)*
    };
}
pub(crate) use const_fn;

/// Computes a value at compile time where the constructors of the primitives are `const`. A value
/// that each scope needs is then copied into its place from one piece of memory. Otherwise it would
/// be put together on the stack first.
macro_rules! preset {
    ($value:expr) => {
        const { $value }
    };
}
pub(crate) use preset;

/// Declares a thread-local value.
macro_rules! local {
    (static $name:ident: $type:ty = $init:expr;) => {
        std::thread_local! {
            static $name: $type = const { $init };
        }
    };
}
pub(crate) use local;

/// Declares a value of the process, which its first use makes, and the first use in a child of
/// `fork` makes again. A model sees it.
pub(crate) use super::per_process as global;
