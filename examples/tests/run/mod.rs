//! Runs an example as a program, to its end, and looks for leftovers.
#![allow(dead_code, reason = "each test binary uses a part of this module")]

#[cfg(unix)]
mod live;

use std::{
    env, fs,
    io::{self, Seek},
    path::PathBuf,
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

#[cfg(unix)]
use std::{
    io::{ErrorKind, Write},
    os::{fd::OwnedFd, unix::net::UnixStream, unix::process::CommandExt},
};

#[cfg(unix)]
#[allow(unused_imports, reason = "each test binary uses a part of this module")]
pub(crate) use live::Live;

/// Longer than any example with short settings takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Cargo puts the examples of a package beside the folder of its test executables, and builds them
/// before `cargo test` runs any test.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = env::current_exe().expect("the test executable has a path");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("a test lies in <target>/<profile>/deps");
    let path = profile
        .join("examples")
        .join(name)
        .with_extension(env::consts::EXE_EXTENSION);
    assert!(
        path.exists(),
        "{} is missing: `cargo test --test` alone does not build examples",
        path.display()
    );
    path
}

/// The output of a program, and how it ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the example until it ends; fails if it does not, or if it leaves a process behind, dead or
/// alive.
pub(crate) fn run(name: &str, args: &[&str]) -> Run {
    let (mut stdout, mut stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let mut command = Command::new(example(name));
    command
        .args(args)
        .stdout(stdout.try_clone().unwrap())
        .stderr(stderr.try_clone().unwrap());
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command.spawn().expect("the example starts");
    let status = wait(&mut child);
    let [stdout, stderr] = [&mut stdout, &mut stderr].map(|file| {
        file.rewind().unwrap();
        io::read_to_string(file).expect("the output is text")
    });

    let status = status
        .unwrap_or_else(|| panic!("{name} {args:?} has not ended; it printed\n{stdout}{stderr}"));
    let left = group_members(child.id());
    assert_eq!(
        left, [0; 0],
        "{name} {args:?} left processes; it printed\n{stdout}{stderr}"
    );

    Run {
        status,
        stdout,
        stderr,
    }
}

/// Asserts that the example says that all was over soon after it was interrupted.
#[cfg(unix)]
#[track_caller]
pub(crate) fn assert_over_soon(stdout: &str) {
    let latency = row(stdout, "interrupted: all was over")
        .strip_suffix(" later")
        .map(duration);
    assert!(
        latency.is_some_and(|latency| latency < Duration::from_secs(30)),
        "{stdout}"
    );
}

/// Runs the example with these variables and a stdout that is closed at its other end; fails if it
/// complains, or if [`run`] would.
#[cfg(unix)]
pub(crate) fn run_unread(name: &str, args: &[&str], variables: &[(&str, &str)]) {
    let (stdout, _) = UnixStream::pair().unwrap();
    let mut stderr = tempfile::tempfile().unwrap();
    let mut command = Command::new(example(name));
    command
        .args(args)
        .envs(variables.iter().copied())
        .process_group(0);
    let mut child = command
        .stdout(OwnedFd::from(stdout))
        .stderr(stderr.try_clone().unwrap())
        .spawn()
        .expect("the example starts");
    let status = wait(&mut child).unwrap_or_else(|| panic!("{name} {args:?} has not ended"));
    stderr.rewind().unwrap();
    assert_eq!(
        (status.code(), &*io::read_to_string(stderr).unwrap()),
        (Some(141), ""),
        "{name} {args:?}"
    );

    assert_eq!(
        group_members(child.id()),
        [0; 0],
        "{name} {args:?} left processes"
    );
}

/// Writes until there is no room. What a program then writes into the stream has to wait for a
/// reader at the other end.
#[cfg(unix)]
pub(crate) fn fill(mut stream: &UnixStream) {
    // The program shares this flag; its writes never rely on it.
    stream.set_nonblocking(true).unwrap();
    let full = loop {
        if let Err(error) = stream.write(&[b'.'; 4096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
}

/// Returns the output of the example, if it ended with exit code 0 and nothing on stderr.
pub(crate) fn run_well(name: &str, args: &[&str]) -> String {
    let Run {
        status,
        stdout,
        stderr,
    } = run(name, args);
    assert!(
        status.success() && stderr.is_empty(),
        "{status}\n{stdout}{stderr}"
    );
    stdout
}

/// Returns the status, or none if the program had to be killed.
pub(crate) fn wait(child: &mut Child) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().expect("the example is ours to wait for") {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("the example can be killed");
    child.wait().expect("the example is ours to wait for");
    None
}

/// Returns the processes of this group, with dead ones that no process has waited for.
fn group_members(group: u32) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let ids = processes.filter_map(|process| process.ok()?.file_name().to_str()?.parse().ok());
    let is_member = |id: &u32| {
        // After the name, which may hold anything, in brackets: state, parent, group.
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        fields.split_whitespace().nth(2) == Some(&*group.to_string())
    };
    ids.filter(is_member).collect()
}

/// Returns whether these stand in the text one after the other.
pub(crate) fn in_order(text: &str, parts: &[&str]) -> bool {
    let mut rest = text;
    parts.iter().all(|part| match rest.split_once(part) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

/// Returns the rest of the only line that begins with `label`, blanks aside.
pub(crate) fn row<'a>(output: &'a str, label: &str) -> &'a str {
    let mut rows = output
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix(label));
    let row = rows
        .next()
        .unwrap_or_else(|| panic!("no row {label:?} in\n{output}"));
    assert_eq!(rows.next(), None, "two rows {label:?} in\n{output}");
    row.trim()
}

/// Fails unless the program says itself that no thread of it was left at work.
pub(crate) fn assert_no_thread_left(output: &str) {
    if cfg!(target_os = "linux") {
        assert_eq!(row(output, "threads left:"), "none", "{output}");
    }
}

/// Parses a duration as `Debug` prints it.
pub(crate) fn duration(text: &str) -> Duration {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "s" => 1.0,
        "ms" => 1e-3,
        "µs" => 1e-6,
        "ns" => 1e-9,
        unit => panic!("no unit of time: {unit:?} in {text:?}"),
    };

    Duration::from_secs_f64(
        digits
            .parse::<f64>()
            .unwrap_or_else(|_| panic!("no duration: {text:?}"))
            * unit,
    )
}
