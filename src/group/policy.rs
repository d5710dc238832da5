//! What a group does about a failure or a panic.

use crate::error::FailureKind;

/// What a failure of a task or of the body does to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnFailure {
    /// The first failure cancels the group: tasks and body.
    #[default]
    CancelSiblings,
    /// The others go on; all failures are reported at the end.
    Collect,
}

/// What a panic of a task becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnPanic {
    /// A failure in the report, like an error.
    #[default]
    Collect,
    /// The first panic resumes in the caller of `scope`, after everything has ended; what it would hide is logged with
    /// `tracing` at error level.
    Resume,
    /// The process aborts, at once.
    Abort,
}

/// Which failures cancel the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fatal {
    All,
    Panics,
    None,
}

impl Fatal {
    pub(super) fn includes<E>(self, kind: &FailureKind<E>) -> bool {
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
