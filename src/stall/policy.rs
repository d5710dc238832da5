//! The effects of a stall.

/// The effect of a stall on the process. A scope stalls if it was cancelled, or its deadline has
/// passed, and it has not ended [`stall_after`](crate::Builder::stall_after) later.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// use taskgroup::{StallPolicy, TaskGroup};
///
/// // In tests a stall is a fault like any other.
/// TaskGroup::builder().stall_policy(StallPolicy::Panic).scope(|g| {
///     g.spawn(|| Ok(()));
///     Ok(())
/// })
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StallPolicy {
    /// The stall is reported, and the scope waits on.
    #[default]
    Report,
    /// The stall is reported. The scope panics once all its tasks have ended, and its value or
    /// error has been dropped. A panic of the body comes first, and the stall is logged with
    /// `tracing` at error level. So it is if the scope is opened in a destructor during a panic.
    Panic,
    /// The process aborts after the first report. If a hook of [`on_stall`](crate::on_stall) or a
    /// subscriber blocks, it aborts after two seconds, and the report is written on stderr.
    Abort,
}
