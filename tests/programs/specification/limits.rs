//! Timeouts, and the limits of groups.

use super::*;

impl History<'_> {
    pub(super) fn timeouts(&self) -> Verdict {
        for entry in self.entries {
            let What::Timeout {
                past,
                inner,
                outer,
                none,
                ..
            } = entry.what
            else {
                continue;
            };
            match inner {
                Seen::Done => ensure!(
                    outer == Seen::Done && !none,
                    "timeout",
                    "{entry:?} lost a value"
                ),
                Seen::Cut(cut) => {
                    let known = self.origins.contains_key(&cut.origin);
                    let own = past && cut.cause == Cause::Deadline && !known;
                    ensure!(
                        !none || own,
                        "timeout",
                        "{entry:?} is None for a cancel that is not its own"
                    );
                    ensure!(
                        none || outer == inner,
                        "timeout",
                        "{entry:?} changed the cancel"
                    );
                }
                _ => ensure!(
                    !none && outer == inner,
                    "timeout",
                    "{entry:?} lost an error"
                ),
            }
        }
        Ok(())
    }

    /// Sweeps over the time, for each limited group.
    ///
    /// A task counts as running while its closure runs, but for its waits for tasks of the group.
    /// The permit that it has then is taken before that and given up after it. So no more tasks
    /// run at any time than there are permits out.
    pub(super) fn limits(&self) -> Verdict {
        for (&group, scope) in &self.scopes {
            let Kind::Group {
                limit: Some(limit), ..
            } = scope.kind
            else {
                continue;
            };
            let limit = limit as i64;
            let mut changes = self.changes(group);
            changes.sort_unstable_by_key(|change| change.time);

            let (mut running, mut excess) = (0, 0);
            let mut levels = Vec::new();
            for change in changes {
                running += change.running;
                excess += change.excess;
                levels.push((change.time, running));
                ensure!(
                    running <= limit + excess,
                    "limit",
                    "{running} tasks of group {group} run at {}, limit {limit}",
                    change.time
                );
            }
            self.begins(group, limit, &levels)?;
        }
        Ok(())
    }

    /// Whether it is a task of the group that needs a permit.
    fn is_limited(&self, node: Node, group: Node) -> bool {
        let task = self.tasks.get(&node);
        task.is_some_and(|task| task.group == group && task.role != Role::Daemon)
    }

    /// The tasks of the group that a thread is inside of while it runs `task`, which is none of
    /// them.
    fn around_task(&self, task: Node, group: Node) -> impl Iterator<Item = Node> {
        let opener = |task: &Node| {
            let of = self.tasks.get(task)?.group;
            self.openers.get(&of).copied()
        };
        std::iter::successors(opener(&task), opener)
            .filter(move |&node| self.is_limited(node, group))
    }

    /// The changes of two numbers of a limited group: its running tasks, and the permits that may
    /// be out above its limit.
    fn changes(&self, group: Node) -> Vec<Change> {
        let mut changes = Vec::new();
        for (&node, task) in &self.tasks {
            if let Some((begin, end, _)) = task.ran.filter(|_| self.is_limited(node, group)) {
                changes.extend([Change::running(begin, 1), Change::running(end, -1)]);
            }
        }
        for wait in self.entries {
            let (of, exceeds) = match wait.what {
                What::Waited {
                    group, task, seen, ..
                } => (
                    group,
                    seen != Seen::Done || !self.hands_over(task, wait.task),
                ),
                What::WaitedForAny { group, task, seen } => {
                    let ran = task.is_none_or(|task| self.has_ran(task));
                    (group, seen != Seen::Done || !ran)
                }
                What::Started { group, .. } => (group, true),
                _ => continue,
            };
            if of != group {
                continue;
            }
            if self.is_limited(wait.task, group) {
                changes.extend(Change::wait(wait, exceeds));
            } else {
                // The permit of a task around may be given away for as long as this one waits. The
                // task around may go on before that.
                let around = self.around_task(wait.task, group);
                changes.extend(around.flat_map(|_| Change::wait(wait, true)));
            }
        }
        changes
    }

    fn has_ran(&self, task: Node) -> bool {
        self.tasks.get(&task).is_some_and(|task| task.ran.is_some())
    }

    /// Whether the end of `task` hands its permit to the waiter: it had one, and no other task
    /// waits for the same end.
    fn hands_over(&self, task: Node, waiter: Node) -> bool {
        let is_daemon = |task: &Spawned| task.role == Role::Daemon;
        let others = self.entries.iter().any(|other| {
            matches!(other.what, What::Waited { task: of, .. } if of == task)
                && other.task != waiter
        });
        self.has_ran(task) && !self.tasks.get(&task).is_some_and(is_daemon) && !others
    }

    /// Nothing begins while as many tasks run as the limit allows, or more, but what runs in the
    /// place of a task that waits for it.
    fn begins(&self, group: Node, limit: i64, levels: &[(u64, i64)]) -> Verdict {
        for entry in self.entries {
            let What::Spawned {
                task, group: of, ..
            } = entry.what
            else {
                continue;
            };
            let ran = self.tasks.get(&task).and_then(|task| task.ran);
            let Some((begin, ..)) = ran.filter(|_| of == group && self.is_limited(task, group))
            else {
                continue;
            };
            let in_place = self.entries.iter().any(|wait| {
                let for_it = match wait.what {
                    What::Waited { task: of, .. } => of == task,
                    What::WaitedForAny { group: of, .. } => of == group,
                    _ => false,
                };
                for_it && wait.begin < begin && begin < wait.end
            });

            // The last change before the spawn counts too.
            let first = levels.partition_point(|(time, _)| *time < entry.begin);
            let last = levels.partition_point(|(time, _)| *time < begin);
            let before = first.checked_sub(1).map_or(0, |place| levels[place].1);
            let fewest = levels[first..last].iter().map(|(_, running)| *running);
            let fewest = fewest.chain([before]).min().unwrap_or(0);
            ensure!(
                fewest < limit || in_place,
                "limit",
                "task {task} of group {group} began at {begin}, while no fewer than {fewest} ran"
            );
        }
        Ok(())
    }
}

/// A change of the number of running tasks, and of that by which it may exceed the limit.
struct Change {
    time: u64,
    running: i64,
    excess: i64,
}

impl Change {
    fn running(time: u64, running: i64) -> Change {
        Change {
            time,
            running,
            excess: 0,
        }
    }

    /// A task that waits does not run; if the wait `exceeds`, it takes a permit of its own at its
    /// end.
    fn wait(wait: &Entry, exceeds: bool) -> [Change; 2] {
        let end = Change {
            time: wait.end,
            running: 1,
            excess: i64::from(exceeds),
        };
        [Change::running(wait.begin, -1), end]
    }
}
