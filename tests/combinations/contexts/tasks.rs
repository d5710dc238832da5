//! Groups that cut a call of one of their tasks.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use taskgroup::{CancelCause, TaskGroup, TaskStatus, race, shield};

use super::{Call, Inside, expect, expect_only, sides};
use crate::support::Peak;

pub(super) fn a_sibling_that_fails(call: Call<'_>) {
    let (inside, outside) = sides();
    let outcome = TaskGroup::scope(|g| {
        g.spawn(move || Ok(inside.call(call)?));
        outside.until_blocked();
        let failed = g.spawn(|| Err::<(), _>(anyhow::anyhow!("the sibling")));
        let cancelled = outside.cancel();
        assert_eq!(cancelled.origin(), g.token().id());
        let CancelCause::TaskFailed { task, error, .. } = cancelled.cause() else {
            panic!("{cancelled}");
        };
        assert_eq!((task.id, error.as_str()), (failed.id(), "the sibling"));
        Ok(())
    });
    expect_only(outcome, "the sibling");
}

pub(super) fn a_sibling_that_panics(call: Call<'_>) {
    let (inside, outside) = sides();
    let outcome = TaskGroup::scope(|g| {
        g.spawn(move || Ok(inside.call(call)?));
        outside.until_blocked();
        g.spawn(|| -> anyhow::Result<()> { panic!("the sibling") });
        let cancelled = outside.cancel();
        let is_it = matches!(cancelled.cause(), CancelCause::TaskPanicked { .. });
        assert!(is_it, "{cancelled}");
        Ok(())
    });
    expect_only(outcome, "the sibling");
}

pub(super) fn a_body_that_fails(call: Call<'_>) {
    let (inside, outside) = sides();
    let outcome = TaskGroup::scope(|g| {
        g.spawn(move || Ok(inside.call(call)?));
        outside.until_blocked();
        Err::<(), _>(anyhow::anyhow!("the body"))
    });
    let cancelled = outside.cancel();
    let is_it = matches!(cancelled.cause(), CancelCause::BodyFailed { .. });
    assert!(is_it, "{cancelled}");
    expect_only(outcome, "the body");
}

pub(super) fn the_body_of_a_task_that_fails(call: Call<'_>) {
    let (inside, outside) = sides();
    let outside = Mutex::new(outside);
    let outcome = TaskGroup::scope(|g| {
        g.spawn(|| {
            outside.lock().expect("it is free").until_blocked();
            Err::<(), _>(anyhow::anyhow!("the task"))
        });
        Ok(inside.call(call)?)
    });
    let cancelled = outside.into_inner().expect("it is free").cancel();
    let is_it = matches!(cancelled.cause(), CancelCause::TaskFailed { .. });
    assert!(is_it, "{cancelled}");
    expect_only(outcome, "the task");
}

pub(super) fn a_destructor_during_unwinding(call: Call<'_>) {
    struct CleanUp<'c>(Option<(Inside, Call<'c>)>);
    impl Drop for CleanUp<'_> {
        fn drop(&mut self) {
            assert!(thread::panicking());
            let (inside, call) = self.0.take().expect("it is dropped once");
            inside.call(call).expect_err("the cancel ends it");
        }
    }

    let (inside, outside) = sides();
    let outcome = TaskGroup::scope(|g| {
        g.spawn(move || -> anyhow::Result<()> {
            let _clean_up = CleanUp(Some((inside, call)));
            panic!("the task unwinds");
        });
        outside.until_blocked();
        g.cancel_because("no more clean-up");
        expect(&outside.cancel(), g.token().id(), "no more clean-up");
        Ok(())
    });
    expect_only(outcome, "the task unwinds");
}

pub(super) fn a_task_alone_in_a_limited_group(call: Call<'_>) {
    let (inside, outside) = sides();
    let (peak, runs) = (Peak::default(), AtomicUsize::new(0));
    let outcome = TaskGroup::builder().limit(1).scope(|g| {
        let first = g.spawn(move || Ok(inside.call(call)?));
        outside.until_blocked();
        let queued: Vec<_> = (0..3)
            .map(|_| {
                g.spawn(|| {
                    peak.inside(|| runs.fetch_add(1, Ordering::SeqCst));
                    Ok(())
                })
            })
            .collect();
        assert_eq!(
            runs.load(Ordering::SeqCst),
            0,
            "the blocked task has the permit"
        );

        first.cancel();
        outside.cancel();
        assert_eq!(first.wait()?, TaskStatus::Cancelled);
        for task in queued {
            task.join()?;
        }
        // The permit of the task that was cut is free for others.
        g.spawn(|| Ok(())).join()?;
        Ok(g.stats())
    });
    outcome.expect("a task that was cancelled alone is no failure");
    assert_eq!((peak.most(), runs.into_inner()), (1, 3));
}

pub(super) fn a_limited_group_that_is_cancelled(call: Call<'_>) {
    let (inside, outside) = sides();
    let outcome = TaskGroup::builder().limit(1).scope(|g| {
        let first = g.spawn(move || Ok(inside.call(call)?));
        outside.until_blocked();
        let queued = [0, 1].map(|_| g.spawn(|| Ok(())));
        g.cancel_because("enough");
        expect(&outside.cancel(), g.token().id(), "enough");
        shield(|| {
            assert_eq!(first.wait()?, TaskStatus::Cancelled);
            for task in queued {
                assert_eq!(task.wait()?, TaskStatus::NeverRan);
            }
            Ok(())
        })
    });
    outcome.expect("the group was cancelled by its body");
}

pub(super) fn an_unordered_map(call: Call<'_>) {
    let (inside, outside) = sides();
    let outside = Mutex::new(outside);
    let outcome = TaskGroup::builder().limit(2).scope(|g| {
        let items = [Some((inside, call)), None];
        let results = g.map_unordered(items, |item| match item {
            Some((inside, call)) => Ok(inside.call(call)?),
            None => {
                outside.lock().expect("it is free").until_blocked();
                Err(anyhow::anyhow!("an item"))
            }
        });
        for result in results {
            result?;
        }
        Ok(())
    });
    outside.into_inner().expect("it is free").cancel();
    expect_only(outcome, "an item");
}

pub(super) fn a_map_that_is_dropped(call: Call<'_>) {
    let (inside, outside) = sides();
    let outside = Mutex::new(outside);
    let outcome = TaskGroup::builder().limit(2).scope(|g| {
        let items = [Some((inside, call)), None];
        let mut results = g.map_unordered(items, |item| match item {
            Some((inside, call)) => Ok(inside.call(call)?),
            None => {
                outside.lock().expect("it is free").until_blocked();
                Ok(())
            }
        });
        results.next().expect("there are two items")?;
        drop(results);
        // The call goes on: a dropped iterator cancels nothing by itself.
        g.cancel_because("enough");
        let outside = outside.lock().expect("it is free");
        expect(&outside.cancel(), g.token().id(), "enough");
        Ok(())
    });
    outcome.expect("the group was cancelled by its body");
}

pub(super) fn a_dedicated_task(call: Call<'_>) {
    let (inside, outside) = sides();
    let outcome = TaskGroup::scope(|g| {
        let task = g.task().dedicated().spawn(move || Ok(inside.call(call)?));
        outside.until_blocked();
        task.cancel();
        outside.cancel();
        assert_eq!(task.wait()?, TaskStatus::Cancelled);
        Ok(())
    });
    outcome.expect("a task that was cancelled alone is no failure");
}

pub(super) fn a_daemon(call: Call<'_>) {
    let (inside, outside) = sides();
    let outcome = TaskGroup::scope(|g| {
        g.spawn_daemon(move || Ok(inside.call(call)?));
        outside.until_blocked();
        Ok(())
    });
    outcome.expect("the daemon ends with its group");
    let cancelled = outside.cancel();
    let is_it = matches!(cancelled.cause(), CancelCause::GroupFinished);
    assert!(is_it, "{cancelled}");
}

pub(super) fn a_group_inside_a_group(call: Call<'_>) {
    let (inside, outside) = sides();
    let outcome = TaskGroup::scope(|outer| {
        outer.spawn(move || {
            TaskGroup::scope(|inner| {
                inner.spawn(move || Ok(inside.call(call)?));
                Ok(())
            })?;
            Ok(())
        });
        outside.until_blocked();
        outer.cancel_because("from above");
        expect(&outside.cancel(), outer.token().id(), "from above");
        Ok(())
    });
    outcome.expect("the group was cancelled by its body");
}

pub(super) fn a_race_that_is_lost(call: Call<'_>) {
    type Runner<'r> = Box<dyn FnOnce() -> anyhow::Result<u32> + Send + 'r>;

    let (inside, outside) = sides();
    let outside = Mutex::new(outside);
    let loser: Runner<'_> = Box::new(move || {
        inside.call(call)?;
        Ok(0)
    });
    let winner: Runner<'_> = Box::new(|| {
        outside.lock().expect("it is free").until_blocked();
        Ok(1)
    });
    assert_eq!(race([loser, winner]).expect("one has won"), 1);
    outside.into_inner().expect("it is free").cancel();
}
