//! `map`, `map_unordered` and the top-level `map`: windows, order, failures, ends.

mod cancelled;
mod failures;
mod whole;

use std::collections::HashSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use taskgroup::{GroupError, TaskGroup};

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
