//! A test binary that is started again, as its own child, for one of its tests.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of this module"
)]

#[cfg(unix)]
use std::io::{ErrorKind, Write as _};
#[cfg(unix)]
use std::os::fd::OwnedFd;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
#[cfg(unix)]
use std::process::Stdio;
use std::process::{Command, Output};

pub(crate) const CHILD: &str = "TASKGROUP_TEST_CHILD";

/// Whether this process was started by [`run_in_child`] or a relative of it.
pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs the test of this name alone, in a new process. [`is_child`] holds there.
#[track_caller]
pub(crate) fn run_in_child(test: &str) -> Output {
    child_output(&mut Command::new(this_test()), test)
}

/// Like [`run_in_child`], by a command that ends with the path of a program.
#[track_caller]
pub(crate) fn run_in_child_by(command: &[&str], test: &str) -> Output {
    let mut by = Command::new(command[0]);
    child_output(by.args(&command[1..]).arg(this_test()), test)
}

/// Like [`run_in_child`], but each thread asks for three quarters of the address space for its
/// stack, which no system grants. So no thread can be started, and the test runs on the main
/// thread.
#[track_caller]
pub fn run_in_child_without_threads(test: &str) -> Output {
    let stack = (usize::MAX / 4 * 3).to_string();
    child_output(Command::new(this_test()).env("RUST_MIN_STACK", stack), test)
}

/// Like [`run_in_child`], with at most `kib` KiB of address space, so that the OS refuses threads
/// and memory beyond.
#[cfg(target_os = "linux")]
#[track_caller]
pub(crate) fn run_in_small_child(test: &str, kib: u64) -> Output {
    child_output(&mut limited("-v", kib), test)
}

/// Like [`run_in_small_child`], where each thread asks for a stack of `stack` bytes.
#[cfg(target_os = "linux")]
#[track_caller]
pub(crate) fn run_in_small_child_with_stacks(test: &str, kib: u64, stack: usize) -> Output {
    let stack = stack.to_string();
    child_output(limited("-v", kib).env("RUST_MIN_STACK", stack), test)
}

/// Like [`run_in_child`], with at most `count` descriptors.
#[cfg(target_os = "linux")]
#[track_caller]
pub fn run_in_child_with_descriptors(test: &str, count: u64) -> Output {
    child_output(&mut limited("-n", count), test)
}

/// Runs the test of this name alone, in a new process with this standard error. It has to pass.
#[cfg(unix)]
#[track_caller]
pub(crate) fn run_in_child_with_stderr(test: &str, stderr: impl Into<Stdio>) {
    run_in_child_with_stderr_by(&mut Command::new(this_test()), test, stderr.into());
}

/// Like [`run_in_child_with_stderr`], by a command that ends with the path of this test binary.
#[cfg(unix)]
#[track_caller]
pub(crate) fn run_in_child_with_stderr_by(command: &mut Command, test: &str, stderr: Stdio) {
    assert_passed(&child_output(command.stderr(stderr), test));
}

/// Returns a standard error that takes not one byte more, with the end that nothing reads.
#[cfg(unix)]
pub(crate) fn unread_stderr() -> (UnixStream, OwnedFd) {
    let (unread, mut stderr) = UnixStream::pair().expect("there are descriptors");
    stderr.set_nonblocking(true).expect("it is a socket");
    while let Ok(written) = stderr.write(&[b'x'; 4096]) {
        assert_ne!(written, 0);
    }
    let full = stderr.write(b"x").expect_err("it is full");
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    stderr.set_nonblocking(false).expect("it is a socket");
    (unread, stderr.into())
}

/// Returns a command that runs the test of this name of the calling file alone, in a new process.
/// [`is_child`] holds there.
#[track_caller]
pub(crate) fn test_in_child(test: &str) -> Command {
    let mut command = Command::new(this_test());
    run_test(&mut command, test);
    command
}

/// Lets a command that ends with the path of this test binary run the test of this name of the
/// calling file alone. [`is_child`] holds there.
#[track_caller]
pub(crate) fn run_test<'a>(command: &'a mut Command, test: &str) -> &'a mut Command {
    command
        .args(["--exact", &path_of(test), "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .env_remove("RUST_BACKTRACE")
}

/// The path of this test binary.
pub(crate) fn this_test() -> PathBuf {
    std::env::current_exe().expect("a test binary knows its path")
}

/// Returns a command that starts this test binary under a limit of the shell's `ulimit`.
#[cfg(target_os = "linux")]
fn limited(option: &str, limit: u64) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args([
            "-c",
            &format!("ulimit {option} {limit} && exec \"$0\" \"$@\""),
        ])
        .arg(this_test());
    shell
}

/// Returns the beginning of a command for a program that sees no /proc, if the system allows it.
#[cfg(target_os = "linux")]
pub(crate) fn without_proc() -> Option<Command> {
    let isolated = || {
        let mut unshare = Command::new("unshare");
        let script = "mount -t tmpfs none /proc && exec \"$@\"";
        unshare.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        unshare
    };
    let probe = isolated().arg("true").output();
    probe
        .is_ok_and(|output| output.status.success())
        .then(isolated)
}

/// Returns the path by which the test harness knows a test of the calling file.
#[track_caller]
pub(crate) fn path_of(test: &str) -> String {
    let file = std::path::Path::new(std::panic::Location::caller().file());
    let parts: Vec<_> = file.iter().filter_map(|part| part.to_str()).collect();
    let below = parts.iter().rposition(|part| *part == "tests").unwrap_or(0) + 1;

    // A file of a folder is a module of the folder's test binary. The first part names the binary.
    let modules = parts[below..].iter().skip(1);
    let modules = modules.map(|part| part.trim_end_matches(".rs"));
    let path: Vec<_> = modules
        .filter(|module| *module != "main")
        .chain([test])
        .collect();
    path.join("::")
}

#[track_caller]
fn child_output(command: &mut Command, test: &str) -> Output {
    let output = run_test(command, test).output();
    output.expect("the test binary starts")
}

/// Fails unless the test of a child process has run, and passed.
#[track_caller]
pub(crate) fn assert_passed(output: &Output) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{}: {stdout}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs `body` alone in a new process, for tests that observe the whole process.
#[track_caller]
pub(crate) fn alone(test: &str, body: impl FnOnce()) {
    if is_child() {
        return body();
    }
    assert_passed(&run_in_child(test));
}
