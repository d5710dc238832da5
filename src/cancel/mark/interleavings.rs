//! Cancels that come down a tree at the same time, step by step, in random orders.
//!
//! A step is one node that a cancel comes to, one node that a look marks ahead, or the begin or the
//! end of the lifting of a shield. The end of a lifting, the making of a node and a delivery are
//! one step each, though they take several locks. In the end each node must be as the tree and the
//! cancels say, whatever their order.

use std::collections::{HashMap, VecDeque};
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Delivery, Grace, Node, Route};
use crate::cancel::id::TokenId;
use crate::{CancelCause, CancelToken, Cancelled};

/// More nodes do not lead to other orders.
const MOST_NODES: usize = 14;

/// Further than any grace of a step: the steps lift shields, not the clock.
const FAR: Duration = Duration::from_secs(10 * HOUR);

const HOUR: u64 = 3_600;

/// A step. The numbers choose a node or a thread.
#[derive(Clone, Debug)]
enum Step {
    Child(usize, Option<usize>),
    TaskNode(usize),
    Region(usize),
    Shielded(usize),
    Cancel(usize, Spared),
    Fail(usize),
    Look(usize),
    Lift(usize),
    /// A thread takes its next step.
    GoOn(usize),
}

#[derive(Clone, Copy, Debug)]
enum Spared {
    Not,
    For(u8),
    Endless,
}

fn step() -> impl Strategy<Value = Step> {
    let n = || any::<usize>();
    let spared = prop_oneof![
        2 => Just(Spared::Not),
        3 => (1..4u8).prop_map(Spared::For),
        1 => Just(Spared::Endless),
    ];
    prop_oneof![
        2 => (n(), any::<Option<usize>>()).prop_map(|(one, other)| Step::Child(one, other)),
        1 => n().prop_map(Step::TaskNode),
        1 => n().prop_map(Step::Region),
        1 => n().prop_map(Step::Shielded),
        6 => (n(), spared).prop_map(|(node, spared)| Step::Cancel(node, spared)),
        2 => n().prop_map(Step::Fail),
        10 => n().prop_map(Step::Look),
        3 => n().prop_map(Step::Lift),
        20 => n().prop_map(Step::GoOn),
    ]
}

/// A thread between two of its steps.
enum Thread {
    HandsDown(Delivery),
    MarksAhead(Cancelled, Grace, VecDeque<Arc<Node>>),
    Lifts(Arc<Node>),
}

struct World {
    nodes: Vec<Arc<Node>>,
    /// How often the callback of each node has run.
    calls: Vec<Arc<AtomicUsize>>,
    threads: Vec<Thread>,
    /// The shortest grace that each node was cancelled with itself.
    own: HashMap<TokenId, Grace>,
    began: Instant,
}

impl World {
    fn new() -> Self {
        let mut world = World {
            nodes: Vec::new(),
            calls: Vec::new(),
            threads: Vec::new(),
            own: HashMap::new(),
            began: Instant::now(),
        };
        world.add(Node::root());
        world.add(Node::root());
        world
    }

    fn add(&mut self, node: Arc<Node>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let called = calls.clone();
        CancelToken::from_node(node.clone())
            .on_cancel(move || _ = called.fetch_add(1, Relaxed))
            .forget();
        self.calls.push(calls);
        self.nodes.push(node);
    }

    fn node(&self, number: usize) -> Arc<Node> {
        self.nodes[number % self.nodes.len()].clone()
    }

    fn take(&mut self, step: Step) {
        let has_room = self.nodes.len() < MOST_NODES;
        match step {
            Step::Child(one, other) if has_room => {
                let parents = [Some(one), other].into_iter().flatten();
                let parents: Vec<_> = parents.map(|number| self.node(number)).collect();
                self.add(Node::child_of(&parents));
            }
            Step::TaskNode(group) if has_room => self.add(Node::of_task(&self.node(group))),
            Step::Region(outer) if has_room => self.add(Node::winding_down(&self.node(outer))),
            Step::Shielded(outer) if has_room => {
                self.add(Node::shielded(self.node(outer), self.began + FAR));
            }
            Step::Cancel(node, spared) => {
                let grace = match spared {
                    Spared::Not => Grace::Over,
                    Spared::For(hours) => {
                        Grace::Until(self.began + u32::from(hours) * Duration::from_secs(HOUR))
                    }
                    Spared::Endless => Grace::Endless,
                };
                self.cancel(self.node(node), grace, Route::Own);
            }
            Step::Fail(node) => self.cancel(self.node(node), Grace::Over, Route::Failure),
            Step::Look(node) => {
                if let Some((cancelled, grace, way)) = self.node(node).way_below_a_cancel(|_| true)
                {
                    let way = way.into_iter().cloned().collect();
                    self.threads.push(Thread::MarksAhead(cancelled, grace, way));
                }
            }
            Step::Lift(node) => {
                let node = self.node(node);
                if node.shield().and_then(|shield| shield.lift()).is_some() {
                    self.threads.push(Thread::Lifts(node));
                }
            }
            Step::GoOn(thread) if !self.threads.is_empty() => {
                let thread = thread % self.threads.len();
                let goes_on = self.threads.swap_remove(thread).go_on();
                self.threads.extend(goes_on);
            }
            _ => {}
        }
    }

    fn cancel(&mut self, node: Arc<Node>, grace: Grace, route: Route) {
        // A region that was cancelled itself with a grace has that grace and the one around it.
        // Only the clock decides between them, and no time passes here: see the tests of `expire`.
        if grace != Grace::Over && node.grace_end().is_some() {
            return;
        }

        // A failure that comes after a cancel changes nothing.
        if route == Route::Own || !node.is_flagged() {
            let own = self.own.entry(node.id()).or_insert(grace);
            *own = grace.min(*own);
        }
        let request = CancelCause::Requested { reason: None };
        let cancelled = Cancelled::new(request, Location::caller(), node.id());
        let mut delivery = Delivery::default();
        if delivery.mark(node, cancelled, grace, route) {
            self.threads.push(Thread::HandsDown(delivery));
        }
    }

    /// Checks that each node is as the cancels say, which have all come down.
    fn check(&self) {
        let mut graces: HashMap<TokenId, Option<Grace>> = HashMap::new();
        for (node, calls) in self.nodes.iter().zip(&self.calls) {
            let above = node.parents().filter_map(|parent| graces[&parent.id()]);
            let is_region = node.grace_end().is_some();
            let (spares, comes): (Vec<_>, Vec<_>) =
                above.partition(|grace| is_region && *grace != Grace::Over);
            let own = self.own.get(&node.id()).copied();
            let grace = comes.into_iter().chain(own).min();
            graces.insert(node.id(), grace);

            let inner = node.inner.lock();
            assert!(inner.ahead.is_none(), "the rest was left");
            assert_eq!(inner.deliveries, 0);
            assert_eq!(inner.cancelled.as_ref().map(|_| inner.grace), grace);
            assert_eq!(node.is_flagged(), grace.is_some());
            assert_eq!(node.is_settled(), grace == Some(Grace::Over));
            assert_eq!(calls.load(Relaxed), usize::from(grace.is_some()));
            if is_region && grace.is_none() {
                let end = spares.into_iter().find_map(|grace| match grace {
                    Grace::Until(end) => Some(end),
                    _ => None,
                });
                assert_eq!(node.end_of_grace(), end);
            }
        }
    }
}

impl Thread {
    /// Takes the next step. Returns the thread, unless that was its last.
    fn go_on(self) -> Option<Thread> {
        match self {
            Thread::HandsDown(mut delivery) => match delivery.below.pop_front() {
                Some((child, cancelled, grace)) => {
                    delivery.mark(child, cancelled, grace, Route::Parent);
                    Some(Thread::HandsDown(delivery))
                }
                None => {
                    delivery.deliver();
                    None
                }
            },
            Thread::MarksAhead(cancelled, grace, mut way) => {
                let node = way.pop_front()?;
                let (cancelled, grace) = node.mark_alone_ahead(cancelled, grace);
                Some(Thread::MarksAhead(cancelled, grace, way))
            }
            Thread::Lifts(node) => {
                let shield = node.shield()?;
                let late = node.end_lifting(shield, shield.lifted()?);
                late.map(Thread::HandsDown)
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn cancels_have_the_same_effect_in_any_order(
        steps in proptest::collection::vec(step(), 30..110),
    ) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.take(step));

        // The threads that are left end one after the other.
        while let Some(thread) = world.threads.pop() {
            let goes_on = thread.go_on();
            world.threads.extend(goes_on);
        }
        world.check();

        let nodes: Vec<_> = world.nodes.iter().map(Arc::downgrade).collect();
        drop(world);
        assert!(nodes.iter().all(|node| node.upgrade().is_none()), "a node was kept");
    }
}
