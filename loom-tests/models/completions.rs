//! Models of waits for the first of several events: the ends of tasks, and a task that says
//! that it is ready.

use anyhow::anyhow;

use super::Bound::{Exhaustive, Preemptions};
use super::cancel::cancel_in_thread;
use super::support::{apart, must_see, saw, with_pool};
use super::{Model, Watched};
use crate::{CancelToken, StartError, TaskGroup};

pub(super) const MODELS: &[Model] = &[
    holds!(
        completions_event_races_with_entry,
        Preemptions(3),
        Exhaustive,
        "a task that ends while a thread begins to wait for the first of several is found, \
             and happens before the return"
    ),
    breaks!(
        broken_completions_event_after_its_waiter,
        "event-comes-after-its-waiter" in completions_event_races_with_entry,
        Preemptions(3),
        "deadlock",
        "an event that is entered after the check for its waiter wakes no thread"
    ),
    holds!(
        completions_task_that_has_ended_is_an_event_at_once,
        Preemptions(2),
        Preemptions(3),
        "a task without a permit that ends while its end is asked for happens before the \
             return of its handle"
    ),
    holds!(
        completions_event_races_with_cancel,
        Preemptions(2),
        Preemptions(4),
        "an event that comes while its waiter is cancelled goes to it or to the next waiter"
    ),
    holds!(
        completions_waiter_keeps_the_limit,
        Preemptions(1),
        Preemptions(3),
        "a task that waits for the first of several lets queued tasks run, and continues \
             within the limit"
    ),
    breaks!(
        broken_completions_waiter_goes_on_without_a_permit,
        "event-keeps-the-permit" in completions_waiter_keeps_the_limit,
        Preemptions(1),
        "attempt to subtract with overflow",
        "a waiter that does not get its permit back runs beside the task that holds it"
    ),
    holds!(
        completions_waiter_has_its_permit_with_the_event,
        Preemptions(3),
        Preemptions(4),
        "a waiter that takes an event before it is woken holds a permit when it ends"
    ),
    holds!(
        completions_map_unordered_gives_each_once,
        Preemptions(2),
        Preemptions(3),
        "each result of a map is returned once, whichever is first"
    ),
    holds!(
        start_send_races_with_cancel,
        Preemptions(1),
        Preemptions(3),
        "a start that is cancelled while its task reports ready returns the value, or the \
             task has ended"
    ),
    breaks!(
        broken_start_leaves_its_task,
        "start-leaves-its-task" in start_send_races_with_cancel,
        Preemptions(1),
        "Causality violation",
        "a cancelled start that does not wait for the end of its task returns while the task \
         runs"
    ),
    holds!(
        start_ends_without_sending,
        Preemptions(3),
        Preemptions(4),
        "a start returns after the end of its task, if the task ends without reporting ready"
    ),
    holds!(
        start_failure_races_with_send,
        Preemptions(2),
        Preemptions(3),
        "a failure at the moment of readiness is reported by the start or by the group, and \
             only once"
    ),
    breaks!(
        broken_start_failure_leaves_the_handshake_open,
        "failure-leaves-the-handshake-open" in start_failure_races_with_send,
        Preemptions(2),
        "a failure was swallowed",
        "a failure that does not close the handshake is lost if the task reports ready after it"
    ),
];

fn completions_event_races_with_entry() {
    let during = Watched::new();
    TaskGroup::scope(|g| {
        let task = apart(g).spawn(|| {
            during.write();
            Ok(7)
        });
        let mut ends = g.as_completed([task]);
        let task = ends.next().expect("a task has not been given out")?;
        during.write();
        assert_eq!(task.join()?, 7);
        assert!(ends.next().is_none());
        Ok(())
    })
    .unwrap();
}

fn completions_task_that_has_ended_is_an_event_at_once() {
    with_pool(1, || {
        let during = Watched::new();
        TaskGroup::scope(|g| {
            // The end of a task on a thread of its own takes the lock of the watch list, which
            // would order the two. The end of this one is seen by its word alone.
            let mut ends = g.as_completed([g.spawn(|| {
                during.write();
                Ok(7)
            })]);
            let task = ends.next().expect("a task has not been given out")?;
            during.write();
            assert_eq!(task.join()?, 7);
            Ok(())
        })
        .unwrap();
    });
}

fn completions_event_races_with_cancel() {
    must_see(["the event", "the cancel"]);
    let token = CancelToken::new();
    let canceller = cancel_in_thread(&token);
    TaskGroup::scope(|g| {
        let mut ends = g.as_completed([apart(g).spawn(|| Ok(7))]);
        let task = match token
            .run(|| ends.next())
            .expect("a task has not been given out")
        {
            Ok(task) => {
                saw("the event");
                task
            }
            Err(_) => {
                saw("the cancel");
                ends.next().expect("an event was lost")?
            }
        };
        assert_eq!(task.join()?, 7);
        Ok(())
    })
    .unwrap();
    canceller.join().unwrap();
}

fn completions_waiter_keeps_the_limit() {
    with_pool(2, || {
        let running = Watched::new();
        TaskGroup::builder()
            .limit(1)
            .scope(|g| {
                g.spawn(|| {
                    running.write();
                    let inner = g.spawn(|| {
                        running.write();
                        Ok(())
                    });
                    for task in g.as_completed([inner]) {
                        task?.join()?;
                    }
                    running.write();
                    Ok(())
                });
                g.spawn(|| {
                    running.write();
                    Ok(())
                });
                Ok(())
            })
            .unwrap();
    });
}

fn completions_waiter_has_its_permit_with_the_event() {
    TaskGroup::builder()
        .limit(1)
        .scope(|g| {
            apart(g).spawn(|| {
                // A daemon holds no permit, so only the waiter's permit counts.
                for task in g.as_completed([apart(g).spawn_daemon(|| Ok(()))]) {
                    task?.join()?;
                }
                Ok(())
            });
            Ok(())
        })
        .unwrap();
}

fn completions_map_unordered_gives_each_once() {
    with_pool(1, || {
        let mut results =
            TaskGroup::scope(|g| Ok(g.map_unordered([1, 2], Ok).collect::<Result<Vec<_>, _>>()?))
                .unwrap();
        results.sort_unstable();
        assert_eq!(results, [1, 2]);
    });
}

fn start_send_races_with_cancel() {
    must_see(["ready", "cancelled"]);
    with_pool(1, || {
        let during = Watched::new();
        let token = CancelToken::new();
        let canceller = cancel_in_thread(&token);
        TaskGroup::scope(|g| {
            let started = token.run(|| {
                g.start(|ready| {
                    during.write();
                    ready.send(7);
                    during.write();
                    Ok(())
                })
            });
            match started {
                Ok(value) => {
                    assert_eq!(value, 7);
                    saw("ready");
                }
                Err(StartError::Cancelled(_)) => {
                    during.write();
                    saw("cancelled");
                }
                Err(other) => panic!("{other:?}"),
            }
            Ok(())
        })
        .unwrap();
        canceller.join().unwrap();
    });
}

fn start_ends_without_sending() {
    with_pool(1, || {
        let during = Watched::new();
        TaskGroup::scope(|g| {
            let started = g.start::<(), _>(|ready| {
                drop(ready);
                during.write();
                Ok(())
            });
            during.write();
            assert!(matches!(started, Err(StartError::NotReady)));
            Ok(())
        })
        .unwrap();
    });
}

fn start_failure_races_with_send() {
    must_see(["the failure was first", "the value was first"]);
    with_pool(1, || {
        let mut is_ours = false;
        let result = TaskGroup::scope(|g| {
            let started = g.start(|ready| {
                apart(g).spawn(move || {
                    ready.send(7);
                    Ok(())
                });
                Err(anyhow!("failed"))
            });
            is_ours = match started {
                Ok(7) => false,
                Err(StartError::Failed(_)) => true,
                other => panic!("{other:?}"),
            };
            Ok(())
        });
        saw(if is_ours {
            "the failure was first"
        } else {
            "the value was first"
        });
        let failures = result.map_or_else(|error| error.failures().len(), |()| 0);
        assert!(failures >= usize::from(!is_ours), "a failure was swallowed");
        assert_eq!(
            failures,
            usize::from(!is_ours),
            "a failure was reported twice"
        );
    });
}
