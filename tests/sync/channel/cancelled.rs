//! Channels in cancelled scopes.

use std::sync::atomic::{AtomicUsize, Ordering};

use taskgroup::channel::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError, bounded,
    unbounded,
};
use taskgroup::{CancelToken, Cancelled, TaskError, TaskGroup};

use crate::channels::{SHORT, cross_with_cancels, until_blocked};
use crate::support::{LONG, until};

/// A stage of a pipeline, in the scope of its task or in one below.
type Stage = fn(&mut dyn FnMut() -> anyhow::Result<()>) -> anyhow::Result<()>;

const STAGES: [Stage; 3] = [
    |stage| stage(),
    |stage| taskgroup::timeout(LONG, stage).map(drop),
    |stage| Ok(TaskGroup::scope(|_| stage())?),
];

#[test]
fn a_cancelled_send_gives_the_message_back() -> anyhow::Result<()> {
    let (sender, receiver) = bounded(1);
    sender.send(String::from("first"))?;
    TaskGroup::scope(|g| {
        let blocked = g.spawn_isolated(|| match sender.send(String::from("kept")) {
            Err(SendError::Cancelled(message, cancelled)) => Ok((message, cancelled)),
            other => anyhow::bail!("{other:?}"),
        });
        until_blocked(&receiver, 1, 0);
        blocked.cancel();
        let (message, _) = blocked.join()??;
        assert_eq!(message, "kept");
        Ok(())
    })?;
    assert_eq!(receiver.recv()?, "first");
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    Ok(())
}

#[test]
fn a_cancelled_scope_fails_at_each_entry_without_effect() {
    let (sender, receiver) = bounded(2);
    sender.send(1).unwrap();
    let token = CancelToken::new();
    token.cancel();
    token.run(|| {
        for _ in 0..2 {
            assert!(matches!(
                sender.send(2),
                Err(SendError::Cancelled(2, why)) if why.origin() == token.id()
            ));
            assert!(matches!(
                sender.send_timeout(2, LONG),
                Err(SendTimeoutError::Cancelled(2, _))
            ));
            assert!(matches!(
                receiver.recv(),
                Err(RecvError::Cancelled(why)) if why.origin() == token.id()
            ));
            assert!(matches!(
                receiver.recv_timeout(LONG),
                Err(RecvTimeoutError::Cancelled(_))
            ));
        }
        assert_eq!(receiver.len(), 1);
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(sender.try_send(3), Ok(()));
    });
    assert_eq!(receiver.recv().unwrap(), 3);
}

#[test]
fn a_cancelled_loop_does_not_look_finished() -> anyhow::Result<()> {
    let (sender, receiver) = unbounded::<u8>();
    sender.send(1)?;
    let token = CancelToken::new();
    token.run(|| {
        let mut messages = receiver.iter();
        assert!(matches!(messages.next(), Some(Ok(1))));
        token.cancel();
        assert!(matches!(messages.next(), Some(Err(_))));
        assert!(
            messages.next().is_none(),
            "a loop that drops errors must not spin"
        );
        assert!(
            matches!(messages.next(), Some(Err(_))),
            "the iterator can be used again"
        );
        assert!(messages.next().is_none());
        assert!(matches!(receiver.iter().next(), Some(Err(_))));
        sender.send(2).unwrap_err();
        assert_eq!(sender.try_send(3), Ok(()));
        assert!(matches!(taskgroup::shield(|| messages.next()), Some(Ok(3))));
        assert!(matches!(messages.next(), Some(Err(_))));
    });
    let mut messages = receiver.iter();
    assert!(matches!(token.run(|| messages.next()), Some(Err(_))));
    sender.send(4)?;
    assert!(
        matches!(messages.next(), Some(Ok(4))),
        "the scope is another one"
    );
    drop(sender);
    assert!(messages.next().is_none() && messages.next().is_none());
    assert!(matches!(token.run(|| messages.next()), Some(Err(_))));
    Ok(())
}

#[test]
fn a_cancelled_pipeline_does_not_fail() -> anyhow::Result<()> {
    let _watch = crate::support::watch();
    for round in 0..100 {
        for (one, other) in [(0, 0), (1, 2), (2, 1), (0, 1)] {
            let (one, other) = (STAGES[one], STAGES[other]);
            // The receiver is dropped while a send is blocked.
            let (sender, receiver) = bounded(round % 2);
            let watched = sender.clone();
            TaskGroup::scope(|g| {
                g.spawn(move || one(&mut || Ok((0..).try_for_each(|n: u64| sender.send(n))?)));
                g.spawn(move || {
                    other(&mut || {
                        receiver.recv()?;
                        Ok(taskgroup::sleep(LONG)?)
                    })
                });
                until(|| format!("{watched:?}").contains("sending: 1"));
                g.cancel();
                Ok(())
            })?;

            // The sender is dropped while a receive is blocked.
            let (sender, receiver) = bounded(8);
            let (watched, committed) = (receiver.clone(), AtomicUsize::new(0));
            TaskGroup::scope(|g| {
                g.spawn(|| {
                    one(&mut || {
                        for message in &receiver {
                            message?;
                        }
                        committed.fetch_add(1, Ordering::Relaxed);
                        Ok(())
                    })
                });
                g.spawn(move || {
                    other(&mut || {
                        sender.send(1)?;
                        Ok(taskgroup::sleep(LONG)?)
                    })
                });
                until_blocked(&watched, 0, 1);
                until(|| watched.is_empty());
                g.cancel();
                Ok(())
            })?;
            assert_eq!(
                committed.into_inner(),
                0,
                "a stream that was cut short looks complete"
            );
        }
    }
    Ok(())
}

#[test]
fn in_a_cancelled_scope_a_disconnect_is_reported_as_the_cancel() {
    let (sender, receiver) = unbounded();
    sender.send(1).unwrap();
    drop(sender);
    let token = CancelToken::new();
    token.cancel();
    token.run(|| {
        assert_eq!(receiver.try_recv(), Ok(1), "no value is lost by that");
        assert!(matches!(
            receiver.try_recv(),
            Err(TryRecvError::Cancelled(why)) if why.origin() == token.id()
        ));
        taskgroup::shield(|| {
            assert!(matches!(
                receiver.try_recv(),
                Err(TryRecvError::Disconnected(_))
            ));
        });
    });
    let (sender, _) = unbounded();
    token.run(|| {
        assert!(matches!(
            sender.try_send(2),
            Err(TrySendError::Cancelled(2, why)) if why.origin() == token.id()
        ));
    });
    assert!(matches!(
        sender.try_send(3),
        Err(TrySendError::Disconnected(3, _))
    ));
    let error = anyhow::Error::from(token.run(|| receiver.try_recv()).unwrap_err());
    assert_eq!(error.cancelled().map(Cancelled::origin), Some(token.id()));
}

/// The deadline passes without a check of the clock.
#[test]
fn a_deadline_that_has_passed_is_a_cancel_too() {
    let (sender, receiver) = unbounded::<u8>();
    drop(sender);
    let token = CancelToken::new();
    token.child().run(|| {
        assert!(matches!(
            receiver.try_recv(),
            Err(TryRecvError::Disconnected(_))
        ));
        token.cancel_at(std::time::Instant::now() + SHORT);
        std::thread::sleep(2 * SHORT);
        assert!(matches!(
            receiver.try_recv(),
            Err(TryRecvError::Cancelled(_))
        ));
    });
}

/// The cancel above spares a region that winds down. So an end that has gone is reported there as
/// an end.
#[test]
fn a_region_that_winds_down_gets_the_disconnect() {
    let (sender, receiver) = unbounded::<u8>();
    drop(sender);
    let token = CancelToken::new();
    token.run(|| {
        taskgroup::winding_down(|| {
            token.cancel_gracefully(LONG);
            assert!(matches!(
                receiver.try_recv(),
                Err(TryRecvError::Disconnected(_))
            ));
            assert!(matches!(receiver.recv(), Err(RecvError::Disconnected(_))));
            token
                .child()
                .run(|| assert!(matches!(receiver.recv(), Err(RecvError::Cancelled(_)))));
            token.cancel();
            assert!(matches!(
                receiver.try_recv(),
                Err(TryRecvError::Cancelled(_))
            ));
        });
    });
}

#[test]
fn anyhow_knows_the_cancel_inside_of_each_error() {
    let (sender, receiver) = bounded::<u8>(0);
    let token = CancelToken::new();
    token.cancel();
    let errors: [anyhow::Error; 4] = token.run(|| {
        [
            sender.send(1).unwrap_err().into(),
            sender.send_timeout(1, LONG).unwrap_err().into(),
            receiver.recv().unwrap_err().into(),
            receiver.recv_timeout(LONG).unwrap_err().into(),
        ]
    });
    for error in errors {
        assert_eq!(
            error.cancelled().map(Cancelled::origin),
            Some(token.id()),
            "{error:?}"
        );
    }
    drop(sender);
    let ended = receiver.recv().unwrap_err();
    assert!(matches!(ended, RecvError::Disconnected(_)));
    assert!(anyhow::Error::from(ended).cancelled().is_none());
}

#[test]
fn a_group_absorbs_its_own_cancel_of_blocked_ends() -> anyhow::Result<()> {
    let (sender, receiver) = bounded(0);
    let (_unused, silent) = bounded::<u8>(0);
    TaskGroup::scope(|g| {
        g.spawn(|| Ok(sender.send(1)?));
        g.spawn(|| Ok(silent.recv().map(drop)?));
        until_blocked(&receiver, 1, 0);
        until_blocked(&silent, 0, 1);
        g.cancel();
        Ok(())
    })?;
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    Ok(())
}

#[test]
fn cancels_and_messages_that_cross_lose_nothing() -> anyhow::Result<()> {
    for capacity in [0, 1, 4] {
        cross_with_cancels(
            bounded(capacity),
            |sender, message| sender.send(message),
            |receiver| receiver.recv(),
        )?;
    }
    Ok(())
}
