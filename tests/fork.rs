//! Children of `fork`, made while other threads are in the middle of anything: the child can use
//! the whole crate on the thread that forked, and its parent goes on unharmed.
#![cfg(all(
    target_os = "linux",
    feature = "net",
    feature = "process",
    feature = "signal"
))]

#[path = "support/mod.rs"]
mod support;

use std::io::{BufRead as _, Read as _, Write as _};
use std::os::unix::net::UnixStream as UnixStd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigHandler, Signal, raise, signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use support::{LONG, MOMENT, until, watch};
use taskgroup::net::UnixStream;
use taskgroup::process::Command;
use taskgroup::signal::ctrl_c;
use taskgroup::sync::{Event, Mutex, Semaphore};
use taskgroup::{
    CancelToken, Cancelled, ScopedValue, TaskGroup, channel, dump_on_signal, remaining, sleep,
    snapshot, stats, timeout,
};

static VALUE: ScopedValue<u32> = ScopedValue::new();

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

/// Tasks that begin, wait, and pass a value.
fn use_tasks() {
    let sum = TaskGroup::builder()
        .limit(2)
        .scope(|g| {
            let quick = g.task().name("quick").spawn(|| Ok(1));
            let sleeps = g.task().name("sleeps").spawn(|| {
                sleep(MOMENT)?;
                Ok(2)
            });
            let own_thread = g.task().dedicated().spawn(|| Ok(4));
            Ok(quick.join()? + sleeps.join()? + own_thread.join()?)
        })
        .expect("nothing fails");
    assert_eq!(sum, 7);
}

/// A time limit, which the waiting thread sees, and a deadline, for which a thread watches the
/// clock.
fn use_deadlines() {
    assert!(
        timeout(MOMENT, || sleep(LONG))
            .expect("no cancel")
            .is_none()
    );

    let (ring, rung) = mpsc::channel();
    let token = CancelToken::new();
    let _guard = token.on_cancel(move || ring.send(()).expect("the receiver waits"));
    token.cancel_at(Instant::now() + MOMENT);
    rung.recv_timeout(LONG / 6).expect("the deadline passes");
}

/// A read that a cancel ends.
fn use_net() {
    let (mut reads, _writes) = UnixStream::pair().expect("there is a descriptor left");
    let token = CancelToken::new();
    TaskGroup::scope(|g| {
        let to_cancel = token.clone();
        g.spawn(move || {
            sleep(MOMENT)?;
            to_cancel.cancel();
            Ok(())
        });
        let read = token.run(|| reads.read(&mut [0]));
        assert!(read.is_err(), "{read:?}");
        Ok(())
    })
    .expect("nothing fails");
}

/// A child that is waited for, and one that is dropped, which a thread ends and reaps.
fn use_processes() {
    assert!(Command::new("true").status().expect("it starts").success());

    drop(Command::new("sleep").arg("60").spawn().expect("it starts"));
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    until(|| waitid(Id::All, flags) == Err(Errno::ECHILD));
}

/// A snapshot shows the tasks of this process, and none of its parent.
fn use_snapshot() {
    let lock = Mutex::new(());
    TaskGroup::scope(|g| {
        let guard = lock.lock()?;
        let task = g.task().name("of the child").spawn(|| {
            drop(lock.lock()?);
            Ok(())
        });
        let waits = |name: &str| {
            let seen = snapshot();
            let named = seen.tasks().find(|task| task.name() == Some(name));
            named.is_some_and(|task| task.waits().is_some())
        };
        until(|| waits("of the child"));
        assert!(!waits("of the parent"));
        drop(guard);
        Ok(task.join()?)
    })
    .expect("nothing fails");
    assert!(stats().spawned() < 20, "the counts begin again");
}

/// A token that a signal to this process cancels.
fn use_signals() {
    let token = ctrl_c().expect("the signal can be handled");
    raise(Signal::SIGINT).expect("it can be sent");
    until(|| token.is_cancelled());
}

fn use_everything() {
    use_tasks();
    use_deadlines();
    use_net();
    use_processes();
    use_snapshot();
    use_signals();
}

/// Calls `forks` while other threads use all parts of the crate, and then ends these threads, which
/// have gone on until then.
fn while_others_are_busy(forks: impl FnOnce()) {
    let (stop, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let uses: [&(dyn Fn() + Sync); 6] = [
        &use_tasks,
        &use_deadlines,
        &use_net,
        &|| drop(snapshot()),
        &|| {
            let (sends, receives) = channel::bounded(1);
            TaskGroup::scope(|g| {
                g.spawn(move || Ok((0..20).try_for_each(|n| sends.send(n))?));
                assert_eq!(receives.iter().filter(Result::is_ok).count(), 20);
                Ok(())
            })
            .expect("nothing fails");
        },
        // Nothing that has a thread start or end each time: see `hangs_in_std`.
        &|| assert!(Command::new("true").status().expect("it starts").success()),
    ];
    thread::scope(|threads| {
        for one in uses {
            let (stop, rounds) = (&stop, &rounds);
            threads.spawn(move || {
                while !stop.load(SeqCst) {
                    one();
                    rounds.fetch_add(1, SeqCst);
                }
            });
        }
        until(|| rounds.load(SeqCst) > 20);
        let done = catch_unwind(AssertUnwindSafe(forks));
        // All of them go on.
        let before = rounds.load(SeqCst);
        until(|| rounds.load(SeqCst) > before + 20);
        stop.store(true, SeqCst);
        done.expect("no child fails");
    });
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
fn a_child_that_a_task_forks_is_outside_of_the_scopes_of_its_parent() {
    support::alone(
        "a_child_that_a_task_forks_is_outside_of_the_scopes_of_its_parent",
        || {
            let _watch = begin();
            let group = TaskGroup::builder().limit(1);
            group
                .scope(|g| {
                    // On a worker, with a permit, under a limit of time, in the body of a scope.
                    let forks = g.task().name("forks").spawn(|| {
                        let limit = Duration::from_secs(50);
                        timeout(limit, || {
                            TaskGroup::scope(|inner| {
                                inner.spawn(|| Ok(sleep(MOMENT)?));
                                VALUE.with(&1, || {
                                    in_child(|| {
                                        assert_eq!(remaining(), None);
                                        assert_eq!(VALUE.cloned(), None);
                                        VALUE.with(&2, use_everything);
                                    });
                                });
                                Ok(())
                            })
                        })?
                        .expect("it takes less time");
                        Ok(())
                    });
                    Ok(forks.join()?)
                })
                .expect("nothing fails");
            use_tasks();
        },
    );
}

/// The guards of a limit, a region, a shield and a lock are dropped in the child.
#[test]
fn a_child_can_leave_what_is_no_scope() {
    support::alone("a_child_can_leave_what_is_no_scope", || {
        let _watch = begin();
        use_net();
        let lock = Mutex::new(());
        let mut child = None;
        let forked = timeout(LONG, || {
            taskgroup::shield(|| {
                CancelToken::new().run(|| {
                    let guard = lock.lock()?;
                    // SAFETY: as in `start_child`.
                    if let ForkResult::Parent { child: pid } = unsafe { fork() }.unwrap() {
                        child = Some(pid);
                    } else {
                        // SAFETY: as in `start_child`.
                        unsafe { libc::alarm(30) };
                    }
                    drop(guard);
                    Ok::<_, taskgroup::Cancelled>(())
                })
            })
        });
        let Some(child) = child else {
            let done = catch_unwind(AssertUnwindSafe(|| {
                forked.expect("no cancel");
                drop(lock.lock());
                use_everything();
            }));
            // SAFETY: as in `start_child`.
            unsafe { libc::_exit(if done.is_ok() { WELL } else { 1 }) }
        };
        assert_ends_well(child);
    });
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

/// A task that has opened nothing is in the scope of its group all the same.
#[test]
fn a_child_of_a_plain_task_is_outside_of_its_group() {
    support::alone("a_child_of_a_plain_task_is_outside_of_its_group", || {
        let _watch = begin();
        let forks = || in_child(|| assert_eq!(remaining(), None));
        let (tells, told) = channel::unbounded();
        let begins = Event::new();
        let group = TaskGroup::builder().limit(1).timeout(LONG);
        group
            .scope(|g| {
                // No task runs in place, since the body waits for none before it has forked.
                let _handle = g.spawn(|| {
                    begins.wait()?;
                    forks();
                    Ok(tells.send(())?)
                });
                // Before the task begins: without a handle it has another frame.
                drop(g.spawn(|| {
                    forks();
                    Ok(tells.send(())?)
                }));
                begins.set();
                told.recv()?;
                told.recv()?;

                let _handle = g.task().dedicated().spawn(|| {
                    forks();
                    Ok(tells.send(())?)
                });
                Ok(told.recv()?)
            })
            .expect("no child fails");
    });
}

/// A thread that has used nothing but these has no lane.
#[test]
fn a_child_of_a_fresh_thread_is_outside_of_its_scope() {
    support::alone("a_child_of_a_fresh_thread_is_outside_of_its_scope", || {
        let _watch = begin();
        let is_outside = || in_child(|| assert_eq!(remaining(), None));
        thread::spawn(move || {
            let limited = timeout(LONG, || {
                is_outside();
                Ok::<_, Cancelled>(())
            });
            limited.expect("no cancel");
        })
        .join()
        .expect("it does not panic");
        thread::spawn(move || {
            let token = CancelToken::new();
            token.cancel_after(LONG);
            token.run(is_outside);
        })
        .join()
        .expect("it does not panic");
    });
}

static OUTER: ScopedValue<u64> = ScopedValue::new();
static INNER: ScopedValue<u64> = ScopedValue::new();

/// What was bound before is on the stack of a thread that is not there.
#[test]
fn a_child_that_leaves_a_binding_has_none() {
    support::alone("a_child_that_leaves_a_binding_has_none", || {
        let _watch = begin();
        OUTER.with(&1, || {
            TaskGroup::scope(|g| {
                let task = g.task().dedicated().spawn(|| {
                    let child = INNER.with(&2, || {
                        // SAFETY: as in `start_child`.
                        match unsafe { fork() }.expect("there is a process left") {
                            ForkResult::Parent { child } => Some(child),
                            ForkResult::Child => None,
                        }
                    });
                    let Some(child) = child else {
                        let has_none = OUTER.cloned().is_none() && INNER.cloned().is_none();
                        // SAFETY: as in `start_child`.
                        unsafe { libc::_exit(if has_none { WELL } else { 1 }) }
                    };
                    assert_ends_well(child);
                    assert_eq!(OUTER.cloned(), Some(1));
                    Ok(())
                });
                Ok(task.join()?)
            })
            .expect("the task ends well");
        });
    });
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

#[test]
fn a_signal_ends_a_child_that_has_no_token() {
    support::alone("a_signal_ends_a_child_that_has_no_token", || {
        let _watch = begin();
        let token = ctrl_c().expect("the signal can be handled");
        let child = start_child(|| raise(Signal::SIGINT).expect("it can be sent"));
        let status = waitpid(child, None).expect("it is a child");
        assert_eq!(status, WaitStatus::Signaled(child, Signal::SIGINT, false));
        assert!(!token.is_cancelled());

        // The token of the parent can be dropped in the child, and the second signal ends it.
        let child = start_child(|| {
            drop(token.clone());
            use_signals();
            raise(Signal::SIGINT).expect("it can be sent");
        });
        let status = waitpid(child, None).expect("it is a child");
        assert_eq!(status, WaitStatus::Signaled(child, Signal::SIGINT, false));
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

/// The thread of the parent is in the middle of a dump, and so is its copy in the child.
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
