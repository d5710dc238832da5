//! The parts of a task besides its closure and its result.
//!
//! Each spawn has a closure of a type of its own, so the code of [`Task`](super::record::Task) is
//! compiled once for each spawn of a program. The code of [`TaskRef`] is compiled once for each
//! type of error. So whatever needs neither the closure nor the result belongs here.

use std::sync::Arc;

use super::handshake::Handshake;
use super::spec::TaskSpec;
use super::watch_list::WatchList;
use crate::cancel::context;
use crate::cancel::current::{self, Shown};
use crate::cancel::{Cancelled, Node, OwnedBy};
use crate::error::TaskError;
use crate::facade::Mutex;
use crate::group::core::GroupCore;
use crate::group::job::{Claimed, JobWord};
use crate::group::status::TaskStatus;
use crate::group::task_end::{Role, TaskEnd};
use crate::lanes::FrameKind;

/// The part of a task that depends on neither the closure nor the result.
pub(super) struct Common<'scope, E> {
    pub(super) spec: TaskSpec,
    pub(super) core: &'scope GroupCore<E>,
    /// The task's own node, made when something asks for it: the first blocking point inside the
    /// task, or a cancel through the handle. A task that begins without a handle has its node in
    /// its frame, if at all.
    own_node: Mutex<Option<Arc<Node>>>,
    pub(super) watch_list: Mutex<Option<Box<WatchList<'scope>>>>,
}

/// A task without the types of its closure and its result.
pub(super) struct TaskRef<'a, 'scope, E> {
    pub(super) word: &'a JobWord,
    pub(super) common: &'a Common<'scope, E>,
}

// Not derived, which would ask the same of the error.
impl<E> Clone for TaskRef<'_, '_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for TaskRef<'_, '_, E> {}

impl<'scope, E> Common<'scope, E> {
    #[inline]
    pub(super) fn new(core: &'scope GroupCore<E>, spec: TaskSpec) -> Self {
        Common {
            spec,
            core,
            own_node: Mutex::new(None),
            watch_list: Mutex::new(None),
        }
    }
}

impl<'a, 'scope, E: TaskError> TaskRef<'a, 'scope, E> {
    /// Makes the task's failures failures of the group only once `handshake` says that the task is
    /// ready.
    pub(super) fn isolate_until_ready(self, handshake: Arc<Handshake>) {
        let mut watch_list = self.common.watch_list.lock();
        watch_list.get_or_insert_default().handshake = Some(handshake);
    }

    /// Returns whether the task waits in the queue and needs a permit to begin.
    pub(super) fn is_queued(self) -> bool {
        self.common.spec.role == Role::Task && self.word.claimed() == Claimed::No
    }

    /// The node of the group that the task runs under.
    #[inline]
    pub(super) fn base(self) -> &'a Arc<Node> {
        self.common.core.state.base(self.common.spec.role)
    }

    /// The node that a cancel of this task alone cancels.
    pub(super) fn own(self) -> Arc<Node> {
        // The flag is set under the lock, so that `innermost` finds the node.
        let mut own = self.common.own_node.lock();
        own.get_or_insert_with(|| {
            self.word.set_tokened();
            Node::of_task(self.base())
        })
        .clone()
    }

    /// The innermost node that the task runs under, as far as one has been made.
    pub(super) fn innermost(self) -> Arc<Node> {
        // Few tasks have a node of their own, so the lock is taken only for these.
        let own = if self.word.is_tokened() {
            self.common.own_node.lock().clone()
        } else {
            None
        };

        own.unwrap_or_else(|| self.base().clone())
    }

    /// Like [`innermost`](Self::innermost), in the frame of the task.
    pub(super) fn innermost_here(self) -> Arc<Node> {
        // A task without a handle keeps its node in its frame.
        context::made_own().unwrap_or_else(|| self.innermost())
    }

    /// Returns whether `cancelled` came from the task's own token, its group, or a scope that the
    /// group is in. To be called in the frame of the task.
    pub(super) fn is_own(self, cancelled: &Cancelled) -> bool {
        self.innermost_here().owner_of(cancelled) != OwnedBy::Foreign
    }

    /// Shows the task on the lane of this thread while it runs user code outside of the closure.
    pub(super) fn show(self, kind: FrameKind) -> Shown {
        let group = self.common.core.state.node().id();
        current::show(kind, &self.common.spec.identity(), group)
    }

    /// The kind of the frame in which the task runs.
    #[inline]
    pub(super) fn frame_kind(self) -> FrameKind {
        match self.common.spec.role {
            Role::Task => FrameKind::Task,
            Role::Daemon => FrameKind::Daemon,
        }
    }

    #[inline]
    pub(super) fn task_end(self, status: TaskStatus) -> TaskEnd {
        TaskEnd {
            role: self.common.spec.role,
            status,
        }
    }
}
