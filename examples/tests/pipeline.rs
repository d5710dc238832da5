//! Stages joined by channels: their order, and the failure that stops them all.
#![cfg(unix)]

mod run;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;

use run::{Live, in_order, row, run};

fn lines(count: usize) -> String {
    (1..=count).fold(String::new(), |mut text, line| {
        writeln!(text, "account {line}").unwrap();
        text
    })
}

/// Fails unless the output is a beginning of the lines in their order, each with a signature.
/// Returns how many lines it has.
fn assert_in_order(output: &str) -> usize {
    for (number, line) in (1..).zip(output.lines()) {
        let words: Vec<_> = line.split(' ').collect();
        let [name, amount, signature] = words[..] else {
            panic!("{line:?}")
        };
        assert_eq!(
            (name, amount),
            ("account", &*number.to_string()),
            "{output}"
        );
        assert_eq!(signature.len(), 64, "{output}");
    }
    output.lines().count()
}

/// A standard input with these lines that has no end while the other part of the pair lives.
fn endless(text: &str) -> (UnixStream, Stdio) {
    let (mut source, stdin) = UnixStream::pair().unwrap();
    // It fits into the buffer of the socket, so no thread has to write it.
    source.set_nonblocking(true).unwrap();
    source.write_all(text.as_bytes()).unwrap();
    (source, OwnedFd::from(stdin).into())
}

#[test]
fn the_order_is_kept_by_any_number_of_workers() {
    let folder = tempfile::tempdir().unwrap();
    let [input, output] = ["in", "out"].map(|name| folder.path().join(name));
    fs::write(&input, lines(300)).unwrap();
    let mut texts = Vec::new();
    for workers in ["1", "4", "100"] {
        let args = [
            input.to_str().unwrap(),
            "-o",
            output.to_str().unwrap(),
            "-w",
            workers,
        ];
        let ended = run("pipeline", &args);
        assert!(ended.status.success(), "{ended:?}");
        for stage in ["read:", "parse:", "sign:", "write:"] {
            assert_eq!(row(&ended.stderr, stage), "Finished", "{ended:?}");
        }
        assert_eq!(row(&ended.stderr, "threads left:"), "none");
        texts.push(fs::read_to_string(&output).unwrap());
    }

    assert_eq!(assert_in_order(&texts[0]), 300);
    assert!(texts.iter().all(|text| *text == texts[0]));
}

#[test]
fn any_stage_may_fail_and_all_end() {
    for stage in ["read", "parse", "sign", "write"] {
        // More lines could come: the stage that reads them has to be stopped.
        let (_source, stdin) = endless(&lines(200));
        let failed = Live::start("pipeline", &["--fail-at", stage, "--line", "50"], stdin).end();
        assert_eq!(failed.status.code(), Some(1), "{failed:?}");
        assert!(assert_in_order(&failed.stdout) < 50, "{failed:?}");

        // The root comes first, whether or not its neighbours have noticed.
        let culprit = match stage {
            "sign" => "task `sign line 50` (".to_owned(),
            _ => format!("task `{stage}` ("),
        };
        let tree = [
            "group `pipeline` (",
            "└─ ",
            &culprit,
            "told to fail at line 50\n",
        ];
        assert!(in_order(&failed.stderr, &tree), "{failed:?}");
        for name in ["read", "parse", "sign", "write"] {
            let ended = row(&failed.stderr, &format!("{name}:"));
            // A task of the third stage fails, and not the stage itself.
            if name == stage && stage != "sign" {
                assert_eq!(ended, "Failed", "{failed:?}");
            } else {
                assert!(
                    ["Cancelled", "NeverRan", "Failed", "Finished"].contains(&ended),
                    "{failed:?}"
                );
            }
        }
        assert_eq!(row(&failed.stderr, "threads left:"), "none", "{failed:?}");
    }
}

#[test]
fn a_line_that_is_wrong_is_named() {
    for (text, reason) in [
        ("account 1\naccount\n", "no amount"),
        ("account 1\naccount x\n", "no amount: \"x\""),
    ] {
        let (_source, stdin) = endless(text);
        let failed = Live::start("pipeline", &[], stdin).end();
        assert_eq!(failed.status.code(), Some(1), "{failed:?}");
        let tree = ["task `parse` (", "line 2", reason];
        assert!(in_order(&failed.stderr, &tree), "{failed:?}");
    }
}

#[test]
fn files_that_cannot_be_opened_are_errors() {
    for args in [&["/nowhere/input"][..], &["-o", "/nowhere/output"]] {
        let failed = run("pipeline", args);
        assert_eq!(failed.status.code(), Some(1), "{failed:?}");
        assert!(failed.stderr.contains("/nowhere/"), "{failed:?}");
    }
}

#[test]
fn ctrl_c_ends_a_pipeline_that_waits_for_lines() {
    let (_source, stdin) = endless(&lines(1));
    let mut pipeline = Live::start("pipeline", &[], stdin);
    pipeline.wait_for("account 1 ");
    pipeline.interrupt();
    let output = pipeline.end();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert_eq!(row(&output.stderr, "read:"), "Cancelled", "{output:?}");
    assert_eq!(row(&output.stderr, "threads left:"), "none", "{output:?}");
}

/// The pipeline writes until the pipe is full, and all its stages wait.
#[test]
fn ctrl_c_ends_a_pipeline_whose_reader_is_slow() {
    let folder = tempfile::tempdir().unwrap();
    let (input, fifo) = (folder.path().join("in"), folder.path().join("out"));
    fs::write(&input, lines(20_000)).unwrap();
    make_fifo(&fifo);

    // Open in both directions: the open does not wait, and the pipe never ends.
    let mut pipe = File::options().read(true).write(true).open(&fifo).unwrap();
    let args = [input.to_str().unwrap(), "-o", fifo.to_str().unwrap()];
    let pipeline = Live::start("pipeline", &args, Stdio::null());
    let mut some = [0; 4096];
    pipe.read_exact(&mut some).unwrap();
    assert!(
        assert_in_order(&String::from_utf8_lossy(
            &some[..some.iter().rposition(|byte| *byte == b'\n').unwrap()]
        )) > 10
    );

    pipeline.interrupt();
    let output = pipeline.end();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert_eq!(row(&output.stderr, "write:"), "Cancelled", "{output:?}");
}

fn make_fifo(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.expect("there is a mkfifo").success());
}
