//! A stream that was cut short does not look complete: the other side of a channel learns how the
//! task ended that dropped an end.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use crate::support::Gate;
use taskgroup::channel::{
    self, Disconnected, Receiver, RecvError, SendError, Sender, TryRecvError,
};
use taskgroup::sync::Event;
use taskgroup::{FailureKind, OnFailure, TaskGroup, TaskId, TaskStatus};

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

#[derive(Clone, Copy)]
enum How {
    Collect,
    Isolated,
    Handle,
}

/// One of two producers does not end well, first; the other ends well, last.
fn first_is_ill(how: How) {
    let (sender, receiver) = channel::bounded::<u32>(8);
    let good = sender.clone();
    let sent = Event::new();
    let bad_is_gone = Event::new();
    let on_failure = if matches!(how, How::Collect) {
        OnFailure::Collect
    } else {
        OnFailure::CancelSiblings
    };
    let scope = TaskGroup::builder().on_failure(on_failure).scope(|g| {
        let bad = g.task().name("bad").with(sender);
        let fail = |sender: &mut Sender<u32>| -> anyhow::Result<()> {
            sender.send(1)?;
            anyhow::bail!("disk full")
        };
        match how {
            How::Collect => assert_eq!(g_wait(&bad.spawn(fail)), TaskStatus::Failed),
            How::Isolated => assert_eq!(g_wait(&bad.spawn_isolated(fail)), TaskStatus::Failed),
            How::Handle => {
                let task = bad.spawn(|sender| {
                    sender.send(1)?;
                    sent.set();
                    Ok(Event::new().wait()?)
                });
                sent.wait()?;
                assert_eq!(task.cancel_and_wait()?, TaskStatus::Cancelled);
            }
        }
        bad_is_gone.set();
        g.task()
            .name("good")
            .with(good)
            .spawn(|sender| Ok(sender.send(2)?));
        let mut seen = Vec::new();
        let mut errors = 0;
        for message in &receiver {
            match message {
                Ok(n) => seen.push(n),
                Err(_) => errors += 1,
            }
        }
        assert_eq!((seen, errors), (vec![1, 2], 1));
        assert_cut_by(&receiver, Some("bad"));
        Ok(())
    });
    assert_eq!(scope.is_err(), matches!(how, How::Collect));
}

fn g_wait<T>(task: &taskgroup::TaskHandle<'_, T>) -> TaskStatus {
    task.wait().unwrap()
}

#[test]
fn the_first_ill_end_counts_where_failures_are_collected() {
    first_is_ill(How::Collect);
}

#[test]
fn the_first_ill_end_counts_where_the_task_is_isolated() {
    first_is_ill(How::Isolated);
}

#[test]
fn the_first_ill_end_counts_where_the_task_was_cancelled_alone() {
    first_is_ill(How::Handle);
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
fn a_panic_is_known_without_with() {
    let (sender, receiver) = channel::unbounded::<u32>();
    let good = sender.clone();
    collecting(|g| {
        let bad = g.task().name("bad").spawn(move || -> anyhow::Result<()> {
            sender.send(1)?;
            panic!("expected");
        });
        bad.wait()?;
        g.spawn(move || Ok(good.send(2)?)).wait()?;
        assert_cut_by(&receiver, Some("bad"));
        Ok(())
    });
}

/// Runs `f` in a task of a group that runs each joined task in place: the task holds the only
/// permit, so no worker can begin another, and the task has no handle. Returns the task as well.
fn where_joins_run_in_place(
    f: impl for<'s> FnOnce(&'s TaskGroup<'s, '_>) -> anyhow::Result<()> + Send,
) -> (TaskId, Result<(), taskgroup::GroupError>) {
    let (first_may_end, has_run) = (Gate::default(), AtomicUsize::new(0));
    let mut id = None;
    let scope = TaskGroup::builder()
        .limit(1)
        .on_failure(OnFailure::Collect)
        .scope(|g| {
            g.spawn(|| {
                first_may_end.wait();
                Ok(())
            });
            let has_run = &has_run;
            let task = g.spawn(move || {
                f(g)?;
                has_run.fetch_add(1, SeqCst);
                Ok(())
            });
            id = Some(task.id());
            drop(task);
            first_may_end.open();
            Ok(())
        });
    assert_eq!(
        has_run.into_inner(),
        1,
        "it did not run to its end: {scope:?}"
    );
    (id.unwrap(), scope)
}

/// Whether it is the panic of these tests, and not a failed assertion.
fn is_expected(kind: FailureKind<anyhow::Error>) -> bool {
    match kind {
        FailureKind::Panic(panic) => panic.into_inner().is::<Expected>(),
        _ => false,
    }
}

struct Expected;

#[test]
fn a_panic_is_known_in_place_and_with_with() {
    let [(sender, receiver), (given, also)] = two_channels();
    let (_, scope) = where_joins_run_in_place(|g| {
        let here = thread::current().id();
        let spawned = g
            .task()
            .with(given)
            .spawn(move |_given| -> anyhow::Result<()> {
                let _sender = sender;
                assert_eq!(thread::current().id(), here, "it runs in place");
                panic::panic_any(Expected);
            });
        let id = spawned.id();
        assert!(spawned.join().is_err());
        for receiver in [&receiver, &also] {
            let disconnected = end_of(receiver);
            assert!(!disconnected.ended_well());
            assert_eq!(disconnected.closed_by().unwrap().id, id);
        }
        Ok(())
    });
    let failures = scope.unwrap_err().into_failures();
    assert_eq!(failures.len(), 1);
    assert!(
        failures
            .into_iter()
            .all(|failure| is_expected(failure.into_kind()))
    );
}

#[test]
fn a_task_in_place_leaves_the_record_of_the_task_around_it() {
    let (sender, receiver) = channel::unbounded::<u32>();
    let (around, scope) = where_joins_run_in_place(|g| {
        let here = thread::current().id();
        for _ in 0..10 {
            let fails = g.spawn_isolated(move || -> anyhow::Result<()> {
                assert_eq!(thread::current().id(), here, "it runs in place");
                panic::panic_any(Expected);
            });
            assert!(is_expected(fails.join()?.unwrap_err().into_kind()));
        }
        drop(sender);
        Ok(())
    });
    scope.unwrap();
    let disconnected = end_of(&receiver);
    assert!(disconnected.ended_well());
    assert_eq!(disconnected.closed_by().unwrap().id, around);
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

#[test]
fn a_panic_of_the_body_is_known() {
    let (sender, receiver) = channel::unbounded::<u32>();
    let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
        TaskGroup::scope(|_g| -> anyhow::Result<()> {
            let _sender = sender;
            panic!("expected");
        })
    }));
    assert!(panicked.is_err());
    assert_cut_by(&receiver, None);
}

#[test]
fn a_task_of_a_thread_that_panics_already_has_not_panicked() {
    struct RunsTasks(Option<Sender<u32>>, Option<Sender<u32>>);
    impl Drop for RunsTasks {
        fn drop(&mut self) {
            let (of_body, of_task) = (self.0.take(), self.1.take());
            TaskGroup::scope(|g| {
                drop(of_body);
                g.spawn(move || {
                    drop(of_task);
                    Ok(())
                })
                .join()?;
                Ok(())
            })
            .unwrap();
        }
    }

    let [(of_body, body), (of_task, task)] = two_channels();
    let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
        let _runs = RunsTasks(Some(of_body), Some(of_task));
        panic!("expected");
    }));
    assert!(panicked.is_err());
    assert!(end_of(&body).ended_well());
    assert!(end_of(&task).ended_well());
}

#[test]
fn the_value_is_dropped_before_the_end_and_after_the_cancel() {
    struct Looks<'a>(&'a taskgroup::CancelToken, &'a AtomicUsize);
    impl Drop for Looks<'_> {
        fn drop(&mut self) {
            assert!(self.0.is_cancelled());
            self.1.fetch_add(1, SeqCst);
        }
    }

    let token = taskgroup::CancelToken::new();
    let drops = AtomicUsize::new(0);
    let error = TaskGroup::scope(|g| -> anyhow::Result<()> {
        let looks = Looks(g.token(), &drops);
        let task = g.task().name("fails").with(looks).spawn(fail);
        task.on_finished(|status| {
            assert_eq!((status, drops.load(SeqCst)), (TaskStatus::Failed, 1));
        });
        Ok(())
    })
    .unwrap_err();
    assert!(!token.is_cancelled());
    assert_eq!(error.failures().len(), 1, "{error}");
    assert_eq!(drops.into_inner(), 1);
}

#[test]
fn a_destructor_of_the_value_that_panics_is_a_failure() {
    struct Panics(#[allow(dead_code)] Sender<u32>);
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in the destructor");
        }
    }

    for fails in [false, true] {
        let (sender, receiver) = channel::unbounded::<u32>();
        let error = TaskGroup::scope(|g| {
            g.task().name("bad").with(Panics(sender)).spawn(move |_| {
                anyhow::ensure!(!fails, "disk full");
                Ok(())
            });
            Ok(())
        })
        .unwrap_err();
        assert_eq!(error.failures().len(), if fails { 2 } else { 1 }, "{error}");
        assert_cut_by(&receiver, Some("bad"));
    }
}

#[test]
fn a_refused_task_gives_value_and_closure_back() {
    let (sender, receiver) = channel::unbounded::<u32>();
    TaskGroup::scope(|g| {
        g.cancel();
        let refused = g
            .task()
            .with(sender)
            .try_spawn(|sender| Ok(sender.try_send(7)?))
            .err()
            .unwrap();
        let (mut sender, closure) = refused.into_task();
        closure(&mut sender)
    })
    .unwrap();
    assert_eq!(receiver.iter().collect::<Result<Vec<_>, _>>().unwrap(), [7]);
}

#[test]
fn a_started_task_and_a_daemon_keep_their_value() {
    let [(sender, receiver), (ticks, ticker)] = two_channels();
    let failed = TaskGroup::scope(|g| -> anyhow::Result<()> {
        g.task()
            .name("ticker")
            .with(ticks)
            .spawn_daemon(|_| Ok(Event::new().wait()?));
        let start = g
            .task()
            .name("server")
            .with(sender)
            .start(|_ready: taskgroup::Ready<u8>, _| anyhow::bail!("in use"));
        assert!(matches!(start, Err(taskgroup::StartError::Failed(_))));
        Ok(())
    });
    failed.unwrap();
    assert_cut_by(&receiver, Some("server"));
    assert!(!end_of(&ticker).ended_well());
}
