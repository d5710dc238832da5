//! Starting a task that says when it is ready.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use super::task_builder::TaskBuilder;
use crate::cancel::{Cancelled, context};
use crate::error::{Failure, StartError, TaskError};
use crate::facade::Mutex;
use crate::group::scope::TaskGroup;
use crate::group::state::group_state::GroupState;
use crate::group::task::closure::Closure;
use crate::group::task::handle::TaskHandle;
use crate::group::task::handshake::{ENDED, Handshake, HandshakePhase, SENT};
use crate::group::task::isolation::Isolation;
use crate::group::task_end::Role;
use crate::lanes::Object;
use crate::waiting::WaitKind;

/// The state that a started task and the call of `start` share.
struct Handover<T> {
    handshake: Arc<Handshake>,
    value: Mutex<Option<T>>,
}

/// The way for a started task to say that it is ready: see [`TaskGroup::start`].
///
/// Dropping it sends nothing: `start` then waits for the end of the task.
///
/// ```
/// # fn main() -> Result<(), taskgroup::GroupError> {
/// use taskgroup::{Ready, TaskGroup};
///
/// fn serve(ready: Ready<u16>) -> anyhow::Result<()> {
///     let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
///     ready.send(listener.local_addr()?.port());
///     Ok(())
/// }
///
/// TaskGroup::scope(|g| {
///     let port = g.start(serve)?;
///     assert_ne!(port, 0);
///     Ok(())
/// })
/// # }
/// ```
#[must_use = "`start` waits until something is sent or the task has ended"]
pub struct Ready<T> {
    handover: Arc<Handover<T>>,
    _unsent: Unsent,
}

/// Shows, when it is dropped, that a `Ready` is gone. Apart from it, so that a `Ready` may hold
/// references that end with it.
struct Unsent(Arc<Handshake>);

impl Drop for Unsent {
    fn drop(&mut self) {
        // After a `send` this changes nothing: the task is shown as ready already.
        self.0.shows_no_ready();
    }
}

impl<T> Ready<T> {
    /// Makes `start` return `value`. From now on the task is one of the group like any other.
    ///
    /// If `start` no longer waits, because the task has ended or the call was cancelled, the value
    /// is dropped and nothing else happens.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// let port = taskgroup::TaskGroup::scope(|g| {
    ///     Ok(g.start(|ready| {
    ///         ready.send(8080);
    ///         Ok(())
    ///     })?)
    /// })?;
    /// assert_eq!(port, 8080);
    /// # Ok(())
    /// # }
    /// ```
    pub fn send(self, value: T) {
        let handshake = &self.handover.handshake;
        let mut phase = handshake.phase();
        match *phase {
            HandshakePhase::Open | HandshakePhase::Withdrawn => {
                *self.handover.value.lock() = Some(value);
            }
            // `Sent` is impossible, since there is one `Ready`. The lock is released before the
            // destructor of the value runs.
            HandshakePhase::Sent | HandshakePhase::Closed => return drop(phase),
        }

        // The value is there before the phase says so.
        if *phase == HandshakePhase::Open {
            *phase = HandshakePhase::Sent;
            drop(phase);
            handshake.shows_ready();
            handshake.events.push(SENT);
        }
    }
}

impl<T> fmt::Debug for Ready<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ready")
            .field(&*self.handover.handshake.phase())
            .finish()
    }
}

impl<'scope, E: TaskError> TaskGroup<'scope, '_, E> {
    /// Spawns a task and waits until it says that it is ready. Returns the value that the task
    /// passes to [`Ready::send`].
    ///
    /// This is for a server that has to listen, a cache that has to be filled, or a child process
    /// that has to come up before the next line runs. Until the task is ready, its failure belongs
    /// to the caller and does not fail the group. From then on the task is one of the group like
    /// any other. The scope waits for a task that is still being started, like for every other.
    ///
    /// If a task drops its [`Ready`] unsent and goes on, the call waits until the task ends. A task
    /// may pass its `Ready` on to another task, but must not end before that task has sent.
    ///
    /// While a task starts another task of its own group, it gives its permit of the group's limit
    /// away. Once the other task is ready both go on, although that may be one task above the
    /// limit.
    ///
    /// # Cancellation
    ///
    /// A blocking point: in a cancelled scope nothing is spawned. If the call is cancelled while it
    /// waits, it cancels the task, and only the task, and waits for its end. If the task has sent
    /// and still finishes, its value is returned.
    ///
    /// # Errors
    ///
    /// - [`StartError::Failed`] with the error or panic of a task that was not ready, or that
    ///   failed after the call was cancelled.
    /// - [`StartError::NotReady`] if the task ended without sending.
    /// - [`StartError::Cancelled`] if the call was cancelled, or the task was, with its group.
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// use std::net::{Ipv4Addr, TcpListener};
    /// use taskgroup::TaskGroup;
    ///
    /// TaskGroup::scope(|g| {
    ///     let address = g.start(|ready| {
    ///         let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    ///         ready.send(listener.local_addr()?);
    ///         drop(listener.accept()?);
    ///         Ok(())
    ///     })?;
    ///     std::net::TcpStream::connect(address)?;
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn start<T, F>(&'scope self, f: F) -> Result<T, StartError<E>>
    where
        T: Send + 'scope,
        F: FnOnce(Ready<T>) -> Result<(), E> + Send + 'scope,
    {
        self.task().start(f)
    }
}

impl<'scope, E: TaskError> TaskBuilder<'scope, '_, E> {
    /// Like [`TaskGroup::start`].
    ///
    /// # Cancellation
    ///
    /// Like [`TaskGroup::start`].
    ///
    /// # Errors
    ///
    /// Like [`TaskGroup::start`].
    ///
    /// ```
    /// # fn main() -> Result<(), taskgroup::GroupError> {
    /// taskgroup::TaskGroup::scope(|g| {
    ///     let port = g.task().name("server").start(|ready| {
    ///         ready.send(8080);
    ///         Ok(())
    ///     })?;
    ///     assert_eq!(port, 8080);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn start<T, F>(self, f: F) -> Result<T, StartError<E>>
    where
        T: Send + 'scope,
        F: FnOnce(Ready<T>) -> Result<(), E> + Send + 'scope,
    {
        start(self, Location::caller(), |ready| {
            move || f(ready).map(|()| None)
        })
    }
}

/// Starts a task with the closure that `make` makes. The result of the task is none, or its failure
/// if it fails before it is ready.
#[track_caller]
pub(crate) fn start<'scope, T, E, C>(
    builder: TaskBuilder<'scope, '_, E>,
    location: &'static Location<'static>,
    make: impl FnOnce(Ready<T>) -> C,
) -> Result<T, StartError<E>>
where
    T: Send + 'scope,
    E: TaskError,
    C: Closure<Option<Failure<E>>, E> + 'scope,
{
    context::check().map_err(StartError::Cancelled)?;
    let handshake = Handshake::new();
    let handover = Arc::new(Handover {
        handshake: handshake.clone(),
        value: Mutex::new(None),
    });
    let ready = Ready {
        handover: handover.clone(),
        _unsent: Unsent(handshake.clone()),
    };

    let state = builder.state().clone();
    let task = builder.prepare(
        location,
        Role::Task,
        Some(&Isolation {
            wrap: Some,
            failure: Option::as_ref,
        }),
        make(ready),
    );

    task.0.isolate_until_ready(handshake.clone());
    let task = builder.launch_prepared(task);
    task.notify(handshake.events.clone(), ENDED);

    let cancelled = wait_until_ready(&handshake, &state, &task);

    // The task has a reference to the handshake, and must not be kept alive by it.
    handshake.events.forget_queued();
    let closed = handshake.close();
    let value = handover.value.lock().take();

    // The handshake decides whether a failure or a `send` was first.
    if !closed {
        return Ok(
            value.unwrap_or_else(|| unreachable!("`send` leaves the value before it says so"))
        );
    }
    outcome(task, cancelled, value)
}

/// Waits until the task has sent or has ended. If the wait is cancelled, cancels the task, waits
/// for its end and returns the cancel.
#[track_caller]
fn wait_until_ready<R>(
    handshake: &Handshake,
    state: &Arc<GroupState>,
    task: &TaskHandle<'_, R>,
) -> Option<Cancelled> {
    let what = WaitKind::Start.on(Object::Task(task.id().0));
    let cancelled = handshake.events.next(what, state).err()?;

    // If the task has sent in the meantime, it is one of the group, and `start` has succeeded.
    if !handshake.withdraw() {
        return None;
    }
    task.cancel();

    // fault: start-leaves-its-task
    while handshake.events.next_uncancellable(what, state) != ENDED {}
    Some(cancelled)
}

/// Makes the result of `start` for a task that ended before it was one of the group.
#[track_caller]
fn outcome<T, E>(
    mut task: TaskHandle<'_, Option<Failure<E>>>,
    cancelled: Option<Cancelled>,
    value: Option<T>,
) -> Result<T, StartError<E>> {
    // The task has ended, so this does not wait.
    match (task.join_or_keep(), cancelled, value) {
        (Ok(Ok(Some(failure))), _, _) => Err(StartError::Failed(failure)),
        (Ok(Ok(None)), _, Some(value)) => Ok(value),
        // The task may have seen a cancel before this thread and ended without an error.
        (Ok(Ok(None)), None, None) => Err(context::check_ancestors()
            .map_or_else(StartError::Cancelled, |()| StartError::NotReady)),
        (Ok(Ok(None)), Some(cancelled), None) => Err(StartError::Cancelled(cancelled)),
        (Ok(Err(_)) | Err(_), Some(cancelled), _) => Err(StartError::Cancelled(cancelled)),
        (Ok(Err(cancelled)) | Err(cancelled), None, _) => Err(StartError::Cancelled(cancelled)),
    }
}
