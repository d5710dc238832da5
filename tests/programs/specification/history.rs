//! Reads the ledger: the scopes and tasks of a run, and the acts that cancelled them.

use super::*;

impl History<'_> {
    /// Finds the scopes and tasks, and how these ended.
    pub(super) fn collect(&mut self) {
        for entry in self.entries {
            self.collect_begin(entry);
        }
        // An end names a task or scope, which may have been written down later than it.
        for entry in self.entries {
            self.collect_end(entry);
        }
    }

    fn collect_begin(&mut self, entry: &Entry) {
        match &entry.what {
            What::Opened {
                kind,
                parents,
                token,
            } => {
                let scope = Scope {
                    kind: *kind,
                    parents: parents.clone(),
                };
                self.scopes.insert(entry.scope, scope);
                if let Some(token) = token {
                    self.origins.insert(*token, entry.scope);
                }
                if let Kind::Group { .. } = kind {
                    self.openers.insert(entry.scope, entry.task);
                }
            }
            What::Whole { group, whole } => _ = self.wholes.insert(*group, *whole),
            What::Spawned {
                task,
                group,
                role,
                refused,
            } => {
                let spawned = Spawned {
                    group: *group,
                    role: *role,
                    ran: None,
                    refused: refused.is_some(),
                    withdrawn: false,
                };
                self.tasks.insert(*task, spawned);
            }
            What::Body { group, outcome } => {
                _ = self.bodies.insert(*group, (entry.end, *outcome));
            }
            _ => {}
        }
    }

    fn collect_end(&mut self, entry: &Entry) {
        match &entry.what {
            What::Ran { outcome } => {
                if let Some(task) = self.tasks.get_mut(&entry.task) {
                    task.ran = Some((entry.begin, entry.end, *outcome));
                }
                if let Outcome::Cut { own: Some(own), .. } = outcome {
                    // A task without a token of its own names the one of its group.
                    self.origins.entry(*own).or_insert(entry.task);
                }
            }
            What::Started {
                task, ready: false, ..
            } => {
                if let Some(task) = self.tasks.get_mut(task) {
                    task.withdrawn = true;
                }
            }
            _ => {}
        }
    }

    /// Finds what cancelled a scope, and when its cancel was first seen.
    pub(super) fn find_acts(&mut self) {
        let mut acts = Vec::new();
        for entry in self.entries {
            self.acts_of_entry(entry, &mut acts);
        }
        for (&node, task) in &self.tasks {
            acts.extend(self.act_of_task(node, task));
        }
        for (&group, &(end, outcome)) in &self.bodies {
            acts.extend(self.act_of_body(group, end, outcome));
            acts.extend(self.ends_of_daemons(group, end));
        }
        self.acts = acts;
        self.find_first_sights();
    }

    /// The acts that the ledger has an entry of: calls, deadlines, starts and contained panics.
    fn acts_of_entry(&self, entry: &Entry, acts: &mut Vec<Act>) {
        let (begin, end) = (entry.begin, entry.end);
        match &entry.what {
            What::Cancel { target, gracefully } => {
                let of_task = self
                    .scopes
                    .get(target)
                    .is_some_and(|scope| matches!(scope.kind, Kind::Task));
                let cause = if of_task {
                    Cause::Unnamed
                } else {
                    Cause::Act(begin)
                };
                acts.push(Act {
                    target: *target,
                    gracefully: *gracefully,
                    begin,
                    end,
                    cause,
                });
            }
            What::Opened {
                kind: Kind::Past | Kind::Group { past: true, .. },
                ..
            } => acts.push(Act {
                end: begin,
                ..Act::from(entry.scope, begin, Cause::Deadline)
            }),
            What::Started { task, .. } => acts.push(Act::from(*task, begin, Cause::Unnamed)),
            What::Raised { fault, contained } => {
                let cancelled = self.scopes.keys().filter(|node| {
                    self.cancels(**node, true) && contained.is_none_or(|of| of == **node)
                });
                acts.extend(cancelled.map(|node| Act::from(*node, begin, Cause::Fault(*fault))));
            }
            _ => {}
        }
    }

    /// The cancel of a group by the end of one of its tasks.
    fn act_of_task(&self, node: Node, task: &Spawned) -> Option<Act> {
        let (_, end, outcome) = task.ran?;
        let wins = self.wholes.get(&task.group) == Some(&Whole::First);
        let fault = match outcome {
            Outcome::Value if wins => {
                return Some(Act::from(task.group, end - 1, Cause::Other));
            }
            Outcome::Failed(fault) | Outcome::Panicked(fault) => fault,
            Outcome::Cut { fault, .. } if self.is_own(node, outcome) != Known::Yes => fault,
            _ => return None,
        };
        let panicked = matches!(outcome, Outcome::Panicked(_));
        let fatal = task.role != Role::Isolated && self.cancels(task.group, panicked);
        fatal.then(|| Act::from(task.group, end - 1, Cause::Fault(fault)))
    }

    /// The cancel of a group by the end of its body.
    fn act_of_body(&self, group: Node, end: u64, outcome: Outcome) -> Option<Act> {
        let cause = match outcome {
            Outcome::Failed(fault) => Cause::Fault(fault),
            Outcome::Panicked(_) => Cause::BodyPanicked,
            Outcome::Cut { fault, .. } if self.is_own(group, outcome) != Known::Yes => {
                Cause::Fault(fault)
            }
            _ => return None,
        };
        self.cancels(group, false)
            .then(|| Act::from(group, end - 1, cause))
    }

    /// The cancels of daemons, which come some time after the body of their group has ended.
    fn ends_of_daemons(&self, group: Node, end: u64) -> impl Iterator<Item = Act> {
        self.tasks
            .iter()
            .filter(move |(_, task)| task.group == group && task.role == Role::Daemon)
            .map(move |(&node, _)| Act::from(node, end - 1, Cause::Finished))
    }

    fn find_first_sights(&mut self) {
        for entry in self.entries {
            let seen = match &entry.what {
                What::Point { seen, .. }
                | What::Acquired { seen, .. }
                | What::Awaited { seen, .. }
                | What::Received { seen, .. }
                | What::Sent { seen, .. } => seen,
                _ => continue,
            };
            if let Seen::Cut(cut) = seen {
                if let Some(&node) = self.origins.get(&cut.origin) {
                    let at = self.seen.entry(node).or_insert(NEVER);
                    *at = (*at).min(entry.end);
                }
            }
        }
    }
}

impl Act {
    /// A cancel that is no call: it comes some time after `begin`.
    fn from(target: Node, begin: u64, cause: Cause) -> Act {
        Act {
            target,
            gracefully: false,
            begin,
            end: NEVER,
            cause,
        }
    }
}
