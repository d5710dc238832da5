//! The part of a group that workers and cancels see: its token, its queue and its counts.
//!
//! # Invariants
//!
//! 1. A task is counted, in `live_tasks` or `live_daemons`, from before another thread can see it
//!    until everything of it that can borrow from the scope has been dropped. The owner leaves the
//!    scope only after it has seen both counts at zero.
//! 2. `closed` is set in the critical section that saw `live_tasks` at zero. No task is counted
//!    after that, so no spawn comes between.
//! 3. A spawn checks whether the group is cancelled in the critical section in which it queues the
//!    task. A cancel marks the group first and empties the queue after that. So a task that is
//!    queued late finds the mark, and a task that was queued before the cancel is found. A task
//!    that was in a worker's local batch at that moment comes back to the queue of a listed group.
//!    The thread that takes it from there drops it unrun; the thread that gives it back, which is
//!    about to block, or the monitor, does not.
//! 4. If the group is limited, a task begins only with a permit: see `limit.md` beside this file.
//! 5. The group is listed with the workers while it has a task that a worker may begin.
//!
//! # Lock order
//!
//! The lock of the queue is taken with no other lock held but the locks of a task's watch list, of
//! a `Completions` and of an [`OuterPermit`], or several of them in this order. Inside it, only the
//! lock of the pool is taken. Tasks are run, dropped and cancelled outside of it. So is the rest of
//! a task that another thread has run dropped: its token, and with it a callback of the user, may
//! go with it.

use std::borrow::Cow;
use std::panic::Location;
use std::sync::atomic::{AtomicBool as PlainBool, AtomicUsize as PlainUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use super::held_permits;
use super::outer_permit::OuterPermit;
use super::permit::UNLIMITED;
use super::queue::TaskQueue;
use crate::cancel::actor::Actor;
use crate::cancel::{
    CancelCause, CancelToken, Cancelled, KeptCanceller, Node, Observer, OwnedBy, TaskInfo, TokenId,
    WorstLatencies, context,
};
use crate::facade::{Mutex, Payload, PlainMutex, preset};
use crate::group::callback_panic::CallbackPanic;
use crate::group::latency::{GroupLatencies, LatencyHistogram};
use crate::group::policy::Fatal;
use crate::group::process_stats;
use crate::group::stats::GroupStats;
use crate::group::task_end::Role;
use crate::scoped::Bindings;
use crate::stall::StallPolicy;
use crate::trace::{self, GroupTrace, TracedCancel};

/// The description of a group in reports, as it was opened.
#[derive(Debug)]
#[cfg_attr(loom, allow(dead_code, reason = "a model has no snapshots"))]
pub(crate) struct GroupInfo {
    pub(crate) name: Option<Cow<'static, str>>,
    /// The call that opened the group.
    pub(crate) location: &'static Location<'static>,
    /// Which failures cancel the group.
    pub(crate) fatal: Fatal,
    /// How long after its cancel, or its deadline, the scope is reported if it has not ended.
    pub(crate) stall_after: Duration,
    /// The effect of a stall.
    pub(crate) stall_policy: StallPolicy,
}

pub(crate) struct GroupState {
    token: CancelToken,
    pub(super) limit: usize,
    #[cfg_attr(loom, allow(dead_code, reason = "a model has no snapshots"))]
    info: GroupInfo,
    /// The task or body that the group was opened in.
    opened_in: Option<Arc<Actor>>,
    /// The scoped values that were bound where the group was opened.
    bindings: Bindings,
    /// The innermost permit that was held where the group was opened.
    pub(super) outer_permit: Option<Arc<OuterPermit>>,
    /// The trace of the group, if there was a subscriber at the opening.
    trace: Option<Box<GroupTrace>>,
    /// The identity of the scope's thread. It is sound for as long as the scope lasts.
    owner: usize,
    /// A task has been counted at some time. Read by the owner after the body has returned.
    pub(super) used: PlainBool,
    pub(super) queue: Mutex<TaskQueue>,
    /// The node of the daemons, made with the first of them.
    daemon_node: OnceLock<Arc<Node>>,
    /// Tasks that the owner has run in place and not yet taken off the counts. Only the owner
    /// writes it.
    pub(super) ended_in_place: PlainUsize,
    /// Tasks that the owner took from the queue, has run and not yet taken off the counts. They
    /// count as begun. Only the owner writes it.
    pub(super) ended_from_queue: PlainUsize,
    /// A task, or the body, was cut short. Read by the owner after all tasks have ended.
    any_cut: PlainBool,
    /// How long cancelled tasks took to end, made with the first of them.
    latencies: OnceLock<Box<GroupLatencies>>,
    callback_panics: Mutex<Vec<CallbackPanic>>,
    /// There are callback panics. The scope ends after all callbacks and hooks.
    any_callback_panicked: PlainBool,
    /// The scope has been reported as stalled. Set by a reader of the open groups.
    stalls: PlainBool,
    /// The callbacks and hooks that kept the cancelling thread.
    #[cfg_attr(loom, allow(dead_code, reason = "a model has no reports of stalls"))]
    pub(super) kept: PlainMutex<Vec<KeptCanceller>>,
}

impl GroupState {
    /// Makes a group with the node that `node` makes for the observer that it is given, and the
    /// trace that `trace` makes for the id of that node.
    #[inline]
    pub(crate) fn new(
        limit: Option<usize>,
        info: impl FnOnce() -> GroupInfo,
        opened_in: Option<Arc<Actor>>,
        node: impl FnOnce(Weak<dyn Observer>) -> Arc<Node>,
        trace: impl FnOnce(TokenId) -> Option<Box<GroupTrace>>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|state: &Weak<GroupState>| {
            let token = CancelToken::from_node(node(state.clone()));
            let trace = if trace::is_on() {
                trace(token.id())
            } else {
                None
            };
            GroupState {
                token,
                trace,
                limit: limit.unwrap_or(UNLIMITED),
                info: info(),
                opened_in,
                bindings: Bindings::current(),
                outer_permit: held_permits::innermost(),
                owner: context::identity(),
                used: PlainBool::new(false),
                queue: Mutex::new(TaskQueue::new()),
                daemon_node: preset!(OnceLock::new()),
                ended_in_place: PlainUsize::new(0),
                ended_from_queue: PlainUsize::new(0),
                any_cut: PlainBool::new(false),
                latencies: preset!(OnceLock::new()),
                callback_panics: preset!(Mutex::new(Vec::new())),
                any_callback_panicked: PlainBool::new(false),
                stalls: PlainBool::new(false),
                kept: PlainMutex::new(Vec::new()),
            }
        })
    }

    /// Whether the scope has been reported as stalled. For the owner, once the group is off the
    /// list of open groups: to take it off orders the load.
    #[inline]
    pub(crate) fn has_stalled(&self) -> bool {
        self.stalls.load(Relaxed)
    }

    #[cfg(not(loom))]
    pub(super) fn note_stall(&self) {
        self.stalls.store(true, Relaxed);
    }

    /// Returns the trace of the group, if there is a subscriber.
    #[inline]
    pub(crate) fn trace(&self) -> Option<&GroupTrace> {
        self.trace.as_deref()
    }

    #[cfg_attr(loom, allow(dead_code, reason = "a model has no snapshots"))]
    pub(crate) fn info(&self) -> &GroupInfo {
        &self.info
    }

    pub(crate) fn token(&self) -> &CancelToken {
        &self.token
    }

    #[inline]
    pub(crate) fn node(&self) -> &Arc<Node> {
        self.token.node()
    }

    /// The task or body of another group that this group was opened in.
    #[inline]
    pub(crate) fn opened_in(&self) -> Option<Arc<Actor>> {
        self.opened_in.clone()
    }

    /// The scoped values that the tasks of the group see.
    #[inline]
    pub(crate) fn bindings(&self) -> Bindings {
        self.bindings
    }

    /// The node that tasks of a role run under.
    #[inline]
    pub(crate) fn base(&self, role: Role) -> &Arc<Node> {
        match role {
            Role::Task => self.node(),
            Role::Daemon => self.make_daemon_node(),
        }
    }

    /// The node of the daemons, which is made before the first of them is counted, so that the end
    /// of the scope finds it.
    fn make_daemon_node(&self) -> &Arc<Node> {
        if let Some(node) = self.daemon_node.get() {
            return node;
        }

        // Made outside the cell, since making a node takes locks. If two threads make one at once,
        // one of the nodes is dropped.
        let node = Node::of_task(self.node());
        self.daemon_node.get_or_init(|| node)
    }

    /// The node of the daemons, if there has been a daemon.
    pub(super) fn daemon_node(&self) -> Option<&Arc<Node>> {
        self.daemon_node.get()
    }

    pub(super) fn is_owner(&self) -> bool {
        context::identity() == self.owner
    }

    #[inline]
    pub(crate) fn is_limited(&self) -> bool {
        self.limit != UNLIMITED
    }

    /// How many tasks may run at once, if that is limited.
    pub(crate) fn limit(&self) -> Option<usize> {
        self.is_limited().then_some(self.limit)
    }

    /// Notes a cancel that cut a task or the body short, if the whole scope counts as cancelled
    /// because of it: if the cancel came from above, or is the group's own deadline, or ends a
    /// deadlock. The group absorbs a cancel that it asked for itself.
    pub(crate) fn note_cut(&self, cancelled: &Cancelled) {
        let counts = match self.node().owner_of(cancelled) {
            OwnedBy::Node => matches!(
                cancelled.cause(),
                CancelCause::Deadline { .. } | CancelCause::Deadlock { .. }
            ),
            OwnedBy::Ancestor => true,
            OwnedBy::Foreign => false,
        };

        // The flag is set after the cancel is there. The end of the cut task orders both for the
        // owner.
        if counts {
            self.queue
                .lock()
                .cut
                .get_or_insert_with(|| cancelled.clone());
            self.any_cut.store(true, Relaxed);
        }
    }

    /// The first cancel that cut a task or the body short and counts for the whole scope.
    pub(crate) fn cut(&self) -> Option<Cancelled> {
        // The flag of the node does not tell: a check of a token above finds a cancel that has not
        // come down to this node yet.
        if !self.any_cut.load(Relaxed) {
            return None;
        }
        self.queue.lock().cut.clone()
    }

    /// Whether a callback or a hook has panicked. For the owner, after all of them have ended.
    #[inline]
    pub(crate) fn has_callback_panics(&self) -> bool {
        self.any_callback_panicked.load(Relaxed)
    }

    #[cold]
    pub(crate) fn take_callback_panics(&self) -> Vec<CallbackPanic> {
        std::mem::take(&mut *self.callback_panics.lock())
    }

    /// Counts the tasks in each state. The counts always add up to the tasks that were spawned.
    pub(crate) fn stats(&self) -> GroupStats {
        let queue = self.queue.lock();

        // Tasks that the owner has run and not yet taken off the counts.
        let in_place = self.ended_in_place.load(Relaxed);
        let in_place_or_from_queue = in_place + self.ended_from_queue.load(Relaxed);
        let ended = queue.ended.total() + in_place_or_from_queue;

        // Workers report events in another order than they happen in, so `begun` can be behind
        // `ended`, or ahead of `spawned`, until the next report.
        let begun = usize::try_from(queue.begun + in_place as isize)
            .unwrap_or(0)
            .max(ended)
            .min(queue.spawned);

        let outcomes = &queue.ended;
        let running = begun - ended;
        let started = begun - outcomes.never_ran;
        GroupStats {
            queued: queue.spawned - begun,
            running,
            finished: outcomes.finished + in_place_or_from_queue,
            failed: outcomes.failed + outcomes.panicked,
            panicked: outcomes.panicked,
            cancelled: outcomes.cancelled + outcomes.never_ran,
            never_ran: outcomes.never_ran,
            // The threads that join tasks, and run them, do not report when they begin.
            peak_running: queue.peak_running.max(running).max(started.min(1)),
            permit_waits: queue.permit_waits.count(),
            permit_wait: queue.permit_waits.total(),
            cancel_latency: self
                .latencies
                .get()
                .map_or_else(LatencyHistogram::default, |all| all.recorder.read()),
            worst_latencies: self.worst_latencies(),
        }
    }

    /// Notes that a task that was cancelled at `since`, and saw that `to_sight` later, has ended.
    #[cold]
    pub(crate) fn note_cancel_latency(
        &self,
        since: Instant,
        to_sight: Option<Duration>,
        task: impl Fn() -> TaskInfo,
    ) {
        let to_end = since.elapsed();
        self.latencies
            .get_or_init(|| Box::new(GroupLatencies::new()))
            .record(to_sight, to_end, task);
        process_stats::CANCEL_LATENCY.record(to_end);
    }

    /// Returns the tasks that took longest to see their cancel, and to end.
    pub(crate) fn worst_latencies(&self) -> WorstLatencies {
        let latencies = self.latencies.get();
        latencies.map_or_else(WorstLatencies::default, |all| all.worst())
    }
}

impl Observer for GroupState {
    fn cancelled(self: Arc<Self>) {
        if let (Some(trace), Some(cancelled)) = (self.trace(), self.node().recorded()) {
            trace.cancelled(TracedCancel {
                cause: cancelled.cause().to_string(),
                location: cancelled.location(),
                origin: cancelled.origin().0,
            });
        }

        // Invariant 3: after the mark, the queue is emptied.
        //
        // fault: cancel-leaves-the-queue
        self.empty();
    }

    fn callback_panicked(self: Arc<Self>, payload: Payload) {
        // Here, since only this thread knows where it panicked. Outside of the lock, since the
        // message may be the `Display` of an error of the user.
        let panic = CallbackPanic::now(payload);

        // The end of the scope waits for all callbacks, and so orders the flag for the owner.
        self.callback_panics.lock().push(panic);
        self.any_callback_panicked.store(true, Relaxed);
    }

    fn marked(&self) {
        self.ask_for_look_now();
    }

    fn timed(&self) {
        self.ask_for_look_now();
    }

    fn kept(&self, kept: KeptCanceller) {
        self.note_kept(kept);
    }
}
