//! Permits, given out in the order in which they were asked for.

use std::fmt;
use std::panic::Location;

use super::Permit;
use crate::cancel::context;
use crate::cancel::{CancelCause, Cancelled, TokenId};
use crate::facade::{AtomicUsize, Mutex, Ordering, const_fn, spin};
use crate::waiting::{Grant, WaitKind, WaitQueue, Waiter, Wakes};

/// Somebody waits: permits go through the queue.
const QUEUED: usize = 1;
/// The semaphore is closed.
const CLOSED: usize = 2;
/// One permit, in the word and in the total.
const ONE: usize = 4;
/// Permits have been added.
const GROWN: usize = 1;

/// Limits how many may do something at once.
///
/// Permits are given out in order: whoever asks for many is not overtaken by those who ask for few.
///
/// ```
/// use taskgroup::sync::Semaphore;
///
/// # fn main() -> anyhow::Result<()> {
/// static CONNECTIONS: Semaphore = Semaphore::new(2);
///
/// taskgroup::TaskGroup::scope(|g| {
///     for _ in 0..8 {
///         g.spawn(|| {
///             let _permit = CONNECTIONS.acquire()?;
///             // At most two tasks are here.
///             Ok(())
///         });
///     }
///     Ok(())
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// A semaphore made with no permits counts events: [`add_permits`](Self::add_permits) announces
/// them, and [`acquire`](Self::acquire) with [`forget`](Permit::forget) takes them.
///
/// # Closing
///
/// After [`close`](Self::close) no permit is given out any more. Calls that wait, and all later
/// ones, return a [`Cancelled`] with the cause [`CancelCause::SemaphoreClosed`]. It is not the
/// cancel of any scope: a task that returns it with `?` has failed, as if it returned the
/// disconnect of a channel. In a cancelled scope a call returns the cancel of the scope instead.
///
/// # Memory ordering
///
/// What happened before a permit came back, or was added, happens before the return of the
/// `acquire` that gets it.
//
// The word: bit 0 is QUEUED, bit 1 is CLOSED, the rest is the number of free permits.
//
// 1. While QUEUED is set, permits are taken out of the word only under the lock of the queue. While
//    CLOSED is set, none are.
// 2. QUEUED is set under the lock before a waiter enters the queue, and cleared under it when the
//    queue is empty. Both are read-modify-writes of the word that permits come back to: a permit
//    that came back before is seen by the waiter, one that comes back after it finds QUEUED.
// 3. CLOSED is set, and all waiters are refused, in the critical section that closes. A waiter
//    looks whether the semaphore is closed in the critical section in which it enters the queue. So
//    none waits in a closed semaphore.
pub struct Semaphore {
    word: AtomicUsize,
    line: Mutex<Line>,
    made_with: usize,
    /// How many permits there are, free and out, times [`ONE`]; and whether any were ever added.
    total: AtomicUsize,
}

struct Line {
    waiters: WaitQueue<usize>,
    /// What calls get once the semaphore is closed.
    closed: Option<Cancelled>,
}

impl Semaphore {
    /// The most permits that a semaphore can have, those that are out included.
    pub const MAX_PERMITS: usize = usize::MAX / ONE;

    const_fn! {
        /// A semaphore with `permits` permits.
        ///
        /// # Panics
        ///
        /// If there are more than [`MAX_PERMITS`](Self::MAX_PERMITS).
        ///
        /// ```
        /// use taskgroup::sync::Semaphore;
        ///
        /// static CONNECTIONS: Semaphore = Semaphore::new(2);
        /// assert_eq!(CONNECTIONS.available(), 2);
        /// ```
        pub const fn new(permits: usize) -> Self {
            assert!(permits <= Self::MAX_PERMITS, "a semaphore cannot have that many permits");
            Semaphore {
                word: AtomicUsize::new(permits * ONE),
                line: Mutex::new(Line { waiters: WaitQueue::new(), closed: None }),
                made_with: permits,
                total: AtomicUsize::new(permits * ONE),
            }
        }
    }

    /// Takes one permit, waiting for it if need be.
    ///
    /// # Cancellation
    ///
    /// A blocking point. A permit that was granted while the scope was being cancelled is returned;
    /// with `Err`, none was taken.
    ///
    /// # Errors
    ///
    /// The cancel of the scope, or [`CancelCause::SemaphoreClosed`] once the semaphore is
    /// [closed](Self::close).
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let semaphore = taskgroup::sync::Semaphore::new(1);
    /// let permit = semaphore.acquire()?;
    /// assert!(semaphore.try_acquire().is_none());
    /// drop(permit);
    /// assert!(semaphore.try_acquire().is_some());
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn acquire(&self) -> Result<Permit<'_>, Cancelled> {
        self.take(1)?;
        Ok(Permit::new(self, 1))
    }

    /// Takes `count` permits at once, waiting until there are so many. Nobody who asks later gets
    /// one before.
    ///
    /// # Cancellation
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// The cancel of the scope, or [`CancelCause::SemaphoreClosed`] once the semaphore is
    /// [closed](Self::close).
    ///
    /// # Panics
    ///
    /// If so many can never be free, rather than wait for ever: more than
    /// [`MAX_PERMITS`](Self::MAX_PERMITS), or more than the semaphore was made with, where it was
    /// made with any and none were ever added. One made with none, or to which permits were added,
    /// may get more, and is waited for.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let semaphore = taskgroup::sync::Semaphore::new(3);
    /// let two = semaphore.acquire_many(2)?;
    /// assert_eq!((two.count(), semaphore.available()), (2, 1));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn acquire_many(&self, count: usize) -> Result<Permit<'_>, Cancelled> {
        self.take_many(count)?;
        Ok(Permit::new(self, count))
    }

    #[cold]
    #[track_caller]
    fn assert_possible(&self, count: usize) {
        assert!(
            count <= Self::MAX_PERMITS,
            "{count} permits can never be free: a semaphore has at most {}",
            Self::MAX_PERMITS
        );
        // Relaxed: whoever counts on permits that another thread adds has been told of it.
        assert!(
            self.made_with == 0 || self.total.load(Ordering::Relaxed) & GROWN != 0,
            "{count} permits can never be free: the semaphore was made with {}, and none were added",
            self.made_with
        );
    }

    /// Takes one permit if one is free, no thread waits and the semaphore is not closed. Never
    /// blocks.
    ///
    /// ```
    /// let semaphore = taskgroup::sync::Semaphore::new(0);
    /// assert!(semaphore.try_acquire().is_none());
    /// ```
    #[inline]
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        self.try_acquire_many(1)
    }

    /// Takes `count` permits if so many are free, no thread waits and the semaphore is not closed.
    /// Never blocks.
    ///
    /// ```
    /// let semaphore = taskgroup::sync::Semaphore::new(3);
    /// assert!(semaphore.try_acquire_many(4).is_none());
    /// assert!(semaphore.try_acquire_many(3).is_some());
    /// ```
    #[inline]
    pub fn try_acquire_many(&self, count: usize) -> Option<Permit<'_>> {
        self.try_take(count).then(|| Permit::new(self, count))
    }

    /// How many permits are free. Others may take them before the answer is read.
    ///
    /// ```
    /// assert_eq!(taskgroup::sync::Semaphore::new(3).available(), 3);
    /// ```
    pub fn available(&self) -> usize {
        self.word.load(Ordering::Relaxed) / ONE
    }

    /// Adds `count` permits, which go to those who wait first.
    ///
    /// # Panics
    ///
    /// If the semaphore would have more than [`MAX_PERMITS`](Self::MAX_PERMITS): those that are
    /// free and those that are out, unless they were [forgotten](Permit::forget). Then none were
    /// added.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let arrivals = taskgroup::sync::Semaphore::new(0);
    /// arrivals.add_permits(1);
    /// arrivals.acquire()?.forget();
    /// assert_eq!(arrivals.available(), 0);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn add_permits(&self, count: usize) {
        let mut total = self.total.load(Ordering::Relaxed);
        loop {
            let permits = total / ONE;
            assert!(
                count <= Self::MAX_PERMITS.saturating_sub(permits),
                "{permits} and {count} permits are more than a semaphore can have"
            );
            let grown = ((permits + count) * ONE) | GROWN;
            // Relaxed: it is a count. Before they are put back, or they could be forgotten before
            // they are counted.
            match self.total.compare_exchange_weak(
                total,
                grown,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => total = now,
            }
        }
        self.put_back(count);
    }

    /// Closes the semaphore: calls that wait for permits, and all later ones, fail. It stays
    /// closed.
    ///
    /// Permits that are out stay valid and may go back. A permit that was granted before the close
    /// is received.
    ///
    /// ```
    /// use taskgroup::sync::Semaphore;
    /// use taskgroup::CancelCause;
    ///
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let jobs = Semaphore::new(2);
    /// let held = jobs.acquire()?;
    /// jobs.close();
    /// let refused = jobs.acquire().expect_err("it is closed");
    /// assert!(matches!(refused.cause(), CancelCause::SemaphoreClosed));
    /// assert!(jobs.try_acquire().is_none());
    /// drop(held);
    /// assert_eq!(jobs.available(), 2);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn close(&self) {
        let location = Location::caller();
        let mut wakes = Wakes::default();
        {
            let mut line = self.line.lock();
            if line.closed.is_some() {
                return;
            }
            // Invariant 3.
            line.closed = Some(Cancelled::new(
                CancelCause::SemaphoreClosed,
                location,
                TokenId::next(),
            ));
            // fault: close-refuses-no-waiter
            line.waiters.grant_all(Grant::Refused, &mut wakes);
            // Release pairs with the acquire in `is_closed`.
            self.word.fetch_or(CLOSED, Ordering::Release);
            // Invariant 2.
            self.word.fetch_and(!QUEUED, Ordering::Relaxed);
        }
        wakes.wake();
    }

    /// Whether the semaphore was closed.
    ///
    /// ```
    /// let semaphore = taskgroup::sync::Semaphore::new(1);
    /// assert!(!semaphore.is_closed());
    /// semaphore.close();
    /// assert!(semaphore.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        // Acquire pairs with the release in `close`.
        self.word.load(Ordering::Acquire) & CLOSED != 0
    }

    #[inline]
    pub(super) fn try_take(&self, count: usize) -> bool {
        let Some(needed) = count.checked_mul(ONE) else {
            return false;
        };
        let mut word = self.word.load(Ordering::Relaxed);
        while word & (QUEUED | CLOSED) == 0 && word >= needed {
            // Acquire pairs with the release in `put_back`.
            match self.word.compare_exchange_weak(
                word,
                word - needed,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    #[inline]
    #[track_caller]
    pub(super) fn take(&self, count: usize) -> Result<(), Cancelled> {
        context::check()?;
        if self.try_take(count) {
            Ok(())
        } else {
            self.wait_for(count)
        }
    }

    #[inline]
    #[track_caller]
    pub(super) fn take_many(&self, count: usize) -> Result<(), Cancelled> {
        if count > self.made_with {
            self.assert_possible(count);
        }
        self.take(count)
    }

    #[cold]
    #[track_caller]
    fn wait_for(&self, count: usize) -> Result<(), Cancelled> {
        // A queue moves when a permit has gone from thread to thread: that is not worth spinning
        // for.
        if self.word.load(Ordering::Relaxed) & (QUEUED | CLOSED) == 0
            && spin(|| self.try_take(count))
        {
            return Ok(());
        }
        let waiter = Waiter::new(context::slot());
        let place = {
            let mut line = self.line.lock();
            // Invariant 3.
            //
            // fault: acquire-misses-the-close
            if line.closed.is_some() {
                drop(line);
                return Err(self.refused());
            }
            // Invariant 2. Acquire pairs with the release in `put_back`, should the permits be
            // there.
            let word = self.word.fetch_or(QUEUED, Ordering::Acquire);
            if line.waiters.is_empty() && word / ONE >= count {
                self.word.fetch_sub(count * ONE + QUEUED, Ordering::Relaxed);
                return Ok(());
            }
            line.waiters.push(waiter.clone(), count)
        };
        match context::wait(WaitKind::Semaphore, None, || waiter.is_granted()) {
            Ok(_) if waiter.grant() == Grant::Refused => Err(self.refused()),
            Ok(_) => Ok(()),
            Err(cancelled) => {
                let mut wakes = Wakes::default();
                {
                    let mut line = self.line.lock();
                    // fault: cancelled-acquire-drops-its-permits
                    if waiter.grant() == Grant::Given {
                        return Ok(());
                    }
                    if !waiter.is_granted() {
                        line.waiters.remove(place);
                    }
                    // Those behind may need less.
                    self.hand_out(&mut line.waiters, &mut wakes);
                }
                wakes.wake();
                Err(cancelled)
            }
        }
    }

    /// What a call returns that finds the semaphore closed: the cancel of its scope, if there is
    /// one, else the close.
    fn refused(&self) -> Cancelled {
        match (context::check_ancestors(), &self.line.lock().closed) {
            (Err(cancelled), _) => cancelled,
            (Ok(()), Some(closed)) => closed.clone(),
            (Ok(()), None) => unreachable!("it stays closed"),
        }
    }

    /// The permits are out for good.
    pub(super) fn forget(&self, count: usize) {
        self.total.fetch_sub(count * ONE, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn put_back(&self, count: usize) {
        // Release pairs with the acquires in `try_take`, `wait_for` and `hand_out`, whatever other
        // exchanges of the word come between.
        if self.word.fetch_add(count * ONE, Ordering::Release) & QUEUED != 0 {
            self.serve();
        }
    }

    #[cold]
    fn serve(&self) {
        let mut wakes = Wakes::default();
        self.hand_out(&mut self.line.lock().waiters, &mut wakes);
        wakes.wake();
    }

    /// Gives what is free to those who wait, in order, as far as it goes.
    fn hand_out(&self, queue: &mut WaitQueue<usize>, wakes: &mut Wakes) {
        while let Some(&count) = queue.front() {
            // Acquire pairs with the release in `put_back`: the waiter gets what came back before,
            // by way of its grant.
            if self.word.load(Ordering::Acquire) / ONE < count {
                return;
            }
            self.word.fetch_sub(count * ONE, Ordering::Relaxed);
            if let Some((waiter, _)) = queue.pop() {
                wakes.grant(waiter, Grant::Given);
            }
        }
        self.word.fetch_and(!QUEUED, Ordering::Relaxed);
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available", &self.available())
            .field("waiting", &self.line.lock().waiters.len())
            .field("is_closed", &self.is_closed())
            .finish()
    }
}
