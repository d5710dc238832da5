//! The dump on a standard error that is full, is not read, or does not block.

use std::os::fd::AsFd;

use nix::libc;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::*;

const TASKS: usize = 60;

/// Runs `body` beside tasks that stay blocked until it returns. Together they are more lines than
/// [`small_stderr`] has room for.
pub(crate) fn beside_many_tasks(body: impl FnOnce()) {
    let (event, begun) = (Event::new(), Barrier::new(TASKS + 1));
    let scope = TaskGroup::scope(|g| {
        for number in 0..TASKS {
            g.task()
                .name(format!("number {number} {}", "of many ".repeat(10)))
                .spawn(|| {
                    begun.wait();
                    Ok(event.wait()?)
                });
        }
        begun.wait();
        body();
        event.set();
        Ok(())
    });
    scope.expect("no task fails");
}

/// Lets the thread of the dump come to a write that blocks.
pub(crate) fn until_the_dump_is_stuck() {
    let is_stuck = || {
        let threads = std::fs::read_dir("/proc/self/task").expect("there is a /proc");
        let mut threads = threads.map(|thread| thread.expect("the process runs").path());
        threads.any(|thread| {
            let read = |file| std::fs::read_to_string(thread.join(file)).unwrap_or_default();
            // A name is cut after 15 characters.
            let call = format!("{} 0x2 ", libc::SYS_write);
            read("comm").starts_with("taskgroup-dump") && read("syscall").starts_with(&call)
        })
    };
    support::until(is_stuck);
}

/// Another process may have made it so: standard error is often shared.
#[test]
fn a_dump_is_whole_where_standard_error_does_not_block() {
    const TEST: &str = "a_dump_is_whole_where_standard_error_does_not_block";
    support::alone(TEST, || {
        let _watch = watch();
        dump_on_signal(SIGQUIT).expect("there is a thread left");
        let (mut reads, writes) = small_stderr();
        let flags = fcntl_getfl(writes.as_fd()).expect("it is open");
        fcntl_setfl(writes.as_fd(), flags | OFlags::NONBLOCK).expect("it is a pipe");

        beside_many_tasks(|| {
            raise(SIGQUIT).expect("it can be sent");
            let is_full = || rustix::io::ioctl_fionread(&writes).unwrap() > PAGE as u64 - 512;
            support::until(is_full);
            // If the rest of the first dump is lost, the second has the first end.
            raise(SIGQUIT).expect("it can be sent");

            let mut dump = String::new();
            while !dump.contains("end of the dump") {
                assert_ne!(reads.read_line(&mut dump).expect("it is text"), 0);
            }
            assert_eq!(dump.matches("are doing").count(), 1, "{dump}");
            for number in 0..TASKS {
                assert!(
                    dump.contains(&format!("`number {number} of many")),
                    "{dump}"
                );
            }
            read_dump(&mut reads);
        });
    });
}

#[test]
fn a_standard_error_that_nothing_reads_hinders_neither_the_program_nor_its_end() {
    const TEST: &str =
        "a_standard_error_that_nothing_reads_hinders_neither_the_program_nor_its_end";
    if !is_child() {
        let (_unread, full) = support::unread_stderr();
        return support::run_in_child_with_stderr(TEST, full);
    }

    let _watch = watch();
    dump_on_signal(SIGQUIT).expect("there is a thread left");
    beside_many_tasks(|| {
        for _ in 0..100 {
            raise(SIGQUIT).expect("it can be sent");
        }
        until_the_dump_is_stuck();

        // Everything else goes on, and more signals do not change that.
        let lock = Mutex::new(0);
        let scope = TaskGroup::builder().name("goes on").scope(|g| {
            for _ in 0..TASKS {
                g.task().name("adds").spawn(|| {
                    *lock.lock()? += 1;
                    raise(SIGQUIT).expect("it can be sent");
                    Ok(())
                });
            }
            Ok::<_, anyhow::Error>(())
        });
        scope.expect("no task fails");
        assert_eq!(lock.into_inner(), TASKS);
        let seen = taskgroup::snapshot().to_string();
        assert!(seen.contains("Event::wait"), "{seen}");
        let done = thread::spawn(|| ()).join();
        done.expect("a thread can be made and ends");
        dump_on_signal(signal_hook::consts::SIGUSR2).expect("another signal can be handled");
        until_the_dump_is_stuck();
    });
    // The process ends while that thread is in its write.
}
