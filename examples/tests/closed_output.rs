//! Programs with a closed output: they end, without a panic, and leave nothing.
#![cfg(unix)]

mod run;

use std::{fs, process};

use run::run_unread;

#[test]
fn a_program_ends_that_nobody_listens_to() {
    // Its whole output would take an hour.
    for (name, args) in [
        ("coffee", ["--minute-ms", "400000"]),
        ("heartbeat", ["--beats", "3600"]),
    ] {
        run_unread(name, &args, &[]);
    }
}

#[test]
fn no_folder_of_downloads_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let slow = ["-a", "-v", "-s", "DELAY", "--delay-ms", "600000"];
    run_unread(
        "flags2",
        &slow,
        &[("TMPDIR", folder.path().to_str().unwrap())],
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Each of the servers is in a process group of its own, but all have this argument.
#[test]
fn servers_end_with_the_program_that_nobody_listens_to() {
    let seconds = (100_000 + process::id()).to_string();
    run_unread("find_self", &["--within", &seconds], &[]);

    let Ok(processes) = fs::read_dir("/proc") else {
        return;
    };
    let commands = processes
        .filter_map(|process| fs::read_to_string(process.ok()?.path().join("cmdline")).ok());
    let servers: Vec<_> = commands
        .filter(|command| command.split('\0').any(|argument| argument == seconds))
        .collect();
    assert_eq!(servers, [""; 0]);
}
