//! How a task, the body or a hook can fail.

use std::io;

use crate::panics::PanicPayload;

/// The ways in which a task, the body or a hook can fail.
///
/// ```
/// use taskgroup::{FailureKind, TaskGroup};
///
/// let error = TaskGroup::scope(|g| {
///     g.spawn(|| Ok("x".parse::<u32>()?));
///     Ok(())
/// })
/// .unwrap_err();
/// match error.failures()[0].kind() {
///     FailureKind::Error(error) => assert!(error.is::<std::num::ParseIntError>()),
///     FailureKind::Panic(panic) => panic!("it panicked: {}", panic.message()),
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum FailureKind<E = anyhow::Error> {
    /// It returned an error.
    Error(E),
    /// It panicked.
    Panic(PanicPayload),
    /// It never ran, because the operating system refused a thread.
    Spawn(io::Error),
}
