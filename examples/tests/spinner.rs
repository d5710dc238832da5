//! The spinner and its line.

mod run;

use std::time::Duration;

use run::{assert_no_thread_left, duration, in_order, run_well};

#[test]
fn the_line_is_clean_before_each_result() {
    let output = run_well("spinner", &["10000000019", "10000600009"]);
    // Each frame is written over the one before, and blanks over the last.
    let written: Vec<_> = output.split(['\r', '\n']).collect();
    for result in ["10000000019 is a prime", "group ("] {
        let at =
            written.iter().position(|text| text.starts_with(result)).unwrap_or_else(|| panic!("no {result:?}: {output:?}"));
        let before = at.checked_sub(1).map_or("", |before| written[before]);
        assert!(!before.ends_with("thinking"), "{result:?} is written over a frame: {output:?}");
    }
    let stopped = output.split("stopped within ").nth(1).and_then(|rest| rest.lines().next()).expect("a time");
    assert!(duration(stopped) < Duration::from_secs(30), "{output:?}");
    assert!(in_order(&output, &["group (", "\n└─ the body failed after", "10000600009 is divisible by 100003"]), "{output:?}");
    assert_no_thread_left(&output);
}

/// It computes for a second or more, in which even a busy machine lets a spinner begin.
#[test]
fn it_spins_while_the_computation_runs() {
    let output = run_well("spinner", &["9999999999999937"]);
    assert!(output.starts_with("\r| thinking\r/ thinking\r"), "{output:?}");
    assert!(in_order(&output, &[" thinking\r          \r9999999999999937 is a prime"]), "{output:?}");
}
