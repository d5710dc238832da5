//! One failure of a group.

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
/// `{}` prints one line. `{:?}` and `{:#}` print everything: the sources of the error, the location
/// of the panic, and the report of a nested group. Its `source()` is the error itself, although
/// `{}` prints the text of that as well.
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
///     let FailureKind::Error(error) = failure.kind() else { panic!("it panicked") };
///     assert!(error.is::<std::num::ParseIntError>());
/// }
/// # Ok(())
/// # }
/// ```
pub struct Failure<E = anyhow::Error> {
    origin: Origin,
    kind: FailureKind<E>,
    when: FailedWhen,
    elapsed: Elapsed,
    at: Duration,
    /// `None` where the error says nothing of other failures.
    traces: Option<Box<Traces>>,
}

/// When a task failed, with respect to the cancel of its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FailedWhen {
    /// The group was not cancelled yet.
    BeforeCancel,
    /// The group was cancelled already.
    AfterCancel,
}

impl<E> Failure<E> {
    pub(crate) fn new(
        origin: Origin,
        kind: FailureKind<E>,
        when: FailedWhen,
        elapsed: impl Into<Elapsed>,
    ) -> Self {
        Failure {
            origin,
            kind,
            when,
            elapsed: elapsed.into(),
            at: Duration::ZERO,
            traces: None,
        }
    }

    pub(crate) fn with_traces(self, traces: Option<Box<Traces>>) -> Self {
        Failure { traces, ..self }
    }

    /// Returns the task that failed. `None` if it was the body of the group or a hook.
    ///
    /// ```
    /// use taskgroup::TaskGroup;
    ///
    /// let nothing = || -> anyhow::Result<()> { anyhow::bail!("nothing to do") };
    /// let error = TaskGroup::scope(|_| nothing()).unwrap_err();
    /// assert!(error.failures()[0].task().is_none());
    /// ```
    pub fn task(&self) -> Option<&TaskInfo> {
        match &self.origin {
            Origin::Task(task) => Some(task),
            _ => None,
        }
    }

    /// Returns what went wrong.
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

    /// Returns what went wrong, by value.
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

    /// Whether the group had been cancelled already, so that the task failed on its way out.
    ///
    /// Also `true` for a failure with an [echo](Self::echo_of) that was faster and cancelled the
    /// group.
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
        self.when == FailedWhen::AfterCancel
    }

    /// Returns the task that caused this failure by failing, if this failure is an echo.
    ///
    /// If a task fails, calls of other tasks can fail because of that. Their errors name the task:
    /// a [`Disconnected`](crate::channel::Disconnected) channel, a [`Broken`](crate::sync::Broken)
    /// barrier, or a [`Cancelled`](crate::Cancelled) of another group that had a failure. A failure
    /// is an echo if its error, or one of the sources of that, is such an error and the task that
    /// it names failed as well. A task of a nested group counts as the task of this group that it
    /// ran in. Errors of your own must return `Some` from [`TaskError::as_error`].
    ///
    /// An echo is never the [primary](crate::GroupError::primary) failure of its report, which
    /// draws it below its root. An echo can still be recorded first, because the task that caused
    /// it may still be dropping its values. Then the echo cancels the group, and the
    /// [`CancelCause`](crate::CancelCause) of the other tasks names it. Where failures cause each
    /// other in a cycle, the first to be recorded is not an echo.
    ///
    /// `None` if this is not an echo, if it is an echo of the body ([`is_echo`](Self::is_echo)),
    /// and until the report is made. A task that was cancelled did not fail and has no echoes. Nor
    /// has a task with a failure outside of the report, such as an isolated one.
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

    /// Whether this failure is an echo, of a task ([`echo_of`](Self::echo_of)) or of the body.
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
    /// for failure in error.failures() {
    ///     assert_eq!(failure.is_echo(), failure.task().is_some());
    /// }
    /// ```
    pub fn is_echo(&self) -> bool {
        self.root().is_some()
    }

    /// Returns how long the task had been running when it failed.
    ///
    /// A body, and a task that ran on the thread that waited for it, are timed by the coarse clock
    /// of the system, which moves in steps of some milliseconds. Less than one step is zero.
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

    /// Returns how long the scope had been open when the failure was recorded, from its beginning.
    ///
    /// The failures of a report are in the order of these times. With [`elapsed`](Self::elapsed),
    /// it tells when the task began: a task that was queued for long has a small `elapsed` and a
    /// large `at`. The clock is the coarse clock of the system, which moves in steps of some
    /// milliseconds. Less than one step is zero.
    ///
    /// ```
    /// use std::time::Duration;
    /// use taskgroup::TaskGroup;
    ///
    /// let pause = Duration::from_millis(50);
    /// let error = TaskGroup::scope(|g| {
    ///     taskgroup::sleep(pause)?;
    ///     g.spawn(|| Ok("x".parse::<u32>()?)); // fails at once, in a scope that is not new
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// let failure = &error.failures()[0];
    /// assert!(failure.at() > pause / 2 && failure.elapsed() < Duration::from_secs(60));
    /// ```
    pub fn at(&self) -> Duration {
        self.at
    }

    pub(crate) fn set_at(&mut self, at: Duration) {
        self.at = at;
    }

    pub(crate) fn set_after_cancel(&mut self) {
        self.when = FailedWhen::AfterCancel;
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

    /// Returns what the failure is an echo of.
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
    /// Returns what the error says of other failures.
    ///
    /// Also draws the reports that the error holds. If this is called for each failure as it
    /// happens, each report finds those below it drawn already, so the stack that drawing takes
    /// does not grow with the depth.
    pub(crate) fn traces(&self) -> Option<Box<Traces>> {
        let FailureKind::Error(error) = self else {
            return None;
        };

        // The chain is the user's code. If it panics here, it panics again where the report is
        // drawn.
        catch(|| Traces::of(error, task_of::<E>)).unwrap_or_else(|payload| {
            discard(payload);
            None
        })
    }
}

/// Returns the task of the failure that an error is. Isolated and started tasks hand such failures
/// to their callers.
fn task_of<E: TaskError>(error: &(dyn Error + 'static)) -> Option<TaskId> {
    // Only a failure of the same error type is found. A group of another type has its own
    // report.
    let failure = error.downcast_ref::<Failure<E>>()?;
    failure.task().map(|task| task.id)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn failure_is_send_sync_and_static() {
        // `anyhow::Error` asks for all three.
        fn check<T: Send + Sync + 'static>() {}
        check::<Failure<anyhow::Error>>();
        check::<FailureKind<io::Error>>();
    }

    #[test]
    fn it_is_small_enough_for_a_result() {
        assert!(size_of::<Failure<anyhow::Error>>() < 128);
    }
}
