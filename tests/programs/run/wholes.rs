//! Calls that run tasks in a scope of their own: `join`, `race`, `map`, and a group with an error
//! type that `task_error!` implements.

use std::io;

use super::super::grammar::Whole;
use super::super::ledger;
use super::super::ledger::Fatal;
use super::*;

/// An error of a program that holds errors in several ways.
#[derive(Debug)]
enum ProgramError {
    Cancelled(Cancelled),
    Any(anyhow::Error),
    Marked(Marked),
    Io(io::Error),
}

/// A struct that holds an error, and the fault that it is known by.
#[derive(Debug)]
struct Marked {
    fault: u64,
    source: anyhow::Error,
}

#[cfg(not(taskgroup_models))]
mod task_errors {
    use super::{Marked, ProgramError, taskgroup};

    taskgroup::task_error!(ProgramError {
        Cancelled,
        Any,
        Marked,
        Io
    });
    taskgroup::task_error!(struct Marked { source });
}

/// The models cannot name the macro: another one includes the sources that define it.
#[cfg(taskgroup_models)]
mod task_errors {
    use super::{Cancelled, Marked, ProgramError, TaskError};

    impl TaskError for ProgramError {
        fn cancelled(&self) -> Option<&Cancelled> {
            Cancelled::find(self)
        }
    }

    impl TaskError for Marked {
        fn cancelled(&self) -> Option<&Cancelled> {
            Cancelled::find(self)
        }
    }
}

impl std::fmt::Display for Marked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Fault(self.fault).fmt(f)
    }
}

impl std::error::Error for Marked {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.source.as_ref())
    }
}

impl From<Cancelled> for Marked {
    fn from(cancelled: Cancelled) -> Self {
        Marked {
            fault: 0,
            source: cancelled.into(),
        }
    }
}

impl std::fmt::Display for ProgramError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.fault() {
            Some(fault) => Fault(fault).fmt(f),
            None => f.write_str("cancelled"),
        }
    }
}

impl std::error::Error for ProgramError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ProgramError::Cancelled(cancelled) => Some(cancelled),
            ProgramError::Any(error) => Some(error.as_ref()),
            ProgramError::Marked(marked) => Some(marked),
            ProgramError::Io(error) => Some(error),
        }
    }
}

impl From<Cancelled> for ProgramError {
    fn from(cancelled: Cancelled) -> Self {
        ProgramError::Cancelled(cancelled)
    }
}

impl ProgramError {
    /// Holds the error of a task, which a fault marks, in a way that depends on the fault.
    fn of(error: anyhow::Error) -> Self {
        let fault = error.downcast_ref::<Fault>().map_or(0, |fault| fault.0);
        let marked = |source| Marked { fault, source };
        match fault % 3 {
            0 => ProgramError::Any(error),
            1 => ProgramError::Marked(marked(error)),
            _ => ProgramError::Io(io::Error::other(marked(error))),
        }
    }

    fn fault(&self) -> Option<u64> {
        match self {
            ProgramError::Cancelled(_) => None,
            ProgramError::Any(error) => error.downcast_ref::<Fault>().map(|fault| fault.0),
            ProgramError::Marked(marked) => Some(marked.fault),
            ProgramError::Io(error) => error
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<Marked>())
                .map(|marked| marked.fault),
        }
    }
}

impl FaultOf for ProgramError {
    fn fault(&self) -> Option<u64> {
        ProgramError::fault(self)
    }
}

impl Frame {
    /// Runs the tasks by one call.
    pub(super) fn whole(&self, level: &dyn Opened, whole: Whole, tasks: &[Arc<Task>]) -> Result {
        let (group, around) = (self.now(), self.scope.get());
        self.opened_whole(group, whole);
        let nodes: Vec<_> = tasks.iter().map(|task| self.item(group, task)).collect();
        let tasks = tasks.iter().zip(nodes).map(|(task, (node, captured))| {
            let (world, task, bound) = (self.world.clone(), task.clone(), self.bound.get());
            move || {
                let belongings = (Ends::default(), captured, None);
                level::run_bound(&world, level, bound, node, &task, belongings, None, None)
                    .map(drop)
            }
        });
        self.note(What::Body {
            group,
            outcome: Outcome::Value,
        });

        let begin = self.now();
        let (what, result) = call(group, whole, tasks.collect());
        self.scope.set(around);
        self.write(begin, what);
        result
    }

    /// Writes that the group of a call is open. The next entries belong to its scope.
    fn opened_whole(&self, group: Node, whole: Whole) {
        let (limit, fatal, result) = match whole {
            Whole::Join => (None, Fatal::All, ledger::Whole::All),
            Whole::Race => (None, Fatal::Panics, ledger::Whole::First),
            Whole::Map(limit) => (Some(limit), Fatal::All, ledger::Whole::All),
            Whole::Typed { collects: false } => (None, Fatal::All, ledger::Whole::Scope),
            Whole::Typed { collects: true } => (None, Fatal::None, ledger::Whole::Scope),
        };
        let parents = vec![self.scope.replace(group)];
        self.note(What::Opened {
            kind: Kind::Group {
                limit,
                fatal,
                past: false,
            },
            parents,
            token: None,
        });
        self.note(What::Whole {
            group,
            whole: result,
        });
    }

    /// Writes that a call has been given the task. Returns its node and what it captures.
    fn item(&self, group: Node, task: &Task) -> (Node, Option<Value>) {
        let node = self.now();
        self.scope.set(node);
        self.note(What::Opened {
            kind: Kind::Task,
            parents: vec![group],
            token: None,
        });
        self.scope.set(group);
        let captured = task.captured.map(|act| self.value(act));
        self.note(What::Spawned {
            task: node,
            group,
            role: Role::Item,
            refused: None,
        });
        (node, captured)
    }
}

/// Makes the call. Returns what its result says, and the same as the result of a step.
fn call<F: FnOnce() -> Result + Send>(group: Node, whole: Whole, tasks: Vec<F>) -> (What, Result) {
    match whole {
        Whole::Join => {
            let mut tasks = tasks.into_iter();
            let (Some(first), Some(second)) = (tasks.next(), tasks.next()) else {
                unreachable!("a join has two tasks")
            };
            told(group, taskgroup::join(first, second))
        }
        Whole::Race => told(group, taskgroup::race(tasks)),
        Whole::Map(limit) => {
            let count = tasks.len();
            let items = tasks.into_iter().enumerate();
            let result = taskgroup::map(items, limit, |(index, task)| task().map(|()| index));
            if let Ok(indices) = &result {
                assert!(
                    indices.iter().copied().eq(0..count),
                    "the results are in another order"
                );
            }
            told(group, result)
        }
        Whole::Typed { collects } => {
            let mut builder = TaskGroup::builder().error_type::<ProgramError>();
            if collects {
                builder = builder.on_failure(OnFailure::Collect);
            }
            let result = builder.scope(|g| {
                for task in tasks {
                    g.spawn(move || task().map_err(ProgramError::of));
                }
                Ok(())
            });
            told(group, result)
        }
    }
}

fn told<T, E>(group: Node, result: std::result::Result<T, GroupError<E>>) -> (What, Result)
where
    E: FaultOf,
    GroupError<E>: Into<anyhow::Error>,
{
    match result {
        Ok(_) => (What::Value { group }, Ok(())),
        Err(error) => (report(group, &error), Err(error.into())),
    }
}
