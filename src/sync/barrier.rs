//! A point at which a number of threads wait for each other.

use std::fmt;

use crate::cancel::context;
use crate::cancel::{Cancelled, current};
use crate::error::Broken;
use crate::facade::{Mutex, const_fn, spin};
use crate::waiting::{Enqueued, Grant, WaitKind, WaitQueue, Wakes};

/// Lets a number of threads wait for each other, again and again.
///
/// ```
/// use taskgroup::sync::Barrier;
///
/// # fn main() -> anyhow::Result<()> {
/// let rounds = Barrier::new(3);
/// taskgroup::TaskGroup::scope(|g| {
///     for _ in 0..3 {
///         g.spawn(|| {
///             for _ in 0..10 {
///                 // One part of the work. After the wait all threads have done it.
///                 rounds.wait()?;
///             }
///             Ok(())
///         });
///     }
///     Ok(())
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// # Broken barriers
///
/// If a waiting thread is cancelled, the other threads could wait for ever. So the barrier breaks:
/// all threads that wait, and all that come later, get [`BarrierError::Broken`], until a thread
/// [`reset`](Self::reset)s the barrier. [`Broken::broken_by`] names the task that was cancelled. A
/// thread that is cancelled before it comes does not wait, and breaks nothing.
///
/// # Memory ordering
///
/// What each thread did before `wait` happens before the other threads return from it with `Ok`.
pub struct Barrier {
    size: usize,
    state: Mutex<BarrierState>,
}

struct BarrierState {
    /// The waiters. One for which the barrier was broken is set apart, with the reason.
    waiting: WaitQueue<Option<Broken>>,
    /// Why the barrier is broken, until it is reset.
    broken: Option<Broken>,
}

impl BarrierState {
    /// Breaks the barrier for all threads that wait.
    fn refuse_all(&mut self, broken: &Broken, wakes: &mut Wakes) {
        while let Some((waiter, reason)) = self.waiting.set_apart_if(|_, _| true) {
            *reason = Some(broken.clone());
            wakes.grant(waiter.clone(), Grant::Refused);
        }
    }
}

/// Why a wait at a [`Barrier`] failed.
///
/// ```
/// use taskgroup::sync::{Barrier, BarrierError};
/// use taskgroup::CancelToken;
///
/// let (barrier, token) = (Barrier::new(2), CancelToken::new());
/// token.cancel();
/// assert!(matches!(token.run(|| barrier.wait()), Err(BarrierError::Cancelled(_))));
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// The scope of this thread was cancelled.
    #[error("the wait at the barrier was cancelled")]
    Cancelled(#[source] Cancelled),
    /// Another thread was cancelled while it waited, or the barrier was reset.
    #[error("the barrier is broken")]
    Broken(#[source] Broken),
}

impl From<Cancelled> for BarrierError {
    fn from(cancelled: Cancelled) -> Self {
        BarrierError::Cancelled(cancelled)
    }
}

impl Barrier {
    const_fn! {
        /// Creates a barrier for `size` threads. With a size of 0 or 1, no thread waits.
        ///
        /// ```
        /// # fn main() -> Result<(), taskgroup::sync::BarrierError> {
        /// use taskgroup::sync::Barrier;
        ///
        /// static ALONE: Barrier = Barrier::new(1);
        /// assert!(ALONE.wait()?);
        /// # Ok(())
        /// # }
        /// ```
        pub const fn new(size: usize) -> Self {
            Barrier {
                size,
                state: Mutex::new(BarrierState { waiting: WaitQueue::new(), broken: None }),
            }
        }
    }

    /// Blocks until as many threads wait as the barrier is for. Returns `true` in one of them: the
    /// last to come.
    ///
    /// # Cancellation
    ///
    /// A blocking point. A waiter that is cancelled breaks the barrier for the other threads. A
    /// call that fails at its entry has no effect. A waiter that was let through while it was being
    /// cancelled returns `Ok`.
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled, or if the barrier is broken.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::sync::BarrierError> {
    /// assert!(taskgroup::sync::Barrier::new(1).wait()?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn wait(&self) -> Result<bool, BarrierError> {
        context::check()?;
        let entered = Enqueued::enter(&self.state, context::slot(), |state, waiter, wakes| {
            // Returned out of the lock: `refused` looks at scopes.
            if let Some(broken) = state.broken.clone() {
                return Err(Some(broken));
            }

            // The last to come lets all others go on, in the critical section that counts them.
            if state.waiting.len() + 1 >= self.size {
                state.waiting.grant_all(Grant::Given, wakes);
                return Err(None);
            }

            Ok(state.waiting.push(waiter.clone(), None))
        });

        let entered = match entered {
            Ok(entered) => entered,
            Err(None) => return Ok(true),
            Err(Some(broken)) => return Err(refused(broken)),
        };

        spin(|| entered.is_granted());

        // The threads that came before it show themselves.
        let what = WaitKind::Barrier.on(entered.object());
        let what = what.with_share(1, self.size);
        let ended = context::wait(what, None, || entered.is_granted());
        let settled = entered.settle(ended, |state, position, wakes| {
            state.waiting.remove(position);

            // In the critical section in which the waiter leaves: no thread finds the barrier
            // whole with one waiter too few.
            let broken = Broken::by_cancel(current::actor());
            state.refuse_all(&broken, wakes);
            // fault: barrier-forgets-its-break
            state.broken = Some(broken);
        });

        match settled {
            Ok(Grant::Given) => Ok(false),
            Ok(Grant::Refused) => {
                // Refused waiters are set apart, each with its reason.
                let (_, broken) = self.state.lock().waiting.remove(entered.position());
                Err(refused(broken.unwrap_or_else(|| {
                    unreachable!("a waiter is refused with a reason")
                })))
            }
            Err(Err(cancelled)) => Err(cancelled.into()),
            Ok(Grant::None) | Err(Ok(_)) => unreachable!("the wait has no limit"),
        }
    }

    /// Returns whether a cancelled waiter has broken the barrier.
    ///
    /// ```
    /// assert!(!taskgroup::sync::Barrier::new(2).is_broken());
    /// ```
    pub fn is_broken(&self) -> bool {
        self.state.lock().broken.is_some()
    }

    /// Repairs a broken barrier. If it was not broken, the threads that wait now get
    /// [`BarrierError::Broken`].
    ///
    /// ```
    /// use taskgroup::sync::Barrier;
    /// let barrier = Barrier::new(2);
    /// barrier.reset();
    /// assert!(!barrier.is_broken());
    /// ```
    pub fn reset(&self) {
        let mut wakes = Wakes::default();
        {
            let mut state = self.state.lock();
            state.broken = None;
            state.refuse_all(&Broken::by_reset(current::actor()), &mut wakes);
        }
        wakes.wake();
    }
}

/// Returns the error of a thread that finds the barrier broken.
///
/// If the cancel that broke the barrier comes to the scope of this thread too, the error is that
/// cancel.
fn refused(broken: Broken) -> BarrierError {
    match context::check_ancestors() {
        Err(cancelled) => cancelled.into(),
        Ok(()) => BarrierError::Broken(broken),
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Barrier")
            .field("size", &self.size)
            .field("waiting", &state.waiting.len())
            .field("is_broken", &state.broken.is_some())
            .finish()
    }
}
