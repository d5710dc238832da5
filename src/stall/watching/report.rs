//! The report of a stalled scope.

use std::panic::Location;
use std::time::Duration;

use super::advice::{self, ForeignCalls, LaggardState};
use super::laggards::FoundLaggard;
use super::view::EndedScope;
use crate::cancel::{Cancelled, KeptCanceller, TokenId, WorstLatencies};
use crate::snapshot::{GroupSnapshot, Inside, TaskSnapshot};

/// The report of a scope that was cancelled, or is past its deadline, and has not ended since. A
/// hook of [`on_stall`](crate::on_stall) gets it.
///
/// Its `Display` is the block of text that is written to stderr where there is no hook.
///
/// Scopes that are nested in each other and stall over the same tasks have one report, of the
/// outermost of them. The report comes again after twice and four times the delay, and so on, and
/// once more when the scope [has ended](Self::has_ended).
///
/// ```
/// let hook = taskgroup::on_stall(|report| {
///     if report.has_ended() {
///         println!("{} ended after {:?}", report.name().unwrap_or("a scope"), report.since());
///     }
///     for laggard in report.laggards() {
///         println!("{laggard}");
///     }
/// });
/// # drop(hook);
/// ```
#[derive(Debug)]
pub struct StallReport {
    pub(super) id: TokenId,
    pub(super) name: Option<String>,
    pub(super) location: &'static Location<'static>,
    pub(super) cancelled: Option<Cancelled>,
    pub(super) since: Duration,
    pub(super) count: u32,
    pub(super) has_ended: bool,
    pub(super) laggards: Vec<Laggard>,
    pub(super) group: Option<GroupSnapshot>,
    pub(super) kept: Vec<KeptCanceller>,
    pub(super) worst_latencies: WorstLatencies,
}

impl StallReport {
    /// Makes the last report, of a scope that has ended after `took`.
    pub(super) fn of_end(scope: EndedScope, took: Duration, count: u32) -> Self {
        StallReport {
            id: TokenId(scope.number),
            name: scope.name.map(Into::into),
            location: scope.location,
            cancelled: scope.cancelled,
            since: took,
            count,
            has_ended: true,
            laggards: Vec::new(),
            group: None,
            kept: Vec::new(),
            worst_latencies: scope.worst_latencies,
        }
    }

    /// Returns the identity of the group's token.
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// Returns the name given with [`Builder::name`](crate::Builder::name).
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the call that opened the scope.
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }

    /// Returns the cancel with its cause. `None` if the deadline of the scope has passed, and no
    /// thread of it has noticed.
    pub fn cancelled(&self) -> Option<&Cancelled> {
        self.cancelled.as_ref()
    }

    /// Returns the time since the cancel, or since the deadline: until now, or until the scope
    /// ended.
    pub fn since(&self) -> Duration {
        self.since
    }

    /// Returns how many reports of tasks there have been about this stall, with this one: 1 for the
    /// first.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Returns whether the scope has ended at last. Such a report comes once, unless the process
    /// ends before, and has no laggards.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Returns the tasks that keep the scope from ending, the innermost first. Tasks that wait for
    /// others of them are not listed.
    pub fn laggards(&self) -> &[Laggard] {
        &self.laggards
    }

    /// Returns the whole group as it was then, with the groups inside. `None` once it has ended.
    pub fn group(&self) -> Option<&GroupSnapshot> {
        self.group.as_ref()
    }

    /// Returns the tasks of the scope that took longest to see the cancel, and to end, once the
    /// scope [has ended](Self::has_ended). Before that there are none.
    pub fn worst_latencies(&self) -> &WorstLatencies {
        &self.worst_latencies
    }

    /// Returns the callbacks and hooks that kept the cancelling thread for more than 10 ms, by the
    /// calls that registered them, and how long each ran.
    pub fn slow_callbacks(
        &self,
    ) -> impl Iterator<Item = (&'static Location<'static>, Duration)> + '_ {
        self.kept.iter().map(|kept| (kept.location, kept.ran))
    }
}

/// A task that keeps a stalled scope from ending.
///
/// Its `Display` is one line: the task, its thread, what it does, and what would end it.
///
/// ```
/// use taskgroup::Laggard;
///
/// /// Where the task was spawned, and what to do about it.
/// fn hint(laggard: &Laggard) -> String {
///     format!("{}: {}", laggard.task().location(), laggard.advice())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Laggard {
    pub(super) task: TaskSnapshot,
    pub(super) group: Option<String>,
    pub(super) group_location: &'static Location<'static>,
    pub(super) region: Option<Inside>,
    advice: String,
}

impl Laggard {
    pub(super) fn new(found: &FoundLaggard<'_>, foreign: ForeignCalls) -> Self {
        let task = found.task;
        let doing = LaggardState::of(task, found.region, foreign);
        Laggard {
            task: task.clone(),
            group: found.group.name().map(str::to_owned),
            group_location: found.group.location(),
            region: found.region,
            advice: advice::advice(&doing),
        }
    }

    /// Returns the task, or the body of a scope, as it was then.
    pub fn task(&self) -> &TaskSnapshot {
        &self.task
    }

    /// Returns the name of the group that it belongs to.
    pub fn group_name(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// Returns the innermost region that changes what a cancel does to it: a shield, a region that
    /// winds down or has a hook, a callback that it runs.
    pub fn region(&self) -> Option<Inside> {
        self.region
    }

    /// Returns what it does, and what would end it, in words.
    pub fn advice(&self) -> &str {
        &self.advice
    }
}
