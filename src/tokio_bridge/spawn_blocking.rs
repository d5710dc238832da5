//! Blocking work that is cancelled with the future that waits for it.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::task::{self, JoinError, JoinHandle};

use super::aside::run_aside;
use crate::cancel::{CancelCause, CancelToken};
use crate::facade::PlainMutex;
use crate::panics::drop_contained;

/// Runs `f` on a thread of tokio for blocking work, in a scope that is cancelled when the returned
/// future is dropped.
///
/// Like [`tokio::task::spawn_blocking`], but that one lets `f` run on when nothing waits for it any
/// more. Here every blocking point in `f`, and every group that `f` opens, ends with the
/// [`Cancelled`](crate::Cancelled) of the drop. So let `f` return a `Result` that can hold it.
///
/// `f` begins at once, or when tokio has a thread for it, and not only when the future is polled.
/// `f` runs in no scope but its own: the scope of the thread that calls this does not cancel it.
///
/// # Cancellation
///
/// Dropping the future cancels the scope with the cause
/// [`CancelCause::Dropped`](crate::CancelCause::Dropped). The drop does not wait for `f`: a thread
/// of this crate delivers the cancel. If `f` has not begun, it never runs, and what it captured is
/// dropped before the drop of the future returns. A future that has returned its result cancels
/// nothing.
///
/// A runtime that is shut down drops its tasks with their futures, and waits for `f`, which then
/// ends soon.
///
/// # Errors
///
/// The future returns an error if `f` panicked ([`JoinError::is_panic`]) or if the runtime was shut
/// down before `f` began.
///
/// # Panics
///
/// Outside a runtime of tokio, like [`tokio::task::spawn_blocking`].
///
/// ```
/// use std::time::Duration;
/// use taskgroup::tokio_bridge::spawn_blocking;
/// use tokio::sync::oneshot;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// runtime.block_on(async {
///     let ((begin, begun), (ended, end)) = (oneshot::channel(), oneshot::channel());
///     let work = spawn_blocking(move || {
///         _ = begin.send(());
///         let forever = taskgroup::sleep(Duration::MAX);
///         ended.send(forever.unwrap_err()) // the future was dropped
///     });
///     begun.await?;
///     drop(work); // as a server does when the client has gone
///     println!("{}", end.await?);
///     Ok(())
/// })
/// # }
/// ```
#[track_caller]
pub fn spawn_blocking<T, F>(f: F) -> SpawnBlocking<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let call = Arc::new(BlockingCall {
        closure: PlainMutex::new(Some(f)),
    });
    let token = CancelToken::new();

    let (theirs, scope) = (call.clone(), token.clone());
    let task = task::spawn_blocking(move || {
        // Invariant 3: a drop of the future that comes first has taken it.
        let f = theirs.closure.lock().take()?;
        Some(scope.run(f))
    });

    SpawnBlocking {
        task,
        call,
        token,
        location: Location::caller(),
    }
}

/// The future of [`spawn_blocking`]. Dropping it cancels the closure.
///
/// ```
/// use taskgroup::tokio_bridge::{SpawnBlocking, spawn_blocking};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// runtime.block_on(async {
///     let answer: SpawnBlocking<u32> = spawn_blocking(|| 42);
///     assert_eq!(answer.await?, 42);
///     Ok(())
/// })
/// # }
/// ```
#[must_use = "dropping the future cancels the closure"]
pub struct SpawnBlocking<T> {
    /// Returns none only after the closure was taken back.
    task: JoinHandle<Option<T>>,
    call: Arc<dyn Withdraw + Send + Sync>,
    token: CancelToken,
    location: &'static Location<'static>,
}

/// The closure, until it begins or is taken back (invariant 3).
struct BlockingCall<F> {
    closure: PlainMutex<Option<F>>,
}

trait Withdraw {
    /// Drops the closure, if it has not begun. Returns whether it was dropped.
    fn withdraw(&self) -> bool;

    fn has_begun(&self) -> bool;
}

impl<F> Withdraw for BlockingCall<F> {
    fn withdraw(&self) -> bool {
        let closure = self.closure.lock().take();
        let withdrawn = closure.is_some();

        // A panic of a destructor must not come out of the drop of a future, which may be a part of
        // another panic.
        drop_contained("closure of spawn_blocking", closure);
        withdrawn
    }

    fn has_begun(&self) -> bool {
        self.closure.lock().is_none()
    }
}

impl<T> Future for SpawnBlocking<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(Pin::new(&mut self.task).poll(context));
        Poll::Ready(result.map(|value| value.expect("only the drop takes the closure back")))
    }
}

impl<T> Drop for SpawnBlocking<T> {
    fn drop(&mut self) {
        // A closure that was withdrawn never runs: the thread that comes for it finds none. A task
        // that is finished has nothing to cancel.
        if !self.call.withdraw() && !self.task.is_finished() {
            let (token, location) = (self.token.clone(), self.location);
            run_aside(move || _ = token.node().cancel(CancelCause::Dropped, location));
        }
    }
}

impl<T> fmt::Debug for SpawnBlocking<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpawnBlocking")
            .field("begun", &self.call.has_begun())
            .field("finished", &self.task.is_finished())
            .finish_non_exhaustive()
    }
}
