//! A hook for the start of workers that comes too late. The workers are the process's, and so this
//! file has one test.

use taskgroup::{TaskGroup, WorkerHookError, on_worker_start};

#[test]
fn a_hook_that_comes_after_the_first_thread_is_refused_each_time() {
    TaskGroup::scope(|g| {
        g.task().dedicated().spawn(|| Ok(()));
        Ok(())
    })
    .unwrap();
    for _ in 0..2 {
        assert_eq!(
            on_worker_start(|| unreachable!()),
            Err(WorkerHookError::AlreadyStarted)
        );
    }
    TaskGroup::scope(|g| {
        g.task().dedicated().spawn(|| Ok(()));
        Ok(())
    })
    .unwrap();
}
