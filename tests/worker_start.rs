//! The hook that runs on each thread for tasks. It is one for the process, and so this file has one
//! test.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use taskgroup::sync::Barrier;
use taskgroup::{TaskGroup, WorkerHookError, on_worker_start};

static RUNS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static RUNS_HERE: Cell<usize> = const { Cell::new(0) };
}

#[cfg(target_os = "linux")]
mod mask {
    use nix::sys::signal::{SigSet, Signal};

    pub(super) fn block() {
        SigSet::from(Signal::SIGUSR2).thread_block().unwrap();
    }

    pub(super) fn unblock() {
        SigSet::from(Signal::SIGUSR2).thread_unblock().unwrap();
    }

    pub(super) fn is_blocked() -> bool {
        SigSet::thread_get_mask().unwrap().contains(Signal::SIGUSR2)
    }
}

#[cfg(not(target_os = "linux"))]
mod mask {
    pub(super) fn block() {}

    pub(super) fn unblock() {}

    pub(super) fn is_blocked() -> bool {
        false
    }
}

#[test]
fn the_hook_runs_once_on_each_thread_before_its_first_task_whatever_becomes_of_it() {
    on_worker_start(|| {
        RUNS_HERE.set(RUNS_HERE.get() + 1);
        mask::unblock();
        assert_ne!(
            RUNS.fetch_add(1, Ordering::Relaxed),
            0,
            "the first run of the hook panics"
        );
    })
    .unwrap();
    assert_eq!(
        on_worker_start(|| unreachable!()),
        Err(WorkerHookError::AlreadySet)
    );

    // The workers inherit it, and the hook mends that.
    mask::block();
    let barrier = Barrier::new(6);
    for _ in 0..2 {
        TaskGroup::scope(|g| {
            let task = || {
                // All tasks block at once, so each has a thread, and the second time round most
                // have one of the cache.
                barrier.wait()?;
                assert_eq!(RUNS_HERE.get(), 1);
                assert!(!mask::is_blocked());
                Ok(())
            };
            for _ in 0..4 {
                g.spawn(task);
            }
            g.task().dedicated().spawn(task);
            barrier.wait()?;
            Ok(())
        })
        .unwrap();
    }
    assert!(
        RUNS.load(Ordering::Relaxed) >= 6,
        "four workers and two dedicated threads"
    );
    // The hook is for the threads of the crate.
    assert_eq!(RUNS_HERE.get(), 0);
    assert!(mask::is_blocked() || cfg!(not(target_os = "linux")));
}
