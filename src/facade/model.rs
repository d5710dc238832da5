//! The facade inside a loom model.
//!
//! A facade that simply wraps loom would let wrong programs pass. This one does these things about
//! it:
//!
//! * loom reports its findings by panicking in the thread that runs. The `catch` of a task would
//!   swallow them. So `catch` returns only [`ModelPanic`], which models throw on purpose, and
//!   raises every other panic again.
//! * `loom::thread::unpark` wakes threads that are blocked elsewhere, and adds happens-before edges
//!   that the system does not promise. So a thread parks on a loom channel of its own. Surplus
//!   wakes are spurious returns, like on the operating system.
//! * loom tries a write only before the last access to an atomic. A load by the thread that is
//!   about to write hides the load of another thread before it, so executions are left out. So each
//!   load here also counts itself in a word of its own.
//! * Time passes only in a model that starts a clock: see `model_clock`. Without one, a wait with a
//!   limit of zero times out, and every other wait lasts until it is woken.
//! * Loom does not see the number of references to a task, unless the model asks for it: the points
//!   at which threads could change places would be many more. No thread finds itself to have the
//!   only reference then.
//! * `Arc` and the counters of ids are std's, since there is nothing to find in them. Leaks are
//!   found through [`Track`].

use std::any::Any;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize as StdUsize, Ordering::Relaxed};
use std::time::Duration;

pub(crate) use loom::sync::MutexGuard;
pub(crate) use loom::sync::atomic::Ordering;
pub(crate) use loom::thread::yield_now;
pub(crate) use loom::thread_local as local;

static IDLE_EXPIRES: AtomicBool = AtomicBool::new(false);
static PARALLELISM: StdUsize = StdUsize::new(1);

/// Sets whether the wait of an idle worker expires at once or never, for the rest of the process.
#[allow(
    dead_code,
    reason = "for models; crates that model their own code have none"
)]
pub(crate) fn set_idle_expires(expires: bool) {
    IDLE_EXPIRES.store(expires, Relaxed);
}

/// Sets how many places the pool of a model has, for the rest of the process.
#[allow(dead_code, reason = "for models")]
pub(crate) fn set_parallelism(places: usize) {
    PARALLELISM.store(places, Relaxed);
}

pub(crate) const TIME_PASSES: bool = false;

/// True in a model of another crate's code. Such a model is not about the pool. The workers would
/// be more threads to explore, the model would never end them, and loom takes an idle worker for a
/// deadlock. Threads of their own can do with tasks everything that the pool can.
pub(crate) const THREAD_FOR_EACH_TASK: bool = !cfg!(taskgroup_models);

static LARGEST_BATCH: StdUsize = StdUsize::new(1);

/// Sets how many tasks a worker of a model takes at once, for the rest of the process.
#[allow(dead_code, reason = "for models")]
pub(crate) fn set_largest_batch(tasks: usize) {
    LARGEST_BATCH.store(tasks, Relaxed);
}

pub(crate) fn largest_batch() -> usize {
    LARGEST_BATCH.load(Relaxed)
}

/// Two items are enough for one worker to take an item from another's batch.
pub(crate) const FIRST_BATCH: usize = 2;

pub(crate) fn batches_ahead() -> usize {
    1
}

pub(crate) type Payload = Box<dyn Any + Send>;

/// The panic that a model throws on purpose. No other panic counts as the panic of a task.
#[derive(Debug)]
pub(crate) struct ModelPanic;

/// In a model, taking a lock twice is a deadlock, which loom finds by itself.
pub(crate) fn assert_unlocked() {}

pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, Payload> {
    panic::catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        if payload.is::<ModelPanic>() {
            payload
        } else {
            // A finding of loom's or of the model's: it has to end the model.
            panic::resume_unwind(payload)
        }
    })
}

/// A panic that unwinds past here is a finding and ends the model.
#[must_use = "only what comes before its end is contained"]
pub(crate) struct Contained(());

impl Contained {
    pub(crate) fn begin() -> Self {
        Contained(())
    }

    pub(crate) fn end(self) {}
}

/// An atomic of loom, where a load does not hide another one. See the module.
#[derive(Debug)]
pub(crate) struct Atomic<A> {
    value: A,
    loads: loom::sync::atomic::AtomicU8,
}

pub(crate) type AtomicU8 = Atomic<loom::sync::atomic::AtomicU8>;
pub(crate) type AtomicU32 = Atomic<loom::sync::atomic::AtomicU32>;
pub(crate) type AtomicU64 = Atomic<loom::sync::atomic::AtomicU64>;
pub(crate) type AtomicUsize = Atomic<loom::sync::atomic::AtomicUsize>;

impl<A> std::ops::Deref for Atomic<A> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.value
    }
}

static SEES_COUNTS: AtomicBool = AtomicBool::new(false);

/// Sets whether loom sees the number of references to each task, for the rest of the process.
#[allow(dead_code, reason = "for models")]
pub(crate) fn set_sees_counts(sees: bool) {
    SEES_COUNTS.store(sees, Relaxed);
}

/// The number of references to a [`CountedRef`](super::CountedRef).
pub(crate) enum Count {
    Seen(AtomicUsize),
    Unseen(StdUsize),
}

impl Count {
    pub(crate) fn new(count: usize) -> Self {
        if SEES_COUNTS.load(Relaxed) {
            Count::Seen(AtomicUsize::new(count))
        } else {
            Count::Unseen(StdUsize::new(count))
        }
    }

    pub(crate) fn load(&self, order: Ordering) -> usize {
        match self {
            Count::Seen(count) => count.load(order),
            // Not 1: a read of an unseen count orders nothing.
            Count::Unseen(_) => 0,
        }
    }

    pub(crate) fn fetch_add(&self, by: usize, order: Ordering) -> usize {
        match self {
            Count::Seen(count) => count.fetch_add(by, order),
            Count::Unseen(count) => count.fetch_add(by, order),
        }
    }

    pub(crate) fn fetch_sub(&self, by: usize, order: Ordering) -> usize {
        match self {
            Count::Seen(count) => count.fetch_sub(by, order),
            Count::Unseen(count) => count.fetch_sub(by, order),
        }
    }
}

macro_rules! atomic {
    ($($type:ident of $value:ty),*) => {$(
        impl $type {
            pub(crate) fn new(value: $value) -> Self {
                Atomic {
                    value: loom::sync::atomic::$type::new(value),
                    loads: loom::sync::atomic::AtomicU8::new(0),
                }
            }

            pub(crate) fn load(&self, ordering: Ordering) -> $value {
                // A load that the next access to the value hides still shows here (see the module).
                self.loads.fetch_or(0, Ordering::Relaxed);
                self.value.load(ordering)
            }
        }
    )*};
}
atomic!(AtomicU8 of u8, AtomicU32 of u32, AtomicU64 of u64, AtomicUsize of usize);

#[derive(Debug)]
pub(crate) struct Cell<T>(loom::cell::UnsafeCell<T>);

impl<T> Cell<T> {
    pub(crate) fn new(value: T) -> Self {
        Cell(loom::cell::UnsafeCell::new(value))
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        self.0.with(f)
    }

    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        self.0.with_mut(f)
    }
}

pub(crate) struct Track(#[allow(dead_code, reason = "held for its drop")] loom::alloc::Track<()>);

impl Track {
    pub(crate) fn new() -> Self {
        Track(loom::alloc::Track::new(()))
    }
}

impl std::fmt::Debug for Track {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Track")
    }
}

/// loom's mutex with the interface of the other facade.
#[derive(Debug)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn into_inner(self) -> T {
        self.0
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

/// A value that is set once. loom sees the word.
#[derive(Debug)]
pub(crate) struct Once<T> {
    is_set: AtomicU32,
    value: std::sync::OnceLock<T>,
}

impl<T> Once<T> {
    pub(crate) fn new() -> Self {
        Once {
            is_set: AtomicU32::new(0),
            value: std::sync::OnceLock::new(),
        }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        // Acquire pairs with the release of `set`, like in std's `OnceLock`.
        if self.is_set.load(Ordering::Acquire) == 0 {
            None
        } else {
            self.value.get()
        }
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        // The value first: a thread that sees the word must find the value.
        self.value.set(value)?;

        self.is_set.store(1, Ordering::Release);
        Ok(())
    }

    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut()
    }

    pub(crate) fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }
}

pub(crate) fn fence() {
    loom::sync::atomic::fence(Ordering::SeqCst);
}

pub(crate) fn release_fence() {
    loom::sync::atomic::fence(Ordering::Release);
}

pub(crate) fn acquire_fence() {
    loom::sync::atomic::fence(Ordering::Acquire);
}

pub(crate) fn fence_after_rmw() {
    fence();
}

/// The channel that a thread parks on. It lives as long as another thread can unpark this one. The
/// last reference to be dropped drains it.
///
/// loom runs all threads of a model on one thread of the operating system, and only its owner
/// receives from a mailbox. So std's mutex only satisfies the type system and is never contended.
#[derive(Debug)]
struct Mailbox {
    sender: loom::sync::mpsc::Sender<()>,
    receiver: std::sync::Mutex<loom::sync::mpsc::Receiver<()>>,
}

loom::thread_local! {
    static MAILBOX: Arc<Mailbox> = {
        let (sender, receiver) = loom::sync::mpsc::channel();
        Arc::new(Mailbox { sender, receiver: std::sync::Mutex::new(receiver) })
    };
}

#[derive(Debug, Clone)]
pub(crate) struct Unparker(Arc<Mailbox>);

impl Unparker {
    pub(crate) fn current() -> Self {
        MAILBOX.with(|mailbox| Unparker(mailbox.clone()))
    }

    /// Whether both unpark the same thread.
    pub(crate) fn is_of_thread_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn unpark(&self) {
        // It cannot fail, since the mailbox holds the receiver, too.
        let _ = self.0.sender.send(());
    }
}

pub(crate) fn park() {
    let mailbox = MAILBOX.with(Arc::clone);

    let receiver = mailbox
        .receiver
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);

    // fault: early-wake-is-forgotten
    let _ = receiver.recv();
}

/// Calls `get` until it returns a value, which another thread is about to make possible.
pub(crate) fn wait_until<T>(mut get: impl FnMut() -> Option<T>) -> T {
    loop {
        match get() {
            Some(value) => return value,
            None => yield_now(),
        }
    }
}

pub(crate) fn park_timeout(limit: Duration) {
    if limit.is_zero() {
        // Others run meanwhile, as they do during a short park.
        yield_now()
    } else {
        super::model_clock::park_until_it_goes_on()
    }
}

pub(crate) fn park_idle(_limit: Duration) -> bool {
    if IDLE_EXPIRES.load(Relaxed) {
        // A wake can come in between, so that it meets the retirement.
        yield_now();
        return true;
    }
    park();
    false
}

pub(crate) fn spin(mut done: impl FnMut() -> bool) -> bool {
    done()
}

/// Returns the same seed in each execution: loom needs executions that can be repeated.
pub(crate) fn seed() -> u32 {
    0
}

static PACES_ARE_DUE: AtomicBool = AtomicBool::new(false);

/// Sets whether every [`Pace`] is always due or never, for the rest of the process.
#[allow(dead_code, reason = "for models")]
pub(crate) fn set_paces_are_due(due: bool) {
    PACES_ARE_DUE.store(due, Relaxed);
}

#[derive(Debug)]
pub(crate) struct Pace;

impl Pace {
    pub(crate) fn new(_every: Duration) -> Self {
        Pace
    }

    pub(crate) fn is_due(&mut self) -> bool {
        PACES_ARE_DUE.load(Relaxed)
    }
}

pub(crate) fn linger(_done: impl FnMut() -> bool) {}

pub(crate) fn parallelism() -> usize {
    PARALLELISM.load(Relaxed)
}

/// All threads of a model are one thread of the system. Only a report tells them apart.
pub(crate) fn this_thread() -> std::thread::ThreadId {
    std::thread::current().id()
}

pub(crate) fn start_thread(
    _name: &str,
    _stack_size: Option<usize>,
    f: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    loom::thread::spawn(f);
    Ok(())
}

macro_rules! const_fn {
    ($(#[$attribute:meta])* $vis:vis const fn $($rest:tt)*) => {
        $(#[$attribute])* $vis fn $($rest)*
    };
}
pub(crate) use const_fn;

macro_rules! preset {
    ($value:expr) => {
        $value
    };
}
pub(crate) use preset;

macro_rules! global {
    ($(#[$doc:meta])* $(pub($($path:tt)+))? static $name:ident: $type:ty = $init:expr;) => {
        loom::lazy_static! {
            $(#[$doc])*
            $(pub($($path)+))? static ref $name: $type = $init;
        }
    };
}
pub(crate) use global;
