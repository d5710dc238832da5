//! The only module that names threading primitives and knows about loom.
//!
//! All layers above use the types of this module, so the same sources run on the operating system
//! and inside a loom model. `os` ships; `model` is built on loom. Where they promise different
//! things, the code above relies on the weaker promise: a park may return early, an unpark is
//! remembered once, a lock is not fair.

#[cfg(all(debug_assertions, not(loom)))]
mod held;
#[cfg(not(loom))]
mod os;
#[cfg(not(loom))]
pub(crate) use os::*;

#[cfg(not(loom))]
mod spin;
#[cfg(not(loom))]
pub(crate) use spin::{linger, spin};

#[cfg(loom)]
mod model;
#[cfg(loom)]
mod model_clock;
#[cfg(loom)]
pub(crate) use model::*;
#[cfg(loom)]
pub(crate) use model_clock::*;
#[cfg(loom)]
mod model_data;
#[cfg(loom)]
pub(crate) use model_data::*;

mod late;
pub(crate) use late::Late;

/// A lock that loom does not see, for data that no protocol depends on.
pub(crate) use parking_lot::Mutex as PlainMutex;

/// Runs `f`, out of which no panic may come. See [`Contained`].
pub(crate) fn contained<T>(f: impl FnOnce() -> T) -> T {
    let contained = Contained::begin();
    let value = f();
    contained.end();
    value
}

/// A guard of the protocols: a step without which a race is lost.
///
/// An ordinary build has all of them, and the test compiles to nothing. A model that must fail
/// takes one out, which shows that the models would notice its loss.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
#[allow(dead_code, reason = "some are asked for only in a model")]
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
    /// A wake that comes before the park is remembered.
    WakeIsSticky,
    /// A wait looks at its condition again after each wake.
    WaitLooksAgain,
    /// A child is listed, or handed the cancel, in the critical section that looked whether its
    /// parent is cancelled.
    AdoptUnderLock,
    /// The drop of a callback's guard waits for a callback that is running.
    DeregisterWaits,
    /// The end of a scope waits until the cancels of its node have been delivered.
    EndAwaitsDeliveries,
    /// The owner says that it waits in the critical section in which it saw that a task is left.
    OwnerSaysItWaits,
    /// The end of the last task wakes the owner, whatever daemons are left.
    OwnerSleepsForTasksAlone,
    /// A cancel empties the queue of its group.
    CancelEmptiesQueue,
    /// A task that waits for tasks of its own group gives up its permit.
    WaitGivesPermitUp,
    /// A task that waits for tasks of a group around it gives up the permits of the tasks that it
    /// is inside of.
    WaitInsideGivesPermitUp,
    /// A thread that begins to wait for tasks inside gives its permit up for those of them that
    /// wait already.
    HolderFindsWaiters,
    /// A task whose wait is cut short takes its permit back, whether one is free or not.
    CutWaitTakesAPermit,
    /// A task that ends counts the permits that its waiters take back.
    EndOwesPermits,
    /// The end of a task gives its waiters their permits back.
    EndGivesPermitBack,
    /// A worker passes the wake on before it runs a task.
    WakeIsPassedOn,
    /// A worker that blocks gives back the tasks that it has taken and not begun.
    StashIsGivenBack,
    /// A worker that blocks drops nothing of the user's between its last look and its park.
    GivingBackDropsNothing,
    /// A worker says that it has tasks stashed after it has put them there.
    StashIsFlaggedLast,
    /// A cancelled waiter looks, under the lock of the primitive, whether it was granted what it
    /// waited for.
    GrantBeatsCancel,
    /// Who waits for an event or its kin looks whether it has happened under the lock with which it
    /// enters the queue.
    GateLooksUnderLock,
    /// A cancelled waiter that was told to try for a lock tells the next.
    CancelPassesWakeOn,
    /// Who comes while a lock is handed over stands behind those who wait.
    HandOverBars,
    /// A lock that was handed over is for anybody when nobody waits for it.
    EmptyQueueBarsNobody,
    /// Between an unlock and the look at those who wait for the lock is a full fence.
    FenceAfterUnlock,
    /// Who waits for a condition variable enters its queue before unlocking the mutex.
    EnterBeforeUnlock,
    /// A wait for a wait group enters its queue in the critical section in which its reference
    /// stops to count.
    EntersAsItLeaves,
    /// A semaphore that is closed refuses the threads that wait.
    CloseRefusesWaiters,
    /// A thread that waits for permits looks whether the semaphore is closed under the lock with
    /// which it enters the queue.
    AcquireLooksUnderLock,
    /// Who is to make a value looks for one in the critical section in which it becomes its turn.
    TurnLooksUnderLock,
    /// Who was handed a turn looks for a cancel before it makes the value.
    TurnIsChecked,
    /// A barrier that was broken refuses whoever comes later.
    BrokenStays,
    /// An initialiser that fails hands over to one who waits.
    FailureHandsOver,
    /// The last end of a channel to go tells those who wait at the other.
    LastEndWakes,
    /// An end of a channel is noted in the critical section in which it goes.
    EndIsNotedAsItGoes,
    /// Whoever takes a message from a full channel puts that of a sender who waits in its place.
    RoomIsFilled,
    /// A message that comes from a waiting sender into the buffer tells one who waits to receive.
    FilledRoomTells,
    /// A call that finds the other side gone looks for a cancel that has not come down to its scope
    /// yet.
    GoneAsksAbove,
    /// A message for a receiver that waits at a channel without room is left with that receiver,
    /// not in the channel.
    HandedInPerson,
    /// A select that gives up has stood in all its queues at once.
    LooksFromTheQueues,
    /// A select is woken when the first of its cases of the clock is due.
    SelectHeedsTheClock,
    /// A message of the clock is found due and taken in one critical section.
    TickIsTakenOnce,
    /// The last receiver to go drops the messages that are left.
    LastReceiverDrops,
    /// While an item of a map has not been begun, a lane that could take it is spawned.
    LaneIsSpare,
    /// A lane that takes from the queue of a map wakes who pulls.
    LaneWakesPuller,
    /// Of several who could end the wait of one thread, the first does.
    ClaimIsOnce,
    /// Who selects looks at each channel under the lock with which it enters its queue.
    SelectLooksUnderLock,
    /// A region that is entered in a scope that was cancelled with a grace is listed for the cancel
    /// that ends the grace.
    LateRegionIsListed,
    /// A cancel without grace goes on below a node that was cancelled with one.
    CancelEndsGrace,
    /// A grace that comes later than a cancel, or than a shorter one, changes nothing.
    GraceOnlyShrinks,
    /// A hook is run again only while its region says that there is one.
    FireAgainLooks,
    /// Who waits in a region is told of the end of its grace.
    GraceWakes,
    /// A cancelled sender looks whether its message has gone in the critical section in which it
    /// takes it back.
    SendLooksUnderLock,
    /// A writer that is cancelled lets the readers behind it pass.
    WriterLetsReadersPass,
    /// A writer that becomes a reader tells the readers that wait first.
    DowngradeTellsReaders,
    /// A reader that has the lock tells the readers behind it.
    ReaderTellsReaders,
    /// A cancelled waiter leaves its queue.
    CancelLeavesQueue,
    /// A callback is registered in the critical section that looked whether the node is cancelled.
    RegisterLooksUnderLock,
    /// Callbacks run when no lock is held.
    CallbacksOutsideLock,
    /// Children are marked, and let go of, when the lock of their parent is not held.
    ChildrenOutsideLock,
    /// The end of a scope keeps the children that it looks at until the lock of their parent has
    /// been released.
    ChildrenOutliveTheLook,
    /// A task that was cancelled by its handle begins in a frame that finds its token, whether the
    /// handle is still there or not.
    CancelOutlivesHandle,
    /// A check that finds the slot marked asks the node.
    CheckAsksTheNode,
    /// A failure looks for an earlier one in the critical section in which it becomes the primary
    /// one.
    FailureLooksUnderLock,
    /// A task that needs a slot begins only if one is free.
    LimitIsKept,
    /// An event is entered in the critical section that takes its waiter.
    EventWithItsWaiter,
    /// An event gives its waiter the slot back that it had left.
    EventGivesPermitBack,
    /// A failure closes the handshake of a task that is being started.
    FailureClosesHandshake,
    /// A cancelled `start` waits for the end of its task.
    StartAwaitsTheEnd,
    /// A cancel is delivered to what has no callbacks before it runs those of others.
    QuietNodesFirst,
    /// Who waits for a token is woken before callbacks run.
    TokenWaitersFirst,
    /// Who sleeps in a scope is woken before the hooks of that are run.
    WakesBeforeHooks,
    /// A cancel whose hooks are run by several threads waits until all of them have ended.
    CancelAwaitsHooks,
}
