//! The specification: the outcomes of a program that its meanings allow.
//!
//! It reads the ledger of one run as a sequence. Entries that the ledger orders have one outcome.
//! If two entries overlap, either may have been first, and both outcomes are allowed. Each rule is
//! named after the meaning that it stands for:
//!
//! - balance: each captured, returned or sent value is dropped once
//! - nothing outlives: a task and its callbacks have ended when the scope returns
//! - level-triggered: a blocking point that begins after a cancel of its scope has returned
//!   fails
//! - no cancel without cause: a `Cancelled` has a cancel that began before it, of that scope or
//!   one around
//! - status: the status says how the closure ended; a cancel of the task, its group or a scope
//!   around is no failure
//! - spawn after cancel: such a task never runs, and `try_spawn` says why
//! - start: the caller gets the failure of a task that is not ready yet
//! - reported once: a report holds each failure of its group once, and nothing else
//! - own cancel: a scope without a failure returns the value, unless a cancel from outside cut
//!   a task or the body short
//! - callback: runs once if the token was cancelled while it was registered, and not otherwise
//! - hook: like a callback, for the scope that it is entered in
//! - message: a message is received once, as often as it was sent; a channel is disconnected
//!   when all ends of one side are dropped
//! - ill ends: a disconnect says whether an end was dropped by a task that did not end well
//! - no disconnect: in a scope that was known to be cancelled when the other side was dropped, a
//!   disconnect is reported as the cancel
//! - timeout: `None` only for its own deadline
//! - whole: `join` and `map` return a value if each task has, `race` if one has
//! - limit: so many tasks run at once, and one more for each wait that ended without the end of
//!   a task; a task begins only where fewer run, or in the place of a task that waits for it
//! - exclusion: a lock and the permits of a semaphore are held by as many as they allow
//! - closed: a semaphore is closed after a close, and not before; in a cancelled scope it is
//!   the cancel
//! - event: a wait for an event ends after it was set
//! - clock: a message of the clock comes when it is due, and ticks keep their distance

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::grammar::{EXACT_LIMIT, STREAMS};
use super::ledger::{
    Cause, Cut, Entry, Fatal, Kind, Node, ORDERS, Outcome, Role, Seen, What, Whole, balance,
};
use super::taskgroup::TokenId;

/// Never.
const NEVER: u64 = u64::MAX;

/// Whether a condition held, if the ledger tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    Yes,
    No,
    Maybe,
}

struct Scope {
    kind: Kind,
    parents: Vec<Node>,
}

/// Something that cancels a scope: a call, a failure, a deadline. It has done so when it ends.
struct Act {
    target: Node,
    gracefully: bool,
    begin: u64,
    end: u64,
    cause: Cause,
}

struct Spawned {
    group: Node,
    role: Role,
    ran: Option<(u64, u64, Outcome)>,
    refused: bool,
    /// It was started, and never became a task of the group.
    withdrawn: bool,
}

struct History<'a> {
    entries: &'a [Entry],
    scopes: BTreeMap<Node, Scope>,
    origins: HashMap<TokenId, Node>,
    tasks: BTreeMap<Node, Spawned>,
    bodies: BTreeMap<Node, (u64, Outcome)>,
    /// The task that opened a group, and the group of each single call.
    openers: BTreeMap<Node, Node>,
    wholes: BTreeMap<Node, Whole>,
    acts: Vec<Act>,
    /// From when on a scope was seen to be cancelled, by its identity.
    seen: BTreeMap<Node, u64>,
}

type Verdict = Result<(), String>;

macro_rules! ensure {
    ($holds:expr, $rule:literal, $($why:tt)*) => {
        if !$holds {
            return Err(format!("{}: {}", $rule, format_args!($($why)*)));
        }
    };
}

mod callbacks;
mod limits;
mod locks;
mod messages;
mod reports;
mod tasks;

/// Compares the ledger of a run with the outcomes that the specification allows.
pub fn check(entries: &[Entry], features: u64) -> Verdict {
    balance(entries).map_err(|why| format!("balance: {why}"))?;
    let history = History::of(entries);
    history.points()?;
    history.waits()?;
    history.spawns()?;
    history.starts()?;
    history.reports()?;
    history.callbacks()?;
    history.hooks()?;
    history.messages(features & STREAMS != 0)?;
    history.timeouts()?;
    history.wholes()?;
    history.locks()?;
    history.events()?;
    history.ticks()?;
    if features & EXACT_LIMIT != 0 {
        history.limits()?;
    }
    Ok(())
}

impl<'a> History<'a> {
    fn of(entries: &'a [Entry]) -> Self {
        let mut history = History {
            entries,
            scopes: BTreeMap::new(),
            origins: HashMap::new(),
            tasks: BTreeMap::new(),
            bodies: BTreeMap::new(),
            openers: BTreeMap::new(),
            wholes: BTreeMap::new(),
            acts: Vec::new(),
            seen: BTreeMap::new(),
        };
        history.collect();
        history.find_acts();
        history
    }

    fn collect(&mut self) {
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

    fn find_acts(&mut self) {
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

    /// Whether a failure of a task, by a panic or not, cancels the group.
    fn cancels(&self, group: Node, by_panic: bool) -> bool {
        match self.scopes.get(&group).map(|scope| scope.kind) {
            Some(Kind::Group { fatal, .. }) => match fatal {
                Fatal::All => true,
                Fatal::Panics => by_panic,
                Fatal::None => false,
            },
            _ => false,
        }
    }

    /// Whether `around` is `scope` or a scope that it is in. Scopes that are hidden do not
    /// count, if `visible`.
    fn is_in(&self, scope: Node, around: Node, visible: bool, gracefully: bool) -> bool {
        if scope == around {
            return true;
        }
        let Some(of) = self.scopes.get(&scope) else {
            return false;
        };
        match of.kind {
            Kind::Shield if visible => return false,
            Kind::Winding if visible && gracefully => return false,
            _ => {}
        }
        of.parents
            .iter()
            .any(|&parent| self.is_in(parent, around, visible, gracefully))
    }

    /// The scopes that this one belongs to, and it: a scope inside of a shield belongs to nothing
    /// outside.
    fn around(&self, scope: Node) -> BTreeSet<Node> {
        let mut around = BTreeSet::new();
        let mut left = vec![scope];
        while let Some(node) = left.pop() {
            let Some(of) = self.scopes.get(&node).filter(|_| around.insert(node)) else {
                continue;
            };
            if of.kind != Kind::Shield {
                left.extend(&of.parents);
            }
        }
        around
    }

    fn acts_on(&self, scope: Node) -> impl Iterator<Item = &Act> {
        self.acts
            .iter()
            .filter(move |act| self.is_in(scope, act.target, true, act.gracefully))
    }

    /// Whether the scope may have been cancelled before this time.
    fn may(&self, scope: Node, before: u64) -> bool {
        self.acts_on(scope).any(|act| act.begin < before)
    }

    /// From when on the scope must be cancelled.
    fn must(&self, scope: Node) -> u64 {
        if !ORDERS {
            return NEVER;
        }
        let acts: Vec<_> = self.acts_on(scope).collect();
        // A call that comes second may return before the first has reached every scope.
        let done = |act: &&&Act| {
            let first = acts
                .iter()
                .filter(|other| other.begin < act.end && other.end != NEVER)
                .map(|other| other.end);
            let unknown = acts
                .iter()
                .any(|other| other.begin < act.end && other.end == NEVER);
            if unknown {
                NEVER
            } else {
                first.max().unwrap_or(act.end).max(act.end)
            }
        };
        let known = acts.iter().filter(|act| act.end != NEVER);
        // A deadline is seen whatever else cancels.
        let deadline = known
            .clone()
            .filter(|act| act.cause == Cause::Deadline)
            .map(|act| act.end);
        known
            .clone()
            .map(|act| done(&act))
            .chain(deadline)
            .min()
            .unwrap_or(NEVER)
    }

    /// Whether the cancel that a closure returned is that of its task, its group, or a scope
    /// around.
    fn is_own(&self, scope: Node, outcome: Outcome) -> Known {
        let Outcome::Cut { cut, own, .. } = outcome else {
            return Known::No;
        };
        if own == Some(cut.origin) {
            return Known::Yes;
        }
        self.is_around(scope, cut)
    }

    fn is_around(&self, scope: Node, cut: Cut) -> Known {
        let around = self.around(scope);
        if let Some(node) = self.origins.get(&cut.origin) {
            return if around.contains(node) {
                Known::Yes
            } else {
                Known::No
            };
        }
        // Timeouts, daemons and tasks have tokens that the ledger does not know.
        let has = |test: &dyn Fn(Node) -> bool| around.iter().any(|node| test(*node));
        let known = match cut.cause {
            Cause::Deadline => has(&|node| {
                self.scopes
                    .get(&node)
                    .is_some_and(|scope| scope.kind == Kind::Past)
            }),
            Cause::Finished => has(&|node| {
                self.tasks
                    .get(&node)
                    .is_some_and(|task| task.role == Role::Daemon)
            }),
            Cause::Unnamed => {
                let cancelled = has(&|node| {
                    self.tasks.contains_key(&node)
                        && self
                            .acts
                            .iter()
                            .any(|act| act.target == node && act.cause == Cause::Unnamed)
                });
                return if cancelled { Known::Maybe } else { Known::No };
            }
            Cause::Closed => return Known::No,
            _ => return Known::Maybe,
        };
        if known { Known::Maybe } else { Known::No }
    }

    fn justified(&self, entry: &Entry, cut: Cut) -> Verdict {
        let caused = self.acts_on(entry.scope).any(|act| act.begin < entry.end);
        ensure!(
            caused,
            "no cancel without cause",
            "{entry:?} was not cancelled by anything"
        );
        if let Some(&node) = self.origins.get(&cut.origin) {
            let around = self.is_in(entry.scope, node, true, false);
            ensure!(
                around,
                "no cancel without cause",
                "{entry:?} has the cancel of scope {node}, which is not around it"
            );
        }
        if let Cause::Act(_) | Cause::Fault(_) = cut.cause {
            let named = self
                .acts
                .iter()
                .any(|act| act.cause == cut.cause && act.begin < entry.end);
            ensure!(
                named,
                "no cancel without cause",
                "{entry:?} names a cause that has not been"
            );
        }
        Ok(())
    }

    fn blocking(&self, entry: &Entry, seen: Seen) -> Verdict {
        if let Seen::Cut(cut) = seen {
            return self.justified(entry, cut);
        }
        let must = self.must(entry.scope);
        ensure!(
            seen != Seen::Done || must >= entry.begin,
            "level-triggered",
            "{entry:?} succeeded after {must}"
        );
        Ok(())
    }

    fn points(&self) -> Verdict {
        for entry in self.entries {
            if let What::Point { seen, forever, .. } = entry.what {
                self.blocking(entry, seen)?;
                let ended = matches!(seen, Seen::Cut(_));
                ensure!(
                    ended || !forever,
                    "no cancel without cause",
                    "{entry:?} ended, and nothing but a cancel ends it"
                );
            }
        }
        Ok(())
    }
}
