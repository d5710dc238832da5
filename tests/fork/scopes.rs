//! Children that are forked inside of something: a task, a scope, a limit, a binding.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::unistd::{ForkResult, fork};
use taskgroup::sync::{Event, Mutex};
use taskgroup::{
    CancelToken, Cancelled, ScopedValue, TaskGroup, channel, remaining, sleep, timeout,
};

use crate::support::{self, LONG, MOMENT};
use crate::uses::{use_everything, use_net, use_tasks};
use crate::{WELL, assert_ends_well, begin, in_child};

static VALUE: ScopedValue<u32> = ScopedValue::new();

#[test]
fn a_child_that_a_task_forks_is_outside_of_the_scopes_of_its_parent() {
    support::alone(
        "a_child_that_a_task_forks_is_outside_of_the_scopes_of_its_parent",
        || {
            let _watch = begin();
            let group = TaskGroup::builder().limit(1);
            group
                .scope(|g| {
                    // On a worker, with a permit, under a limit of time, in the body of a scope.
                    let forks = g.task().name("forks").spawn(|| {
                        let limit = Duration::from_secs(50);
                        timeout(limit, || {
                            TaskGroup::scope(|inner| {
                                inner.spawn(|| Ok(sleep(MOMENT)?));
                                VALUE.with(&1, || {
                                    in_child(|| {
                                        assert_eq!(remaining(), None);
                                        assert_eq!(VALUE.cloned(), None);
                                        VALUE.with(&2, use_everything);
                                    });
                                });
                                Ok(())
                            })
                        })?
                        .expect("it takes less time");
                        Ok(())
                    });
                    Ok(forks.join()?)
                })
                .expect("nothing fails");
            use_tasks();
        },
    );
}

/// The guards of a limit, a region, a shield and a lock are dropped in the child.
#[test]
fn a_child_can_leave_what_is_no_scope() {
    support::alone("a_child_can_leave_what_is_no_scope", || {
        let _watch = begin();
        use_net();
        let lock = Mutex::new(());
        let mut child = None;
        let forked = timeout(LONG, || {
            taskgroup::shield(|| {
                CancelToken::new().run(|| {
                    let guard = lock.lock()?;
                    // SAFETY: as in `start_child`.
                    if let ForkResult::Parent { child: pid } = unsafe { fork() }.unwrap() {
                        child = Some(pid);
                    } else {
                        // SAFETY: as in `start_child`.
                        unsafe { libc::alarm(30) };
                    }
                    drop(guard);
                    Ok::<_, taskgroup::Cancelled>(())
                })
            })
        });
        let Some(child) = child else {
            let done = catch_unwind(AssertUnwindSafe(|| {
                forked.expect("no cancel");
                drop(lock.lock());
                use_everything();
            }));
            // SAFETY: as in `start_child`.
            unsafe { libc::_exit(if done.is_ok() { WELL } else { 1 }) }
        };
        assert_ends_well(child);
    });
}

/// A task that has opened nothing is in the scope of its group all the same.
#[test]
fn a_child_of_a_plain_task_is_outside_of_its_group() {
    support::alone("a_child_of_a_plain_task_is_outside_of_its_group", || {
        let _watch = begin();
        let forks = || in_child(|| assert_eq!(remaining(), None));
        let (tells, told) = channel::unbounded();
        let begins = Event::new();
        let group = TaskGroup::builder().limit(1).timeout(LONG);
        group
            .scope(|g| {
                // The body waits for no task before both have forked, so none runs in place.
                let _handle = g.spawn(|| {
                    begins.wait()?;
                    forks();
                    Ok(tells.send(())?)
                });
                // Its handle is dropped before it begins, so it has the frame of a task without a
                // handle.
                drop(g.spawn(|| {
                    forks();
                    Ok(tells.send(())?)
                }));
                begins.set();
                told.recv()?;
                told.recv()?;

                let _handle = g.task().dedicated().spawn(|| {
                    forks();
                    Ok(tells.send(())?)
                });
                Ok(told.recv()?)
            })
            .expect("no child fails");
    });
}

/// A thread that has used nothing but these has no lane.
#[test]
fn a_child_of_a_fresh_thread_is_outside_of_its_scope() {
    support::alone("a_child_of_a_fresh_thread_is_outside_of_its_scope", || {
        let _watch = begin();
        let is_outside = || in_child(|| assert_eq!(remaining(), None));
        thread::spawn(move || {
            let limited = timeout(LONG, || {
                is_outside();
                Ok::<_, Cancelled>(())
            });
            limited.expect("no cancel");
        })
        .join()
        .expect("it does not panic");
        thread::spawn(move || {
            let token = CancelToken::new();
            token.cancel_after(LONG);
            token.run(is_outside);
        })
        .join()
        .expect("it does not panic");
    });
}

static OUTER: ScopedValue<u64> = ScopedValue::new();
static INNER: ScopedValue<u64> = ScopedValue::new();

/// What was bound before is on the stack of a thread that is not there.
#[test]
fn a_child_that_leaves_a_binding_has_none() {
    support::alone("a_child_that_leaves_a_binding_has_none", || {
        let _watch = begin();
        OUTER.with(&1, || {
            TaskGroup::scope(|g| {
                let task = g.task().dedicated().spawn(|| {
                    let child = INNER.with(&2, || {
                        // SAFETY: as in `start_child`.
                        match unsafe { fork() }.expect("there is a process left") {
                            ForkResult::Parent { child } => Some(child),
                            ForkResult::Child => None,
                        }
                    });
                    let Some(child) = child else {
                        let has_none = OUTER.cloned().is_none() && INNER.cloned().is_none();
                        // SAFETY: as in `start_child`.
                        unsafe { libc::_exit(if has_none { WELL } else { 1 }) }
                    };
                    assert_ends_well(child);
                    assert_eq!(OUTER.cloned(), Some(1));
                    Ok(())
                });
                Ok(task.join()?)
            })
            .expect("the task ends well");
        });
    });
}
