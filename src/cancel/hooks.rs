//! The hooks of one cancel, if it has several: a hook that takes its time does not hold up the
//! next.
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
//! | `running` | the number of hooks that run, at most `MOST` | the thread that takes a hook, and the same thread when the hook has ended |
//! | `listed` | the workers have the source on their list | the thread that sees that no hook can be taken, or that is refused a thread |
//!
//! # Invariants
//!
//! 1. A hook is taken once, by the thread that runs it. Its slot is `FIRING` until it has ended. So
//!    its region, and with it the closure and the group above, lasts as long.
//! 2. While a hook is queued, either the cancelling thread is about to take one, or `MOST` hooks
//!    run. A thread that has ended a hook takes the next in the same critical section, so the
//!    second case ends by itself. Workers leave hooks behind only while the source is listed. The
//!    cancelling thread takes hooks until it finds none that it may take, and then the source is
//!    off the list for good. So it comes to its wait only when no hook can be left behind, and a
//!    thread that the system refuses changes nothing for it.
//! 3. The source is off the list once the cancelling thread has seen that nothing is queued and
//!    nothing runs.
//!
//! # Lock order
//!
//! The lock is taken with no other lock of this crate held, and inside it only the lock of the
//! pool. Hooks run outside it.

use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::vec;

use super::frames;
use super::mark::MarkedHook;
use super::uncancellable::wait_uncancellable_at;
use crate::facade::Mutex;
use crate::waiting::{Slot, WaitKind};
use crate::workers::{self, Source, Worker};

/// How many hooks of one cancel run at once.
const MOST: usize = 64;

impl MarkedHook {
    pub(super) fn run(self) {
        self.slot
            .fire(&self.marked, |payload| self.node.hook_panicked(payload));
    }
}

/// Runs all `hooks` of a cancel that was asked for at `location`, on this thread and on workers.
/// Returns when all have ended.
pub(super) fn run_all(hooks: Vec<MarkedHook>, location: &'static Location<'static>) {
    let source = Arc::new(HookSource {
        queue: Mutex::new(HookQueue {
            queued: hooks.into_iter(),
            running: 0,
            listed: true,
        }),
        canceller: frames::slot(),
    });
    workers::list(source.clone());

    let mut hook = source.take(Before::NoHook, Queued::MustBeTaken);
    while let Some(next) = hook {
        next.run();
        hook = source.take(Before::OneEnded, Queued::MustBeTaken);
    }

    // Invariant 2: the threads that run a hook now take the rest.
    //
    // fault: cancel-leaves-its-hooks
    let is_over = || source.queue.lock().is_over();
    wait_uncancellable_at(location, WaitKind::Cancel, || None, is_over);
}

/// Whether the thread that asks for a hook has just ended one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    NoHook,
    OneEnded,
}

/// The action of a thread on a hook that is queued.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Queued {
    MustBeTaken,
    /// Workers that come for it may have it.
    MayBeLeft,
}

struct HookSource {
    queue: Mutex<HookQueue<MarkedHook>>,
    /// The thread that is told when all have ended.
    canceller: Arc<Slot>,
}

impl HookSource {
    /// Takes the next hook. Returns none if the thread may take none, or leaves the queued hooks to
    /// workers that come for them.
    fn take(self: &Arc<Self>, before: Before, queued: Queued) -> Option<MarkedHook> {
        // Invariant 2: the end of a hook and the take of the next are one critical section.
        let mut queue = self.queue.lock();
        let ended = before == Before::OneEnded;
        queue.running -= usize::from(ended);
        let hook = queue.take(queued);

        // A worker that came now would find nothing to take (invariant 2).
        if queue.is_listed_in_vain() {
            self.unlist(&mut queue);
        }

        let is_over = ended && queue.is_over();
        drop(queue);

        // The end of the last hook is the end of the wait of `run_all` (invariant 3).
        if is_over {
            self.canceller.unpark();
        }
        hook
    }

    /// Takes the source off the list, under the lock: between the look and this no hook is left
    /// queued.
    fn unlist(self: &Arc<Self>, queue: &mut HookQueue<MarkedHook>) {
        queue.listed = false;
        let source: Arc<dyn Source> = self.clone();
        workers::unlist(&source);
    }
}

impl Source for HookSource {
    fn work(self: Arc<Self>, worker: &Worker) {
        let Some(mut hook) = self.take(Before::NoHook, Queued::MustBeTaken) else {
            return;
        };
        workers::pass_on();

        loop {
            workers::begin_task(worker);
            hook.run();

            // Other sources wait for their turn no longer than for one hook.
            let queued = if workers::others_wait() {
                Queued::MayBeLeft
            } else {
                Queued::MustBeTaken
            };

            match self.take(Before::OneEnded, queued) {
                Some(next) => hook = next,
                None => return,
            }
        }
    }

    /// Without workers the cancelling thread runs all of them.
    fn start_apart(self: Arc<Self>) {}

    /// No worker will come. The cancelling thread goes on with the hooks, and so do the threads
    /// that run one already. It does not wait yet if the source is listed (invariant 2).
    fn refuse(self: Arc<Self>, _error: io::Error) {
        let mut queue = self.queue.lock();
        if queue.listed {
            self.unlist(&mut queue);
        }
    }
}

struct HookQueue<H> {
    queued: vec::IntoIter<H>,
    running: usize,
    listed: bool,
}

impl<H> HookQueue<H> {
    fn take(&mut self, queued: Queued) -> Option<H> {
        // Invariant 2: a hook is left behind only while the source is listed.
        let leaves = queued == Queued::MayBeLeft && self.listed;
        if self.running == MOST || leaves {
            return None;
        }

        // Invariant 1: only this thread gets the hook.
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
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Queued::{MayBeLeft, MustBeTaken};
    use super::{HookQueue, MOST};

    fn queue(hooks: usize) -> HookQueue<usize> {
        HookQueue {
            queued: (0..hooks).collect::<Vec<_>>().into_iter(),
            running: 0,
            listed: true,
        }
    }

    #[test]
    fn hooks_are_taken_in_order_up_to_the_most() {
        let mut queue = queue(MOST + 1);
        for expected in 0..MOST {
            assert!(
                !queue.is_listed_in_vain(),
                "a worker could take hook {expected}"
            );
            assert_eq!(queue.take(MustBeTaken), Some(expected));
        }
        assert_eq!(queue.take(MustBeTaken), None, "as many run as may");
        assert!(queue.is_listed_in_vain() && !queue.is_over());
        queue.listed = false;
        queue.running -= 1;
        assert_eq!(
            queue.take(MayBeLeft),
            Some(MOST),
            "a worker leaves nothing that is not listed"
        );
        assert_eq!(queue.take(MustBeTaken), None);
        queue.running = 0;
        assert!(queue.is_over());
    }

    #[test]
    fn a_worker_leaves_hooks_of_a_listed_source_to_others() {
        let mut queue = queue(2);
        assert_eq!(queue.take(MustBeTaken), Some(0));
        assert!(!queue.is_listed_in_vain(), "a worker could take the other");
        queue.running -= 1;
        assert_eq!(queue.take(MayBeLeft), None);
        assert!(!queue.is_over(), "another worker comes");
        assert_eq!(queue.take(MustBeTaken), Some(1));
        assert!(queue.is_listed_in_vain() && !queue.is_over());
    }
}
