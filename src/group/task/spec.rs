//! The properties of a task that are known from its spawn on.

use std::borrow::Cow;
use std::panic::Location;
use std::sync::Arc;

use crate::cancel::actor::TaskIdentity;
use crate::cancel::{TaskId, TaskInfo, TokenId};
use crate::facade::{Mutex, THREAD_FOR_EACH_TASK};
use crate::group::permit_wait::PermitWait;
use crate::group::task_end::{Role, RunsInPlace};
use crate::trace::{self, SpawnedTask, TaskTrace};

/// The identity of a task, and the options it was spawned with.
pub(crate) struct TaskSpec {
    pub(crate) id: TaskId,
    pub(crate) location: &'static Location<'static>,
    pub(crate) role: Role,
    /// A failure of the task can be its result.
    pub(super) is_isolatable: bool,
    pub(super) permit_wait: PermitWait,
    /// Options that most tasks do not have.
    extras: Option<Box<Extras>>,
}

struct Extras {
    name: Option<Cow<'static, str>>,
    own_thread: Option<OwnThread>,
    /// The trace of the task, if there was a subscriber at the spawn. The thread that claims the
    /// task takes it out.
    trace: Option<Mutex<Option<Arc<TaskTrace>>>>,
}

impl Extras {
    /// Boxed: most tasks have none of these, and tasks are many.
    fn new(
        id: TaskId,
        name: Option<Cow<'static, str>>,
        own_thread: Option<OwnThread>,
        location: &'static Location<'static>,
        group: TokenId,
    ) -> Option<Box<Self>> {
        let spawned = SpawnedTask {
            id: id.0,
            name: name.as_deref(),
            group: group.0,
            location,
        };

        let trace = trace::is_on().then(|| TaskTrace::new(spawned)).flatten();

        // The subscriber may want no span of this task.
        let plain = name.is_none() && own_thread.is_none() && trace.is_none();
        (!plain).then(|| {
            Box::new(Extras {
                name,
                own_thread,
                trace: trace.map(|trace| Mutex::new(Some(trace))),
            })
        })
    }
}

/// The thread of its own that a task asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnThread {
    /// In bytes; none for the default of std.
    pub(crate) stack_size: Option<usize>,
}

impl TaskSpec {
    #[inline(always)]
    pub(crate) fn new(
        name: Option<Cow<'static, str>>,
        own_thread: Option<OwnThread>,
        location: &'static Location<'static>,
        role: Role,
        group: impl FnOnce() -> TokenId,
    ) -> Self {
        // In a model of another crate there are no workers.
        let own_thread = if THREAD_FOR_EACH_TASK {
            own_thread.or(Some(OwnThread { stack_size: None }))
        } else {
            own_thread
        };

        // Most tasks have none of the extras, and pay no allocation for them.
        let id = TaskId::next();
        let extras = if name.is_none() && own_thread.is_none() && !trace::is_on() {
            None
        } else {
            Extras::new(id, name, own_thread, location, group())
        };

        TaskSpec {
            id,
            location,
            role,
            is_isolatable: false,
            permit_wait: PermitWait::default(),
            extras,
        }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.extras.as_ref()?.name.as_deref()
    }

    pub(crate) fn own_thread(&self) -> Option<OwnThread> {
        self.extras.as_ref()?.own_thread
    }

    /// Returns the thread that the task asks for, by its name or its options.
    #[inline]
    pub(super) fn place(&self) -> RunsInPlace {
        match &self.extras {
            None => RunsInPlace::Anywhere,
            // There is no other extra, so it has a span.
            Some(extras) if extras.name.is_none() && extras.own_thread.is_none() => {
                RunsInPlace::WhereItsSpanIs
            }
            Some(_) => RunsInPlace::Elsewhere,
        }
    }

    /// Returns whether the span of this thread was current at the spawn. It calls
    /// the subscriber.
    pub(super) fn is_at_home(&self) -> bool {
        let trace = || self.extras.as_ref()?.trace.as_ref()?.lock().clone();
        trace().is_some_and(|trace| trace.is_at_home())
    }

    /// Takes the trace of a task that this thread has claimed.
    #[inline]
    pub(super) fn take_trace(&self) -> Option<Arc<TaskTrace>> {
        self.extras.as_ref()?.trace.as_ref()?.lock().take()
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
