//! A group that is open, and what is done with it: tasks are spawned into it and waited for.

use super::*;

enum Handle<'scope> {
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

/// A handle and the node of its task.
type Kept<'scope> = (Arc<Handle<'scope>>, Node);

/// A group that is open, with the groups that it is in.
pub(super) struct Level<'scope, 'env> {
    group: &'scope TaskGroup<'scope, 'env>,
    node: Node,
    handles: Arc<StdMutex<BTreeMap<usize, Kept<'scope>>>>,
    outer: Option<&'env (dyn Opened + 'env)>,
    world: Arc<World>,
}

impl<'scope, 'env> Level<'scope, 'env> {
    pub(super) fn new(
        group: &'scope TaskGroup<'scope, 'env>,
        node: Node,
        outer: Option<&'env (dyn Opened + 'env)>,
        world: &Arc<World>,
    ) -> Self {
        Level {
            group,
            node,
            handles: Arc::default(),
            outer,
            world: world.clone(),
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

/// What a task takes along into its closure.
type Belongings = (Ends, Option<Value>, Option<Sets>);

/// Runs a task on its thread. The ends that it was given `with` it outlive this, unlike those that
/// its closure owns.
pub(super) fn run_task(
    world: &Arc<World>,
    level: &dyn Opened,
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
    let frame = Frame::new(world, node, ends);
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
    fn keep(&self, task: usize, handle: Handle<'scope>, node: Node) {
        self.handles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(task, (Arc::new(handle), node));
    }

    fn handle(&self, task: usize) -> Option<Kept<'scope>> {
        self.handles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&task)
            .cloned()
    }

    fn take(&self, task: usize) -> Option<Kept<'scope>> {
        self.handles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&task)
    }

    fn belongings(&self, frame: &Frame, task: &Task, ends: Ends) -> Belongings {
        let captured = task.captured.map(|act| frame.value(act));
        (
            ends,
            captured,
            task.sets.map(|event| Sets(self.world.clone(), event)),
        )
    }

    fn opened(&self, frame: &Frame, node: Node) {
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
}

impl<'scope, 'env> Opened for Level<'scope, 'env> {
    fn outer(&self) -> Option<&dyn Opened> {
        self.outer.map(|outer| outer as &dyn Opened)
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
        if let Some(given) = given {
            let begin = frame.now();
            let run = move |given: &mut Ends| {
                run_task(&world, &level, node, &task, belongings, Some(given), None)
            };
            let handle = self.group.task().with(given).spawn(run);
            frame.write(
                begin,
                What::Spawned {
                    task: node,
                    group: self.node,
                    role: Role::Plain,
                    refused: None,
                },
            );
            if keep {
                self.keep(id, Handle::Plain(handle), node);
            }
            return node;
        }
        let run = move || run_task(&world, &level, node, &task, belongings, None, None);
        let begin = frame.now();
        let (handle, role) = match how {
            How::Plain => (Handle::Plain(self.group.spawn(run)), Role::Plain),
            How::Named => (
                Handle::Plain(self.group.task().name("named").spawn(run)),
                Role::Plain,
            ),
            How::Dedicated => (
                Handle::Plain(self.group.task().dedicated().spawn(run)),
                Role::Plain,
            ),
            How::Isolated => (
                Handle::Isolated(self.group.spawn_isolated(run)),
                Role::Isolated,
            ),
            How::Daemon => (
                Handle::Daemon(self.group.spawn_daemon(move || run().map(drop))),
                Role::Daemon,
            ),
            How::Try => match self.group.try_spawn(run) {
                Ok(handle) => (Handle::Plain(handle), Role::Plain),
                Err(refused) => {
                    let refused_with = match refused.kind() {
                        SpawnErrorKind::Cancelled(cancelled) => Seen::Cut(cut(cancelled)),
                        _ => Seen::NotNow,
                    };
                    let refused_with = Some(refused_with);
                    frame.write(
                        begin,
                        What::Spawned {
                            task: node,
                            group: self.node,
                            role: Role::Plain,
                            refused: refused_with,
                        },
                    );
                    drop(refused);
                    return node;
                }
            },
        };
        frame.write(
            begin,
            What::Spawned {
                task: node,
                group: self.node,
                role,
                refused: None,
            },
        );
        if keep {
            self.keep(id, handle, node);
        }
        node
    }

    fn wait(&self, frame: &Frame, task: usize, way: Way) -> Result {
        let kept = if matches!(way, Way::Join | Way::Drop) {
            self.take(task)
        } else {
            self.handle(task)
        };
        let Some((handle, node)) = kept else {
            frame.note(What::Skipped);
            return Ok(());
        };
        let begin = frame.now();
        let wrote = |seen, status| {
            frame.write(
                begin,
                What::Waited {
                    task: node,
                    group: self.node,
                    seen,
                    status,
                },
            );
        };
        let waited = |result: std::result::Result<TaskStatus, Cancelled>| {
            wrote(seen_by(&result), result.as_ref().ok().copied());
            Ok(result.map(drop)?)
        };
        match way {
            Way::Drop => {
                drop(handle);
                Ok(())
            }
            Way::Cancel => {
                self.cancel_by(frame, &handle, node);
                Ok(())
            }
            Way::Wait => waited(each!(&*handle, handle => handle.wait())),
            Way::WaitZero | Way::WaitLong => {
                let duration = if way == Way::WaitZero {
                    Duration::ZERO
                } else {
                    HOUR
                };
                let result = each!(&*handle, handle => handle.wait_timeout(duration));
                match &result {
                    Ok(Some(status)) => wrote(Seen::Done, Some(*status)),
                    Ok(None) => wrote(Seen::NotNow, None),
                    Err(cancelled) => wrote(Seen::Cut(cut(cancelled)), None),
                }
                assert!(
                    way == Way::WaitZero || !matches!(result, Ok(None)),
                    "an hour has passed"
                );
                result.map(drop)?;
                Ok(())
            }
            Way::CancelAndWait => {
                let cancel = frame.now();
                let result = each!(&*handle, handle => handle.cancel_and_wait());
                // The cancel is somewhere in the call.
                frame.write(
                    cancel,
                    What::Cancel {
                        target: node,
                        gracefully: false,
                    },
                );
                wrote(seen_by(&result), result.as_ref().ok().copied());
                result.map(drop)?;
                Ok(())
            }
            Way::Join => match Arc::try_unwrap(handle) {
                // Another task waits with the same handle.
                Err(shared) => waited(each!(&*shared, handle => handle.wait())),
                Ok(Handle::Plain(handle)) => {
                    let result = handle.join();
                    wrote(
                        seen_by(&result),
                        result.as_ref().ok().map(|_| TaskStatus::Finished),
                    );
                    drop(result?);
                    Ok(())
                }
                Ok(Handle::Isolated(handle)) => {
                    let result = handle.join();
                    let status = match &result {
                        Ok(Ok(_)) => Some(TaskStatus::Finished),
                        Ok(Err(failure)) if matches!(failure.kind(), FailureKind::Panic(_)) => {
                            Some(TaskStatus::Panicked)
                        }
                        Ok(Err(_)) => Some(TaskStatus::Failed),
                        Err(_) => None,
                    };
                    wrote(seen_by(&result), status);
                    drop(result?);
                    Ok(())
                }
                Ok(Handle::Daemon(handle)) => {
                    let result = handle.join();
                    wrote(
                        seen_by(&result),
                        result.as_ref().ok().map(|()| TaskStatus::Finished),
                    );
                    Ok(result?)
                }
            },
        }
    }

    fn cancel_handle(&self, frame: &Frame, task: usize) {
        if let Some((handle, node)) = self.handle(task) {
            self.cancel_by(frame, &handle, node);
        }
    }

    fn completed(&self, frame: &Frame, tasks: &[usize]) -> Result {
        let (mut plain, mut isolated) = (Vec::new(), Vec::new());
        for task in tasks {
            let Some((handle, node)) = self.take(*task) else {
                continue;
            };
            match Arc::try_unwrap(handle) {
                Ok(Handle::Plain(handle)) => plain.push((handle, node)),
                Ok(Handle::Isolated(handle)) => isolated.push((handle, node)),
                // Another task waits with the same handle, or it is a daemon's.
                Ok(Handle::Daemon(_)) | Err(_) => {}
            }
        }
        self.all_of(frame, plain, |value| match value {
            Ok(value) => {
                drop(value);
                Some(TaskStatus::Finished)
            }
            Err(_) => None,
        })?;
        self.all_of(frame, isolated, |value| match value {
            Ok(Ok(_)) => Some(TaskStatus::Finished),
            Ok(Err(failure)) if matches!(failure.kind(), FailureKind::Panic(_)) => {
                Some(TaskStatus::Panicked)
            }
            Ok(Err(_)) => Some(TaskStatus::Failed),
            Err(_) => None,
        })
    }

    fn map(
        &self,
        frame: &Frame,
        ordered: bool,
        items: usize,
        taken: usize,
        block: &Arc<Block>,
    ) -> Result {
        let (world, level, block) = (self.world.clone(), self.clone(), block.clone());
        // The time of an item's spawn is not known: it is somewhere after the items were made.
        let mut nodes = Vec::new();
        for _ in 0..items {
            let node = frame.now();
            self.opened(frame, node);
            nodes.push((node, frame.value(Act::Nothing)));
        }
        let spawned: Vec<Node> = nodes.iter().map(|(node, _)| *node).collect();
        let begin = frame.now();
        for node in &spawned {
            frame.write(
                begin,
                What::Spawned {
                    task: *node,
                    group: self.node,
                    role: Role::Item,
                    refused: None,
                },
            );
        }
        let run = move |(node, value): (Node, Value)| {
            let task = Task {
                id: usize::MAX,
                captured: None,
                result: Some(Act::Nothing),
                sends: Vec::new(),
                receives: Vec::new(),
                with: false,
                sets: None,
                block: (*block).clone(),
            };
            run_task(
                &world,
                &level,
                node,
                &task,
                (Ends::default(), Some(value), None),
                None,
                None,
            )
        };
        if ordered {
            self.take_all(frame, self.group.map(nodes, run), taken)
        } else {
            self.take_all(frame, self.group.map_unordered(nodes, run), taken)
        }
    }

    fn start(&self, frame: &Frame, task: &Arc<Task>) -> Result {
        let (world, level, node) = (self.world.clone(), self.clone(), frame.now());
        let belongings = self.belongings(frame, task, Ends::default());
        self.opened(frame, node);
        let task = task.clone();
        let begin = frame.now();
        frame.write(
            begin,
            What::Spawned {
                task: node,
                group: self.node,
                role: Role::Started,
                refused: None,
            },
        );
        let result = self.group.start(move |ready| {
            run_task(&world, &level, node, &task, belongings, None, Some(ready)).map(drop)
        });
        let (seen, ready, fault) = match &result {
            Ok(_) => (Seen::Done, true, None),
            Err(StartError::Cancelled(cancelled)) => (Seen::Cut(cut(cancelled)), false, None),
            Err(StartError::Failed(failure)) => (Seen::Done, false, fault_of(failure.kind()).0),
            Err(_) => (Seen::NotNow, false, None),
        };
        frame.write(
            begin,
            What::Started {
                task: node,
                group: self.node,
                seen,
                ready,
                fault,
            },
        );
        match result {
            Err(StartError::Cancelled(cancelled)) => Err(cancelled.into()),
            // A program passes on no failure of a start, since it could not say whose it is.
            _ => Ok(()),
        }
    }

    fn on_finished(&self, frame: &Frame, task: usize, act: Act) {
        let Some((handle, node)) = self.handle(task) else {
            return frame.note(What::Skipped);
        };
        let (callback, world, group) = (frame.now(), self.world.clone(), self.node);
        frame.note(What::OnFinished {
            callback,
            task: node,
        });
        each!(&*handle, handle => handle.on_finished(move |status| {
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

impl<'scope, 'env> Level<'scope, 'env> {
    fn cancel_by(&self, frame: &Frame, handle: &Handle<'scope>, node: Node) {
        let begin = frame.now();
        each!(handle, handle => handle.cancel());
        frame.write(
            begin,
            What::Cancel {
                target: node,
                gracefully: false,
            },
        );
    }

    /// Takes the handles as their tasks end, and joins each.
    fn all_of<T: Send + 'scope>(
        &self,
        frame: &Frame,
        handles: Vec<(TaskHandle<'scope, T>, Node)>,
        status: impl Fn(std::result::Result<T, Cancelled>) -> Option<TaskStatus>,
    ) -> Result {
        let nodes: BTreeMap<_, _> = handles
            .iter()
            .map(|(handle, node)| (format!("{:?}", handle.id()), *node))
            .collect();
        let mut ended = self
            .group
            .as_completed(handles.into_iter().map(|(handle, _)| handle));
        loop {
            let begin = frame.now();
            let Some(next) = ended.next() else {
                return Ok(());
            };
            frame.write(
                begin,
                What::WaitedForAny {
                    group: self.node,
                    seen: seen_by(&next),
                },
            );
            let handle = next?;
            assert!(
                handle.is_finished(),
                "a handle was given before its task has ended"
            );
            let node = nodes[&format!("{:?}", handle.id())];
            let begin = frame.now();
            let result = handle.join();
            let seen = seen_by(&result);
            frame.write(
                begin,
                What::Waited {
                    task: node,
                    group: self.node,
                    seen,
                    status: status(result),
                },
            );
        }
    }

    fn take_all(
        &self,
        frame: &Frame,
        mut results: impl Iterator<Item = std::result::Result<Handed, Cancelled>>,
        taken: usize,
    ) -> Result {
        for _ in 0..taken {
            let begin = frame.now();
            let Some(result) = results.next() else { break };
            frame.write(
                begin,
                What::WaitedForAny {
                    group: self.node,
                    seen: seen_by(&result),
                },
            );
            drop(result?);
        }
        Ok(())
    }
}
