//! Maps in a group that is cancelled.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use taskgroup::{CancelToken, GroupError, TaskGroup};

use crate::support::Gate;

#[test]
fn in_a_cancelled_scope_it_pulls_nothing_and_keeps_its_results() -> Result<(), GroupError> {
    TaskGroup::builder().limit(2).scope(|g| {
        let pulled = AtomicUsize::new(0);
        let input = || {
            (0..4).inspect(|_| {
                pulled.fetch_add(1, Ordering::SeqCst);
            })
        };
        let token = CancelToken::new();
        let mut ordered = g.map(input(), Ok);
        let mut unordered = g.map_unordered(input(), Ok);
        assert_eq!((ordered.len(), unordered.len()), (4, 4));
        token.run(|| -> anyhow::Result<()> {
            assert_eq!(ordered.next().expect("four are left")?, 0);
            unordered.next().expect("four are left")?;
            token.cancel();
            for _ in 0..2 {
                let cancelled = ordered
                    .next()
                    .expect("it does not look finished")
                    .expect_err("the scope is cancelled");
                assert_eq!(cancelled.origin(), token.id());
                assert!(ordered.next().is_none());
                assert!(
                    unordered
                        .next()
                        .expect("it does not look finished")
                        .is_err()
                );
                assert!(unordered.next().is_none());
            }
            assert_eq!(
                (
                    ordered.len(),
                    unordered.len(),
                    pulled.load(Ordering::SeqCst)
                ),
                (3, 3, 4)
            );
            assert_eq!(
                taskgroup::shield(|| ordered.next()).expect("three are left")?,
                1
            );
            Ok(())
        })?;
        assert_eq!(ordered.collect::<Result<Vec<_>, _>>()?, [2, 3]);
        assert_eq!(unordered.collect::<Result<HashSet<_>, _>>()?.len(), 3);
        Ok(())
    })
}

#[test]
fn a_cancel_wakes_the_thread_that_waits_for_a_result() -> Result<(), GroupError> {
    let (begun, leave) = (Gate::default(), Gate::default());
    let token = CancelToken::new();
    TaskGroup::builder().limit(1).scope(|g| {
        let mut results = g.map([1], |n| {
            begun.open();
            leave.wait();
            Ok(n)
        });
        g.spawn_daemon(|| {
            begun.wait();
            token.cancel();
            Ok(())
        });
        assert!(token.run(|| results.next()).expect("one is left").is_err());
        leave.open();
        assert_eq!(results.next().expect("it was not lost")?, 1);
        Ok(())
    })
}

#[test]
fn a_map_that_has_given_out_all_results_is_finished_in_a_cancelled_scope() -> Result<(), GroupError>
{
    for limit in [1, 2] {
        TaskGroup::builder().limit(limit).scope(|g| {
            let mut results = g.map(vec![1, 2], Ok);
            assert_eq!(
                results.by_ref().take(2).filter_map(Result::ok).sum::<i32>(),
                3
            );
            g.cancel();
            assert!(results.next().is_none());
            Ok(())
        })?;
    }
    Ok(())
}
