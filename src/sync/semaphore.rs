//! A number of permits, given out in the order of the calls.

use std::fmt;
use std::panic::Location;

use crate::cancel::context;
use crate::cancel::{CancelCause, Cancelled, TokenId};
use crate::facade::{AtomicUsize, Mutex, Ordering, const_fn, spin};
use crate::waiting::{Enqueued, Grant, WaitKind, WaitQueue, Wakes};

/// A thread waits: permits go through the queue.
const QUEUED: usize = 1;
/// The semaphore is closed.
const CLOSED: usize = 2;
/// One permit, in the word and in the total.
const ONE: usize = 4;
/// Permits have been added.
const GROWN: usize = 1;

/// Limits how many threads do something at once.
///
/// Permits are given out in order: a call for many permits is not overtaken by calls for few.
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
/// A semaphore that is created with no permits counts events: [`add_permits`](Self::add_permits)
/// announces them, and [`acquire`](Self::acquire) with [`forget`](super::Permit::forget) takes
/// them.
///
/// # Closing
///
/// After [`close`](Self::close) no permit is given out. Calls that wait, and all later ones, return
/// a [`Cancelled`] with the cause [`CancelCause::SemaphoreClosed`]. It is not the cancel of a
/// scope: a task that returns it with `?` has failed, like a task that returns the disconnect of a
/// channel. In a cancelled scope a call returns the cancel of the scope instead.
///
/// # Memory ordering
///
/// What happened before a permit was returned or added happens before the return of the `acquire`
/// that gets it.
//
// The word: bit 0 is QUEUED, bit 1 is CLOSED, the rest is the number of free permits.
//
// 1. While QUEUED is set, permits are taken out of the word only under the lock of the queue. While
//    CLOSED is set, none are.
// 2. QUEUED is set under the lock before a waiter enters the queue, and cleared under the lock when
//    the queue is empty. Both are read-modify-writes of the word that permits are returned to. So a
//    waiter sees a permit that was returned before, and a permit that is returned later finds
//    QUEUED.
// 3. CLOSED is set, and all waiters are refused, in the critical section that closes. A waiter
//    looks whether the semaphore is closed in the critical section in which it enters the queue. So
//    no thread waits in a closed semaphore.
pub struct Semaphore {
    word: AtomicUsize,
    state: Mutex<SemaphoreState>,
    made_with: usize,
    /// The number of permits, free and out, times [`ONE`], and whether any were ever added.
    total: AtomicUsize,
}

struct SemaphoreState {
    waiters: WaitQueue<usize>,
    /// The error of all calls, once the semaphore is closed.
    closed: Option<Cancelled>,
}

impl Semaphore {
    /// The most permits that a semaphore can have, including the ones that are out.
    pub const MAX_PERMITS: usize = usize::MAX / ONE;

    const_fn! {
        /// Creates a semaphore with `permits` permits.
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
            assert!(
                permits <= Self::MAX_PERMITS,
                "a semaphore cannot have that many permits"
            );

            Semaphore {
                word: AtomicUsize::new(permits * ONE),
                state: Mutex::new(SemaphoreState { waiters: WaitQueue::new(), closed: None }),
                made_with: permits,
                total: AtomicUsize::new(permits * ONE),
            }
        }
    }

    #[cold]
    #[track_caller]
    fn assert_possible(&self, count: usize) {
        assert!(
            count <= Self::MAX_PERMITS,
            "{count} permits can never be free: a semaphore has at most {}",
            Self::MAX_PERMITS
        );

        // Relaxed: a thread that counts on permits of another thread has been told of them.
        assert!(
            self.made_with == 0 || self.total.load(Ordering::Relaxed) & GROWN != 0,
            "{count} permits can never be free: \
             the semaphore was made with {}, and none were added",
            self.made_with
        );
    }

    /// Returns the number of free permits. Other threads may take them before the answer is read.
    ///
    /// ```
    /// assert_eq!(taskgroup::sync::Semaphore::new(3).available(), 3);
    /// ```
    pub fn available(&self) -> usize {
        self.word.load(Ordering::Relaxed) / ONE
    }

    /// Adds `count` permits. Waiting threads get them first.
    ///
    /// # Panics
    ///
    /// If the semaphore would have more than [`MAX_PERMITS`](Self::MAX_PERMITS). Permits that are
    /// out count too, unless they were [forgotten](super::Permit::forget). No permit is added then.
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
            // Before they can be taken: otherwise they could be forgotten before they are counted.
            // Relaxed: it is only a count.
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
            let mut state = self.state.lock();
            if state.closed.is_some() {
                return;
            }

            // Invariant 3: the waiters are refused in the same critical section.
            state.closed = Some(Cancelled::new(
                CancelCause::SemaphoreClosed,
                location,
                TokenId::next(),
            ));
            // fault: close-refuses-no-waiter
            state.waiters.grant_all(Grant::Refused, &mut wakes);
            // Release pairs with the acquire in `is_closed`.
            self.word.fetch_or(CLOSED, Ordering::Release);
            // Invariant 2: the queue is empty.
            self.word.fetch_and(!QUEUED, Ordering::Relaxed);
        }

        wakes.wake();
    }

    /// Whether the semaphore was closed. What came before the close happens before a call that
    /// returns `true`.
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

        // Invariant 1: no permits are taken here while a thread waits or the semaphore is closed.
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
            self.wait_for(WaitKind::Semaphore, count)
        }
    }

    /// Takes one permit, for a blocking point of the kind `kind`.
    #[cfg(all(feature = "net", unix, not(loom)))]
    #[track_caller]
    pub(super) fn take_as(&self, kind: WaitKind) -> Result<(), Cancelled> {
        context::check()?;
        if self.try_take(1) {
            Ok(())
        } else {
            self.wait_for(kind, 1)
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
    fn wait_for(&self, kind: WaitKind, count: usize) -> Result<(), Cancelled> {
        // A queue moves when a permit goes from thread to thread, which takes longer than a spin.
        if self.word.load(Ordering::Relaxed) & (QUEUED | CLOSED) == 0
            && spin(|| self.try_take(count))
        {
            return Ok(());
        }

        let entered = Enqueued::enter(&self.state, context::slot(), |state, waiter, _| {
            // Invariant 3: no thread enters the queue of a closed semaphore.
            //
            // fault: acquire-misses-the-close
            if state.closed.is_some() {
                return Err(Grant::Refused);
            }

            // Invariant 2: QUEUED is set before the waiter enters. Acquire pairs with the release
            // in `put_back`, if the permits have come meanwhile.
            let word = self.word.fetch_or(QUEUED, Ordering::Acquire);
            if state.waiters.is_empty() && word / ONE >= count {
                self.word.fetch_sub(count * ONE + QUEUED, Ordering::Relaxed);
                return Err(Grant::Given);
            }

            Ok(state.waiters.push(waiter.clone(), count))
        });

        let settled = match entered {
            Err(at_once) => Ok(at_once),
            Ok(entered) => {
                // For reports alone: two counts, and not of one moment.
                let permits = self.total.load(Ordering::Relaxed) / ONE;
                let taken = permits.saturating_sub(self.available());
                let what = kind.on(entered.object()).with_share(taken, permits);
                let ended = context::wait(what, None, || entered.is_granted());
                entered.settle(ended, |state, position, wakes| {
                    state.waiters.remove(position);
                    // A waiter behind this one may need fewer permits.
                    self.hand_out(&mut state.waiters, wakes);
                })
            }
        };

        match settled {
            Ok(Grant::Given) => Ok(()),
            Ok(Grant::Refused) => Err(self.refused()),
            Err(Err(cancelled)) => Err(cancelled),
            Ok(Grant::None) | Err(Ok(_)) => unreachable!("the wait has no limit"),
        }
    }

    /// Returns the error of a call that finds the semaphore closed: the cancel of its scope if
    /// there is one, else the close.
    fn refused(&self) -> Cancelled {
        match (context::check_ancestors(), &self.state.lock().closed) {
            (Err(cancelled), _) => cancelled,
            (Ok(()), Some(closed)) => closed.clone(),
            (Ok(()), None) => unreachable!("it stays closed"),
        }
    }

    /// Takes permits that are out from the total, so that they are never returned.
    pub(super) fn forget(&self, count: usize) {
        self.total.fetch_sub(count * ONE, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn put_back(&self, count: usize) {
        // Release pairs with the acquires in `try_take`, `wait_for` and `hand_out`. Other exchanges
        // of the word may come between. Invariant 2: a waiter that did not see these permits has
        // set QUEUED.
        if self.word.fetch_add(count * ONE, Ordering::Release) & QUEUED != 0 {
            self.serve();
        }
    }

    #[cold]
    fn serve(&self) {
        let mut wakes = Wakes::default();
        self.hand_out(&mut self.state.lock().waiters, &mut wakes);
        wakes.wake();
    }

    /// Gives the free permits to the waiters, in order, until there are too few for the first one.
    fn hand_out(&self, queue: &mut WaitQueue<usize>, wakes: &mut Wakes) {
        while let Some(&count) = queue.front() {
            // Acquire pairs with the release in `put_back`, for the waiter too, which reads its
            // grant. Invariant 1: the lock is held.
            if self.word.load(Ordering::Acquire) / ONE < count {
                return;
            }

            self.word.fetch_sub(count * ONE, Ordering::Relaxed);
            if let Some((waiter, _)) = queue.pop() {
                wakes.grant(waiter, Grant::Given);
            }
        }

        // Invariant 2: the queue is empty.
        self.word.fetch_and(!QUEUED, Ordering::Relaxed);
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available", &self.available())
            .field("waiting", &self.state.lock().waiters.len())
            .field("is_closed", &self.is_closed())
            .finish()
    }
}
