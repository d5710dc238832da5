//! The names and types of sockets, pipes, children, signals, retries, rates, the bridge to tokio
//! and snapshots. A program that compiles against them goes on to compile.
//!
//! Where a type replaces a type of std, the same lines are compiled for both.

use std::fmt::Display;
use std::future::Future;
use std::num::NonZeroU32;
use std::panic::Location;
use std::time::Duration;

use taskgroup::sync::RateLimiter;
use taskgroup::{
    Abandoned, Attempt, Backoff, Builder, CancelCause, CancelToken, Cancelled, Failure,
    GroupSnapshot, LimitSnapshot, ObjectId, ScopedValue, Snapshot, StallHook, StallPolicy,
    StallReport, TaskError, TaskId, TaskSnapshot, TaskState, Wait, WorkerSnapshot,
};
use taskgroup::{io, signal, tokio_bridge};

/// Compiles if `value` can be used as a `T`, which says its type in full.
macro_rules! is {
    ($($value:expr => $type:ty),* $(,)?) => {
        $(let _: $type = $value;)*
    };
}

mod like_std;

#[test]
fn signals_retries_and_rates_have_their_names() {
    is![
        signal::ctrl_c => fn() -> io::Result<CancelToken>,
        signal::termination => fn() -> io::Result<CancelToken>,
        |cause| match cause {
            CancelCause::Signal { signal, .. } => signal,
            _ => 0,
        } => fn(CancelCause) -> i32,
        <io::Error as From<Cancelled>>::from => fn(Cancelled) -> io::Error,
    ];

    fn retry<T, E: TaskError>(
        policy: Backoff<E>,
        call: impl FnMut(Attempt) -> Result<T, E>,
    ) -> Result<T, E> {
        taskgroup::retry(policy, call)
    }
    let policy = Backoff::exponential(Duration::ZERO)
        .max(Duration::from_secs(1))
        .attempts(2)
        .when(|error: &io::Error| error.kind() == io::ErrorKind::TimedOut)
        .after(|_| Some(Duration::ZERO));
    let outcome = retry(policy, |_| Err::<(), _>(io::ErrorKind::TimedOut.into()));
    assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);

    is![
        RateLimiter::new => fn(Duration, NonZeroU32) -> RateLimiter,
        RateLimiter::acquire => fn(&RateLimiter) -> Result<(), Cancelled>,
        RateLimiter::acquire_many => fn(&RateLimiter, u32) -> Result<(), Cancelled>,
        RateLimiter::try_acquire => fn(&RateLimiter) -> bool,
    ];
}

#[test]
fn the_bridge_has_its_names() {
    use tokio_bridge::{Link, SpawnBlocking};
    use tokio_util::sync::CancellationToken;

    fn of_blocking<T, F>(call: F) -> SpawnBlocking<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        fn is_future<T>(
            _: &(impl Future<Output = Result<T, tokio::task::JoinError>> + Send + Unpin),
        ) {
        }
        let future = tokio_bridge::spawn_blocking(call);
        is_future(&future);
        future
    }
    is![
        tokio_bridge::token_from => fn(&CancellationToken) -> (CancelToken, Link),
        tokio_bridge::token_into => fn(&CancelToken) -> (CancellationToken, Link),
        of_blocking => fn(fn() -> u8) -> SpawnBlocking<u8>,
    ];
}

#[test]
fn snapshots_have_their_names() {
    fn shown<T: Display + serde::Serialize>() {}
    shown::<Snapshot>();
    fn tasks(snapshot: &Snapshot) -> impl Iterator<Item = &TaskSnapshot> {
        snapshot.tasks()
    }
    let snapshot: Snapshot = taskgroup::snapshot();
    let _ = tasks(&snapshot).count();

    type Place = &'static Location<'static>;
    is![
        Snapshot::VERSION => u32,
        Snapshot::groups => fn(&Snapshot) -> &[GroupSnapshot],
        Snapshot::workers => fn(&Snapshot) -> &[WorkerSnapshot],
        Snapshot::abandoned => fn(&Snapshot) -> &[Abandoned],
        Snapshot::incomplete => fn(&Snapshot) -> usize,
        GroupSnapshot::name => fn(&GroupSnapshot) -> Option<&str>,
        GroupSnapshot::location => fn(&GroupSnapshot) -> Place,
        GroupSnapshot::cancelled => fn(&GroupSnapshot) -> Option<&Cancelled>,
        GroupSnapshot::remaining => fn(&GroupSnapshot) -> Option<Duration>,
        GroupSnapshot::limit => fn(&GroupSnapshot) -> Option<LimitSnapshot>,
        GroupSnapshot::body => fn(&GroupSnapshot) -> &TaskSnapshot,
        GroupSnapshot::tasks => fn(&GroupSnapshot) -> &[TaskSnapshot],
        GroupSnapshot::queued => fn(&GroupSnapshot) -> usize,
        TaskSnapshot::id => fn(&TaskSnapshot) -> TaskId,
        TaskSnapshot::name => fn(&TaskSnapshot) -> Option<&str>,
        TaskSnapshot::location => fn(&TaskSnapshot) -> Place,
        TaskSnapshot::state => fn(&TaskSnapshot) -> TaskState,
        TaskSnapshot::waits => fn(&TaskSnapshot) -> Option<&Wait>,
        TaskSnapshot::thread => fn(&TaskSnapshot) -> Option<&str>,
        TaskSnapshot::groups => fn(&TaskSnapshot) -> &[GroupSnapshot],
        Wait::what => fn(&Wait) -> &str,
        Wait::location => fn(&Wait) -> Option<Place>,
        Wait::object => fn(&Wait) -> Option<ObjectId>,
        Wait::holders => fn(&Wait) -> &[TaskId],
        Wait::since => fn(&Wait) -> Duration,
        Wait::has_seen_cancel => fn(&Wait) -> bool,
    ];
}

#[test]
fn stalls_failures_and_bound_values_have_their_names() {
    static REQUEST: ScopedValue<u32> = ScopedValue::new();

    fn policy<E: TaskError>(builder: Builder<E>) -> Builder<E> {
        let _: [StallPolicy; 3] = [StallPolicy::Report, StallPolicy::Panic, StallPolicy::Abort];
        builder.stall_policy(StallPolicy::Report)
    }
    let _ = policy::<anyhow::Error>(taskgroup::TaskGroup::builder());
    is![
        taskgroup::on_stall(|_: &StallReport| {}) => StallHook,
        Failure::at => fn(&Failure<io::Error>) -> Duration,
    ];

    // The reference need not be `'static`.
    let seven = 7;
    let (sum, cloned) = REQUEST.with(&seven, || {
        let sum: u32 = REQUEST.get(|value: Option<&u32>| value.copied().unwrap_or(0) + 1);
        (sum, REQUEST.cloned())
    });
    assert_eq!((sum, cloned, REQUEST.cloned()), (8, Some(7), None));
    assert_ne!(
        size_of::<ScopedValue<()>>(),
        0,
        "its address is its identity"
    );
}
