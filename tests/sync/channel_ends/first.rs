//! Of several ends of one side, the first ill one counts.

use taskgroup::channel::{self, Sender};
use taskgroup::sync::Event;
use taskgroup::{OnFailure, TaskGroup, TaskStatus};

use super::assert_cut_by;

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
