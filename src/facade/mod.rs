//! The one module that names a threading primitive, and the one that knows about loom.
//!
//! Everything above it uses the types of this module, so that the same sources run on the operating system and inside a
//! loom model. `os` is what ships; `model` is what loom can see through. Where they differ in what they promise, the
//! weaker promise holds for the code above: a park may return early, an unpark is remembered once, a lock is not fair.

#[cfg(not(loom))]
mod os;
#[cfg(not(loom))]
pub(crate) use os::*;

#[cfg(loom)]
mod model;
#[cfg(loom)]
pub(crate) use model::*;

/// A guard of the protocols: a step without which a race is lost.
///
/// An ordinary build has all of them, and the test compiles to nothing. A model that must fail takes one out, which shows
/// that the models would notice its loss.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(crate) enum Guard {
    /// A slot is marked while the lock of the node it is attached to is held.
    MarkUnderLock,
    /// Withdrawing a hook waits until a hook that has begun has ended.
    WithdrawWaitsForFiring,
    /// Publishing a wait looks at the word that it replaced.
    PublishIsChecked,
    /// An idle worker retires by compare and exchange.
    RetireByExchange,
    /// A result nobody wants is dropped before the task counts as ended.
    DropBeforeEnd,
    /// A group closes in the critical section in which it saw that no task is left.
    CloseUnderLock,
    /// A callback that deregisters one which waits for it does not wait.
    NoMutualWait,
    /// A spawn looks for a cancelled group in the critical section in which it queues.
    SpawnChecksUnderLock,
}
