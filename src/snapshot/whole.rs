//! The snapshot as a whole.

use super::{GroupSnapshot, TaskSnapshot, WorkerSnapshot};
use crate::blocking::Abandoned;

/// A picture of all groups and tasks of the process, taken by [`snapshot`](crate::snapshot).
///
/// It owns its contents, and keeps no task, result, token or primitive alive. Its `Display` draws
/// the tree.
///
/// ```
/// use taskgroup::{TaskGroup, TaskState, snapshot};
///
/// TaskGroup::scope(|_| {
///     let seen = snapshot();
///     let waiting = seen.tasks().filter(|task| task.state() == TaskState::Waiting);
///     println!("{} tasks wait:\n{seen}", waiting.count());
///     Ok(())
/// })?;
/// # Ok::<(), taskgroup::GroupError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) groups: Vec<GroupSnapshot>,
    pub(super) threads: Vec<TaskSnapshot>,
    pub(super) workers: Vec<WorkerSnapshot>,
    pub(super) abandoned: Vec<Abandoned>,
    pub(super) incomplete: usize,
    pub(super) notes: Vec<String>,
}

impl Snapshot {
    /// The version of the serialised form. Within a version, fields are only added.
    pub const VERSION: u32 = 1;

    /// Returns the groups that were opened in no other group. Groups inside are in the tasks and
    /// bodies that opened them.
    pub fn groups(&self) -> &[GroupSnapshot] {
        &self.groups
    }

    /// Returns all groups, each before the groups inside of it.
    pub fn all_groups(&self) -> impl Iterator<Item = &GroupSnapshot> {
        Walk::new(self).filter_map(|visited| match visited {
            Visited::Group(group) => Some(group),
            Visited::Task(..) => None,
        })
    }

    /// Returns all tasks, bodies of scopes and threads, each before the tasks of its groups.
    pub fn tasks(&self) -> impl Iterator<Item = &TaskSnapshot> {
        Walk::new(self).filter_map(|visited| match visited {
            Visited::Group(_) => None,
            Visited::Task(task, _) => Some(task),
        })
    }

    /// Returns the threads outside of any group that are inside of a region or blocked in this
    /// crate, and calls of [`abandon`](crate::abandon).
    pub fn threads(&self) -> &[TaskSnapshot] {
        &self.threads
    }

    /// Returns the threads that the crate keeps for tasks, the idle ones included.
    pub fn workers(&self) -> &[WorkerSnapshot] {
        &self.workers
    }

    /// Returns the threads that [`abandon`](crate::abandon) has left behind.
    pub fn abandoned(&self) -> &[Abandoned] {
        &self.abandoned
    }

    /// Returns how many parts could not be read, because their threads were writing them.
    pub fn incomplete(&self) -> usize {
        self.incomplete
    }

    /// Calls `each_group` with each group and its parent, and `each_task` with each task and its
    /// group, if it is in one. Parents come first.
    #[cfg(feature = "serde")]
    pub(super) fn walk<'a>(
        &'a self,
        mut each_group: impl FnMut(&'a GroupSnapshot, Option<u64>),
        mut each_task: impl FnMut(&'a TaskSnapshot, Option<u64>),
    ) {
        for visited in Walk::new(self) {
            match visited {
                Visited::Group(group) => each_group(group, group.opened_in.map(|task| task.0)),
                Visited::Task(task, group) => each_task(task, group),
            }
        }
    }

    /// Returns what else there is to know, such as that the system does not tell what threads do.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

enum Visited<'a> {
    Group(&'a GroupSnapshot),
    /// With the number of its group.
    Task(
        &'a TaskSnapshot,
        #[allow(dead_code, reason = "for a feature")] Option<u64>,
    ),
}

/// Visits groups and tasks, parents first, without recursion.
struct Walk<'a>(Vec<Visited<'a>>);

impl<'a> Walk<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        // The list is a stack, so what comes first is pushed last.
        let threads = snapshot.threads.iter().rev();
        let threads = threads.map(|thread| Visited::Task(thread, None));
        let groups = snapshot.groups.iter().rev();

        // Groups that stand too deep come after the threads, which may have opened them.
        let (deep, groups): (Vec<_>, Vec<_>) = groups.partition(|group| group.opened_in.is_some());
        let deep = deep.into_iter().map(Visited::Group);
        let groups = groups.into_iter().map(Visited::Group);
        Walk(deep.chain(threads).chain(groups).collect())
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Visited<'a>;

    fn next(&mut self) -> Option<Visited<'a>> {
        let visited = self.0.pop()?;
        match visited {
            Visited::Group(group) => {
                // The body goes on top, since it comes before the tasks of its group.
                let number = Some(group.id.0);
                let tasks = group.tasks.iter().rev();
                self.0.extend(tasks.map(|task| Visited::Task(task, number)));
                self.0.push(Visited::Task(&group.body, number));
            }
            Visited::Task(task, _) => {
                self.0.extend(task.groups.iter().rev().map(Visited::Group));
            }
        }
        Some(visited)
    }
}
