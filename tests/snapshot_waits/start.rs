//! Calls of `start`, and the tasks that they wait for.

use taskgroup::{TaskGroup, TaskId, TaskSnapshot, TaskState};

use super::{stays, waits};
use crate::snapshots::until;
use crate::support::{Gate, watch};

/// Returns the id of the task of this name that a waiting body has beside it.
fn beside(body: &TaskSnapshot, name: &str) -> TaskId {
    until(|seen| {
        let mut groups = seen.all_groups();
        let group = groups.find(|group| group.body().id() == body.id())?;
        let task = group
            .tasks()
            .iter()
            .find(|task| task.name() == Some(name))?;
        Some(task.id())
    })
}

#[test]
fn a_call_of_start_names_the_task_that_it_waits_for() {
    let _watch = watch();
    let seen = waits("TaskGroup::start", line!(), || {
        TaskGroup::scope(|g| {
            let task = g.task().name("server");
            Ok(task.start(|_ready: taskgroup::Ready<()>| stays())?)
        })
    });
    let holders = seen.waits().map(|wait| wait.holders().to_vec());
    assert_eq!(holders.map(|holders| holders.len()), Some(1));
}

#[test]
fn a_call_of_start_stands_in_the_group_of_its_task() {
    let _watch = watch();
    let (body, told) = (Gate::default(), Gate::default());
    TaskGroup::scope(|g| {
        g.spawn(|| {
            TaskGroup::builder().name("starts").scope(|h| {
                let task = h.task().name("server");
                Ok::<_, anyhow::Error>(task.start(|ready| {
                    body.wait();
                    ready.send(());
                    told.wait();
                    Ok(())
                })?)
            })?;
            Ok(())
        });

        let starting = until(|seen| {
            let mut groups = seen.all_groups();
            let body = groups.find(|group| group.name() == Some("starts"))?.body();
            let wait = body.waits()?;
            (wait.what() == "TaskGroup::start").then(|| body.clone())
        });
        let server = beside(&starting, "server");
        assert_eq!(
            starting.waits().map(|wait| wait.holders().to_vec()),
            Some(vec![server])
        );
        let is_starting = |expected: bool| {
            until(|seen| {
                let task = seen.tasks().find(|task| task.id() == server)?;
                (task.is_starting() == expected).then(|| task.to_string())
            })
        };
        assert!(is_starting(true).contains(", starting"));
        body.open();
        assert!(!is_starting(false).contains("starting"));
        told.open();
        Ok(())
    })
    .expect("no task fails");
}

#[test]
fn a_ready_that_another_thread_sends_ends_the_start_too() {
    let _watch = watch();
    let (send, stay) = (&Gate::default(), &Gate::default());
    TaskGroup::scope(|g| {
        let (passed, given) = std::sync::mpsc::channel();
        g.spawn(move || {
            let ready: taskgroup::Ready<u8> = given.recv()?;
            ready.send(1);
            Ok(())
        });
        let opener = g.task().spawn(move || {
            TaskGroup::scope(|h| {
                let server = h.task().name("passes it on");
                Ok(server.start(|ready| {
                    send.wait();
                    passed.send(ready)?;
                    stay.wait();
                    Ok(())
                })?)
            })?;
            Ok(())
        });
        let starting = |expected: bool| {
            until(|seen| {
                let mut named = seen
                    .tasks()
                    .filter(|task| task.name() == Some("passes it on"));
                // One that has just begun is not marked yet, and one in a queue has not begun.
                let has_begun = |task: &TaskSnapshot| task.state() != TaskState::Queued;
                named
                    .any(|task| task.is_starting() == expected && has_begun(task))
                    .then_some(())
            });
        };
        starting(true);
        send.open();
        starting(false);
        stay.open();
        Ok(opener.join()?)
    })
    .expect("no task fails");
}
