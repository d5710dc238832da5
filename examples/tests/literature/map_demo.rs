//! Three sleepers at once, three times.

use std::collections::BTreeSet;

use crate::run::{assert_no_thread_left, in_order, run_well};

/// Returns the lines of part `n`, without their times and indents.
fn part(output: &str, n: usize) -> Vec<&str> {
    let lines: Vec<_> = output
        .lines()
        .map(|line| line.split_once("] ").map_or(line, |(_, text)| text.trim()))
        .collect();
    let parts: Vec<_> = lines.split(|line| line.starts_with("map")).collect();
    assert_eq!(parts.len(), 4, "{output}");
    parts[n].to_vec()
}

/// Returns the texts before or after `words` in the lines that have it.
fn with<'a>(lines: &[&'a str], words: &str) -> Vec<&'a str> {
    lines
        .iter()
        .filter(|line| line.contains(words))
        .map(|line| {
            line.trim_start_matches(words)
                .trim_end_matches(words)
                .trim()
        })
        .collect()
}

#[test]
fn results_come_in_the_order_that_was_asked_for() {
    // Where an order depends on time, there are 0.6 s or more between.
    let output = run_well("map_demo", &[]);
    ordered_by_input(&part(&output, 1), &output);

    let unordered = part(&output, 2);
    let pulled = with(&unordered, "pulled");
    assert_eq!(pulled, ["7", "1", "3", "0", "4"], "{output}");
    let results = with(&unordered, "result");
    assert_eq!(results, ["10", "0", "30", "40", "70"], "{output}");

    failed_at_once(&part(&output, 3), &output);
    let tree = [
        "over\n",
        "group `endless` (",
        "): 1 failure\n└─ task ",
        "map_demo.rs:",
        "\n   2 had a bad dream\n",
    ];
    assert!(in_order(&output, &tree), "{output}");
    assert_no_thread_left(&output);
}

/// The results are in the order of the input, which is pulled as there is room.
fn ordered_by_input(ordered: &[&str], output: &str) {
    let results = with(ordered, "result");
    assert_eq!(results, ["70", "10", "30", "0", "40"], "{output}");
    let pulled = with(ordered, "pulled");
    assert_eq!(pulled, ["7", "1", "3", "0", "4"], "{output}");

    // The first two sleep for nearly the same time.
    for early in ["1 wakes up", "3 wakes up"] {
        assert!(
            in_order(&format!("{ordered:?}"), &[early, "7 wakes up", "result 70"]),
            "{output}"
        );
    }

    // Three are pulled and not given out, and never more.
    let steps: Vec<_> = ordered
        .iter()
        .filter(|line| line.contains("pulled") || line.contains("result"))
        .collect();
    let expected = [
        "3 pulled",
        "result 70",
        "0 pulled",
        "result 10",
        "4 pulled",
        "result 30",
    ];
    assert!(in_order(&format!("{steps:?}"), &expected), "{output}");
}

/// One task fails, and the sleeping ones are woken.
fn failed_at_once(failed: &[&str], output: &str) {
    assert_eq!(with(failed, "pulled"), ["2", "4", "6"], "{output}");
    assert_eq!(with(failed, "wakes up"), ["2"], "{output}");

    // A task that had not begun when the other task failed never begins.
    let [mut sleeping, woken] =
        ["sleeps", "is woken"].map(|words| BTreeSet::from_iter(with(failed, words)));
    assert!(sleeping.remove("2") && sleeping == woken, "{output}");
    assert!(with(failed, "result").is_empty(), "{output}");
}
