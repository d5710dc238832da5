//! Flags with options: the selection, the counts, and the ways to stop.
#![cfg(unix)]

use std::process::Stdio;

use crate::run::{Live, assert_no_thread_left, assert_over_soon, in_order, row, run, run_well};

/// Slow, but for one flag that comes within a second: the others take more than a minute.
const ONE_IS_SAVED: [&str; 6] = ["-s", "DELAY", "--delay-ms", "600000", "--seed", "1781"];
/// The same, and the quick flag is an error.
const ONE_FAILS: [&str; 6] = ["-s", "ERROR", "--delay-ms", "600000", "--seed", "6951"];

fn sorted_lines(output: &str, part: &str) -> Vec<String> {
    let mut lines: Vec<_> = output
        .lines()
        .filter(|line| line.contains(part))
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

#[test]
fn errors_are_counted() {
    let output = run_well(
        "flags2",
        &["-a", "-l", "100", "-s", "ERROR", "--delay-ms", "5"],
    );
    let parts = [
        "ERROR site: 100 flags, 30 at once\n",
        "73 flags downloaded. 27 errors.\n",
        "Elapsed time: ",
    ];
    assert!(in_order(&output, &parts), "{output}");
    assert_no_thread_left(&output);
}

#[test]
fn faults_follow_from_the_seed() {
    let [one, other] = ["3", "30"].map(|requests| {
        run_well(
            "flags2",
            &["-val100", "-s", "error", "--delay-ms", "1", "-m", requests],
        )
    });

    assert_eq!(sorted_lines(&one, " saved").len(), 73, "{one}");
    assert_eq!(sorted_lines(&one, " saved"), sorted_lines(&other, " saved"));
    let errors = sorted_lines(&one, "http status: 500");
    assert_eq!(errors.len(), 27, "{one}");
    assert!(
        errors
            .iter()
            .all(|line| line.starts_with("task `") && line.contains("flags2.rs:")),
        "{errors:#?}"
    );

    assert_eq!(errors, sorted_lines(&other, "http status: 500"));
    let another = run_well(
        "flags2",
        &["-val100", "-s", "ERROR", "--delay-ms", "1", "--seed", "1"],
    );

    assert_ne!(
        sorted_lines(&one, " saved"),
        sorted_lines(&another, " saved")
    );
}

#[test]
fn every_code_is_a_flag_or_not_found() {
    let output = run_well("flags2", &["-e", "-m", "10"]);
    assert!(
        in_order(
            &output,
            &[
                "LOCAL site: 676 flags, 10 at once\n",
                "194 flags downloaded. 482 not found.\n"
            ]
        ),
        "{output}"
    );
    assert_no_thread_left(&output);
}

#[test]
fn a_letter_stands_for_all_codes_that_begin_with_it() {
    let output = run_well("flags2", &["-v", "b", "AD", "zz", "ad"]);
    assert!(output.contains("28 flags"), "{output}");
    assert_eq!(sorted_lines(&output, "AD"), ["AD saved"]);
    assert_eq!(sorted_lines(&output, "ZZ"), ["ZZ not found"]);
    assert_eq!(sorted_lines(&output, "B").len(), 26, "{output}");
    assert!(run_well("flags2", &[]).contains("20 flags downloaded.\n"));
    let refused = run("flags2", &["USA"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        refused.stderr.contains("a code is two letters"),
        "{refused:?}"
    );
}

#[test]
fn with_fail_fast_the_first_error_stops_the_others() {
    let output = run("flags2", &[&["-a", "--fail-fast"], &ONE_FAILS[..]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        output.stdout.contains("\n0 flags downloaded.\n"),
        "{output:?}"
    );

    let tree = [
        "group `flags` (",
        "): 1 failure\n",
        "task `CD` (",
        "http status: 500",
    ];

    assert!(in_order(&output.stderr, &tree), "{output:?}");
    assert_no_thread_left(&output.stdout);
}

#[test]
fn ctrl_c_cuts_the_requests_in_flight() {
    for (signal, code) in [
        (Live::interrupt as fn(&Live), 130),
        (Live::interrupt_group, 130),
        (Live::terminate, 143),
    ] {
        let mut flags = Live::start(
            "flags2",
            &[&["-a", "-v"], &ONE_IS_SAVED[..]].concat(),
            Stdio::null(),
        );
        flags.wait_for("AO saved");
        signal(&flags);
        let output = flags.end();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert_eq!(output.stderr, "", "{output:?}");
        assert!(
            output.stdout.contains("\n1 flags downloaded.\n"),
            "{output:?}"
        );
        assert_no_thread_left(&output.stdout);
        assert_over_soon(&output.stdout);
    }
}

#[test]
fn one_by_one_is_compared() {
    let output = run_well(
        "flags2",
        &["-l", "9", "-s", "DELAY", "--delay-ms", "5", "--compare"],
    );

    let row = row(&output, "One by one:");
    let Some((_, ratio)) = row.split_once(", ") else {
        panic!("{output}")
    };
    assert!(
        ratio
            .strip_suffix(" times as long")
            .is_some_and(|ratio| ratio.parse::<f64>().is_ok_and(|ratio| ratio > 0.0)),
        "{output}"
    );
}

#[test]
fn ctrl_c_stops_the_comparison() {
    // 200 at once take a second or so, one by one a minute.
    let args = [
        "-e",
        "-m",
        "200",
        "-s",
        "DELAY",
        "--delay-ms",
        "100",
        "--compare",
    ];

    let mut flags = Live::start("flags2", &args, Stdio::null());
    flags.wait_for("Elapsed time:");
    flags.interrupt();
    let output = flags.end();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(
        output
            .stdout
            .contains("\n194 flags downloaded. 482 not found.\n")
            && !output.stdout.contains("One by one"),
        "{output:?}"
    );
}
