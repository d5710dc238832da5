//! One thing that went wrong in a scope.

mod kind;
mod print;

use std::error::Error;
use std::time::Duration;

use super::elapsed::Elapsed;
use super::origin::Origin;
use super::task_error::TaskError;
use super::traces::{Root, Traces};
use crate::cancel::{TaskId, TaskInfo};
use crate::facade::catch;
use crate::panics::discard;

pub use kind::FailureKind;

/// One failure of a group: what went wrong, in which task, and when.
///
/// A failure may be the *echo* of another: a task that fails drops its end of a channel, and the
/// task at the other end fails because of that. See [`echo_of`](Self::echo_of).
///
/// `{}` prints one line, `{:?}` and `{:#}` the whole of it: the error's sources, the panic's
/// location, and the report of a nested group. Its `source()` is the error itself, although `{}`
/// has its text.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use taskgroup::{FailureKind, TaskGroup};
///
/// let error = TaskGroup::scope(|g| {
///     g.task().name("parser").spawn(|| Ok("x".parse::<u64>()?));
///     Ok(())
/// })
/// .unwrap_err();
/// for failure in error.failures() {
///     assert_eq!(failure.task().and_then(|task| task.name.as_deref()), Some("parser"));
///     assert!(matches!(failure.kind(), FailureKind::Error(e) if e.is::<std::num::ParseIntError>()));
/// }
/// # Ok(())
/// # }
/// ```
pub struct Failure<E> {
    origin: Origin,
    kind: FailureKind<E>,
    after_cancel: bool,
    elapsed: Elapsed,
    /// None where the error says nothing of others.
    traces: Option<Box<Traces>>,
}

impl<E> Failure<E> {
    pub(crate) fn new(
        origin: Origin,
        kind: FailureKind<E>,
        after_cancel: bool,
        elapsed: impl Into<Elapsed>,
    ) -> Self {
        Failure {
            origin,
            kind,
            after_cancel,
            elapsed: elapsed.into(),
            traces: None,
        }
    }

    pub(crate) fn with_traces(self, traces: Option<Box<Traces>>) -> Self {
        Failure { traces, ..self }
    }

    /// The task that failed, or `None` if it was the group's body or a hook.
    ///
    /// ```
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::scope(|_| -> anyhow::Result<()> { anyhow::bail!("nothing to do") }).unwrap_err();
    /// assert!(error.failures()[0].task().is_none());
    /// ```
    pub fn task(&self) -> Option<&TaskInfo> {
        match &self.origin {
            Origin::Task(task) => Some(task),
            _ => None,
        }
    }

    /// What went wrong.
    ///
    /// ```
    /// use taskgroup::{FailureKind, TaskGroup};
    ///
    /// let error = TaskGroup::scope(|g| {
    ///     g.spawn(|| Ok("x".parse::<u32>()?));
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// assert!(matches!(error.failures()[0].kind(), FailureKind::Error(_)));
    /// ```
    pub fn kind(&self) -> &FailureKind<E> {
        &self.kind
    }

    /// What went wrong, by value.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// use taskgroup::{FailureKind, TaskGroup};
    ///
    /// TaskGroup::scope(|g| {
    ///     let parsed = g.spawn_isolated(|| Ok("x".parse::<u32>()?));
    ///     match parsed.join()?.map_err(|failure| failure.into_kind()) {
    ///         Err(FailureKind::Error(error)) if error.is::<std::num::ParseIntError>() => Ok(0),
    ///         Err(FailureKind::Error(error)) => Err(error),
    ///         Err(_) => anyhow::bail!("the parser panicked"),
    ///         Ok(n) => Ok(n),
    ///     }
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_kind(self) -> FailureKind<E> {
        self.kind
    }

    /// Whether the group had been cancelled already: this failure came up while the task was on its
    /// way out.
    ///
    /// Also true of a failure whose [echo](Self::echo_of) was faster and cancelled the group.
    ///
    /// ```
    /// use std::time::Duration;
    /// use taskgroup::TaskGroup;
    ///
    /// # let begun = taskgroup::sync::Event::new();
    /// let error = TaskGroup::scope(|g| {
    ///     g.spawn(|| {
    ///         # begun.set();
    ///         if taskgroup::sleep(Duration::from_secs(60)).is_err() {
    ///             anyhow::bail!("no time to clean up");
    ///         }
    ///         Ok(())
    ///     });
    ///     # begun.wait()?;
    ///     Err::<(), _>(anyhow::anyhow!("nothing to do"))
    /// })
    /// .unwrap_err();
    /// let late: Vec<_> = error.failures().iter().map(|failure| failure.after_cancel()).collect();
    /// assert_eq!(late, [false, true]);
    /// ```
    pub fn after_cancel(&self) -> bool {
        self.after_cancel
    }

    /// The task whose failure led to this one, if this is an echo of it.
    ///
    /// The error of a call whose counterpart has gone names the task that it went with: a
    /// [`Disconnected`](crate::channel::Disconnected) channel, a [`Broken`](crate::sync::Broken)
    /// barrier, or a [`Cancelled`](crate::Cancelled) of another group that had a failure. Where the
    /// error of a failure, or one of its sources, is such an error, and that task failed as well,
    /// the failure is an echo. Of a task in a nested group, it is the task of this group that it
    /// ran in that counts. Errors of your own must return `Some` from [`TaskError::as_error`].
    ///
    /// An echo is never the [primary](crate::GroupError::primary) failure of its report, which
    /// draws it below its root. It can still be recorded first, cancel the group, and be what the
    /// [`CancelCause`](crate::CancelCause) of the others names: the task that caused it may still
    /// have been dropping its values then. Where failures lead to each other in a circle, the one
    /// that was recorded first is no echo.
    ///
    /// `None` if this is no echo, if it is one of the body ([`is_echo`](Self::is_echo)), and until
    /// the report is made. A task that was cancelled did not fail and has no echoes, nor has one
    /// whose failure is not in the report, such as an isolated one.
    ///
    /// ```
    /// use taskgroup::{channel, TaskGroup};
    ///
    /// let (sender, receiver) = channel::bounded(0);
    /// let error = TaskGroup::scope(|g| {
    ///     g.task().name("read").spawn(move || Ok((0..).try_for_each(|n| sender.send(n))?));
    ///     g.task().name("write").spawn(move || {
    ///         receiver.recv()?;
    ///         // The receiver is dropped here, before it can be known that this task fails.
    ///         Err::<(), _>(anyhow::anyhow!("disk full"))
    ///     });
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// assert!(error.primary().unwrap().to_string().ends_with("disk full"));
    /// for failure in error.failures().iter().filter(|failure| failure.is_echo()) {
    ///     assert_eq!(failure.echo_of().unwrap().name.as_deref(), Some("write"));
    /// }
    /// ```
    pub fn echo_of(&self) -> Option<&TaskInfo> {
        match self.root()? {
            Root::Task(task) => Some(task),
            Root::Body => None,
        }
    }

    /// Whether this failure is an echo of another, of a task ([`echo_of`](Self::echo_of)) or of the
    /// body.
    ///
    /// ```
    /// use taskgroup::{channel, TaskGroup};
    ///
    /// let (sender, receiver) = channel::bounded(0);
    /// let error = TaskGroup::scope(move |g| {
    ///     g.spawn(move || Ok((0..).try_for_each(|n| sender.send(n))?));
    ///     anyhow::ensure!(receiver.recv()? > 0, "nothing to do");
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// assert!(error.failures().iter().all(|failure| failure.is_echo() == failure.task().is_some()));
    /// ```
    pub fn is_echo(&self) -> bool {
        self.root().is_some()
    }

    /// How long the task had been running when it failed.
    ///
    /// A body, and a task that ran on the thread that waited for it, are timed by the coarse clock
    /// of the system: of less than one of its steps, some milliseconds, this is zero.
    ///
    /// ```
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::scope(|g| {
    ///     g.spawn(|| Ok("x".parse::<u32>()?));
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// assert!(error.failures()[0].elapsed().as_secs() < 60);
    /// ```
    pub fn elapsed(&self) -> Duration {
        self.elapsed.at_least()
    }

    pub(crate) fn set_after_cancel(&mut self, after_cancel: bool) {
        self.after_cancel = after_cancel;
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(super) fn traces(&self) -> Option<&Traces> {
        self.traces.as_deref()
    }

    pub(super) fn traces_mut(&mut self) -> Option<&mut Traces> {
        self.traces.as_deref_mut()
    }

    /// What it is an echo of.
    pub(super) fn root(&self) -> Option<&Root> {
        self.traces()?.echo_of()
    }

    pub(crate) fn is_of_body(&self) -> bool {
        matches!(self.origin, Origin::Body)
    }

    pub(crate) fn is_of_task(&self, id: TaskId) -> bool {
        self.task().is_some_and(|task| task.id == id)
    }
}

impl<E: TaskError> FailureKind<E> {
    /// What the error says of others.
    ///
    /// Makes the drawings of the reports that the error holds. Each finds those below it made, if
    /// this is called for each failure as it happens: the stack that drawing takes does not grow
    /// with the depth.
    pub(crate) fn traces(&self) -> Option<Box<Traces>> {
        let FailureKind::Error(error) = self else {
            return None;
        };
        // The chain is the user's code. What panics here does so again where the report is drawn.
        catch(|| Traces::of(error, task_of::<E>)).unwrap_or_else(|payload| {
            discard(payload);
            None
        })
    }
}

/// The task of the failure that an error is, which is one of an isolated task or of one that was
/// started.
fn task_of<E: TaskError>(error: &(dyn Error + 'static)) -> Option<TaskId> {
    let failure = error.downcast_ref::<Failure<E>>()?;
    failure.task().map(|task| task.id)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn failure_is_send_sync_and_static() {
        fn check<T: Send + Sync + 'static>() {}
        check::<Failure<anyhow::Error>>();
        check::<FailureKind<io::Error>>();
    }

    #[test]
    fn it_is_small_enough_for_a_result() {
        assert!(size_of::<Failure<anyhow::Error>>() < 128);
    }
}
