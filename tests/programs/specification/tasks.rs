//! The statuses of tasks, and the results of spawns and starts.

use super::super::taskgroup::TaskStatus;
use super::*;

impl History<'_> {
    /// The statuses that a task may end with.
    pub(super) fn statuses(&self, node: Node) -> Vec<TaskStatus> {
        let Some(task) = self.tasks.get(&node) else {
            return Vec::new();
        };
        match task.ran {
            None => vec![TaskStatus::NeverRan],
            Some((.., Outcome::Value)) => vec![TaskStatus::Finished],
            Some((.., Outcome::Failed(_))) => vec![TaskStatus::Failed],
            Some((.., Outcome::Panicked(_))) => vec![TaskStatus::Panicked],
            Some((.., outcome @ Outcome::Cut { .. })) => match self.is_own(node, outcome) {
                Known::Yes => vec![TaskStatus::Cancelled],
                Known::No => vec![TaskStatus::Failed],
                Known::Maybe => vec![TaskStatus::Cancelled, TaskStatus::Failed],
            },
        }
    }

    pub(super) fn waits(&self) -> Verdict {
        for entry in self.entries {
            let What::Waited {
                task,
                status: Some(status),
                ..
            } = entry.what
            else {
                continue;
            };
            let allowed = self.statuses(task);
            ensure!(
                allowed.contains(&status),
                "status",
                "{entry:?} should be one of {allowed:?}"
            );
            if let Some(Spawned {
                ran: Some((_, end, _)),
                ..
            }) = self.tasks.get(&task)
            {
                ensure!(
                    *end < entry.end,
                    "status",
                    "{entry:?} was over before the task was, at {end}"
                );
            }
        }
        Ok(())
    }

    pub(super) fn spawns(&self) -> Verdict {
        for entry in self.entries {
            let What::Spawned {
                task,
                group,
                role,
                refused,
            } = entry.what
            else {
                continue;
            };
            let must = self.must(group);
            let ran = self.tasks.get(&task).and_then(|task| task.ran);
            if must < entry.begin && role != Role::Item {
                ensure!(
                    ran.is_none(),
                    "spawn after cancel",
                    "{entry:?} ran, though the group was cancelled at {must}"
                );
            }
            if let Some(Seen::Cut(cut)) = refused {
                // A daemon may come too late.
                let closed = cut.cause == Cause::Finished
                    && self
                        .bodies
                        .get(&group)
                        .is_some_and(|(end, _)| *end < entry.end);
                let may = closed || self.may(group, entry.end);
                ensure!(
                    may,
                    "spawn after cancel",
                    "{entry:?} was refused for a cancel that was not"
                );
            }
            ensure!(
                refused.is_none() || ran.is_none(),
                "spawn after cancel",
                "{entry:?} was refused and ran"
            );
        }
        Ok(())
    }

    pub(super) fn starts(&self) -> Verdict {
        for entry in self.entries {
            let What::Started {
                task,
                group,
                seen,
                fault,
                ..
            } = entry.what
            else {
                continue;
            };
            let ran = self.tasks.get(&task).and_then(|task| task.ran);
            if let Seen::Cut(cut) = seen {
                // A daemon may come too late.
                if cut.cause == Cause::Finished {
                    continue;
                }
                // The task may have passed on the cancel that stands for the result of another.
                let passed_on = matches!(ran, Some((.., Outcome::Cut { .. })));
                let may =
                    passed_on || self.may(entry.scope, entry.end) || self.may(group, entry.end);
                ensure!(may, "start", "{entry:?} was cancelled by nothing");
            }
            let Some(fault) = fault else { continue };
            let outcome = ran.map(|(.., outcome)| outcome);
            let of = match outcome {
                Some(
                    Outcome::Failed(of) | Outcome::Panicked(of) | Outcome::Cut { fault: of, .. },
                ) => of == fault,
                _ => false,
            };
            ensure!(
                of,
                "start",
                "{entry:?} has another failure than its task, which ended with {outcome:?}"
            );
        }
        Ok(())
    }
}
