//! The value that a task is given with `with`.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use taskgroup::channel::{self, Sender};
use taskgroup::sync::Event;
use taskgroup::{TaskGroup, TaskStatus};

use super::{assert_cut_by, end_of, fail, two_channels};

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
