//! Five ways to block, and one failure that ends them all.

use std::time::Duration;

use crate::run::{assert_no_thread_left, duration, in_order, row, run_well};

#[test]
fn every_blocked_task_stops_and_the_failure_is_named() {
    let output = run_well("cancellation", &[]);
    assert_eq!(row(&output, "a loop"), "Cancelled", "{output}");
    let all_over = duration(row(&output, "all over"));
    for task in ["sleeping", "receiving", "acquiring", "accepting", "reading"] {
        let stopped = duration(row(&output, task));
        assert!(stopped <= all_over, "{task} outlived its scope:\n{output}");
    }

    assert!(all_over < Duration::from_secs(30), "{output}");

    // The five, which were cancelled, are not failures.
    let tree = [
        "group `five and one` (",
        "): 1 failure\n└─ task `failing` (",
        "\n   the disk is full\n",
    ];

    assert!(in_order(&output, &tree), "{output}");
    assert_no_thread_left(&output);
}
