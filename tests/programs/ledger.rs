//! The ledger: all steps of a run of a program, each with its time.
//!
//! Every entry has a beginning and an end on one clock, which counts. If one entry ends before
//! another begins, the first happened before the second; otherwise either may have been first.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::taskgroup::{CancelCause, Cancelled, TaskStatus, TokenId};

/// Whether the clock orders the events that it counts. In a model a thread may see an old value,
/// whatever the clock says.
pub const ORDERS: bool = !cfg!(taskgroup_models);

/// A scope, or a task. The scope of a task is the one of its own token.
pub type Node = u64;

/// The scope that has no parent: the thread that runs the program.
pub const OUTSIDE: Node = 0;

/// A step of a run: the task that did it, in which scope, and when.
#[derive(Debug, Clone)]
pub struct Entry {
    pub task: Node,
    pub scope: Node,
    pub begin: u64,
    pub end: u64,
    pub what: What,
}

/// The kind of scope that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Token,
    Group {
        limit: Option<usize>,
        fatal: Fatal,
        past: bool,
    },
    Task,
    Plain,
    /// A deadline that has passed.
    Past,
    /// No cancel of a parent comes in.
    Shield,
    /// No graceful cancel of a parent comes in.
    Winding,
}

/// Which failures of its tasks cancel a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fatal {
    All,
    Panics,
    None,
}

/// A scope that one call of the crate opens and closes, and what its result says of its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    /// A value needs those of all tasks.
    All,
    /// A value comes from one task, and cancels the others.
    First,
    /// A value says that nothing has failed.
    Scope,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Plain,
    Isolated,
    Daemon,
    Started,
    /// An item of a map, which may never come to be spawned.
    Item,
}

/// A cancel, as its `Cancelled` tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    pub origin: TokenId,
    pub cause: Cause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The call of `cancel_because` that began then.
    Act(u64),
    /// A call of `cancel`, which says nothing of itself.
    Unnamed,
    Fault(u64),
    BodyPanicked,
    Deadline,
    Finished,
    /// A semaphore was closed; no scope was cancelled.
    Closed,
    Other,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Done,
    Cut(Cut),
    /// The other side has gone, and ended well as far as the channel knows.
    Disconnected,
    /// The other side has gone, and an end of it not well.
    Broken,
    /// The semaphore was closed.
    Closed,
    /// Full, empty, or out of time.
    NotNow,
}

impl Seen {
    /// The cancel of a scope, or the close of a semaphore.
    pub fn cut(cut: Cut) -> Seen {
        if cut.cause == Cause::Closed {
            Seen::Closed
        } else {
            Seen::Cut(cut)
        }
    }
}

/// How a closure ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Value,
    /// It returned an error that holds no cancel.
    Failed(u64),
    /// It returned an error, known by the fault, that holds a cancel. The task's own token had that
    /// identity, if it was asked.
    Cut {
        fault: u64,
        cut: Cut,
        own: Option<TokenId>,
    },
    Panicked(u64),
}

/// One failure of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    pub fault: Option<u64>,
    pub panic: bool,
    pub after_cancel: bool,
}

#[derive(Debug, Clone)]
pub enum What {
    Opened {
        kind: Kind,
        parents: Vec<Node>,
        token: Option<TokenId>,
    },
    Cancel {
        target: Node,
        gracefully: bool,
    },
    /// A blocking point, and whether only a cancel can end it.
    Point {
        #[allow(dead_code, reason = "`Debug` shows it")]
        name: &'static str,
        seen: Seen,
        forever: bool,
    },
    /// A group that one call opens, runs and closes.
    Whole {
        group: Node,
        whole: Whole,
    },
    /// The reason, where `try_spawn` said no.
    Spawned {
        task: Node,
        group: Node,
        role: Role,
        refused: Option<Seen>,
    },
    /// The closure of the entry's task has run.
    Ran {
        outcome: Outcome,
    },
    Waited {
        task: Node,
        group: Node,
        seen: Seen,
        status: Option<TaskStatus>,
    },
    /// A wait for several tasks of a group, which the end of `task` ended; a task of a map is not
    /// known.
    WaitedForAny {
        group: Node,
        task: Option<Node>,
        seen: Seen,
    },
    Started {
        task: Node,
        group: Node,
        seen: Seen,
        ready: bool,
        fault: Option<u64>,
    },
    /// The body of a group has returned.
    Body {
        group: Node,
        outcome: Outcome,
    },
    /// The scope returned a value.
    Value {
        group: Node,
    },
    Panic {
        group: Node,
    },
    Error {
        group: Node,
        failures: Vec<Reported>,
        primary: Option<usize>,
        cut: Option<Cut>,
    },
    Timeout {
        past: bool,
        inner: Seen,
        outer: Seen,
        none: bool,
    },
    Made {
        value: u64,
    },
    Dropped {
        value: u64,
    },
    /// A destructor, a callback or a release hook has panicked.
    Raised {
        fault: u64,
        contained: Option<Node>,
    },
    Registered {
        callback: u64,
        token: Node,
    },
    Unregistered {
        callback: u64,
    },
    Called {
        callback: u64,
    },
    OnFinished {
        callback: u64,
        task: Node,
    },
    Finished {
        callback: u64,
        status: TaskStatus,
    },
    Hooked {
        hook: u64,
    },
    HookRan {
        hook: u64,
    },
    /// A lock or permits were held, for as long as the entry says: `share` of the lock's `whole`.
    Held {
        lock: usize,
        share: usize,
        whole: usize,
    },
    /// A semaphore was asked for permits.
    Acquired {
        semaphore: usize,
        seen: Seen,
    },
    /// A semaphore was closed.
    Closing {
        semaphore: usize,
    },
    /// An event was set.
    Set {
        event: usize,
    },
    /// A wait for an event.
    Awaited {
        event: usize,
        seen: Seen,
    },
    /// Messages of the clock: when each was due, and when it was received.
    Ticks {
        period: Duration,
        ticks: Vec<(Duration, Duration)>,
    },
    Channel {
        channel: u64,
        capacity: Option<usize>,
    },
    Sent {
        channel: u64,
        message: u64,
        seen: Seen,
    },
    Received {
        channel: u64,
        message: Option<u64>,
        seen: Seen,
        blocking: bool,
    },
    /// A sender or a receiver has gone.
    Closed {
        channel: u64,
        sender: bool,
        /// The task that had it, and whether it was given `with` the task.
        by: Node,
        with: bool,
    },
    /// A handle has been used up, and the step does nothing.
    Skipped,
    Released {
        group: Node,
    },
}

/// The clock and the entries of one run.
#[derive(Debug, Default)]
pub struct Ledger {
    clock: AtomicU64,
    entries: Mutex<Vec<Entry>>,
}

impl Ledger {
    pub fn new() -> Arc<Ledger> {
        Arc::new(Ledger {
            clock: AtomicU64::new(1),
            entries: Mutex::default(),
        })
    }

    /// The time; no two calls give the same.
    pub fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    pub fn write(&self, entry: Entry) {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(entry);
    }

    pub fn extend(&self, entries: &mut Vec<Entry>) {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .append(entries);
    }

    /// An entry of something that takes no time, by code that belongs to no task.
    pub fn note(&self, what: What) {
        let now = self.now();
        self.write(Entry {
            task: OUTSIDE,
            scope: OUTSIDE,
            begin: now,
            end: now,
            what,
        });
    }

    /// An entry of something that has ended now, by code that belongs to no task.
    pub fn write_outside(&self, begin: u64, what: What) {
        self.write(Entry {
            task: OUTSIDE,
            scope: OUTSIDE,
            begin,
            end: self.now(),
            what,
        });
    }

    /// The entries in the order of their beginnings.
    pub fn read(&self) -> Vec<Entry> {
        let mut entries =
            std::mem::take(&mut *self.entries.lock().unwrap_or_else(PoisonError::into_inner));
        entries.sort_by_key(|entry| entry.begin);
        entries
    }
}

/// An error of a program. It also marks the errors of the crate that a task returns, so that a
/// report can be matched.
#[derive(Debug, Clone, Copy)]
pub struct Fault(pub u64);

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "fault {}", self.0)
    }
}

impl std::error::Error for Fault {}

/// The number at the end of a text of a program.
pub fn number_in(text: &str, word: &str) -> Option<u64> {
    text.strip_prefix(word)?.trim().parse().ok()
}

pub fn cut(cancelled: &Cancelled) -> Cut {
    let of_text = |text: &str| number_in(text, "fault ").map_or(Cause::Other, Cause::Fault);
    let cause = match cancelled.cause() {
        CancelCause::Requested {
            reason: Some(reason),
        } => number_in(reason, "act ").map_or(Cause::Other, Cause::Act),
        CancelCause::Requested { reason: None } => Cause::Unnamed,
        CancelCause::TaskFailed { error, .. } | CancelCause::BodyFailed { error, .. } => {
            of_text(error)
        }
        CancelCause::TaskPanicked { message, .. } => of_text(message),
        CancelCause::BodyPanicked => Cause::BodyPanicked,
        CancelCause::Deadline { .. } => Cause::Deadline,
        CancelCause::GroupFinished => Cause::Finished,
        CancelCause::SemaphoreClosed => Cause::Closed,
        _ => Cause::Other,
    };
    Cut {
        origin: cancelled.origin(),
        cause,
    }
}

/// Checks that everything that was made was dropped, each once, and gives the times of the drops.
pub fn balance(entries: &[Entry]) -> Result<BTreeMap<u64, u64>, String> {
    let mut drops = BTreeMap::new();
    for entry in entries {
        if let What::Dropped { value } = entry.what {
            if drops.insert(value, entry.begin).is_some() {
                return Err(format!("value {value} was dropped twice"));
            }
        }
    }
    for entry in entries {
        if let What::Made { value } = entry.what {
            if !drops.contains_key(&value) {
                return Err(format!("value {value} was never dropped"));
            }
        }
    }
    Ok(drops)
}
