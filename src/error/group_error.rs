//! The report of a scope: everything that went wrong in it.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, OnceLock};

use super::dismantle::dismantle;
use super::echo::{ends, links};
use super::tree::{Node, Outline, Site};
use super::{Failure, FailureKind, TaskError};
use crate::cancel::{CancelCause, Cancelled, Escaped, TaskId};
use crate::panics::{PanicPayload, drop_contained};

/// The error of a scope: every error and panic of its tasks and its body, and the cancel that cut
/// it short, as one report.
///
/// `{}` prints one line. `{:#}` and `{:?}` draw the report: each failure with its task, the place
/// that spawned it, how long it ran and its sources, and the reports of nested groups below the
/// tasks they ended. So a `main` that returns a `GroupError` prints all of it, and so does one that
/// returns `anyhow::Result`.
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
/// A failure that another one led to is its [echo](Failure::echo_of). Echoes are drawn below their
/// root, and are never the [primary](Self::primary) failure.
///
/// It holds failures, or a cancel, or both. Its `source()` is the [`Cancelled`] if it holds nothing
/// else. With failures, which are many causes and not one, the source is the drawing of the report:
/// chains do not lead into single failures, and [`failures`](Self::failures) does.
pub struct GroupError<E = anyhow::Error>(Box<Report<E>>);

struct Report<E> {
    name: Option<Cow<'static, str>>,
    /// The call of `scope`; `None` if no scope made this report.
    location: Option<&'static Location<'static>>,
    failures: Failures<E>,
    /// The failure that cancelled the group.
    canceller: Option<usize>,
    /// That failure, or the one that it is an echo of.
    primary: Option<usize>,
    cancelled: Option<Cancelled>,
    /// The one line of `Display`, which the lines of the groups around hold.
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
            summary: OnceLock::new(),
            outline: OnceLock::new(),
        }
    }
}

/// The failures of a report. They may hold reports themselves, to any depth, which are dropped one
/// after the other.
struct Failures<E> {
    list: Vec<Failure<E>>,
    /// How they are dropped: what can be said only where `E` is known to be `'static`.
    drop: fn(Vec<Failure<E>>),
}

impl<E> Failures<E> {
    fn none() -> Self {
        Failures {
            list: Vec::new(),
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
    /// `canceller` is the index of the failure that cancelled the group, `cancelled` a cancel from
    /// outside.
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
        let primary = canceller.map(|canceller| ends(&links(&failures))[canceller]);
        let failures = Failures {
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
        GroupError(Box::new(report))
    }

    /// All failures, in the order in which they happened.
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

    /// All failures by value, in the order in which they happened.
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

    /// The root of the trouble: the failure that cancelled the group, or the one that it is an
    /// [echo](Failure::echo_of) of. The first failure that is no echo, if none cancelled the group.
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

    /// The failure of the group's body.
    ///
    /// ```
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::scope(|_| -> anyhow::Result<()> { anyhow::bail!("nothing to do") }).unwrap_err();
    /// assert!(error.body().is_some());
    /// ```
    pub fn body(&self) -> Option<&Failure<E>> {
        self.failures().iter().find(|failure| failure.is_of_body())
    }

    /// The failure of one task.
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

    /// The errors that were returned, in the order in which that happened.
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

    /// The panics, in the order in which they happened.
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

    /// The cancel that cut the group short: that of its own deadline, or of a token it hangs on.
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

    /// Divides the report into the failures for which `pred` is true and the rest.
    ///
    /// Every failure is on one side, in the order it had; a side that holds nothing is `None`. What
    /// [`cancelled`](Self::cancelled) gives goes to the rest, which then is `Some` even without
    /// failures: to deal with a failure does not undo a cancel.
    ///
    /// ```
    /// # fn main() -> anyhow::Result<()> {
    /// use taskgroup::{FailureKind, TaskGroup};
    ///
    /// let error = TaskGroup::scope(|g| -> anyhow::Result<()> {
    ///     g.spawn(|| Ok(std::fs::read("no such file")?));
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// let (missing, rest) =
    ///     error.split(|failure| matches!(failure.kind(), FailureKind::Error(e) if e.is::<std::io::Error>()));
    /// assert_eq!(missing.map(|error| error.failures().len()), Some(1));
    /// assert!(rest.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn split(self, mut pred: impl FnMut(&Failure<E>) -> bool) -> (Option<Self>, Option<Self>) {
        let Report {
            name,
            location,
            mut failures,
            canceller,
            primary,
            cancelled,
            ..
        } = *self.0;
        let drop = failures.drop;
        let side = |name, cancelled| {
            Report::new(
                name,
                location,
                Failures {
                    list: Vec::new(),
                    drop,
                },
                cancelled,
            )
        };
        let mut matching = side(name.clone(), None);
        let mut rest = side(name, cancelled);
        for (i, failure) in failures.take().into_iter().enumerate() {
            let side = if pred(&failure) {
                &mut matching
            } else {
                &mut rest
            };
            let place = Some(side.failures.list.len());
            if canceller == Some(i) {
                side.canceller = place;
            }
            if primary == Some(i) {
                side.primary = place;
            }
            side.failures.list.push(failure);
        }
        let unless_empty = |side: Report<E>| {
            (!side.failures.list.is_empty() || side.cancelled.is_some()).then(|| Self::of(side))
        };
        (unless_empty(matching), unless_empty(rest))
    }

    /// The error, if a single error is all that happened; a panic, or more than one failure, gives
    /// the report back.
    ///
    /// A cancel beside the error is let go: whoever is above knows of it.
    ///
    /// # Errors
    ///
    /// The report, unchanged, if it holds anything but exactly one failure that is an error.
    ///
    /// ```
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::scope(|g| {
    ///     g.spawn(|| Ok("x".parse::<u32>()?));
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// let error: anyhow::Error = error.into_single().unwrap_or_else(anyhow::Error::from);
    /// assert!(error.is::<std::num::ParseIntError>());
    /// ```
    pub fn into_single(mut self) -> Result<E, Self> {
        if self.failures().len() != 1 || self.errors().next().is_none() {
            return Err(self);
        }
        match self.0.failures.list.pop().map(Failure::into_kind) {
            Some(FailureKind::Error(error)) => Ok(error),
            _ => unreachable!("the only failure is an error"),
        }
    }
}

impl<E: TaskError> GroupError<E> {
    /// Goes on with the first panic, if there is one; gives the report back if not.
    ///
    /// The other failures are not lost: they are logged with `tracing` at error level first.
    ///
    /// # Panics
    ///
    /// If the report holds a panic; that is what it is for.
    ///
    /// ```
    /// use taskgroup::TaskGroup;
    ///
    /// let error = TaskGroup::scope(|g| {
    ///     g.spawn(|| Ok("x".parse::<u32>()?));
    ///     Ok(())
    /// })
    /// .unwrap_err();
    /// // No task panicked, so this returns.
    /// assert_eq!(error.resume_panic().failures().len(), 1);
    /// ```
    pub fn resume_panic(self) -> Self {
        let Some(first) = self
            .failures()
            .iter()
            .position(|failure| matches!(failure.kind(), FailureKind::Panic(_)))
        else {
            return self;
        };
        let mut failures = self.into_failures();
        let panicked = failures.remove(first);
        for failure in failures {
            failure.log_hidden();
            // Dropped here, not by the unwinding, in which a destructor that panics would abort the
            // process.
            drop_contained("failure that a panic hides", failure);
        }
        match panicked.into_kind() {
            FailureKind::Panic(panic) => panic.resume(),
            _ => unreachable!("the failure is a panic"),
        }
    }

    /// How the group is called in a sentence.
    fn label(&self) -> String {
        match (&self.0.name, self.0.location) {
            (Some(name), _) => format!("group `{}`", Escaped(name)),
            (None, Some(location)) => format!("the group at {}", Site(location)),
            (None, None) => "a group".to_owned(),
        }
    }

    fn summary(&self) -> &str {
        self.0.summary.get_or_init(|| self.summarize())
    }

    fn summarize(&self) -> String {
        match (self.primary(), self.failures().len(), self.cancelled()) {
            (Some(primary), 1, _) => format!("1 failure in {}: {primary}", self.label()),
            (Some(primary), n, _) => format!("{n} failures in {}, first: {primary}", self.label()),
            // "was cancelled: why" holds the whole text of the `Cancelled` below, so that chains
            // are drawn without it.
            (None, _, Some(cancelled)) => format!("{} was {cancelled}", self.label()),
            (None, _, None) => format!("{} had no tasks to give a result", self.label()),
        }
    }

    fn node(&self) -> Node {
        let mut heading = "group".to_owned();
        if let Some(name) = &self.0.name {
            heading += &format!(" `{name}`");
        }
        if let Some(location) = self.0.location {
            heading += &format!(" ({})", Site(location));
        }
        heading += &match (self.failures().len(), self.cancelled()) {
            (0, Some(_)) => " was cut short".to_owned(),
            (0, None) => " had no tasks to give a result".to_owned(),
            (1, _) => ": 1 failure".to_owned(),
            (n, _) => format!(": {n} failures"),
        };
        let mut node = Node::new(heading);
        for child in self.nodes() {
            node.add_child(child);
        }
        if let Some(cancelled) = self.cancelled() {
            node.add_child(Node::new(cancelled.to_string()));
        }
        node
    }

    /// The failures in a drawing, each with all its echoes right below it, and theirs.
    fn nodes(&self) -> impl Iterator<Item = Node> {
        let failures = self.failures();
        let links = links(failures);
        let node = |i: usize| {
            let echo = failures[i].root().map(|root| match links[i] {
                Some(above) if links[above].is_none() => "echo".to_owned(),
                _ => format!("echo of {root}"),
            });
            let told_apart = failures.len() > 1 && self.0.canceller == Some(i);
            let notes: Vec<_> = echo
                .as_deref()
                .into_iter()
                .chain(told_apart.then_some("cancelled the group"))
                .collect();
            failures[i].node(&notes)
        };
        let mut nodes: Vec<_> = (0..failures.len())
            .map(|i| links[i].is_none().then(|| node(i)))
            .collect();
        for (i, end) in ends(&links)
            .into_iter()
            .enumerate()
            .filter(|&(i, end)| i != end)
        {
            nodes[end]
                .as_mut()
                .into_iter()
                .for_each(|root| root.add_child(node(i)));
        }
        nodes.into_iter().flatten()
    }

    fn outline(&self) -> &Outline {
        let traces = || {
            self.primary()?
                .traces()
                .map(|traces| traces.actors().to_vec())
        };
        self.0.outline.get_or_init(|| Outline {
            summary: self.summary().to_owned(),
            root: Arc::new(self.node()),
            traces: traces().unwrap_or_default(),
        })
    }
}

/// A report that holds nothing but a cancel, for code that passes one on with `?`.
impl<E> From<Cancelled> for GroupError<E> {
    fn from(cancelled: Cancelled) -> Self {
        Self::of(Report::new(None, None, Failures::none(), Some(cancelled)))
    }
}

impl<E: TaskError> fmt::Display for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return self.outline().fmt(f);
        }
        f.write_str(self.summary())
    }
}

impl<E: TaskError> fmt::Debug for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.outline(), f)
    }
}

impl<E: TaskError> Error for GroupError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.cancelled() {
            Some(cancelled) if self.failures().is_empty() => Some(cancelled),
            None if self.failures().is_empty() => None,
            _ => Some(self.outline()),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
