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
//!   around is not a failure
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
mod history;
mod limits;
mod locks;
mod messages;
mod reports;
mod scopes;
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
