//! The tables of the pools.

mod run;

use run::{assert_no_thread_left, run_well};

#[test]
fn there_is_a_row_for_each_number_of_workers() {
    let output = run_well("pools", &["--workers", "2", "--rounds", "1"]);
    let lines: Vec<_> = output.lines().collect();
    for (at, title) in [(0, "RC4, 12 arrays of 149 to 384 KB"), (3, "SHA-256, 12 arrays of 1 MB")] {
        assert_eq!(lines[at], title, "{output}");
        for workers in 1..=2 {
            let fields: Vec<_> = lines[at + workers].split_whitespace().collect();
            let [count, "at", "once", seconds, "s", ratio, "x"] = fields[..] else { panic!("{fields:?} in\n{output}") };
            assert_eq!(count, workers.to_string(), "{output}");
            assert!(seconds.parse::<f64>().is_ok_and(|seconds| seconds > 0.0), "{output}");
            assert!(ratio.parse::<f64>().is_ok_and(|ratio| ratio > 0.0 && (workers > 1 || ratio == 1.0)), "{output}");
        }
    }
    assert_eq!(lines.len(), 7, "{output}");
    assert_no_thread_left(&output);
}
