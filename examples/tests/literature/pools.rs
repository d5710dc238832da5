//! The tables of the pools, and the job that ends the others.

use std::time::Duration;

use crate::run::{assert_no_thread_left, duration, in_order, row, run_well};

#[test]
fn there_is_a_row_for_each_number_of_workers() {
    let output = run_well("pools", &["--workers", "2", "--rounds", "1"]);
    let lines: Vec<_> = output.lines().collect();
    for (at, title) in [
        (0, "RC4, 12 arrays of 149 to 384 KB"),
        (3, "SHA-256, 12 arrays of 1 MB"),
    ] {
        assert_eq!(lines[at], title, "{output}");
        for workers in 1..=2 {
            let fields: Vec<_> = lines[at + workers].split_whitespace().collect();
            let [count, "at", "once", seconds, "s", ratio, "x"] = fields[..] else {
                panic!("{fields:?} in\n{output}")
            };
            assert_eq!(count, workers.to_string(), "{output}");
            assert!(
                seconds.parse::<f64>().is_ok_and(|seconds| seconds > 0.0),
                "{output}"
            );
            assert!(
                ratio
                    .parse::<f64>()
                    .is_ok_and(|ratio| ratio > 0.0 && (workers > 1 || ratio == 1.0)),
                "{output}"
            );
        }
    }

    assert_eq!(
        lines[6], "RC4 without an end, 2 at once, and one with a wrong key",
        "{output}"
    );
    assert_no_thread_left(&output);
}

#[test]
fn a_wrong_key_stops_the_job_beside_it_and_those_that_queue() {
    for (workers, beside) in [("1", 0), ("2", 1)] {
        let output = run_well("pools", &["--workers", workers, "--rounds", "1"]);
        assert_eq!(row(&output, "384 KB:"), "Failed", "{output}");
        let ended = |status: &str| {
            output
                .lines()
                .filter(|line| line.ends_with(&format!(" KB: {status}")))
                .count()
        };
        assert_eq!(
            (ended("Cancelled"), ended("NeverRan")),
            (beside, 11 - beside),
            "{output}"
        );
        let tree = [
            "group `RC4` (",
            "): 1 failure\n└─ task `384 KB` (",
            "\n   decrypted to something else\n",
            "all over ",
        ];
        assert!(in_order(&output, &tree), "{output}");
        let latency = row(&output, "all over")
            .strip_suffix(" after the failure")
            .map(duration);
        assert!(
            latency.is_some_and(|latency| latency < Duration::from_secs(30)),
            "{output}"
        );
    }
}
