//! The four hearts beside a busy counter.

use std::time::Duration;

use crate::run::{assert_no_thread_left, duration, in_order, row, run_well};

/// Returns the instants of the beats under this title in seconds, each with the observation.
fn beats<'a>(output: &'a str, title: &str) -> Vec<(f64, &'a str)> {
    let lines = output.lines().skip_while(|line| *line != title).skip(1);
    let beats = lines.map_while(|line| line.trim_start().strip_prefix('+')?.split_once("  "));
    beats
        .map(|(at, seen)| {
            (
                at.parse().unwrap_or_else(|_| panic!("no instant: {at:?}")),
                seen,
            )
        })
        .collect()
}

#[test]
fn a_lock_keeps_the_numbers_equal_and_a_task_the_time() {
    let output = run_well("heartbeat", &["--beats", "4", "--second-ms", "250"]);
    let naive = beats(&output, "naive");
    assert!(
        naive
            .iter()
            .any(|(_, seen)| seen.starts_with("INCONSISTENT")),
        "{output}"
    );

    for title in ["with a lock", "as a task"] {
        let beats = beats(&output, title);
        assert!(!beats.is_empty(), "{output}");
        assert!(
            beats.iter().all(|(_, seen)| seen.starts_with("all are ")),
            "{title}:\n{output}"
        );
    }

    // Never early, and each to its own second.
    let task = beats(&output, "as a task");
    assert_eq!(task.len(), 4, "{output}");
    for (due, (at, _)) in [0.25, 0.5, 0.75, 1.0].into_iter().zip(&task) {
        assert!((due - 0.01..due + 30.0).contains(at), "{output}");
    }

    let counts: Vec<u64> = task
        .iter()
        .filter_map(|(_, seen)| seen.strip_prefix("all are ")?.parse().ok())
        .collect();
    assert!(counts.len() == 4 && counts.is_sorted(), "{output}");

    let late = output.lines().filter_map(|line| {
        Some(duration(
            line.trim()
                .strip_prefix("at most ")?
                .strip_suffix(" late")?,
        ))
    });

    assert_eq!(late.count(), 4, "{output}");
    assert_no_thread_left(&output);
}

#[test]
fn a_heart_that_fails_stops_the_counter_and_is_named() {
    // As many beats as it needs to meet the counter, however little that gets to run.
    let output = run_well("heartbeat", &["--beats", "20", "--second-ms", "50"]);
    let beats = beats(&output, "with a lock for each number");
    let (&(_, last), before) = beats
        .split_last()
        .unwrap_or_else(|| panic!("no beat:\n{output}"));
    assert!(last.starts_with("INCONSISTENT: "), "{output}");
    assert!(
        before.iter().all(|(_, seen)| seen.starts_with("all are ")),
        "{output}"
    );

    let tree = [
        "with a lock for each number\n",
        "group `numbers` (",
        "): 1 failure\n└─ task `heart` (",
        &format!("\n   {last}\n"),
        "  the counter stopped within ",
    ];

    assert!(in_order(&output, &tree), "{output}");
    let stopped = row(&output, "the counter stopped within")
        .strip_suffix(" of the heart")
        .map(duration);
    assert!(
        stopped.is_some_and(|stopped| stopped < Duration::from_secs(30)),
        "{output}"
    );
}
