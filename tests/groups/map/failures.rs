//! Items that fail, and panics of the function and of the input.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use taskgroup::{GroupError, OnFailure, TaskGroup};

use crate::support::panic_messages;

#[test]
fn a_failed_item_gives_a_cancel_in_its_place_and_its_failure_is_the_groups() {
    let mut line = 0;
    let error = TaskGroup::builder()
        .on_failure(OnFailure::Collect)
        .limit(2)
        .scope(|g| {
            line = line!() + 1;
            let results = g.map(0..5, |n| {
                anyhow::ensure!(n != 1, "item {n}");
                assert!(n != 3, "item {n} panics");
                Ok(n)
            });
            let results: Vec<_> = results.map(|result| result.ok()).collect();
            assert_eq!(results, [Some(0), None, Some(2), None, Some(4)]);
            let failing = g.map_unordered(0..3, |n| {
                anyhow::ensure!(n != 1, "unordered item {n}");
                Ok(n)
            });
            let mut results: Vec<_> = failing.map(|result| result.ok()).collect();
            results.sort_unstable();
            assert_eq!(results, [None, Some(0), Some(2)]);
            Ok(())
        });
    let error = error.unwrap_err();
    assert_eq!(
        error.errors().map(ToString::to_string).collect::<Vec<_>>(),
        ["item 1", "unordered item 1"]
    );
    assert_eq!(panic_messages(&error), ["item 3 panics"]);
    let spawned_at = error.failures()[0].task().expect("it was a task").location;
    assert_eq!(
        (spawned_at.file(), spawned_at.line()),
        (Location::caller().file(), line)
    );
}

/// The names in the report, sorted.
fn names(error: &GroupError) -> Vec<&str> {
    let drawn = format!("{error:#}");
    let mut names: Vec<_> = error
        .failures()
        .iter()
        .map(|failure| failure.task().unwrap().name.as_deref().unwrap())
        .collect();
    assert!(
        names
            .iter()
            .all(|name| drawn.contains(&format!("task `{name}` ("))),
        "{drawn}"
    );
    names.sort_unstable();
    names
}

/// Fails with 3, and panics with 5.
fn odd(n: u32) -> anyhow::Result<u32> {
    anyhow::ensure!(n != 3, "an error");
    assert!(n != 5, "a panic");
    Ok(n)
}

#[test]
fn a_report_names_the_item_that_failed() {
    for unordered in [false, true] {
        let error = TaskGroup::builder()
            .on_failure(OnFailure::Collect)
            .limit(2)
            .scope(|g| {
                let items = [1, 2, 3, 4, 5, 6];
                Ok(if unordered {
                    g.map_unordered(items, odd).count()
                } else {
                    g.map(items, odd).count()
                })
            });
        assert_eq!(names(&error.unwrap_err()), ["map item 2", "map item 4"]);
    }
    for (fails, named) in [(3, "map item 2"), (5, "map item 4")] {
        for limit in [1, 4] {
            // In one batch with others, in the end.
            let items = (1..100).map(|n| if n == fails { n } else { 100 });
            assert_eq!(
                names(&taskgroup::map(items, limit, odd).unwrap_err()),
                [named]
            );
        }
    }
}

#[test]
fn the_cause_of_a_cancel_names_the_item_that_failed() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        let inner = g.spawn_isolated(|| {
            let cause = TaskGroup::scope(|g| {
                let mut results = g.map([3], odd);
                let cut = results.next().expect("there is an item").unwrap_err();
                Err::<(), _>(anyhow::anyhow!("{}", cut.cause()))
            });
            Ok(format!("{:?}", cause.unwrap_err()))
        });
        let report = inner.join()?.expect("it has returned");
        assert!(report.contains("task `map item 0` ("), "{report}");
        Ok(())
    })
}

#[test]
fn a_later_failure_is_not_named_after_an_item_that_was_cut_short() {
    let unnamed = TaskGroup::scope(|g| {
        let cut = TaskGroup::scope(|inner| {
            Ok(inner
                .map([0], |_| {
                    inner.cancel();
                    Ok(taskgroup::checkpoint()?)
                })
                .count())
        });
        assert_eq!(cut?, 1);
        g.spawn(|| odd(3)).join()?;
        Ok(())
    });
    assert_eq!(
        unnamed.unwrap_err().failures()[0].task().unwrap().name,
        None
    );
}

#[test]
fn a_failure_that_cancels_the_group_ends_the_map_even_for_a_loop_that_goes_on_at_errors() {
    for unordered in [false, true] {
        let pulled = AtomicUsize::new(0);
        // The input has no end, so the map ends because of the cancel.
        let input = (0u64..).filter(|_| {
            pulled.fetch_add(1, Ordering::SeqCst);
            true
        });
        let error = TaskGroup::builder()
            .limit(2)
            .scope(|g| {
                let f = |n| {
                    anyhow::ensure!(n != 5, "item {n}");
                    Ok(n)
                };
                let results: Vec<_> = if unordered {
                    g.map_unordered(input, f).collect()
                } else {
                    g.map(input, f).collect()
                };
                assert!(
                    results.last().is_some_and(|last| last.is_err()),
                    "it looks finished"
                );
                Ok(())
            })
            .unwrap_err();
        assert_eq!(error.failures().len(), 1);
        assert_eq!(
            error.errors().next().map(ToString::to_string).as_deref(),
            Some("item 5")
        );
        // In the order of the input, nothing is pulled beyond the window of the item that fails.
        assert!(unordered || pulled.load(Ordering::SeqCst) <= 8);
    }
}

#[test]
fn a_panic_of_the_function_is_reported_and_stops_the_map() {
    let error = TaskGroup::builder()
        .limit(2)
        .scope(|g| {
            let results = g.map(0.., |n: u32| {
                assert!(n != 3, "item {n} panics");
                Ok(n)
            });
            let mut sum = 0;
            for result in results {
                sum += result?;
            }
            Ok(sum)
        })
        .unwrap_err();
    assert_eq!(error.failures().len(), 1);
    assert_eq!(
        error.panics().next().map(|panic| panic.message()),
        Some("item 3 panics")
    );
}

#[test]
fn a_panic_of_the_input_comes_out_of_next_and_ends_the_map() -> Result<(), GroupError> {
    let ran = AtomicUsize::new(0);
    TaskGroup::builder().limit(2).scope(|g| {
        let input = || (0..).inspect(|n| assert!(*n != 4, "no item 4"));
        let f = |n: i32| {
            ran.fetch_add(1, Ordering::SeqCst);
            Ok(n)
        };
        let mut ordered = g.map(input(), f);
        let panic =
            catch_unwind(AssertUnwindSafe(|| while ordered.next().is_some() {})).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"no item 4"));
        assert!(ordered.next().is_none() && ordered.next().is_none());
        assert_eq!(ordered.size_hint(), (0, Some(0)));
        let mut unordered = g.map_unordered(input(), f);
        catch_unwind(AssertUnwindSafe(|| while unordered.next().is_some() {})).unwrap_err();
        assert!(unordered.next().is_none() && unordered.next().is_none());
        assert!(!taskgroup::is_cancelled());
        Ok(())
    })?;
    assert_eq!(ran.into_inner(), 8);
    Ok(())
}
