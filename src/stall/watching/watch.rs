//! The watcher: it looks at the open groups from the timer's thread, and follows those that stall.

use std::sync::Arc;
use std::sync::atomic::AtomicU64 as PlainU64;
use std::time::{Duration, Instant};

use super::followed::{WATCH, take_out};
use super::pace::pause;
use super::report::StallReport;
use super::reporter::{self, ReporterJob};
use super::seen::Seen;
use super::view::EndedScope;
use crate::cancel::{Alarm, NEVER, TokenId, arm, decode, encode};
use crate::facade::per_process;
use crate::stall::schedule::Schedule;

per_process! {
    static SCHEDULE: Schedule = Schedule::new();
}

/// The longest time until the next look.
const FURTHEST: Duration = Duration::from_secs(10);

/// Asks for a look at a scope that was cancelled at `due_since`, or has that deadline. To be called
/// once the scope is open and the cancel or the deadline can be seen. Holds no lock.
pub(crate) fn ask_after(due_since: Instant, after: Duration) {
    let at = due_since
        .checked_add(after)
        .and_then(|_| due_since.checked_add(pause(after)));

    // An instant that cannot be expressed does not come.
    let Some(at) = at else {
        return;
    };
    let at = not_too_far(at);
    if SCHEDULE.ask(encode(at)) {
        arm(tick(), at);
    }
}

/// Returns an instant for the next look, at `at` or before. The scope of a far deadline is mostly
/// gone by then, and says nothing as it ends: a look that finds no such scope lets the thread go.
fn not_too_far(at: Instant) -> Instant {
    let soon = Instant::now().checked_add(FURTHEST);
    soon.map_or(at, |soon| at.min(soon))
}

/// The alarm of the watcher.
struct Tick {
    number: u64,
    armed: PlainU64,
}

fn tick() -> &'static Arc<Tick> {
    per_process! {
        static TICK: Arc<Tick> = Arc::new(Tick {
            number: TokenId::next().0,
            armed: PlainU64::new(NEVER),
        });
    }
    &TICK
}

impl Alarm for Tick {
    fn number(&self) -> u64 {
        self.number
    }

    fn armed(&self) -> &PlainU64 {
        &self.armed
    }

    fn ring(self: Arc<Self>) -> Option<Instant> {
        let next = look().map(not_too_far);
        if let Some(at) = next {
            SCHEDULE.ask(encode(at));
        }
        next
    }
}

/// Looks at all open groups. Returns when to look again; none if no scope stalls.
fn look() -> Option<Instant> {
    // First: whatever is cancelled from now on asks for a look of its own (invariant 1).
    let asked_for = decode(SCHEDULE.begin());
    let now = Instant::now();
    let seen = Seen::now(now);
    let (due, next) = WATCH.lock().look(seen, asked_for, now);

    // The locks of the reporter are taken with no other held.
    if !due.is_empty() {
        reporter::submit(ReporterJob::Examine(due));
    }
    reporter::relieve();
    next
}

/// Reports that a scope has ended, once. Returns how long it took from its cancel or its deadline.
pub(crate) fn ended(scope: EndedScope) -> Duration {
    let Some((followed, head)) = take_out(scope.number) else {
        return Duration::ZERO;
    };

    let took = followed.due_since.elapsed();

    // The block was about the outermost scope, and so is its end.
    if head == scope.number {
        let report = StallReport::of_end(scope, took, followed.reports);
        reporter::submit(ReporterJob::Ended(Box::new(report)));
    }
    took
}
