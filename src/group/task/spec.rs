//! The properties of a task that are known from its spawn on.

use std::borrow::Cow;
use std::panic::Location;

use crate::cancel::actor::TaskIdentity;
use crate::cancel::{TaskId, TaskInfo};
use crate::facade::THREAD_FOR_EACH_TASK;
use crate::group::task_end::Role;

/// The identity of a task, and the options it was spawned with.
pub(crate) struct TaskSpec {
    pub(crate) id: TaskId,
    pub(crate) location: &'static Location<'static>,
    pub(crate) role: Role,
    /// Options that most tasks do not have.
    extras: Option<Box<Extras>>,
}

struct Extras {
    name: Option<Cow<'static, str>>,
    own_thread: Option<OwnThread>,
}

/// The thread of its own that a task asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnThread {
    /// In bytes; none for the default of std.
    pub(crate) stack_size: Option<usize>,
}

impl TaskSpec {
    #[inline]
    pub(crate) fn new(
        name: Option<Cow<'static, str>>,
        own_thread: Option<OwnThread>,
        location: &'static Location<'static>,
        role: Role,
    ) -> Self {
        // In a model of another crate there are no workers.
        let own_thread = if THREAD_FOR_EACH_TASK {
            own_thread.or(Some(OwnThread { stack_size: None }))
        } else {
            own_thread
        };

        // Boxed: most tasks have neither, and tasks are many.
        let plain = name.is_none() && own_thread.is_none();
        let extras = if plain {
            None
        } else {
            Some(Box::new(Extras { name, own_thread }))
        };

        TaskSpec {
            id: TaskId::next(),
            location,
            role,
            extras,
        }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.extras.as_ref()?.name.as_deref()
    }

    pub(crate) fn own_thread(&self) -> Option<OwnThread> {
        self.extras.as_ref()?.own_thread
    }

    /// Returns whether the task asks for neither a name nor a thread.
    pub(super) fn is_plain(&self) -> bool {
        self.extras.is_none()
    }

    #[inline]
    pub(super) fn identity(&self) -> TaskIdentity {
        let name = self.extras.as_ref().and_then(|extras| extras.name.clone());
        TaskIdentity {
            id: self.id,
            name,
            location: self.location,
        }
    }

    pub(super) fn info(&self) -> TaskInfo {
        self.identity().info()
    }

    /// The info of a task that failed: one without a name is named after the item of a map that it
    /// was at.
    pub(super) fn info_at(&self, item: Option<usize>) -> TaskInfo {
        let info = self.info();
        TaskInfo {
            name: info.name.or_else(|| Some(format!("map item {}", item?))),
            ..info
        }
    }
}
