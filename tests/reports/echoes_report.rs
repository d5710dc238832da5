//! Which failures of a report are roots and which are echoes, and how it draws them.

use crate::echoing::{
    MODES, Root, assert_echo_of_the_body, assert_no_echo, group, names, primary, spawn_echo,
};
use crate::support::{Gate, blocked};
use taskgroup::{Failure, GroupError, OnFailure, TaskGroup, channel};

#[test]
fn in_a_cycle_the_first_that_was_recorded_is_the_root() {
    for mode in MODES {
        let ended = Gate::default();
        let (sender, receiver) = channel::bounded::<u32>(0);
        let (back_sender, back) = channel::bounded::<u32>(0);
        let (first_failed, second_failed) = (Gate::default(), Gate::default());
        let error = group(mode)
            .scope(|g| {
                g.task()
                    .name("first")
                    .spawn(|| {
                        drop(receiver);
                        let failed = back.recv();
                        first_failed.open();
                        second_failed.wait();
                        Ok(failed.map(drop)?)
                    })
                    .on_finished(|_| ended.open());
                g.task().name("second").spawn(|| {
                    drop(back_sender);
                    let failed = sender.send(1);
                    second_failed.open();
                    first_failed.wait();
                    ended.wait();
                    Ok(failed?)
                });
                Ok(())
            })
            .unwrap_err();
        assert_eq!(names(&error), [("first", None), ("second", Some("first"))]);
        assert_eq!(primary(&error), "first");
    }
}

/// The report of three tasks: `c` failed because of `b`, which failed because of `a`.
fn chain(on_failure: OnFailure) -> GroupError {
    let (b_ended, c_ended) = (Gate::default(), Gate::default());
    let (to_b, b_receives) = channel::bounded::<u32>(0);
    let (to_c, c_receives) = channel::bounded::<u32>(0);
    let scope = group(on_failure).name("chain").scope(|g| {
        g.task()
            .name("c")
            .spawn(move || Ok(c_receives.recv().map(drop)?))
            .on_finished(|_| c_ended.open());
        g.task()
            .name("b")
            .spawn(|| {
                let failed = b_receives.recv();
                drop(to_c);
                c_ended.wait();
                Ok(failed.map(drop)?)
            })
            .on_finished(|_| b_ended.open());
        g.task().name("a").spawn(|| Root(&b_ended).bails(to_b));
        Ok(())
    });
    scope.unwrap_err()
}

#[test]
fn echoes_of_echoes_lead_to_the_root() {
    for mode in MODES {
        let error = chain(mode);
        assert_eq!(
            names(&error),
            [("c", Some("b")), ("b", Some("a")), ("a", None)]
        );
        assert_eq!(primary(&error), "a");
    }
}

#[test]
fn a_task_that_was_cancelled_has_no_echoes() {
    let (sender, receiver) = channel::bounded(0);
    let begun = Gate::default();
    let error = TaskGroup::scope(|g| {
        let cancelled = g.task().name("cancelled").spawn(|| {
            let _receiver = receiver;
            begun.open();
            Err::<(), _>(blocked().into())
        });
        g.task().name("echo").spawn(move || Ok(sender.send(1)?));
        begun.wait();
        cancelled.cancel();
        Ok(())
    })
    .unwrap_err();
    assert_no_echo(&error);
}

#[test]
fn a_task_that_ended_well_has_no_echoes() {
    let (sender, receiver) = channel::bounded(0);
    let error = TaskGroup::scope(|g| {
        g.task().name("echo").spawn(move || Ok(sender.send(1)?));
        g.task().name("well").spawn(move || {
            drop(receiver);
            Ok(())
        });
        Ok(())
    })
    .unwrap_err();
    assert_no_echo(&error);
}

#[test]
fn an_isolated_failure_is_not_in_the_report_and_has_no_echoes() {
    for mode in MODES {
        let (ended, (sender, receiver)) = (Gate::default(), channel::bounded(0));
        let error = group(mode)
            .scope(|g| {
                spawn_echo(g, &ended, move || Ok(sender.send(1)?));
                let isolated = g
                    .task()
                    .name("isolated")
                    .spawn_isolated(|| Root(&ended).bails(receiver));
                let failure = taskgroup::shield(|| isolated.join())?.unwrap_err();
                assert!(!failure.is_echo());
                Ok(())
            })
            .unwrap_err();
        assert_no_echo(&error);
    }
}

#[test]
fn an_isolated_failure_that_the_body_passes_on_is_the_root() {
    for mode in MODES {
        let (ended, (sender, receiver)) = (Gate::default(), channel::bounded(0));
        let error = group(mode)
            .scope(|g| {
                spawn_echo(g, &ended, move || Ok(sender.send(1)?));
                let isolated = g
                    .task()
                    .name("isolated")
                    .spawn_isolated(|| Root(&ended).bails(receiver));
                Ok(taskgroup::shield(|| isolated.join())??)
            })
            .unwrap_err();
        assert_echo_of_the_body(&error);
    }
}

#[test]
fn a_task_that_failed_before_it_was_ready_is_the_root() {
    for mode in MODES {
        let (ended, (sender, receiver)) = (Gate::default(), channel::bounded(0));
        let error = group(mode)
            .scope(|g| {
                spawn_echo(g, &ended, move || Ok(sender.send(1)?));
                let start = g
                    .task()
                    .name("server")
                    .start(|_ready: taskgroup::Ready<u8>| Root(&ended).bails(receiver));
                start.map(drop).map_err(anyhow::Error::from)
            })
            .unwrap_err();
        assert_echo_of_the_body(&error);
    }
}

#[test]
fn a_failure_beside_root_and_echo_is_neither() {
    for mode in MODES {
        let (ended, other_ended) = (Gate::default(), Gate::default());
        let other_runs = Gate::default();
        let (sender, receiver) = channel::bounded(0);
        let error = group(mode)
            .scope(|g| {
                spawn_echo(g, &ended, move || Ok(sender.send(1)?));
                g.task()
                    .name("other")
                    .spawn(|| {
                        other_runs.open();
                        ended.wait();
                        Err::<(), _>(anyhow::anyhow!("while cleaning up"))
                    })
                    .on_finished(|_| other_ended.open());
                g.task().name("root").spawn(|| {
                    // A task that has not begun when the echo fails never runs.
                    other_runs.wait();
                    Root(&other_ended).bails(receiver)
                });
                Ok(())
            })
            .unwrap_err();
        assert_eq!(
            names(&error),
            [("echo", Some("root")), ("other", None), ("root", None)]
        );
        // The root of what cancelled the group, or the first failure that is not an echo.
        assert_eq!(
            primary(&error),
            if mode == OnFailure::Collect {
                "other"
            } else {
                "root"
            }
        );
    }
}

#[test]
fn a_divided_report_keeps_what_its_failures_are() {
    let (echoes, rest) = chain(OnFailure::CancelSiblings).split(Failure::is_echo);
    let (echoes, rest) = (echoes.expect("two failures"), rest.expect("one failure"));
    assert_eq!(names(&echoes), [("c", Some("b")), ("b", Some("a"))]);
    assert_eq!(
        (primary(&echoes), primary(&rest)),
        ("c", "a"),
        "the first, where there are only echoes"
    );
    assert!(echoes.into_failures().iter().all(Failure::is_echo));
}

/// The drawing of the report, without places and times.
fn drawn(text: String) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let (before, rest) = line.split_once(" (tests").unwrap_or((line, ""));
        let rest = rest.split_once(')').map_or("", |(_, rest)| rest);
        let rest = rest.split_once(" after ").map_or(rest, |(_, rest)| {
            rest.find(" [").map_or("", |at| &rest[at..])
        });
        lines.push(format!(
            "{before}{}",
            rest.split(" (tests").next().unwrap_or_default()
        ));
    }
    lines.join("\n")
}

#[test]
fn echoes_are_drawn_below_their_root() {
    let error = chain(OnFailure::CancelSiblings);
    let expected = "\
group `chain`: 3 failures
└─ task `a` [after the cancel]
   disk full
   ├─ task `c` [echo of task `b`
   │  the channel is empty and has no senders
   │  caused by: the other end of the channel is gone
   └─ task `b` [after the cancel] [echo]
      the channel is empty and has no senders
      caused by: the other end of the channel is gone";
    assert_eq!(drawn(format!("{error:#}")), expected);
    assert_eq!(drawn(format!("{error:?}")), expected);

    let (echoes, _) = error.split(Failure::is_echo);
    let echoes = echoes.expect("two failures");
    let expected = "\
group `chain`: 2 failures
└─ task `b` [after the cancel] [echo of task `a`
   the channel is empty and has no senders
   caused by: the other end of the channel is gone
   └─ task `c` [echo] [cancelled the group]
      the channel is empty and has no senders
      caused by: the other end of the channel is gone";
    assert_eq!(drawn(format!("{echoes:#}")), expected);
    let failure = &echoes.failures()[1];
    assert!(
        format!("{failure:#}")
            .lines()
            .next()
            .unwrap()
            .contains("[echo of task `a` (tests"),
        "{failure:#}"
    );
}

#[test]
fn a_root_with_a_report_is_drawn_with_it_and_its_echo_below() {
    let (ended, (sender, receiver)) = (Gate::default(), channel::bounded(0));
    let error = TaskGroup::scope(|g| {
        spawn_echo(g, &ended, move || Ok(sender.send(1)?));
        g.task().name("root").spawn(|| {
            TaskGroup::builder().name("inner").scope(|inner| {
                inner
                    .task()
                    .name("writer")
                    .spawn(|| Root(&ended).bails(receiver));
                Ok(())
            })?;
            Ok(())
        });
        Ok(())
    })
    .unwrap_err();
    let expected = "\
group: 2 failures
└─ task `root` [after the cancel]
   ├─ group `inner`: 1 failure
   │  └─ task `writer` [after the cancel]
   │     disk full
   └─ task `echo` [echo] [cancelled the group]
      the channel has no receivers
      caused by: the other end of the channel is gone";
    assert_eq!(drawn(format!("{error:#}")), expected);
}
