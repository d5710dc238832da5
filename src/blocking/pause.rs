//! Checks, sleeps and parks.

use std::time::{Duration, Instant};

use crate::cancel::context::{self, Outcome};
use crate::cancel::{CancelToken, Cancelled};
use crate::facade;
use crate::waiting::Point;

/// Fails if the current scope is cancelled: for code that computes. Costs about as much as a load.
///
/// # Cancellation
///
/// This is the check that every blocking point makes at its entry. Outside of any scope it is
/// always `Ok`.
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
pub fn checkpoint() -> Result<(), Cancelled> {
    context::check()
}

/// Whether the current scope is cancelled.
///
/// ```
/// assert!(!taskgroup::is_cancelled());
/// ```
#[inline]
pub fn is_cancelled() -> bool {
    context::is_cancelled()
}

/// The token of the current scope: of the group whose body this is, of the task, of
/// [`timeout`](crate::timeout) or of [`CancelToken::run`]. None outside of any scope, and inside a
/// [`shield`](crate::shield).
///
/// That of a task is its own, a child of its group's: cancelling it cancels the task and nothing
/// else.
///
/// ```
/// let token = taskgroup::CancelToken::new();
/// assert_eq!(token.run(taskgroup::current_token), Some(token));
/// ```
pub fn current_token() -> Option<CancelToken> {
    context::current_own().map(CancelToken::from_node)
}

/// The time left until the deadline of the current scope, if it has one; zero if it has passed. In
/// a region that [winds down](crate::winding_down), the end of the grace is one.
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
    context::current().and_then(|node| CancelToken::from_node(node).remaining())
}

/// Blocks for `duration`; for ever, or until a cancel, where it is too long to express.
///
/// # Cancellation
///
/// A blocking point: it fails at once in a cancelled scope, and wakes when the scope is cancelled.
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
/// As [`sleep`].
///
/// # Errors
///
/// As [`sleep`].
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
    context::wait(Point::Sleep, until, || false).map(drop)
}

/// Blocks until somebody unparks this thread with [`std::thread::Thread::unpark`]; like std's, it
/// may return early.
///
/// # Cancellation
///
/// As [`sleep`].
///
/// # Errors
///
/// As [`sleep`].
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

/// Blocks until somebody unparks this thread or `duration` has passed; like std's, it may return
/// early.
///
/// # Cancellation
///
/// As [`sleep`].
///
/// # Errors
///
/// As [`sleep`].
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
    // The first look is before the park, the second after it, whoever woke the thread.
    let mut looks = 0;
    let outcome = context::wait(Point::Park, limit, || {
        looks += 1;
        looks > 1
    })?;
    match outcome {
        // A cancel unparks too; the wake that it gave is not one that somebody meant.
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
