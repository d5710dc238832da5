//! The actor that an error names: what dropped a channel or broke a barrier.

use std::sync::Arc;

use crate::cancel::TaskInfo;
use crate::cancel::actor::{Actor, TaskIdentity};

/// An actor, and its innermost task.
#[derive(Clone, Debug)]
pub(super) struct NamedActor {
    pub(super) actor: Arc<Actor>,
    pub(super) task: Option<TaskInfo>,
}

impl NamedActor {
    pub(super) fn new(actor: Actor) -> Self {
        // Kept beside the actor, since the errors give out references to it.
        let task = actor.task().cloned().map(TaskIdentity::info);
        NamedActor {
            actor: Arc::new(actor),
            task,
        }
    }
}
