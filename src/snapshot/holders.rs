//! The threads that hold the objects of waits, as far as both are true at one moment.

use std::collections::HashMap;
use std::sync::Arc;

use super::Holder;
use super::collect::ReadThread;
use crate::cancel::TaskId;
use crate::lanes::{FrameKind, HeldView, Lane, LaneView};
use crate::waiting::WaitKind;

/// How many tasks a wait names at most.
const MOST_HOLDERS: usize = 8;

/// Which threads hold which objects.
pub(super) struct Holders {
    by_object: HashMap<usize, Vec<Candidate>>,
}

/// A thread that held an object when its lane was read.
struct Candidate {
    source: &'static Lane,
    number: u64,
    thread: Option<Arc<str>>,
}

impl Holders {
    pub(super) fn of(threads: &[ReadThread]) -> Self {
        let mut by_object: HashMap<usize, Vec<Candidate>> = HashMap::new();
        for thread in threads {
            // Objects are compared by address: it cannot be reused while a thread waits for one.
            for held in &thread.lane.held {
                by_object.entry(held.object).or_default().push(Candidate {
                    source: thread.source,
                    number: thread.lane.number,
                    thread: thread.name.clone(),
                });
            }
        }
        Holders { by_object }
    }

    /// Returns the threads that hold the object for which `waiter` waits. They are named only if
    /// they hold it while the wait lasts: so both are true at one moment.
    pub(super) fn hold(&self, address: usize, kind: WaitKind, waiter: &ReadThread) -> Vec<Holder> {
        let Some(candidates) = self.by_object.get(&address) else {
            return Vec::new();
        };

        // The lanes are read again: the task that held the object before may have ended, and the
        // next task of its thread may hold it.
        let holding = candidates
            .iter()
            .filter_map(|candidate| candidate.look(address));
        let holders: Vec<_> = holding.take(MOST_HOLDERS).collect();

        // An unlock is shown a moment after it. Of two threads that seem to hold what only one can,
        // it is not known which does.
        if holders.len() > 1 && is_exclusive(kind) {
            return Vec::new();
        }

        if still_waits(waiter) {
            holders
        } else {
            Vec::new()
        }
    }
}

/// Whether a thread is still in the wait in which it was read.
pub(super) fn still_waits(thread: &ReadThread) -> bool {
    let again = thread.source.view().and_then(Result::ok);

    // Invariant 3 of the lanes: the same version and a wait mean the same wait.
    again.is_some_and(|view| {
        view.number == thread.lane.number
            && view.version == thread.lane.version
            && view.wait.is_some()
    })
}

impl Candidate {
    /// Returns the holder if the thread holds the object now.
    fn look(&self, address: usize) -> Option<Holder> {
        let view = self.source.view()?.ok()?;
        let held = view.held.iter().find(|held| held.object == address)?;

        // Another thread may have the lane by now.
        if view.number != self.number {
            return None;
        }

        // A busy list keeps the name back; the number of the task says which it is.
        let task = taken_by(&view, held);
        let name = task.and_then(|task| {
            let names = self.source.names().ok()?.into_iter();
            names.rev().find(|(of, _)| *of == task.0)
        });

        Some(Holder {
            task,
            name: name.map(|(_, name)| name.into()),
            thread: self.thread.as_deref().map(str::to_owned),
            location: held.location,
        })
    }
}

/// Whether only one thread at a time can hold what a wait of this kind is for.
fn is_exclusive(kind: WaitKind) -> bool {
    matches!(
        kind,
        WaitKind::Mutex | WaitKind::OnceCell | WaitKind::Deregister
    )
}

/// Returns the task, or the body, that took an object: the innermost frame at that time.
fn taken_by(view: &LaneView, held: &HeldView) -> Option<TaskId> {
    let frames = view.frames.iter().take(held.depth as usize).rev();
    let mut actors = frames
        .into_iter()
        .filter(|frame| frame.kind.is_task() || frame.kind == FrameKind::Scope);
    actors.next().map(|frame| TaskId(frame.id))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::Location;

    use super::*;
    use crate::lanes::{HeldAs, Object, Share, WaitFlags};

    const OBJECT: usize = 0x10;

    fn holder() -> ReadThread {
        let lane = Lane::apart();
        lane.hold(OBJECT, HeldAs::Exclusive, Location::caller());
        ReadThread::of(lane)
    }

    fn begin_wait(lane: &Lane) {
        let flags = WaitFlags {
            is_cancellable: true,
            is_limited: false,
            is_foreign: false,
            share: Share::default(),
        };
        let kind = WaitKind::Mutex as u8;
        lane.begin_wait(kind, Object::At(OBJECT), flags, Location::caller());
    }

    fn waiter() -> ReadThread {
        let lane = Lane::apart();
        begin_wait(lane);
        ReadThread::of(lane)
    }

    #[test]
    fn of_two_threads_that_seem_to_hold_what_one_can_hold_neither_is_named() {
        let holders = [holder(), holder()];
        let waiter = waiter();
        let named = |threads, kind| Holders::of(threads).hold(OBJECT, kind, &waiter).len();
        assert_eq!(named(&holders[..1], WaitKind::Mutex), 1);
        assert_eq!(named(&holders, WaitKind::Mutex), 0);
        assert_eq!(named(&holders, WaitKind::Write), 2);
    }

    #[test]
    fn for_a_wait_that_has_ended_no_holder_is_named() {
        let (holders, waiter) = (Holders::of(&[holder()]), waiter());
        let named = || holders.hold(OBJECT, WaitKind::Mutex, &waiter).len();
        assert_eq!(named(), 1);
        waiter.source.end_wait();
        assert_eq!(named(), 0);
        // The next wait is another one.
        begin_wait(waiter.source);
        assert_eq!(named(), 0);
    }
}
