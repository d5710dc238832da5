//! A scope: the results of its tasks, the moment at which it returns, and the values that tasks may
//! borrow.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use crate::support::Gate;
use taskgroup::{GroupError, TaskGroup};

#[test]
fn handles_give_the_values_after_the_body() -> Result<(), GroupError> {
    let (a, b) = TaskGroup::scope(|g| {
        let a = g.spawn(|| Ok(42));
        let b = g.spawn(|| Ok(11));
        Ok((a.join()?, b.join()?))
    })?;
    assert_eq!((a, b), (42, 11));
    Ok(())
}

#[test]
fn a_task_spawned_after_the_body_blocked_is_joined_too() -> Result<(), GroupError> {
    let sum = TaskGroup::scope(|g| {
        let first = g.spawn(|| Ok(1));
        let (sender, receiver) = std::sync::mpsc::channel();
        g.spawn(move || Ok(sender.send(2)?));
        let second = receiver.recv()?;
        let third = g.spawn(move || Ok(second + 1));
        Ok(first.join()? + second + third.join()?)
    })?;
    assert_eq!(sum, 6);
    Ok(())
}

#[test]
fn an_empty_scope_returns_the_value_of_its_body() -> Result<(), GroupError> {
    assert_eq!(TaskGroup::scope(|_| Ok("body"))?, "body");
    Ok(())
}

#[test]
fn the_scope_returns_after_its_last_task() -> Result<(), GroupError> {
    let order = Mutex::new(Vec::new());
    let (body_left, b_ended) = (Gate::default(), Gate::default());
    struct Leaving<'a>(&'a Gate);
    impl Drop for Leaving<'_> {
        fn drop(&mut self) {
            self.0.open();
        }
    }
    let value = TaskGroup::scope(|g| {
        let _leaving = Leaving(&body_left);
        g.spawn(|| {
            b_ended.wait();
            order.lock().unwrap().push("a");
            Ok(())
        });
        g.spawn(|| {
            body_left.wait();
            order.lock().unwrap().push("b");
            b_ended.open();
            Ok(())
        });
        Ok(2)
    })?;
    order.lock().unwrap().push("scope");
    assert_eq!(value, 2);
    assert_eq!(order.into_inner().unwrap(), ["b", "a", "scope"]);
    Ok(())
}

#[test]
fn tasks_borrow_values_made_before_the_scope() -> Result<(), GroupError> {
    let text = String::from("one two three");
    let mut longest = 0;
    let mut lengths = [0; 3];
    TaskGroup::scope(|g| {
        for (slot, word) in lengths.iter_mut().zip(text.split(' ')) {
            g.spawn(move || {
                *slot = word.len();
                Ok(())
            });
        }
        g.spawn(|| {
            longest = text.split(' ').map(str::len).max().unwrap_or(0);
            Ok(())
        });
        Ok(())
    })?;
    assert_eq!((lengths, longest, text.len()), ([3, 3, 5], 5, 13));
    Ok(())
}

#[test]
fn a_result_may_borrow_from_outside_the_scope() -> Result<(), GroupError> {
    let text = String::from("a longer text");
    let word: &str = TaskGroup::scope(|g| {
        let longest = g.spawn(|| Ok(text.split(' ').max_by_key(|word| word.len()).unwrap_or("")));
        Ok(longest.join()?)
    })?;
    assert_eq!(word, "longer");
    Ok(())
}

#[test]
fn tasks_spawn_into_their_own_group() -> Result<(), GroupError> {
    fn grow<'scope>(g: &'scope TaskGroup<'scope, '_>, depth: usize, leaves: &'scope AtomicUsize) {
        for _ in 0..2 {
            g.spawn(move || {
                if depth == 0 {
                    leaves.fetch_add(1, Ordering::Relaxed);
                } else {
                    grow(g, depth - 1, leaves);
                }
                Ok(())
            });
        }
    }
    let leaves = AtomicUsize::new(0);
    TaskGroup::scope(|g| {
        grow(g, 5, &leaves);
        Ok(())
    })?;
    assert_eq!(leaves.into_inner(), 64);
    Ok(())
}

#[test]
fn a_task_spawned_by_the_last_running_task_is_waited_for() -> Result<(), GroupError> {
    for _ in 0..100 {
        let ran = AtomicUsize::new(0);
        TaskGroup::scope(|g| {
            g.spawn(|| {
                g.spawn(|| {
                    g.spawn(|| {
                        ran.fetch_add(1, Ordering::Relaxed);
                        Ok(())
                    });
                    Ok(())
                });
                Ok(())
            });
            Ok(())
        })?;
        assert_eq!(ran.into_inner(), 1);
    }
    Ok(())
}

#[test]
fn an_inner_scope_spawns_into_the_outer_group() -> Result<(), GroupError> {
    let inner_returned = Gate::default();
    let value = TaskGroup::scope(|outer| {
        let handle = TaskGroup::scope(|inner| {
            inner.spawn(|| Ok(()));
            Ok(outer.spawn(|| {
                inner_returned.wait();
                Ok(5)
            }))
        })?;
        inner_returned.open();
        Ok(handle.join()?)
    })?;
    assert_eq!(value, 5);
    Ok(())
}

#[test]
fn a_task_of_an_inner_group_spawns_into_the_outer_one() -> Result<(), GroupError> {
    let ran = AtomicUsize::new(0);
    TaskGroup::scope(|outer| {
        TaskGroup::scope(|inner| {
            inner.spawn(|| {
                outer.spawn(|| {
                    ran.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                });
                Ok(())
            });
            Ok(())
        })?;
        Ok(())
    })?;
    assert_eq!(ran.into_inner(), 1);
    Ok(())
}

#[test]
fn a_handle_may_be_joined_by_another_task() -> Result<(), GroupError> {
    let sum = TaskGroup::scope(|g| {
        let one = g.spawn(|| Ok(1));
        let two = g.spawn(move || Ok(one.join()? + 1));
        let three = g.spawn(move || Ok(two.join()? + 1));
        Ok(three.join()?)
    })?;
    assert_eq!(sum, 3);
    Ok(())
}

#[test]
fn what_a_task_wrote_is_seen_after_join_and_after_the_scope() -> Result<(), GroupError> {
    let (a, b) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for round in 1..=200 {
        TaskGroup::scope(|g| {
            let joined = g.spawn(|| {
                a.store(round, Ordering::Relaxed);
                Ok(())
            });
            g.spawn(|| {
                b.store(round, Ordering::Relaxed);
                Ok(())
            });
            joined.join()?;
            assert_eq!(a.load(Ordering::Relaxed), round);
            Ok(())
        })?;
        assert_eq!(b.load(Ordering::Relaxed), round);
    }
    Ok(())
}

#[test]
fn tasks_run_at_the_same_time_as_the_body_and_each_other() -> Result<(), GroupError> {
    let all = Barrier::new(9);
    TaskGroup::scope(|g| {
        for _ in 0..8 {
            g.spawn(|| {
                all.wait();
                Ok(())
            });
        }
        all.wait();
        Ok(())
    })
}

#[test]
fn a_body_that_captures_by_move_owns_its_values() -> Result<(), GroupError> {
    let shared = Arc::new(7);
    let value = {
        let shared = shared.clone();
        TaskGroup::scope(move |g| {
            let theirs = shared.clone();
            let task = g.spawn(move || Ok(*theirs));
            Ok(task.join()? + *shared)
        })?
    };
    assert_eq!((value, Arc::strong_count(&shared)), (14, 1));
    Ok(())
}

#[test]
fn scopes_nest_to_any_depth() -> Result<(), GroupError> {
    fn depth(n: u32) -> anyhow::Result<u32> {
        if n == 0 {
            return Ok(0);
        }
        Ok(TaskGroup::scope(|g| {
            Ok(g.spawn(move || depth(n - 1)).join()? + 1)
        })?)
    }
    assert_eq!(depth(30).map_err(|error| error.to_string()), Ok(30));
    Ok(())
}
