//! Work on the threads of rayon, of tasks that are cancelled.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::ThreadPoolBuilder;
use taskgroup::{CancelToken, TaskGroup};
use taskgroup_interop::try_map;

use crate::assert_cancel;
use crate::support::{Gate, watch};

#[test]
fn results_come_in_order() {
    let items: Vec<u64> = (0..1_000).collect();
    let doubled = TaskGroup::scope(|g| {
        let task = g.spawn(|| try_map(&items, |n| Ok(2 * n)));
        Ok(task.join()?)
    });

    assert!(
        doubled
            .unwrap()
            .iter()
            .copied()
            .eq((0..1_000).map(|n| 2 * n))
    );
}

#[test]
fn a_cancel_ends_the_work_before_the_next_items() {
    let _watch = watch();
    let items = vec![(); 10_000];
    let (begun, cancelled) = (Gate::default(), Gate::default());
    let (token, done) = (CancelToken::new(), AtomicUsize::new(0));
    let work = |(): &()| {
        begun.open();
        // So every item that has begun ends after the cancel.
        cancelled.wait();
        done.fetch_add(1, Ordering::SeqCst);
        Ok(())
    };

    let outcome = TaskGroup::scope(|g| {
        let task = g.spawn(|| Ok(token.run(|| try_map(&items, work))));
        begun.wait();
        token.cancel();
        cancelled.open();
        Ok(task.join()?)
    });

    assert_cancel(&outcome.unwrap().unwrap_err());
    assert!((1..=rayon::current_num_threads()).contains(&done.into_inner()));
}

#[test]
fn a_pool_thread_is_in_no_scope() {
    let pool = ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let token = CancelToken::new();
    token.cancel();
    token.run(|| {
        assert!(taskgroup::checkpoint().is_err());
        assert!(
            pool.install(|| taskgroup::checkpoint()).is_ok(),
            "it sees nothing"
        );
        let carried = taskgroup::current_token().unwrap();
        assert!(pool.install(|| carried.check()).is_err());
    });
}

#[test]
fn a_scope_on_a_pool_thread_is_entered_by_stolen_work_too() {
    let pool = ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let token = CancelToken::new();
    token.cancel();
    let (seen, see) = std::sync::mpsc::channel();
    pool.install(|| {
        // Work of another part of the program, in no scope.
        rayon::spawn(move || seen.send(taskgroup::is_cancelled()).unwrap());
        // Where rayon waits, this thread does other work meanwhile, and the scope is around it.
        token.run(rayon::yield_now);
    });
    assert_eq!(see.recv(), Ok(true));
}
