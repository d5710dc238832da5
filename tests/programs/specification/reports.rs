//! The result of a scope: its value, or the report of its failures.

use super::super::ledger::Reported;
use super::*;

impl History<'_> {
    /// The failures that the report of a group must hold, and those that it may hold.
    pub(super) fn failures_of(&self, group: Node) -> (BTreeSet<u64>, BTreeSet<u64>) {
        let (mut must, mut may) = (BTreeSet::new(), BTreeSet::new());
        let mut add = |known: Known, fault: u64| match known {
            Known::Yes => _ = must.insert(fault),
            Known::Maybe => _ = may.insert(fault),
            Known::No => {}
        };
        let failed = |known: Known| match known {
            Known::Yes => Known::No,
            Known::No => Known::Yes,
            Known::Maybe => Known::Maybe,
        };
        for (&node, task) in self.tasks.iter().filter(|(_, task)| task.group == group) {
            let Some((.., outcome)) = task.ran else {
                continue;
            };
            if task.role == Role::Isolated || task.withdrawn {
                continue;
            }
            match outcome {
                Outcome::Value => {}
                Outcome::Failed(fault) | Outcome::Panicked(fault) => add(Known::Yes, fault),
                Outcome::Cut { fault, .. } => add(failed(self.is_own(node, outcome)), fault),
            }
        }
        match self.bodies.get(&group) {
            Some((_, Outcome::Failed(fault))) => add(Known::Yes, *fault),
            Some((_, outcome @ Outcome::Cut { fault, .. })) => {
                add(failed(self.is_own(group, *outcome)), *fault)
            }
            _ => {}
        }
        for entry in self.entries {
            match entry.what {
                What::Raised {
                    fault,
                    contained: Some(of),
                } if of == group => add(Known::Yes, fault),
                What::Raised {
                    fault,
                    contained: None,
                } => add(Known::Maybe, fault),
                _ => {}
            }
        }
        (must, may)
    }

    /// Whether a cancel from outside, or the group's deadline, cut a task or the body short.
    pub(super) fn was_cut(&self, group: Node) -> Known {
        let mut cut_short = Known::No;
        let mut note = |known: Known| {
            if known == Known::Yes || (known == Known::Maybe && cut_short == Known::No) {
                cut_short = known;
            }
        };
        let from_outside = |scope: Node, outcome: Outcome| {
            let Outcome::Cut { cut, .. } = outcome else {
                return Known::No;
            };
            match self.origins.get(&cut.origin) {
                Some(node) if *node == group => {
                    if cut.cause == Cause::Deadline {
                        Known::Yes
                    } else {
                        Known::No
                    }
                }
                Some(node) if *node == scope => Known::No,
                Some(_) => self.is_around(group, cut),
                None if self.is_own(scope, outcome) == Known::Yes => Known::No,
                None => self.is_around(group, cut),
            }
        };
        for (&node, task) in self
            .tasks
            .iter()
            .filter(|(_, task)| task.group == group && task.role != Role::Daemon)
        {
            match task.ran {
                Some((.., outcome)) => note(from_outside(node, outcome)),
                None if task.refused => {}
                // It may have been the group itself that kept it from running, or an item that was
                // never spawned.
                None => {
                    let outside = self
                        .acts_on(group)
                        .any(|act| act.target != group || act.cause == Cause::Deadline);
                    note(if outside { Known::Maybe } else { Known::No });
                }
            }
        }
        if let Some(&(_, outcome)) = self.bodies.get(&group) {
            note(from_outside(group, outcome));
        }
        cut_short
    }

    pub(super) fn reports(&self) -> Verdict {
        for entry in self.entries {
            if let What::Released { group } = entry.what {
                self.after_all_ends(group, entry.begin, entry)?;
            }
        }

        let mut everywhere = BTreeSet::new();
        for entry in self.entries {
            match &entry.what {
                What::Panic { group } => self.returned(*group, entry)?,
                What::Value { group } => {
                    self.returned(*group, entry)?;
                    self.value(*group, entry)?;
                }
                What::Error {
                    group,
                    failures,
                    primary,
                    cut,
                } => {
                    self.returned(*group, entry)?;
                    self.report(*group, entry, failures, *primary, &mut everywhere)?;
                    if failures.is_empty() {
                        self.plain_cancel(*group, entry, cut.is_some())?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// All tasks of a group had ended at this time.
    fn after_all_ends(&self, group: Node, time: u64, entry: &Entry) -> Verdict {
        for task in self.tasks.values().filter(|task| task.group == group) {
            if let Some((_, end, _)) = task.ran {
                ensure!(
                    end < time,
                    "nothing outlives",
                    "a task ended at {end}, after {entry:?}"
                );
            }
        }
        Ok(())
    }

    fn body_of(&self, group: Node) -> Option<Outcome> {
        self.bodies.get(&group).map(|(_, outcome)| *outcome)
    }

    /// A scope returns after its tasks have ended, and panics if its body has.
    fn returned(&self, group: Node, entry: &Entry) -> Verdict {
        self.after_all_ends(group, entry.end, entry)?;
        let body = self.body_of(group);
        let panicked = matches!(body, Some(Outcome::Panicked(_)));
        let panics = matches!(entry.what, What::Panic { .. });
        ensure!(
            panics == panicked,
            "reported once",
            "the body ended with {body:?}, and the scope with {entry:?}"
        );
        Ok(())
    }

    /// A scope with a value had no failure, and was not cut short.
    fn value(&self, group: Node, entry: &Entry) -> Verdict {
        // The winner of a race hides what the others failed with.
        if self.wholes.get(&group) == Some(&Whole::First) {
            return Ok(());
        }
        let (must, _) = self.failures_of(group);
        ensure!(
            must.is_empty(),
            "reported once",
            "faults {must:?} are lost: {entry:?}"
        );
        let body = self.body_of(group);
        ensure!(
            body == Some(Outcome::Value),
            "own cancel",
            "{entry:?}, but the body ended with {body:?}"
        );
        ensure!(
            self.was_cut(group) != Known::Yes,
            "own cancel",
            "{entry:?}, but something was cut short"
        );
        Ok(())
    }

    /// A report without a failure holds a cancel, by which something was cut short.
    fn plain_cancel(&self, group: Node, entry: &Entry, has_cancel: bool) -> Verdict {
        let cut_body = matches!(self.body_of(group), Some(Outcome::Cut { .. }));
        ensure!(has_cancel, "own cancel", "{entry:?} holds nothing");
        let cut_short = self.was_cut(group) != Known::No;
        ensure!(
            cut_body || cut_short,
            "own cancel",
            "{entry:?}, but nothing was cut short"
        );
        Ok(())
    }

    /// `join` and `map` have a value if all of their tasks have, `race` if one has.
    pub(super) fn wholes(&self) -> Verdict {
        for entry in self.entries {
            let (group, value) = match entry.what {
                What::Value { group } => (group, true),
                What::Error { group, .. } => (group, false),
                _ => continue,
            };
            let outcomes: Vec<_> = self
                .tasks
                .values()
                .filter(|task| task.group == group)
                .map(|task| task.ran.map(|(.., outcome)| outcome))
                .collect();
            let is_value = |outcome: &Option<Outcome>| *outcome == Some(Outcome::Value);
            let panicked = self
                .entries
                .iter()
                .any(|entry| matches!(entry.what, What::Raised { .. }))
                || outcomes
                    .iter()
                    .any(|outcome| matches!(outcome, Some(Outcome::Panicked(_))));
            match self.wholes.get(&group) {
                Some(Whole::All) if value => ensure!(
                    outcomes.iter().all(is_value),
                    "whole",
                    "{entry:?}, and the tasks ended with {outcomes:?}"
                ),
                // A panic ends a race.
                Some(Whole::First) => ensure!(
                    outcomes.iter().any(is_value) == value || (!value && panicked),
                    "whole",
                    "{entry:?}, and the tasks ended with {outcomes:?}"
                ),
                _ => {}
            }
        }
        Ok(())
    }

    /// A report holds each failure of its group, and no other, and no report holds it again.
    fn report(
        &self,
        group: Node,
        entry: &Entry,
        failures: &[Reported],
        primary: Option<usize>,
        everywhere: &mut BTreeSet<u64>,
    ) -> Verdict {
        let (must, may) = self.failures_of(group);
        let mut found = BTreeSet::new();
        for failure in failures {
            let Some(fault) = failure.fault else {
                // The panic of a callback has no number.
                ensure!(
                    failure.panic,
                    "reported once",
                    "{entry:?} holds something else"
                );
                continue;
            };
            ensure!(
                must.contains(&fault) || may.contains(&fault),
                "reported once",
                "fault {fault} is not one of {entry:?}"
            );
            ensure!(
                found.insert(fault),
                "reported once",
                "fault {fault} is twice in {entry:?}"
            );
            ensure!(
                everywhere.insert(fault),
                "reported once",
                "fault {fault} is in two reports"
            );
        }
        let lost: Vec<_> = must.difference(&found).collect();
        ensure!(
            lost.is_empty(),
            "reported once",
            "faults {lost:?} are not in {entry:?}"
        );
        ensure!(
            primary.is_some() != failures.is_empty(),
            "reported once",
            "the primary of {entry:?}"
        );
        Ok(())
    }
}
