//! The errors of a call whose counterpart has gone, and what it went with.
//!
//! They are here and not with the calls, so that a report finds them in the chain of an error.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::cancel::TaskInfo;
use crate::cancel::actor::{Actor, Identity};

/// An actor, and the innermost task of it.
#[derive(Clone, Debug)]
struct Named {
    actor: Arc<Actor>,
    task: Option<TaskInfo>,
}

impl Named {
    fn new(actor: Actor) -> Self {
        let task = actor.task().cloned().map(Identity::info);
        Named {
            actor: Arc::new(actor),
            task,
        }
    }
}

/// All ends of the other side of a channel are gone.
///
/// For a receive this also means that the channel is empty. The errors of the operations hold it as
/// their [`source`](std::error::Error::source), and it is what a case of a
/// [`Select`](crate::channel::Select) gives.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use taskgroup::channel;
///
/// let (sender, receiver) = channel::unbounded::<u32>();
/// drop(sender);
/// let mut select = channel::Select::new();
/// select.recv(&receiver, |message| message);
/// assert_eq!(select.select()?.unwrap_err().to_string(), "the other end of the channel is gone");
/// # Ok(())
/// # }
/// ```
///
/// Two of them are equal if they name the same task, or none, and say the same of its end.
#[derive(Clone)]
pub struct Disconnected(Option<Arc<Closed>>);

/// What is known of the end of a side of a channel.
#[derive(Debug)]
struct Closed {
    by: Option<Named>,
    ended_well: bool,
}

impl Disconnected {
    /// A channel of crossbeam's says nothing about the end that was dropped.
    #[cfg(feature = "crossbeam")]
    pub(crate) fn unknown() -> Self {
        Disconnected(None)
    }

    pub(crate) fn new(by: Option<Actor>, ended_well: bool) -> Self {
        let is_plain = by.is_none() && ended_well;
        Disconnected((!is_plain).then(|| {
            Arc::new(Closed {
                by: by.map(Named::new),
                ended_well,
            })
        }))
    }

    /// What dropped the end that [`closed_by`](Self::closed_by) speaks of.
    pub(super) fn actor(&self) -> Option<&Arc<Actor>> {
        Some(&self.0.as_ref()?.by.as_ref()?.actor)
    }

    /// The task that closed the channel.
    ///
    /// The first task that dropped an end without ending well, if there is one; else the task that
    /// dropped the last end. `None` if no task dropped it, and for the channels of crossbeam. If a
    /// scope inside a task dropped the end in its body, it is that task. Where that task failed as
    /// well, a failure that holds this error is its [echo](crate::Failure::echo_of).
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use taskgroup::channel::{self, TryRecvError};
    ///
    /// let (sender, receiver) = channel::unbounded::<u32>();
    /// taskgroup::TaskGroup::scope(|g| {
    ///     g.task().name("reader").spawn(move || Ok(drop(sender)));
    ///     Ok(())
    /// })?;
    /// let Err(TryRecvError::Disconnected(disconnected)) = receiver.try_recv() else { panic!("a message") };
    /// assert_eq!(disconnected.closed_by().unwrap().name.as_deref(), Some("reader"));
    /// assert!(disconnected.ended_well());
    /// # Ok(())
    /// # }
    /// ```
    pub fn closed_by(&self) -> Option<&TaskInfo> {
        self.0.as_ref()?.by.as_ref()?.task.as_ref()
    }

    /// Whether the other side ended well, as far as the channel knows.
    ///
    /// `false` if one of its ends was dropped by a panic, with a task that never ran, or as what a
    /// task was given [`with`](crate::TaskBuilder::with) and did not end well: then the messages
    /// may not be all. See [Pipelines](crate::channel#pipelines).
    ///
    /// ```
    /// use taskgroup::{channel, OnFailure, TaskGroup};
    ///
    /// let (sender, receiver) = channel::unbounded();
    /// let failed = TaskGroup::builder().on_failure(OnFailure::Collect).scope(|g| {
    ///     g.task().with(sender).spawn(|sender| {
    ///         for text in ["1", "x"] {
    ///             sender.send(text.parse::<u32>()?)?;
    ///         }
    ///         Ok(())
    ///     });
    ///     assert_eq!(receiver.recv()?, 1);
    ///     match receiver.recv() {
    ///         Err(channel::RecvError::Disconnected(disconnected)) => assert!(!disconnected.ended_well()),
    ///         other => panic!("{other:?}"),
    ///     }
    ///     Ok(())
    /// });
    /// assert_eq!(failed.unwrap_err().failures().len(), 1);
    /// ```
    pub fn ended_well(&self) -> bool {
        self.0.as_ref().is_none_or(|closed| closed.ended_well)
    }
}

impl PartialEq for Disconnected {
    fn eq(&self, other: &Self) -> bool {
        let task = |disconnected: &Self| disconnected.closed_by().map(|task| task.id);
        task(self) == task(other) && self.ended_well() == other.ended_well()
    }
}

impl Eq for Disconnected {}

impl fmt::Debug for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Disconnected");
        out.field("closed_by", &self.closed_by())
            .field("ended_well", &self.ended_well())
            .finish()
    }
}

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.closed_by() {
            Some(task) if !self.ended_well() => {
                write!(
                    f,
                    "an end of the channel was dropped by {task}, which did not end well"
                )
            }
            None if !self.ended_well() => {
                f.write_str("an end of the channel was dropped by a panic")
            }
            _ => f.write_str("the other end of the channel is gone"),
        }
    }
}

impl Error for Disconnected {}

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
///             assert_eq!(broken.broken_by().and_then(|task| task.name.as_deref()), Some("impatient"));
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
    by: Option<Named>,
    by_reset: bool,
}

impl Broken {
    pub(crate) fn by_cancel(by: Option<Actor>) -> Self {
        Broken(Arc::new(Breach {
            by: by.map(Named::new),
            by_reset: false,
        }))
    }

    pub(crate) fn by_reset(by: Option<Actor>) -> Self {
        Broken(Arc::new(Breach {
            by: by.map(Named::new),
            by_reset: true,
        }))
    }

    /// What was cancelled or has reset the barrier.
    pub(super) fn actor(&self) -> Option<&Arc<Actor>> {
        Some(&self.0.by.as_ref()?.actor)
    }

    /// The task that was cancelled while it waited, or that has reset the barrier.
    ///
    /// `None` if that was no task. If a scope inside a task did it in its body, it is that task.
    /// Where that task failed, a failure that holds this error is its
    /// [echo](crate::Failure::echo_of).
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
