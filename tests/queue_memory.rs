//! The memory of a group's queue: in proportion to the tasks that wait in it, whatever has become
//! of those before.
#![cfg(target_os = "linux")]

mod support;

use support::{Gate, alone};
use taskgroup::TaskGroup;

const TASKS: u32 = 200_000;

/// The memory of this process, in KiB.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .expect("the system says how much memory a process has");
    pages
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok())
        .expect("the second number counts resident pages")
        * 4
}

/// 200 000 tasks that are kept take more than 50 MiB.
fn stays_small(f: impl FnOnce()) {
    let before = resident();
    f();
    let more = resident().saturating_sub(before);
    assert!(more < 16 * 1024, "{more} KiB more than before");
}

#[test]
fn tasks_that_were_cancelled_while_they_were_queued_are_not_kept() {
    alone(
        "tasks_that_were_cancelled_while_they_were_queued_are_not_kept",
        || {
            let (begun, leave) = (Gate::default(), Gate::default());
            let outcome = TaskGroup::builder().limit(1).scope(|g| {
                g.spawn(|| {
                    begun.open();
                    leave.wait();
                    Ok(())
                });
                begun.wait();
                // This task goes on waiting, so that the others are not at the front of the queue.
                let last = g.spawn(|| Ok(7));
                stays_small(|| {
                    for i in 0..TASKS {
                        g.spawn(move || Ok(i)).cancel();
                    }
                });
                leave.open();
                Ok(last.join()?)
            });
            assert_eq!(outcome.ok(), Some(7));
        },
    );
}
