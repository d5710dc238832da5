//! The threads that fire deadlines nobody waits under.
//!
//! A wait under a deadline ends by itself, and a check reads the clock. Only a callback or a hook
//! needs somebody else to look at the time, and so does a hook that is to be run again.
//!
//! One thread watches the clock. What it fires may run the user's code, for as long as that likes;
//! so while anything else can become due, another thread takes over the watch before that. A thread
//! that comes back to find the watch taken is the spare one, or ends if there is one already. A
//! program with few callbacks has one thread, and none while it has had nothing to fire for a
//! while.
//!
//! # Invariants
//!
//! 1. A node has at most one entry, at the instant that its `armed` says, and none once it is
//!    dropped. `armed` changes under the lock of the timer.
//! 2. An entry is taken out before the limits of its node are looked at, and put in after. So
//!    whoever finds one that is early enough leaves it to the thread that will take it out.
//! 3. While there are entries, somebody watches, is on the way, or fires and will look again.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::TokenId;
use super::deadline::{NEVER, decode, encode};
use super::node::Node;
use super::repeat::Repeat;
use crate::facade::{
    self, Mutex, MutexGuard, Unparker, contained, global, park_timeout, start_thread,
};
use crate::panics::log;

/// How long a thread stays that has nothing to do.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

global! {
    /// The deadlines to fire.
    static TIMER: Mutex<Timer> = Mutex::new(Timer::default());
}

/// When, and a number that tells apart what is due at the same instant.
type Key = (u64, u64);

#[derive(Default)]
struct Timer {
    entries: BTreeMap<Key, Entry>,
    watch: Watch,
    spare: Option<(u64, Unparker)>,
}

enum Entry {
    /// Look at the limits of a node.
    Expire(Weak<Node>),
    /// Run a hook again.
    Repeat(Weak<Repeat>),
}

/// Who watches the clock.
#[derive(Default)]
enum Watch {
    #[default]
    Nobody,
    /// A thread that is on its way.
    Coming,
    /// A thread that sleeps until then at the most.
    Until(u64, Unparker),
}

impl Timer {
    /// Enters `node` for its next limit; when that is, if it was not entered for so early an
    /// instant.
    fn enter(&mut self, node: &Arc<Node>, at: u64) -> Option<u64> {
        let armed = node.armed.load(Relaxed);
        if armed <= at {
            return None;
        }
        self.entries.remove(&(armed, node.id().0));
        node.armed.store(at, Relaxed);
        self.entries
            .insert((at, node.id().0), Entry::Expire(Arc::downgrade(node)));
        Some(at)
    }

    fn enter_repeat(&mut self, repeat: &Arc<Repeat>, at: u64) {
        self.entries.insert(
            (at, TokenId::next().0),
            Entry::Repeat(Arc::downgrade(repeat)),
        );
    }

    /// Takes out the first entry, if its time has come.
    fn take_due(&mut self, now: u64) -> Option<Entry> {
        let (key, _) = self
            .entries
            .first_key_value()
            .filter(|((at, _), _)| *at <= now)?;
        let key = *key;
        self.entries.remove(&key)
    }
}

/// Sees to it that `node` is looked at when its next limit is reached.
pub(super) fn arm(node: &Arc<Node>) {
    if !facade::TIME_PASSES {
        return;
    }
    let Some(at) = node.next_limit().map(encode) else {
        return;
    };
    let mut timer = TIMER.lock();
    if let Some(at) = timer.enter(node, at) {
        attend(timer, at);
    }
}

/// Forgets a node, which is being dropped.
pub(super) fn disarm(armed: u64, node: TokenId) {
    let entry = TIMER.lock().entries.remove(&(armed, node.0));
    drop(entry);
}

/// Sees to it that a hook is run again.
pub(super) fn arm_repeat(at: Instant, repeat: &Arc<Repeat>) {
    if facade::TIME_PASSES {
        let mut timer = TIMER.lock();
        timer.enter_repeat(repeat, encode(at));
        attend(timer, encode(at));
    }
}

/// Sees to it that somebody looks at the clock `at` that instant.
fn attend(mut timer: MutexGuard<'_, Timer>, at: u64) {
    match &timer.watch {
        Watch::Coming => {}
        Watch::Until(until, thread) => {
            let thread = (at < *until).then(|| thread.clone());
            drop(timer);
            if let Some(thread) = thread {
                thread.unpark();
            }
        }
        Watch::Nobody => {
            timer.watch = Watch::Coming;
            if let Some((_, thread)) = timer.spare.take() {
                drop(timer);
                return thread.unpark();
            }
            drop(timer);
            if let Err(error) = start_thread("taskgroup-timer", None, || contained(run)) {
                TIMER.lock().watch = Watch::Nobody;
                log(
                    || tracing::error!(%error, "no thread for the deadlines of cancel callbacks and for hooks that repeat"),
                );
            }
        }
    }
}

fn run() {
    let me = TokenId::next().0;
    let mut idle_since = Instant::now();
    let mut timer = TIMER.lock();
    // At the head of the loop the watch is this thread's.
    loop {
        let now = Instant::now();
        if let Some(entry) = timer.take_due(encode(now)) {
            timer.watch = Watch::Nobody;
            timer = fire(timer, entry);
            if !matches!(timer.watch, Watch::Nobody) {
                let Some(taken) = stand_by(timer, me) else {
                    return;
                };
                timer = taken;
            }
            idle_since = Instant::now();
            continue;
        }
        let next = timer.entries.first_key_value().map(|((at, _), _)| *at);
        if next.is_some() {
            idle_since = now;
        }
        // What is entered for a far instant may be gone long before that: it is taken out without a
        // wake.
        let idle_until = encode(idle_since + IDLE_LIMIT);
        let until = next.map_or(idle_until, |next| next.min(idle_until));
        let left = decode(until).map_or(IDLE_LIMIT, |until| until.saturating_duration_since(now));
        if next.is_none() && left.is_zero() {
            timer.watch = Watch::Nobody;
            return;
        }
        timer.watch = Watch::Until(until, Unparker::current());
        drop(timer);
        park_timeout(left);
        timer = TIMER.lock();
    }
}

/// Does what is due, with the lock released and the watch given away, if there is anything to watch
/// for.
fn fire(timer: MutexGuard<'static, Timer>, entry: Entry) -> MutexGuard<'static, Timer> {
    enum Due {
        Node(Arc<Node>),
        Repeat(Arc<Repeat>),
    }

    let due = match entry {
        Entry::Expire(node) => node.upgrade().map(|node| {
            node.armed.store(NEVER, Relaxed);
            Due::Node(node)
        }),
        Entry::Repeat(repeat) => repeat.upgrade().map(Due::Repeat),
    };
    let Some(due) = due else { return timer };
    match timer.entries.first_key_value() {
        Some(((at, _), _)) => {
            let at = *at;
            attend(timer, at);
        }
        None => drop(timer),
    }
    let again = match &due {
        Due::Node(node) => {
            node.expire();
            // A deadline that was moved, or a shield that was lifted, leaves a later limit.
            if node.is_flagged() {
                None
            } else {
                node.next_limit()
            }
        }
        Due::Repeat(repeat) => repeat.fire(),
    };
    let mut timer = TIMER.lock();
    let entered = again.map(encode).and_then(|at| match &due {
        Due::Node(node) => timer.enter(node, at),
        Due::Repeat(repeat) => {
            timer.enter_repeat(repeat, at);
            Some(at)
        }
    });
    // With nobody at the watch it is this thread that goes on with it.
    match entered.filter(|_| !matches!(timer.watch, Watch::Nobody)) {
        Some(at) => attend(timer, at),
        None => drop(timer),
    }
    // Not under the lock, which the drop of a node takes.
    drop(due);
    TIMER.lock()
}

/// Waits as the spare thread, until it is to watch; none if it is not needed.
fn stand_by(mut timer: MutexGuard<'static, Timer>, me: u64) -> Option<MutexGuard<'static, Timer>> {
    if timer.spare.is_some() {
        return None;
    }
    timer.spare = Some((me, Unparker::current()));
    let since = Instant::now();
    loop {
        let left = IDLE_LIMIT.saturating_sub(since.elapsed());
        drop(timer);
        park_timeout(left);
        timer = TIMER.lock();
        if timer.spare.as_ref().is_none_or(|(spare, _)| *spare != me) {
            return Some(timer);
        }
        if left.is_zero() {
            timer.spare = None;
            return None;
        }
    }
}
