//! A value that is made at its first use.

use std::fmt;

use crate::cancel::Cancelled;
use crate::cancel::context;
use crate::facade::{Mutex, Once, const_fn, spin};
use crate::waiting::{Grant, WaitKind, WaitQueue, Waiter, Wakes};

/// A value that is made at its first use, by one thread, while the others wait.
///
/// An initialiser that fails, is cancelled or panics leaves the cell empty and hands over: one of
/// those who wait tries next, with its own.
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
/// What the initialiser did happens before everybody sees the value; what one did that failed,
/// before the next begins.
pub struct OnceCell<T> {
    value: Once<T>,
    state: Mutex<State>,
}

struct State {
    /// Somebody makes the value, or has been told to.
    busy: bool,
    waiting: WaitQueue<()>,
}

/// This thread makes the value. Dropped without one, it hands over.
struct Turn<'a, T>(&'a OnceCell<T>);

impl<T> OnceCell<T> {
    const_fn! {
        /// An empty cell.
        ///
        /// ```
        /// use taskgroup::sync::OnceCell;
        ///
        /// static CONFIG: OnceCell<String> = OnceCell::new();
        /// assert!(CONFIG.get().is_none());
        /// ```
        pub const fn new() -> Self {
            OnceCell { value: Once::new(), state: Mutex::new(State { busy: false, waiting: WaitQueue::new() }) }
        }
    }

    /// The value, if there is one.
    ///
    /// ```
    /// assert_eq!(taskgroup::sync::OnceCell::<u8>::new().get(), None);
    /// ```
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// The value, which `make` makes if nobody has; while another thread does, it is waited for.
    ///
    /// `make` must not ask the same cell: it would wait for itself.
    ///
    /// # Cancellation
    ///
    /// A blocking point, also where there is a value; [`get`](Self::get) has it in a cancelled
    /// scope too.
    ///
    /// # Errors
    ///
    /// The cancel of the scope, or what `make` failed with.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// let cell = taskgroup::sync::OnceCell::new();
    /// assert!(cell.get_or_try_init(|| Ok("x".parse::<u8>()?)).map_err(|e: anyhow::Error| e).is_err());
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

    /// As [`get_or_try_init`](Self::get_or_try_init), where `make` cannot fail.
    ///
    /// # Cancellation
    ///
    /// As [`get_or_try_init`](Self::get_or_try_init).
    ///
    /// # Errors
    ///
    /// The cancel of the scope.
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
        // It may have been handed over to a thread that was cancelled meanwhile.
        //
        // fault: turn-is-not-checked
        context::check()?;
        let value = make()?;
        // Nobody else sets it: this is the one turn, and it is over when the value is there.
        let _ = self.value.set(value);
        drop(turn);
        Ok(self.made())
    }

    fn made(&self) -> &T {
        match self.get() {
            Some(value) => value,
            None => unreachable!("the turn ended with a value"),
        }
    }

    /// The turn to make the value, or none if there is a value.
    #[track_caller]
    fn turn(&self) -> Result<Option<Turn<'_, T>>, Cancelled> {
        let waiter = Waiter::new(context::slot());
        let place = {
            let mut state = self.state.lock();
            // fault: turn-misses-the-value
            if self.value.get().is_some() {
                return Ok(None);
            }
            if !state.busy {
                state.busy = true;
                return Ok(Some(Turn(self)));
            }
            state.waiting.push(waiter.clone(), ())
        };
        spin(|| waiter.is_granted());
        let ended = context::wait(WaitKind::OnceCell, None, || waiter.is_granted());
        let grant = match &ended {
            Ok(_) => waiter.grant(),
            Err(_) => {
                let mut state = self.state.lock();
                if !waiter.is_granted() {
                    state.waiting.remove(place);
                }
                waiter.grant()
            }
        };
        match (grant, ended) {
            // There is nothing left to make.
            (Grant::Refused, _) => Ok(None),
            // A turn that a cancelled waiter does not want goes on by its drop.
            (Grant::Given, ended) => {
                // fault: cancelled-waiter-keeps-the-turn
                let turn = Turn(self);
                ended.map(|_| Some(turn))
            }
            (Grant::None, Err(cancelled)) => Err(cancelled),
            (Grant::None, Ok(_)) => unreachable!("the wait has no limit"),
        }
    }

    /// Gives the value, if there is none and nobody makes one.
    ///
    /// # Errors
    ///
    /// There is a value, or is about to be: this one comes back.
    ///
    /// ```
    /// let cell = taskgroup::sync::OnceCell::new();
    /// assert_eq!(cell.set(1), Ok(()));
    /// assert_eq!(cell.set(2), Err(2));
    /// ```
    pub fn set(&self, value: T) -> Result<(), T> {
        let state = self.state.lock();
        // Nobody waits while nobody makes the value.
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
    /// initialized again.
    ///
    /// ```
    /// let mut cell = taskgroup::sync::OnceCell::from(1);
    /// assert_eq!((cell.take(), cell.take()), (Some(1), None));
    /// ```
    pub fn take(&mut self) -> Option<T> {
        std::mem::take(self).into_inner()
    }

    /// The value, if there is one.
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

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        let mut wakes = Wakes::default();
        {
            let mut state = self.0.state.lock();
            if self.0.value.get().is_some() {
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
