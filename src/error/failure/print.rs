//! How a failure is printed, drawn and logged.

use std::error::Error;
use std::fmt;

use super::{Failure, FailureKind};
use crate::error::elapsed::Elapsed;
use crate::error::task_error::TaskError;
use crate::error::text::{Time, one_line, shortened};
use crate::error::tree::{TreeNode, holds_report};
use crate::facade::{catch, error_event};
use crate::panics::{PanicPayload, drop_contained, log};

impl<E> Failure<E> {
    /// Returns the verb of a sentence about this failure.
    fn verb(&self) -> &'static str {
        match self.kind {
            FailureKind::Error(_) => "failed",
            FailureKind::Panic(_) => "panicked",
            FailureKind::Spawn(_) => "could not be started",
        }
    }
}

impl<E: TaskError> Failure<E> {
    /// Logs a failure that is lost otherwise, since a panic is raised in place of the report.
    pub(crate) fn log_hidden(&self) {
        let text = self.text();
        log(|| error_event!("a panic of the same group hides this failure: {text}"));
    }

    /// Logs the failure, which a panic of its group hides, and drops it.
    pub(crate) fn drop_hidden(self) {
        self.log_hidden();

        // Contained, and before the panic goes on: a destructor that panics while another panic
        // unwinds would abort the process.
        drop_contained("failure that a panic hides", self);
    }

    /// Returns the drawing of the failure. The text of an error is the user's code: if it panics,
    /// the failure must not be lost.
    pub(crate) fn text(&self) -> String {
        catch(|| format!("{self:#}")).unwrap_or_else(|payload| {
            // The failing part of the group is known without that text.
            let panic = PanicPayload::new(payload);
            format!(
                "{} failed; the text of its error is not available: {}",
                self.origin,
                panic.message()
            )
        })
    }

    /// Returns this failure as a part of a drawing, with the notes of its group.
    pub(in crate::error) fn node(&self, notes: &[&str]) -> TreeNode {
        let mut heading = format!("{} {}", self.origin, self.verb());

        // A task that never ran has no time.
        if !matches!(self.kind, FailureKind::Spawn(_)) {
            heading += &match self.elapsed {
                Elapsed::Measured(elapsed) => format!(" after {}", Time(elapsed)),
                Elapsed::Under(step) => format!(" after less than {}", Time(step)),
            };
        }

        // The mark sets it apart from the failure that cancelled the group.
        if self.after_cancel() {
            heading += " [after the cancel]";
        }
        for note in notes {
            heading += &format!(" [{note}]");
        }

        let mut node = TreeNode::new(heading);

        // An error that is no `std::error::Error` has a text, and no sources to draw.
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

        // A text of several lines would break the promise that `{}` prints one line.
        let mut line = one_line(text);

        // Each group around adds its part. Unshortened, the line of a report would grow with the
        // depth, and all lines together with its square.
        let error = match &self.kind {
            FailureKind::Error(error) => error.as_error(),
            _ => None,
        };
        if error.is_some_and(holds_report) {
            line = shortened(line);
        }

        write!(f, "{} {}: {line}", self.origin, self.verb())
    }
}

impl<E: TaskError> fmt::Debug for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Alone it does not stand below its root, so the heading names the root.
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
            // The message of a panic is the text of the failure already.
            FailureKind::Panic(_) => None,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io;
    use std::panic::Location;
    use std::time::Duration;

    use super::super::{FailedWhen, Origin};
    use super::*;
    use crate::error::testing::{Plain, cancelled, failed, task};

    fn of(origin: Origin, kind: FailureKind<Plain>) -> Failure<Plain> {
        Failure::new(
            origin,
            kind,
            FailedWhen::BeforeCancel,
            Duration::from_millis(3),
        )
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

        // The body has no name, and no place but that of the group.
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

        // The rest is the text of the system.
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

        // It is no `std::error::Error`, so it cannot be a source.
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
                FailedWhen::BeforeCancel,
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
        failure.set_after_cancel();

        // The heading begins with the task as it is printed everywhere else.
        let task = failure.task().expect("it is a task's").to_string();
        assert_eq!(
            format!("{failure:?}"),
            format!("{task} failed after 3.0 ms [after the cancel]\nouter\ncaused by: inner")
        );
        assert_eq!(format!("{failure:#}"), format!("{failure:?}"));
        assert!(failure.after_cancel());
    }
}
