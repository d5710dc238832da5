//! The spinner and its line.

use std::time::Duration;

use crate::run::{assert_no_thread_left, duration, in_order, run_well};

/// A prime, which takes long enough for a spinner to begin even on a busy machine, and the square
/// of one.
const NUMBERS: [&str; 2] = ["2499999999999911", "2499999100000081"];

#[test]
fn it_spins_until_there_is_a_result_and_leaves_a_clean_line() {
    let output = run_well("spinner", &NUMBERS);

    // Each frame is written over the one before, and blanks over the last.
    let parts = [
        "\r| thinking\r/ thinking\r",
        " thinking\r          \r2499999999999911 is a prime; the spinner stopped within ",
        "\n\r| thinking\r/ thinking\r",
        " thinking\r          \rgroup (",
        "\n└─ the body failed after",
        "\n   2499999100000081 is divisible by 49999991\n",
    ];

    assert!(
        output.starts_with(parts[0]) && in_order(&output, &parts),
        "{output:?}"
    );
    let stopped = output
        .split("stopped within ")
        .nth(1)
        .and_then(|rest| rest.lines().next())
        .expect("a time");
    assert!(duration(stopped) < Duration::from_secs(30), "{output:?}");
    assert_no_thread_left(&output);
}
