//! Echoes of failures in other groups: the tasks, or bodies, of the common group are root and echo.

use std::sync::Arc;

use crate::echoing::{
    MODES, Root, assert_echo, assert_echo_of_the_body, assert_no_echo, disk_full, group, names,
    primary, spawn_echo,
};
use crate::support::{Gate, blocked};
use taskgroup::{OnFailure, TaskGroup, channel};

/// Opens `depth` groups, each in a task of the one around it, and runs `f` in a task of the
/// innermost.
fn deep(
    depth: usize,
    f: Box<dyn FnOnce() -> anyhow::Result<()> + Send + '_>,
) -> anyhow::Result<()> {
    if depth == 0 {
        return f();
    }
    TaskGroup::scope(|g| {
        g.task().name("inner").spawn(move || deep(depth - 1, f));
        Ok(())
    })?;
    Ok(())
}

#[test]
fn the_ancestors_in_the_common_group_are_root_and_echo() {
    for mode in MODES {
        for (above_root, above_echo) in [(1, 0), (2, 0), (0, 1), (0, 2), (1, 1), (2, 3), (3, 2)] {
            let (ended, (sender, receiver)) = (Gate::default(), channel::bounded(0));
            let error = group(mode)
                .scope(|g| {
                    let send = move || Ok(sender.send(1)?);
                    spawn_echo(g, &ended, move || deep(above_echo, Box::new(send)));
                    let ended = &ended;
                    let bail = move || Root(ended).bails(receiver);
                    g.task()
                        .name("root")
                        .spawn(move || deep(above_root, Box::new(bail)));
                    Ok(())
                })
                .unwrap_err();
            assert_echo(&error);
        }
    }
}

#[test]
fn a_task_that_another_took_along_stands_for_the_task_around_both() {
    // The task that drops the end has not failed: it was cancelled, with its group, by the failure
    // of another.
    for given in [false, true] {
        let (ended, (sender, receiver)) = (Gate::default(), channel::bounded::<u32>(0));
        let error = TaskGroup::scope(|g| {
            spawn_echo(g, &ended, move || Ok(receiver.recv().map(drop)?));
            g.task().name("root").spawn(|| {
                let begun = Gate::default();
                let failed = TaskGroup::scope(|inner| {
                    let stage = inner.task().name("stage");
                    let begun = &begun;
                    let wait = || {
                        begun.open();
                        Err::<(), _>(blocked().into())
                    };
                    if given {
                        stage.with(sender).spawn(move |_| wait());
                    } else {
                        stage.spawn(move || {
                            let _sender = sender;
                            wait()
                        });
                    }
                    begun.wait();
                    inner
                        .task()
                        .name("fails")
                        .spawn(|| Err::<(), _>(disk_full()));
                    Ok(())
                });
                ended.wait();
                assert_eq!(names(failed.as_ref().unwrap_err()), [("fails", None)]);
                Ok(failed?)
            });
            Ok(())
        })
        .unwrap_err();
        assert_echo(&error);
    }
}

#[test]
fn a_task_that_never_ran_stands_for_the_task_around_its_group() {
    let (ended, (sender, receiver)) = (Gate::default(), channel::bounded::<u32>(0));
    let error = TaskGroup::scope(|g| {
        spawn_echo(g, &ended, move || Ok(receiver.recv().map(drop)?));
        g.task().name("root").spawn(|| {
            let failed = TaskGroup::scope(|inner| {
                inner
                    .task()
                    .name("fails")
                    .spawn(|| Err::<(), _>(disk_full()))
                    .wait()?;
                inner.task().name("late").spawn(move || Ok(sender.send(1)?));
                Ok(())
            });
            ended.wait();
            Ok(failed?)
        });
        Ok(())
    })
    .unwrap_err();
    assert_echo(&error);
}

#[test]
fn a_body_stands_for_the_groups_that_are_opened_in_it() {
    for mode in MODES {
        for depth in [1, 2] {
            let (ended, (sender, receiver)) = (Gate::default(), channel::bounded(0));
            let error = group(mode)
                .scope(|g| {
                    spawn_echo(g, &ended, move || Ok(sender.send(1)?));
                    deep(depth, Box::new(|| Root(&ended).bails(receiver)))
                })
                .unwrap_err();
            assert_echo_of_the_body(&error);
        }
    }
}

#[test]
fn a_group_that_a_body_opens_fails_with_an_echo_of_a_task_outside() {
    let (sender, receiver) = channel::bounded(0);
    let error = group(OnFailure::Collect)
        .scope(|g| {
            let root = g.task().name("root").spawn(move || {
                drop(receiver);
                Err::<(), _>(disk_full())
            });
            root.wait()?;
            deep(2, Box::new(move || Ok(sender.send(1)?)))
        })
        .unwrap_err();
    assert_eq!(names(&error), [("root", None), ("the body", Some("root"))]);
}

#[test]
fn what_one_task_did_to_itself_is_no_echo() {
    // Both ends belong to groups inside of the one task.
    let (sender, receiver) = channel::bounded(0);
    let error = TaskGroup::scope(|g| {
        g.task().name("echo").spawn(move || {
            let drops = move || {
                drop(receiver);
                Ok(())
            };
            deep(1, Box::new(drops))?;
            deep(1, Box::new(move || Ok(sender.send(1)?)))
        });
        Ok(())
    })
    .unwrap_err();
    assert_no_echo(&error);
}

#[test]
fn a_report_passes_on_what_its_primary_failure_says() {
    // Inside, `second` is an echo of `first`, which is one of `root` outside.
    let (ended, first_ended, second_ended) = (Gate::default(), Gate::default(), Gate::default());
    let (sender, receiver) = channel::bounded::<u32>(0);
    let (inner_sender, inner_receiver) = channel::bounded::<u32>(0);
    let error = TaskGroup::scope(|g| {
        let echo = g.task().name("echo").spawn(|| {
            let failed = TaskGroup::scope(|inner| {
                let second = inner
                    .task()
                    .name("second")
                    .spawn(move || Ok(inner_receiver.recv().map(drop)?));
                second.on_finished(|_| second_ended.open());
                inner
                    .task()
                    .name("first")
                    .spawn(|| {
                        let failed = sender.send(1);
                        drop(inner_sender);
                        second_ended.wait();
                        Ok(failed?)
                    })
                    .on_finished(|_| first_ended.open());
                Ok(())
            });
            assert_eq!(
                names(failed.as_ref().unwrap_err()),
                [("second", Some("first")), ("first", None)]
            );
            assert_eq!(primary(failed.as_ref().unwrap_err()), "first");
            Ok(failed?)
        });
        echo.on_finished(|_| ended.open());
        g.task().name("root").spawn(|| Root(&ended).bails(receiver));
        Ok(())
    })
    .unwrap_err();
    assert_echo(&error);
}

#[test]
fn a_body_that_fails_has_echoes() {
    for mode in MODES {
        let (ended, (sender, receiver)) = (Gate::default(), channel::bounded(0));
        let error = group(mode)
            .scope(|g| {
                spawn_echo(g, &ended, move || Ok(sender.send(1)?));
                Root(&ended).bails(receiver)
            })
            .unwrap_err();
        assert_echo_of_the_body(&error);
        assert!(error.failures()[0].echo_of().is_none());
    }
}

#[test]
fn a_body_inside_of_a_task_is_not_that_task() {
    let (ended, (sender, receiver)) = (Gate::default(), channel::bounded(0));
    let outer = TaskGroup::scope(|g| {
        g.task().name("outer").spawn(|| {
            let error = TaskGroup::scope(|g| {
                spawn_echo(g, &ended, move || Ok(sender.send(1)?));
                Root(&ended).bails(receiver)
            })
            .unwrap_err();
            assert_echo_of_the_body(&error);
            Ok(())
        });
        Ok(())
    });
    outer.unwrap();
}

#[test]
fn a_body_can_be_an_echo() {
    let (cancelled, (sender, receiver)) = (Arc::new(Gate::default()), channel::bounded(0));
    // Kept until the scope has returned: the failure of the body is recorded after the body has.
    let mut told = None;
    let error = TaskGroup::scope(|g| {
        let gate = cancelled.clone();
        told = Some(g.token().on_cancel(move || gate.open()));
        g.task()
            .name("root")
            .spawn(|| Root(&cancelled).bails(receiver));
        Ok(sender.send(1)?)
    })
    .unwrap_err();
    assert_eq!(names(&error), [("the body", Some("root")), ("root", None)]);
    assert_eq!((primary(&error), error.panics().count()), ("root", 0));
}
