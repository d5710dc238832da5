//! The report of a group: all failures of its scope, and the cancel that cut it short.

mod draw;
mod parts;

use std::borrow::Cow;
use std::error::Error;
use std::panic::Location;
use std::sync::OnceLock;

use super::dismantle::dismantle;
use super::echo::{ends, links};
use super::failure::{Failure, FailureKind};
use super::task_error::TaskError;
use super::tree::Outline;
use crate::cancel::{CancelCause, Cancelled, TaskId, WorstLatencies};
use crate::panics::PanicPayload;

/// The error of a scope: every error and panic of its tasks and its body, and the cancel that cut
/// it short, as one report.
///
/// `{}` prints one line. `{:#}` and `{:?}` draw the whole report. It shows each failure with its
/// task, the place that spawned the task, how long it ran, and the sources of its error. Reports of
/// nested groups are drawn below the tasks that they ended. So a `main` that returns a `GroupError`
/// or an `anyhow::Result` prints everything.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use taskgroup::TaskGroup;
///
/// let error = TaskGroup::builder()
///     .name("import")
///     .scope(|g| {
///         g.task().name("parser").spawn(|| Ok("x".parse::<u64>()?));
///         Ok(())
///     })
///     .unwrap_err();
/// assert!(error.to_string().starts_with("1 failure in group `import`: task `parser`"));
/// assert!(format!("{error:?}").contains("invalid digit found in string"));
/// # Ok(())
/// # }
/// ```
///
/// A failure that another failure caused is its [echo](Failure::echo_of). Echoes are drawn below
/// their root, and are never the [primary](Self::primary) failure.
///
/// A report holds failures, or a cancel, or both. If it holds only a cancel, its `source()` is the
/// [`Cancelled`]. If it holds failures, its `source()` is the drawing of the report, since failures
/// are many causes and not one. Call [`failures`](Self::failures) to get at single failures.
pub struct GroupError<E = anyhow::Error>(Box<Report<E>>);

struct Report<E> {
    name: Option<Cow<'static, str>>,
    /// The call of `scope`. `None` if no scope made this report.
    location: Option<&'static Location<'static>>,
    failures: Failures<E>,
    /// The failure that cancelled the group.
    canceller: Option<usize>,
    /// That failure, or its root if it is an echo.
    primary: Option<usize>,
    cancelled: Option<Cancelled>,
    worst_latencies: WorstLatencies,
    /// The line of `Display`, which is a part of the lines of the groups around.
    summary: OnceLock<String>,
    outline: OnceLock<Outline>,
}

impl<E> Report<E> {
    fn new(
        name: Option<Cow<'static, str>>,
        location: Option<&'static Location<'static>>,
        failures: Failures<E>,
        cancelled: Option<Cancelled>,
    ) -> Self {
        Report {
            name,
            location,
            failures,
            canceller: None,
            primary: None,
            cancelled,
            worst_latencies: WorstLatencies::default(),
            summary: OnceLock::new(),
            outline: OnceLock::new(),
        }
    }
}

/// The failures of a report. They may hold reports themselves, to any depth, so they are dropped
/// without recursion.
struct Failures<E> {
    list: Vec<Failure<E>>,
    /// Drops them. It is a pointer, since `dismantle` can be named only where `E` is known to be
    /// `'static`.
    drop: fn(Vec<Failure<E>>),
}

impl<E> Failures<E> {
    fn none() -> Self {
        Failures {
            list: Vec::new(),
            // Not `dismantle`, since `E` need not be `'static` here. The list stays empty.
            drop,
        }
    }

    fn take(&mut self) -> Vec<Failure<E>> {
        std::mem::take(&mut self.list)
    }
}

impl<E> Drop for Failures<E> {
    fn drop(&mut self) {
        if !self.list.is_empty() {
            (self.drop)(self.take());
        }
    }
}

impl<E> GroupError<E> {
    /// Makes the report of a scope. `canceller` is the index of the failure that cancelled the
    /// group, `cancelled` a cancel from outside.
    pub(crate) fn new(
        name: Option<Cow<'static, str>>,
        location: &'static Location<'static>,
        failures: Vec<Failure<E>>,
        canceller: Option<usize>,
        cancelled: Option<Cancelled>,
    ) -> Self
    where
        E: 'static,
    {
        debug_assert!(canceller.is_none_or(|canceller| canceller < failures.len()));

        // The failure that cancelled the group may be an echo of a failure recorded later.
        let primary = canceller.map(|canceller| ends(&links(&failures))[canceller]);

        let failures = Failures {
            // The failures may hold reports, which are to be dropped without recursion.
            list: failures,
            drop: dismantle,
        };

        Self::of(Report {
            canceller,
            primary,
            ..Report::new(name, Some(location), failures, cancelled)
        })
    }

    fn of(report: Report<E>) -> Self {
        // Boxed, so that it adds one word to the result of a scope.
        GroupError(Box::new(report))
    }

    /// Returns all failures, in the order in which they happened.
    ///
    /// ```
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::scope(|g| {
    ///     g.spawn(|| Ok("x".parse::<u32>()?));
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// assert_eq!(error.failures().len(), 1);
    /// ```
    pub fn failures(&self) -> &[Failure<E>] {
        &self.0.failures.list
    }

    /// Returns all failures by value, in the order in which they happened.
    ///
    /// ```
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::scope(|g| {
    ///     g.spawn(|| Ok("x".parse::<u32>()?));
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// for failure in error.into_failures() {
    ///     println!("{failure} after {:?}", failure.elapsed());
    /// }
    /// ```
    pub fn into_failures(mut self) -> Vec<Failure<E>> {
        self.0.failures.take()
    }

    /// Returns the failure that started the trouble.
    ///
    /// This is the failure that cancelled the group or, if that is an [echo](Failure::echo_of), its
    /// root. If no failure cancelled the group, it is the first failure that is not an echo.
    ///
    /// ```
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::scope(|g| {
    ///     g.spawn(|| Ok("x".parse::<u32>()?));
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// assert!(error.primary().is_some_and(|failure| !failure.after_cancel()));
    /// ```
    pub fn primary(&self) -> Option<&Failure<E>> {
        let failures = self.failures();

        match self.0.primary {
            Some(primary) => failures.get(primary),
            // `split` may have left nothing but echoes.
            None => failures
                .iter()
                .find(|failure| !failure.is_echo())
                .or(failures.first()),
        }
    }

    /// Returns the failure of the group's body.
    ///
    /// ```
    /// use taskgroup::TaskGroup;
    ///
    /// let nothing = || -> anyhow::Result<()> { anyhow::bail!("nothing to do") };
    /// let error = TaskGroup::scope(|_| nothing()).unwrap_err();
    /// assert!(error.body().is_some());
    /// ```
    pub fn body(&self) -> Option<&Failure<E>> {
        self.failures().iter().find(|failure| failure.is_of_body())
    }

    /// Returns the failure of one task.
    ///
    /// ```
    /// use taskgroup::TaskGroup;
    ///
    /// let mut parser = None;
    /// let error = TaskGroup::scope(|g| {
    ///     parser = Some(g.spawn(|| Ok("x".parse::<u32>()?)).id());
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// assert!(parser.and_then(|id| error.of_task(id)).is_some());
    /// ```
    pub fn of_task(&self, id: TaskId) -> Option<&Failure<E>> {
        self.failures()
            .iter()
            .find(|failure| failure.is_of_task(id))
    }

    /// Returns the errors of tasks and body, in the order in which they were returned.
    ///
    /// ```
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::scope(|g| {
    ///     g.spawn(|| Ok("x".parse::<u32>()?));
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// assert!(error.errors().all(|error| error.is::<std::num::ParseIntError>()));
    /// ```
    pub fn errors(&self) -> impl Iterator<Item = &E> {
        self.failures()
            .iter()
            .filter_map(|failure| match failure.kind() {
                FailureKind::Error(error) => Some(error),
                _ => None,
            })
    }

    /// Returns the panics, in the order in which they happened.
    ///
    /// ```
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::scope(|g| {
    ///     g.spawn(|| -> anyhow::Result<()> { panic!("index 3 of 2") });
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// assert!(error.panics().any(|panic| panic.message() == "index 3 of 2"));
    /// ```
    pub fn panics(&self) -> impl Iterator<Item = &PanicPayload> {
        self.failures()
            .iter()
            .filter_map(|failure| match failure.kind() {
                FailureKind::Panic(panic) => Some(panic),
                _ => None,
            })
    }

    /// Returns the cancel that cut the group short: by its own deadline, or by a token that the
    /// group depends on.
    ///
    /// ```
    /// use std::time::Duration;
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::builder()
    ///     .timeout(Duration::from_millis(1))
    ///     .scope(|_| Ok(taskgroup::sleep(Duration::from_secs(60))?))
    ///     .unwrap_err();
    /// assert!(error.failures().is_empty());
    /// println!("{}", error.cancelled().expect("it was the deadline that ended it"));
    /// ```
    pub fn cancelled(&self) -> Option<&Cancelled> {
        self.0.cancelled.as_ref()
    }

    /// Returns the tasks of the group that took longest to see their cancel, and to end after it.
    ///
    /// There are none if no task was running when the group was cancelled. A report without
    /// failures, which says only that the group was cancelled, has them too.
    ///
    /// ```
    /// use taskgroup::{TaskGroup, shield, sync::Event};
    ///
    /// let (begun, cancelled) = (Event::new(), Event::new());
    /// let error = TaskGroup::scope(|g| {
    ///     g.task().name("stubborn").spawn(|| {
    ///         begun.set();
    ///         Ok(shield(|| cancelled.wait())?)
    ///     });
    ///     begun.wait()?;
    ///     g.cancel_because("enough");
    ///     cancelled.set();
    ///     Ok(taskgroup::checkpoint()?)
    /// })
    /// .unwrap_err();
    /// let worst = error.worst_latencies();
    /// let last = worst.to_end().expect("the cancel found it running");
    /// println!("{} ended {:?} after the cancel", last.task(), last.latency());
    /// assert_eq!(worst.to_sight(), None); // all that it did was inside of a shield
    /// ```
    pub fn worst_latencies(&self) -> &WorstLatencies {
        &self.0.worst_latencies
    }

    pub(crate) fn set_worst_latencies(&mut self, worst: WorstLatencies) {
        self.0.worst_latencies = worst;
    }

    /// Whether a deadline cut the group short.
    ///
    /// ```
    /// use std::time::Duration;
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::builder()
    ///     .timeout(Duration::from_millis(1))
    ///     .scope(|_| Ok(taskgroup::sleep(Duration::from_secs(60))?))
    ///     .unwrap_err();
    /// assert!(error.timed_out());
    /// ```
    pub fn timed_out(&self) -> bool {
        self.cancelled()
            .is_some_and(|cancelled| matches!(cancelled.cause(), CancelCause::Deadline { .. }))
    }
}

/// Makes a report that holds only a cancel, for code that passes one on with `?`.
impl<E> From<Cancelled> for GroupError<E> {
    fn from(cancelled: Cancelled) -> Self {
        Self::of(Report::new(None, None, Failures::none(), Some(cancelled)))
    }
}

/// For tasks that open groups themselves. A group with failures is not a cancellation, even if it
/// was cancelled as well.
impl<E: TaskError> TaskError for GroupError<E> {
    fn cancelled(&self) -> Option<&Cancelled> {
        // A failure must not be dropped along with the cancel that it came with.
        self.cancelled().filter(|_| self.failures().is_empty())
    }

    fn as_error(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
