//! The slot: the word that a blocking thread publishes and a cancel marks.
//!
//! # The word
//!
//! | bit | set by | cleared by | meaning |
//! |---|---|---|---|
//! | `CANCEL` | the cancelling thread, under the lock of the node that the slot is attached to | attach, under the node's lock | the scope is cancelled |
//! | `TIMED` | attach, or the thread that sets a deadline, under the node's lock | attach | the scope has a deadline: a check must read the clock |
//! | `PARKED` | the owner | the owner | the owner is about to park, or parked: a mark must unpark it |
//! | `POLLING` | the owner | the owner | the owner is about to wait for a descriptor, or waits: a mark must wake its waker (see [`polling`]) |
//! | `HOOKED` | the owner | the owner | `hook` holds a hook that a mark must run |
//! | `FIRING` | the thread that sees `HOOKED` and sets `CANCEL`, or is to run the hook again, in the same exchange; the owner, if `CANCEL` came first | the thread that has run the hook, after the hook has returned | the hook is being run, or waits for its turn |
//!
//! # Invariants
//!
//! 1. Every write of the word is a read-modify-write, so all writes of one word are totally
//!    ordered: of a publish and a mark, the second sees the first. Either the mark sees `PARKED`
//!    or `POLLING` and wakes, or the publish sees `CANCEL` and the owner does not block. No fence
//!    and no `SeqCst` is needed.
//! 2. `CANCEL` and `TIMED` are written only under the lock of the node that the slot is attached
//!    to. A slot is attached to at most one node, and detaches under the same lock. So a node that
//!    a thread has left can no longer mark the slot.
//! 3. Wakes are sticky and happen outside all locks. A wake may come late, when the owner is
//!    already in another wait: every wait looks at its own condition again.
//! 4. `hook` is written by the owner while neither `HOOKED` nor `FIRING` is set, and read by the
//!    cancelling thread, or by one worker in its stead, while `FIRING` is set.

mod hook;
#[cfg_attr(not(any(unix, loom)), path = "slot/no_poll_state.rs")]
mod poll_state;
#[cfg(any(unix, loom))]
mod polling;
#[cfg(any(unix, loom))]
mod spins;

use std::fmt;
use std::ops::BitOrAssign;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

use super::shown_wait::ShownWait;
use super::{OnCancel, WaitFor};
use crate::facade::{self, AtomicU32, Cell, Ordering, Track, Unparker};
use crate::workers::{self, Blocking, Refusal};

use poll_state::PollState;
#[cfg(any(unix, loom))]
pub(crate) use polling::Polled;

const CANCEL: u32 = 1;
const TIMED: u32 = 1 << 1;
const PARKED: u32 = 1 << 2;
const HOOKED: u32 = 1 << 3;
const FIRING: u32 = 1 << 4;
const POLLING: u32 = 1 << 5;

/// A hook with its lifetime erased.
type HookPointer = *const (dyn Fn() + Send + Sync);

/// The place where one thread waits, or one region with a cancel hook.
///
/// # Memory ordering
///
/// A publish releases the owner's earlier writes to the cancelling thread, if the mark sees the
/// publish. A mark releases the cancelling thread's earlier writes to the owner, if the owner sees
/// `CANCEL`. The end of a hook happens before the return of `unhook`.
///
/// # Safety of the hook
///
/// `hook` points to a closure on the stack of the owner, with its lifetime erased. Only two threads
/// may dereference it: the thread that set `FIRING`, in the exchange that saw `HOOKED` and no
/// `FIRING` (invariant 4), or one thread that was handed the `Marked` of that exchange under a
/// lock. `with_hook` does not return, by value or by panic, before `HOOKED` is cleared and `FIRING`
/// has been seen clear. So the closure outlives every use. The word has one modification order, so
/// no `FIRING` can follow the clearing of `HOOKED`. The closure is `Sync`, so another thread may
/// call it. Without the wait for `FIRING` the model `broken_wait_withdraw_ignores_firing` fails.
pub(crate) struct Slot(CachePadded<SlotFields>);

struct SlotFields {
    word: AtomicU32,
    unparker: Unparker,
    poll: PollState,
    hook: Cell<Option<HookPointer>>,
    _leaks: Track,
}

// SAFETY: the only field that is not Send and Sync by itself is `hook`; see "Safety of the hook".
unsafe impl Send for Slot {}
// SAFETY: as above.
unsafe impl Sync for Slot {}

/// Why a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Woken {
    /// The condition holds.
    Ready,
    /// The slot was marked, and a cancel ends the wait.
    Marked,
    /// The limit has passed.
    TimedOut,
    /// A task has to fail first, outside the wait. Then the wait can begin again.
    Refused,
}

/// The marks that a slot takes over from the node it is attached to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks(u32);

impl Marks {
    /// The scope is neither cancelled nor under a deadline.
    pub(crate) const NONE: Self = Marks(0);
    /// The scope is cancelled.
    pub(crate) const CANCELLED: Self = Marks(CANCEL);
    /// A deadline holds in the scope.
    pub(crate) const TIMED: Self = Marks(TIMED);
}

impl BitOrAssign for Marks {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// The outcome of an attempt to run a hook again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fired {
    /// It has run.
    Again,
    /// Another thread is running it.
    Busy,
    /// Its region has ended, or is about to.
    Never,
}

/// The word that a mark saw. It says what remains to be woken.
#[derive(Debug)]
#[must_use]
pub(crate) struct Marked(u32);

impl Marked {
    /// Whether the mark has to run a hook.
    pub(crate) fn has_hook(&self) -> bool {
        self.0 & HOOKED != 0
    }
}

impl Slot {
    /// Returns a new slot of this thread.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Slot(CachePadded::new(SlotFields {
            word: AtomicU32::new(0),
            unparker: Unparker::current(),
            poll: PollState::new(),
            hook: Cell::new(None),
            _leaks: Track::new(),
        })))
    }

    /// Whether both are slots of the same thread. A thread may have several.
    pub(crate) fn is_of_thread_of(&self, other: &Self) -> bool {
        self.0.unparker.is_of_thread_of(&other.0.unparker)
    }

    /// Whether the scope is neither cancelled nor under a deadline. For the owner: it costs one
    /// load.
    #[inline(always)]
    pub(crate) fn is_clear(&self) -> bool {
        // Relaxed: an owner that sees a mark takes the node's lock before it reads anything.
        self.0.word.load(Ordering::Relaxed) & (CANCEL | TIMED) == 0
    }

    /// Whether the scope is cancelled.
    #[inline]
    pub(crate) fn is_marked(&self) -> bool {
        // Acquire pairs with the release of `mark`.
        self.0.word.load(Ordering::Acquire) & CANCEL != 0
    }

    /// Whether a deadline holds in the scope.
    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        self.0.word.load(Ordering::Relaxed) & TIMED != 0
    }

    /// Whether a mark would run a hook.
    pub(crate) fn is_hooked(&self) -> bool {
        self.0.word.load(Ordering::Relaxed) & HOOKED != 0
    }

    /// Takes over the marks of the node that the slot is being attached to. The caller holds the
    /// lock of that node (invariant 2).
    pub(crate) fn attach(&self, marks: Marks) {
        // Relaxed: the owner itself attaches, and the lock of the node orders the rest.
        self.0.word.fetch_and(!(CANCEL | TIMED), Ordering::Relaxed);
        if marks.0 != 0 {
            self.0.word.fetch_or(marks.0, Ordering::Relaxed);
        }
    }

    /// Marks the scope as cancelled. The caller holds the lock of the node (invariant 2), and wakes
    /// after it has released the lock (invariant 3).
    pub(crate) fn mark(&self) -> Marked {
        let mut word = self.0.word.load(Ordering::Relaxed);
        loop {
            let firing = if word & HOOKED != 0 { FIRING } else { 0 };
            let marked = word | CANCEL | firing;

            // AcqRel (invariant 1): acquires the owner's hook, releases the cancel to the owner.
            match self.0.word.compare_exchange_weak(
                word,
                marked,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Marked(word),
                Err(now) => word = now,
            }
        }
    }

    /// Wakes the owner, if it was blocked when the slot was marked.
    pub(crate) fn wake(&self, marked: &Marked) {
        if marked.0 & PARKED != 0 {
            self.unpark();
        }
        if marked.0 & POLLING != 0 {
            self.0.poll.wake();
        }
    }

    /// Says that a deadline holds in the scope now, and returns what to wake, if the owner is
    /// blocked. The caller holds the lock of the node (invariant 2), and wakes after it has
    /// released the lock (invariant 3).
    pub(crate) fn mark_timed(&self) -> Option<Marked> {
        // Release pairs with the acquire in `publish`: an owner that blocks after this sees the
        // deadline, and an owner that is blocked is woken. Acquire: its waker, see `polling`.
        let word = self.0.word.fetch_or(TIMED, Ordering::AcqRel);
        (word & (PARKED | POLLING) != 0).then_some(Marked(word))
    }

    /// Makes the owner look at its condition again.
    pub(crate) fn unpark(&self) {
        self.0.unparker.unpark();
    }

    fn publish(&self, bit: u32) -> bool {
        // AcqRel (invariant 1): releases the condition and the hook, acquires an earlier cancel.
        let word = self.0.word.fetch_or(bit, Ordering::AcqRel);
        // fault: publish-is-unchecked
        word & CANCEL != 0
    }

    /// Blocks the owner until `ready`, until the slot is marked if `on_cancel` says so, or until
    /// the instant that `until` returns. `until` is asked again after each wake. `ready` comes
    /// first: a grant is not lost to a cancel.
    ///
    /// Between the publish and the park no user code runs: a wait in that code would withdraw the
    /// publish and take the wake. `until` and `ready` are code of this crate. A task that has to
    /// fail first is left in `refused`. If it were returned, each wait would pass its outcome
    /// through memory, in pieces that the processor waits for.
    #[inline]
    pub(crate) fn wait(
        &self,
        what: WaitFor,
        location: &'static Location<'static>,
        on_cancel: OnCancel,
        mut until: impl FnMut() -> Option<Instant>,
        mut ready: impl FnMut() -> bool,
        refused: &mut Option<Refusal>,
    ) -> Woken {
        let shown = ShownWait::begin(what, location, on_cancel);
        let returns = on_cancel == OnCancel::Return;

        // fault: early-mark-is-missed
        let mut marked = self.publish(PARKED) && returns;

        let mut blocked = None;
        let woken = loop {
            // Invariant 3: each wake, also a late one, leads to a look at the condition.
            if ready() {
                break Woken::Ready;
            }
            if marked {
                break Woken::Marked;
            }

            let Some(limit) = time_left(until()) else {
                break Woken::TimedOut;
            };

            // The thread gives its place among the workers away only once it is sure to park.
            if blocked.is_none() {
                blocked = give_place_away(&shown, refused);
                if blocked.is_none() {
                    break Woken::Refused;
                }
            } else {
                shown.end_look();
            }
            match limit {
                None => facade::park(),
                Some(limit) => facade::park_timeout(limit),
            }
            shown.begin_look();

            // fault: late-mark-is-missed
            // fault: every-wake-is-believed
            marked = returns && self.is_marked();
        };

        // Relaxed: a cancelling thread reads only the unparker of a wait, which never changes.
        self.0.word.fetch_and(!PARKED, Ordering::Relaxed);
        woken
    }

    /// Runs `f`, in which foreign code blocks the owner. `on_cancel` says what that code does when
    /// the scope is cancelled.
    #[cfg(feature = "crossbeam")]
    pub(crate) fn blocked<T>(
        &self,
        what: WaitFor,
        location: &'static Location<'static>,
        on_cancel: OnCancel,
        f: impl FnOnce() -> T,
    ) -> T {
        let _blocked = loop {
            match workers::blocking() {
                Ok(blocking) => break blocking,
                Err(refusal) => refusal.fail(),
            }
        };

        let shown = ShownWait::begin_foreign(what, location, on_cancel);
        shown.stamp();
        f()
    }
}

/// Returns how long a wait until `until` may last; a wait without an end has no limit. Returns
/// `None` once the instant has passed.
#[inline]
fn time_left(until: Option<Instant>) -> Option<Option<Duration>> {
    let Some(until) = until else {
        return Some(None);
    };

    let left = until.checked_duration_since(facade::now())?;
    (!left.is_zero()).then_some(Some(left))
}

/// Gives the place of this thread among the workers away. Returns `None` if a task has to fail
/// first, which is left in `refused`.
#[inline]
fn give_place_away(shown: &ShownWait, refused: &mut Option<Refusal>) -> Option<Blocking> {
    shown.stamp();
    match workers::blocking() {
        Ok(blocking) => Some(blocking),
        Err(refusal) => {
            *refused = Some(refusal);
            None
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}
