//! Wait groups: growth, several waits, cancellation, use again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{LONG, until_waiting, watch};
use taskgroup::sync::WaitGroup;
use taskgroup::{CancelToken, TaskGroup};

#[test]
fn waits_for_work_that_grows() -> anyhow::Result<()> {
    fn tree<'scope, 'env>(
        g: &'scope TaskGroup<'scope, 'env>,
        piece: WaitGroup,
        depth: u32,
        ended: &'scope AtomicUsize,
    ) {
        g.spawn(move || {
            for _ in 0..if depth == 0 { 0 } else { 3 } {
                tree(g, piece.clone(), depth - 1, ended);
            }
            ended.fetch_add(1, Ordering::Relaxed);
            drop(piece);
            Ok(())
        });
    }
    let _watch = watch();
    let ended = AtomicUsize::new(0);
    TaskGroup::scope(|g| {
        let pending = WaitGroup::new();
        for round in 1..=2 {
            tree(g, pending.clone(), 4, &ended);
            pending.wait()?;
            assert_eq!(ended.load(Ordering::Relaxed), round * (1 + 3 + 9 + 27 + 81));
            assert_eq!(pending.count(), 1, "it can be used again");
        }
        Ok(())
    })?;
    Ok(())
}

#[test]
fn the_only_reference_does_not_wait() -> anyhow::Result<()> {
    let group = WaitGroup::default();
    group.wait()?;
    assert!(group.wait_timeout(Duration::ZERO)?);
    drop(group.clone());
    group.wait()?;
    assert_eq!(format!("{group:?}"), "WaitGroup { count: 1, waiting: 0 }");
    Ok(())
}

#[test]
fn waiting_references_do_not_count() -> anyhow::Result<()> {
    let _watch = watch();
    let group = WaitGroup::new();
    TaskGroup::scope(|g| {
        let waiting = [1, 2].map(|waiting| {
            let other = group.clone();
            let task = g.spawn(move || {
                other.wait()?;
                Ok(other)
            });
            until_waiting(&group, waiting);
            task
        });
        assert_eq!(group.count(), 1);
        // The last one to wait lets all go.
        group.wait()?;
        let [first, second] = waiting.map(|task| task.join());
        let (first, _second) = (first?, second?);
        assert_eq!(group.count(), 3);
        drop(first);
        assert_eq!(group.count(), 2);
        Ok(())
    })?;
    Ok(())
}

#[test]
fn a_wait_that_is_cut_short_has_no_effect() -> anyhow::Result<()> {
    let _watch = watch();
    let group = WaitGroup::new();
    assert!(!{
        let _other = group.clone();
        group.wait_timeout(Duration::from_millis(1))?
    });
    assert_eq!(group.count(), 1);

    TaskGroup::scope(|g| {
        let piece = group.clone();
        let waiting = g.spawn(|| Ok(group.wait()?));
        until_waiting(&group, 1);
        waiting.cancel();
        assert!(waiting.join().is_err());
        assert_eq!(group.count(), 2);
        // The wait is repeated, and ends.
        let waiting = g.spawn(|| Ok(group.wait()?));
        until_waiting(&group, 1);
        drop(piece);
        waiting.join()?;
        Ok(())
    })?;

    let token = CancelToken::new();
    token.cancel();
    assert_eq!(token.run(|| group.wait()).unwrap_err().origin(), token.id());
    assert!(token.run(|| group.wait_timeout(LONG)).is_err());
    assert_eq!(group.count(), 1);
    token.run(|| taskgroup::shield(|| group.wait()))?;
    Ok(())
}

#[test]
fn a_reference_that_is_made_of_a_waiting_one_counts() -> anyhow::Result<()> {
    let _watch = watch();
    let group = WaitGroup::new();
    TaskGroup::scope(|g| {
        let piece = group.clone();
        let waiting = g.spawn(|| Ok(group.wait()?));
        until_waiting(&group, 1);
        let late = group.clone();
        drop(piece);
        assert!(!waiting.is_finished());
        assert_eq!(group.count(), 1);
        drop(late);
        waiting.join()?;
        Ok(())
    })?;
    Ok(())
}

/// The last reference is dropped by a task that has failed, or that a failure has cancelled.
#[test]
fn work_that_failed_is_not_taken_for_done() {
    let _watch = watch();
    for round in 0..500 {
        let failed = TaskGroup::scope(|g| {
            let group = WaitGroup::new();
            let fails = g.task().with(group.clone());
            fails.spawn(|_: &mut WaitGroup| -> anyhow::Result<()> { anyhow::bail!("it fails") });
            let piece = group.clone();
            g.spawn(move || {
                let slept = taskgroup::sleep(LONG);
                drop(piece);
                Ok(slept?)
            });
            assert!(group.wait().is_err(), "round {round}");
            Ok(())
        });
        assert_eq!(failed.unwrap_err().failures().len(), 1);
    }
}
