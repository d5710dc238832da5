//! Three sleepers at once, three times.

mod run;

use std::collections::BTreeSet;

use run::{assert_no_thread_left, in_order, run_well};

/// The lines of part `n`, without their times and indents.
fn part(output: &str, n: usize) -> Vec<&str> {
    let lines: Vec<_> = output.lines().map(|line| line.split_once("] ").map_or(line, |(_, text)| text.trim())).collect();
    let parts: Vec<_> = lines.split(|line| line.starts_with("map")).collect();
    assert_eq!(parts.len(), 4, "{output}");
    parts[n].to_vec()
}

/// What stands before or after `words` in the lines that have it.
fn with<'a>(lines: &[&'a str], words: &str) -> Vec<&'a str> {
    lines
        .iter()
        .filter(|line| line.contains(words))
        .map(|line| line.trim_start_matches(words).trim_end_matches(words).trim())
        .collect()
}

#[test]
fn results_come_in_the_order_that_was_asked_for() {
    // Wherever an order is a matter of time, 0.6 s or more lies between.
    let output = run_well("map_demo", &["--unit-ms", "300"]);

    let ordered = part(&output, 1);
    assert_eq!(with(&ordered, "result"), ["20", "0", "30", "10", "40"], "{output}");
    assert_eq!(with(&ordered, "pulled"), ["2", "0", "3", "1", "4"], "{output}");
    assert!(in_order(&format!("{ordered:?}"), &["0 is done", "2 is done", "result 20"]), "{output}");
    // Three are pulled and not given out, and never more.
    let steps: Vec<_> = ordered.iter().filter(|line| line.contains("pulled") || line.contains("result")).collect();
    assert!(
        in_order(&format!("{steps:?}"), &["3 pulled", "result 20", "1 pulled", "result 0", "4 pulled", "result 30"]),
        "{output}"
    );

    let unordered = part(&output, 2);
    assert_eq!(with(&unordered, "pulled"), ["9", "1", "3", "0", "4"], "{output}");
    assert_eq!(with(&unordered, "result"), ["10", "0", "30", "40", "90"], "{output}");

    let failed = part(&output, 3);
    assert_eq!(with(&failed, "pulled"), ["10", "11", "12"], "{output}");
    // A task that had not begun when the other failed never does.
    let [sleeping, woken] = ["sleeps", "is woken"].map(|words| BTreeSet::from_iter(with(&failed, words)));
    assert_eq!(sleeping, woken, "{output}");
    assert!(with(&failed, "is done").is_empty() && with(&failed, "result").is_empty(), "{output}");
    let tree = ["over\n", "group `endless` (", "): 1 failure\n└─ task ", "map_demo.rs:", "\n   12 has a bad dream\n"];
    assert!(in_order(&output, &tree), "{output}");
    assert_no_thread_left(&output);
}
