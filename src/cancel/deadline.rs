//! Deadlines: absolute, inherited as the minimum, and enforced by whoever waits under them.

use std::panic::Location;
use std::sync::atomic::AtomicUsize as PlainUsize;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use crossbeam_utils::atomic::AtomicCell;

use super::node::Node;
use super::{CancelCause, Cancelled};
use crate::facade::{AtomicU64, Ordering};

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
pub(super) const NEVER: u64 = u64::MAX;

/// Nanoseconds since the first deadline of the process, so that a deadline is one word.
pub(super) fn encode(instant: Instant) -> u64 {
    let since = instant.saturating_duration_since(*EPOCH).as_nanos();
    u64::try_from(since).unwrap_or(NEVER - 1).min(NEVER - 1)
}

pub(super) fn decode(nanos: u64) -> Option<Instant> {
    if nanos == NEVER {
        None
    } else {
        EPOCH.checked_add(Duration::from_nanos(nanos))
    }
}

/// The deadline of one node. That it is new is published by the node's `TIMED` flag and by an
/// unpark.
#[derive(Debug)]
pub(super) struct Deadline {
    nanos: AtomicU64,
    location: AtomicCell<Option<&'static Location<'static>>>,
}

impl Deadline {
    pub(super) fn none() -> Self {
        Deadline {
            nanos: AtomicU64::new(NEVER),
            location: AtomicCell::new(None),
        }
    }

    fn set(&self, instant: Instant, location: &'static Location<'static>) {
        self.location.store(Some(location));
        // Release: whoever finds a deadline that was moved has not seen a flag or a lock that came
        // after it.
        self.nanos.store(encode(instant), Ordering::Release);
    }

    fn clear(&self) {
        // Relaxed: whoever finds none does nothing.
        self.nanos.store(NEVER, Ordering::Relaxed);
    }

    /// Sets it, if there is none or a later one. The caller holds the lock of the node.
    pub(super) fn set_earlier(&self, instant: Instant, location: &'static Location<'static>) {
        if self.get().is_none_or(|set| instant < set) {
            self.set(instant, location);
        }
    }

    fn get(&self) -> Option<Instant> {
        // Acquire pairs with the release in `set`.
        decode(self.nanos.load(Ordering::Acquire))
    }
}

/// What has come to its time in a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    Deadline,
    GraceEnd,
}

/// What hides the cancel of an outer scope for a while: when the time is up, the node becomes a
/// child of the outer one.
#[derive(Debug)]
pub(super) struct Shield {
    outer: Arc<Node>,
    until: Instant,
    /// `HIDING`, or `LIFTED` once the time is up, or the place in the list of the outer node. It
    /// orders nothing: a cancel that comes down through the outer node comes after the lifting, by
    /// the lock of that node.
    key: PlainUsize,
}

const HIDING: usize = usize::MAX;
const LIFTED: usize = usize::MAX - 1;

impl Shield {
    pub(super) fn new(outer: Arc<Node>, until: Instant) -> Self {
        Shield {
            outer,
            until,
            key: PlainUsize::new(HIDING),
        }
    }

    /// The outer node, once it is hidden no longer.
    pub(super) fn lifted(&self) -> Option<&Arc<Node>> {
        (self.key.load(Ordering::Relaxed) != HIDING).then_some(&self.outer)
    }

    pub(super) fn into_link(self) -> (Arc<Node>, usize) {
        let key = self.key.into_inner();
        (self.outer, if key >= LIFTED { usize::MAX } else { key })
    }

    fn lift(&self, node: &Arc<Node>) {
        if self
            .key
            .compare_exchange(HIDING, LIFTED, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
        {
            return;
        }
        if let Some(key) = self.outer.adopt(node) {
            self.key.store(key, Ordering::Relaxed);
        }
    }
}

impl Node {
    /// Sets, or moves, the deadline of this node.
    pub(crate) fn set_deadline(
        self: &Arc<Self>,
        instant: Instant,
        location: &'static Location<'static>,
    ) {
        self.deadline.set(instant, location);
        self.set_timed();
        self.expire();
    }

    /// Takes the deadline of this node away. Who sleeps until then, or watches the clock for it,
    /// looks again and finds none.
    pub(crate) fn clear_deadline(&self) {
        self.deadline.clear();
    }

    /// The earliest deadline of this node and all above it that it is not shielded from.
    pub(crate) fn effective_deadline(self: &Arc<Self>) -> Option<Instant> {
        if !self.is_timed() {
            return None;
        }
        let mut earliest: Option<Instant> = None;
        self.for_each_limit(
            |limit| earliest = Some(earliest.map_or(limit, |least| least.min(limit))),
            false,
        );
        earliest
    }

    /// When somebody has to look at this node again: its deadline, or the end of a shield,
    /// whichever comes first.
    pub(crate) fn next_limit(self: &Arc<Self>) -> Option<Instant> {
        if !self.is_timed() {
            return None;
        }
        let mut earliest: Option<Instant> = None;
        self.for_each_limit(
            |limit| earliest = Some(earliest.map_or(limit, |least| least.min(limit))),
            true,
        );
        earliest
    }

    fn for_each_limit(self: &Arc<Self>, mut visit: impl FnMut(Instant), to_act_on: bool) {
        for node in self.and_above() {
            if let Some(deadline) = node
                .deadline
                .get()
                .filter(|_| !(to_act_on && node.is_settled()))
            {
                visit(deadline);
            }
            if let Some(end) = node
                .end_of_grace()
                .filter(|_| !(to_act_on && node.is_flagged()))
            {
                visit(end);
            }
            if let Some(shield) = node
                .shield()
                .filter(|shield| to_act_on && shield.lifted().is_none())
            {
                visit(shield.until);
            }
        }
    }

    fn end_of_grace(&self) -> Option<Instant> {
        self.grace_end().and_then(Deadline::get)
    }

    /// Cancels what has passed its deadline, here and above, in the order of the deadlines, ends
    /// the graces that are over, and lifts the shields whose time is up.
    pub(crate) fn expire(self: &Arc<Self>) {
        let now = Instant::now();
        loop {
            let mut due: Vec<(Instant, Due, Arc<Node>)> = Vec::new();
            let mut lifted = false;
            for node in self.and_above() {
                let over = |shield: &&Shield| shield.lifted().is_none() && shield.until <= now;
                if let Some(shield) = node.shield().filter(over) {
                    shield.lift(node);
                    lifted = true;
                }
                let deadline = node
                    .deadline
                    .get()
                    .filter(|deadline| *deadline <= now && !node.is_settled());
                due.extend(deadline.map(|deadline| (deadline, Due::Deadline, node.clone())));
                let end = node
                    .end_of_grace()
                    .filter(|end| *end <= now && !node.is_flagged());
                due.extend(end.map(|end| (end, Due::GraceEnd, node.clone())));
            }
            // The outer of two that are due at once was found last.
            due.reverse();
            due.sort_by_key(|(at, ..)| *at);
            for (at, due, node) in due {
                let fallout = match due {
                    Due::Deadline => {
                        let location = node.deadline.location.load().unwrap_or(Location::caller());
                        node.trip_deadline(Cancelled::new(
                            CancelCause::Deadline { deadline: at },
                            location,
                            node.id(),
                        ))
                    }
                    Due::GraceEnd => node.end_grace(),
                };
                if let Some(fallout) = fallout {
                    fallout.deliver();
                }
            }
            if !lifted {
                return;
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::Location;
    use std::time::{Duration, Instant};

    use super::{Deadline, NEVER, Node, decode, encode};
    use crate::CancelCause;

    /// The deadlines by which a node and its child are cancelled, if both have passed when it is
    /// looked at them.
    fn fired(outer_after: u64, inner_after: u64) -> [Option<Duration>; 2] {
        encode(Instant::now()); // what comes before the first deadline of the process is not told apart
        let (outer, began) = (Node::root(), Instant::now());
        let inner = Node::child_of([&outer]);
        for (node, after) in [(&outer, outer_after), (&inner, inner_after)] {
            node.deadline
                .set(began + Duration::from_nanos(after), Location::caller());
            node.set_timed();
        }
        while began.elapsed() < Duration::from_nanos(outer_after.max(inner_after)) {}
        inner.expire();
        if outer_after <= inner_after {
            let origin = inner.cancelled().map(|cancelled| cancelled.origin());
            assert_eq!(
                origin,
                Some(outer.id()),
                "the outer deadline cancels the inner node"
            );
        }
        [outer, inner].map(|node| match node.cancelled()?.cause() {
            CancelCause::Deadline { deadline } => Some(*deadline - began),
            _ => None,
        })
    }

    #[test]
    fn of_deadlines_that_have_passed_the_earliest_fires_first() {
        let [early, late] = [1_000, 2_000].map(Duration::from_nanos);
        assert_eq!(fired(2_000, 1_000), [Some(late), Some(early)]);
        assert_eq!(fired(1_000, 2_000), [Some(early), Some(early)]);
        assert_eq!(fired(1_000, 1_000), [Some(early), Some(early)]);
    }

    #[test]
    fn a_deadline_keeps_its_instant() {
        let now = Instant::now();
        encode(now); // what comes before the first deadline of the process is not told apart
        for later in [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_secs(3_600),
        ] {
            let at = Instant::now() + later;
            assert_eq!(decode(encode(at)), Some(at));
        }
    }

    #[test]
    fn a_deadline_that_is_too_far_off_for_its_word_is_not_none() {
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);
        let Some(far) = Instant::now().checked_add(CENTURY * 6) else {
            return;
        };
        assert_eq!(encode(far), NEVER - 1);
        assert!(decode(encode(far)).is_none_or(|at| at > Instant::now() + CENTURY * 5));
        assert_eq!(decode(NEVER), None);
    }

    #[test]
    fn of_two_deadlines_the_earlier_is_kept_with_its_place() {
        encode(Instant::now()); // what comes before the first deadline of the process is not told apart
        let deadline = Deadline::none();
        let places = [Location::caller(), Location::caller(), Location::caller()];
        let [first, earlier, later] =
            [20, 10, 30].map(|seconds| Instant::now() + Duration::from_secs(seconds));
        for (set, place, kept) in [
            (first, 0, (first, 0)),
            (later, 1, (first, 0)),
            (first, 1, (first, 0)),
            (earlier, 2, (earlier, 2)),
        ] {
            deadline.set_earlier(set, places[place]);
            assert_eq!(
                (deadline.get(), deadline.location.load()),
                (Some(kept.0), Some(places[kept.1]))
            );
        }
    }
}
