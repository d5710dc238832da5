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
    pub(super) fn limits(&self) -> Verdict {
        for (&group, scope) in &self.scopes {
            let Kind::Group {
                limit: Some(limit), ..
            } = scope.kind
            else {
                continue;
            };
            let of_group = |node: &Node| {
                self.tasks
                    .get(node)
                    .is_some_and(|task| task.group == group && task.role != Role::Daemon)
            };
            // More or fewer at this time, or one more for ever.
            let mut changes: Vec<(u64, i64, i64)> = Vec::new();
            for (node, task) in self.tasks.iter().filter(|(node, _)| of_group(node)) {
                let Some((begin, end, _)) = task.ran else {
                    continue;
                };
                changes.extend([(begin, 1, 0), (end, -1, 0)]);
                for wait in self.entries.iter().filter(|entry| entry.task == *node) {
                    // A wait ends with a permit of its own if it was not ended by the end of a
                    // running task.
                    let exceeds = match wait.what {
                        What::Waited { group: of, .. } | What::WaitedForAny { group: of, .. }
                            if of != group =>
                        {
                            changes.push((0, 0, 1));
                            continue;
                        }
                        What::Waited { task, seen, .. } => {
                            let other = self.tasks.get(&task);
                            let ran = other.is_some_and(|task| {
                                task.ran.is_some() && task.role != Role::Daemon
                            });
                            let waits = self.entries.iter().filter(|other| {
                                matches!(other.what, What::Waited { task: of, .. } if of == task)
                                    && other.task != *node
                            });
                            seen != Seen::Done || !ran || waits.count() > 0
                        }
                        What::WaitedForAny { seen, .. } => seen != Seen::Done,
                        What::Started { .. } => true,
                        _ => continue,
                    };
                    changes.extend([(wait.begin, -1, 0), (wait.end, 1, i64::from(exceeds))]);
                }
            }
            // Where tasks of an inner group wait for this one, permits are given away by others
            // too.
            let foreign = self.entries.iter().any(|entry| {
                let waits = matches!(entry.what, What::Waited { group: of, .. } | What::WaitedForAny { group: of, .. }
                    | What::Started { group: of, .. } if of == group);
                waits && !of_group(&entry.task)
            });
            if foreign {
                continue;
            }
            changes.sort_unstable();
            let (mut running, mut excess) = (0, 0);
            for (time, change, more) in changes {
                running += change;
                excess += more;
                ensure!(
                    running <= limit as i64 + excess,
                    "limit",
                    "{running} tasks of group {group} run at {time}, limit {limit}"
                );
            }
        }
        Ok(())
    }
}
