//! Time limits in a task, which make a node only when something asks for it, and regions that wind
//! down, which do the same: with a node and without, they mean the same.

use std::time::Duration;

use crate::support::{Gate, LONG};
use taskgroup::sync::{Event, Mutex};
use taskgroup::{
    CancelToken, Cancelled, GroupError, TaskGroup, channel, current_token, timeout, winding_down,
};

const SHORT: Duration = Duration::from_millis(5);

/// Runs `f` in a task, and in a task whose scopes have a node before they are waited in.
fn in_tasks(f: impl Fn(&dyn Fn()) + Sync) -> Result<(), GroupError> {
    let with_a_node = || drop(current_token().expect("a task has a scope"));
    TaskGroup::scope(|g| {
        for ask in [&(|| {}) as &(dyn Fn() + Sync), &with_a_node] {
            g.spawn(|| {
                f(ask);
                Ok(())
            })
            .join()?;
        }
        Ok(())
    })
}

/// A wait that ends by nothing but a cancel.
fn sleep() -> Result<(), Cancelled> {
    taskgroup::sleep(Duration::MAX)
}

#[test]
fn a_limit_ends_every_kind_of_wait_and_nothing_after_it() -> Result<(), GroupError> {
    let (event, mutex) = (Event::new(), Mutex::new(()));
    let (_sender, receiver) = channel::unbounded::<()>();
    let locked = mutex.lock()?;
    in_tasks(|ask| {
        let waits: [&dyn Fn() -> Result<(), Cancelled>; 5] = [
            &sleep,
            &taskgroup::park,
            &|| event.wait(),
            &|| mutex.lock().map(drop),
            &|| match receiver.recv() {
                Err(error) => Err(Cancelled::find(&error).expect("the sender lives").clone()),
                Ok(()) => Ok(()),
            },
        ];
        for wait in waits {
            let cut = timeout(SHORT, || {
                ask();
                // A park may also return without a cause.
                (0..).try_for_each(|_| wait())
            });
            assert_eq!(cut, Ok(None));
            assert_eq!(taskgroup::checkpoint(), Ok(()));
        }
    })?;
    drop(locked);
    Ok(())
}

#[test]
fn of_limits_in_limits_the_earliest_ends() -> Result<(), GroupError> {
    in_tasks(|ask| {
        let nested = |outer, inner| {
            timeout(outer, || {
                ask();
                let cut = timeout(inner, || {
                    ask();
                    sleep()
                })?;
                taskgroup::checkpoint()?;
                Ok::<_, Cancelled>(cut)
            })
        };
        assert_eq!(nested(SHORT, LONG), Ok(None));
        assert_eq!(nested(LONG, SHORT), Ok(Some(None)));
    })
}

#[test]
fn a_limit_and_a_region_that_winds_down_nest() -> Result<(), GroupError> {
    in_tasks(|ask| {
        let token = CancelToken::new();
        token.cancel_gracefully(LONG);
        token.run(|| {
            let in_region = winding_down(|| {
                ask();
                timeout(SHORT, || {
                    ask();
                    sleep()
                })
            });
            assert_eq!(
                in_region,
                Ok(None),
                "the region is spared, and the limit ends it"
            );

            let in_limit = timeout(LONG, || {
                ask();
                winding_down(|| {
                    ask();
                    taskgroup::checkpoint()
                })?;
                sleep()
            });
            let origin = in_limit.map_err(|cancelled| cancelled.origin());
            assert_eq!(
                origin,
                Err(token.id()),
                "outside of the region it is cancelled"
            );
        });
    })
}

#[test]
fn a_graceful_cancel_finds_a_region_that_waits() -> Result<(), GroupError> {
    let (inside, finish) = (Gate::default(), Event::new());
    TaskGroup::scope(|g| {
        let task = g.spawn(|| {
            let waited = winding_down(|| {
                timeout(LONG, || {
                    inside.open();
                    finish.wait()
                })
            });
            assert_eq!(waited, Ok(Some(())), "the grace has not ended");
            assert!(taskgroup::checkpoint().is_err());
            Ok("finished")
        });
        inside.wait();
        g.cancel_gracefully(LONG);
        finish.set();
        taskgroup::shield(|| {
            assert_eq!(task.join()?, "finished");
            Ok(())
        })
    })
}

#[test]
fn a_limit_binds_no_task_that_its_thread_runs_meanwhile() -> Result<(), GroupError> {
    TaskGroup::builder().limit(1).scope(|g| {
        let joined = timeout(LONG, || {
            let task = g.spawn(|| Ok(taskgroup::remaining()));
            Ok::<_, GroupError>(task.join()?)
        })?;
        assert_eq!(joined, Some(None));
        Ok(())
    })
}

#[test]
fn the_cancel_of_its_token_is_no_timeout() -> Result<(), GroupError> {
    in_tasks(|_| {
        let cut = timeout(LONG, || {
            let token = current_token().expect("a limit has a token");
            assert!(token.remaining().is_some_and(|left| left <= LONG));
            token.cancel();
            taskgroup::checkpoint()
        });
        assert!(cut.is_err());
        assert_eq!(taskgroup::checkpoint(), Ok(()), "it ends with the limit");
    })
}

#[test]
fn a_panic_leaves_the_limit() -> Result<(), GroupError> {
    in_tasks(|ask| {
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            timeout(SHORT, || -> Result<(), Cancelled> {
                ask();
                std::panic::resume_unwind(Box::new("the task's own"))
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(taskgroup::remaining(), None);
    })
}

#[test]
fn a_failing_sibling_ends_a_wait_in_a_limit() {
    let inside = Gate::default();
    let error = TaskGroup::scope(|g| {
        let waits = g.spawn(|| {
            timeout(LONG, || {
                winding_down(|| {
                    inside.open();
                    sleep()
                })
            })?;
            Ok(())
        });
        g.spawn(|| -> anyhow::Result<()> {
            inside.wait();
            anyhow::bail!("the sibling's own")
        });
        Ok(waits.join()?)
    })
    .unwrap_err();
    assert_eq!(
        error.failures().len(),
        1,
        "the wait was cancelled: {error:#}"
    );
}

#[test]
fn a_destructor_waits_in_a_limit_of_its_own() -> Result<(), GroupError> {
    struct Waits<'a>(&'a Event);

    impl Drop for Waits<'_> {
        fn drop(&mut self) {
            assert_eq!(timeout(SHORT, || self.0.wait()), Ok(None));
        }
    }

    let never = Event::new();
    in_tasks(|ask| {
        let left = timeout(LONG, || {
            let _waits = Waits(&never);
            ask();
            Ok::<_, Cancelled>(())
        });
        assert_eq!(left, Ok(Some(())));
        assert_eq!(taskgroup::checkpoint(), Ok(()));
    })
}
