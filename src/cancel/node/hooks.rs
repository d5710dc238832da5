//! The hooks of one cancel, where there are several: a hook that takes its time does not hold up
//! the next.
//!
//! The hooks stand in a queue that is a source of the workers. The cancelling thread takes hooks
//! from it too, and at the end waits until all have ended. A cancel with one hook, the plain case,
//! does none of this.
//!
//! # State
//!
//! | field | meaning | changed by |
//! |---|---|---|
//! | `queued` | the hooks that have not begun, in the order of the marks | the thread that takes a hook |
//! | `running` | the hooks that run, at most `MOST` | the thread that takes a hook, and the same when it has ended |
//! | `listed` | the workers have the source on their list | the thread that sees that no hook can be taken, or that is refused a thread |
//!
//! # Invariants
//!
//! 1. A hook is taken once, by the thread that runs it. Its slot is `FIRING` until it has ended, so
//!    its region, and with it the closure and the group above, lasts as long.
//! 2. While a hook is queued, either the source is listed, or `MOST` hooks run, or the cancelling
//!    thread is about to take one. A thread whose hook has ended takes the next in the same
//!    critical section, so the second case ends in itself. A worker leaves hooks behind only while
//!    the source is listed. Where the system refuses a thread the source is taken off the list, and
//!    the cancelling thread woken.
//! 3. The source is off the list when the cancelling thread has seen that nothing is queued and
//!    nothing runs.
//!
//! # Lock order
//!
//! The lock is taken with no other lock of this crate held, and inside it only that of the pool.
//! Hooks run outside it.

use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::vec;

use super::Node;
use crate::cancel::context;
use crate::facade::Mutex;
use crate::waiting::{Marked, Point, Slot};
use crate::workers::{self, Source, Worker};

/// How many hooks of one cancel run at once.
const MOST: usize = 64;

/// A hook whose slot has been marked, and which has not run.
pub(super) struct Hook {
    /// The node that the slot is attached to.
    pub(super) node: Arc<Node>,
    pub(super) slot: Arc<Slot>,
    pub(super) marked: Marked,
}

impl Hook {
    pub(super) fn run(self) {
        self.slot
            .fire(&self.marked, |payload| self.node.hook_panicked(payload));
    }
}

/// Runs all `hooks` of a cancel that was asked for at `location`, on this thread and on workers,
/// and returns when all have ended.
pub(super) fn run_all(hooks: Vec<Hook>, location: &'static Location<'static>) {
    let queue = Arc::new(Hooks {
        state: Mutex::new(State {
            queued: hooks.into_iter(),
            running: 0,
            listed: true,
        }),
        canceller: context::slot(),
    });
    workers::list(queue.clone());
    loop {
        let mut ended = false;
        while let Some(hook) = queue.step(ended, false) {
            hook.run();
            ended = true;
        }
        // fault: cancel-leaves-its-hooks
        let mut is_over = false;
        let over_or_needed = || {
            let state = queue.state.lock();
            is_over = state.is_over();
            is_over || state.needs_canceller()
        };
        context::wait_uncancellable_at(location, Point::Cancel, || None, over_or_needed);
        if is_over {
            return;
        }
    }
}

struct Hooks {
    state: Mutex<State<Hook>>,
    /// The thread that is told when all have ended.
    canceller: Arc<Slot>,
}

impl Hooks {
    /// Takes the next hook, on a thread whose hook has `ended` if it had one; none if it may take
    /// none, or `leaves` and others will come for what is queued.
    fn step(self: &Arc<Self>, ended: bool, leaves: bool) -> Option<Hook> {
        let mut state = self.state.lock();
        state.running -= usize::from(ended);
        let hook = state.take(leaves);
        if state.is_listed_in_vain() {
            self.unlist(&mut state);
        }
        let is_over = ended && state.is_over();
        drop(state);
        if is_over {
            self.canceller.unpark();
        }
        hook
    }

    /// Under the lock, so that a hook is not left queued between the look and this.
    fn unlist(self: &Arc<Self>, state: &mut State<Hook>) {
        state.listed = false;
        let source: Arc<dyn Source> = self.clone();
        workers::unlist(&source);
    }
}

impl Source for Hooks {
    fn work(self: Arc<Self>, worker: &Worker) {
        let Some(mut hook) = self.step(false, false) else {
            return;
        };
        workers::pass_on();
        loop {
            workers::begin_task(worker);
            hook.run();
            // Other sources wait for their turn no longer than for one hook.
            match self.step(true, workers::others_wait()) {
                Some(next) => hook = next,
                None => return,
            }
        }
    }

    /// Without workers the cancelling thread runs all of them.
    fn start_apart(self: Arc<Self>) {}

    /// No worker will come: the cancelling thread goes on with the hooks, and with it the threads
    /// that run one already.
    fn refuse(self: Arc<Self>, _error: io::Error) {
        let mut state = self.state.lock();
        if state.listed {
            self.unlist(&mut state);
        }
        drop(state);
        self.canceller.unpark();
    }
}

struct State<H> {
    queued: vec::IntoIter<H>,
    running: usize,
    listed: bool,
}

impl<H> State<H> {
    fn take(&mut self, leaves: bool) -> Option<H> {
        if self.running == MOST || (leaves && self.listed) {
            return None;
        }
        let hook = self.queued.next()?;
        self.running += 1;
        Some(hook)
    }

    /// A worker that came would find no hook that it may take.
    fn is_listed_in_vain(&self) -> bool {
        self.listed && (self.running == MOST || self.queued.len() == 0)
    }

    fn is_over(&self) -> bool {
        self.running == 0 && self.queued.len() == 0
    }

    /// A hook could be taken, and no worker comes for it (invariant 2).
    fn needs_canceller(&self) -> bool {
        !self.listed && self.running < MOST && self.queued.len() > 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{MOST, State};

    fn state(hooks: usize) -> State<usize> {
        State {
            queued: (0..hooks).collect::<Vec<_>>().into_iter(),
            running: 0,
            listed: true,
        }
    }

    #[test]
    fn hooks_are_taken_in_order_up_to_the_most() {
        let mut state = state(MOST + 1);
        for expected in 0..MOST {
            assert!(
                !state.is_listed_in_vain(),
                "a worker could take hook {expected}"
            );
            assert_eq!(state.take(false), Some(expected));
        }
        assert_eq!(state.take(false), None, "as many run as may");
        assert!(state.is_listed_in_vain() && !state.is_over());
        state.listed = false;
        assert!(!state.needs_canceller(), "the first to end takes the last");
        state.running -= 1;
        assert_eq!(
            state.take(true),
            Some(MOST),
            "a worker leaves nothing that is not listed"
        );
        assert_eq!(state.take(false), None);
        state.running = 0;
        assert!(state.is_over() && !state.needs_canceller());
    }

    #[test]
    fn a_worker_leaves_what_is_listed_to_others() {
        let mut state = state(2);
        assert_eq!(state.take(false), Some(0));
        assert!(!state.is_listed_in_vain(), "a worker could take the other");
        state.running -= 1;
        assert_eq!(state.take(true), None);
        assert!(
            !state.is_over() && !state.needs_canceller(),
            "another worker comes"
        );
        assert_eq!(state.take(false), Some(1));
        assert!(state.is_listed_in_vain() && !state.is_over());
    }

    #[test]
    fn without_workers_the_canceller_is_needed_for_what_is_queued() {
        let mut state = state(2);
        assert_eq!(state.take(false), Some(0));
        assert!(!state.needs_canceller());
        state.listed = false;
        assert!(state.needs_canceller());
        assert_eq!(state.take(false), Some(1));
        assert!(!state.needs_canceller() && !state.is_over());
    }
}
