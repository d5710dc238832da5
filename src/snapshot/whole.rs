//! The snapshot as a whole.

use super::{GroupSnapshot, TaskSnapshot, WorkerSnapshot};
use crate::blocking::Abandoned;

/// A picture of all groups and tasks of the process, taken by [`snapshot`](crate::snapshot).
///
/// It owns what it has, and keeps no task, result, token or primitive alive. Its `Display` draws the
/// tree.
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
            Visited::Task(_) => None,
        })
    }

    /// Returns all tasks, bodies of scopes and threads, each before the tasks of its groups.
    pub fn tasks(&self) -> impl Iterator<Item = &TaskSnapshot> {
        Walk::new(self).filter_map(|visited| match visited {
            Visited::Group(_) => None,
            Visited::Task(task) => Some(task),
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

    /// Returns what else there is to know, such as that the system does not tell what threads do.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

enum Visited<'a> {
    Group(&'a GroupSnapshot),
    Task(&'a TaskSnapshot),
}

/// Visits groups and tasks, parents first, without recursion.
struct Walk<'a>(Vec<Visited<'a>>);

impl<'a> Walk<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        let threads = snapshot.threads.iter().rev().map(Visited::Task);
        let groups = snapshot.groups.iter().rev().map(Visited::Group);
        Walk(threads.chain(groups).collect())
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Visited<'a>;

    fn next(&mut self) -> Option<Visited<'a>> {
        let visited = self.0.pop()?;
        match visited {
            Visited::Group(group) => {
                self.0.extend(group.tasks.iter().rev().map(Visited::Task));
                self.0.push(Visited::Task(&group.body));
            }
            Visited::Task(task) => {
                self.0.extend(task.groups.iter().rev().map(Visited::Group));
            }
        }
        Some(visited)
    }
}
