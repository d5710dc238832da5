//! The handles of a group's tasks. All tasks that know the group share them.

use super::*;

pub(super) enum Handle<'scope> {
    Plain(TaskHandle<'scope, Handed>),
    Isolated(TaskHandle<'scope, std::result::Result<Handed, Failure<anyhow::Error>>>),
    Daemon(TaskHandle<'scope, ()>),
}

macro_rules! each {
    ($handle:expr, $of:ident => $result:expr) => {
        match $handle {
            Handle::Plain($of) => $result,
            Handle::Isolated($of) => $result,
            Handle::Daemon($of) => $result,
        }
    };
}
pub(super) use each;

/// The handles, by the numbers of their tasks in the program.
///
/// A handle may be used by several threads at once, and any of them may be the last to let go of
/// it. The uses happen before the drop through this lock, which loom sees, unlike the count of an
/// `Arc`: so it is taken where a reference goes.
pub(super) struct Handles<'scope>(PlainMutex<BTreeMap<usize, Kept<'scope>>>);

/// A handle and the node of its task.
type Kept<'scope> = (Arc<Handle<'scope>>, Node);

impl<'scope> Handles<'scope> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Handles(PlainMutex::new(BTreeMap::new())))
    }

    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<usize, Kept<'scope>>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn keep(&self, task: usize, handle: Handle<'scope>, node: Node) {
        let kept = (Arc::new(handle), node);
        // A step of a map spawns its task once for each item.
        let before = self.with(|map| {
            map.insert(task, kept)
                .and_then(|(old, _)| Arc::into_inner(old))
        });
        drop(before);
    }

    /// The handle of a task, unless it has been taken.
    pub(super) fn get(self: &Arc<Self>, task: usize) -> Option<Used<'scope>> {
        let kept = self.with(|map| map.get(&task).cloned());
        kept.map(|kept| self.used(kept))
    }

    /// Takes the handle of a task, which others may be using.
    pub(super) fn take(self: &Arc<Self>, task: usize) -> Option<Used<'scope>> {
        let kept = self.with(|map| map.remove(&task));
        kept.map(|kept| self.used(kept))
    }

    fn used(self: &Arc<Self>, (handle, node): Kept<'scope>) -> Used<'scope> {
        Used {
            handle: Some(handle),
            node,
            handles: self.clone(),
        }
    }
}

impl Drop for Handles<'_> {
    fn drop(&mut self) {
        let left = self.with(std::mem::take);
        drop(left);
    }
}

/// A reference to a handle.
pub(super) struct Used<'scope> {
    /// There until the drop.
    handle: Option<Arc<Handle<'scope>>>,
    pub(super) node: Node,
    handles: Arc<Handles<'scope>>,
}

impl<'scope> Used<'scope> {
    pub(super) fn handle(&self) -> &Handle<'scope> {
        self.handle.as_deref().expect("it goes with the reference")
    }

    /// The handle itself, if no other task uses it.
    pub(super) fn into_own(mut self) -> std::result::Result<Handle<'scope>, Self> {
        let handle = self.handle.take().expect("it goes with the reference");
        match self.handles.with(|_| Arc::try_unwrap(handle)) {
            Ok(own) => Ok(own),
            Err(shared) => {
                self.handle = Some(shared);
                Err(self)
            }
        }
    }
}

impl Drop for Used<'_> {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            let last = self.handles.with(|_| Arc::into_inner(handle));
            drop(last);
        }
    }
}
