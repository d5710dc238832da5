//! The ways to wait for tasks of a group.

use std::any::Any;

use super::handles::{Handle, Used, each};
use super::level::{Level, run_task};
use super::*;

impl<'scope, 'env> Level<'scope, 'env> {
    pub(super) fn wait_for(&self, frame: &Frame, task: usize, way: Way) -> Result {
        let used = if matches!(way, Way::Join | Way::Drop) {
            self.handles.take(task)
        } else {
            self.handles.get(task)
        };
        let Some(used) = used else {
            frame.note(What::Skipped);
            return Ok(());
        };
        let (node, begin) = (used.node, frame.now());
        let (seen, status, result) = match way {
            Way::Drop => {
                drop(used);
                return Ok(());
            }
            Way::Cancel => {
                self.cancel_by(frame, &used);
                return Ok(());
            }
            Way::Join => match used.into_own() {
                // Another task waits with the same handle.
                Err(used) => told(each!(used.handle(), handle => handle.wait())),
                Ok(own) => join(own),
            },
            Way::Wait | Way::WaitZero | Way::WaitLong | Way::CancelAndWait => {
                wait_with(frame, begin, &used, way)
            }
        };
        frame.write(
            begin,
            What::Waited {
                task: node,
                group: self.node,
                seen,
                status,
            },
        );
        drop(result?);
        Ok(())
    }

    pub(super) fn wait_for_all(&self, frame: &Frame, tasks: &[usize]) -> Result {
        let (mut plain, mut isolated) = (Vec::new(), Vec::new());
        for task in tasks {
            let Some(used) = self.handles.take(*task) else {
                continue;
            };
            let node = used.node;
            match used.into_own() {
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
        self.all_of(frame, isolated, |value| value.as_ref().ok().map(status_of))
    }

    pub(super) fn map_over(
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

    pub(super) fn start_task(&self, frame: &Frame, task: &Arc<Task>) -> Result {
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
            // A program passes on no failure of a start, because it could not name the task of it.
            _ => Ok(()),
        }
    }

    pub(super) fn cancel_by(&self, frame: &Frame, used: &Used<'scope>) {
        let begin = frame.now();
        each!(used.handle(), handle => handle.cancel());
        frame.write(
            begin,
            What::Cancel {
                target: used.node,
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
            let node = next
                .as_ref()
                .ok()
                .map(|handle| nodes[&format!("{:?}", handle.id())]);
            frame.write(
                begin,
                What::WaitedForAny {
                    group: self.node,
                    task: node,
                    seen: seen_by(&next),
                },
            );
            let handle = next?;
            assert!(
                handle.is_finished(),
                "a handle was given before its task has ended"
            );
            let begin = frame.now();
            let result = handle.join();
            let seen = seen_by(&result);
            frame.write(
                begin,
                What::Waited {
                    task: node.unwrap_or_default(),
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
                    task: None,
                    seen: seen_by(&result),
                },
            );
            drop(result?);
        }
        Ok(())
    }
}

/// How a wait ended, the status that it tells of, and what it gives. That is dropped, which may
/// panic, when the wait has been written down.
type Told = (
    Seen,
    Option<TaskStatus>,
    std::result::Result<Box<dyn Any>, Cancelled>,
);

fn boxed<T: 'static>(value: T) -> Box<dyn Any> {
    Box::new(value)
}

fn told(waited: std::result::Result<TaskStatus, Cancelled>) -> Told {
    let status = waited.as_ref().ok().copied();
    (seen_by(&waited), status, waited.map(boxed))
}

fn told_in_time(waited: std::result::Result<Option<TaskStatus>, Cancelled>) -> Told {
    let seen = match &waited {
        Ok(None) => Seen::NotNow,
        other => seen_by(other),
    };
    (
        seen,
        waited.as_ref().ok().copied().flatten(),
        waited.map(boxed),
    )
}

/// Waits for a task by a handle that stays.
fn wait_with(frame: &Frame, begin: u64, used: &Used<'_>, way: Way) -> Told {
    match way {
        Way::WaitZero => {
            let waited = each!(used.handle(), handle => handle.wait_timeout(Duration::ZERO));
            told_in_time(waited)
        }
        Way::WaitLong => {
            let waited = each!(used.handle(), handle => handle.wait_timeout(HOUR));
            assert!(!matches!(waited, Ok(None)), "an hour has passed");
            told_in_time(waited)
        }
        Way::CancelAndWait => {
            let waited = each!(used.handle(), handle => handle.cancel_and_wait());
            // The cancel is somewhere in the call.
            frame.write(
                begin,
                What::Cancel {
                    target: used.node,
                    gracefully: false,
                },
            );
            told(waited)
        }
        _ => told(each!(used.handle(), handle => handle.wait())),
    }
}

/// Joins a task.
fn join(handle: Handle<'_>) -> Told {
    match handle {
        Handle::Plain(handle) => {
            let result = handle.join();
            let status = result.as_ref().ok().map(|_| TaskStatus::Finished);
            (seen_by(&result), status, result.map(boxed))
        }
        Handle::Isolated(handle) => {
            let result = handle.join();
            let status = result.as_ref().ok().map(status_of);
            (seen_by(&result), status, result.map(boxed))
        }
        Handle::Daemon(handle) => {
            let result = handle.join();
            let status = result.as_ref().ok().map(|()| TaskStatus::Finished);
            (seen_by(&result), status, result.map(boxed))
        }
    }
}

/// The status of an isolated task with this result.
fn status_of(result: &std::result::Result<Handed, Failure<anyhow::Error>>) -> TaskStatus {
    match result {
        Ok(_) => TaskStatus::Finished,
        Err(failure) if matches!(failure.kind(), FailureKind::Panic(_)) => TaskStatus::Panicked,
        Err(_) => TaskStatus::Failed,
    }
}
