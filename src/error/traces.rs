//! The other failures that the error of a failure names.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::broken::Broken;
use super::chain::chain;
use super::disconnected::Disconnected;
use super::origin::Origin;
use super::task_error::TaskError;
use super::tree::Outline;
use crate::cancel::actor::Actor;
use crate::cancel::{Cancelled, TaskId, TaskInfo};

/// Returns the task of the failure that an error is, if it is one.
type TaskOf = fn(&(dyn Error + 'static)) -> Option<TaskId>;

/// The other failures that the error of a failure names.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    /// The actors that caused the error, as far as it names them. The actor of the outermost error
    /// is first.
    actors: Vec<Arc<Actor>>,
    /// The tasks of the failures that the error holds: tasks that were isolated or started.
    holds: Vec<TaskId>,
    /// The failure that this one is an echo of, once that is known.
    echo_of: Option<Root>,
}

/// The origin of a failure that has echoes.
#[derive(Clone, Debug)]
pub(super) enum Root {
    Task(TaskInfo),
    Body,
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Root::Task(task) => task.fmt(f),
            Root::Body => f.write_str("the body"),
        }
    }
}

impl Root {
    pub(super) fn of(origin: &Origin) -> Option<Root> {
        match origin {
            Origin::Task(task) => Some(Root::Task(task.clone())),
            Origin::Body => Some(Root::Body),
            // The errors that these cause arise outside of the group.
            Origin::Release(_) | Origin::Callback => None,
        }
    }
}

impl Traces {
    /// Searches an error and its sources; `task_of` recognises the failures among them. `None` if
    /// there are no traces. Runs user code, which may panic.
    pub(super) fn of<E: TaskError>(error: &E, task_of: TaskOf) -> Option<Box<Traces>> {
        let mut traces = Traces::default();

        // The error that `held` returns may be missing from the sources.
        for error in [error.as_error(), error.held()]
            .into_iter()
            .flatten()
            .flat_map(chain)
        {
            traces.look_at(error, task_of);
        }

        // A failure without traces keeps no allocation.
        (!traces.actors.is_empty() || !traces.holds.is_empty()).then(|| Box::new(traces))
    }

    fn look_at(&mut self, error: &(dyn Error + 'static), task_of: TaskOf) {
        if let Some(disconnected) = error.downcast_ref::<Disconnected>() {
            self.actors.extend(disconnected.actor().cloned());
        } else if let Some(broken) = error.downcast_ref::<Broken>() {
            self.actors.extend(broken.actor().cloned());
        } else if let Some(cancelled) = error.downcast_ref::<Cancelled>() {
            // Where a failure cancelled that group, it may be the root.
            self.actors.extend(cancelled.failed().cloned());
        } else if let Some(outline) = error.downcast_ref::<Outline>() {
            // The nested group may have failed because of something outside.
            self.actors.extend(outline.traces.iter().cloned());
        } else {
            // An isolated or started task may have handed its failure to this one.
            self.holds.extend(task_of(error));
        }
    }

    pub(super) fn actors(&self) -> &[Arc<Actor>] {
        &self.actors
    }

    pub(super) fn echo_of(&self) -> Option<&Root> {
        self.echo_of.as_ref()
    }

    pub(super) fn holds(&self) -> &[TaskId] {
        &self.holds
    }

    pub(super) fn set_echo_of(&mut self, root: Option<Root>) {
        self.echo_of = root;
    }
}
