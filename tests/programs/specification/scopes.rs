//! Which scopes are around each other, and when a scope was cancelled.

use super::*;

impl History<'_> {
    /// Whether `around` is `scope` or a scope that it is in. Scopes that are hidden do not
    /// count, if `visible`.
    pub(super) fn is_in(&self, scope: Node, around: Node, visible: bool, gracefully: bool) -> bool {
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

    pub(super) fn acts_on(&self, scope: Node) -> impl Iterator<Item = &Act> {
        self.acts
            .iter()
            .filter(move |act| self.is_in(scope, act.target, true, act.gracefully))
    }

    /// Whether the scope may have been cancelled before this time.
    pub(super) fn may(&self, scope: Node, before: u64) -> bool {
        self.acts_on(scope).any(|act| act.begin < before)
    }

    /// From when on the scope must be cancelled.
    pub(super) fn must(&self, scope: Node) -> u64 {
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
    pub(super) fn is_own(&self, scope: Node, outcome: Outcome) -> Known {
        let Outcome::Cut { cut, own, .. } = outcome else {
            return Known::No;
        };
        if own == Some(cut.origin) {
            return Known::Yes;
        }
        self.is_around(scope, cut)
    }

    pub(super) fn is_around(&self, scope: Node, cut: Cut) -> Known {
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
}
