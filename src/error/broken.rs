//! The error of a broken barrier, and what broke it.
//!
//! It is here and not with the barrier, so that a report can find it in the chain of an error.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::named_actor::NamedActor;
use crate::cancel::TaskInfo;
use crate::cancel::actor::Actor;

/// The barrier is broken: one of the threads that waited was cancelled, or the barrier was reset.
///
/// It is the [`source`](std::error::Error::source) of
/// [`BarrierError::Broken`](crate::sync::BarrierError::Broken).
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use std::time::Duration;
/// use taskgroup::sync::{Barrier, BarrierError};
/// use taskgroup::TaskGroup;
///
/// let barrier = Barrier::new(2);
/// TaskGroup::scope(|g| {
///     # while !barrier.is_broken() {
///     g.task().name("impatient").spawn(|| {
///         // Waits for the other thread for some time, and goes on without it.
///         taskgroup::timeout(Duration::from_millis(5), || anyhow::Ok(barrier.wait()?))?;
///         Ok(())
///     }).wait()?;
///     # }
///     match barrier.wait() {
///         Err(BarrierError::Broken(broken)) => {
///             let task = broken.broken_by().expect("a task broke it");
///             assert_eq!(task.name.as_deref(), Some("impatient"));
///         }
///         other => panic!("{other:?}"),
///     }
///     Ok(())
/// })?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Broken(Arc<Breach>);

/// How a barrier was broken.
#[derive(Debug)]
struct Breach {
    by: Option<NamedActor>,
    by_reset: bool,
}

impl Broken {
    pub(crate) fn by_cancel(by: Option<Actor>) -> Self {
        Broken(Arc::new(Breach {
            by: by.map(NamedActor::new),
            by_reset: false,
        }))
    }

    pub(crate) fn by_reset(by: Option<Actor>) -> Self {
        Broken(Arc::new(Breach {
            by: by.map(NamedActor::new),
            by_reset: true,
        }))
    }

    /// Returns the actor that was cancelled at the barrier, or that reset it.
    pub(super) fn actor(&self) -> Option<&Arc<Actor>> {
        Some(&self.0.by.as_ref()?.actor)
    }

    /// Returns the task that was cancelled while it waited, or that reset the barrier.
    ///
    /// `None` if it was not a task. If the body of a scope inside a task did it, this is that task.
    /// If the task failed, a failure that holds this error is its [echo](crate::Failure::echo_of).
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// use std::time::Duration;
    /// use taskgroup::sync::{Barrier, BarrierError};
    ///
    /// let barrier = Barrier::new(2);
    /// # while !barrier.is_broken() {
    /// // This thread is in no task.
    /// let waited = taskgroup::timeout(Duration::from_millis(5), || anyhow::Ok(barrier.wait()?))?;
    /// assert_eq!(waited, None);
    /// # }
    /// let Err(BarrierError::Broken(broken)) = barrier.wait() else { panic!("it is broken") };
    /// assert!(broken.broken_by().is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn broken_by(&self) -> Option<&TaskInfo> {
        self.0.by.as_ref()?.task.as_ref()
    }
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broken")
            .field("broken_by", &self.broken_by())
            .field("by_reset", &self.0.by_reset)
            .finish()
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.broken_by() {
            Some(task) => write!(f, "{task} ")?,
            None => f.write_str("another thread ")?,
        }

        f.write_str(if self.0.by_reset {
            "reset it"
        } else {
            "was cancelled at it"
        })
    }
}

impl Error for Broken {}
