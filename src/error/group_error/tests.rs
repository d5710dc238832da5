//! Tests the accessors of a report and its text.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::super::testing::{
    Plain, cancelled, errors_logged, failed, failed_group, group, task, timed_out,
};
use super::super::{FailedWhen, Origin};
use super::*;

fn panicked(id: u64, payload: &'static str) -> Failure<Plain> {
    let kind = FailureKind::Panic(PanicPayload::new(Box::new(payload)));
    Failure::new(
        task(id, None),
        kind,
        FailedWhen::BeforeCancel,
        Duration::ZERO,
    )
}

fn error(id: u64, text: &str) -> Failure<Plain> {
    failed(id, Plain(text.to_owned()))
}

fn with(
    failures: Vec<Failure<Plain>>,
    primary: Option<usize>,
    cancelled: Option<Cancelled>,
) -> GroupError<Plain> {
    GroupError::new(
        Some("g".into()),
        Location::caller(),
        failures,
        primary,
        cancelled,
    )
}

fn ids(report: &GroupError<Plain>) -> Vec<u64> {
    report
        .failures()
        .iter()
        .filter_map(|failure| failure.task().map(|task| task.id.0))
        .collect()
}

#[test]
fn group_error_is_send_sync_and_static() {
    fn check<T: Error + Send + Sync + 'static>() {}
    check::<GroupError>();
    check::<GroupError<io::Error>>();
    check::<GroupError<Cancelled>>();
    check::<GroupError<GroupError>>();
}

#[test]
fn it_costs_a_result_one_word() {
    assert_eq!(size_of::<Result<(), GroupError>>(), size_of::<usize>());
}

#[test]
fn primary_is_the_failure_that_cancelled_or_the_first() {
    let of = |primary| with(vec![error(1, "a"), error(2, "b")], primary, None);
    assert_eq!(
        of(Some(1))
            .primary()
            .and_then(Failure::task)
            .map(|task| task.id),
        Some(TaskId(2))
    );
    assert_eq!(
        of(None)
            .primary()
            .and_then(Failure::task)
            .map(|task| task.id),
        Some(TaskId(1))
    );
    assert!(with(vec![], None, Some(cancelled())).primary().is_none());
}

#[test]
fn failures_are_found_by_kind_and_by_origin() {
    let body = Failure::new(
        Origin::Body,
        FailureKind::Error(Plain("of the body".into())),
        FailedWhen::AfterCancel,
        Duration::ZERO,
    );
    let report = with(vec![error(1, "a"), panicked(2, "b"), body], Some(0), None);
    assert_eq!(
        report
            .errors()
            .map(|error| error.0.as_str())
            .collect::<Vec<_>>(),
        ["a", "of the body"]
    );
    assert_eq!(
        report
            .panics()
            .map(PanicPayload::message)
            .collect::<Vec<_>>(),
        ["b"]
    );
    assert!(
        report
            .body()
            .is_some_and(|body| body.task().is_none() && body.after_cancel())
    );
    assert!(
        report
            .of_task(TaskId(2))
            .is_some_and(|failure| matches!(failure.kind(), FailureKind::Panic(_)))
    );
    assert!(report.of_task(TaskId(9)).is_none());
    assert_eq!(report.into_failures().len(), 3);
}

#[test]
fn one_line_with_count_group_and_primary() {
    let report = with(vec![error(1, "a"), error(2, "b\nc")], Some(1), None);
    let primary = report.primary().expect("it has failures").to_string();
    assert_eq!(
        report.to_string(),
        format!("2 failures in group `g`, first: {primary}")
    );
    assert!(primary.ends_with("failed: b c"), "{primary}");
    let report = failed_group(Plain("a".into()));
    assert!(
        report
            .to_string()
            .starts_with(&format!("1 failure in the group at {}:", file!())),
        "{report}"
    );
    let stop = cancelled();
    assert_eq!(
        with(vec![], None, Some(stop.clone())).to_string(),
        format!("group `g` was {stop}")
    );
    assert_eq!(
        GroupError::<Plain>::from(stop.clone()).to_string(),
        format!("a group was {stop}")
    );
    assert_eq!(
        with(vec![], None, None).to_string(),
        "group `g` had no tasks to give a result"
    );
}

#[test]
fn only_a_deadline_is_a_timeout() {
    assert!(with(vec![], None, Some(timed_out())).timed_out());
    assert!(!with(vec![], None, Some(cancelled())).timed_out());
    assert!(!with(vec![error(1, "a")], None, None).timed_out());
}

#[test]
fn the_source_is_the_cancel_only_when_nothing_failed() {
    assert!(
        with(vec![], None, Some(cancelled()))
            .source()
            .is_some_and(|source| source.is::<Cancelled>())
    );
    let failed = with(vec![error(1, "a")], None, Some(cancelled()));
    assert!(failed.source().is_some_and(|source| source.is::<Outline>()));
    assert!(with(vec![], None, None).source().is_none());
}

#[test]
fn split_keeps_every_failure_the_order_the_primary_and_the_cancel() {
    let report = with(
        vec![
            error(1, "a"),
            panicked(2, "b"),
            error(3, "c"),
            error(4, "d"),
        ],
        Some(2),
        Some(timed_out()),
    );
    let (odd, even) = report.split(|failure| failure.task().is_some_and(|task| task.id.0 % 2 == 1));
    let (odd, even) = (odd.expect("1 and 3"), even.expect("2 and 4"));
    assert_eq!((ids(&odd), ids(&even)), (vec![1, 3], vec![2, 4]));
    assert_eq!(
        odd.primary().and_then(Failure::task).map(|task| task.id),
        Some(TaskId(3))
    );
    assert_eq!(
        even.primary().and_then(Failure::task).map(|task| task.id),
        Some(TaskId(2))
    );
    assert!(!odd.timed_out() && even.timed_out());
    assert!(odd.to_string().contains("group `g`") && even.to_string().contains("group `g`"));
}

#[test]
fn a_side_of_a_split_is_none_only_if_it_holds_nothing() {
    let (all, none) = with(vec![error(1, "a")], None, None).split(|_| true);
    assert!(all.is_some() && none.is_none());
    let (none, all) = with(vec![error(1, "a")], None, None).split(|_| false);
    assert!(all.is_some() && none.is_none());
    let (all, stop) = with(vec![error(1, "a")], Some(0), Some(cancelled())).split(|_| true);
    assert!(all.is_some_and(|report| report.cancelled().is_none()));
    assert!(
        stop.is_some_and(|report| report.failures().is_empty() && report.cancelled().is_some())
    );
}

#[test]
fn into_single_gives_one_error_and_nothing_else() {
    assert_eq!(
        with(vec![error(1, "a")], Some(0), None)
            .into_single()
            .map(|error| error.0)
            .ok()
            .as_deref(),
        Some("a")
    );
    let two = with(vec![error(1, "a"), error(2, "b")], Some(1), None)
        .into_single()
        .expect_err("two failures");
    assert_eq!(ids(&two), [1, 2]);
    let panic = with(vec![panicked(1, "a")], None, None)
        .into_single()
        .expect_err("a panic is not an error");
    assert_eq!(panic.panics().count(), 1);
    assert!(with(vec![], None, Some(cancelled())).into_single().is_err());
}

#[test]
fn resuming_a_panic_logs_what_it_hides() {
    let report = with(
        vec![
            error(1, "disk full"),
            panicked(2, "first"),
            panicked(3, "second"),
        ],
        None,
        None,
    );
    let (panic, logged) =
        errors_logged(|| catch_unwind(AssertUnwindSafe(|| report.resume_panic())));
    assert_eq!(
        panic.expect_err("it resumes").downcast_ref(),
        Some(&"first")
    );
    assert_eq!(logged.len(), 2, "{logged:?}");
    assert!(
        logged[0].contains("disk full") && logged[1].contains("second"),
        "{logged:?}"
    );
}

#[test]
fn without_a_panic_resuming_gives_the_report_back() {
    let (report, logged) = errors_logged(|| group(vec![error(1, "a")]).resume_panic());
    assert_eq!(ids(&report), [1]);
    assert!(logged.is_empty());
}

#[test]
fn a_cancel_that_took_a_second_or_more_is_a_line_of_the_drawing() {
    let of = |millis| {
        let mut report = with(vec![error(1, "a")], Some(0), None);
        let mut worst = WorstLatencies::default();
        worst.note(
            Some(Duration::ZERO),
            Duration::from_millis(millis),
            || match task(7, Some("rows")) {
                Origin::Task(task) => task,
                _ => unreachable!("it is a task"),
            },
        );
        report.set_worst_latencies(worst);
        report
    };

    let plain = format!("{:#}", with(vec![error(1, "a")], Some(0), None));
    assert_eq!(format!("{:#}", of(999)), plain);
    assert_eq!(format!("{}", of(1000)), format!("{}", of(999)));

    let drawn = format!("{:#}", of(1000));
    let added: Vec<_> = drawn.lines().filter(|line| line.contains("rows")).collect();
    assert_eq!(drawn.lines().count(), plain.lines().count() + 1, "{drawn}");
    assert!(added[0].contains("task `rows` ("), "{drawn}");
    assert!(
        added[0].ends_with(") ended 1.0 s after its cancel, and saw it after 0 ms"),
        "{drawn}"
    );
}
