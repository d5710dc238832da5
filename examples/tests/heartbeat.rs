//! The three hearts beside a busy counter.

mod run;

use run::{assert_no_thread_left, duration, run_well};

/// The instants of the beats under this title in seconds, each with what was seen.
fn beats<'a>(output: &'a str, title: &str) -> Vec<(f64, &'a str)> {
    let lines = output.lines().skip_while(|line| *line != title).skip(1);
    let beats = lines.map_while(|line| line.trim_start().strip_prefix('+')?.split_once("  "));
    beats.map(|(at, seen)| (at.parse().unwrap_or_else(|_| panic!("no instant: {at:?}")), seen)).collect()
}

#[test]
fn only_the_naive_heart_sees_an_inconsistency() {
    let output = run_well("heartbeat", &["--beats", "4", "--second-ms", "250"]);
    let naive = beats(&output, "naive");
    assert!(naive.iter().any(|(_, seen)| seen.starts_with("INCONSISTENT")), "{output}");
    for title in ["with a lock", "as a task"] {
        let beats = beats(&output, title);
        assert!(!beats.is_empty(), "{output}");
        assert!(beats.iter().all(|(_, seen)| seen.starts_with("all are ")), "{title}:\n{output}");
    }

    // Never early, and each to its own second.
    let task = beats(&output, "as a task");
    assert_eq!(task.len(), 4, "{output}");
    for (due, (at, _)) in [0.25, 0.5, 0.75, 1.0].into_iter().zip(&task) {
        assert!((due - 0.01..due + 30.0).contains(at), "{output}");
    }
    let counts: Vec<u64> = task.iter().filter_map(|(_, seen)| seen.strip_prefix("all are ")?.parse().ok()).collect();
    assert!(counts.len() == 4 && counts.is_sorted(), "{output}");

    let late = output.lines().filter_map(|line| Some(duration(line.trim().strip_prefix("at most ")?.strip_suffix(" late")?)));
    assert_eq!(late.count(), 3, "{output}");
    assert_no_thread_left(&output);
}
