//! Cancels a node, or ends its grace, when the clock has passed one of its limits.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::AtomicU64 as PlainU64;
use std::time::Instant;

use super::cause::{CancelCause, Cancelled};
use super::mark::Delivery;
use super::node::Node;
use super::timer::Alarm;

/// The limit that the clock has passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    Deadline,
    GraceEnd,
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

        // It may have passed already.
        self.expire();
    }

    /// Acts on the limits that have passed, here and above: cancels at deadlines, in their order,
    /// ends graces, and lifts shields.
    pub(crate) fn expire(self: &Arc<Self>) {
        let now = Instant::now();
        loop {
            let (due, lifted) = self.due(now);

            // The first of several deadlines is the cause of the cancel.
            for (at, due, node) in due {
                if let Some(delivery) = node.act_on(due, at) {
                    delivery.deliver();
                }
            }

            // Behind a shield that was lifted there may be further limits, and earlier ones.
            if !lifted {
                return;
            }
        }
    }

    /// Lifts the shields that have had their time, here and above. Returns the limits of the other
    /// kinds that have passed, the earliest first, and whether a shield was lifted.
    fn due(self: &Arc<Self>, now: Instant) -> (Vec<(Instant, Due, Arc<Node>)>, bool) {
        let mut due = Vec::new();
        let mut lifted = false;
        for node in self.and_ancestors() {
            if let Some(shield) = node
                .shield()
                .filter(|shield| shield.hides_until().is_some_and(|until| until <= now))
            {
                if let Some(delivery) = node.lift_shield(shield) {
                    delivery.deliver();
                }
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

        // The outer of two that are due at once comes first; it was found last.
        due.reverse();
        due.sort_by_key(|(at, ..)| *at);
        (due, lifted)
    }

    /// Cancels the node for a limit that has passed at `at`.
    fn act_on(self: &Arc<Self>, due: Due, at: Instant) -> Option<Delivery> {
        match due {
            Due::Deadline => {
                let cause = CancelCause::Deadline { deadline: at };
                let location = self.deadline.location().unwrap_or(Location::caller());
                self.trip_deadline(Cancelled::new(cause, location, self.id()))
            }
            Due::GraceEnd => self.end_grace(),
        }
    }
}

/// The timer rings at the limits of a node that has callbacks or hooks.
impl Alarm for Node {
    fn number(&self) -> u64 {
        self.id().0
    }

    fn armed(&self) -> &PlainU64 {
        &self.armed
    }

    fn ring(self: Arc<Self>) -> Option<Instant> {
        self.expire();

        // A deadline that was moved, or a shield that was lifted, leaves a later limit.
        if self.is_flagged() {
            None
        } else {
            self.next_limit()
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::Location;
    use std::time::{Duration, Instant};

    use super::Node;
    use crate::CancelCause;
    use crate::cancel::deadline::encode;

    /// The deadlines by which a node and its child are cancelled, if both have passed when the
    /// child is looked at.
    fn fired(outer_after: u64, inner_after: u64) -> [Option<Duration>; 2] {
        encode(Instant::now()); // the epoch: instants before it are all encoded as zero
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
}
