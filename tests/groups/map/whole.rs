//! A whole map in one call: its order, its limit, and what ends it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};

use taskgroup::{CancelToken, GroupError, TaskGroup};

use crate::support::{Drops, blocked, panic_of};

#[test]
fn the_whole_map_keeps_the_order_and_the_limit() -> anyhow::Result<()> {
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let words: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    let numbers = taskgroup::map(&words, 3, |word| {
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::yield_now();
        let number: usize = word.parse()?;
        now.fetch_sub(1, Ordering::SeqCst);
        anyhow::Ok(number)
    })?;
    assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    assert!(most.into_inner() <= 3);
    assert!(taskgroup::map(Vec::<u8>::new(), 1, anyhow::Ok)?.is_empty());
    Ok(())
}

#[test]
fn the_whole_map_stops_at_the_first_failure_and_reports_it() {
    let pulled = AtomicUsize::new(0);
    let input = (0..1_000_000).inspect(|_| {
        pulled.fetch_add(1, Ordering::SeqCst);
    });
    let error = taskgroup::map(input, 2, |n| {
        anyhow::ensure!(n != 3, "item {n}");
        if n > 3 {
            return Err(blocked().into());
        }
        Ok(n)
    })
    .unwrap_err();
    assert_eq!(error.failures().len(), 1);
    assert_eq!(
        error.errors().next().map(ToString::to_string).as_deref(),
        Some("item 3")
    );
    assert!(pulled.into_inner() < 1_000);
}

#[test]
fn an_item_of_the_whole_map_never_waits_behind_one_that_blocks() -> anyhow::Result<()> {
    // Thousands of items that cost nothing, so that batches are large, and then pairs of items that
    // wait for each other, in code that this crate does not see. The limit has room for the first
    // of each pair and one more.
    const TINY: usize = 20_000;
    const PAIRS: usize = 50;
    let barriers: Vec<_> = (0..PAIRS).map(|_| Barrier::new(2)).collect();
    let leaders = taskgroup::map(0..TINY + 2 * PAIRS, PAIRS + 1, |n| {
        let leader = n >= TINY && barriers[(n - TINY) / 2].wait().is_leader();
        anyhow::Ok(usize::from(leader))
    })?;
    assert_eq!(leaders.len(), TINY + 2 * PAIRS);
    assert!(
        leaders[TINY..]
            .chunks(2)
            .all(|pair| pair.iter().sum::<usize>() == 1)
    );
    Ok(())
}

#[test]
fn as_many_items_of_the_whole_map_block_at_once_as_the_limit_says() -> anyhow::Result<()> {
    const LIMIT: usize = 100;
    let barrier = Barrier::new(LIMIT);
    let leaders = taskgroup::map(0..3 * LIMIT, LIMIT, |_| {
        anyhow::Ok(usize::from(barrier.wait().is_leader()))
    })?;
    assert_eq!(leaders.iter().sum::<usize>(), 3);
    Ok(())
}

#[test]
fn the_whole_map_keeps_the_order_whichever_worker_takes_an_item() -> anyhow::Result<()> {
    let results = taskgroup::map(0_u64..100_000, 3, |n| {
        // Now and then an item takes as long as thousands of others.
        let rounds = if n % 9_973 == 0 { 100_000 } else { n % 7 };
        Ok::<_, anyhow::Error>((0..rounds).fold(n, |sum, _| std::hint::black_box(sum)))
    })?;
    assert!(results.into_iter().eq(0..100_000));
    Ok(())
}

#[test]
fn the_whole_map_drops_every_item_and_result_also_when_it_fails() {
    const ITEMS: usize = 30_000;
    for fails_at in [0, 1, 40, 29_999, ITEMS] {
        let (items, results) = (Drops::default(), Drops::default());
        let (pulled, made) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let input = (0..ITEMS).map(|n| {
            pulled.fetch_add(1, Ordering::SeqCst);
            (n, items.counted())
        });
        let outcome = taskgroup::map(input, 2, |(n, _item)| {
            anyhow::ensure!(n != fails_at, "item {n}");
            made.fetch_add(1, Ordering::SeqCst);
            Ok(results.counted())
        });
        assert_eq!(outcome.is_ok(), fails_at == ITEMS);
        drop(outcome);
        assert_eq!(items.count(), pulled.into_inner());
        assert_eq!(results.count(), made.into_inner());
    }
}

#[test]
fn whole_maps_may_be_nested() -> anyhow::Result<()> {
    let sums = taskgroup::map(1..=20_u32, 3, |n| {
        let inner = taskgroup::map(1..=n, 2, anyhow::Ok)?;
        anyhow::Ok(inner.into_iter().sum::<u32>())
    })?;
    assert_eq!(sums.last(), Some(&210));
    Ok(())
}

#[test]
fn the_whole_map_needs_a_limit_of_at_least_one() {
    let message = panic_of(|| taskgroup::map([1], 0, anyhow::Ok));
    assert!(
        message.contains("limit") && message.contains('0'),
        "{message}"
    );
}

#[test]
fn a_panic_of_the_input_of_the_whole_map_resumes_after_the_calls_have_ended() {
    let ended = Mutex::new(Vec::new());
    let panic = catch_unwind(AssertUnwindSafe(|| {
        taskgroup::map((0..).inspect(|n| assert!(*n != 2, "no item 2")), 3, |n| {
            ended.lock().unwrap().push(n);
            anyhow::Ok(n)
        })
    }))
    .unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"no item 2"));
    assert!(ended.into_inner().unwrap().iter().all(|n| *n < 2));
}

#[test]
fn a_cancel_from_outside_stops_the_whole_map() {
    let token = CancelToken::new();
    let error = token.run(|| {
        taskgroup::map(0.., 2, |n| {
            if n == 5 {
                token.cancel();
            }
            anyhow::Ok(n)
        })
        .unwrap_err()
    });
    assert!(error.failures().is_empty());
    assert_eq!(
        error.cancelled().map(|cancelled| cancelled.origin()),
        Some(token.id())
    );
}

#[test]
fn an_input_that_says_it_is_huge_takes_no_memory() {
    let error = taskgroup::map(0..1_u64 << 45, 4, |n| {
        if n == 1_000 {
            Err(anyhow::anyhow!("stop"))
        } else {
            Ok(n)
        }
    })
    .expect_err("one item fails");
    assert_eq!(
        error.errors().map(ToString::to_string).collect::<Vec<_>>(),
        ["stop"]
    );
}

#[test]
fn a_late_cancel_takes_no_values_from_a_whole_map() -> Result<(), GroupError> {
    for round in 0..2000 {
        TaskGroup::scope(|g| {
            let last = 1 + round % 3;
            let returned = AtomicUsize::new(0);
            let values = taskgroup::map(0..=last, 2, |n| {
                if n == last {
                    g.cancel();
                }
                returned.fetch_add(1, Ordering::Relaxed);
                anyhow::Ok(n)
            });
            if returned.into_inner() > last {
                let values = values.expect("all calls have returned values");
                assert!(values.into_iter().eq(0..=last));
            }
            Ok(())
        })?;
    }
    Ok(())
}
