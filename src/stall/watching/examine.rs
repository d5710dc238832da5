//! The reporter's work: a snapshot of the scopes that are due, and a report for each nest of them.

use std::collections::BTreeMap;
use std::time::Instant;

use super::abort::abort_after;
use super::advice::ForeignCalls;
use super::followed::{self, Followed};
use super::laggards::{self, FoundLaggard, Groups};
use super::report::{Laggard, StallReport};
use super::view::{ReportClaim, SpanView};
use super::{debugger, output};
use crate::cancel::WorstLatencies;
use crate::facade;
use crate::lanes;
use crate::snapshot::{GroupSnapshot, Snapshot, snapshot};
use crate::stall::StallPolicy;
use crate::trace::GroupSpan;

/// How often a scope is looked for while threads write their lists.
const TRIES: usize = 1000;

/// Examines the scopes with these numbers, and reports those that stall.
pub(super) fn examine(due: &[u64]) {
    // Asked for now, since a debugger may come and go.
    if debugger::is_attached() {
        return followed::put_off(due, |scope| scope.after);
    }

    let snapshot = snapshot();
    let examined = Examined {
        groups: Groups::of(&snapshot),
        snapshot: &snapshot,
        followed: followed::followed(),
        now: Instant::now(),
    };

    // Scopes inside of each other are examined as one.
    let mut nests: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut unseen = Vec::new();
    for number in due {
        match examined.head_of(*number) {
            Some(head) => nests.entry(head).or_default().push(*number),
            None => unseen.push(*number),
        }
    }

    // Its list was being written, or it has just ended, which the next look finds.
    followed::put_off(&unseen, |scope| scope.after / 4);

    for (head, due) in nests {
        examined.nest(head, &due);
    }
}

struct Examined<'a> {
    snapshot: &'a Snapshot,
    groups: Groups<'a>,
    followed: BTreeMap<u64, Followed>,
    now: Instant,
}

impl<'a> Examined<'a> {
    /// Whether the scope with this number is past its delay.
    fn stalls(&self, number: u64) -> bool {
        let scope = self.followed.get(&number);
        scope.is_some_and(|scope| scope.stalls(self.now))
    }

    /// Returns the outermost scope that stalls among the one with this number and those around it.
    fn head_of(&self, number: u64) -> Option<u64> {
        // The outermost of the scopes around that stall.
        let around = self.groups.and_around(number);
        around.filter(|around| self.stalls(*around)).last()
    }

    /// Reports the scope `head` with the scopes inside of it that stall, `due` among them.
    fn nest(&self, head: u64, due: &[u64]) {
        let (Some(root), Some(scope)) = (self.groups.get(head), self.followed.get(&head)) else {
            return followed::put_off(due, |scope| scope.after / 4);
        };

        let found = laggards::find(root, self.snapshot, scope.wind_down(self.now));
        if found.is_empty() {
            // All that is left winds down, or has just ended.
            return followed::put_off(due, |scope| scope.after / 2);
        }

        // All scopes of the nest are in its block, those that are not due yet as well.
        let stalling = self.followed.keys().copied().filter(|number| {
            self.stalls(*number) && self.groups.and_around(*number).any(|around| around == head)
        });
        let members: Vec<_> = stalling.collect();

        // Invariant 2: a scope that has ended meanwhile is not reported.
        let before = followed::most_reports(&members);
        if !self.says_something_new(&found, due) {
            let claimed = followed::claim_all(due, head, before.max(1), claim);
            return followed::join_block(&claimed, &members, head);
        }

        // The head first: without it there is no block, and the others are not counted.
        let count = before + 1;
        if followed::claim_all(&[head], head, count, claim).is_empty() {
            return followed::put_off(due, |scope| scope.after / 4);
        }

        let others: Vec<_> = members.into_iter().filter(|other| *other != head).collect();
        let mut claimed = followed::claim_all(&others, head, count, claim);
        claimed.insert(0, head);
        followed::note_block(&claimed, head, count);
        let report = self.report(root, scope, &claimed, &found, count);
        let span = span_of(head);
        let send = || output::send(&report, &span);

        // After the report, so that it is the last that the process says.
        let claimed = claimed.iter();
        let mut claimed = claimed.filter_map(|number| self.followed.get(number));
        if claimed.any(|scope| scope.policy == StallPolicy::Abort) {
            abort_after(&report, send);
        }
        send();
    }

    /// Whether a block is due: the next about scopes that were reported before, or one that names
    /// tasks that none has named.
    fn says_something_new(&self, found: &[FoundLaggard<'_>], due: &[u64]) -> bool {
        // A scope that is due may have ended since.
        let was_reported = |scope: &Followed| scope.reports != 0;
        let is_reported = |number: &u64| self.followed.get(number).is_some_and(was_reported);
        let is_new = |found: &FoundLaggard<'_>| !found.within.iter().any(is_reported);
        let mut due = due.iter().filter_map(|number| self.followed.get(number));
        due.any(|scope| was_reported(scope) || scope.policy == StallPolicy::Abort)
            || found.iter().any(is_new)
    }

    fn report(
        &self,
        root: &GroupSnapshot,
        scope: &Followed,
        members: &[u64],
        found: &[FoundLaggard<'_>],
        count: u32,
    ) -> StallReport {
        // Where the kernel does not tell what threads do, the snapshot has a note that says so.
        let foreign = if self.snapshot.notes().is_empty() {
            ForeignCalls::Shown
        } else {
            ForeignCalls::Unknown
        };
        let members = members
            .iter()
            .filter_map(|number| self.followed.get(number));
        let kept = members.flat_map(|scope| &scope.kept);
        StallReport {
            id: root.id(),
            name: root.name().map(str::to_owned),
            location: root.location(),
            cancelled: root.cancelled().cloned(),
            since: self.now.saturating_duration_since(scope.due_since),
            count,
            has_ended: false,
            laggards: found
                .iter()
                .map(|found| Laggard::new(found, foreign))
                .collect(),
            group: Some(root.clone()),
            kept: kept.copied().collect(),
            worst_latencies: WorstLatencies::default(),
        }
    }
}

/// Returns the span of the scope with this number. It is empty if the scope has ended, or its
/// thread is opening or ending a scope inside: the event of the report has its name and place then.
fn span_of(number: u64) -> GroupSpan {
    let mut view = SpanView::default();
    for lane in lanes::all() {
        let _ = lane.with_groups(|groups| {
            if let Some(group) = groups.get(number) {
                group.describe(&mut view);
            }
        });
    }
    view.0
}

/// Counts the scope with this number as reported. Returns false if it has ended.
fn claim(number: u64) -> bool {
    for _ in 0..TRIES {
        // The thread of the scope may be opening or ending a scope inside.
        let mut is_busy = false;
        for lane in lanes::all() {
            let found = lane.with_groups(|groups| {
                let mut claim = ReportClaim::default();
                groups.get(number)?.describe(&mut claim);
                Some(claim.is_made)
            });
            match found {
                Ok(Some(is_made)) => return is_made,
                Ok(None) => {}
                Err(lanes::Busy) => is_busy = true,
            }
        }
        if !is_busy {
            return false;
        }
        facade::yield_now();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize as PlainUsize;
    use std::sync::atomic::Ordering::SeqCst;

    use super::*;
    use crate::TaskGroup;
    use crate::stall::on_stall;
    use crate::stall::watching::view::StallView;

    const OUTER: &str = "the outer of an examination";

    #[test]
    fn tasks_that_were_named_for_an_inner_scope_are_no_news_of_the_outer() {
        let blocks = Arc::new(PlainUsize::new(0));
        let counts = blocks.clone();
        let _hook = on_stall(move |report| {
            if report.name() == Some(OUTER) {
                counts.fetch_add(1, SeqCst);
            }
        });

        // The body of the inner scope keeps both.
        let outer = TaskGroup::builder().name(OUTER).scope(|outer| {
            TaskGroup::scope(|inner| {
                let snapshot = snapshot();
                let (outer, inner) = (outer.token().id().0, inner.token().id().0);
                let now = Instant::now();
                let scope = |number, reports| {
                    let view = StallView::default();
                    let mut scope = Followed::new(number, &view, now);
                    scope.reports = reports;
                    (number, scope)
                };
                let mut examined = Examined {
                    groups: Groups::of(&snapshot),
                    snapshot: &snapshot,
                    followed: BTreeMap::from([scope(outer, 0), scope(inner, 1)]),
                    now,
                };
                examined.nest(outer, &[outer]);
                assert_eq!(blocks.load(SeqCst), 0);

                // A scope that none was about has its block.
                examined.followed.extend([scope(inner, 0)]);
                examined.nest(outer, &[outer]);
                assert_eq!(blocks.load(SeqCst), 1);
                Ok(())
            })?;
            Ok::<_, anyhow::Error>(())
        });
        outer.expect("no task fails");
    }
}
