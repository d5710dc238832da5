//! Tests of the drawing of a report.

use std::io;
use std::panic::Location;
use std::time::Duration;

use super::super::testing::{
    Plain, cancelled, caught, failed, failed_group, group, task, timed_out,
};
use super::super::{
    FailedWhen, Failure, FailureKind, GroupError, Origin, TaskError, install_panic_hook,
};
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
        FailedWhen::BeforeCancel,
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
        Failure::new(
            task(3, None),
            panic,
            FailedWhen::AfterCancel,
            Duration::from_secs(3),
        ),
        Failure::new(
            task(4, Some("mirror")),
            FailureKind::Error(nested),
            FailedWhen::AfterCancel,
            Duration::from_secs(125),
        ),
        Failure::new(
            Origin::Body,
            FailureKind::Error(anyhow::anyhow!("last")),
            FailedWhen::AfterCancel,
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
        FailedWhen::BeforeCancel,
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
            FailedWhen::BeforeCancel,
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
            Failure::new(
                task(1, None),
                kind,
                FailedWhen::BeforeCancel,
                Duration::ZERO,
            )
            .with_traces(traces),
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
