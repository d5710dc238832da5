//! Actors: a task or the body of a scope, with the tasks and bodies around it.

use std::borrow::Cow;
use std::iter;
use std::panic::Location;
use std::sync::Arc;

use super::id::{TaskId, TaskInfo, TokenId};

/// The identity of a task, in a form that is cheap to copy. A [`TaskInfo`] allocates for its name.
#[derive(Clone, Debug)]
pub(crate) struct TaskIdentity {
    pub(crate) id: TaskId,
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) location: &'static Location<'static>,
}

impl TaskIdentity {
    pub(crate) fn of(task: &TaskInfo) -> Self {
        TaskIdentity {
            id: task.id,
            name: task.name.clone().map(Cow::Owned),
            location: task.location,
        }
    }

    pub(crate) fn info(self) -> TaskInfo {
        TaskInfo {
            id: self.id,
            name: self.name.map(Cow::into_owned),
            location: self.location,
        }
    }
}

/// One part of a group.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Task(TaskIdentity),
    /// The body of the group that has this token.
    Body(TokenId),
}

/// A part of a group, with the part of another group that opened that group, and so on. The
/// outermost group was opened in no group.
///
/// An error may be caused in one group and reported in another. The actor tells which part both
/// groups have in common.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    part: Part,
    opened_in: Option<Arc<Actor>>,
}

impl Actor {
    /// Returns a part of a group that was opened in `opened_in`.
    #[inline]
    pub(crate) fn new(part: Part, opened_in: Option<Arc<Actor>>) -> Self {
        Actor { part, opened_in }
    }

    /// Returns the part itself and the parts around it, the innermost first.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part> {
        iter::successors(Some(self), |actor| actor.opened_in.as_deref()).map(|actor| &actor.part)
    }

    /// Returns the innermost task.
    pub(crate) fn task(&self) -> Option<&TaskIdentity> {
        self.parts().find_map(|part| match part {
            Part::Task(task) => Some(task),
            Part::Body(_) => None,
        })
    }
}

/// The drop does not recurse, since scopes nest to any depth.
impl Drop for Actor {
    #[inline]
    fn drop(&mut self) {
        // A loop, since scopes may be nested deeper than a stack has room for recursive drops.
        // An actor that is used elsewhere keeps the actors around it.
        let mut next = self.opened_in.take();
        while let Some(mut actor) = next.and_then(Arc::into_inner) {
            next = actor.opened_in.take();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_million_scopes_around_an_actor_are_dropped_without_recursion() {
        let mut actor = Actor::new(Part::Body(TokenId(0)), None);
        for id in 1..1_000_000 {
            actor = Actor::new(Part::Body(TokenId(id)), Some(Arc::new(actor)));
        }
        assert_eq!(actor.parts().count(), 1_000_000);
        assert!(actor.task().is_none());
    }
}
