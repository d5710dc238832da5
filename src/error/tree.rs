//! The drawing of a report, which shows which task failed, where it was spawned and why.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Display, Write as _};
use std::sync::Arc;

use super::chain::chain;
use super::text::text_of;
use crate::cancel::Escaped;
use crate::cancel::actor::Actor;
use crate::panics::PanicPayload;

/// A few lines of a drawing, and the nodes below them.
///
/// Reports nest as deep as scopes do, so neither drawing nor dropping recurses.
///
/// A text of the user's must not pass for a line of the drawing. A heading is one line, with
/// control characters escaped. From its second line on, a text stands to the right of the column in
/// which headings and labels begin. So does a first line that begins like a branch of the drawing.
pub(super) struct TreeNode {
    lines: Vec<String>,
    children: Vec<Arc<TreeNode>>,
}

impl TreeNode {
    pub(super) fn new(heading: String) -> Self {
        TreeNode {
            // A name of the user's that holds a line break must not begin a second line.
            lines: vec![Escaped(&heading).to_string()],
            children: Vec::new(),
        }
    }

    pub(super) fn add_child(&mut self, child: impl Into<Arc<TreeNode>>) {
        self.children.push(child.into());
    }

    /// Adds the texts of an error and its sources, and the drawing of a nested group if they hold
    /// one.
    pub(super) fn add_error(&mut self, text: &dyn Display, error: Option<&(dyn Error + 'static)>) {
        let mut texts = vec![text_of(text)];
        let mut nested = None;

        // The chain ends at the report of a nested group: the drawing has all that lies below it.
        for error in error.into_iter().flat_map(chain) {
            match error.downcast_ref::<Outline>() {
                Some(outline) => nested = Some(outline),
                None => texts.push(text_of(error)),
            }
        }

        // A text that stands in one further out is not repeated: many errors print their source
        // too.
        let mut shown: Vec<String> = Vec::new();
        for text in texts {
            // The drawing of the nested group has everything that its summary has.
            let in_drawing = nested.is_some_and(|outline| outline.summary == text);
            if in_drawing || shown.iter().any(|outer| outer.contains(&text)) {
                continue;
            }

            self.add_text(if shown.is_empty() { "" } else { "caused by: " }, &text);
            shown.push(text);
        }

        // Shared, since a copy at each level of nested groups would hold all levels below.
        if let Some(outline) = nested {
            self.add_child(outline.root.clone());
        }
    }

    pub(super) fn add_panic(&mut self, panic: &PanicPayload) {
        self.add_text("", panic.message());

        // The place is known only where the panic hook is installed.
        if let Some(location) = panic.location() {
            self.add_text("at ", location);
        }
    }

    fn add_text(&mut self, label: &str, text: &str) {
        let mut label = Cow::Borrowed(label);

        // Such a first line could pass for a branch of the drawing.
        if label.is_empty() && text.trim_start().starts_with(['├', '└', '│']) {
            label = Cow::Borrowed(ASIDE);
        }

        for line in text.lines() {
            self.lines.push(format!("{label}{}", Escaped(line)));

            // Further lines stand to the right of the column in which labels begin.
            label = Cow::Owned(" ".repeat(label.len().max(ASIDE.len())));
        }
    }

    fn draw_lines(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        for (i, line) in self.lines.iter().enumerate() {
            // The first line stands behind the branch, which is drawn already.
            if i > 0 {
                f.write_char('\n')?;
                f.write_str(indent)?;
            }

            f.write_str(line)?;
        }
        Ok(())
    }
}

/// The indentation that sets a text apart from the drawing.
const ASIDE: &str = "  ";

impl Display for TreeNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut indent = String::new();
        self.draw_lines(f, &indent)?;

        // The path from the root to the current node. Each entry has the children that are still to
        // be drawn, and the length of their indentation.
        let mut path = vec![(self.children.iter(), 0)];
        while let Some((children, outer)) = path.last_mut() {
            // The child before may have left a longer indentation.
            indent.truncate(*outer);
            let Some(child) = children.next() else {
                path.pop();
                continue;
            };

            // The line at the left runs on only while siblings follow.
            let (branch, below) = if children.len() > 0 {
                ("├─ ", "│  ")
            } else {
                ("└─ ", "   ")
            };

            f.write_char('\n')?;
            f.write_str(&indent)?;
            f.write_str(branch)?;
            indent.push_str(below);
            child.draw_lines(f, &indent)?;

            // The children of this child come before its siblings.
            path.push((child.children.iter(), indent.len()));
        }

        Ok(())
    }
}

impl Drop for TreeNode {
    fn drop(&mut self) {
        // Each node loses its children before it is dropped, so no drop runs inside of another.
        let mut doomed = std::mem::take(&mut self.children);
        while let Some(node) = doomed.pop() {
            // A node that another drawing still holds stays.
            if let Some(mut node) = Arc::into_inner(node) {
                doomed.append(&mut node.children);
            }
        }
    }
}

/// A group with failures, for code that cannot name its error type.
///
/// It is the `source()` of every [`GroupError`](super::GroupError) with failures. An error with
/// many causes has no single source, so code that prints a chain gets the drawing instead. This
/// type is the same for every error type of a group. So this crate recognises a group in a chain by
/// it, and draws the group as a part of another.
pub(super) struct Outline {
    pub(super) summary: String,
    pub(super) root: Arc<TreeNode>,
    /// The actors that the primary failure names.
    pub(super) traces: Vec<Arc<Actor>>,
}

impl Display for Outline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

impl fmt::Debug for Outline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

/// It has no source: a search along a chain must find nothing below a group with failures.
impl Error for Outline {}

/// Whether the error or one of its sources is the report of a group.
pub(super) fn holds_report(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| error.is::<Outline>())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io;
    use std::panic::Location;
    use std::time::Duration;

    use super::super::testing::{
        Plain, cancelled, caught, failed, failed_group, group, task, timed_out,
    };
    use super::super::{Failure, FailureKind, GroupError, Origin, TaskError, install_panic_hook};
    use super::*;
    use crate::cancel::{CancelCause, Cancelled, TokenId};

    /// The drawing, with the lines of this file, which differ from call to call, replaced by a
    /// letter.
    fn drawn(error: &impl fmt::Debug) -> String {
        let mut out = String::new();
        for (i, piece) in format!("{error:?}").split(file!()).enumerate() {
            // All pieces but the first begin with the line and the column of a place.
            out += if i > 0 {
                piece.trim_start_matches(|c: char| c == ':' || c.is_ascii_digit())
            } else {
                piece
            };
            out += "@";
        }

        // No place follows the last piece.
        out.truncate(out.len() - 1);
        out
    }

    #[test]
    fn one_error_with_its_sources() {
        let error = anyhow::anyhow!("no such file")
            .context("cannot read the header\nof part 2")
            .context("cannot open a.txt");

        let failure = Failure::new(
            task(4, Some("parser")),
            FailureKind::Error(error),
            false,
            Duration::from_micros(1_200),
        );
        let report = GroupError::new(
            Some("import".into()),
            Location::caller(),
            vec![failure],
            Some(0),
            None,
        );

        // Alone in its group, the failure is not marked as the one that cancelled it.
        assert_eq!(
            drawn(&report),
            "\
group `import` (@): 1 failure
└─ task `parser` (@) failed after 1.2 ms
   cannot open a.txt
   caused by: cannot read the header
              of part 2
   caused by: no such file"
        );

        // The flag of `anyhow` for the long form draws the same.
        assert_eq!(format!("{report:#}"), format!("{report:?}"));
    }

    #[test]
    fn an_error_a_panic_and_a_nested_group() {
        let inner = failed_group(Plain("connection refused".to_owned()));
        let nested = anyhow::Error::from(io::Error::other(inner)).context("mirror is unavailable");
        let panic = FailureKind::Panic(PanicPayload::new(Box::new("index 3 of 2")));

        // One of each kind, the nested group not last: its branch has to run on to the body.
        let failures = vec![
            failed(2, anyhow::anyhow!("disk full")),
            Failure::new(task(3, None), panic, true, Duration::from_secs(3)),
            Failure::new(
                task(4, Some("mirror")),
                FailureKind::Error(nested),
                true,
                Duration::from_secs(125),
            ),
            Failure::new(
                Origin::Body,
                FailureKind::Error(anyhow::anyhow!("last")),
                true,
                Duration::from_nanos(40),
            ),
        ];
        let report = GroupError::new(
            None,
            Location::caller(),
            failures,
            Some(0),
            Some(cancelled()),
        );

        assert_eq!(
            drawn(&report),
            "\
group (@): 4 failures
├─ task 2 (@) failed after 3.0 ms [cancelled the group]
│  disk full
├─ task 3 (@) panicked after 3.0 s [after the cancel]
│  index 3 of 2
├─ task `mirror` (@) failed after 2 min 5 s [after the cancel]
│  mirror is unavailable
│  └─ group (@): 1 failure
│     └─ task 1 (@) failed after 3.0 ms
│        connection refused
├─ the body failed after 40 ns [after the cancel]
│  last
└─ cancelled: cancel was requested (at @)"
        );
    }

    #[test]
    fn a_panic_with_the_location_the_hook_recorded() {
        install_panic_hook();
        let panic = FailureKind::Panic(caught(|| panic!("two\nlines")));
        let report = group(vec![Failure::<Plain>::new(
            task(1, None),
            panic,
            false,
            Duration::ZERO,
        )]);

        // The place follows the whole message, not its first line.
        assert_eq!(
            drawn(&report),
            "group (@): 1 failure\n└─ task 1 (@) panicked after 0 ns\n   two\n     lines\n   at @"
        );
    }

    #[test]
    fn a_deadline_without_failures() {
        let report: GroupError = GroupError::new(
            Some("late".into()),
            Location::caller(),
            Vec::new(),
            None,
            Some(timed_out()),
        );

        assert_eq!(
            drawn(&report),
            "group `late` (@) was cut short\n└─ cancelled: the deadline passed (at @)"
        );
    }

    #[test]
    fn a_text_that_an_outer_one_holds_is_not_repeated() {
        let source = io::Error::other("disk full");
        let report = failed_group(
            anyhow::Error::from(source)
                .context("write: disk full")
                .context("cannot save"),
        );

        // The innermost text is the end of the one before it.
        assert_eq!(
            drawn(&report),
            "group (@): 1 failure\n└─ task 1 (@) failed after 3.0 ms\n   cannot save\n   caused by: write: disk full"
        );
    }

    #[test]
    fn groups_nest_to_any_depth_under_any_wrapper() {
        let mut report = failed_group(anyhow::anyhow!("root"));
        for _ in 0..2 {
            report = group(vec![failed(1, anyhow::Error::from(report))]);
        }

        // A nested group stands in place of the text of its task's error, and not below it.
        assert_eq!(
            drawn(&report),
            "\
group (@): 1 failure
└─ task 1 (@) failed after 3.0 ms
   └─ group (@): 1 failure
      └─ task 1 (@) failed after 3.0 ms
         └─ group (@): 1 failure
            └─ task 1 (@) failed after 3.0 ms
               root"
        );
    }

    #[test]
    fn what_is_written_by_the_user_forges_no_line() {
        let forged = "x\n└─ task 9 (a.rs:1) failed";
        let text = "└─ task 7 (a.rs:1) failed\n└─ task 8\u{1b}[2K\rx";

        // In each place that takes a text: names, an error, a context, and the reason of a cancel.
        let failures = vec![
            Failure::new(
                task(1, Some(forged)),
                FailureKind::Error(anyhow::anyhow!(text)),
                false,
                Duration::ZERO,
            ),
            failed(2, anyhow::anyhow!("inner\ncaused by: y").context(forged)),
        ];

        let why = CancelCause::Requested {
            reason: Some(forged.to_owned()),
        };
        let cancelled = Cancelled::new(why, Location::caller(), TokenId(7));
        let report = GroupError::new(
            Some(forged.into()),
            Location::caller(),
            failures,
            None,
            Some(cancelled),
        );

        assert_eq!(
            drawn(&report),
            "\
group `x\\n└─ task 9 (a.rs:1) failed` (@): 2 failures
├─ task `x\\n└─ task 9 (a.rs:1) failed` (@) failed after 0 ns
│    └─ task 7 (a.rs:1) failed
│    └─ task 8\\u{1b}[2K\\rx
├─ task 2 (@) failed after 3.0 ms
│  x
│    └─ task 9 (a.rs:1) failed
│  caused by: inner
│             caused by: y
└─ cancelled: x └─ task 9 (a.rs:1) failed (at @)"
        );

        // In a log, the line of the report must stay one line.
        assert!(
            !report.to_string().contains(['\n', '\u{1b}', '\r']),
            "{report}"
        );
    }

    /// How deep the reports of [`nested`] are.
    const LEVELS: usize = 2_000;

    /// Returns a report that holds a report, and so on. `nest` makes a report an error of a task.
    fn nested<E: TaskError>(first: E, nest: impl Fn(GroupError<E>) -> E) -> GroupError<E> {
        let mut report = failed_group(first);
        for _ in 1..LEVELS {
            let kind = FailureKind::Error(nest(report));

            // Like at the end of a task: a report finds those below it drawn already.
            let traces = kind.traces();
            report = group(vec![
                Failure::new(task(1, None), kind, false, Duration::ZERO).with_traces(traces),
            ]);
        }

        report
    }

    /// Fails unless the report draws all its levels, and its line is short.
    fn expect_levels(report: &dyn Error) {
        for text in [format!("{report:?}"), format!("{report:#}")] {
            let groups = text.lines().filter(|line| line.contains("group ("));
            assert_eq!(groups.count(), LEVELS);
            assert!(text.ends_with("the root"));
        }

        let line = report.to_string();
        assert!(line.len() < 2_000 && line.ends_with("the root"), "{line}");
    }

    #[test]
    fn thousands_of_nested_reports_draw_and_drop_on_a_small_stack() {
        // One frame for each level would not fit.
        let small = std::thread::Builder::new().stack_size(96 << 10);
        let thread = small.spawn(|| {
            let report = nested(anyhow::anyhow!("the root"), anyhow::Error::from);
            expect_levels(&report);

            // A chain ends at the first report, so a search along it is not long either.
            assert_eq!(chain(&report).count(), 2);
            drop(report);

            // Here the drawings nest inside of a text.
            let report = nested(anyhow::anyhow!("the root"), |report| {
                anyhow::Error::from(report).context("outer")
            });
            let drawn = format!("{report:?}");
            let contexts = drawn.lines().filter(|line| line.ends_with("outer"));
            assert_eq!(contexts.count(), LEVELS - 1);
            drop(report.into_failures());

            expect_levels(&nested(io::Error::other("the root"), io::Error::other));
        });

        thread
            .expect("the thread starts")
            .join()
            .expect("it does not panic");
    }

    #[test]
    fn anyhow_prints_the_drawing_as_the_cause() {
        let report = failed_group(Plain("disk full".to_owned()));
        let tree = format!("{report:?}");
        let printed = format!("{:?}", anyhow::Error::from(report));

        // `anyhow` indents the lines of a cause.
        for line in tree.lines() {
            assert!(printed.contains(line.trim_start()), "{printed}");
        }
    }
}
