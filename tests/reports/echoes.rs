//! A failure that another failure caused is its echo, and never the primary failure of a report.

use std::error::Error;
use std::sync::Mutex;
use std::time::Duration;

use crate::echoing::{
    MODES, Root, assert_echo, disk_full, group, names, primary, report, spawn_echo,
};
use crate::support::{Gate, LONG, blocked};
use taskgroup::channel::{self, select};
use taskgroup::sync::Barrier;
use taskgroup::{CancelCause, CancelToken, OnFailure, TaskGroup};

#[test]
fn a_send_fails_as_an_echo_of_the_task_that_dropped_the_receiver() {
    for mode in MODES {
        let (sender, receiver) = channel::bounded(0);
        let error = report(mode, receiver, move || Ok(sender.send(1)?), disk_full);
        assert_echo(&error);
        let [echo, root] = error.failures() else {
            panic!("{error}")
        };
        assert!(!echo.after_cancel());
        assert_eq!(root.after_cancel(), mode == OnFailure::CancelSiblings);
        assert!(error.to_string().contains("first: task `root`"), "{error}");
    }
}

#[test]
fn a_receive_fails_as_an_echo_of_the_task_that_dropped_the_sender() {
    for mode in MODES {
        let (sender, receiver) = channel::bounded::<u32>(0);
        assert_echo(&report(
            mode,
            sender,
            move || Ok(receiver.recv().map(drop)?),
            disk_full,
        ));
    }
}

#[test]
fn every_call_of_a_channel_says_which_task_closed_it() {
    fn until_closed<T, E: Error + Send + Sync + 'static>(
        call: impl Fn() -> Result<T, E>,
        is_open: impl Fn(&E) -> bool,
    ) -> anyhow::Result<()> {
        loop {
            match call() {
                Err(error) if !is_open(&error) => return Err(error.into()),
                _ => std::thread::yield_now(),
            }
        }
    }

    for mode in MODES {
        let (sender, receiver) = channel::bounded::<u32>(0);
        let send = move || {
            until_closed(
                || sender.try_send(1),
                |error| matches!(error, channel::TrySendError::Full(_)),
            )
        };
        assert_echo(&report(mode, receiver, send, disk_full));

        let (sender, receiver) = channel::bounded::<u32>(0);
        let recv = move || {
            until_closed(
                || receiver.try_recv(),
                |error| matches!(error, channel::TryRecvError::Empty),
            )
        };
        assert_echo(&report(mode, sender, recv, disk_full));

        let (sender, receiver) = channel::bounded::<u32>(0);
        assert_echo(&report(
            mode,
            receiver,
            move || Ok(sender.send_timeout(1, LONG)?),
            disk_full,
        ));
        let (sender, receiver) = channel::bounded::<u32>(0);
        assert_echo(&report(
            mode,
            sender,
            move || Ok(receiver.recv_timeout(LONG).map(drop)?),
            disk_full,
        ));

        let (sender, receiver) = channel::bounded::<u32>(0);
        let select = move || select! { recv(receiver) -> message => Ok(message.map(drop)?) }?;
        assert_echo(&report(mode, sender, select, disk_full));
        let (sender, receiver) = channel::bounded::<u32>(0);
        let select = move || select! { send(sender, &mut Some(1)) -> sent => Ok(sent?) }?;
        assert_echo(&report(mode, receiver, select, disk_full));
    }
}

#[test]
fn an_end_that_a_task_was_given_names_it_too() {
    // A stage in another group is not cancelled, and so finds the end.
    let (sender, receiver) = channel::bounded::<u32>(0);
    let error = group(OnFailure::Collect)
        .scope(|g| {
            g.task()
                .name("root")
                .with(sender)
                .spawn(|_| Err::<(), _>(disk_full()));
            g.task().name("echo").with(receiver).spawn(|receiver| {
                for message in receiver {
                    message?;
                }
                Ok(())
            });
            Ok(())
        })
        .unwrap_err();
    assert_eq!(names(&error), [("root", None), ("echo", Some("root"))]);
    assert_eq!(primary(&error), "root");
}

#[test]
fn a_waiter_at_a_barrier_that_a_failure_broke_is_an_echo() {
    for mode in MODES {
        let (ended, barrier) = (Gate::default(), Barrier::new(3));
        let error = group(mode)
            .scope(|g| {
                spawn_echo(g, &ended, || Ok(barrier.wait().map(drop)?));
                g.task().name("root").spawn(|| {
                    while !barrier.is_broken() {
                        let waited = taskgroup::timeout(Duration::from_millis(1), || {
                            anyhow::Ok(barrier.wait()?)
                        })?;
                        assert_eq!(waited, None);
                    }
                    Root(&ended).bails(())
                });
                Ok(())
            })
            .unwrap_err();
        assert_echo(&error);
    }
}

#[test]
fn a_waiter_at_a_barrier_that_a_failed_task_reset_is_an_echo() {
    let (ended, barrier) = (Gate::default(), Barrier::new(2));
    let error = TaskGroup::scope(|g| {
        spawn_echo(g, &ended, || Ok(barrier.wait().map(drop)?));
        crate::support::until_waiting(&barrier, 1);
        g.task().name("root").spawn(|| {
            barrier.reset();
            Root(&ended).bails(())
        });
        Ok(())
    })
    .unwrap_err();
    assert_echo(&error);
    assert!(format!("{error:#}").contains(") reset it"), "{error:#}");
}

#[test]
fn a_cancel_of_another_group_that_failed_is_an_echo() {
    let (ended, token) = (Gate::default(), Mutex::new(None));
    let opened = Gate::default();
    let error = TaskGroup::scope(|g| {
        spawn_echo(g, &ended, || {
            opened.wait();
            let token: CancelToken = token.lock().unwrap().take().expect("the group is open");
            token.wait()?;
            Ok(token.check()?)
        });
        g.task().name("root").spawn(|| {
            let failed = TaskGroup::scope(|inner| {
                *token.lock().unwrap() = Some(inner.token().clone());
                opened.open();
                inner.spawn(|| Err::<(), _>(disk_full()));
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
fn a_root_that_panicked_has_echoes() {
    for mode in MODES {
        let (sender, receiver) = channel::bounded(0);
        let error = report(
            mode,
            receiver,
            move || Ok(sender.send(1)?),
            || -> anyhow::Error { panic!("index 3 of 2") },
        );
        assert_echo(&error);
        assert_eq!(error.panics().count(), 1);
    }
}

#[test]
fn the_end_that_abandoned_code_drops_is_that_of_its_task() {
    let (ended, (sender, receiver)) = (Gate::default(), channel::bounded(0));
    let error = TaskGroup::scope(|g| {
        spawn_echo(g, &ended, move || Ok(sender.send(1)?));
        g.task().name("root").spawn(|| {
            // The cancel that the echo leads to would end the call early.
            taskgroup::shield(|| taskgroup::abandon(move || drop(receiver)))?;
            Root(&ended).bails(())
        });
        Ok(())
    })
    .unwrap_err();
    assert_echo(&error);
}

#[test]
fn the_cause_of_the_cancel_names_the_first_recorded_failure() {
    let (ended, (sender, receiver)) = (Gate::default(), channel::bounded(0));
    let (seen, blocks) = (Mutex::new(None), Gate::default());
    let error = TaskGroup::scope(|g| {
        g.task().name("bystander").spawn(|| {
            blocks.open();
            let cancelled = blocked();
            *seen.lock().unwrap() = Some(cancelled.clone());
            Err::<(), _>(cancelled.into())
        });
        blocks.wait();
        spawn_echo(g, &ended, move || Ok(sender.send(1)?));
        g.task().name("root").spawn(|| Root(&ended).bails(receiver));
        Ok(())
    })
    .unwrap_err();
    assert_echo(&error);
    let seen = seen
        .into_inner()
        .unwrap()
        .expect("the bystander was cancelled");
    assert!(
        matches!(
            seen.cause(),
            CancelCause::TaskFailed { task, .. } if task.name.as_deref() == Some("echo")
        ),
        "{seen}"
    );
}
