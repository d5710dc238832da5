//! A value that is made at its first use.

use std::fmt;

use crate::cancel::Cancelled;
use crate::cancel::context;
use crate::deadlock;
use crate::facade::{Mutex, Once, const_fn, spin};
use crate::lanes::Held;
use crate::waiting::{Enqueued, Grant, WaitKind, WaitQueue, Wakes};

/// A value that is made at its first use, by one thread, while other threads wait.
///
/// An initialiser that fails, is cancelled or panics leaves the cell empty. Then one of the waiting
/// threads tries, with its own initialiser.
///
/// ```
/// use taskgroup::sync::OnceCell;
///
/// # fn main() -> anyhow::Result<()> {
/// static CONFIG: OnceCell<String> = OnceCell::new();
///
/// fn config() -> anyhow::Result<&'static String> {
///     CONFIG.get_or_try_init(|| Ok(std::fs::read_to_string("Cargo.toml")?))
/// }
///
/// assert!(config()?.contains("[package]"));
/// # Ok(())
/// # }
/// ```
///
/// # Memory ordering
///
/// What the initialiser did happens before every read of the value. What an initialiser that
/// failed did happens before the next one begins.
pub struct OnceCell<T> {
    value: Once<T>,
    state: Mutex<OnceCellState>,
}

struct OnceCellState {
    /// A thread has the turn to make the value. While none has, no thread waits.
    busy: bool,
    waiting: WaitQueue<()>,
}

/// The turn of this thread to make the value. If it is dropped while there is no value, the next
/// waiting thread gets it.
struct InitTurn<'a, T> {
    cell: &'a OnceCell<T>,
    _shown: Held,
}

impl<T> OnceCell<T> {
    const_fn! {
        /// Creates an empty cell.
        ///
        /// ```
        /// use taskgroup::sync::OnceCell;
        ///
        /// static CONFIG: OnceCell<String> = OnceCell::new();
        /// assert!(CONFIG.get().is_none());
        /// ```
        pub const fn new() -> Self {
            OnceCell {
                value: Once::new(),
                state: Mutex::new(OnceCellState { busy: false, waiting: WaitQueue::new() }),
            }
        }
    }

    /// Returns the value, if there is one.
    ///
    /// ```
    /// assert_eq!(taskgroup::sync::OnceCell::<u8>::new().get(), None);
    /// ```
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// Returns the value, and makes it with `make` if the cell is empty. Blocks while another
    /// thread makes it.
    ///
    /// `make` must not use the same cell: it would wait for itself.
    ///
    /// # Cancellation
    ///
    /// A blocking point, even if there is a value. [`get`](Self::get) returns the value in a
    /// cancelled scope, too.
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled, and with the error of `make`.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// let cell = taskgroup::sync::OnceCell::new();
    /// assert!(cell.get_or_try_init(|| anyhow::Ok("x".parse::<u8>()?)).is_err());
    /// assert_eq!(*cell.get_or_try_init(|| anyhow::Ok("7".parse::<u8>()?))?, 7);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn get_or_try_init<E: From<Cancelled>>(
        &self,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<&T, E> {
        context::check()?;
        match self.get() {
            Some(value) => Ok(value),
            None => self.init(make),
        }
    }

    /// Like [`get_or_try_init`](Self::get_or_try_init), for a `make` that cannot fail.
    ///
    /// # Cancellation
    ///
    /// Like [`get_or_try_init`](Self::get_or_try_init).
    ///
    /// # Errors
    ///
    /// Fails if the scope is cancelled.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// assert_eq!(*taskgroup::sync::OnceCell::new().get_or_init(|| 7)?, 7);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> Result<&T, Cancelled> {
        self.get_or_try_init(|| Ok(make()))
    }

    #[cold]
    #[track_caller]
    fn init<E: From<Cancelled>>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        let Some(turn) = self.turn()? else {
            return Ok(self.made());
        };

        // The turn may have been handed to a thread that was cancelled meanwhile. Its drop hands
        // it on.
        //
        // fault: turn-is-not-checked
        // fault: cancelled-waiter-keeps-the-turn
        context::check()?;

        let value = make()?;

        // It does not fail: no other thread sets the value while this one has the turn.
        let _ = self.value.set(value);

        // With the value in place, this lets all waiting threads go on.
        drop(turn);
        Ok(self.made())
    }

    fn made(&self) -> &T {
        match self.get() {
            Some(value) => value,
            None => unreachable!("the turn ended with a value"),
        }
    }

    /// Blocks until it is the turn of this thread to make the value. Returns `None` if there is a
    /// value.
    #[track_caller]
    fn turn(&self) -> Result<Option<InitTurn<'_, T>>, Cancelled> {
        let entered = Enqueued::enter(&self.state, context::slot(), |state, waiter, _| {
            // Looked at under the lock: the last turn may have ended since the first look.
            //
            // fault: turn-misses-the-value
            if self.value.get().is_some() {
                return Err(Grant::Refused);
            }

            if !state.busy {
                state.busy = true;
                return Err(Grant::Given);
            }
            Ok(state.waiting.push(waiter.clone(), ()))
        });

        let settled = match entered {
            Err(at_once) => Ok(at_once),
            Ok(entered) => {
                deadlock::expect_wait();
                spin(|| entered.is_granted());
                let ended = context::wait(WaitKind::OnceCell.on(entered.object()), None, || {
                    entered.is_granted()
                });
                entered.settle(ended, |state, position, _| {
                    state.waiting.remove(position);
                })
            }
        };

        match settled {
            Ok(Grant::Given) => Ok(Some(InitTurn {
                cell: self,
                _shown: Held::begin(&self.state),
            })),
            // The value has been made.
            Ok(Grant::Refused) => Ok(None),
            Err(Err(cancelled)) => Err(cancelled),
            Ok(Grant::None) | Err(Ok(_)) => unreachable!("the wait has no limit"),
        }
    }

    /// Sets the value if the cell is empty and no thread makes the value. Never blocks.
    ///
    /// # Errors
    ///
    /// If there is a value, or a thread makes one. The error is the new value.
    ///
    /// ```
    /// let cell = taskgroup::sync::OnceCell::new();
    /// assert_eq!(cell.set(1), Ok(()));
    /// assert_eq!(cell.set(2), Err(2));
    /// ```
    pub fn set(&self, value: T) -> Result<(), T> {
        let state = self.state.lock();

        // No thread waits while none makes the value, so none has to be woken.
        if state.busy {
            Err(value)
        } else {
            self.value.set(value)
        }
    }

    /// Returns a mutable reference to the value, if there is one. Never blocks: no other thread has
    /// a reference to the cell.
    ///
    /// ```
    /// let mut cell = taskgroup::sync::OnceCell::from(1);
    /// if let Some(value) = cell.get_mut() {
    ///     *value += 1;
    /// }
    /// assert_eq!(cell.get(), Some(&2));
    /// ```
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut()
    }

    /// Takes the value out of the cell, if there is one. The cell is empty afterwards and can be
    /// initialised again.
    ///
    /// ```
    /// let mut cell = taskgroup::sync::OnceCell::from(1);
    /// assert_eq!((cell.take(), cell.take()), (Some(1), None));
    /// ```
    pub fn take(&mut self) -> Option<T> {
        std::mem::take(self).into_inner()
    }

    /// Returns the value, if there is one.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::Cancelled> {
    /// let cell = taskgroup::sync::OnceCell::new();
    /// cell.get_or_init(|| 7)?;
    /// assert_eq!(cell.into_inner(), Some(7));
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }
}

impl<T> Drop for InitTurn<'_, T> {
    fn drop(&mut self) {
        let mut wakes = Wakes::default();
        {
            let mut state = self.cell.state.lock();
            // In the critical section that ends the turn or passes it on, so that no thread enters
            // the queue in between.
            if self.cell.value.get().is_some() {
                state.busy = false;
                state.waiting.grant_all(Grant::Refused, &mut wakes);
            } else {
                match state.waiting.pop() {
                    // fault: failure-keeps-the-turn
                    Some((waiter, ())) => wakes.grant(waiter, Grant::Given),
                    None => state.busy = false,
                }
            }
        }

        wakes.wake();
    }
}

impl<T> Default for OnceCell<T> {
    fn default() -> Self {
        OnceCell::new()
    }
}

/// Clones the value, if there is one. The clone of an empty cell is empty, even while a thread
/// makes the value of the original.
impl<T: Clone> Clone for OnceCell<T> {
    fn clone(&self) -> Self {
        self.get()
            .cloned()
            .map_or_else(OnceCell::new, OnceCell::from)
    }
}

impl<T> From<T> for OnceCell<T> {
    fn from(value: T) -> Self {
        let cell = OnceCell::new();
        // The cell is new, so it is empty.
        let _ = cell.value.set(value);
        cell
    }
}

impl<T: PartialEq> PartialEq for OnceCell<T> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for OnceCell<T> {}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceCell")
            .field("value", &self.get())
            .field("waiting", &self.state.lock().waiting.len())
            .finish_non_exhaustive()
    }
}
