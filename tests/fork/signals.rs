//! The signals and the dumps of a child.

use std::io::{BufRead as _, Write as _};
use std::os::unix::net::UnixStream as UnixStd;

use nix::libc;
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use taskgroup::dump_on_signal;
use taskgroup::signal::ctrl_c;

use crate::support::{self, until};
use crate::uses::use_signals;
use crate::{WELL, begin, in_child, is_in, start_child};

#[test]
fn a_signal_ends_a_child_that_has_no_token() {
    support::alone("a_signal_ends_a_child_that_has_no_token", || {
        let _watch = begin();
        let token = ctrl_c().expect("the signal can be handled");
        let child = start_child(|| raise(Signal::SIGINT).expect("it can be sent"));
        let status = waitpid(child, None).expect("it is a child");
        assert_eq!(status, WaitStatus::Signaled(child, Signal::SIGINT, false));
        assert!(!token.is_cancelled());

        // A token that no other thread was using can be dropped in the child, and the second signal
        // ends the child.
        let child = start_child(|| {
            drop(token.clone());
            use_signals();
            raise(Signal::SIGINT).expect("it can be sent");
        });
        let status = waitpid(child, None).expect("it is a child");
        assert_eq!(status, WaitStatus::Signaled(child, Signal::SIGINT, false));
    });
}

/// The dump of a child is its own once it has asked for it.
#[test]
fn a_child_that_asks_for_dumps_prints_them_itself() {
    support::alone("a_child_that_asks_for_dumps_prints_them_itself", || {
        let _watch = begin();
        dump_on_signal(libc::SIGQUIT).expect("there is a thread left");
        in_child(assert_dumps);
    });
}

/// Has this process print dumps, and reads one.
fn assert_dumps() {
    let (reads, writes) = rustix::pipe::pipe().expect("there is a descriptor left");
    rustix::stdio::dup2_stderr(&writes).expect("it is a pipe");
    for _ in 0..2 {
        dump_on_signal(libc::SIGQUIT).expect("there is a thread left");
    }
    raise(Signal::SIGQUIT).expect("it can be sent");

    let mut first = String::new();
    let mut reads = std::io::BufReader::new(std::fs::File::from(reads));
    reads.read_line(&mut first).expect("it is text");
    let ours = format!("the threads of process {} are doing", std::process::id());
    assert!(first.contains(&ours), "{first}");
}

/// The thread of the parent holds the lock of a dump, and the copy of that lock in the child is
/// locked too.
#[test]
fn a_child_prints_a_dump_while_its_parent_cannot() {
    support::alone("a_child_prints_a_dump_while_its_parent_cannot", || {
        let _watch = begin();
        dump_on_signal(libc::SIGQUIT).expect("there is a thread left");
        let is_of_dumps = |thread: &std::fs::DirEntry| {
            let name = std::fs::read_to_string(thread.path().join("comm"));
            name.is_ok_and(|name| name.trim() == "taskgroup-dump")
        };
        let mut threads = std::fs::read_dir("/proc/self/task").expect("the process has threads");
        let thread = threads.find_map(|thread| thread.ok().filter(is_of_dumps));
        let thread = thread.expect("the thread lives").file_name();
        let thread = thread.to_str().expect("it is a number").parse();
        let thread = Pid::from_raw(thread.expect("it is a number"));

        // A pipe that is full, and not read.
        let stderr = rustix::io::dup(rustix::stdio::stderr()).expect("there is a descriptor left");
        let (reads, writes) = UnixStd::pair().expect("there is a descriptor left");
        writes.set_nonblocking(true).expect("it can be changed");
        while (&writes).write(&[0; 4096]).is_ok() {}
        writes.set_nonblocking(false).expect("it can be changed");
        rustix::stdio::dup2_stderr(&writes).expect("it is open");
        raise(Signal::SIGQUIT).expect("it can be sent");
        until(|| is_in(thread, &[libc::SYS_write]));

        let child = start_child(assert_dumps);
        let status = waitpid(child, None).expect("it is a child");
        rustix::stdio::dup2_stderr(&stderr).expect("it is open");
        drop(reads);
        assert_eq!(status, WaitStatus::Exited(child, WELL));
    });
}
