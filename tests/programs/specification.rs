//! The specification: which outcomes of a program its meanings allow.
//!
//! It reads the ledger of one run as a sequence. What the ledger orders has one outcome; where two entries overlap, either may
//! have been first, and both outcomes are allowed. Each rule is named after the meaning that it stands for:
//!
//! | rule | meaning |
//! |---|---|
//! | balance | what is captured, returned or sent is dropped once |
//! | nothing outlives | a task and its callbacks have ended when the scope returns |
//! | level-triggered | a blocking point that begins after a cancel of its scope has returned fails |
//! | no cancel without cause | a `Cancelled` has a cancel that began before it, of that scope or one around |
//! | status | the status is that of how the closure ended; a cancel of the task, its group or a scope around is no failure |
//! | spawn after cancel | such a task never runs, and `try_spawn` says why |
//! | start | what a task fails with before it is ready is the caller's |
//! | reported once | a report holds each failure of its group once, and nothing else |
//! | own cancel | a scope without a failure returns the value, unless a cancel from outside cut a task or the body short |
//! | callback | runs once if the token was cancelled while it was registered, and not otherwise |
//! | hook | as a callback, for the scope that it is entered in |
//! | message | a message is received once, as often as it was sent; a channel is disconnected when all of one side have gone |
//! | no disconnect | in a scope that was known to be cancelled when the other side went, the end of a channel is the cancel |
//! | timeout | `None` only for its own deadline |
//! | limit | so many tasks run at once, and one more for each wait that ended without the end of a task |

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::grammar::{EXACT_LIMIT, STREAMS};
use super::ledger::{balance, Cause, Cut, Entry, Kind, Node, Outcome, Reported, Role, Seen, What};
use super::taskgroup::{TaskStatus, TokenId};

/// Never.
const NEVER: u64 = u64::MAX;

/// Whether something was so, if the ledger says.
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

/// Compares what a program did with what it may do.
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
                What::Opened { kind, parents, token } => {
                    self.scopes.insert(entry.scope, Scope { kind: *kind, parents: parents.clone() });
                    if let Some(token) = token {
                        self.origins.insert(*token, entry.scope);
                    }
                }
                What::Spawned { task, group, role, refused } => {
                    let refused = refused.is_some();
                    let spawned = Spawned { group: *group, role: *role, ran: None, refused, withdrawn: false };
                    self.tasks.insert(*task, spawned);
                }
                What::Body { group, outcome } => _ = self.bodies.insert(*group, (entry.end, *outcome)),
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
                        // Where the task has no token of its own this is that of its group.
                        self.origins.entry(*own).or_insert(entry.task);
                    }
                }
                What::Started { task, ready: false, .. } => {
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
                    let named = !matches!(self.scopes.get(target), Some(Scope { kind: Kind::Task, .. }));
                    let cause = if named { Cause::Act(begin) } else { Cause::Unnamed };
                    acts.push(Act { target: *target, gracefully: *gracefully, begin, end, cause });
                }
                What::Opened { kind: Kind::Past | Kind::Group { past: true, .. }, .. } => {
                    acts.push(Act { target: entry.scope, gracefully: false, begin, end: begin, cause: Cause::Deadline });
                }
                What::Started { task, .. } => {
                    acts.push(Act { target: *task, gracefully: false, begin, end: NEVER, cause: Cause::Unnamed });
                }
                What::Raised { fault, contained } => {
                    for (node, scope) in &self.scopes {
                        if matches!(scope.kind, Kind::Group { collects: false, .. }) && contained.is_none_or(|of| of == *node) {
                            let cause = Cause::Fault(*fault);
                            acts.push(Act { target: *node, gracefully: false, begin, end: NEVER, cause });
                        }
                    }
                }
                _ => {}
            }
        }
        for (&node, task) in &self.tasks {
            let Some((_, end, outcome)) = task.ran else { continue };
            let fault = match outcome {
                Outcome::Failed(fault) | Outcome::Panicked(fault) => fault,
                Outcome::Cut { fault, .. } if self.is_own(node, outcome) != Known::Yes => fault,
                _ => continue,
            };
            if task.role != Role::Isolated && self.cancels(task.group) {
                let cause = Cause::Fault(fault);
                acts.push(Act { target: task.group, gracefully: false, begin: end - 1, end: NEVER, cause });
            }
        }
        for (&group, &(end, outcome)) in &self.bodies {
            let cause = match outcome {
                Outcome::Failed(fault) => Some(Cause::Fault(fault)),
                Outcome::Panicked(_) => Some(Cause::BodyPanicked),
                Outcome::Cut { fault, .. } if self.is_own(group, outcome) != Known::Yes => Some(Cause::Fault(fault)),
                _ => None,
            };
            if let Some(cause) = cause.filter(|_| self.cancels(group)) {
                acts.push(Act { target: group, gracefully: false, begin: end - 1, end: NEVER, cause });
            }
            for (&node, task) in &self.tasks {
                if task.group == group && task.role == Role::Daemon {
                    acts.push(Act { target: node, gracefully: false, begin: end - 1, end: NEVER, cause: Cause::Finished });
                }
            }
        }
        self.acts = acts;
        for entry in self.entries {
            let seen = match &entry.what {
                What::Point { seen, .. } | What::Received { seen, .. } | What::Sent { seen, .. } => seen,
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

    fn cancels(&self, group: Node) -> bool {
        matches!(self.scopes.get(&group), Some(Scope { kind: Kind::Group { collects: false, .. }, .. }))
    }

    /// Whether `around` is `scope` or a scope that it is in; what is hidden does not count, if `visible`.
    fn is_in(&self, scope: Node, around: Node, visible: bool, gracefully: bool) -> bool {
        if scope == around {
            return true;
        }
        let Some(of) = self.scopes.get(&scope) else { return false };
        match of.kind {
            Kind::Shield if visible => return false,
            Kind::Winding if visible && gracefully => return false,
            _ => {}
        }
        of.parents.iter().any(|&parent| self.is_in(parent, around, visible, gracefully))
    }

    /// The scopes that this one belongs to, and it: a scope inside of a shield belongs to nothing outside.
    fn around(&self, scope: Node) -> BTreeSet<Node> {
        let mut around = BTreeSet::new();
        let mut left = vec![scope];
        while let Some(node) = left.pop() {
            let Some(of) = self.scopes.get(&node).filter(|_| around.insert(node)) else { continue };
            if of.kind != Kind::Shield {
                left.extend(&of.parents);
            }
        }
        around
    }

    fn acts_on(&self, scope: Node) -> impl Iterator<Item = &Act> {
        self.acts.iter().filter(move |act| self.is_in(scope, act.target, true, act.gracefully))
    }

    /// Whether the scope may have been cancelled before this time.
    fn may(&self, scope: Node, before: u64) -> bool {
        self.acts_on(scope).any(|act| act.begin < before)
    }

    /// From when on the scope must be cancelled.
    fn must(&self, scope: Node) -> u64 {
        let acts: Vec<_> = self.acts_on(scope).collect();
        // A call that comes second may return before the first has reached every scope.
        let done = |act: &&&Act| {
            let first = acts.iter().filter(|other| other.begin < act.end && other.end != NEVER).map(|other| other.end);
            let unknown = acts.iter().any(|other| other.begin < act.end && other.end == NEVER);
            if unknown {
                NEVER
            } else {
                first.max().unwrap_or(act.end).max(act.end)
            }
        };
        let known = acts.iter().filter(|act| act.end != NEVER);
        // A deadline is seen whatever else cancels.
        let deadline = known.clone().filter(|act| act.cause == Cause::Deadline).map(|act| act.end);
        known.clone().map(|act| done(&act)).chain(deadline).min().unwrap_or(NEVER)
    }

    /// Whether the cancel that a closure returned is that of its task, its group, or a scope around.
    fn is_own(&self, scope: Node, outcome: Outcome) -> Known {
        let Outcome::Cut { cut, own, .. } = outcome else { return Known::No };
        if own == Some(cut.origin) {
            return Known::Yes;
        }
        self.is_around(scope, cut)
    }

    fn is_around(&self, scope: Node, cut: Cut) -> Known {
        let around = self.around(scope);
        if let Some(node) = self.origins.get(&cut.origin) {
            return if around.contains(node) { Known::Yes } else { Known::No };
        }
        // Timeouts, daemons and tasks have tokens that the ledger does not know.
        let has = |test: &dyn Fn(Node) -> bool| around.iter().any(|node| test(*node));
        let known = match cut.cause {
            Cause::Deadline => has(&|node| self.scopes.get(&node).is_some_and(|scope| scope.kind == Kind::Past)),
            Cause::Finished => has(&|node| self.tasks.get(&node).is_some_and(|task| task.role == Role::Daemon)),
            Cause::Unnamed => {
                let cancelled = has(&|node| {
                    self.tasks.contains_key(&node)
                        && self.acts.iter().any(|act| act.target == node && act.cause == Cause::Unnamed)
                });
                return if cancelled { Known::Maybe } else { Known::No };
            }
            _ => return Known::Maybe,
        };
        if known {
            Known::Maybe
        } else {
            Known::No
        }
    }

    fn justified(&self, entry: &Entry, cut: Cut) -> Verdict {
        let caused = self.acts_on(entry.scope).any(|act| act.begin < entry.end);
        ensure!(caused, "no cancel without cause", "{entry:?} was not cancelled by anything");
        if let Some(&node) = self.origins.get(&cut.origin) {
            let around = self.is_in(entry.scope, node, true, false);
            ensure!(around, "no cancel without cause", "{entry:?} has the cancel of scope {node}, which is not around it");
        }
        if let Cause::Act(_) | Cause::Fault(_) = cut.cause {
            let named = self.acts.iter().any(|act| act.cause == cut.cause && act.begin < entry.end);
            ensure!(named, "no cancel without cause", "{entry:?} names a cause that has not been");
        }
        Ok(())
    }

    fn blocking(&self, entry: &Entry, seen: Seen) -> Verdict {
        if let Seen::Cut(cut) = seen {
            return self.justified(entry, cut);
        }
        let must = self.must(entry.scope);
        ensure!(seen != Seen::Done || must >= entry.begin, "level-triggered", "{entry:?} succeeded after {must}");
        Ok(())
    }

    fn points(&self) -> Verdict {
        for entry in self.entries {
            if let What::Point { seen, forever, .. } = entry.what {
                self.blocking(entry, seen)?;
                let ended = matches!(seen, Seen::Cut(_));
                ensure!(ended || !forever, "no cancel without cause", "{entry:?} ended, and nothing but a cancel ends it");
            }
        }
        Ok(())
    }

    /// The statuses that a task may end with.
    fn statuses(&self, node: Node) -> Vec<TaskStatus> {
        let Some(task) = self.tasks.get(&node) else { return Vec::new() };
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

    fn waits(&self) -> Verdict {
        for entry in self.entries {
            let What::Waited { task, status: Some(status), .. } = entry.what else { continue };
            let allowed = self.statuses(task);
            ensure!(allowed.contains(&status), "status", "{entry:?} should be one of {allowed:?}");
            if let Some(Spawned { ran: Some((_, end, _)), .. }) = self.tasks.get(&task) {
                ensure!(*end < entry.end, "status", "{entry:?} was over before the task was, at {end}");
            }
        }
        Ok(())
    }

    fn spawns(&self) -> Verdict {
        for entry in self.entries {
            let What::Spawned { task, group, role, refused } = entry.what else { continue };
            let must = self.must(group);
            let ran = self.tasks.get(&task).and_then(|task| task.ran);
            if must < entry.begin && role != Role::Item {
                ensure!(ran.is_none(), "spawn after cancel", "{entry:?} ran, though the group was cancelled at {must}");
            }
            if let Some(Seen::Cut(cut)) = refused {
                // A daemon may come too late.
                let closed = cut.cause == Cause::Finished && self.bodies.get(&group).is_some_and(|(end, _)| *end < entry.end);
                let may = closed || self.may(group, entry.end);
                ensure!(may, "spawn after cancel", "{entry:?} was refused for a cancel that was not");
            }
            ensure!(refused.is_none() || ran.is_none(), "spawn after cancel", "{entry:?} was refused and ran");
        }
        Ok(())
    }

    fn starts(&self) -> Verdict {
        for entry in self.entries {
            let What::Started { task, group, seen, fault, .. } = entry.what else { continue };
            let ran = self.tasks.get(&task).and_then(|task| task.ran);
            if let Seen::Cut(cut) = seen {
                // A daemon may come too late.
                if cut.cause == Cause::Finished {
                    continue;
                }
                // The task may have passed on the cancel that stands for the result of another.
                let passed_on = matches!(ran, Some((.., Outcome::Cut { .. })));
                let may = passed_on || self.may(entry.scope, entry.end) || self.may(group, entry.end);
                ensure!(may, "start", "{entry:?} was cancelled by nothing");
            }
            let Some(fault) = fault else { continue };
            let outcome = ran.map(|(.., outcome)| outcome);
            let of = match outcome {
                Some(Outcome::Failed(of) | Outcome::Panicked(of) | Outcome::Cut { fault: of, .. }) => of == fault,
                _ => false,
            };
            ensure!(of, "start", "{entry:?} has another failure than its task, which ended with {outcome:?}");
        }
        Ok(())
    }

    /// The failures that the report of a group must hold, and those that it may hold.
    fn failures_of(&self, group: Node) -> (BTreeSet<u64>, BTreeSet<u64>) {
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
            let Some((.., outcome)) = task.ran else { continue };
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
            Some((_, outcome @ Outcome::Cut { fault, .. })) => add(failed(self.is_own(group, *outcome)), *fault),
            _ => {}
        }
        for entry in self.entries {
            match entry.what {
                What::Raised { fault, contained: Some(of) } if of == group => add(Known::Yes, fault),
                What::Raised { fault, contained: None } => add(Known::Maybe, fault),
                _ => {}
            }
        }
        (must, may)
    }

    /// Whether a cancel from outside, or the group's deadline, cut a task or the body short.
    fn was_cut(&self, group: Node) -> Known {
        let mut cut_short = Known::No;
        let mut note = |known: Known| {
            if known == Known::Yes || (known == Known::Maybe && cut_short == Known::No) {
                cut_short = known;
            }
        };
        let from_outside = |scope: Node, outcome: Outcome| {
            let Outcome::Cut { cut, .. } = outcome else { return Known::No };
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
        for (&node, task) in self.tasks.iter().filter(|(_, task)| task.group == group && task.role != Role::Daemon) {
            match task.ran {
                Some((.., outcome)) => note(from_outside(node, outcome)),
                None if task.refused => {}
                // It may have been the group itself that kept it from running, or an item that was never spawned.
                None => {
                    let outside = self.acts_on(group).any(|act| act.target != group || act.cause == Cause::Deadline);
                    note(if outside { Known::Maybe } else { Known::No });
                }
            }
        }
        if let Some(&(_, outcome)) = self.bodies.get(&group) {
            note(from_outside(group, outcome));
        }
        cut_short
    }

    fn reports(&self) -> Verdict {
        for entry in self.entries {
            let What::Released { group } = entry.what else { continue };
            let late = self.tasks.values().filter(|task| task.group == group).filter_map(|task| task.ran);
            let late = late.map(|(_, end, _)| end).max().unwrap_or(0);
            ensure!(late < entry.begin, "nothing outlives", "{entry:?} came before the end of a task, at {late}");
        }
        let mut everywhere = BTreeSet::new();
        for entry in self.entries {
            let (group, error) = match &entry.what {
                What::Value { group } | What::Panic { group } => (*group, None),
                What::Error { group, failures, primary, cut } => (*group, Some((failures, *primary, *cut))),
                _ => continue,
            };
            for task in self.tasks.values().filter(|task| task.group == group) {
                if let Some((_, end, _)) = task.ran {
                    ensure!(end < entry.end, "nothing outlives", "a task ended at {end}, after {entry:?}");
                }
            }
            let body = self.bodies.get(&group).map(|(_, outcome)| *outcome);
            let panicked = matches!(body, Some(Outcome::Panicked(_)));
            let panics = matches!(entry.what, What::Panic { .. });
            ensure!(panics == panicked, "reported once", "the body ended with {body:?}, and the scope with {entry:?}");
            if panicked {
                continue;
            }
            let (must, may) = self.failures_of(group);
            let Some((failures, primary, cut)) = error else {
                ensure!(must.is_empty(), "reported once", "faults {must:?} are lost: {entry:?}");
                ensure!(body == Some(Outcome::Value), "own cancel", "{entry:?}, but the body ended with {body:?}");
                ensure!(self.was_cut(group) != Known::Yes, "own cancel", "{entry:?}, but something was cut short");
                continue;
            };
            self.report(entry, (&must, &may), failures, primary, &mut everywhere)?;
            if failures.is_empty() {
                let cut_body = matches!(body, Some(Outcome::Cut { .. }));
                ensure!(cut.is_some(), "own cancel", "{entry:?} holds nothing");
                let cut_short = self.was_cut(group) != Known::No;
                ensure!(cut_body || cut_short, "own cancel", "{entry:?}, but nothing was cut short");
            }
        }
        Ok(())
    }

    fn report(
        &self,
        entry: &Entry,
        (must, may): (&BTreeSet<u64>, &BTreeSet<u64>),
        failures: &[Reported],
        primary: Option<usize>,
        everywhere: &mut BTreeSet<u64>,
    ) -> Verdict {
        let mut found = BTreeSet::new();
        for failure in failures {
            let Some(fault) = failure.fault else {
                // The panic of a callback has no number.
                ensure!(failure.panic, "reported once", "{entry:?} holds something else");
                continue;
            };
            ensure!(must.contains(&fault) || may.contains(&fault), "reported once", "fault {fault} is not one of {entry:?}");
            ensure!(found.insert(fault), "reported once", "fault {fault} is twice in {entry:?}");
            ensure!(everywhere.insert(fault), "reported once", "fault {fault} is in two reports");
        }
        let lost: Vec<_> = must.difference(&found).collect();
        ensure!(lost.is_empty(), "reported once", "faults {lost:?} are not in {entry:?}");
        ensure!(primary.is_some() != failures.is_empty(), "reported once", "the primary of {entry:?}");
        Ok(())
    }

    fn callbacks(&self) -> Verdict {
        let mut calls: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let mut removed: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for entry in self.entries {
            match entry.what {
                What::Called { callback } | What::Finished { callback, .. } => {
                    calls.entry(callback).or_default().push(entry.begin);
                }
                What::Unregistered { callback } => _ = removed.insert(callback, (entry.begin, entry.end)),
                _ => {}
            }
        }
        for entry in self.entries {
            match entry.what {
                What::Registered { callback, token } => {
                    let times = calls.get(&callback).map_or(0, Vec::len);
                    let &(begin, end) = removed.get(&callback).unwrap_or(&(NEVER, NEVER));
                    ensure!(times <= 1, "callback", "{entry:?} was called {times} times");
                    ensure!(times == 0 || self.may(token, end), "callback", "{entry:?} was called without a cancel");
                    ensure!(times == 1 || self.must(token) >= begin, "callback", "{entry:?} was not called");
                    let late = calls.get(&callback).and_then(|calls| calls.first()).is_some_and(|called| *called > end);
                    ensure!(!late, "callback", "{entry:?} was called after its guard was dropped");
                }
                What::OnFinished { callback, .. } => {
                    let times = calls.get(&callback).map_or(0, Vec::len);
                    ensure!(times == 1, "callback", "{entry:?} was called {times} times");
                }
                _ => {}
            }
        }
        for entry in self.entries {
            let What::Finished { callback, status } = entry.what else { continue };
            for registered in self.entries {
                if let What::OnFinished { callback: of, task, .. } = registered.what {
                    let allowed = self.statuses(task);
                    let right = of != callback || allowed.contains(&status);
                    ensure!(right, "status", "a callback was told {status:?}, of a task that ended with {allowed:?}");
                }
            }
        }
        Ok(())
    }

    fn hooks(&self) -> Verdict {
        for entry in self.entries {
            let What::Hooked { hook } = entry.what else { continue };
            let runs = || self.entries.iter().filter(|run| matches!(run.what, What::HookRan { hook: of } if of == hook));
            let times = runs().count();
            ensure!(times <= 1, "hook", "{entry:?} ran {times} times");
            ensure!(times == 0 || self.may(entry.scope, entry.end), "hook", "{entry:?} ran without a cancel");
            ensure!(times == 1 || self.must(entry.scope) >= entry.begin, "hook", "{entry:?} did not run");
            let late = runs().any(|run| run.begin > entry.end);
            ensure!(!late, "hook", "{entry:?} ran after the region was over");
        }
        Ok(())
    }

    fn messages(&self, streams: bool) -> Verdict {
        let mut received: BTreeMap<u64, &Entry> = BTreeMap::new();
        for entry in self.entries {
            let What::Received { message, seen, blocking, .. } = entry.what else { continue };
            if blocking {
                self.blocking(entry, seen)?;
            }
            if let Some(message) = message {
                ensure!(received.insert(message, entry).is_none(), "message", "{message} was received twice");
            }
        }
        for entry in self.entries {
            let What::Sent { channel, message, seen } = entry.what else { continue };
            if let Seen::Cut(cut) = seen {
                self.justified(entry, cut)?;
            }
            let arrived = received.get(&message);
            ensure!(seen == Seen::Done || arrived.is_none(), "message", "{entry:?} arrived all the same");
            if let Some(arrived) = arrived {
                let there = matches!(arrived.what, What::Received { channel: at, .. } if at == channel);
                ensure!(there && arrived.end > entry.begin, "message", "{arrived:?} came before {entry:?}");
            }
        }
        for entry in self.entries {
            let (channel, of_senders) = match entry.what {
                What::Received { channel, seen: Seen::Disconnected, .. } => (channel, true),
                What::Sent { channel, seen: Seen::Disconnected, .. } => (channel, false),
                _ => continue,
            };
            self.disconnected(entry, channel, of_senders, &received, streams)?;
        }
        self.rooms(&received)
    }

    fn disconnected(
        &self,
        entry: &Entry,
        channel: u64,
        senders: bool,
        received: &BTreeMap<u64, &Entry>,
        streams: bool,
    ) -> Verdict {
        let closes: Vec<_> = self
            .entries
            .iter()
            .filter(|close| matches!(close.what, What::Closed { channel: at, sender } if at == channel && sender == senders))
            .collect();
        let open = closes.iter().any(|close| close.begin > entry.end);
        ensure!(!open && !closes.is_empty(), "message", "{entry:?}, and not all of the other side had gone");
        if senders {
            for sent in self.entries {
                let What::Sent { channel: at, message, seen: Seen::Done } = sent.what else { continue };
                let gone = received.get(&message).is_some_and(|received| received.begin < entry.end);
                ensure!(at != channel || gone, "message", "{entry:?} before {message} was received");
            }
        }
        if streams {
            let last = closes.iter().map(|close| close.begin).max().unwrap_or(NEVER);
            for (&node, &at) in &self.seen {
                let known = at < last && self.is_in(entry.scope, node, true, true);
                ensure!(
                    !known,
                    "no disconnect",
                    "{entry:?}: scope {node} was cancelled at {at}, and the last end went at {last}"
                );
            }
        }
        Ok(())
    }

    /// No channel holds more than it has room for.
    fn rooms(&self, received: &BTreeMap<u64, &Entry>) -> Verdict {
        for entry in self.entries {
            let What::Channel { channel, capacity: Some(capacity) } = entry.what else { continue };
            let sent = |entry: &&Entry| matches!(entry.what, What::Sent { channel: at, seen: Seen::Done, .. } if at == channel);
            for last in self.entries.iter().filter(sent) {
                let inside = self.entries.iter().filter(sent).filter(|sent| {
                    let What::Sent { message, .. } = sent.what else { return false };
                    sent.end <= last.end && received.get(&message).is_none_or(|received| received.begin > last.end)
                });
                let inside = inside.count();
                // Receivers that go drop what is inside.
                let closed = self.entries.iter().any(|close| {
                    close.begin < last.end && matches!(close.what, What::Closed { channel: at, sender: false } if at == channel)
                });
                ensure!(inside <= capacity || closed, "message", "{inside} are in channel {channel} after {last:?}");
            }
        }
        Ok(())
    }

    fn timeouts(&self) -> Verdict {
        for entry in self.entries {
            let What::Timeout { past, inner, outer, none, .. } = entry.what else { continue };
            match inner {
                Seen::Done => ensure!(outer == Seen::Done && !none, "timeout", "{entry:?} lost a value"),
                Seen::Cut(cut) => {
                    let known = self.origins.contains_key(&cut.origin);
                    let own = past && cut.cause == Cause::Deadline && !known;
                    ensure!(!none || own, "timeout", "{entry:?} is None for a cancel that is not its own");
                    ensure!(none || outer == inner, "timeout", "{entry:?} changed the cancel");
                }
                _ => ensure!(!none && outer == inner, "timeout", "{entry:?} lost an error"),
            }
        }
        Ok(())
    }

    /// Sweeps over the time, for each limited group.
    fn limits(&self) -> Verdict {
        for (&group, scope) in &self.scopes {
            let Kind::Group { limit: Some(limit), .. } = scope.kind else { continue };
            let of_group =
                |node: &Node| self.tasks.get(node).is_some_and(|task| task.group == group && task.role != Role::Daemon);
            // More or fewer at this time, or one more for ever.
            let mut changes: Vec<(u64, i64, i64)> = Vec::new();
            for (node, task) in self.tasks.iter().filter(|(node, _)| of_group(node)) {
                let Some((begin, end, _)) = task.ran else { continue };
                changes.extend([(begin, 1, 0), (end, -1, 0)]);
                for wait in self.entries.iter().filter(|entry| entry.task == *node) {
                    // A wait ends with a permit of its own if it was not ended by the end of a running task.
                    let exceeds = match wait.what {
                        What::Waited { group: of, .. } | What::WaitedForAny { group: of, .. } if of != group => {
                            changes.push((0, 0, 1));
                            continue;
                        }
                        What::Waited { task, seen, .. } => {
                            let other = self.tasks.get(&task);
                            let ran = other.is_some_and(|task| task.ran.is_some() && task.role != Role::Daemon);
                            let waits = self.entries.iter().filter(|other| {
                                matches!(other.what, What::Waited { task: of, .. } if of == task) && other.task != *node
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
            // Where tasks of an inner group wait for this one, permits are given away by others too.
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
