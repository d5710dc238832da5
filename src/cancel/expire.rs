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
    /// ends graces, and lifts shields. Where another thread has done so, its cancel may not have
    /// come down to this node when this returns.
    pub(crate) fn expire(self: &Arc<Self>) {
        let now = Instant::now();
        loop {
            let (due, lifted) = self.due(now);

            // The first of several deadlines is the cause of the cancel.
            for (at, due, node) in due {
                // A cancel from above that came before the deadline is the cause, even if another
                // thread is still handing it down. The deadline of a cancelled node only ends its
                // grace.
                //
                // fault: deadline-overtakes-an-earlier-cancel
                if due == Due::Deadline && !node.is_flagged() {
                    node.mark_ahead_of(at);
                }

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
            let over = node
                .shield()
                .filter(|shield| shield.hides_until().is_some_and(|until| until <= now));
            if let Some(shield) = over {
                lifted = true;
                if let Some(delivery) = node.lift_shield(shield) {
                    delivery.deliver();
                }
            }

            let deadline = node
                .deadline
                .get()
                .filter(|deadline| *deadline <= now && !node.is_settled());
            due.extend(deadline.map(|deadline| (deadline, Due::Deadline, node.clone())));

            let end = node
                .end_of_grace()
                .filter(|end| *end <= now && !node.is_settled());
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::time::{Duration, Instant};

    use super::{Delivery, Node};
    use crate::cancel::context::check_ancestors;
    use crate::cancel::deadline::encode;
    use crate::cancel::frames::within;
    use crate::cancel::grace::Grace;
    use crate::cancel::mark::Route;
    use crate::{CancelCause, CancelToken, Cancelled, TokenId};

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

    /// Cancels `node` at a deadline that has passed, by a thread that stops before it comes to the
    /// nodes below.
    fn cancelled_alone(node: &Arc<Node>) -> Delivery {
        let (now, location) = (Instant::now(), Location::caller());
        node.deadline.set(now, location);

        let cause = CancelCause::Deadline { deadline: now };
        let mut delivery = Delivery::default();
        let cancelled = Cancelled::new(cause, location, node.id());
        assert!(delivery.mark(node.clone(), cancelled, Grace::Over, Route::Own));

        // Now: the timer would come first if there is a callback.
        node.set_timed();
        delivery
    }

    /// Goes on with a cancel of `outer`, from the node `below` it on.
    fn hand_down(outer: &Arc<Node>, below: &Arc<Node>, grace: Grace) {
        let cancelled = outer.recorded().expect("it was cancelled first");
        let rest = below.spread(cancelled, grace, Route::Parent);
        rest.expect("there is something left to do").deliver();
    }

    /// Cancels `node`, sparing regions as `grace` says, by a thread that stops before it comes to
    /// the nodes below.
    fn cancelled_alone_by_request(node: &Arc<Node>, grace: Grace) -> Delivery {
        let request = CancelCause::Requested { reason: None };
        let cancelled = Cancelled::new(request, Location::caller(), node.id());
        let mut delivery = Delivery::default();
        assert!(delivery.mark(node.clone(), cancelled, grace, Route::Own));
        delivery
    }

    fn origin(node: &Arc<Node>) -> Option<TokenId> {
        node.recorded().map(|cancelled| cancelled.origin())
    }

    #[test]
    fn a_graceful_cancel_does_the_rest_of_a_mark_ahead_for_good() {
        let outer = Node::root();
        let between = Node::child_of([&outer]);
        let node = Node::child_of([&between]);
        let below = Node::child_of([&node]);
        let region = Node::winding_down(&below);
        let _halfway = cancelled_alone(&outer);
        assert!(node.is_cancelled());

        // On another way, from above too.
        let cause = CancelCause::Requested { reason: None };
        let graceful = Cancelled::new(cause, Location::caller(), outer.id());
        let changed = node.spread(graceful, Grace::Endless, Route::Parent);
        changed.expect("the rest is left").deliver();
        assert!(region.is_flagged(), "nothing is spared below the deadline");
        assert_eq!(node.inner.lock().deliveries, 0);
        hand_down(&outer, &between, Grace::Over);
        assert!(between.is_settled() && between.inner.lock().deliveries == 0);
    }

    #[test]
    fn the_rest_of_a_graceful_mark_ahead_is_done_with_the_shortest_grace() {
        let far = Grace::Until(Instant::now() + Duration::from_secs(3_600));
        for (first, second) in [
            (far, Grace::Endless),
            (Grace::Endless, far),
            (far, Grace::Over),
        ] {
            let outer = Node::root();
            let other = Node::root();
            let between = Node::child_of([&outer]);
            let node = Node::child_of([&between, &other]);
            let below = Node::child_of([&node]);
            let _halfway = cancelled_alone_by_request(&outer, first);
            assert!(below.mark_ahead());

            // From another node above, before the thread that cancelled first comes there.
            other.cancel_sparing(
                CancelCause::Requested { reason: None },
                Location::caller(),
                second,
            );
            hand_down(&outer, &between, first);
            for node in [&node, &below] {
                assert_eq!(origin(node), Some(outer.id()));
                let inner = node.inner.lock();
                assert_eq!((inner.grace, inner.deliveries), (first.min(second), 0));
            }
            assert_eq!(below.is_settled(), second == Grace::Over);
        }
    }

    #[test]
    fn a_cancel_of_a_node_that_was_marked_ahead_ends_its_grace() {
        let outer = Node::root();
        let node = Node::child_of([&outer]);
        let below = Node::child_of([&node]);
        let _halfway = cancelled_alone_by_request(&outer, Grace::Endless);
        assert!(below.mark_ahead());
        let request = CancelCause::Requested { reason: None };
        assert!(!node.cancel(request, Location::caller()), "not the first");
        hand_down(&outer, &node, Grace::Endless);
        for node in [&node, &below] {
            assert_eq!(origin(node), Some(outer.id()));
            assert!(node.is_settled() && node.inner.lock().deliveries == 0);
        }
    }

    #[test]
    fn a_graceful_cancel_on_its_way_is_not_overtaken_by_an_inner_deadline() {
        encode(Instant::now()); // the epoch
        let before = Instant::now();
        let outer = Node::root();
        let between = Node::child_of([&outer]);
        let region = Node::winding_down(&between);
        let [earlier, later] = [(); 2].map(|()| Node::child_of([&between]));
        let in_region = Node::child_of([&region]);
        let _halfway = cancelled_alone_by_request(&outer, Grace::Endless);

        for (node, passed, canceller) in [
            (&earlier, before, &earlier),
            (&later, Instant::now(), &outer),
            // The cancel has not come there.
            (&in_region, Instant::now(), &in_region),
        ] {
            node.set_deadline(passed, Location::caller());
            assert_eq!(origin(node), Some(canceller.id()));
            assert!(node.is_settled(), "its deadline spares nothing");
        }

        hand_down(&outer, &between, Grace::Endless);
        assert!(!between.is_settled() && !region.is_cancelled());
        assert_eq!(later.inner.lock().deliveries, 0);
    }

    #[test]
    fn a_node_that_was_marked_ahead_lives_until_its_callbacks_have_run() {
        let outer = Node::root();
        let between = Node::child_of([&outer]);
        let node = Node::child_of([&between]);
        let token = CancelToken::from_node(node.clone());
        let called = Arc::new(AtomicBool::new(false));
        let callback = called.clone();
        token
            .on_cancel(move || callback.store(true, Relaxed))
            .forget();

        let _halfway = cancelled_alone(&outer);
        assert!(token.is_cancelled());
        assert!(!called.load(Relaxed), "it is the turn of the other thread");
        let weak = Arc::downgrade(&node);
        drop((token, node));
        hand_down(&outer, &between, Grace::Over);
        assert!(called.load(Relaxed));
        assert!(weak.upgrade().is_none(), "it keeps itself alive no longer");
    }

    #[test]
    fn a_deadline_counts_below_before_another_thread_has_handed_the_cancel_down() {
        let outer = Node::root();
        let other = Node::root();
        let between = Node::child_of([&outer]);
        let below = Node::child_of([&other, &between]);
        let lowest = Node::child_of([&below]);
        let _halfway = cancelled_alone(&outer);

        assert!(lowest.is_cancelled(), "the deadline above has passed");
        let origin = lowest.cancelled().map(|cancelled| cancelled.origin());
        assert_eq!(origin, Some(outer.id()));
        assert!(!other.is_cancelled(), "it comes down only");

        // The deadline came first.
        let request = CancelCause::Requested { reason: None };
        assert!(!lowest.cancel(request, Location::caller()));
        assert!(below.is_flagged() && between.is_flagged(), "on the way");

        // What has to follow is done by the other thread, once it comes.
        let undelivered = |node: &Node| node.inner.lock().deliveries;
        assert_eq!(
            [&lowest, &below, &between].map(|node| undelivered(node)),
            [1; 3]
        );
        hand_down(&outer, &between, Grace::Over);
        assert_eq!(
            [&lowest, &below, &between].map(|node| undelivered(node)),
            [0; 3]
        );
    }

    #[test]
    fn of_two_cancels_the_earlier_counts_while_another_thread_hands_it_down() {
        let by_deadline = |outer: &Arc<Node>| cancelled_alone(outer);
        let by_request = |outer: &Arc<Node>| cancelled_alone_by_request(outer, Grace::Over);

        encode(Instant::now()); // the epoch
        for cancel in [&by_deadline as &dyn Fn(&Arc<Node>) -> Delivery, &by_request] {
            let before = Instant::now();
            let outer = Node::root();
            let between = Node::child_of([&outer]);
            let [earlier, later] = [(); 2].map(|()| Node::child_of([&between]));
            let _halfway = cancel(&outer);

            let origin_with = |node: &Arc<Node>, passed: Instant| {
                node.deadline.set(passed, Location::caller());
                node.set_timed();
                node.cancelled().map(|cancelled| cancelled.origin())
            };
            assert_eq!(origin_with(&earlier, before), Some(earlier.id()));
            assert_eq!(origin_with(&later, Instant::now()), Some(outer.id()));
        }
    }

    #[test]
    fn a_region_is_not_spared_by_a_grace_whose_end_is_being_handed_down() {
        let outer = Node::root();
        let between = Node::child_of([&outer]);
        let region = Node::winding_down(&between);
        let request = CancelCause::Requested { reason: None };
        outer.cancel_sparing(request, Location::caller(), Grace::Endless);
        assert!(between.is_cancelled());
        assert!(!region.is_cancelled(), "the grace spares it");

        let _halfway = cancelled_alone(&outer);
        assert!(region.is_cancelled(), "the grace is over");
    }

    #[test]
    fn the_end_of_an_outer_grace_comes_to_a_region_that_was_cancelled_itself() {
        for own_comes_first in [true, false] {
            let outer = Node::root();
            let region = Node::winding_down(&outer);
            let nested = Node::winding_down(&region);
            let soon = Instant::now() + Duration::from_millis(20);
            let mut cancels = [(&region, Grace::Endless), (&outer, Grace::Until(soon))];
            if !own_comes_first {
                cancels.reverse();
            }
            for (node, grace) in cancels {
                let request = CancelCause::Requested { reason: None };
                node.cancel_sparing(request, Location::caller(), grace);
            }
            let limit = nested.next_limit();
            assert!(limit == Some(soon) || soon <= Instant::now(), "{limit:?}");
            while Instant::now() < soon {}
            assert!(nested.is_cancelled(), "own first: {own_comes_first}");
        }
    }

    /// A partner in another region has gone at the end of the grace, which has not come here yet.
    #[test]
    fn a_grace_that_has_passed_counts_where_a_partner_has_gone() {
        let outer = Node::root();
        let between = Node::child_of([&outer]);
        let region = Node::winding_down(&between);
        let now = Grace::Until(Instant::now());
        let _halfway = cancelled_alone_by_request(&outer, now);
        assert!(!region.is_cancelled(), "the grace has not come here");
        assert!(within(region.clone(), check_ancestors).is_err());

        hand_down(&outer, &between, now);
        assert!(region.is_cancelled());
        assert_eq!(region.inner.lock().deliveries, 0);
    }

    #[test]
    fn a_region_is_spared_by_a_grace_while_a_deadline_holds_above_it() {
        let outer = Node::root();
        let far = Instant::now() + Duration::from_secs(3_600);
        outer.set_deadline(far, Location::caller());
        let region = Node::winding_down(&Node::child_of([&outer]));
        let request = CancelCause::Requested { reason: None };
        outer.cancel_sparing(request, Location::caller(), Grace::Until(far));
        assert!(!region.is_cancelled(), "the grace spares it");
    }

    #[test]
    fn an_outer_cancel_counts_in_a_shield_that_another_thread_is_lifting() {
        for grace in [Grace::Over, Grace::Endless] {
            let outer = Node::root();
            let request = CancelCause::Requested { reason: None };
            outer.cancel_sparing(request, Location::caller(), grace);
            let hidden = Node::shielded(outer, Instant::now());
            let inner = Node::child_of([&hidden]);
            let lifted = hidden.shield().and_then(|shield| shield.lift());
            assert!(lifted.is_some(), "the other thread lists the node next");
            assert!(inner.is_cancelled(), "the time of the shield is up");
        }
    }

    #[test]
    fn an_outer_cancel_counts_below_a_shield_that_another_thread_has_marked() {
        for grace in [Grace::Over, Grace::Endless] {
            let outer = Node::root();
            let request = CancelCause::Requested { reason: None };
            outer.cancel_sparing(request, Location::caller(), grace);
            let hidden = Node::shielded(outer.clone(), Instant::now());
            let inner = Node::child_of([&hidden]);
            assert!(hidden.shield().and_then(|shield| shield.lift()).is_some());
            let cancelled = outer.recorded().expect("it was cancelled first");
            let mut delivery = Delivery::default();
            assert!(delivery.mark(hidden.clone(), cancelled, grace, Route::Parent));
            assert!(inner.is_cancelled(), "the other thread comes here next");
        }
    }

    #[test]
    fn a_graceful_cancel_comes_through_two_shields_that_other_threads_are_lifting() {
        let root = Node::root();
        let request = CancelCause::Requested { reason: None };
        root.cancel_sparing(request, Location::caller(), Grace::Endless);
        let outer = Node::shielded(root, Instant::now());
        let inner = Node::shielded(outer.clone(), Instant::now());
        for node in [&inner, &outer] {
            assert!(node.shield().and_then(|shield| shield.lift()).is_some());
        }
        assert!(inner.is_cancelled(), "the time of both shields is up");
    }

    #[test]
    fn a_deadline_that_comes_while_a_shield_is_lifted_rings() {
        let outer = Node::root();
        let hidden = Node::shielded(outer.clone(), Instant::now());
        let inner = CancelToken::from_node(Node::child_of([&hidden]));
        let shield = hidden.shield().expect("it has one");
        let lifted = shield.lift().expect("no other thread lifts it");

        // The look of this call finds no limit.
        let (rings, rung) = std::sync::mpsc::channel();
        let _guard = inner.on_cancel(move || rings.send(()).expect("the test receives"));

        // Before the node is listed there.
        outer.set_deadline(
            Instant::now() + Duration::from_millis(1),
            Location::caller(),
        );
        assert!(hidden.end_lifting(shield, lifted).is_none());
        let rung = rung.recv_timeout(Duration::from_secs(20));
        assert!(rung.is_ok(), "the deadline is forgotten");
    }
}
