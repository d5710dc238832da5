//! A number of permits for each period of time, given out in the order of the calls.
//!
//! # State
//!
//! One lock covers the theoretical arrival time (see `gcra`), the beginning of the limiter's time,
//! and the queue of the waiters. No thread gives permits out by itself as time passes: the first
//! waiter waits for the clock, and all others wait until they are first.
//!
//! # Invariants
//!
//! 1. A permit is taken from the rate, and given to a waiter, in one critical section. A waiter
//!    that was granted its permits has them, even if it is cancelled. A waiter that leaves without
//!    them had taken nothing from the rate, so there is no debt.
//! 2. Each thread that takes the lock first serves the waiters that are due. So a thread that comes
//!    late overtakes none.
//! 3. The first waiter knows that it is: it looked under the lock, or is woken by the thread that
//!    made it the first. It then waits until its permits are due and serves the queue itself.

use std::convert::Infallible;
use std::fmt;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::gcra::{Gcra, Tat};
use crate::cancel::Cancelled;
use crate::cancel::context;
use crate::facade::{self, Mutex, const_fn};
use crate::waiting::{Enqueued, Grant, WaitKind, WaitQueue, Wakes};

/// Limits how often something is done.
///
/// Threads ask for permits, which come at a steady rate. A limiter that was not used for a while
/// keeps some of them, up to its [`burst`](Self::burst). Unlike the permit of a
/// [`Semaphore`](super::Semaphore), a permit is used up and not given back. In any span of time `t`
/// at most `burst + rate * t` permits are given out.
///
/// Permits are given out in order: a call for many permits is not overtaken by calls for few.
///
/// ```
/// use std::num::NonZeroU32;
/// use std::time::Duration;
/// use taskgroup::TaskGroup;
/// use taskgroup::sync::RateLimiter;
///
/// # fn main() -> anyhow::Result<()> {
/// // 1000 requests a second.
/// let pace = RateLimiter::new(Duration::from_secs(1), NonZeroU32::new(1_000).unwrap())
///     .burst(NonZeroU32::MIN);
/// TaskGroup::scope(|g| {
///     for _ in 0..8 {
///         g.spawn(|| {
///             pace.acquire()?;
///             // Here a request is sent.
///             Ok(())
///         });
///     }
///     Ok(())
/// })?;
/// # Ok(())
/// # }
/// ```
pub struct RateLimiter {
    rate: Gcra,
    per: Duration,
    permits: NonZeroU32,
    state: Mutex<RateState>,
}

struct RateState {
    tat: Tat,
    /// The first use. The times of the rate are counted from here.
    start: Option<Instant>,
    waiters: WaitQueue<u32>,
}

/// The next step of a waiter.
enum Turn {
    /// Nothing more: it has its permits.
    Granted,
    /// To wait until its permits are due. If that is too far to express, it never is.
    First(Option<Instant>),
    /// To wait until it is first.
    Behind,
}

impl RateState {
    fn now(&mut self) -> Duration {
        let now = facade::now();
        now.saturating_duration_since(*self.start.get_or_insert(now))
    }

    /// Takes permits, unless they are not due or threads wait.
    fn take(&mut self, rate: &Gcra, now: Duration, count: u32) -> bool {
        self.waiters.is_empty() && rate.take(&mut self.tat, now, count).is_ok()
    }

    /// Gives permits to the waiters that are due, in order. Returns when the first of the others is
    /// due.
    fn serve(&mut self, rate: &Gcra, now: Duration, wakes: &mut Wakes) -> Option<Duration> {
        let mut served = false;
        let due = loop {
            let &count = self.waiters.front()?;
            // Invariant 1: the permits leave the rate in the critical section of their grant.
            if let Err(due) = rate.take(&mut self.tat, now, count) {
                break due;
            }

            if let Some((waiter, _)) = self.waiters.pop() {
                wakes.grant(waiter, Grant::Given);
            }
            served = true;
        };

        // Invariant 3: the waiter behind those that were served is the first now.
        //
        // fault: rate-tells-no-waiter-that-it-is-first
        if served {
            self.tell_first(wakes);
        }
        Some(due)
    }

    /// Wakes the first waiter, which has just become the first.
    fn tell_first(&self, wakes: &mut Wakes) {
        if let Some((waiter, _)) = self.waiters.iter().next() {
            wakes.keep(waiter.clone());
        }
    }
}

impl RateLimiter {
    const_fn! {
        /// Creates a limiter that gives out `permits` permits in each `per`, one after the other at
        /// the same distance. After a while without use it has up to `permits` at once: see
        /// [`burst`](Self::burst).
        ///
        /// # Panics
        ///
        /// If `per` is zero, which is not a rate.
        ///
        /// ```
        /// use std::num::NonZeroU32;
        /// use std::time::Duration;
        /// use taskgroup::sync::RateLimiter;
        ///
        /// static PACE: RateLimiter =
        ///     RateLimiter::new(Duration::from_secs(60), NonZeroU32::new(2).unwrap());
        /// assert!(PACE.try_acquire() && PACE.try_acquire());
        /// assert!(!PACE.try_acquire());
        /// ```
        #[track_caller]
        pub const fn new(per: Duration, permits: NonZeroU32) -> Self {
            assert!(!per.is_zero(), "a rate needs a period that is longer than zero");

            RateLimiter {
                rate: Gcra::new(per, permits, permits),
                per,
                permits,
                state: Mutex::new(RateState {
                    tat: Tat::START,
                    start: None,
                    waiters: WaitQueue::new(),
                }),
            }
        }
    }

    /// Lets at most `burst` permits be taken at once, after a while without use. Default: the
    /// permits of a whole period.
    ///
    /// With 1, permits are never closer together than the rate says.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use std::time::Duration;
    /// use taskgroup::sync::RateLimiter;
    ///
    /// let pace = RateLimiter::new(Duration::from_secs(60), NonZeroU32::new(60).unwrap())
    ///     .burst(NonZeroU32::MIN);
    /// assert!(pace.try_acquire());
    /// assert!(!pace.try_acquire()); // for a second
    /// ```
    pub const fn burst(mut self, burst: NonZeroU32) -> Self {
        self.rate = self.rate.with_burst(burst);
        self
    }

    /// Blocks until a permit is due, and takes it.
    ///
    /// # Cancellation
    ///
    /// A blocking point. If the call fails, no permit was taken: the next waiting thread gets it. A
    /// deadline ends the wait when it passes and not earlier, even if the permit would be due after
    /// the deadline.
    ///
    /// # Errors
    /// Fails if the scope is cancelled.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use std::time::Duration;
    /// use taskgroup::sync::RateLimiter;
    ///
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let pace = RateLimiter::new(Duration::from_millis(1), NonZeroU32::MIN);
    /// for _ in 0..3 {
    ///     pace.acquire()?; // at once, after one millisecond, after two
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn acquire(&self) -> Result<(), Cancelled> {
        self.acquire_many(1)
    }

    /// Blocks until `count` permits are due, and takes them at once. A call that comes later gets
    /// no permit before this one.
    ///
    /// # Cancellation
    ///
    /// Like [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// Like [`acquire`](Self::acquire).
    ///
    /// # Panics
    ///
    /// If `count` is more than the [burst](Self::burst): that many permits are never due at once,
    /// and the call would wait for ever.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use std::time::Duration;
    /// use taskgroup::sync::RateLimiter;
    ///
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// // 64 KiB a second.
    /// let pace = RateLimiter::new(Duration::from_secs(1), NonZeroU32::new(65_536).unwrap());
    /// for chunk in [&[0; 1_000][..], &[0; 24]] {
    ///     pace.acquire_many(chunk.len() as u32)?;
    ///     // Here the chunk is sent.
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn acquire_many(&self, count: u32) -> Result<(), Cancelled> {
        // Such a call would never end, so it is a fault of the caller also in a cancelled scope.
        let burst = self.rate.burst();
        assert!(
            count <= burst.get(),
            "{count} permits are never due at once: the burst of the rate limiter is {burst}"
        );
        context::check()?;

        if self.try_take(count) {
            Ok(())
        } else {
            self.wait_for(count)
        }
    }

    /// Takes a permit if one is due and no thread waits. Never blocks.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use std::time::Duration;
    /// use taskgroup::sync::RateLimiter;
    ///
    /// let pace = RateLimiter::new(Duration::from_secs(60), NonZeroU32::MIN);
    /// assert_eq!([pace.try_acquire(), pace.try_acquire()], [true, false]);
    /// ```
    pub fn try_acquire(&self) -> bool {
        self.try_take(1)
    }

    fn try_take(&self, count: u32) -> bool {
        let mut wakes = Wakes::default();
        let taken = {
            let mut state = self.state.lock();
            let now = state.now();
            // Invariant 2: the waiters that are due come before this thread.
            state.serve(&self.rate, now, &mut wakes);
            state.take(&self.rate, now, count)
        };

        wakes.wake();
        taken
    }

    #[cold]
    #[track_caller]
    fn wait_for(&self, count: u32) -> Result<(), Cancelled> {
        let entered = Enqueued::enter(&self.state, context::slot(), |state, waiter, wakes| {
            let now = state.now();
            // Invariant 2: the waiters that are due come before this thread.
            state.serve(&self.rate, now, wakes);
            if state.take(&self.rate, now, count) {
                return Err(Grant::Given);
            }

            Ok(state.waiters.push(waiter.clone(), count))
        });

        let Ok(entered) = entered else {
            return Ok(());
        };

        loop {
            let ended = match self.turn(&entered) {
                Turn::Granted => return Ok(()),
                Turn::First(due) => {
                    context::wait(WaitKind::RateLimit.on(entered.object()), due, || {
                        entered.is_granted()
                    })
                }
                Turn::Behind => {
                    context::wait(WaitKind::RateLimit.on(entered.object()), None, || {
                        self.is_next(&entered)
                    })
                }
            };

            // The clock, or another thread, has something for this one: the next turn finds it.
            let Err(cancelled) = ended else {
                continue;
            };
            let left = entered.settle(Err::<Infallible, _>(cancelled), |state, position, wakes| {
                let was_first = state.waiters.is_first(position);
                state.waiters.remove(position);

                // Invariant 3: the next waiter learns that it is the first now. It may need fewer
                // permits, and looks itself.
                //
                // fault: rate-is-left-without-a-word
                if was_first {
                    state.tell_first(wakes);
                }
            });
            return match left {
                Ok(_) => Ok(()),
                Err(Err(cancelled)) => Err(cancelled),
                Err(Ok(never)) => match never {},
            };
        }
    }

    /// Serves the waiters that are due, and returns what this one has to do.
    fn turn(&self, entered: &Enqueued<'_, RateState>) -> Turn {
        let mut wakes = Wakes::default();
        let turn = {
            let mut state = self.state.lock();
            let now = state.now();
            let due = state.serve(&self.rate, now, &mut wakes);

            // The position is valid only without a grant.
            if entered.is_granted() {
                Turn::Granted
            } else if state.waiters.is_first(entered.position()) {
                let due = state.start.zip(due);
                Turn::First(due.and_then(|(start, due)| start.checked_add(due)))
            } else {
                Turn::Behind
            }
        };

        wakes.wake();
        turn
    }

    /// Whether a waiter that is not first has become the first, or has its permits.
    fn is_next(&self, entered: &Enqueued<'_, RateState>) -> bool {
        let state = self.state.lock();
        entered.is_granted() || state.waiters.is_first(entered.position())
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter")
            .field("per", &self.per)
            .field("permits", &self.permits)
            .field("burst", &self.rate.burst())
            .field("waiting", &self.state.lock().waiters.len())
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
