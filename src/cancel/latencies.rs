//! How late tasks saw a cancel, and how late they ended.

use std::fmt;
use std::time::Duration;

use super::id::TaskInfo;
use super::span::Span;

/// A task that was cancelled, with the time from its cancel to its first sight of the cancel, or to
/// its end: see [`WorstLatencies`].
///
/// ```
/// let stats = taskgroup::GroupStats::default();
/// if let Some(worst) = stats.worst_latencies.to_end() {
///     println!("{} ended {:?} after its cancel", worst.task(), worst.latency());
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskLatency {
    task: TaskInfo,
    latency: Duration,
}

impl TaskLatency {
    /// Returns the task.
    ///
    /// ```
    /// let worst = taskgroup::GroupStats::default().worst_latencies;
    /// println!("{:?}", worst.to_end().map(|last| last.task().id));
    /// ```
    pub fn task(&self) -> &TaskInfo {
        &self.task
    }

    /// Returns how long after its cancel the task saw it, or ended.
    ///
    /// ```
    /// let worst = taskgroup::GroupStats::default().worst_latencies;
    /// assert!(worst.to_end().is_none_or(|last| last.latency().as_secs() < 5));
    /// ```
    pub fn latency(&self) -> Duration {
        self.latency
    }
}

/// The tasks of a group that took longest to see their cancel, and to end.
///
/// Each task that was running at its cancel has two latencies. The *latency to sight* is the time
/// from the cancel to the first blocking point or check of the task that fails because of it. A
/// task that looks at none has no such latency. The *latency to the end* is the time from the
/// cancel to the end of the task. A task that never ran has neither, and the body of the scope has
/// neither.
///
/// The time begins with the first cancel that reaches the task: of the task alone, of its group, or
/// of a scope around the group. So the tasks of a group that is cancelled from above count from the
/// cancel above. A time limit or an inner group that the task has opened itself is not a cancel of
/// the task. The task that cancels the group by its failure has no latency.
///
/// In a report, the latencies are a line of the drawing if the worst latency to the end is a second
/// or more.
///
/// ```
/// use std::time::Duration;
/// use taskgroup::{TaskGroup, sync::Event};
///
/// let begun = Event::new();
/// let error = TaskGroup::scope(|g| {
///     g.task().name("rows").spawn(|| {
///         begun.set();
///         Ok(taskgroup::sleep(Duration::MAX)?) // until the cancel
///     });
///     begun.wait()?;
///     g.spawn(|| Ok("x".parse::<u32>()?));
///     Ok(())
/// })
/// .unwrap_err();
///
/// let worst = error.worst_latencies();
/// let last = worst.to_end().expect("the task was cancelled while it ran");
/// assert_eq!(last.task().name.as_deref(), Some("rows"));
/// let seen = worst.to_sight().expect("it was blocked in a call of this crate");
/// assert!(seen.latency() <= last.latency());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorstLatencies {
    to_sight: Option<TaskLatency>,
    to_end: Option<TaskLatency>,
}

impl WorstLatencies {
    /// Returns the task that took longest to see its cancel. `None` if no task has seen one.
    ///
    /// ```
    /// assert_eq!(taskgroup::WorstLatencies::default().to_sight(), None);
    /// ```
    pub fn to_sight(&self) -> Option<&TaskLatency> {
        self.to_sight.as_ref()
    }

    /// Returns the task that took longest to end after its cancel. `None` if no task that was
    /// cancelled while it ran has ended.
    ///
    /// ```
    /// assert_eq!(taskgroup::WorstLatencies::default().to_end(), None);
    /// ```
    pub fn to_end(&self) -> Option<&TaskLatency> {
        self.to_end.as_ref()
    }

    /// Compares with the latencies of a task that has ended.
    pub(crate) fn note(
        &mut self,
        to_sight: Option<Duration>,
        to_end: Duration,
        task: impl Fn() -> TaskInfo,
    ) {
        let note = |worst: &mut Option<TaskLatency>, latency| {
            // Most tasks are no worse, and their names are not copied.
            let is_worse = |worst: &TaskLatency| worst.latency < latency;
            if worst.as_ref().is_none_or(is_worse) {
                *worst = Some(TaskLatency {
                    task: task(),
                    latency,
                });
            }
        };

        // Every task ends, but not every one sees the cancel before.
        note(&mut self.to_end, to_end);
        if let Some(to_sight) = to_sight {
            note(&mut self.to_sight, to_sight);
        }
    }
}

/// Writes both latencies, such as "task `rows` (src/main.rs:9) ended 12.3 s after its cancel, and
/// saw it after 11.0 s".
impl fmt::Display for WorstLatencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(last) = &self.to_end else {
            return f.write_str("no task has ended after a cancel");
        };
        write!(
            f,
            "{} ended {} after its cancel",
            last.task,
            Span(last.latency)
        )?;

        // The slowest task in both is named once.
        match &self.to_sight {
            Some(seen) if seen.task.id == last.task.id => {
                write!(f, ", and saw it after {}", Span(seen.latency))
            }
            Some(seen) => write!(
                f,
                "; latest to see its cancel: {}, after {}",
                seen.task,
                Span(seen.latency)
            ),
            None => f.write_str("; no task of this group saw it"),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::Location;

    use super::*;
    use crate::cancel::TaskId;

    #[track_caller]
    fn task(id: u64) -> TaskInfo {
        TaskInfo {
            id: TaskId(id),
            name: Some(format!("t{id}")),
            location: Location::caller(),
        }
    }

    #[test]
    fn the_worst_of_each_latency_is_kept_with_its_task() {
        let second = Duration::from_secs(1);
        let mut worst = WorstLatencies::default();
        assert_eq!(worst.to_string(), "no task has ended after a cancel");

        worst.note(None, second * 2, || task(1));
        assert!(
            worst
                .to_string()
                .ends_with("after its cancel; no task of this group saw it")
        );
        worst.note(Some(second / 2), second, || task(2));
        worst.note(Some(second / 4), second, || task(3));
        let ids = [worst.to_end(), worst.to_sight()].map(|of| of.map(|of| of.task().id.0));
        assert_eq!(ids, [Some(1), Some(2)]);
        let text = worst.to_string();
        assert!(text.starts_with("task `t1` ("), "{text}");
        assert!(
            text.contains(") ended 2.0 s after its cancel; latest to see its cancel: task `t2` ("),
            "{text}"
        );
        assert!(text.ends_with("), after 500 ms"), "{text}");

        worst.note(Some(second), second * 3, || task(4));
        let text = worst.to_string();
        assert!(
            text.ends_with(" ended 3.0 s after its cancel, and saw it after 1.0 s"),
            "{text}"
        );
    }
}
