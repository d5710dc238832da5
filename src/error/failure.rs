//! One thing that went wrong in a scope.

use std::error::Error;
use std::panic::Location;
use std::time::Duration;
use std::{fmt, io};

use super::echo::{Root, Traces};
use super::tree::{self, Node, Site, holds_report, one_line, shortened};
use super::{Elapsed, TaskError};
use crate::cancel::{TaskId, TaskInfo};
use crate::facade::catch;
use crate::panics::{PanicPayload, discard, log};

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

/// The ways in which a task, the body or a hook can fail.
///
/// ```
/// use taskgroup::{FailureKind, TaskGroup};
///
/// let error = TaskGroup::scope(|g| {
///     g.spawn(|| Ok("x".parse::<u32>()?));
///     Ok(())
/// })
/// .unwrap_err();
/// match error.failures()[0].kind() {
///     FailureKind::Error(error) => assert!(error.is::<std::num::ParseIntError>()),
///     FailureKind::Panic(panic) => panic!("it panicked: {}", panic.message()),
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum FailureKind<E> {
    /// It returned an error.
    Error(E),
    /// It panicked.
    Panic(PanicPayload),
    /// It never ran, because the operating system refused a thread.
    Spawn(io::Error),
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
        catch(|| Traces::of(error)).unwrap_or_else(|payload| {
            discard(payload);
            None
        })
    }
}

/// Whose failure it is.
#[derive(Debug)]
pub(crate) enum Origin {
    Task(TaskInfo),
    Body,
    Release(&'static Location<'static>),
    Callback,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Task(task) => write!(f, "{task}"),
            Origin::Body => f.write_str("the body"),
            Origin::Release(location) => write!(f, "release hook ({})", Site(location)),
            Origin::Callback => f.write_str("a cancel callback"),
        }
    }
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

    /// The verb of a sentence about this failure.
    fn verb(&self) -> &'static str {
        match self.kind {
            FailureKind::Error(_) => "failed",
            FailureKind::Panic(_) => "panicked",
            FailureKind::Spawn(_) => "could not be started",
        }
    }
}

impl<E: TaskError> Failure<E> {
    /// Tells `tracing` of a failure that reaches nobody, since a panic goes on in place of the
    /// report.
    pub(crate) fn log_hidden(&self) {
        let text = self.text();
        log(|| tracing::error!("a panic of the same group hides this failure: {text}"));
    }

    /// Tells `tracing` of the failure of an isolated task whose handle has gone.
    pub(crate) fn log_untaken(&self) {
        let text = self.text();
        log(|| {
            tracing::warn!(
                "the failure of an isolated task was never taken out of its handle: {text}"
            )
        });
    }

    /// The failure as it is drawn. The text of an error is the user's code, and the failure is not
    /// to be lost to it.
    fn text(&self) -> String {
        catch(|| format!("{self:#}")).unwrap_or_else(|payload| {
            let panic = PanicPayload::new(payload);
            format!(
                "{} failed; the text of its error cannot be had: {}",
                self.origin,
                panic.message()
            )
        })
    }

    /// This failure in a drawing. `notes` are what the group has to say about it.
    pub(super) fn node(&self, notes: &[&str]) -> Node {
        let mut heading = format!("{} {}", self.origin, self.verb());
        if !matches!(self.kind, FailureKind::Spawn(_)) {
            heading += &match self.elapsed {
                Elapsed::Measured(elapsed) => format!(" after {}", tree::Time(elapsed)),
                Elapsed::Under(step) => format!(" after less than {}", tree::Time(step)),
            };
        }
        if self.after_cancel {
            heading += " [after the cancel]";
        }
        for note in notes {
            heading += &format!(" [{note}]");
        }
        let mut node = Node::new(heading);
        match &self.kind {
            FailureKind::Error(error) => node.add_error(error, error.as_error()),
            FailureKind::Spawn(error) => node.add_error(error, Some(error)),
            FailureKind::Panic(panic) => node.add_panic(panic),
        }
        node
    }
}

impl<E: TaskError> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return fmt::Debug::fmt(self, f);
        }
        let text: &dyn fmt::Display = match &self.kind {
            FailureKind::Error(error) => error,
            FailureKind::Panic(panic) => panic,
            FailureKind::Spawn(error) => error,
        };
        let mut line = one_line(text);
        // Each group around would add its part: the text of a report would grow with the depth, and
        // all of them with its square.
        if matches!(&self.kind, FailureKind::Error(error) if error.as_error().is_some_and(holds_report))
        {
            line = shortened(line);
        }
        write!(f, "{} {}: {line}", self.origin, self.verb())
    }
}

impl<E: TaskError> fmt::Debug for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.root() {
            Some(root) => fmt::Display::fmt(&self.node(&[&format!("echo of {root}")]), f),
            None => fmt::Display::fmt(&self.node(&[]), f),
        }
    }
}

impl<E: TaskError> Error for Failure<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            FailureKind::Error(error) => error.as_error(),
            FailureKind::Spawn(error) => Some(error),
            FailureKind::Panic(_) => None,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::testing::{Plain, cancelled, failed, task};
    use super::*;

    fn of(origin: Origin, kind: FailureKind<Plain>) -> Failure<Plain> {
        Failure::new(origin, kind, false, Duration::from_millis(3))
    }

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

    #[test]
    fn one_line_whatever_the_error_prints() {
        let error = || FailureKind::Error(Plain("two\n  lines".to_owned()));
        let line = line!() + 1;
        let named = of(task(3, Some("parser")), error());
        assert_eq!(
            named.to_string(),
            format!("task `parser` ({}:{line}) failed: two lines", file!())
        );
        assert_eq!(
            of(Origin::Body, error()).to_string(),
            "the body failed: two lines"
        );
        let panic = FailureKind::Panic(PanicPayload::new(Box::new("oh")));
        assert_eq!(
            of(Origin::Callback, panic).to_string(),
            "a cancel callback panicked: oh"
        );
        let refused = of(
            task(3, None),
            FailureKind::Spawn(io::ErrorKind::WouldBlock.into()),
        );
        assert!(
            refused.to_string().contains("could not be started: "),
            "{refused}"
        );
        let location = Location::caller();
        let release = of(Origin::Release(location), error());
        assert_eq!(
            release.to_string(),
            format!(
                "release hook ({}:{}) failed: two lines",
                location.file(),
                location.line()
            )
        );
    }

    #[test]
    fn the_source_is_the_error_itself() {
        let failure = failed(1, cancelled());
        assert!(
            failure
                .source()
                .is_some_and(|source| source.is::<crate::cancel::Cancelled>())
        );
        let refused = of(
            Origin::Body,
            FailureKind::Spawn(io::ErrorKind::WouldBlock.into()),
        );
        assert!(
            refused
                .source()
                .is_some_and(|source| source.is::<io::Error>())
        );
        assert!(failed(1, Plain("x".to_owned())).source().is_none());
    }

    #[test]
    fn a_time_below_the_step_of_its_clock_is_not_given_as_none() {
        let step = Duration::from_millis(4);
        let after = |millis| {
            let elapsed = Elapsed::in_steps(Duration::from_millis(millis), step);
            let failure: Failure<Plain> = Failure::new(
                Origin::Body,
                FailureKind::Error(Plain("x".to_owned())),
                false,
                elapsed,
            );
            format!("{failure:?} {:?}", failure.elapsed())
        };
        assert_eq!(after(0), "the body failed after less than 4.0 ms\nx 0ns");
        assert_eq!(after(8), "the body failed after 8.0 ms\nx 8ms");
    }

    #[test]
    fn debug_draws_the_failure() {
        let mut failure = failed(3, anyhow::anyhow!("inner").context("outer"));
        failure.set_after_cancel(true);
        let task = failure.task().expect("it is a task's").to_string();
        assert_eq!(
            format!("{failure:?}"),
            format!("{task} failed after 3.0 ms [after the cancel]\nouter\ncaused by: inner")
        );
        assert_eq!(format!("{failure:#}"), format!("{failure:?}"));
        assert!(failure.after_cancel());
    }
}
