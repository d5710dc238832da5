//! What a group does about a failure or a panic.

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
