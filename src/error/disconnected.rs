//! The error of a channel that has lost its other side, and how that side ended.
//!
//! It is here and not with the channels, so that a report can find it in the chain of an error.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::named_actor::NamedActor;
use crate::cancel::TaskInfo;
use crate::cancel::actor::Actor;

/// All ends of the other side of a channel are gone.
///
/// For a receive this also means that the channel is empty. The errors of the operations have it as
/// their [`source`](std::error::Error::source), and a case of a
/// [`Select`](crate::channel::Select) returns it.
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
/// Two of them are equal if both name the same task, or none, and agree on how it ended.
#[derive(Clone)]
pub struct Disconnected(Option<Arc<Closed>>);

/// How the tasks ended that dropped the ends of one side of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum SideEnd {
    /// All of them ended well, as far as the channel knows.
    #[default]
    Well,
    /// At least one of them did not end well.
    Ill,
}

/// The end of one side, as far as the channel knows.
#[derive(Debug)]
struct Closed {
    by: Option<NamedActor>,
    ended: SideEnd,
}

impl Disconnected {
    /// A channel of crossbeam says nothing about the end that was dropped.
    #[cfg(feature = "crossbeam")]
    pub(crate) fn unknown() -> Self {
        Disconnected(None)
    }

    pub(crate) fn new(by: Option<Actor>, ended: SideEnd) -> Self {
        // A plain end that no task caused allocates nothing.
        let is_plain = by.is_none() && ended == SideEnd::Well;
        Disconnected((!is_plain).then(|| {
            Arc::new(Closed {
                by: by.map(NamedActor::new),
                ended,
            })
        }))
    }

    /// Returns what dropped the end that [`closed_by`](Self::closed_by) is about.
    pub(super) fn actor(&self) -> Option<&Arc<Actor>> {
        Some(&self.0.as_ref()?.by.as_ref()?.actor)
    }

    /// Returns the task that closed the channel.
    ///
    /// This is the first task that dropped an end without ending well, if there is one, and
    /// otherwise the task that dropped the last end. `None` if no task dropped it, and for the
    /// channels of crossbeam. If the body of a scope inside a task dropped the end, this is that
    /// task. If the task failed as well, a failure that holds this error is its
    /// [echo](crate::Failure::echo_of).
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
    /// let Err(TryRecvError::Disconnected(disconnected)) = receiver.try_recv() else {
    ///     panic!("a message")
    /// };
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
    /// `false` if one of its ends was dropped by a panic, with a task that never ran, or as a value
    /// that a task was given [`with`](crate::TaskBuilder::with) when the task did not end well.
    /// Then messages may be missing. See [Pipelines](crate::channel#pipelines).
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
    ///         Err(channel::RecvError::Disconnected(disconnected)) => {
    ///             assert!(!disconnected.ended_well())
    ///         }
    ///         other => panic!("{other:?}"),
    ///     }
    ///     Ok(())
    /// });
    /// assert_eq!(failed.unwrap_err().failures().len(), 1);
    /// ```
    pub fn ended_well(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|closed| closed.ended == SideEnd::Well)
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

            // Threads outside of tasks drop ends too; of these only a panic is known.
            None if !self.ended_well() => {
                f.write_str("an end of the channel was dropped by a panic")
            }
            _ => f.write_str("the other end of the channel is gone"),
        }
    }
}

impl Error for Disconnected {}
