//! Runs the examples as programs, with short settings, and checks what they print.

use std::{env, path::PathBuf, process::Command};

/// Cargo puts the examples of a package beside the folder of its test executables, and builds them before `cargo test` runs any test.
fn example(name: &str) -> PathBuf {
    let test = env::current_exe().expect("the test executable has a path");
    let profile = test.ancestors().nth(2).expect("a test lies in <target>/<profile>/deps");
    let path = profile.join("examples").join(name).with_extension(env::consts::EXE_EXTENSION);
    assert!(path.exists(), "{} is missing: `cargo test --test` alone does not build examples", path.display());
    path
}

/// What the example printed, if it ended with exit code 0 and nothing on stderr.
fn run(name: &str, args: &[&str]) -> String {
    let output = Command::new(example(name)).args(args).output().expect("the example starts");
    let stdout = String::from_utf8(output.stdout).expect("the output is text");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{}\n{stdout}{stderr}", output.status);
    stdout
}

/// The rest of the only line that begins with `label`, blanks aside.
fn row<'a>(output: &'a str, label: &str) -> &'a str {
    let mut rows = output.lines().filter_map(|line| line.trim_start().strip_prefix(label));
    let row = rows.next().unwrap_or_else(|| panic!("no row {label:?} in\n{output}"));
    assert_eq!(rows.next(), None, "two rows {label:?} in\n{output}");
    row.trim()
}

#[test]
fn flags_prints_three_times_and_the_tree_of_a_failure() {
    let output = run("flags", &["--delay-ms", "5"]);
    for style in ["sequential", "std::thread::scope", "taskgroup"] {
        let row: Vec<_> = row(&output, style).split_whitespace().collect();
        let [time, "ms", ratio, "x"] = row[..] else { panic!("{style}: {row:?} in\n{output}") };
        assert!(time.parse::<f64>().is_ok_and(|ms| ms > 0.0), "{style} took {time} in\n{output}");
        assert!(ratio.parse::<f64>().is_ok_and(|ratio| ratio > 0.0), "{style} has ratio {ratio} in\n{output}");
    }
    for part in ["BR", "flags.rs:", "no flag for BR", "http status: 500"] {
        assert!(output.contains(part), "the tree does not say {part:?}:\n{output}");
    }
    assert!(row(&output, "19 others stopped;").contains("after the failure"), "{output}");
}

#[test]
fn flags_refuses_what_it_does_not_understand() {
    let output = Command::new(example("flags")).args(["--delay-ms", "soon"]).output().expect("the example starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not a number of milliseconds: soon"), "{output:?}");
}
