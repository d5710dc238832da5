//! Checks, sleeps and parks.

use std::time::{Duration, Instant};

use crate::cancel::context::{self, Outcome};
use crate::cancel::{CancelToken, Cancelled};
use crate::facade;
use crate::waiting::WaitKind;

/// Returns an error if the current scope is cancelled. For code that computes: it costs a few
/// nanoseconds.
///
/// # Cancellation
///
/// Every blocking point makes this check at its entry. Outside any scope it always returns `Ok`.
///
/// # Errors
///
/// The cancel of the scope.
///
/// ```
/// # fn main() -> Result<(), taskgroup::Cancelled> {
/// for _ in 0..1_000 {
///     taskgroup::checkpoint()?;
/// }
/// # Ok(())
/// # }
/// ```
#[inline]
#[track_caller]
pub fn checkpoint() -> Result<(), Cancelled> {
    context::check()
}

/// Returns whether the current scope is cancelled.
///
/// ```
/// assert!(!taskgroup::is_cancelled());
/// ```
#[inline]
#[track_caller]
pub fn is_cancelled() -> bool {
    context::is_cancelled()
}

/// Returns the token of the current scope: the token of the group in its body, of the task, of
/// [`timeout`](crate::timeout), or of [`CancelToken::run`]. Returns `None` outside any scope, and
/// inside a [`shield`](crate::shield).
///
/// A task has a token of its own, a child of the group's token. Cancelling it cancels the task and
/// nothing else.
///
/// ```
/// let token = taskgroup::CancelToken::new();
/// assert_eq!(token.run(taskgroup::current_token), Some(token));
/// ```
pub fn current_token() -> Option<CancelToken> {
    context::current_own().map(CancelToken::from_node)
}

/// Returns the time left until the deadline of the current scope, if it has one, and zero if it has
/// passed. In a region that [winds down](crate::winding_down), the end of the grace is a deadline.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use std::time::Duration;
/// taskgroup::timeout(Duration::from_secs(60), || {
///     assert!(taskgroup::remaining().is_some_and(|left| left <= Duration::from_secs(60)));
///     anyhow::Ok(())
/// })?;
/// # Ok(())
/// # }
/// ```
pub fn remaining() -> Option<Duration> {
    context::current_deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()))
}

/// Blocks for `duration`. If that is too long to express, blocks until a cancel.
///
/// # Cancellation
///
/// A blocking point: it fails immediately in a cancelled scope, and wakes when the scope is
/// cancelled.
///
/// # Errors
///
/// The cancel of the scope.
///
/// ```
/// # fn main() -> Result<(), taskgroup::Cancelled> {
/// taskgroup::sleep(std::time::Duration::from_millis(1))
/// # }
/// ```
#[track_caller]
pub fn sleep(duration: Duration) -> Result<(), Cancelled> {
    if duration.is_zero() {
        // Reading the clock costs more than all the rest.
        return context::check();
    }

    pause(Instant::now().checked_add(duration))
}

/// Blocks until `deadline`.
///
/// # Cancellation
///
/// Like [`sleep`].
///
/// # Errors
///
/// Like [`sleep`].
///
/// ```
/// # fn main() -> Result<(), taskgroup::Cancelled> {
/// use std::time::{Duration, Instant};
/// taskgroup::sleep_until(Instant::now() + Duration::from_millis(1))
/// # }
/// ```
#[track_caller]
pub fn sleep_until(deadline: Instant) -> Result<(), Cancelled> {
    pause(Some(deadline))
}

#[track_caller]
fn pause(until: Option<Instant>) -> Result<(), Cancelled> {
    context::wait(WaitKind::Sleep, until, || false).map(drop)
}

/// Blocks until this thread is unparked with [`std::thread::Thread::unpark`]. Like std's `park`, it
/// may return early: an earlier wait of this thread, even in another task, may have left an unpark.
/// To block until a cancel, call [`sleep`] with [`Duration::MAX`].
///
/// # Cancellation
///
/// Like [`sleep`].
///
/// # Errors
///
/// Like [`sleep`].
///
/// ```
/// # fn main() -> Result<(), taskgroup::Cancelled> {
/// std::thread::current().unpark();
/// taskgroup::park()
/// # }
/// ```
#[track_caller]
pub fn park() -> Result<(), Cancelled> {
    park_until(None)
}

/// Blocks until this thread is unparked or `duration` has passed. Like std's `park_timeout`, it may
/// return early.
///
/// # Cancellation
///
/// Like [`sleep`].
///
/// # Errors
///
/// Like [`sleep`].
///
/// ```
/// # fn main() -> Result<(), taskgroup::Cancelled> {
/// taskgroup::park_timeout(std::time::Duration::from_millis(1))
/// # }
/// ```
#[track_caller]
pub fn park_timeout(duration: Duration) -> Result<(), Cancelled> {
    park_until(Instant::now().checked_add(duration))
}

#[track_caller]
fn park_until(limit: Option<Instant>) -> Result<(), Cancelled> {
    // The first look is before the park, the second after it, for whatever reason the thread woke.
    let mut looks = 0;
    let outcome = context::wait(WaitKind::Park, limit, || {
        looks += 1;
        looks > 1
    })?;

    match outcome {
        // A cancel unparks too, and its wake is not the unpark that the caller waits for.
        Outcome::Ready => context::check(),
        Outcome::TimedOut => Ok(()),
    }
}

/// Lets another thread run.
///
/// # Cancellation
///
/// A [`checkpoint`].
///
/// # Errors
///
/// The cancel of the scope.
///
/// ```
/// # fn main() -> Result<(), taskgroup::Cancelled> {
/// taskgroup::yield_now()
/// # }
/// ```
pub fn yield_now() -> Result<(), Cancelled> {
    context::check()?;

    facade::yield_now();
    Ok(())
}
