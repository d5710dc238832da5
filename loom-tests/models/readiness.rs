//! Models of waits for a descriptor: the word, the waker, and the loop around a call.
//!
//! The kernel is a stand-in: a descriptor is a count of items, and the wait in the kernel is a park
//! that ends when there is an item or when the waker is woken.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use loom::thread;

use super::Bound::{Exhaustive, Preemptions};
use super::support::{here, must_see, saw};
use super::{Model, Watched};
use crate::cancel::context;
use crate::facade::{self, AtomicU32, Ordering, Unparker, Waker};
use crate::waiting::{KnownPatience, OnCancel, Polled, READS_WAIT, Slot, WaitKind, Woken};
use crate::{CancelToken, Cancelled};

pub(super) const MODELS: &[Model] = &[
    holds!(
        readiness_cancel_races_with_entry,
        Exhaustive,
        Exhaustive,
        "a cancel at any moment ends a wait for a descriptor, and the writes before the \
             cancel are visible after it"
    ),
    breaks!(
        broken_readiness_unchecked_publish,
        "early-mark-is-missed-in-a-poll" in readiness_cancel_races_with_entry,
        Exhaustive,
        "deadlock",
        "a wait for a descriptor that ignores the mark before it sleeps for ever"
    ),
    breaks!(
        broken_readiness_cancel_only_unparks,
        "polling-thread-is-not-woken" in readiness_cancel_races_with_entry,
        Exhaustive,
        "deadlock",
        "a cancel that does not wake the waker leaves the thread in the kernel"
    ),
    holds!(
        readiness_limit_races_with_the_question,
        Exhaustive,
        Exhaustive,
        "that a socket has no limit is not remembered beyond the moment at which one is set"
    ),
    breaks!(
        broken_readiness_answer_is_kept_after_a_change,
        "answer-is-kept-after-a-change" in readiness_limit_races_with_the_question,
        Exhaustive,
        "the limit was overlooked",
        "an answer that is kept whatever came meanwhile hides the limit"
    ),
    breaks!(
        broken_readiness_change_is_not_counted,
        "change-is-not-counted" in readiness_limit_races_with_the_question,
        Exhaustive,
        "the limit was overlooked",
        "a change that only takes the answers away lets an old answer come after it"
    ),
    holds!(
        readiness_deadline_races_with_entry,
        Exhaustive,
        Exhaustive,
        "a deadline that is set while a thread begins to wait for a descriptor is taken up"
    ),
    holds!(
        readiness_late_wake_is_drained_with_a_cancel,
        Preemptions(2),
        Preemptions(4),
        "a late wake of the scope before neither ends the next wait nor hides its cancel"
    ),
    breaks!(
        broken_readiness_looks_before_the_drain,
        "word-is-not-read-after-the-drain" in readiness_late_wake_is_drained_with_a_cancel,
        Preemptions(2),
        "deadlock",
        "a thread that reads the word only before it drains the waker loses a cancel"
    ),
    holds!(
        readiness_item_and_cancel_at_once,
        Preemptions(2),
        Preemptions(4),
        "an item that was taken from the kernel is returned, and one that was not taken stays"
    ),
];

/// A descriptor: items that can be taken without blocking.
struct Descriptor {
    items: AtomicU32,
    reader: Unparker,
}

impl Descriptor {
    /// Makes a descriptor that this thread reads.
    fn of_this_thread() -> Arc<Self> {
        Arc::new(Descriptor {
            items: AtomicU32::new(0),
            reader: Unparker::current(),
        })
    }

    fn put(&self) {
        self.items.fetch_add(1, Ordering::AcqRel);
        self.reader.unpark();
    }

    fn is_ready(&self) -> bool {
        self.items.load(Ordering::Acquire) > 0
    }

    fn take(&self) -> bool {
        let take = |items: u32| items.checked_sub(1);
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        self.items.fetch_update(set, fetch, take).is_ok()
    }

    /// The wait in the kernel, which tells all that it finds.
    fn poll(&self, waker: Option<&Waker>, limit: Option<Duration>) -> Polled {
        loop {
            if self.is_ready() {
                return Polled::Ready;
            }
            if waker.is_some_and(Waker::is_woken) {
                return Polled::Woken;
            }
            match limit {
                None => facade::park(),
                Some(limit) => facade::park_timeout(limit),
            }
        }
    }
}

fn wait(slot: &Slot, descriptor: &Descriptor) -> Woken {
    slot.wait_polling(
        WaitKind::SocketRead.into(),
        here(),
        OnCancel::Return,
        || None,
        |waker, limit| descriptor.poll(waker, limit),
        &mut None,
    )
}

fn readiness_cancel_races_with_entry() {
    let shared = Arc::new((Slot::new(), Watched::new()));
    let canceller = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.1.write();
            let marked = shared.0.mark();
            shared.0.wake(&marked);
        }
    });
    assert_eq!(
        wait(&shared.0, &Descriptor::of_this_thread()),
        Woken::Marked
    );
    shared.1.read();
    canceller.join().unwrap();
}

fn readiness_limit_races_with_the_question() {
    must_see(["asked before", "asked after"]);
    // The option of the system. Relaxed: the weakest that a system could do.
    let socket = Arc::new((KnownPatience::default(), AtomicU32::new(0)));
    let has_none = |limit: &AtomicU32| Ok(limit.load(Ordering::Relaxed) == 0);
    let setter = thread::spawn({
        let socket = socket.clone();
        move || {
            socket.1.store(1, Ordering::Relaxed);
            socket.0.note_change();
        }
    });

    let (known, limit) = &*socket;
    let waits = known
        .waits_for_ever(READS_WAIT, || has_none(limit))
        .unwrap();
    saw(if waits { "asked before" } else { "asked after" });
    setter.join().unwrap();
    assert!(!known.is_known(READS_WAIT), "the limit was overlooked");
    let waits = known
        .waits_for_ever(READS_WAIT, || has_none(limit))
        .unwrap();
    assert!(!waits, "the limit was overlooked");
}

fn readiness_deadline_races_with_entry() {
    let shared = Arc::new((Slot::new(), AtomicU32::new(0)));
    let setter = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.1.store(1, Ordering::Relaxed);
            if let Some(marked) = shared.0.mark_timed() {
                shared.0.wake(&marked);
            }
        }
    });
    let until =
        || (shared.0.is_timed() && shared.1.load(Ordering::Relaxed) == 1).then(Instant::now);
    let descriptor = Descriptor::of_this_thread();
    let woken = shared.0.wait_polling(
        WaitKind::SocketRead.into(),
        here(),
        OnCancel::Return,
        until,
        |waker, limit| descriptor.poll(waker, limit),
        &mut None,
    );
    assert_eq!(woken, Woken::TimedOut);
    setter.join().unwrap();
}

/// The read of a stream: one item, by the loop that all calls use.
fn read(descriptor: &Descriptor) -> Result<(), Cancelled> {
    let call = || match descriptor.take() {
        true => ControlFlow::Break(Ok(())),
        false => ControlFlow::Continue(()),
    };
    context::call_when_ready(
        WaitKind::SocketRead,
        || Ok::<_, Cancelled>(None),
        || unreachable!("there is no limit"),
        call,
        |waker, limit| descriptor.poll(waker, limit),
    )
}

fn readiness_late_wake_is_drained_with_a_cancel() {
    must_see([
        "the first read took the item",
        "the first read was cancelled",
    ]);
    let descriptor = Descriptor::of_this_thread();
    let (inner, outer) = (CancelToken::new(), CancelToken::new());
    let canceller = thread::spawn({
        let (descriptor, inner, outer) = (descriptor.clone(), inner.clone(), outer.clone());
        move || {
            descriptor.put();
            inner.cancel();
            outer.cancel();
        }
    });

    // The wake of the first cancel may come during the second wait.
    let first = inner.run(|| read(&descriptor));
    saw(match first {
        Ok(()) => "the first read took the item",
        Err(_) => "the first read was cancelled",
    });
    let left = u32::from(first.is_err());
    let empty = Descriptor::of_this_thread();
    let second = outer.run(|| read(&empty));
    assert!(second.is_err(), "there was no item");
    assert_eq!(descriptor.items.load(Ordering::Relaxed), left);
    canceller.join().unwrap();
}

fn readiness_item_and_cancel_at_once() {
    must_see(["an item", "a cancel"]);
    let descriptor = Descriptor::of_this_thread();
    let token = CancelToken::new();
    let threads = [
        thread::spawn({
            let descriptor = descriptor.clone();
            move || descriptor.put()
        }),
        thread::spawn({
            let token = token.clone();
            move || {
                token.cancel();
            }
        }),
    ];
    let taken = token.run(|| read(&descriptor));
    saw(if taken.is_ok() { "an item" } else { "a cancel" });
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());

    let left = u32::from(taken.is_err());
    assert_eq!(
        descriptor.items.load(Ordering::Relaxed),
        left,
        "an item was lost"
    );
}
