//! The tasks that keep a scope from ending, found in a snapshot of it.
//!
//! A task that waits for others inside of it is not a laggard: the innermost ones are. The body of
//! a scope is one while it runs, and at the end of the scope only if nothing else is left.

use std::collections::{HashMap, HashSet};

use crate::snapshot::{GroupSnapshot, Inside, RegionKind, Snapshot, TaskSnapshot, TaskState};

/// A task that keeps a scope from ending.
pub(super) struct FoundLaggard<'a> {
    pub(super) task: &'a TaskSnapshot,
    /// The group that it belongs to, or that has the callback it runs.
    pub(super) group: &'a GroupSnapshot,
    /// The innermost region that changes what a cancel does to it.
    pub(super) region: Option<Inside>,
    /// The numbers of the groups around it, from the scope that is examined on.
    pub(super) within: Vec<u64>,
}

/// The groups of a snapshot, each with the group that it was opened in.
pub(super) struct Groups<'a>(HashMap<u64, (&'a GroupSnapshot, Option<u64>)>);

impl<'a> Groups<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let mut groups = HashMap::new();

        // Threads outside of tasks open groups, too.
        let outermost = snapshot.groups().iter();
        let apart = snapshot.threads().iter().flat_map(TaskSnapshot::groups);
        let mut left: Vec<_> = outermost.chain(apart).map(|group| (group, None)).collect();

        while let Some((group, around)) = left.pop() {
            groups.insert(group.id().0, (group, around));
            let tasks = group.tasks().iter().chain([group.body()]);
            let inside = tasks.flat_map(TaskSnapshot::groups);
            left.extend(inside.map(|inner| (inner, Some(group.id().0))));
        }
        Groups(groups)
    }

    pub(super) fn get(&self, number: u64) -> Option<&'a GroupSnapshot> {
        self.0.get(&number).map(|(group, _)| *group)
    }

    /// Returns the group with this number and those around it, the innermost first.
    pub(super) fn and_around(&self, number: u64) -> impl Iterator<Item = u64> {
        let around = |number: &u64| self.0.get(number).and_then(|(_, around)| *around);
        let known = self.0.contains_key(&number).then_some(number);
        std::iter::successors(known, around)
    }
}

/// Whether code that winds down counts as a laggard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WindDown {
    /// It still has time, and is left out.
    IsSpared,
    /// Its time is over.
    Counts,
}

/// Finds the tasks that keep the scope `root` from ending, the innermost first.
pub(super) fn find<'a>(
    root: &'a GroupSnapshot,
    snapshot: &'a Snapshot,
    wind_down: WindDown,
) -> Vec<FoundLaggard<'a>> {
    let mut search = Search {
        wind_down,
        is_root: true,
        found: Vec::new(),
        spared: 0,
        groups: HashMap::new(),
        in_place: Vec::new(),
    };

    // Callbacks and joiners in place come last: they are laggards only if nothing inside is.
    search.group(root, &[], &[]);
    search.add_callbacks(snapshot);
    search.add_in_place();

    // The innermost first: the others wait for it.
    let mut found = search.found;
    found.sort_by_key(|found| std::cmp::Reverse(found.within.len()));
    found
}

struct Search<'a> {
    wind_down: WindDown,
    is_root: bool,
    found: Vec<FoundLaggard<'a>>,
    /// How many tasks were left out, because they wind down.
    spared: usize,
    /// All groups that were visited, with the groups around each and itself.
    groups: HashMap<u64, (&'a GroupSnapshot, Vec<u64>)>,
    /// Tasks that wait for a task that they run themselves.
    in_place: Vec<FoundLaggard<'a>>,
}

impl<'a> Search<'a> {
    fn group(&mut self, group: &'a GroupSnapshot, path: &[Inside], within: &[u64]) {
        let is_root = std::mem::take(&mut self.is_root);
        let within = [within, &[group.id().0]].concat();
        self.groups.insert(group.id().0, (group, within.clone()));

        let before = self.found.len() + self.spared;
        for task in group.tasks() {
            let inside = [path, task.inside()].concat();
            self.task(task, group, &inside, &within);
        }

        // What its thread was inside of when it opened the examined scope is not the scope's
        // affair.
        let body = group.body();
        let skipped = if is_root { body.regions_outside() } else { 0 };
        let inside = [path, body.inside().get(skipped..).unwrap_or_default()].concat();
        if !body.is_at_scope_end() {
            self.task(body, group, &inside, &within);
        } else if self.found.len() + self.spared == before {
            // If it waits for a callback only, that is found later, and takes its place.
            self.add(body, group, &inside, &within);
        }
    }

    fn task(
        &mut self,
        task: &'a TaskSnapshot,
        group: &'a GroupSnapshot,
        inside: &[Inside],
        within: &[u64],
    ) {
        match task.state() {
            // The cancel has emptied the queue, or is about to.
            TaskState::Queued => {}
            // What runs in place on its thread is found as a task of its own.
            TaskState::InPlace => {
                self.in_place.push(FoundLaggard {
                    task,
                    group,
                    region: region(inside),
                    within: within.to_vec(),
                });
            }

            // It waits for a scope, and the laggards of that scope are the reason.
            TaskState::InScope if !task.groups().is_empty() => {
                for inner in task.groups() {
                    self.group(inner, inside, within);
                }
            }
            _ => self.add(task, group, inside, within),
        }
    }

    fn add(
        &mut self,
        task: &'a TaskSnapshot,
        group: &'a GroupSnapshot,
        inside: &[Inside],
        within: &[u64],
    ) {
        // Code that winds down was given time to end.
        let winds_down = |inside: &Inside| inside.region == RegionKind::WindingDown;
        if self.wind_down == WindDown::IsSpared && inside.iter().any(winds_down) {
            self.spared += 1;
            return;
        }

        self.found.push(FoundLaggard {
            task,
            group,
            region: region(inside),
            within: within.to_vec(),
        });
    }

    /// Adds the threads anywhere in the process that run a callback or hook of one of the groups. A
    /// scope waits for those too.
    fn add_callbacks(&mut self, snapshot: &'a Snapshot) {
        // By identity, and not by a search for each task: there may be many laggards.
        let found = self
            .found
            .iter()
            .map(|found| std::ptr::from_ref(found.task));
        let found: HashSet<_> = found.collect();
        for task in snapshot.tasks() {
            if found.contains(&std::ptr::from_ref(task)) {
                continue;
            }
            let mut inside = task.inside().iter().rev();
            let callback = inside.find(|inside| {
                inside.region == RegionKind::Callback && self.groups.contains_key(&inside.group)
            });
            let Some(callback) = callback else {
                continue;
            };
            let Some((group, within)) = self.groups.get(&callback.group).cloned() else {
                continue;
            };

            // The body of that group has only waited for this.
            self.found.retain(|found| {
                !(found.task.is_at_scope_end() && std::ptr::eq(found.group, group))
            });
            self.found.push(FoundLaggard {
                task,
                group,
                region: Some(*callback),
                within,
            });
        }
    }

    /// Adds a task that waits for a task on its own thread that is in none of the groups.
    fn add_in_place(&mut self) {
        // Such a task is a laggard itself only if nothing else is left to blame.
        if self.found.is_empty() {
            self.found.extend(self.in_place.drain(..).next());
        }
    }
}

/// Returns the innermost of the regions in which a cancel does not do what it does elsewhere.
fn region(inside: &[Inside]) -> Option<Inside> {
    let mut regions = inside.iter().rev();
    regions
        .find(|inside| inside.region != RegionKind::Run)
        .copied()
}
