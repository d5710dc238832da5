//! A stream that was cut short does not look complete: the other side of a channel learns how the
//! task ended that dropped an end.

mod first;
mod panicked;
mod value;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use taskgroup::channel::{
    self, Disconnected, Receiver, RecvError, SendError, Sender, TryRecvError,
};
use taskgroup::{OnFailure, TaskGroup};

fn two_channels() -> [(Sender<u32>, Receiver<u32>); 2] {
    [(); 2].map(|()| channel::unbounded())
}

/// Runs a group that collects failures, in which one task fails and the body does not.
fn collecting<'env, F>(body: F)
where
    F: for<'scope> FnOnce(&'scope TaskGroup<'scope, 'env>) -> anyhow::Result<()>,
{
    let error = TaskGroup::builder()
        .on_failure(OnFailure::Collect)
        .scope(body)
        .unwrap_err();
    assert!(
        error.failures().len() == 1 && error.body().is_none(),
        "{error:#}"
    );
}

/// Fails while it holds the ends that it was given.
fn fail<V>(_: &mut V) -> anyhow::Result<()> {
    anyhow::bail!("disk full")
}

/// Receives until the end of the messages.
fn end_of<T>(receiver: &Receiver<T>) -> Disconnected {
    loop {
        match receiver.recv() {
            Ok(_) => {}
            Err(RecvError::Disconnected(disconnected)) => return disconnected,
            Err(other) => panic!("{other}"),
        }
    }
}

fn name(disconnected: &Disconnected) -> Option<&str> {
    disconnected.closed_by()?.name.as_deref()
}

/// Every way to look at `receiver` tells that the task `by` did not end well.
fn assert_cut_by<T: std::fmt::Debug>(receiver: &Receiver<T>, by: Option<&str>) {
    let disconnected = end_of(receiver);
    assert!(!disconnected.ended_well());
    assert_eq!(name(&disconnected), by);
    assert!(matches!(
        receiver.try_recv(),
        Err(TryRecvError::Disconnected(other)) if other == disconnected
    ));
    let timed = receiver.recv_timeout(Duration::from_secs(60));
    assert!(matches!(
        timed,
        Err(channel::RecvTimeoutError::Disconnected(other)) if other == disconnected
    ));
    let mut iter = receiver.iter();
    assert_eq!(
        iter.next().unwrap().unwrap_err(),
        RecvError::Disconnected(disconnected.clone())
    );
    assert!(iter.next().is_none() && iter.next().is_none());
    let mut select = channel::Select::new();
    select.recv(receiver, |message| message.map(drop));
    assert_eq!(select.select().unwrap().unwrap_err(), disconnected);
}

fn assert_plain_end<T: std::fmt::Debug>(receiver: &Receiver<T>, by: Option<&str>) {
    let disconnected = end_of(receiver);
    assert!(disconnected.ended_well());
    assert_eq!(name(&disconnected), by);
    assert!(receiver.iter().next().is_none());
}

#[test]
fn a_writer_commits_nothing_when_its_reader_fails() {
    struct Slow;
    impl Drop for Slow {
        fn drop(&mut self) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    let committed = AtomicUsize::new(0);
    for _ in 0..20 {
        let (sender, receiver) = channel::bounded::<u32>(2);
        let error = TaskGroup::scope(|g| {
            let source = Slow;
            g.task()
                .name("read")
                .with(sender)
                .spawn(move |sender| -> anyhow::Result<()> {
                    let _source = &source;
                    for n in 0..5 {
                        sender.send(n)?;
                    }
                    anyhow::bail!("bad record")
                });
            g.task().name("write").with(receiver).spawn(|receiver| {
                for message in receiver.iter() {
                    message?;
                }
                committed.fetch_add(1, SeqCst);
                Ok(())
            });
            Ok(())
        })
        .unwrap_err();
        assert_eq!(error.failures().len(), 1);
        assert!(error.primary().unwrap().to_string().contains("bad record"));
    }
    assert_eq!(committed.into_inner(), 0);
}

#[test]
fn a_task_that_never_ran_is_known_without_with() {
    let [(sender, receiver), (given, also)] = two_channels();
    TaskGroup::scope(|g| {
        g.cancel();
        g.task().name("late").with(given).spawn(move |_| {
            drop(sender);
            Ok(())
        });
        Ok(())
    })
    .unwrap();
    assert_cut_by(&receiver, Some("late"));
    assert_cut_by(&also, Some("late"));
}

#[test]
fn an_end_without_a_failure_is_plain() {
    let (sender, receiver) = channel::unbounded::<u32>();
    drop(sender);
    assert_plain_end(&receiver, None);

    let [(sender, receiver), (given, also)] = two_channels();
    TaskGroup::scope(|g| {
        g.task().name("good").with(given).spawn(move |given| {
            given.send(1)?;
            Ok(sender.send(1)?)
        });
        Ok(())
    })
    .unwrap();
    assert_plain_end(&receiver, Some("good"));
    assert_plain_end(&also, Some("good"));
}

#[test]
fn senders_learn_which_task_dropped_the_receiver() {
    let (sender, receiver) = channel::unbounded::<u32>();
    collecting(|g| {
        g.task().name("bad").with(receiver).spawn(fail).wait()?;
        match sender.send(1) {
            Err(SendError::Disconnected(1, disconnected)) => {
                assert_eq!(
                    (name(&disconnected), disconnected.ended_well()),
                    (Some("bad"), false)
                );
                assert!(disconnected.to_string().contains("task `bad`"));
            }
            other => panic!("{other:?}"),
        }
        Ok(())
    });
}

#[test]
fn a_scope_inside_a_task_counts_for_that_task() {
    // The body of the inner scope fails without a panic: the outer task has dropped the end well.
    let [(sender, receiver), (given, also)] = two_channels();
    TaskGroup::scope(|g| {
        g.task().name("outer").with(given).spawn(move |_given| {
            let inner = TaskGroup::scope(|g| {
                g.task().name("inner").with(sender).spawn(fail);
                Ok(())
            });
            assert!(inner.is_err());
            Ok(())
        });
        Ok(())
    })
    .unwrap();
    assert_cut_by(&receiver, Some("inner"));
    assert_plain_end(&also, Some("outer"));
}
