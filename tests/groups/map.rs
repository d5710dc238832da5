//! `map`, `map_unordered` and the top-level `map`: windows, order, failures, ends.

mod whole;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use taskgroup::{CancelToken, GroupError, OnFailure, TaskGroup};

use crate::support::{Drops, Gate};

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn results_come_in_the_order_of_the_input_whichever_call_ends_first() -> Result<(), GroupError> {
    let second_done = Gate::default();
    let results = TaskGroup::builder().limit(2).scope(|g| {
        let results = g.map(0..6, |n| {
            match n {
                0 => second_done.wait(),
                1 => second_done.open(),
                _ => {}
            }
            Ok(n * 10)
        });
        Ok(results.collect::<Result<Vec<_>, _>>()?)
    })?;
    assert_eq!(results, [0, 10, 20, 30, 40, 50]);
    Ok(())
}

#[test]
fn unordered_results_come_in_the_order_in_which_the_tasks_end() -> Result<(), GroupError> {
    let gates = [Gate::default(), Gate::default(), Gate::default()];
    TaskGroup::builder().limit(3).scope(|g| {
        let mut results = g.map_unordered(0..3, |n: usize| {
            gates[n].wait();
            Ok(n)
        });
        for n in [1, 2, 0] {
            gates[n].open();
            assert_eq!(results.next().expect("results are left")?, n);
        }
        assert!(results.next().is_none());
        Ok(())
    })
}

#[test]
fn nothing_is_pulled_or_spawned_before_it_is_asked_for() -> Result<(), GroupError> {
    TaskGroup::scope(|g| {
        let input = || (0..3).inspect(|_| panic!("pulled"));
        drop(g.map(input(), Ok));
        drop(g.map_unordered(input(), Ok));
        assert_eq!(g.stats().queued + g.stats().running + g.stats().finished, 0);
        Ok(())
    })
}

#[test]
fn an_endless_input_is_pulled_no_further_than_the_window() -> Result<(), GroupError> {
    for limit in [Some(1), Some(3), None] {
        let window = limit.unwrap_or(cores());
        let builder = match limit {
            Some(limit) => TaskGroup::builder().limit(limit),
            None => TaskGroup::builder(),
        };
        let pulled = AtomicUsize::new(0);
        let input = || {
            (0_u64..).inspect(|_| {
                pulled.fetch_add(1, Ordering::SeqCst);
            })
        };
        builder.scope(|g| {
            let mut ordered = g.map(input(), |n| Ok(n + 1));
            for given in 0..100 {
                assert_eq!(ordered.next().expect("it is endless")?, given + 1);
                assert!(pulled.load(Ordering::SeqCst) <= given as usize + window);
            }
            pulled.store(0, Ordering::SeqCst);
            let mut unordered = g.map_unordered(input(), |n| Ok(n + 1));
            let mut seen = HashSet::new();
            for given in 0..100 {
                assert!(seen.insert(unordered.next().expect("it is endless")?));
                assert!(pulled.load(Ordering::SeqCst) <= given + window);
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn as_many_items_block_at_once_as_the_limit_says() -> Result<(), GroupError> {
    let three = Barrier::new(3);
    TaskGroup::builder().limit(3).scope(|g| {
        let meet = |_| {
            three.wait();
            Ok(())
        };
        g.map(0..30, meet).collect::<Result<(), _>>()?;
        g.map_unordered(0..30, meet).collect::<Result<(), _>>()?;
        Ok(())
    })
}

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
    assert_eq!(
        error
            .panics()
            .map(|panic| panic.message())
            .collect::<Vec<_>>(),
        ["item 3 panics"]
    );
    let spawned_at = error.failures()[0].task().expect("it was a task").location;
    assert_eq!(
        (spawned_at.file(), spawned_at.line()),
        (Location::caller().file(), line)
    );
}

#[test]
fn a_report_names_the_item_that_failed() -> Result<(), GroupError> {
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
    let odd = |n: u32| {
        anyhow::ensure!(n != 3, "an error");
        assert!(n != 5, "a panic");
        Ok(n)
    };
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
    // So does the cause of the cancel that the others see.
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
    })?;
    // A later failure is not named after an item that was cut short.
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
    Ok(())
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

#[test]
fn an_input_is_not_pulled_after_its_end() -> Result<(), GroupError> {
    TaskGroup::builder().limit(3).scope(|g| {
        let input = || {
            let mut items = vec![None, Some(2), Some(1)];
            std::iter::from_fn(move || items.pop().expect("pulled after its end"))
        };
        let mut ordered = g.map(input(), Ok);
        assert_eq!(ordered.by_ref().collect::<Result<Vec<_>, _>>()?, [1, 2]);
        assert!(ordered.next().is_none());
        let mut unordered = g.map_unordered(input(), Ok);
        assert_eq!(
            unordered.by_ref().collect::<Result<HashSet<_>, _>>()?.len(),
            2
        );
        assert!(unordered.next().is_none());
        Ok(())
    })
}

#[test]
fn dropping_it_cancels_nothing_and_drops_later_results() -> Result<(), GroupError> {
    let (leave, drops, ran) = (Gate::default(), Drops::default(), AtomicUsize::new(0));
    let pulled = AtomicUsize::new(0);
    TaskGroup::builder().limit(3).scope(|g| {
        let input = || {
            (0..).inspect(|_| {
                pulled.fetch_add(1, Ordering::SeqCst);
            })
        };
        let f = |n| {
            if n > 0 {
                leave.wait();
                taskgroup::checkpoint()?;
            }
            ran.fetch_add(1, Ordering::SeqCst);
            Ok(drops.counted())
        };
        for unordered in [false, true] {
            if unordered {
                let mut results = g.map_unordered(input(), f);
                results.next().expect("it is endless")?;
            } else {
                let mut results = g.map(input(), f);
                results.next().expect("it is endless")?;
            }
            assert_eq!(pulled.swap(0, Ordering::SeqCst), 3);
            if !unordered {
                leave.open();
            }
        }
        Ok(())
    })?;
    assert_eq!((ran.into_inner(), drops.count()), (6, 6));
    Ok(())
}

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

#[test]
fn the_length_is_exact_where_the_inputs_is() -> Result<(), GroupError> {
    TaskGroup::builder().limit(2).scope(|g| {
        let mut ordered = g.map(vec![1, 2, 3], Ok);
        let mut unordered = g.map_unordered(vec![1, 2, 3], Ok);
        for left in [3, 2, 1] {
            assert_eq!((ordered.len(), unordered.len()), (left, left));
            ordered.next().expect("results are left")?;
            unordered.next().expect("results are left")?;
        }
        assert_eq!((ordered.len(), unordered.len()), (0, 0));
        let open = g.map((0..10).filter(|n| n % 2 == 0), Ok);
        assert_eq!(open.size_hint(), (0, Some(10)));
        assert!(format!("{open:?}").contains("window: 2"), "{open:?}");
        Ok(())
    })
}

#[test]
fn a_task_of_a_limited_group_may_map_in_its_own_group() -> Result<(), GroupError> {
    for limit in [1, 2] {
        TaskGroup::builder().limit(limit).scope(|g| {
            let outer = g.task().dedicated().spawn(|| {
                let ordered: Vec<_> = g.map(0..5, Ok).collect::<Result<_, _>>()?;
                assert_eq!(ordered, [0, 1, 2, 3, 4]);
                let mut unordered: Vec<_> = g.map_unordered(0..5, Ok).collect::<Result<_, _>>()?;
                unordered.sort_unstable();
                assert_eq!(unordered, [0, 1, 2, 3, 4]);
                Ok(())
            });
            outer.wait()?;
            Ok(outer.join()?)
        })?;
    }
    Ok(())
}

#[test]
fn maps_may_be_chained_and_borrow() -> Result<(), GroupError> {
    let words = vec!["1".to_owned(), "2".to_owned(), "3".to_owned()];
    let sum = TaskGroup::builder().limit(2).scope(|g| {
        let numbers = g.map(&words, |word| Ok(word.parse::<u32>()?));
        let doubled = g.map(numbers, |n| Ok(n? * 2));
        let mut sum = 0;
        for n in doubled {
            sum += n?;
        }
        Ok(sum)
    })?;
    assert_eq!(sum, 12);
    Ok(())
}
