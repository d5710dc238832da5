//! The auto traits of the public types: `Send`, `Sync`, `Unpin` and `UnwindSafe`.

use std::cell::Cell;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};

use taskgroup::channel::{
    Disconnected, Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender,
    TryRecvError, TrySendError,
};
#[cfg(all(unix, feature = "net"))]
use taskgroup::net::{
    Incoming, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixIncoming, UnixListener,
    UnixStream,
};
use taskgroup::sync::{
    Barrier, BarrierError, Condvar, Event, Latch, MappedMutexGuard, MappedWriteGuard, Mutex,
    MutexGuard, OnceCell, OwnedPermit, Permit, Promise, RateLimiter, ReadGuard, RwLock, Semaphore,
    WaitGroup, WriteGuard,
};
use taskgroup::{
    AsCompleted, Attempt, Backoff, Builder, CallbackGuard, CancelCause, CancelOnDrop, CancelToken,
    CancellableIter, Cancelled, Failure, FailureKind, GroupError, GroupStats, Jitter, Map,
    MapUnordered, OnFailure, OnPanic, PanicPayload, Ready, Retried, ScopedValue, SpawnError,
    SpawnErrorKind, StartError, TaskBuilder, TaskGroup, TaskHandle, TaskId, TaskInfo, TaskStatus,
    TaskWith, TokenId,
};

fn send<T: Send>() {}
fn sync<T: Sync>() {}
fn unpin<T: Unpin>() {}
fn unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}

macro_rules! all {
    ($($type:ty),* $(,)?) => {
        $(
            send::<$type>();
            sync::<$type>();
            unpin::<$type>();
        )*
    };
}

/// `Send`, but not `Sync`.
type NotSync = Cell<u8>;

#[test]
fn ends_of_channels_are_unwind_safe() {
    unwind_safe::<Sender<NotSync>>();
    unwind_safe::<Receiver<NotSync>>();
}

#[test]
fn tokens_groups_and_handles_are_unwind_safe() {
    fn shared_unwind_safe<T: RefUnwindSafe>() {}
    unwind_safe::<CancelToken>();
    unwind_safe::<CallbackGuard>();
    unwind_safe::<CancelOnDrop>();
    unwind_safe::<Builder>();
    unwind_safe::<TaskHandle<'static, String>>();
    unwind_safe::<TaskHandle<'static, NotSync>>();
    // Like std's scope, which code has by reference only.
    shared_unwind_safe::<TaskGroup<'static, 'static>>();
    shared_unwind_safe::<TaskGroup<'static, 'static, io::Error>>();
}

#[test]
fn signals_and_cells_are_unwind_safe() {
    unwind_safe::<Barrier>();
    unwind_safe::<Condvar>();
    unwind_safe::<Event>();
    unwind_safe::<Latch>();
    unwind_safe::<OnceCell<String>>();
    unwind_safe::<OwnedPermit>();
    unwind_safe::<Permit<'static>>();
    unwind_safe::<Promise<String>>();
    unwind_safe::<RateLimiter>();
    unwind_safe::<Semaphore>();
    unwind_safe::<WaitGroup>();
}

#[test]
fn errors_travel_between_threads() {
    all![
        Cancelled,
        CancelCause,
        GroupError,
        GroupError<io::Error>,
        GroupError<GroupError>,
        Failure,
        FailureKind,
        PanicPayload,
        SpawnErrorKind,
        SpawnError<fn()>,
    ];
    send::<SpawnError<NotSync>>();
}

#[test]
fn errors_fit_into_boxes_and_anyhow() {
    fn error<T: std::error::Error + Send + Sync + 'static>() {}
    error::<Cancelled>();
    error::<GroupError>();
    error::<GroupError<io::Error>>();
    error::<Failure>();
    error::<SpawnError<fn()>>();
}

#[test]
fn groups_and_handles_are_shared_by_tasks() {
    all![
        TaskGroup<'static, 'static>,
        TaskGroup<'static, 'static, io::Error>,
        TaskBuilder<'static, 'static, anyhow::Error>,
        TaskWith<'static, 'static, anyhow::Error, u8>,
        Builder,
        TaskHandle<'static, String>,
    ];
    send::<TaskHandle<'static, NotSync>>();
    unpin::<TaskHandle<'static, NotSync>>();
    send::<TaskHandle<'static, Result<NotSync, Failure>>>();
}

#[test]
fn tokens_and_guards_travel_between_threads() {
    all![CancelToken, CallbackGuard, CancelOnDrop, TokenId];
    #[cfg(feature = "tokio")]
    all![taskgroup::tokio_bridge::Link];
}

#[test]
fn iterations_travel_between_threads() {
    type Items = std::ops::Range<u8>;
    all![
        AsCompleted<'static, String>,
        Map<'static, Items, String>,
        MapUnordered<'static, Items, String>,
        CancellableIter<Items>,
        Ready<String>,
        StartError,
    ];
    send::<Map<'static, Items, NotSync>>();
    send::<Ready<NotSync>>();
}

#[cfg(feature = "tokio")]
#[test]
fn futures_travel_between_threads() {
    use taskgroup::tokio_bridge::SpawnBlocking;

    all![SpawnBlocking<String>, SpawnBlocking<NotSync>];
}

#[test]
fn plain_values_travel_between_threads() {
    all![ScopedValue<String>, ScopedValue<std::sync::Mutex<u8>>];
    all![GroupStats, OnFailure, OnPanic, TaskId, TaskInfo, TaskStatus];
    all![Attempt, Jitter, Retried, Backoff, Backoff<NotSync>];
}

#[test]
fn primitives_are_shared_by_tasks() {
    all![
        Barrier,
        Condvar,
        Event,
        Latch,
        Semaphore,
        Permit<'static>,
        OwnedPermit,
        RateLimiter,
        WaitGroup
    ];
    all![
        Mutex<String>,
        RwLock<String>,
        OnceCell<String>,
        Promise<String>
    ];
    all![Mutex<NotSync>];
    sync::<MutexGuard<'static, String>>();
    sync::<ReadGuard<'static, String>>();
    sync::<WriteGuard<'static, String>>();
    sync::<MappedMutexGuard<'static, String>>();
    sync::<MappedWriteGuard<'static, String>>();
}

#[test]
fn channels_carry_messages_that_are_only_send() {
    all![Sender<NotSync>, Receiver<NotSync>];
    send::<SendError<NotSync>>();
    all![
        SendError<String>,
        TrySendError<String>,
        SendTimeoutError<String>
    ];
    all![
        Disconnected,
        RecvError,
        TryRecvError,
        RecvTimeoutError,
        BarrierError
    ];
}

#[cfg(all(unix, feature = "process"))]
#[test]
fn children_are_shared_by_tasks() {
    use taskgroup::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Partial};

    all![
        Command,
        Child,
        ChildStdin,
        ChildStdout,
        ChildStderr,
        Partial
    ];
    unwind_safe::<Child>();
    unwind_safe::<Partial>();
}

#[cfg(all(unix, feature = "net"))]
#[test]
fn sockets_are_shared_by_tasks() {
    all![
        TcpListener,
        TcpStream,
        UdpSocket,
        UnixListener,
        UnixStream,
        UnixDatagram,
        Incoming<'static>,
        UnixIncoming<'static>,
    ];
    // Like std's: a handle is only a descriptor.
    unwind_safe::<TcpListener>();
    unwind_safe::<TcpStream>();
    unwind_safe::<UdpSocket>();
}

#[cfg(all(unix, feature = "io"))]
#[test]
fn ends_of_pipes_and_streams_are_shared_by_tasks() {
    use taskgroup::io::{
        BufReader, Cancellable, Fifo, Lines, PipeReader, PipeWriter, Stdin, StdinLock,
    };

    all![PipeReader, PipeWriter, Fifo, Stdin];
    all![Cancellable<std::fs::File>, Lines<BufReader<PipeReader>>];
    unpin::<Lines<StdinLock<'static>>>();

    unwind_safe::<PipeReader>();
    unwind_safe::<PipeWriter>();
    unwind_safe::<Fifo>();
    unwind_safe::<Stdin>();
}
