//! Counters that lose increments, counters that do not, and counters that stop because one fails.

use std::time::Duration;

use crate::run::{assert_no_thread_left, duration, in_order, row, run_well};

#[test]
fn only_the_first_step_loses_increments() {
    let output = run_well("counter", &["--tasks", "3", "--count", "20000"]);
    let first = row(&output, "read, then write:")
        .strip_suffix(" lost")
        .and_then(|row| row.split_once(", "));
    let numbers = first.and_then(|(counted, lost)| {
        Some((counted.parse::<u64>().ok()?, lost.parse::<u64>().ok()?))
    });

    assert!(
        numbers.is_some_and(|(counted, lost)| counted > 0 && counted + lost == 60_000),
        "{output}"
    );
    for step in ["with a lock:", "a result of each:", "in one line:"] {
        assert_eq!(row(&output, step), "60000", "{output}");
    }
}

#[test]
fn one_that_fails_stops_those_that_count_for_ever() {
    let output = run_well("counter", &["--tasks", "4", "--count", "1000"]);
    let counted = row(&output, "without an end, until one fails:").parse::<u64>();
    assert!(counted.is_ok_and(|counted| counted >= 1000), "{output}");
    let tree = [
        "group `endless counters` (",
        "): 1 failure\n└─ task `counter 0` (",
        "\n   ran out of numbers\n",
    ];

    assert!(in_order(&output, &tree), "{output}");
    let latency = row(&output, "all stopped after").trim_end_matches(" more");
    assert!(duration(latency) < Duration::from_secs(30), "{output}");
    assert_no_thread_left(&output);
}
