//! Cancels and guards that wait for a callback or a hook.

use std::sync::OnceLock;
use std::thread;

use taskgroup::{CancelToken, RegionKind, TaskGroup, TaskSnapshot};

use crate::snapshots::{task_at, until};
use crate::support::{Gate, watch};

#[test]
fn a_cancel_that_runs_a_hook_says_so() {
    let _watch = watch();
    let (in_hook, leave, cut) = (&Gate::default(), &Gate::default(), &Gate::default());
    let token = CancelToken::new();
    TaskGroup::scope(|g| {
        let inside = token.clone();
        g.spawn(move || {
            inside.run(|| {
                let hook = || {
                    in_hook.open();
                    leave.wait();
                };
                taskgroup::with_cancel_hook(hook, || cut.wait());
            });
            Ok(())
        });
        until(|seen| {
            let mut inside = seen.tasks().flat_map(TaskSnapshot::inside);
            inside
                .find(|inside| inside.region == RegionKind::CancelHook)
                .map(drop)
        });
        let first = g.spawn(|| {
            token.cancel();
            Ok(())
        });
        in_hook.wait();
        let seen = until(|seen| {
            let task = seen.tasks().find(|task| task.id() == first.id())?;
            let mut inside = task.inside().iter();
            let is_in_it = inside.any(|it| it.region == RegionKind::Callback);
            is_in_it.then(|| task.clone())
        });
        assert_eq!(seen.inside().len(), 1, "{seen}");
        leave.open();
        cut.open();
        Ok(())
    })
    .expect("no task fails");
}

#[test]
fn the_drop_of_a_guard_names_the_thread_that_runs_the_callback() {
    let _watch = watch();
    let (running, leave) = (Gate::default(), std::sync::Arc::new(Gate::default()));
    let running = std::sync::Arc::new(running);
    let token = CancelToken::new();
    let (theirs, begun) = (leave.clone(), running.clone());
    let registered_at = line!() + 1;
    let guard = token.on_cancel(move || {
        begun.open();
        theirs.wait();
    });
    TaskGroup::scope(|g| {
        let cancels = g.spawn(|| {
            token.cancel();
            Ok(())
        });
        running.wait();
        let drops = g.spawn(move || {
            drop(guard);
            Ok(())
        });
        let seen = task_at("the drop of the CallbackGuard of on_cancel", drops.id());
        let holders = seen.waits().map(|wait| wait.holders().to_vec());
        assert_eq!(holders, Some(vec![cancels.id()]), "{seen}");

        // A drop does not know its own place.
        let location = seen.waits().and_then(taskgroup::Wait::location);
        let location = location.map(|location| (location.file(), location.line()));
        assert_eq!(location, Some((file!(), registered_at)), "{seen}");
        let held = seen.waits().map(|wait| wait.held_by()[0].location);
        let held = held.flatten().map(|location| location.line());
        assert_eq!(held, Some(registered_at), "{seen}");
        leave.open();
        Ok(())
    })
    .expect("no task fails");
}

#[test]
fn a_cancel_that_waits_for_a_hook_on_another_thread_says_so() {
    let _watch = watch();
    let (elsewhere, leave, cut) = (&Gate::default(), &Gate::default(), &Gate::default());
    let (token, canceller) = (&CancelToken::new(), &OnceLock::new());
    TaskGroup::scope(|g| {
        let hooked = [(); 2].map(|()| {
            let task = g.spawn(move || {
                token.run(|| {
                    let hook = || {
                        // The cancelling thread runs one of the two, until the other runs too.
                        if canceller.get() == Some(&thread::current().id()) {
                            elsewhere.wait();
                        } else {
                            elsewhere.open();
                            leave.wait();
                        }
                    };
                    taskgroup::with_cancel_hook(hook, || cut.wait());
                });
                Ok(())
            });
            task.id()
        });
        until(|seen| {
            let tasks = seen.tasks().filter(|task| hooked.contains(&task.id()));
            let inside = tasks.flat_map(TaskSnapshot::inside);
            let hooks = inside.filter(|inside| inside.region == RegionKind::CancelHook);
            (hooks.count() == hooked.len()).then_some(())
        });

        let cancels = g.spawn(|| {
            canceller.get_or_init(|| thread::current().id());
            token.cancel();
            Ok(())
        });
        until(|seen| {
            let task = seen.tasks().find(|task| task.id() == cancels.id())?;
            (task.waits()?.what() == "hooks of a cancel").then_some(())
        });
        leave.open();
        cut.open();
        Ok(())
    })
    .expect("no task fails");
}
