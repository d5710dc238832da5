//! The facade on the operating system: std and parking_lot.

use std::any::Any;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::PoisonError;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

pub(crate) use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

#[cfg(debug_assertions)]
use super::held;
#[cfg(debug_assertions)]
pub(crate) use super::held::MutexGuard;
#[cfg(not(debug_assertions))]
pub(crate) use std::sync::MutexGuard;

/// Locks that are only ever tried: they hold the data of `sync`'s locks, which do the waiting.
/// Unlocking is one read-modify-write at the least.
pub(crate) use parking_lot::{
    MappedMutexGuard as DataPart, MappedRwLockReadGuard as DataReadPart,
    MappedRwLockWriteGuard as DataWritePart, Mutex as DataMutex, MutexGuard as DataGuard,
    RwLock as DataRwLock, RwLockReadGuard as DataReadGuard, RwLockWriteGuard as DataWriteGuard,
};

use super::Guard;

/// A lock for what is held shortly. No code of the user's runs under one, so a panic of that
/// poisons none.
///
/// It is std's and not parking_lot's, which keeps a record of each thread that has ever waited for
/// a lock, in a table that grows with their number: when 12 000 threads are released at once, and
/// each has two or three of these locks to pass, that took three times as long.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Mutex(std::sync::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        #[cfg(debug_assertions)]
        let guard = MutexGuard::new(guard);
        guard
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `guard` is in place: always, outside of the models that take one out.
#[inline(always)]
pub(crate) const fn holds(_guard: Guard) -> bool {
    true
}

/// Whether a deadline can come by itself.
pub(crate) const TIME_PASSES: bool = true;

/// Whether each task gets a thread of its own, and the pool nothing to do.
pub(crate) const THREAD_FOR_EACH_TASK: bool = false;

/// How many tasks a worker takes at once at most.
pub(crate) fn largest_batch() -> usize {
    32
}

/// How many items the first batch of a map has.
pub(crate) const FIRST_BATCH: usize = 1;

/// How many batches of a map wait for a lane at most.
pub(crate) fn batches_ahead() -> usize {
    4 * parallelism()
}

/// What a panic leaves behind.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Asserts, in debug builds, that this thread holds no lock of the crate: code of the user's is
/// about to run, or to be dropped.
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

/// While it lives no panic may come past: what comes after must not be skipped. One ends the
/// process.
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
        // A panic of the user's subscriber is not to come out of here. It ends the process without
        // a word.
        std::mem::forget(catch(|| {
            tracing::error!("a panic where none can be contained: the process aborts")
        }));
        std::process::abort();
    }
}

/// Data whose exclusive access is somebody's proof; the models check the proof.
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

/// Marks an allocation whose leak a model is to find.
#[derive(Debug, Default)]
pub(crate) struct Track;

impl Track {
    pub(crate) const fn new() -> Self {
        Track
    }
}

/// Where a thread begins with its random numbers: elsewhere than the others.
pub(crate) fn seed() -> u32 {
    RandomState::new().hash_one(0) as u32
}

/// A value that is set once.
pub(crate) use std::sync::OnceLock as Once;

/// A full fence: of two threads that each write, pass it and read what the other writes, one sees
/// the other's write.
#[inline]
pub(crate) fn fence() {
    std::sync::atomic::fence(Ordering::SeqCst);
}

/// As [`fence`], directly after a read-modify-write. On x86 every one of these is a full fence by
/// itself, so that only the compiler has to be held back.
#[inline(always)]
pub(crate) fn fence_after_rmw() {
    if cfg!(any(target_arch = "x86", target_arch = "x86_64")) {
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
    } else {
        fence();
    }
}

/// Wakes one thread. A wake that comes before the park is remembered, once.
#[derive(Debug, Clone)]
pub(crate) struct Unparker(Thread);

impl Unparker {
    /// The unparker of this thread.
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

/// Blocks until this thread is unparked; may return early.
#[inline]
pub(crate) fn park() {
    thread::park();
}

/// The instant that it is.
#[inline]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Blocks until this thread is unparked or `limit` has passed; may return early.
#[inline]
pub(crate) fn park_timeout(limit: Duration) {
    thread::park_timeout(limit);
}

/// Parks an idle thread; true if `limit` passed without a wake.
pub(crate) fn park_idle(limit: Duration) -> bool {
    let start = Instant::now();
    thread::park_timeout(limit);
    start.elapsed() >= limit
}

/// Lets another thread run.
pub(crate) fn yield_now() {
    thread::yield_now();
}

/// Says now and then that something is due.
#[derive(Debug)]
pub(crate) struct Pace {
    every: Duration,
    next: Option<Instant>,
}

impl Pace {
    /// At most once in `every`.
    pub(crate) const fn new(every: Duration) -> Self {
        Pace { every, next: None }
    }

    pub(crate) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.next.is_none_or(|next| next <= now);
        if is_due {
            self.next = now.checked_add(self.every);
        }
        is_due
    }
}

/// How many threads the machine runs at once.
pub(crate) fn parallelism() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The identity of this thread.
pub(crate) fn this_thread() -> thread::ThreadId {
    thread::current().id()
}

/// Starts a detached thread. Never panics: whoever asks has counted what is to run there.
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
    match catch(|| builder.spawn(f)) {
        Ok(started) => started.map(drop),
        Err(_) => Err(io::Error::other("the thread could not be set up")),
    }
}

/// More than any system grants, and a whole number of pages.
const LARGEST_STACK: usize = isize::MAX as usize & !0xffff;

/// Declares a function that is `const` where the primitives of the facade have `const`
/// constructors.
macro_rules! const_fn {
    ($(#[$attribute:meta])* $vis:vis const fn $($rest:tt)*) => {
        $(#[$attribute])* $vis const fn $($rest)*
    };
}
pub(crate) use const_fn;

/// A value that is computed beforehand where the primitives of the facade have `const`
/// constructors: what many scopes make is then copied into its place from one piece of memory, and
/// not put together on the stack first.
macro_rules! preset {
    ($value:expr) => {
        const { $value }
    };
}
pub(crate) use preset;

/// Declares a value of each thread.
macro_rules! local {
    (static $name:ident: $type:ty = $init:expr;) => {
        std::thread_local! {
            static $name: $type = const { $init };
        }
    };
}
pub(crate) use local;

/// Declares a value made once in the process, at its first use.
macro_rules! global {
    ($(#[$doc:meta])* $(pub($($path:tt)+))? static $name:ident: $type:ty = $init:expr;) => {
        $(#[$doc])*
        $(pub($($path)+))? static $name: std::sync::LazyLock<$type> = std::sync::LazyLock::new(|| $init);
    };
}
pub(crate) use global;
