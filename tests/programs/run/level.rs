//! A group that is open: tasks are spawned into it, waited for and cancelled.

use super::bindings::Binding;
use super::handles::{Handle, Handles, each};
use super::*;

/// A group that is open, with the groups that it is in.
pub(super) struct Level<'scope, 'env> {
    pub(super) group: &'scope TaskGroup<'scope, 'env>,
    pub(super) node: Node,
    pub(super) handles: Arc<Handles<'scope>>,
    outer: Option<&'env (dyn Opened + 'env)>,
    pub(super) world: Arc<World>,
    /// The scoped value that was bound where the group was opened.
    bound: Binding,
}

impl<'scope, 'env> Level<'scope, 'env> {
    pub(super) fn new(
        group: &'scope TaskGroup<'scope, 'env>,
        node: Node,
        outer: Option<&'env (dyn Opened + 'env)>,
        frame: &Frame,
    ) -> Self {
        Level {
            group,
            node,
            handles: Handles::new(),
            outer,
            world: frame.world.clone(),
            bound: frame.bound.get(),
        }
    }
}

impl Clone for Level<'_, '_> {
    fn clone(&self) -> Self {
        Level {
            handles: self.handles.clone(),
            world: self.world.clone(),
            ..*self
        }
    }
}

/// A [`Level`] without its lifetimes, which differ from group to group.
pub(super) trait Opened: Send + Sync {
    fn outer(&self) -> Option<&dyn Opened>;
    /// The scoped value that its tasks find bound.
    fn bound(&self) -> Binding;
    /// Spawns a task and returns its node.
    fn spawn(&self, frame: &Frame, how: How, keep: bool, task: &Arc<Task>, ends: Ends) -> Node;
    fn wait(&self, frame: &Frame, task: usize, way: Way) -> Result;
    fn cancel_handle(&self, frame: &Frame, task: usize);
    fn completed(&self, frame: &Frame, tasks: &[usize]) -> Result;
    fn map(
        &self,
        frame: &Frame,
        ordered: bool,
        items: usize,
        taken: usize,
        block: &Arc<Block>,
    ) -> Result;
    fn start(&self, frame: &Frame, task: &Arc<Task>) -> Result;
    fn on_finished(&self, frame: &Frame, task: usize, act: Act);
    fn cancel(&self, frame: &Frame, gracefully: bool);
}

/// The values that a task takes along into its closure.
type Belongings = (Ends, Option<Value>, Option<Sets>);

/// Runs a task on its thread. The ends that it was given `with` it outlive this, unlike those that
/// its closure owns.
pub(super) fn run_task(
    world: &Arc<World>,
    level: &dyn Opened,
    node: Node,
    task: &Task,
    belongings: Belongings,
    given: Option<&mut Ends>,
    ready: Option<Ready<Handed>>,
) -> Result<Handed> {
    run_bound(
        world,
        level,
        level.bound(),
        node,
        task,
        belongings,
        given,
        ready,
    )
}

/// Like [`run_task`], for a task that finds `bound`, and not what the tasks of `level` find.
#[allow(
    clippy::too_many_arguments,
    reason = "the arguments of `run_task`, and one more"
)]
pub(super) fn run_bound(
    world: &Arc<World>,
    level: &dyn Opened,
    bound: Binding,
    node: Node,
    task: &Task,
    belongings: Belongings,
    mut given: Option<&mut Ends>,
    ready: Option<Ready<Handed>>,
) -> Result<Handed> {
    let (mut ends, captured, sets) = belongings;
    let is_given = given.is_some();
    if let Some(given) = &mut given {
        std::mem::swap(&mut ends, given);
    }
    let frame = Frame::new(world, node, ends, bound);
    *frame.ready.borrow_mut() = ready;
    let begin = frame.now();
    let result = caught(|| {
        let _sets = sets;
        let captured = captured;
        let result = frame.block(level, &task.block);
        drop(frame.ready.take());
        if !is_given {
            drop(frame.ends.take());
        }
        // Before there is a result: rustc forgets a return value when the destructor of a local
        // panics (rust#47949).
        drop(captured);
        result.map(|()| task.result.map(|act| frame.value(act)))
    });
    drop(frame.ready.take());
    match given {
        Some(given) => *given = frame.ends.take(),
        None => drop(frame.ends.take()),
    }
    let (outcome, result) = frame.outcome(result);
    frame.write(begin, What::Ran { outcome });
    drop(frame);
    result.unwrap_or_else(|payload| resume_unwind(payload))
}

impl<'scope, 'env> Level<'scope, 'env> {
    pub(super) fn belongings(&self, frame: &Frame, task: &Task, ends: Ends) -> Belongings {
        let captured = task.captured.map(|act| frame.value(act));
        (
            ends,
            captured,
            task.sets.map(|event| Sets(self.world.clone(), event)),
        )
    }

    pub(super) fn opened(&self, frame: &Frame, node: Node) {
        let what = What::Opened {
            kind: Kind::Task,
            parents: vec![self.node],
            token: None,
        };
        let now = frame.now();
        frame.entries.borrow_mut().push(Entry {
            task: frame.task,
            scope: node,
            begin: now,
            end: now,
            what,
        });
    }

    /// Spawns a task in the given way.
    fn spawn_by<F>(
        &self,
        how: How,
        run: F,
    ) -> std::result::Result<(Handle<'scope>, Role), SpawnError<F>>
    where
        F: FnOnce() -> Result<Handed> + Send + 'scope,
    {
        let group = self.group;
        Ok(match how {
            How::Plain => (Handle::Plain(group.spawn(run)), Role::Plain),
            How::Named => {
                let handle = group.task().name("named").spawn(run);
                (Handle::Plain(handle), Role::Plain)
            }
            How::Dedicated => {
                let handle = group.task().dedicated().spawn(run);
                (Handle::Plain(handle), Role::Plain)
            }
            How::Isolated => (Handle::Isolated(group.spawn_isolated(run)), Role::Isolated),
            How::Daemon => {
                let handle = group.spawn_daemon(move || run().map(drop));
                (Handle::Daemon(handle), Role::Daemon)
            }
            How::Try => (Handle::Plain(group.try_spawn(run)?), Role::Plain),
        })
    }

    /// Writes that a task was spawned, or refused.
    pub(super) fn spawned(
        &self,
        frame: &Frame,
        begin: u64,
        task: Node,
        role: Role,
        refused: Option<Seen>,
    ) {
        frame.write(
            begin,
            What::Spawned {
                task,
                group: self.node,
                role,
                refused,
            },
        );
    }
}

impl<'scope, 'env> Opened for Level<'scope, 'env> {
    fn outer(&self) -> Option<&dyn Opened> {
        self.outer.map(|outer| outer as &dyn Opened)
    }

    fn bound(&self) -> Binding {
        self.bound
    }

    fn spawn(&self, frame: &Frame, how: How, keep: bool, task: &Arc<Task>, mut ends: Ends) -> Node {
        let (world, level, node, id) = (self.world.clone(), self.clone(), frame.now(), task.id);
        ends.belong_to(node, task.with);
        let given = if task.with {
            Some(std::mem::take(&mut ends))
        } else {
            None
        };
        let belongings = self.belongings(frame, task, ends);
        self.opened(frame, node);

        let task = task.clone();
        let begin = frame.now();
        let spawned = if let Some(given) = given {
            let run = move |given: &mut Ends| {
                run_task(&world, &level, node, &task, belongings, Some(given), None)
            };
            let handle = self.group.task().with(given).spawn(run);
            Ok((Handle::Plain(handle), Role::Plain))
        } else {
            let run = move || run_task(&world, &level, node, &task, belongings, None, None);
            self.spawn_by(how, run)
        };

        // A refused closure is dropped after the entry.
        let (role, refused) = match &spawned {
            Ok((_, role)) => (*role, None),
            Err(refused) => (Role::Plain, Some(seen_by_spawn(refused))),
        };
        self.spawned(frame, begin, node, role, refused);
        if let (true, Ok((handle, _))) = (keep, spawned) {
            self.handles.keep(id, handle, node);
        }
        node
    }

    fn wait(&self, frame: &Frame, task: usize, way: Way) -> Result {
        self.wait_for(frame, task, way)
    }

    fn cancel_handle(&self, frame: &Frame, task: usize) {
        if let Some(used) = self.handles.get(task) {
            self.cancel_by(frame, &used);
        }
    }

    fn completed(&self, frame: &Frame, tasks: &[usize]) -> Result {
        self.wait_for_all(frame, tasks)
    }

    fn map(
        &self,
        frame: &Frame,
        ordered: bool,
        items: usize,
        taken: usize,
        block: &Arc<Block>,
    ) -> Result {
        self.map_over(frame, ordered, items, taken, block)
    }

    fn start(&self, frame: &Frame, task: &Arc<Task>) -> Result {
        self.start_task(frame, task)
    }

    fn on_finished(&self, frame: &Frame, task: usize, act: Act) {
        let Some(used) = self.handles.get(task) else {
            return frame.note(What::Skipped);
        };
        let (callback, world, group) = (frame.now(), self.world.clone(), self.node);
        frame.note(What::OnFinished {
            callback,
            task: used.node,
        });
        each!(used.handle(), handle => handle.on_finished(move |status| {
            world.ledger.note(What::Finished { callback, status });
            perform(&world, act, Some(group));
        }));
    }

    fn cancel(&self, frame: &Frame, gracefully: bool) {
        let begin = frame.now();
        let reason = format!("act {begin}");
        if gracefully {
            self.group.cancel_gracefully_because(HOUR, reason);
        } else {
            self.group.cancel_because(reason);
        }
        frame.write(
            begin,
            What::Cancel {
                target: self.node,
                gracefully,
            },
        );
    }
}

/// Why a spawn was refused.
fn seen_by_spawn<F>(refused: &SpawnError<F>) -> Seen {
    match refused.kind() {
        SpawnErrorKind::Cancelled(cancelled) => Seen::Cut(cut(cancelled)),
        _ => Seen::NotNow,
    }
}
