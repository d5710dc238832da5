//! A deadlock, as it is reported.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

use crate::cancel::{CancelToken, TaskId, TokenId};
use crate::lanes::FrameKind;
use crate::snapshot::{Holder, ObjectId};

/// How certain a deadlock is.
///
/// ```
/// use taskgroup::deadlock::{self, Certainty};
///
/// let certain = deadlock::check();
/// assert!(certain.iter().all(|deadlock| deadlock.certainty() == Certainty::Certain));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Certainty {
    /// The threads wait for each other in a cycle, and only they could let each other go on. A
    /// cancel or a deadline can still end their waits.
    Certain,
    /// Every thread of the process sleeps in a blocking point of this crate, and none of them has a
    /// time limit: no thread is left to let another go on. See
    /// [`watch_suspected`](super::watch_suspected).
    Suspected,
}

/// Threads that cannot go on.
///
/// Its `Display` says what each waits for, where, and which thread keeps it; and, if the process
/// found it by itself, what is done about it.
///
/// ```
/// // One line for a log.
/// let hook = taskgroup::deadlock::on_found(|deadlock| {
///     let tasks = deadlock.threads().iter().map(|thread| thread.to_string());
///     eprintln!("a deadlock of {}", tasks.collect::<Vec<_>>().join(" and "));
/// });
/// # drop(hook);
/// ```
#[derive(Clone, Debug)]
pub struct Deadlock {
    pub(super) certainty: Certainty,
    pub(super) threads: Vec<DeadlockedThread>,
    pub(super) tail: Vec<DeadlockedThread>,
    pub(super) group: Option<DeadlockedGroup>,
    pub(super) notes: Vec<String>,
    /// None for a deadlock that a call has found: the caller decides.
    pub(super) response: Option<Response>,
}

/// The action of the process on a deadlock, beside the report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Response {
    Nothing,
    Cancel,
    Abort,
}

/// The innermost group that has all threads of a deadlock.
#[derive(Clone)]
pub(super) struct DeadlockedGroup {
    pub(super) id: TokenId,
    pub(super) name: Option<Cow<'static, str>>,
    pub(super) location: Option<&'static Location<'static>>,
    pub(super) token: CancelToken,
}

/// A thread that cannot go on.
///
/// Its `Display` is the task, or the body, that it runs, or else its name.
///
/// ```
/// use taskgroup::deadlock::DeadlockedThread;
///
/// /// Where the thread waits, and the places where others took what it waits for.
/// fn places(thread: &DeadlockedThread) -> String {
///     let taken = thread.waits_for().iter().filter_map(|holder| holder.location);
///     let taken: Vec<_> = taken.map(ToString::to_string).collect();
///     format!("{} at {}, taken at {}", thread.what(), thread.location(), taken.join(", "))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct DeadlockedThread {
    /// The number of the thread, and the version of its lane: no other wait has the same.
    pub(super) wait: (u64, u32),
    pub(super) task: Option<TaskId>,
    pub(super) name: Option<Cow<'static, str>>,
    pub(super) in_place_of: Vec<TaskId>,
    pub(super) kind: FrameKind,
    pub(super) begun_at: Option<&'static Location<'static>>,
    pub(super) thread: Option<String>,
    /// The number of the thread in the system; 0 where that is not known.
    pub(super) system: i32,
    pub(super) what: &'static str,
    pub(super) location: &'static Location<'static>,
    pub(super) object: Option<ObjectId>,
    pub(super) since: Duration,
    pub(super) is_cancellable: bool,
    pub(super) waits_for: Vec<Holder>,
    pub(super) note: Option<String>,
}

impl Deadlock {
    /// Returns whether it is certain.
    pub fn certainty(&self) -> Certainty {
        self.certainty
    }

    /// Returns the threads that wait for each other.
    pub fn threads(&self) -> &[DeadlockedThread] {
        &self.threads
    }

    /// Returns the threads that are not part of the cycle and wait for it, directly or over others.
    pub fn tail(&self) -> &[DeadlockedThread] {
        &self.tail
    }

    /// Returns the innermost group that all the threads are inside of. A cancel of it ends the
    /// deadlock, unless none of the waits [can be cancelled](DeadlockedThread::is_cancellable).
    pub fn group(&self) -> Option<TokenId> {
        self.group.as_ref().map(|group| group.id)
    }

    /// Returns whether a cancel can end it: one of the waits ends with a cancel.
    pub fn is_cancellable(&self) -> bool {
        self.threads.iter().any(|thread| thread.is_cancellable)
    }

    /// Returns the waits of its threads, which no other deadlock has.
    pub(super) fn key(&self) -> Vec<(u64, u32)> {
        let mut key: Vec<_> = self.threads.iter().map(|thread| thread.wait).collect();
        key.sort_unstable();
        key
    }
}

impl DeadlockedThread {
    /// Returns the innermost task that the thread runs; none outside of any task.
    pub fn task(&self) -> Option<TaskId> {
        self.task
    }

    /// Returns the name of that task.
    pub fn task_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the tasks that wait on the same thread while that task runs in place, the innermost
    /// first.
    pub fn in_place_of(&self) -> &[TaskId] {
        &self.in_place_of
    }

    /// Returns the name of the thread.
    pub fn thread(&self) -> Option<&str> {
        self.thread.as_deref()
    }

    /// Returns the call that blocks, such as `Mutex::lock`.
    pub fn what(&self) -> &str {
        self.what
    }

    /// Returns the place of that call. For the drop of a [`CallbackGuard`](crate::CallbackGuard) it
    /// is the call that registered the callback.
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }

    /// Returns the primitive that is waited for.
    pub fn object(&self) -> Option<ObjectId> {
        self.object
    }

    /// Returns how long the thread has been asleep.
    pub fn since(&self) -> Duration {
        self.since
    }

    /// Returns whether a cancel ends the wait.
    pub fn is_cancellable(&self) -> bool {
        self.is_cancellable
    }

    /// Returns the threads that it waits for, with the places where they took the object of the
    /// wait.
    pub fn waits_for(&self) -> &[Holder] {
        &self.waits_for
    }
}

impl fmt::Debug for DeadlockedGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeadlockedGroup").field(&self.id).finish()
    }
}
