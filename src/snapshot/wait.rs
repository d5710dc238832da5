//! A wait, as a snapshot finds it.

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::panic::Location;
use std::time::Duration;

use crate::cancel::{TaskId, TokenId};
use crate::facade::Leaked;

/// The wait of a task: its kind, place, object and age.
///
/// ```
/// use taskgroup::{TaskGroup, TaskSnapshot, snapshot, sync::Mutex};
///
/// let lock = Mutex::new(());
/// TaskGroup::scope(|g| {
///     let guard = lock.lock()?;
///     let task = g.spawn(|| Ok(drop(lock.lock()?)));
///     let wait = loop {
///         let seen = snapshot();
///         let seen = seen.tasks().find(|seen| seen.id() == task.id());
///         match seen.and_then(TaskSnapshot::waits) {
///             Some(wait) if wait.what() == "Mutex::lock" => break wait.clone(),
///             _ => std::thread::yield_now(),
///         }
///     };
///     assert!(wait.location().is_some() && wait.object().is_some());
///     drop(guard);
///     Ok(())
/// })?;
/// # Ok::<(), taskgroup::GroupError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Wait {
    pub(super) what: Cow<'static, str>,
    pub(super) location: Option<&'static Location<'static>>,
    pub(super) object: Option<ObjectId>,
    pub(super) target: Option<String>,
    pub(super) group: Option<TokenId>,
    pub(super) holders: Vec<TaskId>,
    pub(super) held_by: Vec<Holder>,
    pub(super) since: Duration,
    pub(super) has_seen_cancel: bool,
    pub(super) is_cancellable: bool,
}

/// A thread that holds what a task waits for.
///
/// ```
/// use taskgroup::{Holder, Wait};
///
/// /// The places where locks were taken for which others wait.
/// fn taken_at(wait: &Wait) -> impl Iterator<Item = String> {
///     let places = wait.held_by().iter().map(|Holder { location, .. }| location);
///     places.flatten().map(|place| place.to_string())
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Holder {
    /// The task that the thread was in when it took it; none outside of any task.
    pub task: Option<TaskId>,
    /// The name of that task.
    pub name: Option<String>,
    /// The name of the thread.
    pub thread: Option<String>,
    /// The call that took it.
    pub location: Option<&'static Location<'static>>,
}

impl Holder {
    pub(crate) fn new(
        task: Option<TaskId>,
        name: Option<String>,
        thread: Option<String>,
        location: Option<&'static Location<'static>>,
    ) -> Self {
        Holder {
            task,
            name,
            thread,
            location,
        }
    }
}

/// Tells the objects apart that are waited for. It is an address in disguise: no two objects that
/// live at the same time have one id, and all snapshots and reports name an object alike for as
/// long as it stays in its place.
///
/// ```
/// use std::collections::HashMap;
/// use taskgroup::{ObjectId, snapshot};
///
/// // For how many tasks each object is the reason to wait.
/// let seen = snapshot();
/// let mut waiting: HashMap<ObjectId, usize> = HashMap::new();
/// for object in seen.tasks().filter_map(|task| task.waits()?.object()) {
///     *waiting.entry(object).or_default() += 1;
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ObjectId(u64);

impl ObjectId {
    pub(crate) fn of(address: usize) -> Self {
        // An address in a log would help an attacker to get around the layout of the process.
        static DISGUISE: Leaked<[RandomState; ROUNDS]> = Leaked::new();
        let keys = DISGUISE.get_or_make(|| [(); ROUNDS].map(|()| RandomState::new()));
        ObjectId(disguise(address as u64, |round, half| {
            keys[round].hash_one(half)
        }))
    }
}

/// How many bits of an address are disguised: all that processors use for a process in common.
const BITS: u32 = 48;

/// How many halves are exchanged for others. Four make a random permutation (Luby and Rackoff).
const ROUNDS: usize = 4;

/// Returns the number of an address, a permutation of `BITS` bits: two addresses have two numbers,
/// which a hash of the same length could not promise. A Feistel network, with `hash` as its rounds.
fn disguise(address: u64, hash: impl Fn(usize, u64) -> u64) -> u64 {
    const HALF: u32 = BITS / 2;
    const MASK: u64 = (1 << HALF) - 1;

    let (mut left, mut right) = (address >> HALF & MASK, address & MASK);
    for round in 0..ROUNDS {
        (left, right) = (right, left ^ (hash(round, right) & MASK));
    }

    // The bits above stand above the number, and are mostly zero.
    let above = address >> BITS << BITS;
    above | left << HALF | right
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:012x}", self.0)
    }
}

impl Wait {
    /// Returns the call that blocks, such as `Mutex::lock` or `TcpListener::accept`. For a call of
    /// the system in other code it says so: `read (system call, not of this crate)`.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Returns the place of that call, if it is a call of this crate. For the drop of a
    /// [`CallbackGuard`](crate::CallbackGuard) it is the call that registered the callback.
    pub fn location(&self) -> Option<&'static Location<'static>> {
        self.location
    }

    /// Returns the primitive that is waited for.
    pub fn object(&self) -> Option<ObjectId> {
        self.object
    }

    /// Returns what the wait is for, in words: a task, a descriptor with its peer, a process.
    pub fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// Returns the group, if the wait is for its tasks: at the end of a scope, or in
    /// [`as_completed`](crate::TaskGroup::as_completed) and its kin.
    pub fn group(&self) -> Option<TokenId> {
        self.group
    }

    /// Returns the tasks that the wait is for: the tasks that hold the lock, make the value, or are
    /// joined. Empty if that is not known, such as for a message that any sender could send.
    pub fn holders(&self) -> &[TaskId] {
        &self.holders
    }

    /// Returns the threads that hold the object, with the places where they took it.
    pub fn held_by(&self) -> &[Holder] {
        &self.held_by
    }

    /// Returns how long the thread has been asleep. It is zero if the thread has not gone to sleep
    /// yet, and for a call of the system that is not of this crate.
    pub fn since(&self) -> Duration {
        self.since
    }

    /// Returns whether the task has been told of a cancel before.
    pub fn has_seen_cancel(&self) -> bool {
        self.has_seen_cancel
    }

    /// Returns whether a cancel ends the wait.
    pub fn is_cancellable(&self) -> bool {
        self.is_cancellable
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_objects_have_one_id() {
        // As many that a hash of 32 bits would give 30 pairs of them one number.
        // Addresses of programs have no bit above `BITS`.
        let first = 1_usize << (usize::BITS.min(BITS) - 1);
        let addresses = (0..1 << 19).map(|index| first + index * 8);
        let ids: HashSet<_> = addresses.map(ObjectId::of).collect();
        assert_eq!(ids.len(), 1 << 19);
        assert!(
            ids.iter()
                .all(|id| id.to_string().len() == "#0123456789ab".len())
        );
    }

    #[test]
    fn addresses_differ_in_disguise_whatever_the_hash_is() {
        let numbers = |hash: fn(usize, u64) -> u64| {
            // In each bit of an address, the highest included.
            let addresses = (0..64).map(|bit| 1 << bit).chain([0, 3, u64::MAX]);
            addresses
                .map(|address| disguise(address, hash))
                .collect::<HashSet<_>>()
        };
        assert_eq!(numbers(|_, _| 0).len(), 67);
        assert_eq!(numbers(|_, half| half | 1).len(), 67);
        assert_eq!(
            numbers(|round, half| half.wrapping_mul(7) ^ round as u64).len(),
            67
        );
    }
}
