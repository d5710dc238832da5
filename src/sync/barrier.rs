//! A place where a number of threads wait for each other.

use std::fmt;

use crate::cancel::context::{self, Outcome};
use crate::cancel::{Cancelled, current};
use crate::error::Broken;
use crate::facade::{Mutex, const_fn};
use crate::waiting::{Grant, WaitKind, WaitQueue, Waiter, Wakes};

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
///                 // One part of the work, which the others have done too after this:
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
/// A waiter that is cancelled leaves the others with one too few. The barrier is then broken: all
/// threads that wait, and all that come later, get [`BarrierError::Broken`], until a thread
/// [`reset`](Self::reset)s it. [`Broken::broken_by`] names the task that was cancelled. A thread
/// whose scope was cancelled before it came never waited, and breaks nothing.
///
/// # Memory ordering
///
/// What each thread did before `wait` happens before the others return from it, unless it is
/// broken.
pub struct Barrier {
    size: usize,
    state: Mutex<State>,
}

struct State {
    /// A waiter for which the barrier was broken is set apart, with the reason.
    waiting: WaitQueue<Option<Broken>>,
    /// Until it is reset.
    broken: Option<Broken>,
}

impl State {
    /// Breaks the barrier for those who wait.
    fn refuse_all(&mut self, broken: &Broken, wakes: &mut Wakes) {
        while let Some((waiter, reason)) = self.waiting.set_apart_if(|_, _| true) {
            *reason = Some(broken.clone());
            wakes.grant(waiter.clone(), Grant::Refused);
        }
    }
}

/// Why the others did not come.
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
    /// One of the others was cancelled while it waited, or the barrier was reset.
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
        /// A barrier for `size` threads. One for none or one lets everybody through.
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
            Barrier { size, state: Mutex::new(State { waiting: WaitQueue::new(), broken: None }) }
        }
    }

    /// Waits until as many threads wait as the barrier is for. It is true for one of them: the last
    /// to come.
    ///
    /// # Cancellation
    ///
    /// A blocking point. A waiter that was cancelled breaks the barrier for the others; with
    /// `Err(Cancelled)` at its entry nothing has happened. A waiter that was let through while it
    /// was being cancelled returns `Ok`.
    ///
    /// # Errors
    ///
    /// The cancel of the scope, or that of another thread which waited.
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
        let waiter = Waiter::new(context::slot());
        let mut wakes = Wakes::default();
        let place = {
            let mut state = self.state.lock();
            if let Some(broken) = state.broken.clone() {
                drop(state);
                return Err(refused(broken));
            }
            if state.waiting.len() + 1 >= self.size {
                state.waiting.grant_all(Grant::Given, &mut wakes);
                None
            } else {
                Some(state.waiting.push(waiter.clone(), None))
            }
        };
        wakes.wake();
        let Some(place) = place else { return Ok(true) };

        crate::facade::spin(|| waiter.is_granted());
        let ended = context::wait(WaitKind::Barrier, None, || waiter.is_granted());
        match (waiter.grant(), ended) {
            (Grant::Given, Ok(_)) => Ok(false),
            (Grant::Refused, Ok(_)) => {
                let (_, broken) = self.state.lock().waiting.remove(place);
                Err(refused(broken.unwrap_or_else(|| {
                    unreachable!("a waiter is refused with a reason")
                })))
            }
            (_, Ok(Outcome::Ready | Outcome::TimedOut)) => unreachable!("the wait has no limit"),
            (_, Err(cancelled)) => {
                let mut wakes = Wakes::default();
                {
                    let mut state = self.state.lock();
                    match waiter.grant() {
                        // fault: cancelled-waiter-misses-the-barrier
                        Grant::Given => return Ok(false),
                        Grant::Refused => drop(state.waiting.remove(place)),
                        Grant::None => {
                            state.waiting.remove(place);
                            let broken = Broken::by_cancel(current::actor());
                            state.refuse_all(&broken, &mut wakes);
                            // fault: barrier-forgets-its-break
                            state.broken = Some(broken);
                        }
                    }
                }
                wakes.wake();
                Err(cancelled.into())
            }
        }
    }

    /// Whether a cancelled waiter has broken it.
    ///
    /// ```
    /// assert!(!taskgroup::sync::Barrier::new(2).is_broken());
    /// ```
    pub fn is_broken(&self) -> bool {
        self.state.lock().broken.is_some()
    }

    /// Makes a broken barrier whole. Those that wait now, if it was not broken, get
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

/// What to say to a waiter for which the barrier was broken: if the cancel that broke it is its own
/// too, that.
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
