//! Reads the ledger: the scopes and tasks of a run, and the acts that cancelled them.

use super::*;

impl History<'_> {
    pub(super) fn collect(&mut self) {
        for entry in self.entries {
            match &entry.what {
                What::Opened {
                    kind,
                    parents,
                    token,
                } => {
                    self.scopes.insert(
                        entry.scope,
                        Scope {
                            kind: *kind,
                            parents: parents.clone(),
                        },
                    );
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
                    let refused = refused.is_some();
                    let spawned = Spawned {
                        group: *group,
                        role: *role,
                        ran: None,
                        refused,
                        withdrawn: false,
                    };
                    self.tasks.insert(*task, spawned);
                }
                What::Body { group, outcome } => {
                    _ = self.bodies.insert(*group, (entry.end, *outcome))
                }
                _ => {}
            }
        }
        for entry in self.entries {
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
    }

    pub(super) fn find_acts(&mut self) {
        let mut acts = Vec::new();
        for entry in self.entries {
            let (begin, end) = (entry.begin, entry.end);
            match &entry.what {
                What::Cancel { target, gracefully } => {
                    let named = !matches!(
                        self.scopes.get(target),
                        Some(Scope {
                            kind: Kind::Task,
                            ..
                        })
                    );
                    let cause = if named {
                        Cause::Act(begin)
                    } else {
                        Cause::Unnamed
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
                } => {
                    acts.push(Act {
                        target: entry.scope,
                        gracefully: false,
                        begin,
                        end: begin,
                        cause: Cause::Deadline,
                    });
                }
                What::Started { task, .. } => {
                    acts.push(Act {
                        target: *task,
                        gracefully: false,
                        begin,
                        end: NEVER,
                        cause: Cause::Unnamed,
                    });
                }
                What::Raised { fault, contained } => {
                    for node in self.scopes.keys() {
                        if self.cancels(*node, true) && contained.is_none_or(|of| of == *node) {
                            let cause = Cause::Fault(*fault);
                            acts.push(Act {
                                target: *node,
                                gracefully: false,
                                begin,
                                end: NEVER,
                                cause,
                            });
                        }
                    }
                }
                _ => {}
            }
        }
        for (&node, task) in &self.tasks {
            let Some((_, end, outcome)) = task.ran else {
                continue;
            };
            let wins = self.wholes.get(&task.group) == Some(&Whole::First);
            let fault = match outcome {
                Outcome::Value if wins => {
                    acts.push(Act {
                        target: task.group,
                        gracefully: false,
                        begin: end - 1,
                        end: NEVER,
                        cause: Cause::Other,
                    });
                    continue;
                }
                Outcome::Failed(fault) | Outcome::Panicked(fault) => fault,
                Outcome::Cut { fault, .. } if self.is_own(node, outcome) != Known::Yes => fault,
                _ => continue,
            };
            let panicked = matches!(outcome, Outcome::Panicked(_));
            if task.role != Role::Isolated && self.cancels(task.group, panicked) {
                let cause = Cause::Fault(fault);
                acts.push(Act {
                    target: task.group,
                    gracefully: false,
                    begin: end - 1,
                    end: NEVER,
                    cause,
                });
            }
        }
        for (&group, &(end, outcome)) in &self.bodies {
            let cause = match outcome {
                Outcome::Failed(fault) => Some(Cause::Fault(fault)),
                Outcome::Panicked(_) => Some(Cause::BodyPanicked),
                Outcome::Cut { fault, .. } if self.is_own(group, outcome) != Known::Yes => {
                    Some(Cause::Fault(fault))
                }
                _ => None,
            };
            if let Some(cause) = cause.filter(|_| self.cancels(group, false)) {
                acts.push(Act {
                    target: group,
                    gracefully: false,
                    begin: end - 1,
                    end: NEVER,
                    cause,
                });
            }
            for (&node, task) in &self.tasks {
                if task.group == group && task.role == Role::Daemon {
                    acts.push(Act {
                        target: node,
                        gracefully: false,
                        begin: end - 1,
                        end: NEVER,
                        cause: Cause::Finished,
                    });
                }
            }
        }
        self.acts = acts;
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
