//! Scopes in every state, with a task that looks.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use taskgroup::{
    Builder, GroupError, TaskGroup, abandon_named, abandoned, shield, timeout, winding_down,
};

use super::Scene;
use crate::support::{Gate, LONG, blocked, until};

/// Calls the function in a task of a scope in this state.
pub(super) type State = fn(&(dyn Fn(Scene) + Sync));

pub(super) const STATES: &[(&str, State)] = &[
    ("a scope that runs", a_scope_that_runs),
    ("a cancelled scope", a_cancelled_scope),
    ("a scope past its deadline", a_scope_past_its_deadline),
    ("a shield", a_shield),
    ("a scope that winds down", a_scope_that_winds_down),
    ("a scope with a daemon", a_scope_with_a_daemon),
    ("a thread left behind", a_thread_left_behind),
    ("a task in place", a_task_in_place),
    ("a limited scope with a queue", a_limited_scope_with_a_queue),
];

/// Runs `in_task` in a task of a group, beside another task that is blocked meanwhile, and
/// `in_body` in the body once both have begun.
fn with_another(
    builder: Builder,
    in_task: impl FnOnce(&Gate, Scene) + Send,
    in_body: impl FnOnce(&TaskGroup<'_, '_>),
) -> Result<(), GroupError> {
    let (begun, known, over) = (Gate::default(), Gate::default(), Gate::default());
    let runs = Gate::default();
    let scene = Mutex::new(None);
    builder.scope(|g| {
        let other = g.spawn(|| {
            begun.open();
            over.wait();
            Ok(())
        });
        begun.wait();
        let task = g.spawn(|| {
            runs.open();
            known.wait();
            let scene = scene.lock().unwrap().take().expect("it is known");
            let goes_on = Gate::default();
            in_task(&goes_on, scene);
            over.open();
            Ok(())
        });
        *scene.lock().unwrap() = Some(Scene {
            group: g.token().id(),
            run: vec![other.id(), task.id()],
            wait: Vec::new(),
            abandoned: 0,
        });
        // A task that has been claimed, and does not run yet, is dropped in a cancelled scope.
        runs.wait();
        known.open();
        in_body(g);
        Ok(())
    })
}

fn a_scope_that_runs(look: &(dyn Fn(Scene) + Sync)) {
    let outcome = with_another(TaskGroup::builder(), |_, scene| look(scene), |_| ());
    outcome.expect("no task fails");
}

fn a_cancelled_scope(look: &(dyn Fn(Scene) + Sync)) {
    let in_task = |_: &Gate, scene| {
        blocked();
        look(scene);
    };
    let outcome = with_another(TaskGroup::builder(), in_task, |g| g.cancel());
    outcome.expect("a scope absorbs its own cancel");
}

fn a_scope_past_its_deadline(look: &(dyn Fn(Scene) + Sync)) {
    let in_task = |_: &Gate, scene| {
        blocked();
        look(scene);
    };
    // The deadline is set once both tasks run.
    let in_body = |g: &TaskGroup<'_, '_>| g.token().cancel_after(Duration::from_millis(1));
    // Whether it was cut short depends on which of its tasks look.
    let _outcome = with_another(TaskGroup::builder(), in_task, in_body);
}

fn a_shield(look: &(dyn Fn(Scene) + Sync)) {
    let cancelled = Gate::default();
    let in_task = |_: &Gate, scene| {
        shield(|| {
            cancelled.wait();
            look(scene);
        });
    };
    let in_body = |g: &TaskGroup<'_, '_>| {
        g.cancel();
        cancelled.open();
    };
    let outcome = with_another(TaskGroup::builder(), in_task, in_body);
    outcome.expect("a scope absorbs its own cancel");
}

fn a_scope_that_winds_down(look: &(dyn Fn(Scene) + Sync)) {
    let in_task = |_: &Gate, scene| {
        blocked();
        winding_down(|| look(scene));
    };
    let in_body = |g: &TaskGroup<'_, '_>| g.cancel_gracefully(LONG);
    let outcome = with_another(TaskGroup::builder(), in_task, in_body);
    outcome.expect("a scope absorbs its own cancel");
}

fn a_scope_with_a_daemon(look: &(dyn Fn(Scene) + Sync)) {
    let begun = Gate::default();
    let outcome = TaskGroup::scope(|g| {
        let daemon = g.spawn_daemon(|| {
            begun.open();
            Err(blocked().into())
        });
        begun.wait();
        let (group, daemon) = (g.token().id(), daemon.id());
        let task = g.spawn(move || {
            look(Scene {
                group,
                run: vec![daemon],
                wait: Vec::new(),
                abandoned: 0,
            });
            Ok(())
        });
        Ok(task.wait()?)
    });
    outcome.expect("no task fails");
}

fn a_thread_left_behind(look: &(dyn Fn(Scene) + Sync)) {
    let leaves = Arc::new(Gate::default());
    let in_task = |_: &Gate, scene: Scene| {
        let stays = leaves.clone();
        let left = timeout(Duration::ZERO, || {
            Ok::<_, anyhow::Error>(abandon_named("stays", move || stays.wait())?)
        });
        // With no time at all, it may not have begun.
        let left = left.expect("the time limit ends it").is_none();
        look(Scene {
            abandoned: usize::from(left && !abandoned().is_empty()),
            ..scene
        });
    };
    let outcome = with_another(TaskGroup::builder(), in_task, |_| ());
    outcome.expect("no task fails");
    leaves.open();
    until(|| abandoned().is_empty());
}

fn a_task_in_place(look: &(dyn Fn(Scene) + Sync)) {
    let first_may_end = Gate::default();
    let outcome = TaskGroup::builder().limit(1).scope(|g| {
        g.spawn(|| {
            first_may_end.wait();
            Ok(())
        });
        let group = g.token().id();
        // It has the only permit then, so that the task that it joins runs in place.
        drop(g.spawn(move || {
            let here = thread::current().id();
            let task = g.spawn(move || {
                assert_eq!(thread::current().id(), here, "it runs in place");
                look(Scene {
                    group,
                    run: Vec::new(),
                    wait: Vec::new(),
                    abandoned: 0,
                });
                Ok(())
            });
            Ok(task.join()?)
        }));
        first_may_end.open();
        Ok::<_, anyhow::Error>(())
    });
    outcome.expect("no task fails");
}

fn a_limited_scope_with_a_queue(look: &(dyn Fn(Scene) + Sync)) {
    let (known, scene) = (Gate::default(), Mutex::new(None));
    let outcome = TaskGroup::builder().limit(1).scope(|g| {
        let task = g.spawn(|| {
            known.wait();
            look(scene.lock().unwrap().take().expect("it is known"));
            Ok(())
        });
        let wait = (0..5).map(|_| g.spawn(|| Ok(())).id()).collect();
        *scene.lock().unwrap() = Some(Scene {
            group: g.token().id(),
            run: vec![task.id()],
            wait,
            abandoned: 0,
        });
        known.open();
        Ok::<_, anyhow::Error>(())
    });
    outcome.expect("no task fails");
}
