//! Children of `fork`, made while other threads are in the middle of anything: the child can use
//! the whole crate on the thread that forked, and its parent goes on unharmed.
#![cfg(all(
    target_os = "linux",
    feature = "net",
    feature = "process",
    feature = "signal"
))]

mod scopes;
mod signals;
#[path = "../support/mod.rs"]
mod support;
mod uses;

use std::io::{Read as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use nix::libc;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use support::{LONG, until, watch};
use taskgroup::net::UnixStream;
use taskgroup::signal::ctrl_c;
use taskgroup::sync::Semaphore;
use taskgroup::{CancelToken, TaskGroup, sleep};

use uses::{use_deadlines, use_everything, use_net, use_tasks, while_others_are_busy};

/// Watches over a test, and gives SIGINT its default action: a shell has a job in the background
/// ignore it.
fn begin() -> support::Watch {
    // SAFETY: the process of a test has no other handler yet.
    unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }.expect("the signal can be handled");
    watch()
}

/// The code of a child that has done everything.
const WELL: i32 = 7;

/// Forks, and runs `body` in the child, which then ends.
fn start_child(body: impl FnOnce()) -> Pid {
    // SAFETY: the child uses what is to be tested, the C library's allocator, and calls of the
    // system, and ends by `_exit`.
    match unsafe { fork() }.expect("there is a process left") {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            // A child that hangs is ended.
            // SAFETY: a call of the system.
            unsafe { libc::alarm(30) };
            let done = catch_unwind(AssertUnwindSafe(body));
            // SAFETY: it ends the process, and runs nothing of it.
            unsafe { libc::_exit(if done.is_ok() { WELL } else { 1 }) }
        }
    }
}

#[track_caller]
fn assert_ends_well(child: Pid) {
    let status = waitpid(child, None).expect("it is a child");
    assert_eq!(status, WaitStatus::Exited(child, WELL));
}

/// Waits for a child. Returns true if it has hung.
///
/// std has a lock for what its handler of stack overflows knows of each thread. A thread takes it
/// as it starts and as it ends. If a thread of the parent has it at the `fork`, each thread that
/// the child starts waits for it. A worker may start or end at any time, so that cannot be ruled
/// out. It was seen in one of some 3 000 children.
fn hangs_in_std(child: Pid) -> bool {
    match waitpid(child, None).expect("it is a child") {
        WaitStatus::Signaled(_, Signal::SIGALRM, _) => true,
        status => {
            assert_eq!(status, WaitStatus::Exited(child, WELL));
            false
        }
    }
}

#[track_caller]
fn in_child(body: impl FnOnce()) {
    assert_ends_well(start_child(body));
}

#[test]
fn a_child_can_use_all_parts_while_its_parent_is_in_the_middle_of_them() {
    support::alone(
        "a_child_can_use_all_parts_while_its_parent_is_in_the_middle_of_them",
        || {
            let _watch = begin();
            let token = ctrl_c().expect("the signal can be handled");
            // The thread that forks has been in each part too.
            use_tasks();
            use_deadlines();
            use_net();
            TaskGroup::scope(|g| {
                let waits = g.task().name("of the parent").spawn(|| {
                    let _: Result<(), _> = sleep(LONG);
                    Ok(())
                });
                while_others_are_busy(|| {
                    let hung = (0..300).filter(|_| hangs_in_std(start_child(use_everything)));
                    assert!(hung.count() <= 2, "more than std explains");
                });
                waits.cancel();
                Ok(())
            })
            .expect("nothing fails");
            assert!(!token.is_cancelled(), "the signals were for the children");
            use_tasks();
        },
    );
}

#[test]
fn a_child_of_a_child_can_use_all_parts() {
    support::alone("a_child_of_a_child_can_use_all_parts", || {
        let _watch = begin();
        use_everything();
        // The one in between has used nothing, or all.
        for is_used in [false, true] {
            in_child(|| {
                if is_used {
                    use_everything();
                }
                in_child(|| {
                    use_everything();
                    in_child(use_everything);
                });
            });
        }
    });
}

/// A semaphore of the program is a copy, like any other value.
#[test]
fn a_primitive_that_no_other_thread_used_works_in_the_child() {
    support::alone(
        "a_primitive_that_no_other_thread_used_works_in_the_child",
        || {
            let _watch = begin();
            use_tasks();
            let permits = Semaphore::new(2);
            let permit = permits.acquire().expect("no cancel");
            in_child(|| {
                assert_eq!(permits.available(), 1);
                TaskGroup::scope(|g| {
                    let takes = g.task().name("on a worker").spawn(|| {
                        drop(permits.acquire()?);
                        Ok(())
                    });
                    Ok(takes.join()?)
                })
                .expect("nothing fails");
            });
            drop(permit);
            assert_eq!(permits.available(), 2);
        },
    );
}

/// A wake for a thread of the parent must not be taken by its copy in the child, which waits for
/// the same kind of event.
#[test]
fn a_child_takes_no_wake_of_its_parent() {
    support::alone("a_child_takes_no_wake_of_its_parent", || {
        let _watch = begin();
        for _ in 0..100 {
            // Both processes wait with the slot of this thread, which has a waker.
            use_net();
            let (mut reads, mut writes) = UnixStream::pair().expect("there is a descriptor left");
            let child = start_child(|| {
                let token = CancelToken::new();
                assert!(token.run(|| reads.read(&mut [0])).is_ok());
            });
            until(|| is_asleep(child));

            let token = CancelToken::new();
            let (mut idle, _other) = UnixStream::pair().expect("there is a descriptor left");
            thread::scope(|threads| {
                let here = nix::unistd::gettid();
                let to_cancel = token.clone();
                threads.spawn(move || {
                    until(|| is_asleep(here));
                    to_cancel.cancel();
                });
                assert!(token.run(|| idle.read(&mut [0])).is_err());
            });
            writes.write_all(&[0]).expect("the child reads");
            assert_ends_well(child);
        }
    });
}

/// Whether a thread sleeps in `poll`.
fn is_asleep(thread: Pid) -> bool {
    is_in(thread, &[libc::SYS_poll, libc::SYS_ppoll])
}

/// Whether a thread of this process, or a child, is in one of these system calls.
fn is_in(thread: Pid, calls: &[i64]) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{thread}/syscall"));
    call.is_ok_and(|call| {
        let number = call
            .split(' ')
            .next()
            .and_then(|number| number.parse().ok());
        number.is_some_and(|number: i64| calls.contains(&number))
    })
}
