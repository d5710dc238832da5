//! Cancellable channels of crossbeam: they keep the promises of this crate's own channels.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::channels::{SHORT, cross_with_cancels};
use crate::support::{Gate, LONG, until, watch};
use crossbeam_channel::{Receiver, Sender, bounded, never, select, unbounded};
use taskgroup::channel::{RecvError, RecvTimeoutError, SendError, SendTimeoutError, crossbeam};
use taskgroup::{CancelToken, Cancelled, TaskError, TaskGroup, TaskSnapshot, TaskState, snapshot};

#[test]
fn messages_pass() -> anyhow::Result<()> {
    let _watch = watch();
    for capacity in [0, 1, 16] {
        let (sender, receiver) = bounded(capacity);
        let received = TaskGroup::builder().timeout(LONG).scope(|g| {
            g.spawn(move || Ok((0..500).try_for_each(|n| crossbeam::send(&sender, n))?));
            Ok(crossbeam::iter(&receiver).collect::<Result<Vec<_>, _>>()?)
        })?;
        assert_eq!(received, (0..500).collect::<Vec<_>>());
    }
    Ok(())
}

#[test]
fn the_functions_work_beside_the_methods_of_crossbeam() -> anyhow::Result<()> {
    let _watch = watch();
    let ((sender, receiver), (answer, answers)) = (bounded(0), bounded(0));
    let echo = std::thread::spawn(move || {
        receiver
            .iter()
            .for_each(|n: u32| answer.send(n + 1).unwrap())
    });
    for n in 0..200 {
        crossbeam::send(&sender, n)?;
        assert_eq!(crossbeam::recv(&answers)?, n + 1);
    }
    drop(sender);
    assert!(matches!(
        crossbeam::recv(&answers),
        Err(RecvError::Disconnected(_))
    ));
    echo.join().unwrap();
    Ok(())
}

/// Cancels a task that has begun `operation`, and returns the outcome.
fn cancelled_in<T: Send>(
    operation: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let inside = Gate::default();
    let outcome = TaskGroup::scope(|g| {
        let blocked = g.spawn_isolated(|| {
            inside.open();
            operation()
        });
        inside.wait();
        blocked.cancel();
        Ok(blocked.join()??)
    });
    Ok(outcome?)
}

#[test]
fn a_cancelled_receive_takes_nothing() -> anyhow::Result<()> {
    let _watch = watch();
    let (sender, receiver) = unbounded::<u8>();
    cancelled_in(|| match crossbeam::recv(&receiver) {
        Err(RecvError::Cancelled(_)) => Ok(()),
        other => anyhow::bail!("{other:?}"),
    })?;
    sender.send(1)?;
    assert_eq!(receiver.try_recv(), Ok(1));
    Ok(())
}

#[test]
fn a_cancelled_send_gives_the_message_back() -> anyhow::Result<()> {
    let _watch = watch();
    for capacity in [0, 1] {
        let (sender, receiver) = bounded(capacity);
        let _ = sender.try_send(String::from("first"));
        let message = cancelled_in(|| match crossbeam::send(&sender, String::from("kept")) {
            Err(SendError::Cancelled(message, _)) => Ok(message),
            other => anyhow::bail!("{other:?}"),
        })?;
        assert_eq!((message.as_str(), receiver.len()), ("kept", capacity));
    }
    Ok(())
}

#[test]
fn a_failing_group_wakes_blocked_calls() {
    let _watch = watch();
    let (sender, receiver) = bounded(0);
    let error = TaskGroup::scope(|g| {
        g.spawn(|| Ok(crossbeam::send(&sender, 1)?));
        g.spawn(|| Ok(crossbeam::recv(&never::<u8>()).map(drop)?));
        g.spawn(|| -> anyhow::Result<()> { anyhow::bail!("the reason") });
        Ok(())
    })
    .unwrap_err();
    assert_eq!(error.failures().len(), 1, "{error:?}");
    assert!(receiver.is_empty());
}

#[test]
fn a_cancelled_scope_fails_at_each_entry_without_effect() {
    let _watch = watch();
    let (sender, receiver) = bounded(2);
    sender.send(1).unwrap();
    let token = CancelToken::new();
    token.cancel();
    token.run(|| {
        for _ in 0..2 {
            assert!(matches!(
                crossbeam::send(&sender, 2),
                Err(SendError::Cancelled(2, why)) if why.origin() == token.id()
            ));
            assert!(matches!(
                crossbeam::send_timeout(&sender, 2, LONG),
                Err(SendTimeoutError::Cancelled(2, _))
            ));
            assert!(matches!(
                crossbeam::recv(&receiver),
                Err(RecvError::Cancelled(why)) if why.origin() == token.id()
            ));
            assert!(matches!(
                crossbeam::recv_timeout(&receiver, LONG),
                Err(RecvTimeoutError::Cancelled(_))
            ));
        }
        let mut messages = crossbeam::iter(&receiver);
        assert!(matches!(messages.next(), Some(Err(_))));
        assert!(
            messages.next().is_none(),
            "a loop that drops errors must not spin"
        );
        assert_eq!(receiver.len(), 1);
        assert_eq!(taskgroup::shield(|| messages.next()).unwrap().unwrap(), 1);
    });
    let error = anyhow::Error::from(token.run(|| crossbeam::recv(&receiver)).unwrap_err());
    assert_eq!(error.cancelled().map(Cancelled::origin), Some(token.id()));
}

/// Many groups of two stages, each cancelled once one of the stages has opened the gate.
fn cancel_pipelines(
    send: impl Fn(Sender<u64>, &Gate) -> anyhow::Result<()> + Sync,
    recv: impl Fn(Receiver<u64>, &Gate) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<()> {
    let _watch = watch();
    for round in 0..300 {
        let ((sender, receiver), inside) = (bounded(round % 2), Gate::default());
        TaskGroup::builder().timeout(LONG).scope(|g| {
            g.spawn(|| send(sender, &inside));
            g.spawn(|| recv(receiver, &inside));
            inside.wait();
            g.cancel();
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_cancelled_pipeline_does_not_fail() -> anyhow::Result<()> {
    let send = |sender, _: &Gate| Ok((0..).try_for_each(|n| crossbeam::send(&sender, n))?);
    cancel_pipelines(send, |receiver, inside| {
        crossbeam::recv(&receiver)?;
        inside.open();
        Ok(taskgroup::sleep(LONG)?)
    })
}

#[test]
fn in_a_cancelled_scope_a_disconnect_is_reported_as_the_cancel() -> anyhow::Result<()> {
    let recv = |receiver, _: &Gate| {
        let complete = crossbeam::iter(&receiver).all(|message| message.is_ok());
        anyhow::ensure!(!complete, "a stream that was cut short looks complete");
        Ok(())
    };
    let send = |sender, inside: &Gate| {
        crossbeam::send(&sender, 1)?;
        inside.open();
        Ok(taskgroup::sleep(LONG)?)
    };
    cancel_pipelines(send, recv)
}

#[test]
fn calls_time_out() {
    let _watch = watch();
    let (sender, receiver) = bounded(1);
    assert!(matches!(
        crossbeam::recv_timeout(&receiver, SHORT),
        Err(RecvTimeoutError::Timeout)
    ));
    assert!(crossbeam::send_timeout(&sender, 1, LONG).is_ok());
    assert!(matches!(
        crossbeam::send_timeout(&sender, 2, SHORT),
        Err(SendTimeoutError::Timeout(2))
    ));
    assert_eq!(crossbeam::recv_timeout(&receiver, LONG).unwrap(), 1);
    let token = CancelToken::new();
    assert!(matches!(
        token.run(|| crossbeam::recv_timeout(&receiver, SHORT)),
        Err(RecvTimeoutError::Timeout)
    ));
    let cut = taskgroup::timeout(SHORT, || {
        Ok::<_, anyhow::Error>(crossbeam::recv(&receiver)?)
    });
    assert_eq!(cut.unwrap(), None);
}

#[test]
fn the_end_of_a_bounded_shield_or_of_a_grace_ends_the_wait() {
    let _watch = watch();
    let (sender, _receiver) = bounded(0);
    let is_cut = |recv: Result<(), RecvError>,
                  send: Result<(), SendError<u8>>,
                  token: &CancelToken| {
        assert!(matches!(recv, Err(RecvError::Cancelled(why)) if why.origin() == token.id()));
        assert!(matches!(send, Err(SendError::Cancelled(1, why)) if why.origin() == token.id()));
    };
    let token = CancelToken::new();
    token.cancel();
    token.run(|| {
        let received = taskgroup::shield_for(SHORT, || crossbeam::recv(&never()));
        let sent = taskgroup::shield_for(SHORT, || crossbeam::send(&sender, 1));
        is_cut(received, sent, &token);
    });
    let token = CancelToken::new();
    token.cancel_gracefully(SHORT);
    token.run(|| {
        let received = taskgroup::winding_down(|| crossbeam::recv(&never()));
        let sent = taskgroup::winding_down(|| crossbeam::send(&sender, 1));
        is_cut(received, sent, &token);
    });
    let token = CancelToken::new();
    let entered = Gate::default();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            entered.wait();
            token.cancel_gracefully(SHORT);
        });
        token.run(|| {
            let received = taskgroup::winding_down(|| {
                entered.open();
                crossbeam::recv(&never())
            });
            is_cut(received, crossbeam::send(&sender, 1), &token);
        });
    });
}

#[test]
fn the_drop_of_the_other_end_ends_the_wait() -> anyhow::Result<()> {
    let _watch = watch();
    let (sender, receiver) = bounded(0);
    drop(receiver);
    assert!(matches!(
        crossbeam::send(&sender, 1),
        Err(SendError::Disconnected(1, _))
    ));
    assert!(matches!(
        crossbeam::send_timeout(&sender, 1, LONG),
        Err(SendTimeoutError::Disconnected(1, _))
    ));

    let ((sender, receiver), (other, silent)) = (bounded(0), bounded::<u8>(0));
    let (entered, token) = (AtomicUsize::new(0), CancelToken::new());
    TaskGroup::scope(|g| {
        g.spawn(|| {
            entered.fetch_add(1, Ordering::Relaxed);
            assert!(matches!(
                token.run(|| crossbeam::send(&sender, 1)),
                Err(SendError::Disconnected(1, _))
            ));
            Ok(())
        });
        g.spawn(|| {
            entered.fetch_add(1, Ordering::Relaxed);
            assert!(matches!(
                crossbeam::recv(&silent),
                Err(RecvError::Disconnected(_))
            ));
            Ok(())
        });
        until(|| entered.load(Ordering::Relaxed) == 2);
        drop((receiver, other));
        Ok(())
    })?;
    Ok(())
}

#[test]
fn a_token_closes_its_receiver() -> anyhow::Result<()> {
    let _watch = watch();
    let (parent, silent) = (CancelToken::new(), never::<u8>());
    let token = parent.child();
    let closed = token.closed();
    assert!(
        closed.same_channel(&token.clone().closed()),
        "the receiver of a token is made once"
    );
    assert_eq!(
        closed.try_recv(),
        Err(crossbeam_channel::TryRecvError::Empty)
    );
    let inside = Gate::default();
    TaskGroup::scope(|g| {
        let ended = g.spawn(|| {
            inside.open();
            select! {
                recv(silent) -> _ => anyhow::bail!("nothing was sent"),
                recv(closed) -> end => Ok(end.is_err()),
                default(LONG) => anyhow::bail!("no cancel came within a minute"),
            }
        });
        inside.wait();
        parent.cancel();
        assert!(ended.join()?);
        Ok(())
    })?;
    assert_eq!(
        token.closed().try_recv(),
        Err(crossbeam_channel::TryRecvError::Disconnected)
    );

    let late = CancelToken::new();
    late.cancel();
    assert!(late.closed().recv().is_err());
    let timed = CancelToken::new();
    timed.cancel_after(SHORT);
    assert_eq!(
        timed.closed().recv_timeout(LONG),
        Err(crossbeam_channel::RecvTimeoutError::Disconnected)
    );
    Ok(())
}

#[test]
fn the_receiver_disconnects_before_callbacks_and_hooks_run() -> anyhow::Result<()> {
    let _watch = watch();
    let token = CancelToken::new();
    let closed = token.closed();
    let (seen, looks) = unbounded();
    let look = || {
        seen.send(closed.try_recv())
            .expect("the test receives the result")
    };
    token
        .on_cancel({
            let (seen, closed) = (seen.clone(), closed.clone());
            move || {
                seen.send(closed.try_recv())
                    .expect("the test receives the result")
            }
        })
        .forget();
    token.run(|| taskgroup::with_cancel_hook(look, || token.cancel()));
    for caller in ["hook", "callback"] {
        assert_eq!(
            looks.try_recv()?,
            Err(crossbeam_channel::TryRecvError::Disconnected),
            "{caller}"
        );
    }
    Ok(())
}

#[test]
fn the_receiver_of_a_token_is_dropped_with_the_token() {
    let _watch = watch();
    let token = CancelToken::new();
    let closed = token.clone().closed();
    assert_eq!(
        closed.try_recv(),
        Err(crossbeam_channel::TryRecvError::Empty)
    );
    drop(token);
    assert_eq!(
        closed.try_recv(),
        Err(crossbeam_channel::TryRecvError::Disconnected)
    );
}

#[test]
fn many_threads_ask_for_the_receiver_of_a_token_at_once() -> anyhow::Result<()> {
    let _watch = watch();
    for _ in 0..50 {
        let token = CancelToken::new();
        let closed = TaskGroup::scope(|g| {
            let tasks: Vec<_> = (0..4).map(|_| g.spawn(|| Ok(token.closed()))).collect();
            let closed = tasks
                .into_iter()
                .map(|task| task.join())
                .collect::<Result<Vec<_>, _>>()?;
            Ok(closed)
        })?;
        assert!(closed.iter().all(|other| other.same_channel(&closed[0])));
        assert_eq!(
            closed[0].try_recv(),
            Err(crossbeam_channel::TryRecvError::Empty)
        );
        token.cancel();
        assert!(closed[0].recv().is_err());
    }
    Ok(())
}

#[test]
fn cancels_and_messages_that_cross_lose_nothing() -> anyhow::Result<()> {
    for capacity in [0, 1, 4] {
        cross_with_cancels(bounded(capacity), crossbeam::send, crossbeam::recv)?;
    }
    Ok(())
}

/// Runs `block` in a task, and cancels the task once it waits in a channel. Returns whether the
/// snapshot says that a cancel ends the wait.
fn is_shown_as_cancellable<T>(block: impl FnOnce() -> T + Send) -> bool {
    let seen = TaskGroup::scope(|g| {
        let task = g.task().dedicated().spawn(|| {
            drop(block());
            Ok(())
        });
        let mut seen = None;
        until(|| {
            let snapshot = snapshot();
            // Before that, its thread may be in a call of the system.
            let waits = |seen: &&TaskSnapshot| seen.state() == TaskState::Waiting;
            let mut tasks = snapshot
                .tasks()
                .filter(|seen| seen.id() == task.id())
                .filter(waits);
            let wait = tasks.next().and_then(|task| task.waits());
            seen = wait.map(|wait| wait.is_cancellable());
            seen.is_some()
        });
        g.cancel();
        Ok(seen)
    });
    seen.expect("the task fails with nothing")
        .expect("it has been seen")
}

#[test]
fn a_snapshot_says_that_a_cancel_ends_the_waits() {
    let _watch = watch();
    let (sender, _receiver) = bounded(0);
    assert!(is_shown_as_cancellable(|| crossbeam::recv(&never::<()>())));
    assert!(is_shown_as_cancellable(|| {
        crossbeam::recv_timeout(&never::<()>(), LONG)
    }));
    assert!(is_shown_as_cancellable(|| crossbeam::send(&sender, 1)));
    assert!(is_shown_as_cancellable(|| {
        crossbeam::send_timeout(&sender, 1, LONG)
    }));
}
