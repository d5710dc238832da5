//! Twenty flags in three styles, and one failure.

use crate::run::{assert_no_thread_left, row, run, run_well};

#[test]
fn flags_prints_three_times_and_the_tree_of_a_failure() {
    let output = run_well("flags", &["--delay-ms", "5"]);
    for style in ["sequential", "std::thread::scope", "taskgroup"] {
        let row: Vec<_> = row(&output, style).split_whitespace().collect();
        let [time, "ms", ratio, "x"] = row[..] else {
            panic!("{style}: {row:?} in\n{output}")
        };
        assert!(
            time.parse::<f64>().is_ok_and(|ms| ms > 0.0),
            "{style} took {time} in\n{output}"
        );
        assert!(
            ratio.parse::<f64>().is_ok_and(|ratio| ratio > 0.0),
            "{style} has ratio {ratio} in\n{output}"
        );
    }

    for part in ["BR", "flags.rs:", "no flag for BR", "http status: 500"] {
        assert!(
            output.contains(part),
            "the tree does not say {part:?}:\n{output}"
        );
    }

    assert!(
        row(&output, "19 others stopped;").contains("after the failure"),
        "{output}"
    );
    assert_no_thread_left(&output);
}

#[test]
fn flags_refuses_what_it_does_not_understand() {
    let output = run("flags", &["--delay-ms", "soon"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        output
            .stderr
            .contains("invalid value 'soon' for '--delay-ms <MS>'"),
        "{output:?}"
    );
}
