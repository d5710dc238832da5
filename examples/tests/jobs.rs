//! Commands that run at once, and the failure or signal that stops them.
#![cfg(unix)]

mod run;

use std::borrow::Borrow;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{self, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use run::{Live, Run, fill, in_order, row};

/// Longer than any test takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts the program with these commands.
fn start<S: Borrow<str>>(folder: &Path, args: &[&str], commands: &[S]) -> Live {
    let file = folder.join("commands");
    fs::write(&file, commands.join("\n")).unwrap();
    Live::start("jobs", args, File::open(file).unwrap().into())
}

/// Returns a number of seconds that no other command of this machine sleeps.
fn seconds() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}", 1_000_000 + 100 * process::id() + number)
}

/// Fails if a process has this argument: the jobs and their children are in groups of their own.
fn assert_no_sleeper(seconds: &str, output: &Run) {
    let Ok(processes) = fs::read_dir("/proc") else {
        return;
    };
    let commands = processes
        .filter_map(|process| fs::read_to_string(process.ok()?.path().join("cmdline")).ok());
    let left: Vec<_> = commands
        .filter(|command| command.split('\0').any(|argument| argument == seconds))
        .collect();
    assert_eq!(left, [""; 0], "{output:?}");
}

/// Waits until this many lines are in the file.
fn wait_for_lines(file: &Path, count: usize) {
    let start = Instant::now();
    while fs::read_to_string(file).unwrap_or_default().lines().count() < count {
        assert!(start.elapsed() < PATIENCE, "not all jobs have begun");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn each_output_is_in_one_piece() {
    let folder = tempfile::tempdir().unwrap();
    let commands = [
        "echo a; sleep 0.05; echo b",
        "",
        "echo c; sleep 0.05; echo d",
        "echo words >&2",
        "cat; echo e; echo f",
    ];

    let output = start(folder.path(), &["-P", "3"], &commands).end();
    assert!(output.status.success(), "{output:?}");
    for piece in ["a\nb\n", "c\nd\n", "e\nf\n"] {
        assert!(output.stdout.contains(piece), "{output:?}");
    }

    assert!(output.stderr.contains("words\n"), "{output:?}");
    assert_eq!(row(&output.stderr, "threads left:"), "none");
}

#[test]
fn no_more_run_at_once_than_were_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|place| folder.path().join(place));
    let [one, other] = [one, other].map(|place| place.display().to_string());
    let job = format!(
        "if mkdir {one}; then d={one}; elif mkdir {other}; then d={other}; else exit 9; fi; \
         sleep 0.02; rmdir $d; echo done"
    );
    let output = start(folder.path(), &["-P", "2"], &vec![job; 12]).end();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, "done\n".repeat(12));
}

#[test]
fn the_first_failure_stops_the_others_and_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (begun, never) = (folder.path().join("begun"), folder.path().join("never"));
    let seconds = seconds();

    // Each has a child and waits for it, so its group must be ended and not only the shell.
    let sleeper = format!("echo $$ >> {}; sleep {seconds} & wait", begun.display());
    let mut commands = vec![sleeper; 7];
    commands.push(format!(
        "until [ $(wc -l < {}) = 7 ]; do sleep 0.01; done; echo the disk is full >&2; exit 3",
        begun.display()
    ));

    // It waits for a place until all is over.
    commands.push(format!("touch {}", never.display()));

    // At the same moment the file may not be there yet.
    fs::write(&begun, "").unwrap();
    let output = start(folder.path(), &[], &commands).end();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let tree = [
        "group `jobs` (",
        "): 1 failure\n",
        "task `until [",
        "exit status: 3\n",
        "the disk is full\n",
    ];

    assert!(in_order(&output.stderr, &tree), "{output:?}");
    assert_eq!(row(&output.stderr, "threads left:"), "none");
    assert_no_sleeper(&seconds, &output);
    assert!(!never.exists(), "{output:?}");
}

#[test]
fn a_signal_ends_all() {
    for (signal, (name, code)) in [
        (Live::interrupt as fn(&Live), ("SIGINT", 130)),
        (Live::interrupt_group, ("SIGINT", 130)),
        (Live::terminate, ("SIGTERM", 143)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let begun = folder.path().join("begun");
        let seconds = seconds();
        let sleeper = format!("echo $$ >> {}; sleep {seconds} & wait", begun.display());
        let jobs = start(folder.path(), &[], &vec![sleeper; 9]);
        wait_for_lines(&begun, 8);
        signal(&jobs);
        let output = jobs.end();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(
            row(&output.stderr, "all has ended:").contains(name),
            "{output:?}"
        );
        assert_eq!(row(&output.stderr, "threads left:"), "none");
        assert_no_sleeper(&seconds, &output);
    }
}

#[test]
fn a_job_that_ignores_the_signal_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let begun = folder.path().join("begun");
    let seconds = seconds();
    let stubborn = format!(
        "trap '' TERM; echo $$ >> {}; sleep {seconds}",
        begun.display()
    );

    let jobs = start(folder.path(), &["--grace", "0.1"], &[stubborn]);
    wait_for_lines(&begun, 1);
    jobs.terminate();
    let output = jobs.end();
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    assert_no_sleeper(&seconds, &output);
}

/// The output of both jobs together does not fit into what holds it until it is read.
#[test]
fn a_signal_ends_all_when_the_output_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("commands");
    fs::write(&file, "head -c 5000000 /dev/zero\n".repeat(2)).unwrap();
    let (stdout, mut reader) = UnixStream::pair().unwrap();
    let jobs = Live::start_into(
        "jobs",
        &[],
        File::open(file).unwrap().into(),
        OwnedFd::from(stdout).into(),
    );

    // One of them writes, and the other waits for its turn or will.
    reader.read_exact(&mut [0]).unwrap();
    jobs.terminate();
    let output = jobs.end();
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    assert_eq!(row(&output.stderr, "threads left:"), "none");
}

/// A job whose output does not fit into what holds it until it is read.
const UNREAD: &str = "head -c 5000000 /dev/zero";

#[test]
fn an_output_that_is_not_read_holds_up_no_errors_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let (file, begun) = (folder.path().join("commands"), folder.path().join("begun"));
    let other = format!(
        "until [ -e {} ]; do sleep 0.01; done; echo words >&2",
        begun.display()
    );
    fs::write(&file, format!("{UNREAD}\n{other}\n")).unwrap();
    let (stdout, mut output) = UnixStream::pair().unwrap();
    let (stderr, mut errors) = UnixStream::pair().unwrap();
    let stdin = File::open(file).unwrap().into();
    let streams = [
        stdin,
        OwnedFd::from(stdout).into(),
        OwnedFd::from(stderr).into(),
    ];
    let jobs = Live::start_with("jobs", &[], streams);

    output.read_exact(&mut [0]).unwrap();
    fs::write(begun, "").unwrap();
    errors.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut words = [0; 6];
    errors.read_exact(&mut words).unwrap();
    assert_eq!(words, *b"words\n");
    jobs.terminate();
    assert_eq!(jobs.end().status.code(), Some(143));
}

#[test]
fn a_signal_ends_it_when_its_last_lines_are_not_read() {
    let (stdin, mut commands) = UnixStream::pair().unwrap();
    let (stderr, _errors) = UnixStream::pair().unwrap();
    fill(&stderr);
    let streams = [
        OwnedFd::from(stdin).into(),
        Stdio::piped(),
        OwnedFd::from(stderr).into(),
    ];
    let mut jobs = Live::start_with("jobs", &[], streams);

    // From its first output on, the program handles signals.
    commands.write_all(b"echo begun\n").unwrap();
    jobs.wait_for("begun");
    jobs.terminate();
    assert_eq!(jobs.end().status.code(), Some(143));
}

/// The report has the messages of the job, and does not fit into what holds it until it is read.
#[test]
fn a_signal_ends_it_when_its_report_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("commands");
    fs::write(&file, format!("{UNREAD} >&2; exit 3")).unwrap();
    let (stderr, errors) = UnixStream::pair().unwrap();
    let stdin = File::open(file).unwrap().into();
    let streams = [stdin, Stdio::piped(), OwnedFd::from(stderr).into()];
    let jobs = Live::start_with("jobs", &[], streams);

    let mut begin = [0; b"threads left: none\nError: ".len()];
    errors.set_read_timeout(Some(PATIENCE)).unwrap();
    (&errors).read_exact(&mut begin).unwrap();
    assert_eq!(begin, *b"threads left: none\nError: ");
    jobs.terminate();
    assert_eq!(jobs.end().status.code(), Some(1));
}

/// Also one without an end of a line, which std keeps in a buffer.
#[cfg(target_os = "linux")]
#[test]
fn an_output_that_cannot_be_passed_on_is_a_failure() {
    for command in ["echo a", "printf a"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("commands");
        fs::write(&file, command).unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let stdin = File::open(file).unwrap();
        let output = Live::start_into("jobs", &[], stdin.into(), full.into()).end();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let report = ["cannot pass its output on", "No space left on device"];
        assert!(in_order(&output.stderr, &report), "{output:?}");
    }
}

#[test]
fn a_signal_ends_a_program_that_waits_for_commands() {
    let (stdin, mut commands) = UnixStream::pair().unwrap();
    let mut jobs = Live::start("jobs", &[], OwnedFd::from(stdin).into());

    // From its first output on, the program handles signals.
    commands.write_all(b"echo begun\n").unwrap();
    jobs.wait_for("begun");
    jobs.interrupt();
    assert_eq!(jobs.end().status.code(), Some(130));
}

#[test]
fn a_command_that_does_not_exist_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let output = start(folder.path(), &[], &["/no/such/program"]).end();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        in_order(
            &output.stderr,
            &["task `/no/such/program`", "exit status: 127", "not found"]
        ),
        "{output:?}"
    );
}
