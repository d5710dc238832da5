//! The scopes that stall, from the first look that finds them to their end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::laggards::WindDown;
use super::pace::{SHORTEST_PAUSE, pause};
use super::seen::Seen;
use super::view::StallView;
use crate::cancel::{Grace, KeptCanceller};
use crate::facade::{Mutex, global};
use crate::stall::StallPolicy;

/// A look that comes later than this has found the process stopped. Shorter pauses happen on any
/// machine that has more to do than processors.
const LATE: Duration = Duration::from_secs(1);

global! {
    /// The scopes that stall, by the numbers of their tokens.
    pub(super) static WATCH: Mutex<Watch> = Mutex::new(Watch::default());
}

#[derive(Default)]
pub(super) struct Watch {
    followed: BTreeMap<u64, Followed>,
}

/// A scope that was cancelled, or is past its deadline.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    /// When it was cancelled, or should have been.
    pub(super) due_since: Instant,
    /// False once its deadline was moved into the future, or taken away. It is kept for the report
    /// of its end, and neither examined nor reported until it stalls again.
    is_stalling: bool,
    /// Its `stall_after`.
    pub(super) after: Duration,
    pub(super) policy: StallPolicy,
    /// When it is to be examined next; none if that instant cannot be expressed.
    next: Option<Instant>,
    /// A job of the reporter is about it.
    is_examined: bool,
    /// How many blocks have named it.
    pub(super) reports: u32,
    /// The outermost scope of the block that named it last. That scope says when it has ended.
    head: u64,
    /// Until when regions in it that wind down were spared, as far as it was seen.
    spared: Option<Instant>,
    /// The callbacks and hooks that kept the cancelling thread.
    pub(super) kept: Vec<KeptCanceller>,
}

impl Followed {
    pub(super) fn new(number: u64, view: &StallView, due_since: Instant) -> Self {
        Followed {
            due_since,
            is_stalling: true,
            after: view.after,
            policy: view.policy,
            next: due_since.checked_add(view.after),
            is_examined: false,
            reports: 0,
            head: number,
            spared: None,
            kept: Vec::new(),
        }
    }

    /// Takes over what can change while a scope stalls.
    fn update(&mut self, view: StallView, now: Instant) {
        self.kept = view.kept;
        match view.grace {
            Grace::Over => {}
            Grace::Until(until) if until <= now => self.spared = Some(until),
            Grace::Until(_) | Grace::Endless => self.spared = Some(now),
        }
    }

    /// Whether it is past its delay, or was reported.
    pub(super) fn stalls(&self, now: Instant) -> bool {
        let is_past = now.saturating_duration_since(self.due_since) >= self.after;
        self.is_stalling && (self.reports != 0 || is_past)
    }

    /// Begins again, with a deadline that has passed after it was moved.
    fn stall_again(&mut self, since: Instant) {
        self.due_since = since;
        self.is_stalling = true;
        self.next = since.checked_add(self.after);
    }

    /// Returns whether code that winds down counts as a laggard at `now`. It is spared until the
    /// grace has ended, and as long after it as other code is spared after the cancel.
    pub(super) fn wind_down(&self, now: Instant) -> WindDown {
        match self.spared {
            Some(until) if now.saturating_duration_since(until) < self.after => WindDown::IsSpared,
            _ => WindDown::Counts,
        }
    }

    /// The delay before the next block: twice the time that went before the last.
    fn interval(&self) -> Duration {
        // Each pause is as long as all before it: a stall of an hour has ten reports.
        let doubled = 1_u32
            .checked_shl(self.reports.saturating_sub(1))
            .unwrap_or(u32::MAX);
        self.after.max(SHORTEST_PAUSE).saturating_mul(doubled)
    }

    /// The pause before the next look at this scope.
    fn pause(&self) -> Duration {
        pause(self.after)
    }
}

impl Watch {
    /// Takes in what a look has found, which was asked for the instant `asked_for` and takes place
    /// `now`. Returns the scopes to examine, and when to look again.
    pub(super) fn look(
        &mut self,
        mut seen: Seen,
        asked_for: Option<Instant>,
        now: Instant,
    ) -> (Vec<u64>, Option<Instant>) {
        let stalling = std::mem::take(&mut seen.stalling);
        self.follow(stalling, &seen, now);

        // Invariant 3: the clock goes on while the machine sleeps, on some systems, and while the
        // process is stopped. No task could end then.
        if asked_for.is_some_and(|at| now.saturating_duration_since(at) > LATE) {
            self.start_again(now);
        }

        let due = self.take_due(now);
        (due, self.next_look(&seen, now))
    }

    /// Follows the scopes that stall, and no others.
    fn follow(&mut self, stalling: Vec<(u64, Instant, StallView)>, seen: &Seen, now: Instant) {
        if !seen.is_busy {
            // The others have ended, or a deadline was moved or taken away.
            let still: BTreeSet<_> = stalling.iter().map(|(number, ..)| *number).collect();
            self.followed.retain(|number, scope| {
                scope.is_stalling &= still.contains(number);
                scope.reports != 0 || scope.is_stalling
            });
        }

        for (number, since, view) in stalling {
            // A scope that is followed already keeps its schedule.
            let scope = self
                .followed
                .entry(number)
                .or_insert_with(|| Followed::new(number, &view, since));
            if !scope.is_stalling {
                scope.stall_again(since);
            }
            scope.update(view, now);
        }
    }

    /// Starts all delays again: the process was stopped, and the tasks had no time (invariant 3).
    fn start_again(&mut self, now: Instant) {
        for scope in self.followed.values_mut() {
            scope.next = now.checked_add(scope.interval());
        }
    }

    /// Takes the scopes that are to be examined.
    fn take_due(&mut self, now: Instant) -> Vec<u64> {
        // A scope is in one job at a time: the reporter may be slow.
        let mut due = Vec::new();
        for (number, scope) in &mut self.followed {
            let is_due = scope.is_stalling && scope.next.is_some_and(|next| next <= now);
            if is_due && !scope.is_examined {
                scope.is_examined = true;
                due.push(*number);
            }
        }
        due
    }

    fn next_look(&self, seen: &Seen, now: Instant) -> Option<Instant> {
        // Soon enough for the shortest delay; a part that was busy is looked at again at once.
        let stalling = self.followed.values().filter(|scope| scope.is_stalling);
        let pauses = stalling.map(Followed::pause);
        let busy = seen.is_busy.then_some(SHORTEST_PAUSE);
        let pause = pauses.chain(busy).min();
        let soon = pause.and_then(|pause| now.checked_add(pause));
        soon.into_iter().chain(seen.upcoming).min()
    }
}

/// Returns the scopes that are followed.
pub(super) fn followed() -> BTreeMap<u64, Followed> {
    WATCH.lock().followed.clone()
}

/// Has scopes examined again after `delay`: there was nothing to report.
pub(super) fn put_off(numbers: &[u64], delay: impl Fn(&Followed) -> Duration) {
    // A scope that has ended meanwhile is no longer followed.
    let now = Instant::now();
    let mut watch = WATCH.lock();
    for number in numbers {
        if let Some(scope) = watch.followed.get_mut(number) {
            scope.is_examined = false;
            scope.next = now.checked_add(delay(scope).max(SHORTEST_PAUSE));
        }
    }
}

/// Returns the most blocks that there have been about one of these scopes.
pub(super) fn most_reports(of: &[u64]) -> u32 {
    let watch = WATCH.lock();
    let scopes = of.iter().filter_map(|number| watch.followed.get(number));
    scopes.map(|scope| scope.reports).max().unwrap_or(0)
}

/// Claims the scopes with these numbers for the block `blocks` about the scope `head`. Returns
/// those that have not ended. `claim` counts one of them as reported (invariant 2).
pub(super) fn claim_all(
    numbers: &[u64],
    head: u64,
    blocks: u32,
    claim: impl Fn(u64) -> bool,
) -> Vec<u64> {
    claim_in(&WATCH, numbers, head, blocks, claim)
}

fn claim_in(
    watch: &Mutex<Watch>,
    numbers: &[u64],
    head: u64,
    blocks: u32,
    claim: impl Fn(u64) -> bool,
) -> Vec<u64> {
    // Before the claim: a scope that ends after its claim reports at its end the number that is
    // noted here.
    let mut fresh = Vec::new();
    let mut locked = watch.lock();
    for number in numbers {
        if let Some(scope) = locked.followed.get_mut(number) {
            if scope.reports == 0 {
                (scope.reports, scope.head) = (blocks, head);
                fresh.push(*number);
            }
        }
    }
    drop(locked);

    let (claimed, ended): (Vec<_>, Vec<_>) = numbers.iter().partition(|number| claim(**number));

    // A scope that has ended without a claim does not take itself out: the next look does. If it
    // only could not be claimed in time, it is examined again.
    let now = Instant::now();
    let mut locked = watch.lock();
    for number in ended {
        if let Some(scope) = locked.followed.get_mut(&number) {
            if fresh.contains(&number) {
                (scope.reports, scope.head) = (0, number);
            }
            scope.is_examined = false;
            scope.next = now.checked_add(scope.pause());
        }
    }
    claimed
}

/// Notes that the block `blocks` about the scope `head` has named the scopes in `members`.
pub(super) fn note_block(members: &[u64], head: u64, blocks: u32) {
    let now = Instant::now();
    let mut watch = WATCH.lock();
    let followed = &mut watch.followed;

    // All have one schedule from now on, so that they come in one block again.
    let mut next = None;
    for number in members {
        if let Some(scope) = followed.get_mut(number) {
            scope.reports = blocks;
            scope.head = head;
            scope.is_examined = false;
            let own = now.checked_add(scope.interval());
            next = next.max(own);
        }
    }

    for number in members {
        if let Some(scope) = followed.get_mut(number) {
            scope.next = next;
        }
    }
}

/// Notes that the last block about `members` has said everything about the scopes in `due`, which
/// come with it from now on.
pub(super) fn join_block(due: &[u64], members: &[u64], head: u64) {
    let now = Instant::now();
    let mut watch = WATCH.lock();
    let followed = &mut watch.followed;
    let others = members.iter().filter(|number| !due.contains(number));
    let others = others.filter_map(|number| followed.get(number));
    let (next, reports) = others.fold((None, 1), |(next, reports), scope| {
        (
            scope.next.into_iter().chain(next).min(),
            scope.reports.max(reports),
        )
    });

    for number in members {
        if let Some(scope) = followed.get_mut(number) {
            scope.head = head;
            if due.contains(number) {
                scope.is_examined = false;
                scope.reports = reports;

                // Without others they have all ended meanwhile.
                scope.next = next.or_else(|| now.checked_add(scope.interval()));
            }
        }
    }
}

/// Takes out a scope that has ended. Returns it, with the number of the scope that says so.
pub(super) fn take_out(number: u64) -> Option<(Followed, u64)> {
    let followed = WATCH.lock().followed.remove(&number)?;
    let head = followed.head;
    Some((followed, head))
}

#[cfg(test)]
mod tests;
