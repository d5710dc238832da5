//! The morning in the kitchen: the order of its activities, and its end by a broken grinder.

use std::time::Duration;

use crate::run::{assert_no_thread_left, duration, in_order, row, run, run_well};

/// Returns the output of one step, with minutes of so many milliseconds.
fn step(step: &str, minute_ms: &str) -> String {
    let output = run_well("coffee", &[step, "--minute-ms", minute_ms]);
    assert_no_thread_left(&output);
    output
}

#[track_caller]
fn assert_in_order(output: &str, parts: &[&str]) {
    assert!(
        in_order(output, parts),
        "not in the order of {parts:?}:\n{output}"
    );
}

/// Returns the beginnings in order, without their times and outcomes.
fn lines(output: &str) -> Vec<&str> {
    output
        .lines()
        .filter_map(|line| Some(line.trim_start().split_once("  ")?.1))
        .collect()
}

fn assert_coffee(output: &str) {
    for (making, pouring) in [
        ("grinding the beans", "pouring the beans"),
        ("heating the water", "pouring the water"),
    ] {
        let (made, poured) = (format!("done {making}"), format!("done {pouring}"));
        assert_in_order(
            output,
            &[
                making,
                &made,
                pouring,
                &poured,
                "brewing",
                "done brewing",
                "drinking the coffee",
            ],
        );
    }

    let lines = lines(output);
    assert!(lines.contains(&"done drinking the coffee"), "{output}");
}

#[test]
fn beans_and_water_are_poured_when_both_are_ready() {
    let output = step("1", "10");
    assert_coffee(&output);
    for made in ["done grinding the beans", "done heating the water"] {
        assert_in_order(&output, &[made, "pouring the beans", "pouring the water"]);
    }
    assert!(!output.contains("STOPPED"), "{output}");
}

#[test]
fn each_is_poured_when_it_is_ready() {
    // The beans take a second longer than the water.
    let output = step("2", "1000");
    assert_coffee(&output);
    assert_in_order(
        &output,
        &[
            "done heating the water",
            "pouring the water",
            "done grinding the beans",
            "pouring the beans",
        ],
    );
    assert!(!output.contains("STOPPED"), "{output}");
}

#[test]
fn the_podcast_ends_with_coffee_and_chores() {
    let output = step("3", "10");
    assert_coffee(&output);
    for done in [
        "done drinking the coffee",
        "done doing the dishes",
        "done doing the laundry",
    ] {
        assert_in_order(&output, &[done, "threads left"]);
    }

    let stopped: Vec<_> = lines(&output)
        .into_iter()
        .filter(|line| line.starts_with("STOPPED"))
        .collect();
    assert!(
        matches!(stopped[..], [] | ["STOPPED playing the podcast"]),
        "{output}"
    );
}

#[test]
fn a_broken_grinder_stops_all_and_is_named() {
    // Nothing takes less than an hour, except breaking the grinder.
    let output = step("4", "3600000");
    let lines = lines(&output);
    for line in &lines {
        assert!(!line.starts_with("done"), "{output}");
        if *line != "grinding the beans" && !line.starts_with("STOPPED") {
            assert!(
                lines.contains(&&*format!("STOPPED {line}")),
                "{line} goes on:\n{output}"
            );
        }
    }

    let tree = [
        "group `morning` (",
        ": 1 failure\n└─ task `coffee` (",
        "\n   └─ group `coffee` (",
        ": 1 failure\n      └─ task `grinder` (",
        "\n         there is a stone in the grinder\n",
        "everything stopped within ",
    ];

    assert_in_order(&output, &tree);
    let took = row(&output, "everything stopped within")
        .strip_suffix(" of that")
        .map(duration);
    assert!(
        took.is_some_and(|took| took < Duration::from_secs(30)),
        "{output}"
    );
}

#[test]
fn all_steps_come_by_default() {
    let output = run_well("coffee", &["--minute-ms", "10"]);
    assert_in_order(
        &output,
        &[
            "1. ",
            "2. ",
            "3. ",
            "4. ",
            "a stone in the grinder",
            "threads left",
        ],
    );

    assert_eq!(
        lines(&output)
            .iter()
            .filter(|line| **line == "done drinking the coffee")
            .count(),
        3,
        "{output}"
    );
    assert_no_thread_left(&output);
}

#[test]
fn there_is_no_fifth_step() {
    let output = run("coffee", &["5"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stderr.contains("5 is not in 1..=4"), "{output:?}");
}
