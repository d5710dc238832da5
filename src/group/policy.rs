//! How a group reacts to a failure or a panic.

use crate::error::FailureKind;

/// The effect of a failure of a task or of the body on the other tasks.
///
/// ```
/// use taskgroup::{OnFailure, TaskGroup};
///
/// let error = TaskGroup::builder()
///     .on_failure(OnFailure::Collect)
///     .scope(|g| {
///         g.spawn(|| Ok("x".parse::<u32>()?));
///         g.spawn(|| Ok("y".parse::<u32>()?));
///         Ok(())
///     })
///     .unwrap_err();
/// assert_eq!(error.failures().len(), 2);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnFailure {
    /// The first failure cancels the group: tasks and body.
    #[default]
    CancelSiblings,
    /// The others go on. All failures are reported at the end.
    Collect,
}

/// The effect of a panic of a task.
///
/// ```
/// use taskgroup::{OnPanic, TaskGroup};
///
/// let outcome = TaskGroup::builder().on_panic(OnPanic::Collect).scope(|g| {
///     g.spawn(|| -> anyhow::Result<()> { panic!("index 3 of 2") });
///     Ok(())
/// });
/// assert_eq!(outcome.unwrap_err().panics().count(), 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnPanic {
    /// A failure in the report, like an error.
    #[default]
    Collect,
    /// The first panic resumes in the caller of `scope`, after everything has ended. The failures
    /// that it would hide are logged with `tracing` at error level.
    Resume,
    /// The process aborts at once.
    Abort,
}

/// Which failures cancel the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fatal {
    All,
    Panics,
    None,
}

impl Fatal {
    pub(crate) fn includes<E>(self, kind: &FailureKind<E>) -> bool {
        match self {
            Fatal::All => true,
            Fatal::Panics => matches!(kind, FailureKind::Panic(_)),
            Fatal::None => false,
        }
    }
}

impl From<OnFailure> for Fatal {
    fn from(policy: OnFailure) -> Self {
        match policy {
            OnFailure::CancelSiblings => Fatal::All,
            OnFailure::Collect => Fatal::None,
        }
    }
}
