//! The threads and callbacks that wait for the end of a task.

use std::sync::Arc;

use super::handshake::Handshake;
use crate::cancel::Cancelled;
use crate::group::state::completions::Completions;
use crate::group::state::yielding::TaskWaiter;
use crate::group::status::TaskStatus;

/// A callback of [`TaskHandle::on_finished`](crate::TaskHandle::on_finished).
pub(crate) type OnFinished<'scope> = Box<dyn FnOnce(TaskStatus) + Send + 'scope>;

/// The threads that wait for the end of a task, the callbacks that are called then, and what else
/// few tasks have.
#[derive(Default)]
pub(super) struct WatchList<'scope> {
    pub(super) callbacks: Vec<OnFinished<'scope>>,
    pub(super) waiters: Vec<TaskWaiter>,
    /// Is told of the end as an event with this number.
    pub(super) completions: Option<(Arc<Completions>, usize)>,
    /// Says whether the task is still being started.
    pub(super) handshake: Option<Arc<Handshake>>,
    /// The status with which the task ends, once the callbacks have been taken: a callback that is
    /// registered later runs on its own thread.
    pub(super) ending: Option<TaskStatus>,
    /// The cancel that `join` returns in place of a result.
    pub(super) no_result: Option<Cancelled>,
}
